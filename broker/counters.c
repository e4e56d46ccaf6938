/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/counters.h"

#include <stdlib.h>

#include "broker/callbacks.h"
#include "broker/certificates.h"
#include "broker/dispatch/leaders.h"
#include "broker/drain.h"
#include "broker/gossip/gossiper.h"
#include "broker/key_server.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

uint64_t counters_sum(const struct node *node, enum metric metric)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += metrics_read(&node->shards[i]->metrics, metric);
    }
    return total;
}

uint64_t counters_of_listener(const struct node *node, unsigned listener, enum tally_listener what)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += atomic_load_explicit(&node->shards[i]->tally.listener[listener][what],
                                      memory_order_relaxed);
    }
    return total;
}

uint64_t counters_of_reason(const struct node *node, enum tally_packet what, uint8_t reason)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += atomic_load_explicit(&node->shards[i]->tally.reason[what][reason],
                                      memory_order_relaxed);
    }
    return total;
}

void counters_histogram(const struct node *node, enum histogram which, struct histogram_sum *sum)
{
    *sum = (struct histogram_sum){.sum_us = 0};
    for (unsigned i = 0; i < node->shard_count; i++) {
        histogram_read(&node->shards[i]->histograms, which, sum);
    }
}

uint64_t counters_unkept_ms(const struct node *node)
{
    const uint64_t now_ms = node->clock_ms();
    uint64_t most = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        const uint64_t since_ms =
            atomic_load_explicit(&node->shards[i]->unkept_since_ms, memory_order_relaxed);
        if (since_ms < now_ms && now_ms - since_ms > most) {
            most = now_ms - since_ms;
        }
    }
    return most;
}

uint64_t counters_checkpoint_age_ms(const struct node *node)
{
    const uint64_t now_ms = node->clock_ms();
    uint64_t most = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        const uint64_t at_ms =
            atomic_load_explicit(&node->shards[i]->checkpoint_ms, memory_order_relaxed);
        if (at_ms != 0 && at_ms < now_ms && now_ms - at_ms > most) {
            most = now_ms - at_ms;
        }
    }
    return most;
}

uint64_t counters_clients_here(const struct node *node)
{
    return counters_now(&node->clients) + counters_now(&node->relays_near);
}

int counters_are_draining(const struct node *node)
{
    return atomic_load_explicit(&node->drain, memory_order_relaxed) == DRAIN_NONE ? 0 : 1;
}

uint64_t counters_clock_off_ms(const struct node *node)
{
    return (uint64_t)llabs(atomic_load_explicit(&node->clock_ahead_ms, memory_order_relaxed));
}

uint64_t counters_dropped(const struct node *node)
{
    uint64_t total = 0;
#define COUNTER(name, what)
#define DROP(name, what) total += counters_sum(node, METRIC_drop_##name);
#include "broker/tbl/metric.h"
    return total;
}

uint64_t counters_subscriptions(const struct node *node)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += atomic_load_explicit(&node->shards[i]->subscribed, memory_order_relaxed);
    }
    return total;
}

uint64_t counters_shared_subscriptions(const struct node *node)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += atomic_load_explicit(&node->shards[i]->subscribed_shared, memory_order_relaxed);
    }
    return total;
}

uint64_t counters_replicated(const struct node *node, enum replicated_gauge gauge)
{
    return counters_may_look(node) ? replicated_gauge(node, gauge) : 0;
}

uint64_t counters_partitions(const struct node *node, enum partitions_gauge gauge)
{
    return counters_may_look(node) ? partitions_gauge(node, gauge) : 0;
}

uint64_t counters_meta(const struct node *node, enum meta_run_gauge gauge)
{
    return counters_may_look(node) ? meta_run_gauge(node, gauge) : 0;
}

uint64_t counters_leaderless(const struct node *node)
{
    return counters_may_look(node) ? leaders_missing(node) : 0;
}

uint64_t counters_dispatch(const struct node *node, enum dispatch_gauge gauge)
{
    return counters_may_look(node) ? dispatch_run_gauge(node, gauge) : 0;
}

uint64_t counters_groups(const struct node *node, enum groups_gauge gauge)
{
    return counters_may_look(node) ? groups_gauge(node, gauge) : 0;
}

uint64_t counters_link(const struct node *node, enum peers_gauge gauge)
{
    return counters_may_look(node) ? peers_gauge(node->peers, gauge) : 0;
}

uint64_t counters_io(const struct node *node, enum io_counter counter)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += io_counter_read(node->shards[i]->io, counter);
    }
    return total;
}

/* A line each, from a place each: the limit of lines per place must not cut the list short. */
#define LINE(what, number)                                                                         \
    log_event(LOG_INFO, "counter", LOG_TEXT("name", what), LOG_NUMBER("value", number))

void counters_log(const struct node *node)
{
    struct log_counts lines;
    log_counts(&lines);
#define COUNTER(name, what) LINE(#name, counters_sum(node, METRIC_##name));
#define DROP(name, what)    LINE("drop_" #name, counters_sum(node, METRIC_drop_##name));
#include "broker/tbl/metric.h"
    int64_t left_s;
    if (certificates_time_left(node, &left_s)) {
        LINE("certificate_seconds_left", left_s);
    }
#define GAUGE(name, value, what)  LINE(#name, value);
#define MILLIS(name, value, what) LINE(#name "_milliseconds", value);
#define TOTAL(name, value, what)  LINE(#name, value);
#include "broker/tbl/gauge.h"
    struct gossiper_figures f;
    gossiper_figures(counters_may_look(node) ? node->gossiper : NULL, &f);
#define FIGURE_GAUGE(name, value, what) LINE("cluster_" #name, value);
#define FIGURE_TOTAL(name, value, what) LINE("cluster_" #name, value);
#define REFUSED(reason, name)           LINE("cluster_refused_" #name, f.refused[SEAL_##reason]);
#include "broker/gossip/tbl/figure.h"
}
