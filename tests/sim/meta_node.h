/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_node: a node that comes to be a member of a cluster, and then a server of META, as a module:
 * formation and META's group with a file each, and all that they say as datagrams, which are lost,
 * doubled and overtake each other. Who lives is told by a datagram to all, now and then, in place
 * of gossip. What must hold is the suite's; partitions are a model (meta_model.h).
 */
#pragma once

#include "cluster/consensus/consensus.h"
#include "cluster/meta/decide.h"
#include "cluster/meta/formation.h"
#include "cluster/meta/meta.h"
#include "tests/sim/sim.h"

#define META_NODES_MAX 7u
#define META_SEEN_MAX  64u /* of UUIDs: volumes are lost, too */
#define META_ZONES     3u

/* Records one behind the other, in a file of its own. */
struct meta_run {
    unsigned file;
    uint64_t at, sum;         /* where the next record goes, and what it is chained to */
    uint64_t operation;       /* of a sync; 0: none is under way */
    uint64_t written, synced; /* records of this start */
    uint64_t syncing;
    uint64_t sync_ms; /* when the next sync begins; 0: nothing waits for it */
};

struct meta_heard {
    struct node_uuid uuid;
    struct cluster_uuid cluster;
    uint32_t number;
    unsigned index; /* the node that it is, or was */
    uint64_t first_ms, last_ms;
    char name[8], zone[8];
};

struct meta_node {
    struct sim_node *node;
    struct node_uuid uuid;
    bool broken; /* its disk has failed it: it does nothing more until it is started again */

    struct formation *formation;
    struct meta_run form_run;

    struct consensus *consensus; /* NULL: it is no member yet */
    struct meta_run meta_run;
    struct meta_state state;
    uint64_t applied;
    struct meta_reports reports; /* of others, if it leads */
    unsigned proposed;           /* that have not ended */

    struct meta_heard heard[META_SEEN_MAX];
    unsigned heard_count;
    uint64_t hello_ms, decide_ms, report_ms;
};

struct meta_rules {
    unsigned (*initial_size)(struct sim *sim);
    void (*formed)(struct meta_node *n);
    void (*applied)(struct meta_node *n, uint64_t index, const struct node_meta_command *command,
                    enum meta_outcome outcome, const struct meta_state *before);
    void (*restored)(struct meta_node *n);
    /* node_report items, into `out`; the length. */
    size_t (*report)(struct meta_node *n, uint8_t *out);
};
extern struct meta_rules meta_rules;
extern const struct sim_module meta_module;
extern const struct meta_limits meta_node_limits;

/* NULL: it is down, or stands still, or is broken. */
struct meta_node *meta_node_at(struct sim *sim, unsigned index);
bool meta_node_is_member(const struct meta_node *n); /* and META has said so */

/* An operator asks the leader; false: it is not that one, or has no room. */
bool meta_node_propose(struct meta_node *n, const struct node_meta_command *command);

/* Whatever there is to do now is done. After each call from outside. */
void meta_node_go_on(struct meta_node *n);
