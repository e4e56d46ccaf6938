/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram: how long things took, counted in fixed buckets: each twice as wide as the one before,
 * from 16 us to 16 s, and one for what took longer. The rows are in tbl/histogram.h.
 *
 * Owner: the shard writes, with plain relaxed stores; any thread reads, and adds the shards up.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_FIRST_US 16u /* the first bucket's upper bound, which belongs to it */
#define HISTOGRAM_BOUNDS   21u /* buckets with a bound; the last one's is 16.777216 s */
#define HISTOGRAM_BUCKETS  (HISTOGRAM_BOUNDS + 1)

enum histogram {
#define HISTOGRAM(name, family, labels, what) HISTOGRAM_##name,
#include "broker/tbl/histogram.h"
    HISTOGRAMS,
};

struct durations {
    _Atomic uint64_t count[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_us;
};

struct histograms {
    struct durations of[HISTOGRAMS];
};

/* The bucket of a duration: the first whose bound is not below it. */
static inline unsigned histogram_bucket(uint64_t us)
{
    if (us <= HISTOGRAM_FIRST_US) {
        return 0;
    }
    const unsigned bucket = 64u - (unsigned)__builtin_clzll((us - 1) / HISTOGRAM_FIRST_US);
    return bucket < HISTOGRAM_BOUNDS ? bucket : HISTOGRAM_BOUNDS;
}

/* `n` that took so long each. */
static inline void histogram_add(struct histograms *h, enum histogram which, uint64_t us,
                                 uint64_t n)
{
    struct durations *const d = &h->of[which];
    _Atomic uint64_t *const bucket = &d->count[histogram_bucket(us)];
    const uint64_t count = atomic_load_explicit(bucket, memory_order_relaxed);
    const uint64_t sum_us = atomic_load_explicit(&d->sum_us, memory_order_relaxed);
    atomic_store_explicit(bucket, count + n, memory_order_relaxed);
    atomic_store_explicit(&d->sum_us, sum_us + us * n, memory_order_relaxed);
}

/* As it is read: added up over shards. */
struct histogram_sum {
    uint64_t count[HISTOGRAM_BUCKETS];
    uint64_t sum_us;
};

void histogram_read(const struct histograms *h, enum histogram which, struct histogram_sum *sum);

/* "publish_to_delivery", without the unit; and `qos="1"`, or "" where the family has one series. */
const char *histogram_family(enum histogram which);
const char *histogram_labels(enum histogram which);
const char *histogram_text(enum histogram which); /* "" unless it is the first of its family */
