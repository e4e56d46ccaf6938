/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/slots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/quiescence.h"

#define CACHE_LINE       64u
#define SEGMENT_LOG2_MIN 3u  /* one line */
#define DEPTH_MAX        20u /* 2^20 segments; beyond it, segments grow */

/* What the owner knows of a segment. Readers know the slots only. */
struct slots_segment {
    _Atomic uint64_t *slots;
    unsigned slots_log2;
    unsigned depth; /* of the directory's bits, how many chose it; the others are free */
    uint32_t live;  /* entries */
    uint32_t used;  /* entries and tombstones; <= 3/4 of the slots */
};

static size_t slots_size(unsigned slots_log2)
{
    return sizeof(uint64_t) << slots_log2;
}

static uint32_t used_max(unsigned slots_log2)
{
    return (uint32_t)(UINT64_C(3) << slots_log2 >> 2);
}

static struct slots_segment *segment_create(struct slots *s, unsigned slots_log2, unsigned depth)
{
    struct slots_segment *segment = malloc(sizeof *segment);
    _Atomic uint64_t *slots = aligned_alloc(CACHE_LINE, slots_size(slots_log2));
    if (segment == NULL || slots == NULL) {
        free(segment);
        free((void *)slots);
        return NULL;
    }
    memset((void *)slots, 0, slots_size(slots_log2)); /* not shared yet; SLOTS_EMPTY */
    *segment = (struct slots_segment){.slots = slots, .slots_log2 = slots_log2, .depth = depth};
    s->bytes += sizeof *segment + slots_size(slots_log2);
    return segment;
}

static void segment_forget(struct slots *s, struct slots_segment *segment)
{
    s->bytes -= sizeof *segment + slots_size(segment->slots_log2);
    free(segment);
}

static void segment_retire(struct slots *s, struct slots_segment *segment)
{
    after_quiescent(s->quiescence, s->owner, free, (void *)segment->slots);
    segment_forget(s, segment);
}

/* The owner's own stores need no order to be read back. */
static uint64_t slot_get(const struct slots_segment *segment, uint32_t i)
{
    return atomic_load_explicit(&segment->slots[i], memory_order_relaxed);
}

static void segment_put(struct slots_segment *segment, uint32_t place, uint64_t slot)
{
    const uint32_t mask = (uint32_t)((UINT64_C(1) << segment->slots_log2) - 1);
    uint32_t i = place & mask & ~(SLOTS_LINE - 1);
    while (slot_get(segment, i) > SLOTS_TOMBSTONE) { /* ends: at least a quarter is free */
        i = (i + 1) & mask;
    }
    segment->live++;
    segment->used += slot_get(segment, i) == SLOTS_EMPTY;
    assert(segment->used <= used_max(segment->slots_log2));
    /* Release: pairs with the acquire in slots_find(). */
    atomic_store_explicit(&segment->slots[i], slot, memory_order_release);
}

static unsigned depth_of(const struct slots *s)
{
    return atomic_load_explicit(&s->directory, memory_order_relaxed)->depth;
}

static uint32_t segment_number(const struct slots *s, uint32_t place)
{
    return (uint32_t)((uint64_t)place >> (32 - depth_of(s)));
}

/* Lets all directory entries from `first` on that belong to a segment of its depth point to it.
 * Until the last of them is stored nothing else changes, so it does not matter which a reader sees.
 */
static void segment_publish(struct slots *s, struct slots_segment *segment, uint32_t first)
{
    struct slots_directory *const d = atomic_load_explicit(&s->directory, memory_order_relaxed);
    const uint32_t entries = UINT32_C(1) << (d->depth - segment->depth);
    assert(first % entries == 0);
    assert(((uintptr_t)segment->slots & (CACHE_LINE - 1)) == 0);

    for (uint32_t i = first; i < first + entries; i++) {
        s->segments[i] = segment;
        atomic_store_explicit(&d->segments[i], (uintptr_t)segment->slots | segment->slots_log2,
                              memory_order_release);
    }
}

/* Where the segment of that number begins in the directory. */
static uint32_t segment_first(const struct slots *s, uint32_t number)
{
    return number & ~((UINT32_C(1) << (depth_of(s) - s->segments[number]->depth)) - 1);
}

