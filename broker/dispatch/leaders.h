/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leaders: which node leads each partition of client identifiers, as far as it is known here.
 *
 *   dispatch_run_lead() ── POST_LED ──▶ shard 0: the row, LEADS ══▶ the others' rows
 *   ══ LEADS of another node ═════════▶ shard 0: the row ── relay_set_home(), claims_appoint()
 *                                                        ── POST_LEADERS ──▶ dispatch_leader()
 *
 * A row is of the highest term that is known. A leader that is dead, or silent, stays in it until
 * another one of a higher term has said that it leads, or its number is another node's. One that
 * says itself that it leads no more is in none.
 *
 * Owner: the node. Shard 0 writes; any thread reads. Memory: a word for each partition. A node
 * without replicas (node->replicas is 0) has none, and leads all.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/node.h"
#include "broker/peers/peers.h"

struct shard;

#define LEADERS_HERE   PEERS_SELF /* this node itself */
#define LEADERS_NOBODY PEERS_MAX  /* nobody is known */

struct leader {
    unsigned peer; /* its number; or LEADERS_HERE, LEADERS_NOBODY */
    uint64_t term; /* in which it leads; of NOBODY: the highest that is known; 0: none */
};

/* Any thread. Without replicas: LEADERS_HERE, of term 0. */
struct leader leaders_of(const struct node *node, unsigned partition);

/* How many partitions are led by nobody that is known; any thread. */
unsigned leaders_missing(const struct node *node);
