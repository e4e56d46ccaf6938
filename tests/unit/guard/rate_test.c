/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/rate.h"

#include <criterion/criterion.h>

#define NOW_MS 1000000u

/* How many of them may be taken at that time; at most 100,000. */
static unsigned taken_at(uint64_t *paid_until_ns, uint64_t now_ms, uint64_t per_second)
{
    const uint64_t cost_ns = rate_cost_ns(1, per_second);
    unsigned n = 0;
    while (n < 100000 && !rate_is_over(*paid_until_ns, now_ms, cost_ns)) {
        *paid_until_ns = rate_taken(*paid_until_ns, now_ms, cost_ns);
        n++;
    }
    return n;
}

Test(rate, seconds_worth_at_once_and_no_more)
{
    for (unsigned per_second = 1; per_second <= 1000; per_second++) {
        uint64_t paid = 0;
        cr_expect_eq(taken_at(&paid, NOW_MS, per_second), per_second);
    }
}

Test(rate, time_pays)
{
    uint64_t paid = 0;
    taken_at(&paid, NOW_MS, 10);
    cr_expect_eq(taken_at(&paid, NOW_MS + 99, 10), 0);
    cr_expect_eq(taken_at(&paid, NOW_MS + 100, 10), 1);
    cr_expect_eq(taken_at(&paid, NOW_MS + 1099, 10), 9);
    cr_expect_eq(taken_at(&paid, NOW_MS + 1100, 10), 1);
}

/* Whenever one asks: over ten seconds it is ten seconds' worth, and the one at the beginning. */
Test(rate, holds_over_time)
{
    uint64_t paid = 0;
    unsigned taken = 0;
    for (uint64_t ms = 0; ms <= 10000; ms += 8) {
        taken += taken_at(&paid, NOW_MS + ms, 30);
    }
    cr_expect_eq(taken, 11 * 30);
}

Test(rate, long_silence_is_no_credit)
{
    uint64_t paid = 0;
    taken_at(&paid, NOW_MS, 10);
    cr_expect_eq(taken_at(&paid, NOW_MS + (1u << 30), 10), 10);
}

Test(rate, what_is_larger_is_taken_and_waited_for)
{
    const uint64_t large = rate_cost_ns(5000, 1000), small = rate_cost_ns(1, 1000);
    uint64_t paid = rate_taken(0, NOW_MS, small);
    cr_expect(rate_is_over(paid, NOW_MS, large), "by who owes nothing");
    cr_expect_not(rate_is_over(paid, NOW_MS + 1, large));
    paid = rate_taken(paid, NOW_MS + 1, large);
    cr_expect(rate_is_over(paid, NOW_MS + 4001, small));
    cr_expect_not(rate_is_over(paid, NOW_MS + 4002, small));
}

Test(rate, the_wait_is_exact)
{
    const uint64_t costs[] = {0, rate_cost_ns(1, 777), rate_cost_ns(2000, 777)};
    for (uint64_t units = 1; units < 5000; units += 13) {
        for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
            const uint64_t paid = rate_taken(0, NOW_MS, rate_cost_ns(units, 777));
            const uint64_t wait_ms = rate_wait_ms(paid, NOW_MS, costs[i]);
            cr_expect_eq(wait_ms == 0, !rate_is_over(paid, NOW_MS, costs[i]));
            cr_expect_not(rate_is_over(paid, NOW_MS + wait_ms, costs[i]));
            cr_expect(wait_ms == 0 || rate_is_over(paid, NOW_MS + wait_ms - 1, costs[i]));
        }
    }
}

Test(rate, largest_values_do_not_wrap)
{
    cr_expect_eq(rate_cost_ns(UINT32_MAX, 1), (uint64_t)UINT32_MAX * RATE_SECOND_NS);
    cr_expect_eq(rate_cost_ns(1024, 1ull << 30), 953);
    cr_expect_eq(rate_cost_ns(1, 1ull << 40), 0);
    cr_expect_eq(rate_cost_ns(0, 5), 0);
}

Test(rate, one_for_several)
{
    _Atomic uint64_t paid = 0;
    for (unsigned i = 0; i < 10; i++) {
        cr_expect(rate_take(&paid, NOW_MS, rate_cost_ns(1, 10)));
    }
    cr_expect_not(rate_take(&paid, NOW_MS, rate_cost_ns(1, 10)));
    cr_expect(rate_take(&paid, NOW_MS + 1000, rate_cost_ns(1, 10)), "refused ones cost nothing");
}

Test(rate, taken_anyway_is_owed)
{
    _Atomic uint64_t paid = 0;
    for (unsigned i = 0; i < 9; i++) {
        cr_expect(rate_take_anyway(&paid, NOW_MS, rate_cost_ns(1, 10)));
    }
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_not(rate_take_anyway(&paid, NOW_MS, rate_cost_ns(1, 10)));
    }
    cr_expect_eq(rate_owed_ns(paid, NOW_MS), 14u * (RATE_SECOND_NS / 10));
}
