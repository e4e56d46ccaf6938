/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/departure.h"

#include <assert.h>
#include <inttypes.h>

#include "broker/config/config.h"
#include "broker/counters.h"
#include "broker/gossip/gossiper.h"
#include "broker/listen.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/peers/peers.h"
#include "broker/supervisor.h"

#define STATUS_MS    1000u  /* the supervisor hears so often how far a drain has come, */
#define PATIENCE_MS  60000u /* and so long after the last time it loses its patience */
#define REBALANCE_MS 1000u

void departure_init(struct departure *d, struct node *node, struct listen_sockets *sockets,
                    struct supervisor *supervisor)
{
    *d = (struct departure){.node = node, .sockets = sockets, .supervisor = supervisor};
}

bool departure_is_under_way(const struct departure *d)
{
    return d->drain.phase != DRAIN_NONE;
}

/* ---- a drain */

static void begin(struct departure *d, const struct config *config, uint64_t per_second, bool fixed)
{
    struct node *const node = d->node;
    drain_begin(&d->drain, &config->drain, per_second, node->clock_ms());
    d->fixed = fixed;
    atomic_store(&node->drain_fixed, fixed);
    log_event(LOG_INFO, "draining", LOG_NUMBER("clients", counters_now(&node->clients)),
              LOG_NUMBER("wait_s", config->drain.wait_s));
}

void departure_begin(struct departure *d, const struct config *config)
{
    atomic_store(&d->node->leave_for_good, false); /* a signal is no removal */
    begin(d, config, 0, true);
}

/* Listeners first: shards look at them when they see that there is no drain. */
static void stop(struct departure *d)
{
    struct node *const node = d->node;
    drain_stop(&d->drain);
    atomic_store(&node->leave_for_good, false);
    if (!listen_resume(d->sockets)) {
        log_event(LOG_ERROR, "drain_stop_failed",
                  LOG_TEXT("meaning", "a listener could not be opened again"),
                  LOG_TEXT("remedy", "restart the broker"));
    }
    atomic_store_explicit(&node->farewells, 0, memory_order_relaxed);
    atomic_store_explicit(&node->drain, DRAIN_NONE, memory_order_release);
    node_wake_shards(node);
    supervisor_tell(d->supervisor, "READY=1\nSTATUS=ready");
    log_event(LOG_INFO, "drain_stopped", LOG_NUMBER("clients", counters_now(&node->clients)));
}

void departure_asked(struct departure *d, const struct config *config)
{
    struct node *const node = d->node;
    const int wanted = atomic_exchange(&node->drain_wanted, DRAIN_WANT_NOTHING);
    const bool none = d->drain.phase == DRAIN_NONE;
    if (wanted == DRAIN_WANT_BEGIN && none) {
        begin(d, config, atomic_load(&node->drain_rate), false);
    } else if (wanted == DRAIN_WANT_STOP && !none && !d->fixed && d->drain.phase != DRAIN_OVER) {
        stop(d);
    } else if (wanted == DRAIN_WANT_STOP && none) {
        atomic_store(&node->leave_for_good, false); /* asked for, and stopped before it began */
    }
}

static void tell(struct departure *d, uint64_t clients, uint64_t now_ms)
{
    if (now_ms >= d->status_ms) {
        supervisor_tell(d->supervisor,
                        "STOPPING=1\nEXTEND_TIMEOUT_USEC=%u\nSTATUS=draining, %" PRIu64
                        " clients are left",
                        PATIENCE_MS * 1000, clients);
        d->status_ms = now_ms + STATUS_MS;
    }
}

static uint64_t admitted_by(const struct gossiper_others *others)
{
    return others->nodes == 0 ? DRAIN_ANY : others->admits;
}

/* Who comes is refused, instead of waiting for nobody. */
static void refuse(struct departure *d)
{
    if (atomic_load_explicit(&d->node->deaf, memory_order_acquire) != d->node->shard_count) {
        return;
    }
    if (d->fixed) {
        listen_close(d->sockets);
    } else {
        listen_pause(d->sockets);
    }
}

