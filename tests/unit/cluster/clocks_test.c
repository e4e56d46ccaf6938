/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/clocks.h"

#include <criterion/criterion.h>

#define NOW_MS UINT64_C(1700000000000)

static struct clocks c;

static void setup(void)
{
    c = (struct clocks){.peers = {{.count = 0}}};
}

TestSuite(clocks, .init = setup);

/* Of a peer whose clock is so far ahead, as it comes `late_ms` later. */
static void say(unsigned peer, int64_t ahead_ms, uint64_t late_ms)
{
    clocks_heard(&c, peer, (uint64_t)((int64_t)NOW_MS + ahead_ms), NOW_MS + late_ms);
}

static void say_enough(unsigned peer, int64_t ahead_ms)
{
    for (unsigned i = 0; i < CLOCKS_SAID_MIN; i++) {
        say(peer, ahead_ms, 0);
    }
}

static int64_t ahead(uint32_t peers)
{
    int64_t ms = INT64_MAX;
    cr_assert(clocks_ahead(&c, peers, &ms));
    return ms;
}

Test(clocks, of_three_the_one_that_is_wrong_is_found)
{
    say_enough(1, 5000);
    say_enough(4, 5010);
    cr_expect_eq(ahead(1 << 1 | 1 << 4), -5000, "this one is behind both");
    say_enough(5, 0);
    say_enough(6, 0);
    cr_expect_eq(ahead(1 << 1 | 1 << 5 | 1 << 6), 0, "another one is ahead");
}

Test(clocks, of_two_nobody_can_say)
{
    int64_t ms;
    say_enough(1, 5000);
    cr_expect_not(clocks_ahead(&c, 1 << 1, &ms));
    say(2, 5000, 0);
    cr_expect_not(clocks_ahead(&c, 1 << 1 | 1 << 2, &ms), "one word may be very late");
    say(2, 5000, 0);
    cr_expect_not(clocks_ahead(&c, 1 << 1, &ms), "the other is dead");
    cr_expect(clocks_ahead(&c, 1 << 1 | 1 << 2, &ms));
}

Test(clocks, two_against_two_are_not_wrong)
{
    say_enough(1, 0);
    say_enough(2, 9000);
    say_enough(3, 9000);
    cr_expect_eq(ahead(1 << 1 | 1 << 2 | 1 << 3), 0);
}

Test(clocks, what_was_late_does_not_count)
{
    for (unsigned peer = 1; peer <= 2; peer++) {
        say(peer, 0, 30000);
        say(peer, 0, 3);
        say(peer, 0, 4000);
    }
    cr_expect_eq(ahead(1 << 1 | 1 << 2), 3);
    for (unsigned i = 0; i < CLOCKS_KEPT; i++) {
        say(1, -7000, 0);
        say(2, -7000, 0);
    }
    cr_expect_eq(ahead(1 << 1 | 1 << 2), 7000, "nor what was said long ago");
}

Test(clocks, a_peer_that_is_forgotten_has_said_nothing)
{
    int64_t ms;
    say_enough(1, 5000);
    say_enough(2, 5000);
    clocks_forget(&c, 2);
    cr_expect_not(clocks_ahead(&c, 1 << 1 | 1 << 2, &ms));
}

Test(clocks, any_number_is_fair)
{
    for (unsigned i = 0; i < CLOCKS_SAID_MIN; i++) {
        clocks_heard(&c, 1, UINT64_MAX, 0);
        clocks_heard(&c, 2, UINT64_MAX, NOW_MS);
        clocks_heard(&c, 3, 0, UINT64_MAX);
    }
    cr_expect_lt(ahead(1 << 1 | 1 << 2), 0);
    cr_expect_eq(ahead(1 << 1 | 1 << 2 | 1 << 3), 0);
}
