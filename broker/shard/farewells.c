/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/farewells.h"

#include <stdbool.h>

#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/counters.h"
#include "broker/drain.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

/* Sheds look at so many connections in a turn. */
#define SHED_LOOKS_MAX 16384u

static void begin(struct shard *s)
{
    s->leaving = true;
    for (unsigned i = 0; i < s->listener_count; i++) {
        shard_pause(s, i, PAUSED_ENDING, true);
    }
    atomic_fetch_add_explicit(&s->node->deaf, 1, memory_order_release);
}

/* The drain was stopped. */
static void come_back(struct shard *s)
{
    s->leaving = false;
    atomic_fetch_sub_explicit(&s->node->deaf, 1, memory_order_release);
    for (unsigned i = 0; i < s->listener_count; i++) {
        shard_pause(s, i, PAUSED_ENDING, false);
    }
}

/* One of those that main has allowed to all shards. */
static bool take(_Atomic int64_t *allowed)
{
    int64_t left = atomic_load_explicit(allowed, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(allowed, &left, left - 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* It loses nothing by connecting elsewhere: its session would end in any case, and nothing is under
 * way to it. */
static bool may_be_shed(const struct conn *c)
{
    if (c->phase != CONN_CONNECTED) {
        return false;
    }
    const struct session *const session = c->session;
    return session->expiry_s == 0 && outqueue_in_flight(&session->out) == 0 &&
           outqueue_waiting(&session->out) == 0 && session_received(session) == 0;
}

static void shed(struct shard *s)
{
    struct node *const node = s->node;
    struct conn *next = s->all.first;
    for (unsigned i = 0; next != NULL && i < SHED_LOOKS_MAX; i++) {
        struct conn *const c = next;
        next = c->links[CONN_ALL].next;
        if (!may_be_shed(c)) {
            continue;
        }
        if (!take(&node->sheds)) {
            return;
        }
        shard_count(s, METRIC_clients_shed);
        conn_close(c, MQTT_REASON_USE_ANOTHER_SERVER, SESSION_WILL_PUBLISH);
    }
}

void farewells_turn(struct shard *s)
{
    struct node *const node = s->node;
    if (s->ending) {
        return;
    }
    if (atomic_load_explicit(&node->drain, memory_order_acquire) < DRAIN_LEAVING) {
        if (s->leaving) {
            come_back(s);
        }
        if (atomic_load_explicit(&node->sheds, memory_order_relaxed) > 0) {
            shed(s);
        }
        return;
    }
    if (!s->leaving) {
        begin(s);
    }
    const uint8_t reason = atomic_load_explicit(&node->elsewhere, memory_order_relaxed)
                               ? MQTT_REASON_USE_ANOTHER_SERVER
                               : MQTT_REASON_SERVER_SHUTTING_DOWN;
    bool any = false;
    for (struct conn *c = s->all.first; c != NULL; c = c->links[CONN_ALL].next) {
        if (!conn_has_client(c)) {
            continue;
        }
        if (!take(&node->farewells)) {
            break;
        }
        any = true;
        shard_count(s, METRIC_clients_drained);
        conn_close(c, reason, SESSION_WILL_PUBLISH);
    }
    if (any && counters_clients_here(node) == 0) {
        node_wake_main(node); /* that was all of them */
    }
}
