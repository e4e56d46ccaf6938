/* SPDX-License-Identifier: Apache-2.0 */
/*
 * departure: main's part in sending clients away: a drain (broker/drain.h), and those who are more
 * than the node's share (broker/rebalance.h). It looks what the shards, the links and the other
 * nodes are like, and tells the shards how many may go (shard/farewells.h).
 *
 * Owner: the main thread. Others ask by node->drain_wanted, and wake main.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/drain.h"
#include "broker/rebalance.h"

struct config;
struct listen_sockets;
struct node;
struct supervisor;

/* What somebody has asked for, in node->drain_wanted. */
enum drain_wanted { DRAIN_WANT_NOTHING, DRAIN_WANT_BEGIN, DRAIN_WANT_STOP };

struct departure {
    struct node *node;
    struct listen_sockets *sockets; /* closed when nobody looks at them any more */
    struct supervisor *supervisor;
    struct drain drain;
    bool fixed;         /* a signal has begun it: whoever sent that waits for the end */
    uint64_t status_ms; /* when the supervisor is told again how far it has come */
    struct rebalance rebalance;
    uint64_t rebalance_ms; /* when it is looked again who has how many clients */
};

void departure_init(struct departure *d, struct node *node, struct listen_sockets *sockets,
                    struct supervisor *supervisor);

bool departure_is_under_way(const struct departure *d); /* a drain */

/* A signal asks for a drain. There is none. */
void departure_begin(struct departure *d, const struct config *config);

/* Takes up what was asked for. */
void departure_asked(struct departure *d, const struct config *config);

/* true: the drain is over. */
bool departure_turn(struct departure *d, const struct config *config, uint64_t now_ms);
uint64_t departure_due(const struct departure *d, uint64_t now_ms);
