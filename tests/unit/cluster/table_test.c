/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/table.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/route/random.h"

#define OBJECTS 5000u

struct object {
    struct table_link link;
    uint64_t key;
    bool in;
    bool seen;
};

static struct object objects[OBJECTS];

/* Few hashes, so that many keys share one. */
static uint64_t hash_of(uint64_t key, unsigned hashes)
{
    return key % hashes * 0x9e3779b97f4a7c15u;
}

static unsigned find_all(struct table *t, uint64_t hash)
{
    unsigned count = 0;
    for (struct table_link *l = table_find(t, hash); l != NULL; l = table_find_next(l)) {
        struct object *o = table_object(l, struct object, link);
        cr_assert_eq(l->hash, hash);
        cr_assert(o->in);
        cr_assert_not(o->seen, "found twice");
        o->seen = true;
        count++;
    }
    for (struct table_link *l = table_find(t, hash); l != NULL; l = table_find_next(l)) {
        table_object(l, struct object, link)->seen = false;
    }
    return count;
}

static unsigned count_all(uint64_t hash, unsigned hashes)
{
    unsigned count = 0;
    for (unsigned i = 0; i < OBJECTS; i++) {
        count += objects[i].in && hash_of(objects[i].key, hashes) == hash;
    }
    return count;
}

/* As a plain array does, at every stage of growing. */
Test(table, finds_what_is_in_and_nothing_else)
{
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    static const unsigned hashes[] = {1, 7, 100, 100000};
    for (unsigned h = 0; h < sizeof hashes / sizeof hashes[0]; h++) {
        struct table t;
        cr_assert_eq(table_init(&t), 0);
        memset(objects, 0, sizeof objects);
        size_t count = 0;
        const unsigned used = hashes[h] < 10 ? 200 : OBJECTS;
        for (unsigned step = 0; step < 20 * used; step++) {
            struct object *o = &objects[random_below(&random, used)];
            const bool growing = step / used % 4 < 3; /* then it shrinks for a while */
            if (!o->in && growing) {
                o->key = random_next(&random);
                o->in = true;
                table_insert(&t, &o->link, hash_of(o->key, hashes[h]));
                count++;
            } else if (o->in && !(growing && step % 2 == 0)) {
                table_remove(&t, &o->link);
                o->in = false;
                count--;
            }
            cr_assert_eq(t.count, count);
            if (step % 64 == 0) {
                const uint64_t hash = hash_of(random_next(&random), hashes[h]);
                cr_assert_eq(find_all(&t, hash), count_all(hash, hashes[h]));
            }
        }
        for (unsigned i = 0; i < used; i++) {
            const struct table_link *l = table_find(&t, hash_of(objects[i].key, hashes[h]));
            while (l != NULL && l != &objects[i].link) {
                l = table_find_next(l);
            }
            cr_assert_eq(l != NULL, objects[i].in);
        }
        table_fini(&t);
    }
}

/* No insertion moves more than a few buckets: growing is spread over those that follow. */
Test(table, growing_is_spread)
{
    struct table t;
    cr_assert_eq(table_init(&t), 0);
    memset(objects, 0, sizeof objects);
    for (unsigned i = 0; i < OBJECTS; i++) {
        const size_t moved = t.old == NULL ? 0 : t.moved;
        table_insert(&t, &objects[i].link, hash_of(i, OBJECTS));
        cr_assert(t.old == NULL || t.moved <= moved + 4);
        cr_assert_leq(t.count, 2 * (t.mask + 1), "chains grow long: %zu in %zu", t.count, t.mask);
    }
    table_fini(&t);
}

/* table_any() takes everything out, in the middle of growing too, once over the buckets. */
Test(table, can_be_emptied)
{
    for (unsigned count = 0; count < 200; count++) {
        struct table t;
        cr_assert_eq(table_init(&t), 0);
        memset(objects, 0, sizeof objects);
        for (unsigned i = 0; i < count; i++) {
            table_insert(&t, &objects[i].link, hash_of(i, 1000));
            objects[i].in = true;
        }
        size_t cursor = 0;
        unsigned taken = 0;
        for (struct table_link *l; (l = table_any(&t, &cursor)) != NULL; taken++) {
            struct object *o = table_object(l, struct object, link);
            cr_assert(o->in);
            o->in = false;
            table_remove(&t, l);
        }
        cr_expect_eq(taken, count);
        cr_expect_leq(cursor, t.mask + 1);
        cr_expect_null(table_find(&t, hash_of(1, 1000)));
        table_fini(&t);
    }
}

/* A walk with pauses, between which the table grows and others come and go: who is there from the
 * beginning to the end is met once. */
Test(table, a_walk_meets_all_that_stay_once)
{
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    for (unsigned round = 0; round < 50; round++) {
        const unsigned stay = 1 + (unsigned)(random_next(&random) % 500);
        unsigned others = stay, seen = 0;
        struct table t;
        cr_assert_eq(table_init(&t), 0);
        memset(objects, 0, sizeof objects);
        for (unsigned i = 0; i < stay; i++) {
            table_insert(&t, &objects[i].link, random_next(&random));
        }
        uint64_t place = 0;
        for (bool more = true; more;) {
            unsigned steps = 1 + (unsigned)(random_next(&random) % 8);
            struct table_link *const link = table_walk(&t, &place, &steps);
            if (link != NULL) {
                struct object *const o = table_object(link, struct object, link);
                cr_assert_not(o->seen, "met twice");
                o->seen = true;
                seen += o < objects + stay;
                place = table_place_after(link->hash);
                more = place != 0;
            } else {
                more = steps == 0;
            }
            for (unsigned i = 0; i < 8 && others < OBJECTS; i++) {
                table_insert(&t, &objects[others++].link, random_next(&random));
            }
            if (others > stay && random_next(&random) % 2 == 0) {
                table_remove(&t, &objects[--others].link);
                objects[others].seen = false;
            }
        }
        cr_assert_eq(seen, stay);
        table_fini(&t);
    }
}

Test(table, a_walk_costs_no_more_steps_than_it_may)
{
    struct table t;
    uint64_t place = 0;
    unsigned steps = 5;
    cr_assert_eq(table_init(&t), 0);
    cr_expect_null(table_walk(&t, &place, &steps));
    cr_expect_eq(steps, 0);
    steps = 100;
    cr_expect_null(table_walk(&t, &place, &steps));
    cr_expect_eq(steps, 100 - (t.mask + 1 - 5) + 1); /* the end is none */
    cr_expect_eq(table_place_after(UINT64_MAX), 0);
    table_fini(&t);
}
