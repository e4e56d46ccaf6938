/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: what a shard counts, one row each in broker/tbl/metric.h.
 *
 * Owner: the shard writes, with plain relaxed stores; any thread reads, and adds the shards up.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum metric {
#define COUNTER(name, what) METRIC_##name,
#define DROP(name, what)    METRIC_drop_##name,
#include "broker/tbl/metric.h"
    METRICS,
};

struct metrics {
    _Atomic uint64_t value[METRICS];
};

static inline void metrics_add(struct metrics *m, enum metric metric, uint64_t n)
{
    const uint64_t now = atomic_load_explicit(&m->value[metric], memory_order_relaxed);
    atomic_store_explicit(&m->value[metric], now + n, memory_order_relaxed);
}

static inline uint64_t metrics_read(const struct metrics *m, enum metric metric)
{
    return atomic_load_explicit(&m->value[metric], memory_order_relaxed);
}

const char *metrics_name(enum metric metric); /* "publish_received", "drop_expired" */
const char *metrics_text(enum metric metric); /* what it counts, for people */
