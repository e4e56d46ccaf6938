/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/slots.h"

#include <criterion/criterion.h>

#include "broker/shard/quiescence.h"
#include "fault.h"
#include "random.h"

#define ENTRIES 40000u

struct entry {
    struct slot_entry entry;
    bool in;
    uint64_t hash;
};

static struct entry entries[ENTRIES];

static bool is_that(const struct slot_entry *entry, const void *key)
{
    return entry == key;
}

static bool has(const struct slots *s, const struct entry *e)
{
    struct slot_entry *candidate = NULL;
    slots_prefetch(s, e->hash);
    const enum slots_look look = slots_look(s, e->hash, &candidate);
    const bool found = slots_find(s, e->hash, is_that, &e->entry) != NULL;
    cr_assert_not(found && look == SLOTS_NONE);
    cr_assert_eq(candidate != NULL, look == SLOTS_CANDIDATE);
    return found;
}

static void turn(struct slots *s, struct entry *e, size_t *count)
{
    if (e->in) {
        slots_remove(s, e->hash, &e->entry);
        --*count;
    } else {
        cr_assert(slots_insert(s, e->hash, &e->entry));
        ++*count;
    }
    e->in = !e->in;
}

static void count_each(struct slot_entry *entry, void *context)
{
    cr_assert(((struct entry *)entry)->in);
    ++*(size_t *)context;
}

static void expect_all(const struct slots *s, size_t count, uint64_t seed)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        cr_assert_eq(has(s, &entries[i]), entries[i].in, "%u, seed %#lx", i, seed);
    }
    size_t each = 0;
    slots_each(s, count_each, &each);
    cr_assert_eq(each, count);
    cr_assert_eq(s->count, count);
}

/* Random changes while it grows to many segments, stays, and shrinks; `mask` makes hashes collide.
 */
static void churn(uint64_t mask)
{
    struct random r = random_init();
    struct quiescence *q = quiescence_create(1);
    quiescence_online(q, 0);
    struct slots s;
    cr_assert(slots_init(&s, q, 0));
    const size_t bytes = s.bytes;
    size_t count = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        entries[i] = (struct entry){.hash = random_next(&r) & mask};
        turn(&s, &entries[i], &count);
        quiescence_pass(q, 0);
    }
    expect_all(&s, count, r.seed);
    cr_expect_lt(s.bytes, ENTRIES * 30);
    for (unsigned i = 0; i < 4 * ENTRIES; i++) {
        turn(&s, &entries[random_below(&r, ENTRIES)], &count);
        quiescence_pass(q, 0);
    }
    expect_all(&s, count, r.seed);
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (entries[i].in && i % 100 != 0) {
            turn(&s, &entries[i], &count);
        }
    }
    expect_all(&s, count, r.seed);
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (entries[i].in) {
            turn(&s, &entries[i], &count);
        }
    }
    expect_all(&s, 0, r.seed);
    cr_expect_lt(s.bytes, bytes + 128 * 1024, "the directory stays, the slots go");
    slots_fini(&s);
    quiescence_destroy(q);
}

Test(slots, random_changes)
{
    churn(UINT64_MAX);
}

/* The directory uses these bits: a few segments get all. */
Test(slots, uneven_hashes)
{
    churn(~UINT64_C(0xf0000000));
}

/* All the same place: the table stays right, and its memory in proportion. */
Test(slots, same_hash)
{
    struct quiescence *q = quiescence_create(1);
    quiescence_online(q, 0);
    struct slots s;
    cr_assert(slots_init(&s, q, 0));
    for (unsigned i = 0; i < 3000; i++) {
        entries[i] = (struct entry){.in = true, .hash = 0x123456789abcdef0};
        cr_assert(slots_insert(&s, entries[i].hash, &entries[i].entry));
    }
    for (unsigned i = 0; i < 3000; i++) {
        cr_assert(has(&s, &entries[i]));
    }
    for (unsigned i = 0; i < 3000; i++) {
        slots_remove(&s, entries[i].hash, &entries[i].entry);
        cr_assert_not(has(&s, &entries[i]));
    }
    slots_fini(&s);
    quiescence_destroy(q);
}

/* One comes, another goes, for ever: tombstones do not fill it, nor make it grow. */
Test(slots, tombstones_are_cleared)
{
    struct random r = random_init();
    struct quiescence *q = quiescence_create(1);
    quiescence_online(q, 0);
    struct slots s;
    cr_assert(slots_init(&s, q, 0));
    for (unsigned i = 0; i < 200000; i++) {
        struct entry *const e = &entries[i % 100];
        if (e->in) {
            slots_remove(&s, e->hash, &e->entry);
        }
        *e = (struct entry){.in = true, .hash = random_next(&r)};
        cr_assert(slots_insert(&s, e->hash, &e->entry));
        quiescence_pass(q, 0);
    }
    cr_expect_lt(s.bytes, 8 * 1024);
    slots_fini(&s);
    quiescence_destroy(q);
}

/* An insertion that fails leaves everything as it was; and can be done again. */
Test(slots, no_memory)
{
    struct random r = random_init();
    struct quiescence *q = quiescence_create(1);
    quiescence_online(q, 0);
    struct slots s;
    for (unsigned n = 0; n < 3; n++) {
        fault_at(n);
        cr_assert_not(slots_init(&s, q, 0));
    }
    fault_at(FAULT_NEVER);
    cr_assert(slots_init(&s, q, 0));
    after_quiescent(q, 0, free, malloc(1)); /* from now on, one block to retire with is at hand */
    size_t failures = 0;
    for (unsigned i = 0; i < 8000; i++) {
        entries[i] = (struct entry){.in = true, .hash = random_next(&r)};
        quiescence_pass(q, 0);
        quiescence_pass(q, 0);
        fault_at(i % 4);
        if (!slots_insert(&s, entries[i].hash, &entries[i].entry)) {
            failures++;
            fault_at(FAULT_NEVER);
            cr_assert(slots_insert(&s, entries[i].hash, &entries[i].entry));
        }
        fault_at(FAULT_NEVER);
    }
    cr_expect_gt(failures, 3);
    for (unsigned i = 0; i < 8000; i++) {
        cr_assert(has(&s, &entries[i]), "seed %#lx", r.seed);
    }
    slots_fini(&s);
    quiescence_destroy(q);
}
