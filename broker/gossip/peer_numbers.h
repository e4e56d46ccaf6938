/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_numbers: a small number for each node that shards have links to: rows of tables are found by
 * it. A node keeps its number for as long as it is remembered, dead or not. Nobody is given
 * PEERS_SELF. Pure.
 *
 * Owner: the caller. Memory: none. At the bound: PEERS_SELF; the number of the one that has been
 * dead for longest is given to another; if all live, there is none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/peers/peers.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define PEER_NUMBERS_NONE PEERS_MAX

struct peer_numbers {
    struct number {
        struct node_uuid node; /* none: the number is free */
        bool live;
        uint64_t since_ms; /* since when it is not live */
    } at[PEERS_MAX];
};

/* PEER_NUMBERS_NONE: it has none. */
unsigned peer_numbers_find(const struct peer_numbers *n, struct node_uuid node);

/* The one that it has, or a new one. The node lives. *taken_from is the node that had the number
 * until now, or none. PEER_NUMBERS_NONE: all are of others that live. */
NODISCARD unsigned peer_numbers_give(struct peer_numbers *n, struct node_uuid node,
                                     struct node_uuid *taken_from);

void peer_numbers_died(struct peer_numbers *n, unsigned number, uint64_t now_ms); /* it keeps it */
void peer_numbers_free(struct peer_numbers *n, unsigned number);
