/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "broker/config/config.h"
#include "broker/conn/life.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/groups/group_records.h"
#include "broker/groups/groups.h"
#include "broker/guard/address_rate.h"
#include "broker/guard/pace.h"
#include "broker/message.h"
#include "broker/meta/meta_run.h"
#include "broker/partitions/partitions.h"
#include "broker/peers/peers.h"
#include "broker/recorder/trace.h"
#include "broker/ownership/ownership.h"
#include "broker/partitions/ledger.h"
#include "broker/remote/remote.h"
#include "broker/replicated/replicated.h"
#include "broker/route/deliver.h"
#include "broker/route/match_cache.h"
#include "broker/route/publication.h"
#include "broker/route/retained.h"
#include "broker/session/session.h"
#include "broker/shard/loop.h"
#include "broker/shard/quiescence.h"
#include "broker/shard/shard.h"
#include "broker/shard/wheel.h"
#include "broker/sys_topics.h"
#include "broker/transport/listener.h"
#include "broker/transport/transport.h"

/* Mail between two shards: together with few shards a burst, with many some megabytes a shard. */
#define MAILBOX_BYTES_FEW  (1u << 18)
#define MAILBOX_BYTES_MANY (1u << 16)
#define FEW_SHARDS         8u

static bool shard_init_tables(struct shard *s)
{
    struct table *const tables[] = {&s->sessions, &s->filters, &s->subscriptions, &s->replays,
                                    &s->members};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (table_init(tables[i]) != 0) {
            return false;
        }
    }
    return true;
}

static enum io_err shard_create(struct node *node, unsigned id, const struct node_conf *conf,
                                int *sys_errno)
{
    struct shard *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    if (s == NULL) {
        return IO_NO_MEMORY;
    }
    memset(s, 0, sizeof *s);
    node->shards[id] = s;
    s->node = node;
    s->id = id;
    s->next_serial = 1;
    s->config = conf->config;
    s->now_ms = conf->clock_ms();
    s->wheel = wheel_create(s->now_ms);
    s->retained = retained_create();
    s->match_cache = match_cache_create();
    match_init(&s->match);
    pace_init(s);
    keeping_init(&s->keeping);
    backlogs_init(&s->backlogs);
    atomic_init(&s->exchanges_oldest_ms, UINT64_MAX);
    atomic_init(&s->wills_oldest_ms, UINT64_MAX);
    atomic_init(&s->unkept_since_ms, UINT64_MAX);
    const bool has_difference = difference_init(&s->difference);
    const bool has_topics = busy_topics_init(&s->busy_topics, s->now_ms);
    const bool has_recorder = recorder_init(&s->recorder, conf->config->recorder.bytes_per_shard);
    if (getrandom(s->random_state, sizeof s->random_state, 0) != (ssize_t)sizeof s->random_state) {
        return IO_FAILED;
    }
    const size_t mail = conf->shard_count <= FEW_SHARDS ? MAILBOX_BYTES_FEW : MAILBOX_BYTES_MANY;
    if (!has_difference || !has_topics || !has_recorder || s->wheel == NULL ||
        s->retained == NULL || s->match_cache == NULL || !shard_init_tables(s) ||
        post_init(s, conf->shard_count, mail) != 0) {
        return IO_NO_MEMORY;
    }
    return conf->create_io(&s->io, &conn_io_handlers, s, sys_errno);
}

enum io_err node_create(struct node **out, const struct node_conf *conf, int *sys_errno)
{
    enum io_err err = IO_NO_MEMORY;
    struct node *node = aligned_alloc(64, (sizeof *node + 63) / 64 * 64);
    if (node == NULL) {
        goto out;
    }
    memset(node, 0, sizeof *node);
    node->shard_count = conf->shard_count;
    node->replicas = conf->config->cluster.replicas;
    if (getrandom(&node->seed, sizeof node->seed, 0) != (ssize_t)sizeof node->seed) {
        err = IO_FAILED;
        goto out;
    }
    node->clock_ms = conf->clock_ms;
    node->clock_us = conf->clock_us;
    node->main = pthread_self();
    node->listeners = calloc(CONFIG_LISTENERS_MAX, sizeof *node->listeners);
    if (node->listeners == NULL) {
        goto out;
    }
    node->arrivals_by_address = address_rate_create(node->seed);
    if (node->arrivals_by_address == NULL) {
        goto out;
    }
    atomic_init(&node->config, conf->config);
    atomic_init(&node->running, conf->shard_count);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        node->partition_shard[i] = (uint8_t)(i % conf->shard_count);
    }
    /* One thread more than shards: main, which retires configurations. */
    node->quiescence = quiescence_create(conf->shard_count + 1);
    if (node->quiescence == NULL) {
        goto out;
    }
    node->index = index_create(conf->shard_count, node->seed, node->quiescence);
    if (node->index == NULL) {
        goto out;
    }
    node->sys_topics = sys_topics_create(node);
    if (node->sys_topics == NULL) {
        goto out;
    }
    for (unsigned i = 0; i < conf->shard_count; i++) {
        err = shard_create(node, i, conf, sys_errno);
        if (err != IO_OK) {
            goto out;
        }
    }
    for (unsigned from = 0; from < conf->shard_count; from++) {
        for (unsigned to = 0; to < conf->shard_count; to++) {
            post_connect(node->shards[from], node->shards[to]);
        }
    }
    *out = node;
    node = NULL; /* the caller's now */
    err = IO_OK;
