/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/claim.h"

#include <criterion/criterion.h>

Test(claim, is_the_owners_while_it_is_awake)
{
    struct claim c = {0};
    cr_expect_not(claim_is_free(&c));
    cr_expect_not(claim_visit(&c));
    cr_expect_not(claim_wake(&c), "who is awake needs no waking");
    claim_leave(&c);
    cr_expect(claim_is_free(&c));
    claim_take(&c);
    cr_expect_not(claim_is_free(&c));
}

Test(claim, has_one_visitor_at_a_time)
{
    struct claim c = {0};
    claim_leave(&c);
    cr_expect(claim_visit(&c));
    cr_expect_not(claim_is_free(&c));
    cr_expect_not(claim_visit(&c));
    cr_expect_not(claim_wake(&c), "the visitor looks after what has come");
    cr_expect_not(claim_end_visit(&c, false));
    cr_expect(claim_is_free(&c), "the owner sleeps on");
}

Test(claim, a_visitor_may_call_the_owner)
{
    struct claim c = {0};
    claim_leave(&c);
    cr_expect(claim_visit(&c));
    cr_expect(claim_end_visit(&c, true), "its thread has to be woken");
    cr_expect_not(claim_is_free(&c));
    claim_take(&c); /* when it has been */
    cr_expect_not(claim_visit(&c));
}

Test(claim, a_sleeper_is_woken_once)
{
    struct claim c = {0};
    claim_leave(&c);
    cr_expect(claim_wake(&c));
    cr_expect_not(claim_wake(&c));
    claim_take(&c);
    claim_leave(&c);
    cr_expect(claim_wake(&c));
}
