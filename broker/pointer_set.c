/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/pointer_set.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MIN    32u
#define SEARCHED_MAX 8u /* places, that need no slots */
#define NARROW_MAX   UINT16_MAX

/* ---- sizes: malloc's own, that nothing be lost to rounding */

/* 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320 … */
static size_t next_bytes(size_t bytes)
{
    const size_t step = ((size_t)1 << (63 - __builtin_clzl(bytes))) / 4;
    return bytes + (step < 16 ? 16 : step);
}

/* With five slots to four places; a slot has two bytes, or four. */
static uint32_t capacity_of(size_t bytes)
{
    if (bytes / 8 <= SEARCHED_MAX) {
        return (uint32_t)(bytes / 8);
    }
    const size_t narrow = bytes * 2 / 21;
    return (uint32_t)(narrow <= NARROW_MAX ? narrow : bytes / 13);
}

/* The least that holds so many. */
static size_t bytes_for(uint32_t count)
{
    size_t bytes = BYTES_MIN;
    while (capacity_of(bytes) < count) {
        bytes = next_bytes(bytes);
    }
    return bytes;
}

/* ---- slots: 0, or the number of a place, from 1 on */

static bool is_wide(const struct pointer_set *set)
{
    return set->capacity > NARROW_MAX;
}

static uint32_t slot_count(const struct pointer_set *set)
{
    return set->capacity + set->capacity / 4;
}

static uint32_t slot_get(const struct pointer_set *set, uint32_t slot)
{
    const uint64_t *const slots = set->many + set->capacity;
    return is_wide(set) ? ((const uint32_t *)slots)[slot] : ((const uint16_t *)slots)[slot];
}

static void slot_set(struct pointer_set *set, uint32_t slot, uint32_t number)
{
    uint64_t *const slots = set->many + set->capacity;
    if (is_wide(set)) {
        ((uint32_t *)slots)[slot] = number;
    } else {
        ((uint16_t *)slots)[slot] = (uint16_t)number;
    }
}

static uint32_t slot_after(const struct pointer_set *set, uint32_t slot)
{
    return slot + 1 == slot_count(set) ? 0 : slot + 1;
}

/* How far behind the one the other is, going round. */
static uint32_t distance(const struct pointer_set *set, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + slot_count(set) - from;
}

/* Where the search for it begins. */
static uint32_t home_of(const struct pointer_set *set, const void *pointer)
{
    const unsigned __int128 product = (unsigned __int128)(uintptr_t)pointer * 0x9fb21c651e98df25u;
    const uint64_t hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    return (uint32_t)((hash >> 32) * slot_count(set) >> 32);
}

/* The slot of the pointer, or the empty one that ends the search. */
static uint32_t slot_of(const struct pointer_set *set, const void *pointer)
{
    uint32_t slot = home_of(set, pointer);
    for (uint32_t n; (n = slot_get(set, slot)) != 0 && pointer_at(set->many[n - 1]) != pointer;) {
        slot = slot_after(set, slot);
    }
    return slot;
}

/* One that stands behind the hole moves up, unless its own place lies after the hole. */
static void slot_clear(struct pointer_set *set, uint32_t hole)
{
    uint32_t slot = slot_after(set, hole);
    for (uint32_t n; (n = slot_get(set, slot)) != 0; slot = slot_after(set, slot)) {
        const uint32_t home = home_of(set, pointer_at(set->many[n - 1]));
        if (distance(set, home, slot) >= distance(set, hole, slot)) {
            slot_set(set, hole, n);
            hole = slot;
        }
    }
    slot_set(set, hole, 0);
}

static bool has_slots(const struct pointer_set *set)
{
    return set->capacity > SEARCHED_MAX;
}

/* ---- places */

void pointer_set_fini(struct pointer_set *set)
{
    if (set->capacity > 0) {
        free(set->many);
    }
    *set = (struct pointer_set){.count = 0};
}

static int resize(struct pointer_set *set, size_t bytes)
{
    uint64_t *const many = calloc(1, bytes);
    if (many == NULL) {
        return -1;
    }
    memcpy(many, pointer_set_places(set), set->count * sizeof *many);
    if (set->capacity > 0) {
        free(set->many);
    }
    set->many = many;
    set->capacity = capacity_of(bytes);
    assert(set->count <= set->capacity);
    for (uint32_t i = 0; has_slots(set) && i < set->count; i++) {
        slot_set(set, slot_of(set, pointer_at(many[i])), i + 1);
    }
    return 0;
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
    if (set->count >= set->capacity && resize(set, bytes_for(set->count + 1)) != 0) {
        return -1;
    }
    if (has_slots(set)) {
        const uint32_t slot = slot_of(set, pointer);
        assert(slot_get(set, slot) == 0);
        slot_set(set, slot, set->count + 1);
    }
    set->many[set->count++] = place;
    return 0;
}

void pointer_set_remove(struct pointer_set *set, const void *pointer)
{
    uint64_t *const place = pointer_set_find(set, pointer);
    assert(place != NULL);

    if (set->count == 1) {
        pointer_set_fini(set);
        return;
    }
    const uint64_t last = set->many[set->count - 1];
    if (has_slots(set)) {
        slot_clear(set, slot_of(set, pointer));
        if (pointer_at(last) != pointer) {
            slot_set(set, slot_of(set, pointer_at(last)), (uint32_t)(place - set->many) + 1);
        }
    }
    *place = last;
    set->count--;
    if (set->count < set->capacity / 3) {
        (void)resize(set, bytes_for(set->count + set->count / 2)); /* no memory: it stays large */
    }
}

uint64_t *pointer_set_find(struct pointer_set *set, const void *pointer)
{
    uint64_t *const places = set->capacity > 0 ? set->many : &set->one;
    if (has_slots(set)) {
        const uint32_t number = slot_get(set, slot_of(set, pointer));
        return number == 0 ? NULL : &places[number - 1];
    }
    uint32_t i = 0;
    while (i < set->count && pointer_at(places[i]) != pointer) {
        i++;
    }
    return i == set->count ? NULL : &places[i];
}
