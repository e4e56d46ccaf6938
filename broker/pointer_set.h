/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pointer_set: a set of pointers, each with 16 bits beside it, for those who have very many sets.
 *
 *   many ─▶ places: 16 bits │ 48 of the pointer, one after the other │ slots: numbers of places
 *
 * The places lie close together, in the order of their coming until somebody leaves, whose place
 * the last one takes. The slots behind them are a hash table with open addressing; few places need
 * none and are searched. One pointer takes no allocation.
 *
 * Owner: one thread. Memory: 11 to 13 bytes for each (from 65,536 on, 14 to 16). An addition moves
 * about five others, taken over all of them; the one that makes the set grow moves all, 8 bytes
 * each and in order (a million: some milliseconds).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct pointer_set {
    union {
        uint64_t one;   /* when capacity is 0 */
        uint64_t *many; /* [capacity], and the slots */
    };
    uint32_t count, capacity;
};

void pointer_set_fini(struct pointer_set *set); /* empty again */

/* It is not in. 0, or -1 when out of memory: nothing has changed. */
NODISCARD int pointer_set_add(struct pointer_set *set, const void *pointer, uint16_t bits);
void pointer_set_remove(struct pointer_set *set, const void *pointer); /* it is in */

/* Its place, until the set changes; NULL: it is not in. */
uint64_t *pointer_set_find(struct pointer_set *set, const void *pointer);

/* [count]; the set must not change meanwhile. */
static inline const uint64_t *pointer_set_places(const struct pointer_set *set)
{
    return set->capacity > 0 ? set->many : &set->one;
}

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

/* The one that came last, or took its place: the cheapest to remove. NULL: the set is empty. */
static inline void *pointer_set_last(const struct pointer_set *set)
{
    return set->count == 0 ? NULL : pointer_at(pointer_set_places(set)[set->count - 1]);
}