/* Twice the entries; each segment is pointed to twice as often. */
static bool directory_double(struct slots *s)
{
    struct slots_directory *const old = atomic_load_explicit(&s->directory, memory_order_relaxed);
    const size_t n = (size_t)1 << old->depth;
    struct slots_directory *d = malloc(sizeof *d + 2 * n * sizeof d->segments[0]);
    struct slots_segment **segments = malloc(2 * n * sizeof *segments);
    if (d == NULL || segments == NULL) {
        free(d);
        free(segments);
        return false;
    }
    d->depth = old->depth + 1;
    for (size_t i = 0; i < 2 * n; i++) {
        segments[i] = s->segments[i / 2];
        atomic_init(&d->segments[i],
                    atomic_load_explicit(&old->segments[i / 2], memory_order_relaxed));
    }
    free(s->segments);
    s->segments = segments;
    s->bytes += n * (sizeof d->segments[0] + sizeof *segments);
    atomic_store_explicit(&s->directory, d, memory_order_release);
    after_quiescent(s->quiescence, s->owner, free, old);
    return true;
}

/* The entries again, without the tombstones, in so many slots. */
static bool segment_rebuild(struct slots *s, uint32_t number, unsigned slots_log2)
{
    struct slots_segment *const old = s->segments[number];
    struct slots_segment *const new = segment_create(s, slots_log2, old->depth);
    if (new == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < UINT32_C(1) << old->slots_log2; i++) {
        const uint64_t slot = slot_get(old, i);
        if (slot > SLOTS_TOMBSTONE) {
            segment_put(new, slots_pointer(slot)->place, slot);
        }
    }
    assert(new->live == old->live);
    segment_publish(s, new, segment_first(s, number));
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the table has the new one now */
    segment_retire(s, old);
    return true;
}

/* By one more bit of the place. */
static bool segment_split(struct slots *s, uint32_t place)
{
    if (s->segments[segment_number(s, place)]->depth == depth_of(s) && !directory_double(s)) {
        return false;
    }
    const uint32_t number = segment_number(s, place);
    struct slots_segment *const old = s->segments[number];
    struct slots_segment *const halves[2] = {
        segment_create(s, old->slots_log2, old->depth + 1),
        segment_create(s, old->slots_log2, old->depth + 1),
    };
    if (halves[0] == NULL || halves[1] == NULL) {
        for (unsigned i = 0; i < 2; i++) {
            if (halves[i] != NULL) {
                free((void *)halves[i]->slots);
                segment_forget(s, halves[i]);
            }
        }
        return false;
    }
    for (uint32_t i = 0; i < UINT32_C(1) << old->slots_log2; i++) {
        const uint64_t slot = slot_get(old, i);
        if (slot > SLOTS_TOMBSTONE) {
            const uint32_t at = slots_pointer(slot)->place;
            segment_put(halves[at >> (31 - old->depth) & 1], at, slot);
        }
    }
    const uint32_t first = segment_first(s, number);
    const uint32_t half = UINT32_C(1) << (depth_of(s) - old->depth - 1);
    segment_publish(s, halves[0], first);
    segment_publish(s, halves[1], first + half);
    segment_retire(s, old);
    return true;
}

/* Room for one more where `place` belongs. Splitting may have to be done again, if all entries went
 * to the same half; each time takes a bit of the depth. */
static bool make_room(struct slots *s, uint32_t place)
{
    for (;;) {
        const uint32_t number = segment_number(s, place);
        const struct slots_segment *const segment = s->segments[number];
        if (segment->used < used_max(segment->slots_log2)) {
            return true;
        }
        bool done;
        if (segment->live <= segment->used / 2) {
            done = segment_rebuild(s, number, segment->slots_log2);
        } else if (segment->slots_log2 < SLOTS_SEGMENT_LOG2_MAX || segment->depth == DEPTH_MAX) {
            done = segment_rebuild(s, number, segment->slots_log2 + 1);
        } else {
            done = segment_split(s, place);
        }
        if (!done) {
            return false;
        }
    }
}

