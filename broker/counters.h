/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters: every figure of the node, added up over its shards: as log lines (msg=counter name=…
 * value=…) for SIGUSR1, and one by one for the metrics endpoint. The figures are in tbl/metric.h
 * and tbl/gauge.h; those with labels (tally.h, histogram.h) are not in the log.
 *
 * Any thread; shards are not held up, and figures that belong together may be some microseconds
 * apart.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/dispatch/dispatch_run.h"
#include "broker/groups/groups.h"
#include "broker/partitions/partitions.h"
#include "broker/histogram.h"
#include "broker/io/io.h"
#include "broker/meta/meta_run.h"
#include "broker/metrics.h"
#include "broker/node.h"
#include "broker/peers/peers.h"
#include "broker/replicated/replicated.h"
#include "broker/tally.h"

/* Figures are asked for while the broker starts, too: then main is still setting up what does not
 * change later. */
static inline bool counters_may_look(const struct node *node)
{
    return atomic_load_explicit(&node->serving, memory_order_acquire);
}

void counters_log(const struct node *node);

uint64_t counters_sum(const struct node *node, enum metric metric);
uint64_t counters_of_listener(const struct node *node, unsigned listener, enum tally_listener what);
uint64_t counters_of_reason(const struct node *node, enum tally_packet what, uint8_t reason);
void counters_histogram(const struct node *node, enum histogram which, struct histogram_sum *sum);
/* Age of the oldest entry of all shards that is not on disk; 0: all are. */
uint64_t counters_unkept_ms(const struct node *node);
/* Time since the newest checkpoint that is on disk began, of the shard where that is longest; 0:
 * none has one. */
uint64_t counters_checkpoint_age_ms(const struct node *node);
uint64_t counters_dropped(const struct node *node); /* messages, for whatever reason */
/* What sessions are subscribed to; the latter: of shared subscriptions. */
uint64_t counters_subscriptions(const struct node *node);
uint64_t counters_shared_subscriptions(const struct node *node);
/* Of all links; 0 without a cluster. */
uint64_t counters_replicated(const struct node *node, enum replicated_gauge gauge);
uint64_t counters_partitions(const struct node *node, enum partitions_gauge gauge);
uint64_t counters_meta(const struct node *node, enum meta_run_gauge gauge);
uint64_t counters_groups(const struct node *node, enum groups_gauge gauge);
uint64_t counters_leaderless(const struct node *node);
uint64_t counters_dispatch(const struct node *node, enum dispatch_gauge gauge);
uint64_t counters_link(const struct node *node, enum peers_gauge gauge);
uint64_t counters_io(const struct node *node, enum io_counter counter);

/* Whose clients' sockets are here, and who has to go elsewhere when this node ends; those among
 * them whose packets are another node's. */
uint64_t counters_clients_here(const struct node *node);

/* 1 while the node drains, or ends by SIGTERM; 0 otherwise. */
int counters_are_draining(const struct node *node);
uint64_t counters_clock_off_ms(const struct node *node);

static inline uint64_t counters_total(const _Atomic uint64_t *total)
{
    return atomic_load_explicit(total, memory_order_relaxed);
}

/* Never below 0: what two threads count up and down may look so for a moment. */
static inline uint64_t counters_now(const _Atomic int64_t *gauge)
{
    const int64_t value = atomic_load_explicit(gauge, memory_order_relaxed);
    return value < 0 ? 0 : (uint64_t)value;
}
