/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/peer_numbers.h"

#include <criterion/criterion.h>

static struct node_uuid node(unsigned i)
{
    return (struct node_uuid){{(uint8_t)(i + 1)}};
}

static unsigned give(struct peer_numbers *n, unsigned i)
{
    struct node_uuid taken_from;
    const unsigned number = peer_numbers_give(n, node(i), &taken_from);
    cr_expect(node_uuid_is_none(taken_from), "nobody loses a number for node %u", i);
    return number;
}

Test(peer_numbers, each_has_one_and_keeps_it)
{
    struct peer_numbers n = {.at = {{.live = false}}};
    for (unsigned i = 0; i < PEERS_SELF; i++) {
        cr_expect_eq(peer_numbers_find(&n, node(i)), PEER_NUMBERS_NONE);
        cr_expect_eq(give(&n, i), i);
    }
    for (unsigned i = 0; i < PEERS_SELF; i++) {
        cr_expect_eq(peer_numbers_find(&n, node(i)), i);
        cr_expect_eq(give(&n, i), i, "asked again");
    }
    peer_numbers_died(&n, 5, 100);
    cr_expect_eq(peer_numbers_find(&n, node(5)), 5, "also dead");
    cr_expect_eq(give(&n, 5), 5, "and when it is back");
}

Test(peer_numbers, one_more_than_there_are_gets_none_while_all_live)
{
    struct peer_numbers n = {.at = {{.live = false}}};
    for (unsigned i = 0; i < PEERS_SELF; i++) {
        cr_expect_neq(give(&n, i), PEER_NUMBERS_NONE);
    }
    cr_expect_eq(give(&n, 40), PEER_NUMBERS_NONE);
    peer_numbers_free(&n, 7);
    cr_expect_eq(give(&n, 40), 7);
}

Test(peer_numbers, who_has_been_dead_for_longest_loses_its_number)
{
    struct peer_numbers n = {.at = {{.live = false}}};
    struct node_uuid taken_from;
    for (unsigned i = 0; i < PEERS_SELF; i++) {
        cr_expect_neq(give(&n, i), PEER_NUMBERS_NONE);
    }
    peer_numbers_died(&n, 3, 300);
    peer_numbers_died(&n, 20, 200);
    peer_numbers_died(&n, 9, 400);
    cr_expect_eq(peer_numbers_give(&n, node(50), &taken_from), 20);
    cr_expect(node_uuid_equal(taken_from, node(20)));
    cr_expect_eq(peer_numbers_find(&n, node(20)), PEER_NUMBERS_NONE);
    cr_expect_eq(peer_numbers_give(&n, node(51), &taken_from), 3);
    cr_expect_eq(peer_numbers_give(&n, node(52), &taken_from), 9);
    cr_expect_eq(peer_numbers_give(&n, node(53), &taken_from), PEER_NUMBERS_NONE);
}
