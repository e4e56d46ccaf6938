/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/http/fetch_times.h"

#include <criterion/criterion.h>

#define REFRESH 300000u
#define PAUSE   10000u
#define START   1000000u

static struct fetch_times times(void)
{
    struct fetch_times t;
    fetch_times_init(&t, REFRESH, PAUSE, START);
    return t;
}

static struct fetch_times after_one(bool good, uint64_t end_ms)
{
    struct fetch_times t = times();
    cr_assert(fetch_times_begin(&t, START));
    fetch_times_end(&t, good, end_ms);
    return t;
}

/* At a time one, and the next a refresh after its end. */
Test(fetch_times, every_so_often)
{
    struct fetch_times t = times();
    cr_expect_eq(fetch_times_left(&t, START), 0);
    cr_expect(fetch_times_begin(&t, START));
    cr_expect_not(fetch_times_begin(&t, START + REFRESH));
    cr_expect_eq(fetch_times_left(&t, START), UINT64_MAX);
    fetch_times_end(&t, true, START + 50);
    cr_expect_eq(fetch_times_left(&t, START + 50), REFRESH);
    cr_expect_not(fetch_times_begin(&t, START + 50 + REFRESH - 1));
    cr_expect(fetch_times_begin(&t, START + 50 + REFRESH));
}

Test(fetch_times, after_one_in_vain_sooner)
{
    struct fetch_times t = after_one(false, START);
    cr_expect_not(fetch_times_begin(&t, START + PAUSE - 1));
    cr_expect(fetch_times_begin(&t, START + PAUSE));
    fetch_times_end(&t, true, START + PAUSE);
    cr_expect_eq(fetch_times_left(&t, START + PAUSE), REFRESH);
}

/* A crowd that misses something has it fetched once in a pause, and no sooner. */
Test(fetch_times, who_misses_something_waits_for_the_pause)
{
    for (int good = 0; good <= 1; good++) {
        struct fetch_times t = after_one(good, START);
        unsigned begun = 0;
        for (uint64_t now = START; now < START + 10 * PAUSE; now += 100) {
            cr_expect_eq(fetch_times_seek(&t, now), (PAUSE - (now - START) % PAUSE) % PAUSE == 0
                                                        ? (now == START ? PAUSE : 0)
                                                        : PAUSE - (now - START) % PAUSE);
            if (fetch_times_begin(&t, now)) {
                begun++;
                cr_expect_eq(fetch_times_seek(&t, now), 0, "it is under way");
                fetch_times_end(&t, good, now);
            }
        }
        cr_expect_eq(begun, 9);
    }
}

Test(fetch_times, who_misses_something_later_need_not_wait)
{
    struct fetch_times t = after_one(true, START);
    cr_expect_eq(fetch_times_seek(&t, START + 2 * PAUSE), 0);
    cr_expect(fetch_times_begin(&t, START + 2 * PAUSE));
}

/* What is set by mistake: the pause counts. */
Test(fetch_times, refresh_is_no_shorter_than_the_pause)
{
    struct fetch_times t;
    fetch_times_init(&t, 1000, PAUSE, START);
    cr_expect(fetch_times_begin(&t, START));
    fetch_times_end(&t, true, START);
    cr_expect_eq(fetch_times_left(&t, START), PAUSE);
}
