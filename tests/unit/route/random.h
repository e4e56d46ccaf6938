/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random: a sequence that a seed repeats. TEST_SEED in the environment sets the seed; a failing
 * test prints the one it had.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

struct random {
    uint64_t seed; /* what to print */
    uint64_t state;
};

static inline struct random random_init(void)
{
    const char *const given = getenv("TEST_SEED");
    uint64_t seed = 0;
    if (given != NULL) {
        seed = strtoull(given, NULL, 0);
    } else if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        abort();
    }
    return (struct random){.seed = seed, .state = seed};
}

static inline uint64_t random_next(struct random *r) /* splitmix64 */
{
    uint64_t x = r->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint32_t random_below(struct random *r, uint32_t bound)
{
    return (uint32_t)((random_next(r) >> 32) * bound >> 32);
}
