/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clocks: how far this node's clock on the wall is from those of the others, by what they say that
 * theirs shows.
 *
 * What is said has been under way for some time that is not known, and so looks too low: of the
 * last CLOCKS_KEPT of a node that counts which is the highest against this node's clock. Each node
 * is compared with the middle of all, this one among them: of three, one that is wrong is found,
 * and the others are not taken for wrong by it. Of two nobody can say which one it is.
 *
 * Pure. Owner: one thread. Memory: the struct.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

#define CLOCKS_PEERS_MAX 32u
#define CLOCKS_KEPT      6u
#define CLOCKS_SAID_MIN  2u /* times; with fewer a peer does not count: one may be very late */
#define CLOCKS_FEWEST    2u /* other nodes; with fewer there is no answer */

struct clocks {
    struct clocks_peer {
        int64_t ahead_ms[CLOCKS_KEPT]; /* of this node's clock, a ring */
        unsigned count, next;
    } peers[CLOCKS_PEERS_MAX];
};

/* Both in ms since 1970; what the peer says may be any number. */
void clocks_heard(struct clocks *c, unsigned peer, uint64_t theirs_ms, uint64_t ours_ms);

/* What it said counts no more: its connection is another one, or it is another node. */
void clocks_forget(struct clocks *c, unsigned peer);

/* How far this node's clock is ahead of the middle of its own and those of the peers (a bit each)
 * that have said enough; below 0: behind. false: they are too few. */
NODISCARD bool clocks_ahead(const struct clocks *c, uint32_t peers, int64_t *ahead_ms);
