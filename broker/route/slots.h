/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots: a hash table of pointers that one thread changes and all may read meanwhile.
 *
 *   directory, by the upper bits of the place ──▶ segments: lines of 8 slots, by the lower bits
 *
 * A slot is one word: 16 bits of the hash and the entry's address; so it changes in one store, and
 * a reader follows a pointer only when it is almost certainly the one. A search begins at the start
 * of a line and ends at an empty slot. An entry never moves within a segment, and a slot in front
 * of it never becomes empty: who left is replaced by a tombstone. So a reader cannot miss an entry
 * that stays, whatever is added or removed beside it, and comes to an end: at least a quarter is
 * empty. A segment that is full, or full of tombstones, is built anew, or split in two, beside the
 * old one, which stays as it was for those who still read it. At SEGMENT_SLOTS_MAX it splits
 * instead of growing, so that no insertion moves more than three quarters of that many entries,
 * however large the table is (but for one whose hashes collide, which grows on and gets slow, not
 * wrong).
 *
 * Owner: one thread, said in slots_init(), changes; all read, between two of their quiescent
 * points. Memory: 8 bytes per slot, at most 3/4 of them used; the entries are the caller's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct quiescence;

#define SLOTS_LINE             8u  /* slots in a cache line */
#define SLOTS_SEGMENT_LOG2_MAX 11u /* 2,048 slots, 16 KiB */
#define SLOTS_EMPTY            UINT64_C(0)
#define SLOTS_TOMBSTONE        UINT64_C(1) /* its tag is 0, which no entry's is */

/* The first member of each entry. */
struct slot_entry {
    uint32_t place; /* set by slots_insert(): the lower half of the hash */
};

struct slots_directory {
    unsigned depth; /* upper bits of the place that choose a segment */
    /* Address of the first slot, a multiple of 64, plus log2 of the number of slots. Written by the
     * owner with release, read with acquire: the slots are there. */
    _Atomic uintptr_t segments[];
};

struct slots {
    _Atomic(struct slots_directory *) directory; /* release by the owner, acquire by readers */

    /* The owner's. */
    struct slots_segment **segments; /* with their counts; in parallel to the directory's */
    struct quiescence *quiescence;
    unsigned owner;
    size_t count; /* entries */
    size_t bytes; /* memory held, entries not included */
};

NODISCARD bool slots_init(struct slots *s, struct quiescence *q, unsigned owner);
void slots_fini(struct slots *s); /* no reader is left; the entries are the caller's */

/* false: out of memory, nothing has changed. The entry is complete: it can be read at once. */
NODISCARD bool slots_insert(struct slots *s, uint64_t hash, struct slot_entry *entry);
void slots_remove(struct slots *s, uint64_t hash, const struct slot_entry *entry); /* it is in */

/* visit() may free the entry; then nothing but slots_fini() may follow. */
void slots_each(const struct slots *s, void (*visit)(struct slot_entry *entry, void *context),
                void *context);

/* Is this entry the one? The hash's 16 bits agree already. */
typedef bool slots_equal_fn(const struct slot_entry *entry, const void *key);

/* ---- the hot path, to be inlined */

static inline uint64_t slots_tag(uint64_t hash)
{
    return (hash >> 48) | 1;
}

static inline struct slot_entry *slots_pointer(uint64_t slot)
{
    return (struct slot_entry *)(uintptr_t)(slot & (UINT64_MAX >> 16));
}

/* A search: slots[(at + i) & mask], at a line's start. */
struct slots_search {
    const _Atomic uint64_t *slots;
    uint32_t at, mask;
};

static inline struct slots_search slots_search(const struct slots *s, uint64_t hash)
{
    const struct slots_directory *const d =
        atomic_load_explicit(&s->directory, memory_order_acquire);
    const uint32_t place = (uint32_t)hash;
    const uintptr_t segment = atomic_load_explicit(&d->segments[(uint64_t)place >> (32 - d->depth)],
                                                   memory_order_acquire);
    const uint32_t mask = (uint32_t)((UINT64_C(1) << (segment & 63)) - 1);
    return (struct slots_search){.slots = (const _Atomic uint64_t *)(segment & ~(uintptr_t)63),
                                 .at = place & mask & ~(SLOTS_LINE - 1),
                                 .mask = mask};
}

/* Brings the line where the search will begin closer. */
static inline void slots_prefetch(const struct slots *s, uint64_t hash)
{
    const struct slots_search f = slots_search(s, hash);
    __builtin_prefetch((const void *)&f.slots[f.at]);
}

/* NULL: there is none. Bounded by the segment's slots, since it has an empty one. */
static inline struct slot_entry *slots_find(const struct slots *s, uint64_t hash,
                                            slots_equal_fn *equal, const void *key)
{
    const struct slots_search f = slots_search(s, hash);
    const uint64_t tag = slots_tag(hash);
    for (uint32_t i = f.at;; i = (i + 1) & f.mask) {
        /* Acquire: pairs with the release in slots_insert(), so the entry is seen complete. */
        const uint64_t slot = atomic_load_explicit(&f.slots[i], memory_order_acquire);
        if (slot >> 48 == tag && equal(slots_pointer(slot), key)) {
            return slots_pointer(slot);
        }
        if (slot == SLOTS_EMPTY) {
            return NULL;
        }
    }
}

/* A look at the line where the search begins, without a branch per slot. The entry that is probably
 * the one is brought closer, but not read. */
enum slots_look { SLOTS_NONE, SLOTS_CANDIDATE, SLOTS_UNSURE };

/* SLOTS_NONE: slots_find() would find none. SLOTS_CANDIDATE: *entry would be the first it compared.
 * SLOTS_UNSURE: the search goes on in the next line. */
static inline enum slots_look slots_look(const struct slots *s, uint64_t hash,
                                         struct slot_entry **entry)
{
    const struct slots_search f = slots_search(s, hash);
    const uint64_t tag = slots_tag(hash);
    uint64_t line[SLOTS_LINE];
    unsigned same = 0, empty = 0;
    for (unsigned i = 0; i < SLOTS_LINE; i++) {
        line[i] = atomic_load_explicit(&f.slots[f.at + i], memory_order_acquire);
        same |= (unsigned)(line[i] >> 48 == tag) << i;
        empty |= (unsigned)(line[i] == SLOTS_EMPTY) << i;
    }
    if (same == 0) {
        return empty != 0 ? SLOTS_NONE : SLOTS_UNSURE;
    }
    *entry = slots_pointer(line[__builtin_ctz(same)]);
    __builtin_prefetch(*entry);
    __builtin_prefetch((const char *)*entry + 64);
    return SLOTS_CANDIDATE;
}
