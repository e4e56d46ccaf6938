/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram: times in nanoseconds, counted in buckets of less than 0.8 % width (log-linear: each
 * power of two has 128 of them), so that any percentile can be asked for afterwards.
 *
 * Owner: one thread adds; others may read when it has ended. Memory: 36 KB, in place.
 * At the bound: values from 2^40 ns (18 minutes) up count as the largest.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_LINEAR_BITS 7u
#define HISTOGRAM_VALUE_BITS  40u
#define HISTOGRAM_BUCKETS                                                                          \
    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_LINEAR_BITS + 1u) << HISTOGRAM_LINEAR_BITS)

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t least; /* exact; UINT64_MAX when empty */
    uint64_t most;  /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that `percent` (0..100) of the added ones do not exceed: the upper end of its bucket,
 * but never more than the largest that was added. 0 when empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

double histogram_mean(const struct histogram *h); /* 0 when empty */
