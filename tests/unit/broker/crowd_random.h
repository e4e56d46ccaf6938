/* SPDX-License-Identifier: Apache-2.0 */
/* crowd_random: a crowd that does what a sequence of random numbers says, so many things of it. */
#pragma once

#include "tests/unit/broker/crowd.h"
#include "tests/unit/route/random.h"

struct random_chooser {
    struct chooser base;
    struct random random;
    unsigned left; /* actions */
};

static inline uint32_t random_chooser_below(struct chooser *chooser, uint32_t bound)
{
    return random_below(&((struct random_chooser *)chooser)->random, bound);
}

static inline bool random_chooser_has_more(const struct chooser *chooser)
{
    struct random_chooser *c = (struct random_chooser *)(uintptr_t)chooser;
    return c->left-- > 0;
}

static inline struct random_chooser random_chooser_of(uint64_t seed, unsigned actions)
{
    return (struct random_chooser){
        .base = {.below = random_chooser_below, .has_more = random_chooser_has_more},
        .random = {.seed = seed, .state = seed},
        .left = actions};
}
