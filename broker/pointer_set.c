/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/pointer_set.h"

#include <assert.h>
#include <stdlib.h>

#define CAPACITY_MIN 4u

/* Of 0..2^32-1: the upper bits say where in the set, whatever its capacity. */
static uint32_t hash_of(const void *pointer)
{
    const unsigned __int128 product = (unsigned __int128)(uintptr_t)pointer * 0x9fb21c651e98df25u;
    return (uint32_t)(((uint64_t)product ^ (uint64_t)(product >> 64)) >> 32);
}

static uint32_t home_of(const struct pointer_set *set, const void *pointer)
{
    return (uint32_t)((uint64_t)hash_of(pointer) * set->capacity >> 32);
}

static uint32_t after(const struct pointer_set *set, uint32_t i)
{
    return i + 1 == set->capacity ? 0 : i + 1;
}

/* How far behind the one the other is, going round. */
static uint32_t distance(const struct pointer_set *set, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + set->capacity - from;
}

/* Where it is, or the empty place that ends the search. */
static uint32_t place_of(const struct pointer_set *set, const void *pointer)
{
    uint32_t i = home_of(set, pointer);
    while (set->many[i] != 0 && pointer_at(set->many[i]) != pointer) {
        i = after(set, i);
    }
    return i;
}

void pointer_set_fini(struct pointer_set *set)
{
    if (set->capacity > 0) {
        free(set->many);
    }
    *set = (struct pointer_set){.count = 0};
}

static int resize(struct pointer_set *set, uint32_t capacity)
{
    struct pointer_set new = {.count = set->count, .capacity = capacity};
    assert(new.count < capacity);
    new.many = calloc(capacity, sizeof *new.many);
    if (new.many == NULL) {
        return -1;
    }
    uint32_t at = 0;
    for (uint64_t place; (place = pointer_set_next(set, &at)) != 0;) {
        new.many[place_of(&new, pointer_at(place))] = place;
    }
    pointer_set_fini(set);
    *set = new;
    return 0;
}

/* In steps of an eighth to a quarter: 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 …; so are malloc's sizes.
 */
static uint32_t next_capacity(uint32_t capacity)
{
    if (capacity < CAPACITY_MIN) {
        return CAPACITY_MIN;
    }
    return capacity + (UINT32_C(1) << (31 - __builtin_clz(capacity))) / 4;
}

int pointer_set_add(struct pointer_set *set, const void *pointer, uint16_t bits)
{
    const uint64_t place = (uintptr_t)pointer | (uint64_t)bits << 48;
    assert(pointer != NULL);
    assert(pointer_at(place) == pointer); /* user space ends below 2^47 unless asked for more */

    if (set->capacity == 0 && set->count == 0) {
        set->one = place;
        set->count = 1;
        return 0;
    }
    /* At most four fifths are in use, or searches get long. */
    if ((uint64_t)(set->count + 1) * 5 > (uint64_t)set->capacity * 4 &&
        resize(set, next_capacity(set->capacity)) != 0) {
        return -1;
    }
    const uint32_t i = place_of(set, pointer);
    assert(set->many[i] == 0);
    set->many[i] = place;
    set->count++;
    return 0;
}

/* One that stands behind the hole moves up, unless its own place lies after the hole. */
static void close_hole(struct pointer_set *set, uint32_t hole)
{
    for (uint32_t i = after(set, hole); set->many[i] != 0; i = after(set, i)) {
        const uint32_t home = home_of(set, pointer_at(set->many[i]));
        if (distance(set, home, i) >= distance(set, hole, i)) {
            set->many[hole] = set->many[i];
            hole = i;
        }
    }
    set->many[hole] = 0;
}

void pointer_set_remove(struct pointer_set *set, const void *pointer)
{
    uint64_t *const place = pointer_set_find(set, pointer);
    assert(place != NULL);

    set->count--;
    if (set->count == 0) {
        pointer_set_fini(set);
        return;
    }
    close_hole(set, (uint32_t)(place - set->many));
    if (set->capacity > CAPACITY_MIN && set->count < set->capacity / 3) {
        (void)resize(set, set->count * 2 < CAPACITY_MIN ? CAPACITY_MIN : set->count * 2);
    }
} /* without memory it stays large */

uint64_t *pointer_set_find(struct pointer_set *set, const void *pointer)
{
    if (set->capacity == 0) {
        return set->count > 0 && pointer_at(set->one) == pointer ? &set->one : NULL;
    }
    const uint32_t i = place_of(set, pointer);
    return set->many[i] == 0 ? NULL : &set->many[i];
}

void *pointer_set_any(const struct pointer_set *set, size_t *cursor)
{
    if (set->count == 0) {
        return NULL;
    }
    if (set->capacity == 0) {
        return pointer_at(set->one);
    }
    while (set->many[*cursor % set->capacity] == 0) {
        (*cursor)++;
    }
    return pointer_at(set->many[*cursor % set->capacity]);
}
