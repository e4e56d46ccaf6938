/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pointer_set: a set of pointers, each with 16 bits beside it, for those who have very many sets.
 *
 *   place: 16 bits │ 48 of the pointer          0: empty
 *
 * Open addressing: a search begins at the pointer's own place and ends at an empty one; who leaves
 * lets those behind it move up. One pointer takes no allocation.
 *
 * Owner: one thread. Memory: 8 bytes a place, about three quarters of them in use; grows by a
 * quarter or less, and shrinks. An addition moves about five others, taken over all of them; the
 * one that makes the set grow moves all, 8 bytes each and in order (a million: some milliseconds).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct pointer_set {
    union {
        uint64_t one;   /* when capacity is 0 */
        uint64_t *many; /* [capacity] */
    };
    uint32_t count, capacity;
};

void pointer_set_fini(struct pointer_set *set); /* empty again */

/* It is not in. 0, or -1 when out of memory: nothing has changed. */
NODISCARD int pointer_set_add(struct pointer_set *set, const void *pointer, uint16_t bits);
void pointer_set_remove(struct pointer_set *set, const void *pointer); /* it is in */

/* Its place, until the set changes; NULL: it is not in. */
uint64_t *pointer_set_find(struct pointer_set *set, const void *pointer);

/* Some pointer, NULL when the set is empty; for taking everything out. Resumes from *cursor (0 at
 * first), so that emptying a set costs its size once. */
void *pointer_set_any(const struct pointer_set *set, size_t *cursor);

/* ---- a place */

static inline void *pointer_at(uint64_t place)
{
    return (void *)(uintptr_t)(place & (UINT64_MAX >> 16));
}

static inline uint16_t pointer_bits(uint64_t place)
{
    return (uint16_t)(place >> 48);
}

static inline void pointer_bits_set(uint64_t *place, uint16_t bits)
{
    *place = (*place & (UINT64_MAX >> 16)) | (uint64_t)bits << 48;
}

/* The next that is not empty, from *at (0 at first) on; 0: there is none. The set must not change
 * meanwhile. */
static inline uint64_t pointer_set_next(const struct pointer_set *set, uint32_t *at)
{
    const uint64_t *const places = set->capacity > 0 ? set->many : &set->one;
    const uint32_t end = set->capacity > 0 ? set->capacity : 1;
    while (*at < end) {
        const uint64_t place = places[(*at)++];
        if (place != 0) {
            return place;
        }
    }
    return 0;
}
