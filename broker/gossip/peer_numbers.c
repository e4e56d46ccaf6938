/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/peer_numbers.h"

#include <assert.h>

unsigned peer_numbers_find(const struct peer_numbers *n, struct node_uuid node)
{
    assert(!node_uuid_is_none(node));
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        if (node_uuid_equal(n->at[i].node, node)) {
            return i;
        }
    }
    return PEER_NUMBERS_NONE;
}

/* A free one, else of the one that has been dead for longest. */
static unsigned find_room(const struct peer_numbers *n)
{
    unsigned best = PEER_NUMBERS_NONE;
    for (unsigned i = 0; i < PEERS_SELF; i++) {
        if (node_uuid_is_none(n->at[i].node)) {
            return i;
        }
        if (!n->at[i].live &&
            (best == PEER_NUMBERS_NONE || n->at[i].since_ms < n->at[best].since_ms)) {
            best = i;
        }
    }
    return best;
}

unsigned peer_numbers_give(struct peer_numbers *n, struct node_uuid node,
                           struct node_uuid *taken_from)
{
    unsigned number = peer_numbers_find(n, node);
    *taken_from = (struct node_uuid){{0}};
    if (number == PEER_NUMBERS_NONE) {
        number = find_room(n);
        if (number == PEER_NUMBERS_NONE) {
            return PEER_NUMBERS_NONE;
        }
        *taken_from = n->at[number].node;
    }
    n->at[number] = (struct number){.node = node, .live = true};
    return number;
}

void peer_numbers_died(struct peer_numbers *n, unsigned number, uint64_t now_ms)
{
    assert(number < PEERS_MAX && !node_uuid_is_none(n->at[number].node));
    n->at[number].live = false;
    n->at[number].since_ms = now_ms;
}

void peer_numbers_free(struct peer_numbers *n, unsigned number)
{
    assert(number < PEERS_MAX);
    n->at[number] = (struct number){.live = false};
}