static bool drain(struct departure *d, uint64_t now_ms)
{
    struct node *const node = d->node;
    const enum drain_phase before = d->drain.phase;
    struct gossiper_others others;
    gossiper_others(node->gossiper, &others);
    const struct drain_sight sight = {.clients = counters_clients_here(node),
                                      .admits = admitted_by(&others),
                                      .unacked_bytes = peers_gauge(node->peers, PEERS_KEPT_BYTES)};
    const uint64_t more = drain_turn(&d->drain, &sight, now_ms);
    const enum drain_phase phase = d->drain.phase;
    tell(d, sight.clients, now_ms);
    if (phase == DRAIN_LEAVING && before != DRAIN_LEAVING) {
        log_event(LOG_INFO, "clients_leaving", LOG_NUMBER("clients", sight.clients),
                  LOG_NUMBER("per_second", d->drain.in_force));
    }
    if (phase == DRAIN_OVER && sight.unacked_bytes > 0) {
        log_event(LOG_WARNING, "drain_unacked", LOG_NUMBER("bytes", sight.unacked_bytes));
    }
    atomic_store_explicit(&node->elsewhere, others.nodes > 0, memory_order_relaxed);
    atomic_store_explicit(&node->drain_per_second, (uint32_t)d->drain.in_force,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&node->farewells, (int64_t)more, memory_order_relaxed);
    atomic_store_explicit(&node->drain, phase, memory_order_release);
    if (phase == DRAIN_LEAVING) {
        node_wake_shards(node);
    }
    refuse(d);
    return phase == DRAIN_OVER;
}

/* ---- more than its share */

static void rebalance(struct departure *d, const struct config *config, uint64_t now_ms)
{
    struct node *const node = d->node;
    if (node->gossiper == NULL || now_ms < d->rebalance_ms) {
        return;
    }
    d->rebalance_ms = now_ms + REBALANCE_MS;
    struct gossiper_others others;
    gossiper_others(node->gossiper, &others);
    const struct rebalance_conf conf = {.after_ms = config->cluster.rebalance_after_s * 1000ull,
                                        .per_second = config->cluster.rebalance_clients_per_second};
    const struct rebalance_sight sight = {.clients = counters_now(&node->clients),
                                          .leaving = departure_is_under_way(d),
                                          .others = others.nodes,
                                          .silent = others.silent,
                                          .others_clients = others.clients,
                                          .admits = others.admits,
                                          .stable_ms = now_ms - others.changed_ms};
    const bool before = d->rebalance.shedding;
    const uint64_t sheds = rebalance_turn(&d->rebalance, &conf, &sight, now_ms);
    if (d->rebalance.shedding && !before) {
        log_event(LOG_INFO, "rebalancing", LOG_NUMBER("clients", sight.clients),
                  LOG_NUMBER("goal", d->rebalance.goal), LOG_NUMBER("nodes", others.nodes + 1));
    } else if (before && !d->rebalance.shedding) {
        log_event(LOG_INFO, "rebalanced", LOG_NUMBER("clients", sight.clients),
                  LOG_NUMBER("allowed", d->rebalance.told));
    }
    atomic_store_explicit(&node->sheds, (int64_t)sheds, memory_order_relaxed);
    if (sheds > 0) {
        node_wake_shards(node);
    }
}

bool departure_turn(struct departure *d, const struct config *config, uint64_t now_ms)
{
    rebalance(d, config, now_ms);
    return d->drain.phase != DRAIN_NONE && drain(d, now_ms);
}

uint64_t departure_due(const struct departure *d, uint64_t now_ms)
{
    if (d->drain.phase != DRAIN_NONE) {
        return now_ms + DRAIN_TURN_MS;
    }
    return d->node->gossiper == NULL  ? UINT64_MAX
           : d->rebalance_ms > now_ms ? d->rebalance_ms
                                      : now_ms + REBALANCE_MS;
}
