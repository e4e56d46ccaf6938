/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/dispatch/origins.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct origins *made(uint32_t most)
{
    struct origins *const o = origins_create(most);
    cr_assert_not_null(o);
    return o;
}

static struct bytes encoded(const struct origins *o)
{
    const size_t len = origins_encode(o, NULL);
    uint8_t *const out = malloc(len + 1);
    cr_assert_not_null(out);
    cr_assert_eq(origins_encode(o, out), len);
    return bytes_of(out, len);
}

static void drop(struct bytes b)
{
    free((void *)(uintptr_t)b.at);
}

Test(origins, only_what_is_above_the_highest_is_new)
{
    struct origins *const o = made(10);
    cr_expect_eq(origins_highest(o, 7), 0);
    cr_expect_eq(origins_take(o, 7, 5), ORIGINS_NEW);
    cr_expect_eq(origins_take(o, 7, 5), ORIGINS_REPEATED);
    cr_expect_eq(origins_take(o, 7, 4), ORIGINS_REPEATED);
    cr_expect_eq(origins_take(o, 8, 4), ORIGINS_NEW);
    cr_expect_eq(origins_take(o, 7, 9), ORIGINS_NEW);
    cr_expect_eq(origins_highest(o, 7), 9);
    cr_expect_eq(origins_highest(o, 8), 4);
    cr_expect_eq(origins_count(o), 2);
    origins_destroy(o);
}

/* A repetition is a use, too; a look is none. */
Test(origins, the_longest_unused_is_forgotten)
{
    struct origins *const o = made(3);
    for (uint64_t origin = 1; origin <= 3; origin++) {
        cr_expect_eq(origins_take(o, origin, 10), ORIGINS_NEW);
    }
    cr_expect_eq(origins_take(o, 1, 10), ORIGINS_REPEATED);
    cr_expect_eq(origins_highest(o, 2), 10);
    cr_expect_eq(origins_take(o, 4, 10), ORIGINS_NEW);
    cr_expect_eq(origins_highest(o, 1), 10);
    cr_expect_eq(origins_highest(o, 2), 0);
    cr_expect_eq(origins_highest(o, 3), 10);
    cr_expect_eq(origins_count(o), 3);
    origins_destroy(o);
}

Test(origins, as_many_as_may_be)
{
    struct origins *const o = made(ORIGINS_MAX);
    for (uint64_t origin = 1; origin <= 2 * (uint64_t)ORIGINS_MAX; origin++) {
        cr_assert_eq(origins_take(o, origin << 56 | origin, origin), ORIGINS_NEW);
    }
    cr_expect_eq(origins_count(o), ORIGINS_MAX);
    const uint64_t first = ORIGINS_MAX, second = first + 1;
    cr_expect_eq(origins_highest(o, first << 56 | first), 0);
    cr_expect_eq(origins_highest(o, second << 56 | second), second);
    origins_destroy(o);
}

/* Also the order of use, which decides what is forgotten next. */
Test(origins, bytes_are_the_whole_table)
{
    struct origins *const a = made(3), *const b = made(3);
    cr_expect_eq(origins_take(b, 99, 1), ORIGINS_NEW);
    for (uint64_t origin = 1; origin <= 3; origin++) {
        cr_expect_eq(origins_take(a, origin, origin * 10), ORIGINS_NEW);
    }
    cr_expect_eq(origins_take(a, 1, 11), ORIGINS_NEW);
    const struct bytes before = encoded(a);
    cr_expect_eq(before.len, 3 * ORIGINS_ITEM_BYTES);
    cr_assert_eq(origins_decode(b, before), ORIGINS_NEW);
    cr_expect_eq(origins_highest(b, 99), 0);
    cr_expect_eq(origins_take(a, 4, 1), ORIGINS_NEW);
    cr_expect_eq(origins_take(b, 4, 1), ORIGINS_NEW);
    const struct bytes one = encoded(a), two = encoded(b);
    cr_expect(bytes_equal(one, two));
    cr_expect_eq(origins_highest(b, 2), 0);
    drop(before);
    drop(one);
    drop(two);
    origins_destroy(a);
    origins_destroy(b);
}

Test(origins, other_bytes_change_nothing)
{
    static const uint8_t twice[32] = {[0] = 7, [8] = 1, [16] = 7, [24] = 2};
    static const uint8_t none[16] = {[0] = 7};
    static const uint8_t three[48] = {[0] = 1, [8] = 1, [16] = 2, [24] = 1, [32] = 3, [40] = 1};
    struct origins *const o = made(2);
    cr_expect_eq(origins_take(o, 9, 5), ORIGINS_NEW);
    cr_expect_eq(origins_decode(o, bytes_of(twice, 32)), ORIGINS_MALFORMED);
    cr_expect_eq(origins_decode(o, bytes_of(none, 16)), ORIGINS_MALFORMED);
    cr_expect_eq(origins_decode(o, bytes_of(three, 48)), ORIGINS_MALFORMED);
    cr_expect_eq(origins_decode(o, bytes_of(three, 17)), ORIGINS_MALFORMED);
    cr_expect_eq(origins_highest(o, 9), 5);
    cr_expect_eq(origins_decode(o, bytes_of(NULL, 0)), ORIGINS_NEW);
    cr_expect_eq(origins_count(o), 0);
    origins_destroy(o);
}

Test(origins, an_origin_says_whose_it_is)
{
    const uint64_t origin = origin_of(ORIGIN_NODES - 1, UINT32_MAX, ORIGIN_SHARDS - 1);
    cr_expect_eq(origin, (UINT64_C(1) << 56) - 1);
    cr_expect_eq(origin_node(origin_of(3, 70000, 5)), 3);
    cr_expect_eq(origin_start(origin_of(3, 70000, 5)), 70000);
    cr_expect_eq(origin_shard(origin_of(3, 70000, 5)), 5);
}
