/* SPDX-License-Identifier: Apache-2.0 */
/*
 * micro: one small thing that the broker does for each packet, done a million times.
 *
 * Each is made from a fixed seed, runs on one thread, and does the same each time, so that its
 * instructions can be counted (instructions.py).
 */
#pragma once

#include <stdint.h>

struct micro {
    const char *name;
    void *(*create)(void); /* what is there before the first operation; NULL: nothing is needed */
    void (*run)(void *state, uint64_t count); /* so many operations */
    void (*destroy)(void *state);
};

/* Tables, each ended by a row without a name. */
extern const struct micro micro_acl[];
extern const struct micro micro_codec[];
extern const struct micro micro_index[];
extern const struct micro micro_journal[];
extern const struct micro micro_shard[];
extern const struct micro micro_table[];
extern const struct micro micro_websocket[];

/* Calls make_ready(state), and neither its time nor its instructions count; for a run() whose
 * operations need something done before that is no part of them. */
void micro_aside(void (*make_ready)(void *state), void *state);

/* Keeps a result, so that the work for it is not optimized away. */
static inline void micro_use(uint64_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}
