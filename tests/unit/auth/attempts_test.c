/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/attempts.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define ALICE 1u
#define BOB   2u
#define TEN   10u

static struct attempts *fresh(void)
{
    struct attempts *a = calloc(1, sizeof *a);
    cr_assert_not_null(a);
    return a;
}

static void fail(struct attempts *a, unsigned times, uint64_t now_ms)
{
    for (unsigned i = 0; i < times; i++) {
        cr_assert(attempts_allowed(a, ALICE, TEN, now_ms), "%u", i);
        attempts_failed(a, ALICE, TEN, now_ms);
    }
}

Test(attempts, so_many_at_once_and_no_more)
{
    struct attempts *a = fresh();
    fail(a, TEN, 1000);
    cr_expect_not(attempts_allowed(a, ALICE, TEN, 1000));
    cr_expect(attempts_allowed(a, BOB, TEN, 1000));
    free(a);
}

Test(attempts, time_forgives_one_after_the_other)
{
    struct attempts *a = fresh();
    fail(a, TEN, 1000);
    cr_expect_not(attempts_allowed(a, ALICE, TEN, 1000 + 5999));
    fail(a, 1, 1000 + 6000);
    cr_expect_not(attempts_allowed(a, ALICE, TEN, 1000 + 6000));
    fail(a, TEN, 1000 + 6000 + 60000); /* all of them */
    cr_expect_not(attempts_allowed(a, ALICE, TEN, 1000 + 6000 + 60000));
    free(a);
}

Test(attempts, long_silence_is_no_credit)
{
    struct attempts *a = fresh();
    fail(a, 1, 1000);
    fail(a, TEN, 1u << 30);
    cr_expect_not(attempts_allowed(a, ALICE, TEN, 1u << 30));
    free(a);
}

Test(attempts, zero_is_any_number)
{
    struct attempts *a = fresh();
    for (unsigned i = 0; i < 1000; i++) {
        attempts_failed(a, ALICE, 0, 1000);
    }
    cr_expect(attempts_allowed(a, ALICE, 0, 1000));
    free(a);
}

Test(attempts, limit_that_is_lowered_counts_at_once)
{
    struct attempts *a = fresh();
    fail(a, 5, 1000);
    cr_expect(attempts_allowed(a, ALICE, TEN, 1000));
    cr_expect_not(attempts_allowed(a, ALICE, 5, 1000));
    free(a);
}
