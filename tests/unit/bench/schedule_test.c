/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bench/load/schedule.h"

#define START UINT64_C(1000000)
#define MS    UINT64_C(1000000)

Test(schedule, nothing_before_its_time)
{
    struct schedule s = schedule_start(START, 1000);
    uint64_t intended = 0;
    cr_expect_not(schedule_take(&s, START - 1, &intended));
    cr_expect(schedule_take(&s, START, &intended));
    cr_expect_eq(intended, START);
    cr_expect_not(schedule_take(&s, START + MS - 1, &intended));
    cr_expect_eq(schedule_next_ns(&s), START + MS);
}

/* No coordinated omission: after a stall all that were missed are due, each from its own time. */
Test(schedule, a_stall_moves_nothing)
{
    struct schedule s = schedule_start(START, 1000);
    uint64_t intended;
    unsigned taken = 0;
    while (schedule_take(&s, START + 50 * MS, &intended)) {
        cr_expect_eq(intended, START + taken * MS);
        taken++;
    }
    cr_expect_eq(taken, 51);
}

/* A rate that does not divide a second does not drift: after an hour it is right to a message. */
Test(schedule, does_not_drift)
{
    struct schedule s = schedule_start(START, 70000.0 / 3);
    s.next = UINT64_C(84000000); /* an hour of them */
    const uint64_t hour = UINT64_C(3600) * 1000 * MS;
    cr_expect(schedule_next_ns(&s) >= START + hour - 2 && schedule_next_ns(&s) <= START + hour + 2,
              "%lu", schedule_next_ns(&s) - START);
}
