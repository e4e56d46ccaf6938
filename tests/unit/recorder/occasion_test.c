/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/occasion.h"

#include <criterion/criterion.h>

static struct occasions o;

static const char *look(uint64_t now_ms, bool stands_still, bool disk, bool memory)
{
    const bool is[OCCASIONS] = {
        [OCCASION_STANDS_STILL] = stands_still, [OCCASION_DISK] = disk, [OCCASION_MEMORY] = memory};
    return occasion_of(&o, is, now_ms);
}

Test(occasion, it_is_its_beginning)
{
    cr_expect_null(look(1, false, false, false));
    cr_expect_str_eq(look(2, false, true, false), "disk");
    cr_expect_null(look(3, false, true, false));
    cr_expect_null(look(3 + OCCASION_PAUSE_MS, false, true, false), "it goes on all the time");
}

Test(occasion, of_a_kind_one_in_a_while)
{
    cr_expect_str_eq(look(10, false, false, true), "memory");
    cr_expect_null(look(11, false, false, false));
    cr_expect_null(look(12, false, false, true));
    cr_expect_null(look(13, false, false, false));
    cr_expect_str_eq(look(10 + OCCASION_PAUSE_MS, false, false, true), "memory");
}

Test(occasion, several_at_a_time_come_one_after_the_other)
{
    cr_expect_str_eq(look(1, true, true, true), "stands-still");
    cr_expect_str_eq(look(2, true, true, true), "disk");
    cr_expect_str_eq(look(3, true, true, true), "memory");
    cr_expect_null(look(4, true, true, true));
}