out:
    node_destroy(node);
    return err;
}

void node_wake_shards(struct node *node)
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        io_wake_external(node->shards[i]->io);
    }
}

void node_wake_main(const struct node *node)
{
    (void)pthread_kill(node->main, NODE_WAKE_SIGNAL); /* it is there until all others have ended */
}

/* ---- the end */

static void end_sessions(struct shard *s)
{
    size_t cursor = 0;
    struct table_link *link;
    while ((link = table_any(&s->sessions, &cursor)) != NULL) {
        session_end(table_object(link, struct session, by_client_id));
    }
}

void node_settle(struct node *node)
{
    bool busy = true;
    while (busy) {
        for (unsigned i = 0; i < node->shard_count; i++) {
            shard_self = node->shards[i];
            loop_work(shard_self);
            shard_enter(shard_self); /* nobody is there to be woken */
        }
        busy = false;
        for (unsigned i = 0; i < node->shard_count; i++) {
            const struct shard *s = node->shards[i];
            busy = busy || !post_is_empty(s) || s->due_first != NULL || shard_congested(s);
        }
    }
}

static void shard_destroy(struct shard *s)
{
    if (s == NULL) {
        return;
    }
    shard_self = s;
    errands_close(s);
    io_destroy(s->io);
    fifo_fini(&s->promises);
    fifo_fini(&s->replies);
    fifo_fini(&s->receipts);
    fifo_fini(&s->receipts_due);
    publications_fini(s);
    shard_groups_destroy(s);
    ledger_end(s);
    ownership_destroy(s);
    dispatch_run_destroy(s);
    remote_destroy(s);
    fifo_fini(&s->received);
    wills_fini(&s->wills);
    keeping_fini(&s->keeping);
    backlogs_fini(&s->backlogs);
    difference_fini(&s->difference);
    tracing_fini(&s->recorder);
    busy_topics_fini(&s->busy_topics);
    recorder_fini(&s->recorder);
    free(s->kept_filters);
    post_fini(s);
    retained_destroy(s->retained);
    wheel_destroy(s->wheel);
    match_cache_destroy(s->match_cache);
    match_fini(&s->match);
    transport_scratch_fini(&s->scratch);
    deliver_fini(s);
    acl_picked_fini(&s->acl_picked);
    free(s->flapping);
    table_fini(&s->sessions);
    table_fini(&s->filters);
    table_fini(&s->subscriptions);
    table_fini(&s->members);
    table_fini(&s->replays);
    free(s);
}

void node_destroy(struct node *node)
{
    if (node == NULL) {
        return;
    }
    const bool complete = node->shards[node->shard_count - 1] != NULL &&
                          node->shards[node->shard_count - 1]->io != NULL;
    for (unsigned i = 0; complete && i < node->shard_count; i++) {
        shard_self = node->shards[i];
        shard_enter(shard_self);
        shard_self->ending = true;
        end_sessions(shard_self);
    }
    if (complete) {
        node_settle(node); /* so that what mail carries is freed */
    }
    partitions_destroy(node);
    meta_run_destroy(node);
    for (unsigned i = 0; i < node->shard_count; i++) {
        shard_destroy(node->shards[i]);
    }
    shard_self = NULL;
    leaders_destroy(node);
    peers_destroy(node->peers);
    group_records_destroy(node->group_records);
    replicated_destroy(node);
    for (unsigned i = 0; i < node->listener_count; i++) {
        listener_fini(&node->listeners[i]);
    }
    free(node->listeners);
    sys_topics_destroy(node->sys_topics);
    address_rate_destroy(node->arrivals_by_address);
    index_destroy(node->index);
    quiescence_destroy(node->quiescence);
    free(node);
}