bool slots_init(struct slots *s, struct quiescence *q, unsigned owner)
{
    *s = (struct slots){.quiescence = q, .owner = owner};
    struct slots_directory *d = malloc(sizeof *d + sizeof d->segments[0]);
    s->segments = malloc(sizeof *s->segments);
    struct slots_segment *segment = segment_create(s, SEGMENT_LOG2_MIN, 0);
    if (d == NULL || s->segments == NULL || segment == NULL) {
        free(d);
        free(s->segments);
        if (segment != NULL) {
            free((void *)segment->slots);
            free(segment);
        }
        *s = (struct slots){.count = 0};
        return false;
    }
    d->depth = 0;
    atomic_init(&s->directory, d);
    segment_publish(s, segment, 0);
    s->bytes += sizeof *d + sizeof d->segments[0] + sizeof *s->segments;
    return true;
}

void slots_fini(struct slots *s)
{
    struct slots_directory *const d = atomic_load_explicit(&s->directory, memory_order_relaxed);
    for (size_t i = 0, next; d != NULL && i < (size_t)1 << d->depth; i = next) {
        struct slots_segment *const segment = s->segments[i];
        next = i + ((size_t)1 << (d->depth - segment->depth));
        free((void *)segment->slots);
        free(segment);
    }
    free(s->segments);
    free(d);
    *s = (struct slots){.count = 0};
}

void slots_each(const struct slots *s, void (*visit)(struct slot_entry *entry, void *context),
                void *context)
{
    const struct slots_directory *const d =
        atomic_load_explicit(&s->directory, memory_order_relaxed);
    for (size_t i = 0, next; d != NULL && i < (size_t)1 << d->depth; i = next) {
        const struct slots_segment *const segment = s->segments[i];
        next = i + ((size_t)1 << (d->depth - segment->depth));
        for (uint32_t j = 0; j < UINT32_C(1) << segment->slots_log2; j++) {
            if (slot_get(segment, j) > SLOTS_TOMBSTONE) {
                visit(slots_pointer(slot_get(segment, j)), context);
            }
        }
    }
}

bool slots_insert(struct slots *s, uint64_t hash, struct slot_entry *entry)
{
    const uint64_t slot = slots_tag(hash) << 48 | (uintptr_t)entry;
    assert(slots_pointer(slot) == entry); /* user space ends below 2^47 unless asked for more */

    entry->place = (uint32_t)hash;
    if (!make_room(s, entry->place)) {
        return false;
    }
    segment_put(s->segments[segment_number(s, entry->place)], entry->place, slot);
    s->count++;
    return true;
}

/* A slot whose follower is empty ends every search that comes by, so it may be empty as well; and
 * so may then a tombstone in front of it. */
static void slot_clear(struct slots_segment *segment, uint32_t i)
{
    const uint32_t mask = (uint32_t)((UINT64_C(1) << segment->slots_log2) - 1);
    if (slot_get(segment, (i + 1) & mask) != SLOTS_EMPTY) {
        atomic_store_explicit(&segment->slots[i], SLOTS_TOMBSTONE, memory_order_relaxed);
        return;
    }
    do { /* ends at the slot that was empty, at the latest */
        atomic_store_explicit(&segment->slots[i], SLOTS_EMPTY, memory_order_relaxed);
        segment->used--;
        i = (i - 1) & mask;
    } while (slot_get(segment, i) == SLOTS_TOMBSTONE);
}

void slots_remove(struct slots *s, uint64_t hash, const struct slot_entry *entry)
{
    const uint32_t number = segment_number(s, (uint32_t)hash);
    struct slots_segment *const segment = s->segments[number];
    const uint32_t mask = (uint32_t)((UINT64_C(1) << segment->slots_log2) - 1);
    const uint64_t slot = slots_tag(hash) << 48 | (uintptr_t)entry;
    uint32_t i = (uint32_t)hash & mask & ~(SLOTS_LINE - 1);
    while (slot_get(segment, i) != slot) {
        assert(slot_get(segment, i) != SLOTS_EMPTY); /* it is in */
        i = (i + 1) & mask;
    }
    slot_clear(segment, i);
    segment->live--;
    s->count--;

    if (segment->slots_log2 > SEGMENT_LOG2_MIN &&
        segment->live < UINT32_C(1) << (segment->slots_log2 - 3)) {
        (void)segment_rebuild(s, number, segment->slots_log2 - 1); /* no memory: it stays large */
    }
}
