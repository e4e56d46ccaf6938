/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timing: the time that something takes, as the median of several rounds, since a processor's
 * frequency and its neighbours move single ones.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define TIMING_ROUNDS 9u

static inline uint64_t timing_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int timing_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the figures of all rounds, which it sorts. */
static inline double timing_median(double rounds[TIMING_ROUNDS])
{
    qsort(rounds, TIMING_ROUNDS, sizeof rounds[0], timing_compare);
    return rounds[TIMING_ROUNDS / 2];
}

/* Runs round(context) so many times; the median of the nanoseconds per operation, of which a round
 * has `operations`. */
static inline double timing_median_ns(void (*round)(void *context), void *context,
                                      double operations)
{
    double rounds[TIMING_ROUNDS];
    for (unsigned i = 0; i < TIMING_ROUNDS; i++) {
        const uint64_t begin = timing_now_ns();
        round(context);
        rounds[i] = (double)(timing_now_ns() - begin) / operations;
    }
    return timing_median(rounds);
}
