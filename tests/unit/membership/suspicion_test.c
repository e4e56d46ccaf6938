/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/membership/suspicion.h"

#include <criterion/criterion.h>
#include <math.h>

/* The times that memberlist's formula gives at multipliers 4 and 6, and an interval of 1 s. */
static const struct {
    uint32_t members, confirmations;
    double seconds[3]; /* by how many have confirmed */
    uint32_t retransmits;
} rows[] = {
    {1, 0, {4.0, 4.0, 4.0}, 4},           {2, 0, {4.0, 4.0, 4.0}, 4},
    {3, 0, {4.0, 4.0, 4.0}, 4},           {4, 2, {24.0, 11.38, 4.0}, 4},
    {5, 2, {24.0, 11.38, 4.0}, 4},        {10, 2, {24.0, 11.38, 4.0}, 8},
    {30, 2, {35.45, 16.81, 5.91}, 8},     {100, 2, {48.0, 22.76, 8.0}, 12},
    {1024, 2, {72.25, 34.26, 12.04}, 16},
};

Test(suspicion, times_and_tellings_are_those_of_the_formula)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct suspicion_time t = suspicion_time(rows[i].members, 4, 6, 1000);
        cr_expect_eq(t.confirmations, rows[i].confirmations, "%u", rows[i].members);
        for (uint32_t c = 0; c < 3; c++) {
            const double ms = suspicion_timeout_ms(&t, c);
            cr_expect_float_eq(ms / 1000, rows[i].seconds[c], 0.02, "%u, %u: %f", rows[i].members,
                               c, ms);
        }
        cr_expect_eq(suspicion_timeout_ms(&t, 99), t.least_ms);
        cr_expect_eq(suspicion_retransmits(rows[i].members, 4), rows[i].retransmits, "%u",
                     rows[i].members);
    }
}

Test(suspicion, with_a_multiplier_of_one_the_time_is_fixed)
{
    const struct suspicion_time t = suspicion_time(100, 5, 1, 1000);
    cr_expect_eq(t.least_ms, t.most_ms);
    cr_expect_eq(suspicion_timeout_ms(&t, 0), suspicion_timeout_ms(&t, 3));
    const struct suspicion_time least = suspicion_time(100, 1, 6, 1000);
    cr_expect_eq(least.confirmations, 0);
}

Test(suspicion, logarithms_are_good_to_four_digits)
{
    for (uint32_t i = 1; i < 100000; i = i + 1 + i / 50) {
        cr_expect_float_eq(suspicion_log2(i) / 65536.0, log2(i), 0.0001, "%u", i);
    }
    cr_expect_eq(suspicion_log2(UINT32_MAX) >> 16, 31);
    cr_expect_eq(suspicion_retransmits(0, 4), 4);
}
