/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch_group: a model partition on one node: its Raft group with the records in a file, and a
 * state machine of a few sessions, their subscriptions and queues, and the origins' table.
 *
 * A queue is told by how many messages it has and what their ids come to; the suite has them all.
 */
#pragma once

#include "cluster/consensus/consensus.h"
#include "cluster/dispatch/origins.h"
#include "tests/sim/sim.h"

#define DISPATCH_GROUPS   3u
#define DISPATCH_SESSIONS 3u /* of each group */
#define DISPATCH_TOPICS   4u
#define DISPATCH_SERVERS  5u

enum dispatch_entry_kind {
    DISPATCH_BEGIN = 1, /* of a leader: all before it has been applied when it is */
    DISPATCH_MESSAGE = 2,
    DISPATCH_SUBSCRIBE = 3,
    DISPATCH_UNSUBSCRIBE = 4,
};

struct dispatch_entry {
    uint8_t kind, session, topic;
    uint64_t origin, op; /* of a message */
    uint64_t number;     /* of the message, or of what a client asks */
};

struct dispatch_state {
    uint64_t applied;
    uint8_t topics[DISPATCH_SESSIONS]; /* bits: subscribed */
    uint64_t counts[DISPATCH_SESSIONS], sums[DISPATCH_SESSIONS];
    struct origins *origins;
};

struct dispatch_group;

struct dispatch_group_events {
    void (*send)(void *context, unsigned group, uint64_t to, struct bytes message);
    /* into: bits of the sessions whose queue got it. */
    void (*applied)(void *context, unsigned group, uint64_t index,
                    const struct dispatch_entry *entry, uint8_t into);
    void (*restored)(void *context, unsigned group);
    void (*proposed)(void *context, unsigned group, uint64_t ticket, enum consensus_end end);
    void *context;
};

struct dispatch_group {
    struct sim_node *node;
    struct dispatch_group_events events;
    unsigned number;
    struct consensus *consensus;
    struct dispatch_state state;
    bool broken; /* its disk has failed */
    uint64_t disk_at, disk_sum;
    uint64_t operation, syncing, synced, sync_ms; /* as consensus_node has them */
};

void dispatch_group_begin(struct dispatch_group *g, struct sim_node *node, unsigned number,
                          unsigned servers, const struct dispatch_group_events *events);
void dispatch_group_end(struct dispatch_group *g);

bool dispatch_group_is_up(const struct dispatch_group *g);
uint64_t dispatch_group_hash(const struct dispatch_group *g); /* of its state */

/* false: not now. */
bool dispatch_group_propose(struct dispatch_group *g, const struct dispatch_entry *entry,
                            uint64_t ticket);

void dispatch_group_turn(struct dispatch_group *g);
uint64_t dispatch_group_next_ms(const struct dispatch_group *g);
void dispatch_group_disk_done(struct dispatch_group *g, uint64_t operation, int error);
