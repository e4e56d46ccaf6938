/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/pointer_set.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdbool.h>

#include "tests/unit/route/random.h"

#define OBJECTS 70000u /* more than have narrow slots */

static struct object {
    bool in, seen;
    uint16_t bits;
    char room[52]; /* as far apart as those that are allocated */
} objects[OBJECTS];

/* One assertion for all objects, as there are many. */
static void check(struct pointer_set *set, uint32_t count)
{
    cr_assert_eq(set->count, count);
    size_t wrong = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t place = pointer_set_places(set)[i];
        struct object *const o = pointer_at(place);
        wrong += !o->in || o->seen || pointer_bits(place) != o->bits;
        o->seen = true;
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        struct object *const o = &objects[i];
        const uint64_t *const place = pointer_set_find(set, o);
        wrong += (place != NULL) != o->in || (place != NULL && pointer_at(*place) != o);
        o->seen = false;
    }
    cr_assert_eq(wrong, 0);
}

/* Against an array of bools, at sizes from none to many and back. */
Test(pointer_set, holds_what_was_put_in)
{
    struct random r = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)r.seed);
    struct pointer_set set = {.count = 0};
    uint32_t count = 0;
    for (unsigned turn = 0; turn < 9; turn++) {
        const uint32_t most = turn % 3 == 0 ? 5 : turn % 3 == 1 ? 200 : OBJECTS;
        for (unsigned step = 0; step < (most < 1000 ? 3 : 2) * most; step++) {
            struct object *const o = &objects[random_below(&r, most)];
            if (o->in && random_below(&r, 4) == 0) {
                o->bits = (uint16_t)random_below(&r, 65536);
                pointer_bits_set(pointer_set_find(&set, o), o->bits);
            } else if (o->in) {
                pointer_set_remove(&set, o);
                o->in = false;
                count--;
            } else {
                o->bits = (uint16_t)random_below(&r, 65536);
                cr_assert_eq(pointer_set_add(&set, o, o->bits), 0);
                o->in = true;
                count++;
            }
            if (step % (most / 4) == 0) {
                check(&set, count);
            }
        }
        check(&set, count);
        if (turn % 2 == 1) {
            for (struct object *o; (o = pointer_set_last(&set)) != NULL; count--) {
                cr_assert(o->in);
                o->in = false;
                pointer_set_remove(&set, o);
            }
            check(&set, 0);
        }
    }
    pointer_set_fini(&set);
}

/* What it is for: few bytes, whatever the number; and none to speak of for one, or afterwards. */
Test(pointer_set, is_small)
{
    struct pointer_set set = {.count = 0};
    cr_assert_eq(pointer_set_add(&set, &objects[0], 1), 0);
    cr_expect_eq(set.capacity, 0);
    for (uint32_t i = 1; i < OBJECTS; i++) {
        cr_assert_eq(pointer_set_add(&set, &objects[i], 1), 0);
        cr_expect(i < 8 || set.capacity <= (i + 1) * 4 / 3, "%u of %u", i + 1, set.capacity);
    }
    for (uint32_t i = OBJECTS - 1; i > 0; i--) {
        pointer_set_remove(&set, &objects[i]);
        cr_expect(set.capacity <= 4 || set.capacity <= i * 3 + 3, "%u of %u", i, set.capacity);
    }
    pointer_set_remove(&set, &objects[0]);
    cr_expect_eq(set.capacity, 0);
}
