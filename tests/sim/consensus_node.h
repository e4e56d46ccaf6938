/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consensus_node: a server of one Raft group as a module: its records in a file, its messages as
 * datagrams, which are lost, doubled and overtake each other. What it applies is counted, and
 * summed up; what must hold is the suite's.
 */
#pragma once

#include "cluster/consensus/consensus.h"
#include "tests/sim/sim.h"

struct consensus_node {
    struct sim_node *node;
    struct consensus *consensus; /* NULL: it is no member: its volume was lost */
    uint64_t id;
    bool broken; /* its disk has failed it: it does nothing more until it is started again */

    uint64_t disk_at, disk_sum; /* where the next record goes, and what it is chained to */
    uint64_t operation;         /* of a sync; 0: none is under way */
    uint64_t syncing, synced;   /* records */
    uint64_t sync_ms;           /* when the next sync begins; 0: nothing waits for it */

    uint64_t applied, sum; /* index of the last command, and what they come to up to it */
};

struct consensus_rules {
    bool (*is_member)(struct consensus_node *n);
    void (*sent)(struct consensus_node *n, uint64_t to, const struct node_consensus *message);
    void (*applied)(struct consensus_node *n, uint64_t index, struct bytes entry);
    void (*restored)(struct consensus_node *n);
    void (*proposed)(struct consensus_node *n, uint64_t ticket, enum consensus_end end);
};
extern struct consensus_rules consensus_rules;
extern const struct sim_module consensus_module;

#define CONSENSUS_NODES_MAX 5u

/* NULL: it is down, or no member, or broken. */
struct consensus_node *consensus_node_at(struct sim *sim, unsigned index);

/* Whatever there is to do now is done. After each call from outside. */
void consensus_node_go_on(struct consensus_node *n);
