/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/flapping.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define NOW_MS 1000020u /* a whole minute's part */
#define TEN    10u
#define BAN_S  100u

static struct flapping *f;

static void setup(void)
{
    f = calloc(1, sizeof *f);
    cr_assert_not_null(f);
}

static void teardown(void)
{
    free(f);
}

TestSuite(flapping, .init = setup, .fini = teardown);

static enum flapping_verdict connect_at(uint64_t hash, uint64_t now_ms)
{
    return flapping_connect(f, hash, TEN, BAN_S, now_ms);
}

static void connect_ten(uint64_t hash, uint64_t now_ms)
{
    for (unsigned i = 0; i < TEN; i++) {
        cr_assert_eq(connect_at(hash, now_ms), FLAPPING_WELCOME, "%u", i);
    }
}

Test(flapping, once_too_often_is_banned_for_a_while)
{
    connect_ten(1, NOW_MS);
    cr_expect_not(flapping_is_banned(f, 1, NOW_MS));
    cr_expect_eq(connect_at(1, NOW_MS), FLAPPING_BEGINS);
    cr_expect(flapping_is_banned(f, 1, NOW_MS));
    cr_expect_eq(connect_at(1, NOW_MS + 1), FLAPPING_BANNED);
    cr_expect(flapping_is_banned(f, 1, NOW_MS + BAN_S * 1000 - 1),
              "trying does not make it longer");
    cr_expect_not(flapping_is_banned(f, 1, NOW_MS + BAN_S * 1000));
    connect_ten(1, NOW_MS + BAN_S * 1000);
    cr_expect_eq(connect_at(1, NOW_MS + BAN_S * 1000), FLAPPING_BEGINS);
}

Test(flapping, others_are_not)
{
    connect_ten(1, NOW_MS);
    cr_expect_eq(connect_at(1, NOW_MS), FLAPPING_BEGINS);
    connect_ten(1 + FLAPPING_SETS, NOW_MS); /* of the same places */
    connect_ten(2, NOW_MS);
    cr_expect_not(flapping_is_banned(f, 2, NOW_MS));
}

Test(flapping, now_and_then_is_fine)
{
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_eq(connect_at(1, NOW_MS + i * 6000ull), FLAPPING_WELCOME, "%u", i);
    }
    for (unsigned i = 0; i < 1000; i++) { /* ten at once, each minute and a bit */
        connect_ten(2, NOW_MS + i * 61000ull);
    }
}

Test(flapping, five_seconds_apart_is_too_often_some_time)
{
    unsigned welcome = 0;
    while (connect_at(1, NOW_MS + welcome * 5000ull) == FLAPPING_WELCOME && welcome < 1000) {
        welcome++;
    }
    cr_expect(welcome > TEN && welcome < 70, "%u", welcome);
}

/* A flood of others of the same places: who is banned is forgotten last. */
Test(flapping, who_is_banned_is_remembered_longest)
{
    connect_ten(1, NOW_MS);
    cr_expect_eq(connect_at(1, NOW_MS), FLAPPING_BEGINS);
    for (unsigned i = 1; i < 1000; i++) {
        cr_expect_eq(connect_at(1 + (uint64_t)i * FLAPPING_SETS, NOW_MS + i), FLAPPING_WELCOME);
    }
    cr_expect(flapping_is_banned(f, 1, NOW_MS + 1000));
}
