/* SPDX-License-Identifier: Apache-2.0 */
/* A holder and two granters, whose clocks have nothing to do with each other. */
#include "cluster/dispatch/lease.h"

#include <criterion/criterion.h>

#define L     4u /* the granter, as the holder calls it */
#define NEXT  5u /* another one */
#define M     7u /* the holder, as the granters call it */
#define P     9u /* a partition */
#define START 1u
#define BIT   (UINT64_C(1) << P)

static struct lease_holder h;
static struct lease_granter g, next;
static uint64_t certain[NODE_DISPATCH_PARTITIONS];

static void setup(void)
{
    lease_holder_init(&h);
    lease_granter_init(&g);
    lease_granter_init(&next);
    certain[P] = UINT64_MAX;
    lease_up(&h, L, 100);
    lease_led(&h, P, L, 3);
}

TestSuite(lease, .init = setup);

static size_t grant(struct lease_granter *granter, uint64_t start, const struct node_lease_ask *ask,
                    uint64_t version, uint64_t now_ms, uint8_t *out)
{
    static uint8_t items[NODE_DISPATCH_PARTITIONS * NODE_LEASE_ITEM_BYTES];
    struct node_lease lease;
    return lease_grant(granter, M, start, ask, version, certain, now_ms, items, &lease)
               ? node_lease_encode(out, &lease)
               : 0;
}

/* Asked at, granted at, with that version of the interest. */
static bool lend(uint64_t asked_ms, uint64_t granted_ms, uint64_t version)
{
    uint8_t out[256];
    struct node_lease_ask ask;
    cr_assert(lease_ask(&h, L, asked_ms, &ask));
    const size_t len = grant(&g, START, &ask, version, granted_ms, out);
    return len > 0 && lease_granted(&h, L, bytes_of(out, len));
}

Test(lease, without_one_each_partition_is_asked)
{
    cr_expect_eq(lease_without(&h, 0), UINT64_MAX);
    lease_lead(&g, P, 3, 0, 5000);
    cr_expect(lend(100, 5000, 0));
    cr_expect_eq(lease_without(&h, 100), ~BIT);
    cr_expect_eq(lease_of(&h, P, 100), L);
}

/* However long its words took; and shorter by a 32nd. */
Test(lease, counts_from_when_it_was_asked_for)
{
    lease_lead(&g, P, 3, 0, 5000);
    cr_expect(lend(100, 7500, 0));
    cr_expect_eq(lease_without(&h, 100 + 3000 - 93 - 2), ~BIT);
    cr_expect_eq(lease_without(&h, 100 + 3000 - 93 - 1), UINT64_MAX);
}

Test(lease, is_renewed_each_second)
{
    struct node_lease_ask ask;
    lease_lead(&g, P, 3, 0, 5000);
    cr_expect(lend(100, 5000, 0));
    cr_expect_not(lease_ask(&h, L, 1099, &ask));
    cr_expect_eq(lease_next_ms(&h), 1100);
    cr_expect(lend(1100, 6000, 0));
    cr_expect_eq(lease_without(&h, 3500), ~BIT);
    lease_down(&h, L);
    cr_expect_not(lease_ask(&h, L, 9000, &ask));
    cr_expect_eq(lease_next_ms(&h), UINT64_MAX);
    cr_expect_eq(lease_without(&h, 3500), ~BIT);
    lease_up(&h, L, 3600);
    cr_expect(lease_ask(&h, L, 3600, &ask));
}

/* An answer that comes behind a later one, or to a question that is not known any more. */
Test(lease, an_old_answer_makes_it_no_shorter)
{
    uint8_t first[256], later[256];
    struct node_lease_ask ask;
    lease_lead(&g, P, 3, 0, 5000);
    cr_assert(lease_ask(&h, L, 100, &ask));
    const size_t first_len = grant(&g, START, &ask, 0, 5000, first);
    cr_assert(lease_ask(&h, L, 1100, &ask));
    const size_t later_len = grant(&g, START, &ask, 0, 6000, later);
    cr_expect(lease_granted(&h, L, bytes_of(later, later_len)));
    cr_expect(lease_granted(&h, L, bytes_of(first, first_len)));
    cr_expect_eq(lease_without(&h, 3500), ~BIT);
    lease_forget(&h, L);
    lease_led(&h, P, L, 3);
    cr_expect(lease_granted(&h, L, bytes_of(later, later_len)));
    cr_expect_eq(lease_without(&h, 1200), UINT64_MAX);
    cr_expect_not(lease_granted(&h, L, bytes_text("?")));
}

Test(lease, needs_the_interest_that_it_names)
{
    lease_lead(&g, P, 3, 12, 5000);
    cr_expect(lend(100, 5000, 12));
    cr_expect_eq(lease_without(&h, 200), UINT64_MAX);
    lease_known(&h, L, 11);
    cr_expect_eq(lease_without(&h, 200), UINT64_MAX);
    lease_known(&h, L, 12);
    cr_expect_eq(lease_without(&h, 200), ~BIT);
    lease_forget(&h, L);
    cr_expect_eq(lease_without(&h, 200), UINT64_MAX);
}

Test(lease, ends_with_its_leader)
{
    lease_lead(&g, P, 3, 0, 5000);
    cr_expect(lend(100, 5000, 0));
    lease_led(&h, P, NEXT, 2); /* late */
    lease_ended(&h, P, NEXT);
    cr_expect_eq(lease_without(&h, 200), ~BIT);
    lease_led(&h, P, NEXT, 4);
    cr_expect_eq(lease_without(&h, 200), UINT64_MAX);
    cr_expect(lend(1100, 6000, 0)); /* of term 3, still */
    lease_led(&h, P, L, 3);
    cr_expect_eq(lease_without(&h, 1200), UINT64_MAX);
    lease_lead(&g, P, 5, 0, 6000);
    cr_expect(lend(2100, 7000, 0));
    cr_expect_eq(lease_without(&h, 2200), UINT64_MAX); /* its interest does not say so yet */
    lease_led(&h, P, L, 5);
    cr_expect_eq(lease_without(&h, 2200), ~BIT);
    lease_cease(&g, P);
    cr_expect_not(lend(3100, 8000, 0));
}

/* It was granted before, and comes behind what takes the partition out of the interest. */
Test(lease, one_that_comes_when_its_leader_has_ceased_is_none)
{
    lease_lead(&g, P, 3, 0, 5000);
    cr_expect(lend(100, 5000, 0));
    lease_ended(&h, P, L);
    cr_expect_eq(lease_without(&h, 200), UINT64_MAX);
    cr_expect(lend(1100, 6000, 0));
    cr_expect_eq(lease_without(&h, 1200), UINT64_MAX);
    lease_led(&h, P, L, 3); /* it leads after all */
    cr_expect_eq(lease_without(&h, 1200), ~BIT);
}

static bool may(struct lease_granter *granter, uint64_t version, uint64_t now_ms, uint64_t at_ms)
{
    uint64_t at = 0;
    const bool go = lease_answer(granter, P, version, now_ms, &at);
    cr_expect_eq(at, at_ms, "%llu, not %llu", (unsigned long long)at, (unsigned long long)at_ms);
    return go;
}

Test(lease, a_new_leader_takes_it_that_anybody_has_one)
{
    lease_lead(&g, P, 3, 0, 5000);
    cr_expect_not(may(&g, 1, 7999, 8000));
    cr_expect(may(&g, 1, 8000, 8000));
}

Test(lease, suback_waits_for_who_has_one_and_does_not_know)
{
    lease_lead(&g, P, 3, 0, 1000);
    cr_expect(lend(100, 5000, 1));
    cr_expect_not(may(&g, 2, 5001, 8000));
    lease_member_knows(&g, M, START + 1, 2); /* of a start that is not there */
    cr_expect_not(may(&g, 2, 5002, 8000));
    lease_member_knows(&g, M, START, 2);
    cr_expect(may(&g, 2, 5003, 4000));
    cr_expect_not(may(&g, 3, 7999, 8000));
    cr_expect(may(&g, 3, 8000, 8000));
}

/* Who was left behind cannot use its next one before it knows. */
Test(lease, who_was_left_behind_has_to_catch_up)
{
    lease_lead(&g, P, 3, 0, 1000);
    lease_known(&h, L, 1);
    cr_expect(lend(100, 5000, 1));
    cr_expect_eq(lease_without(&h, 200), ~BIT);
    cr_expect(may(&g, 3, 8000, 8000));
    cr_expect(lend(3100, 8001, 3));
    cr_expect_eq(lease_without(&h, 3200), UINT64_MAX);
    lease_known(&h, L, 3);
    cr_expect_eq(lease_without(&h, 3200), ~BIT);
}

/* What its former start knew has gone with it. */
Test(lease, a_new_start_knows_nothing)
{
    uint8_t out[256];
    struct node_lease_ask ask = {.number = 1, .version = 2};
    lease_lead(&g, P, 3, 0, 1000);
    cr_assert_gt(grant(&g, START, &ask, 2, 5000, out), 0);
    cr_expect(may(&g, 2, 5000, 4000));
    ask.version = 0;
    const size_t len = grant(&g, START + 1, &ask, 2, 6000, out);
    struct node_lease lease;
    cr_assert_eq(node_lease_decode(&lease, bytes_of(out, len)), NODE_OK);
    cr_expect_eq(lease.version, 2);
    cr_expect_not(may(&g, 2, 6000, 9000));
}

Test(lease, is_granted_while_it_is_certain_who_leads)
{
    lease_lead(&g, P, 3, 0, 1000);
    certain[P] = 0;
    cr_expect_not(lend(100, 5000, 0));
    certain[P] = 4000; /* a lease from then on would last until 7000 */
    cr_expect(lend(1100, 5000, 0));
    const uint64_t left = 3000 - 1000 - 31 - 1;
    cr_expect_eq(lease_without(&h, 1100 + left - left / 32 - 2), ~BIT);
    cr_expect_eq(lease_without(&h, 1100 + left - left / 32 - 1), UINT64_MAX);
    cr_expect_not(lend(2100, 7000, 0));
}

/*
 * The next leader is elected when the last one has just been certain for the last time, and waits
 * by a clock that is 1 % too fast, for a holder whose clock is 1 % too slow, whatever the last
 * one's is.
 */
Test(lease, no_two_clocks_make_it_too_long)
{
    for (unsigned rate = 99; rate <= 101; rate++) {
        for (uint64_t since = 0; since < 3000; since += 7) {
            lease_granter_init(&g);
            lease_holder_init(&h);
            lease_up(&h, L, 0);
            lease_led(&h, P, L, 3);
            lease_lead(&g, P, 3, 0, 0);
            certain[P] = 10000;
            if (!lend(0, 10000 + since, 0)) {
                continue;
            }
            uint64_t until = 0;
            while (lease_of(&h, P, until) == L) {
                until++;
            }
            /* Real time, from the last certainty on, in us. */
            const uint64_t ends_us = since * 100000 / rate + until * 100000 / 99;
            const uint64_t waits_us = LEASE_MS * UINT64_C(100000) / 101;
            cr_assert_leq(ends_us, waits_us, "%llu ms later, at %u %%", (unsigned long long)since,
                          rate);
        }
    }
}
