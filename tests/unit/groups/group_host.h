/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_host: what groups are for, in a test: entries are numbers, and what they have come to is
 * which of them there were, in which order. Of each node and group a checkpoint outlives the node,
 * as what LMDB has would.
 *
 * Owner: the test; one cluster at a time. What must not happen aborts with a sentence.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/groups/groups.h"
#include "tests/unit/remote/fake_cluster.h"

#define HOST_ENTRIES 4096u /* numbers of a group */
#define HOST_GROUPS  4u

/* What entries have come to. */
struct host_state {
    uint64_t index; /* of the last */
    uint64_t count, sum;
    uint8_t seen[HOST_ENTRIES]; /* by number: how often */
};

struct host_group {
    struct host_state state, checkpoint; /* state: of this start */
    uint64_t term;                       /* that it leads; 0: it does not */
    uint64_t leader;                     /* as told last */
    uint64_t copy_from, copy_index;      /* as asked for last; index 0: it was not */
    unsigned copies, led;                /* times that it was asked for; that it led */
};

extern const unsigned host_numbers[HOST_GROUPS]; /* of the groups: META is the last */

struct host {
    struct fake_cluster *cluster;
    struct host_group of[FAKE_CLUSTER_NODES][HOST_GROUPS];
    uint8_t committed[HOST_GROUPS][HOST_ENTRIES]; /* somebody was told so */
    uint64_t next[HOST_GROUPS];                   /* the next number */
    unsigned ended_unknown;
    unsigned entry_bytes; /* of each; >= 8 */
    unsigned servers;     /* the first nodes are; as a rule all */
    unsigned groups;      /* that are opened */
    bool may_bootstrap;
    struct groups_conf conf;
};

extern struct host host;

/* A cluster on disks, with the groups open on each. settings: besides the disk's. */
void host_begin(unsigned count, const unsigned shards[], const char *const settings[]);
void host_begin_as(unsigned count, const unsigned shards[], const char *const settings[],
                   const struct groups_conf *conf, const struct link_conf *limits,
                   unsigned servers);
void host_end(void);

void host_crash(unsigned node, bool (*kept)(void *context, uint64_t sector), void *context);
void host_close(unsigned node);
void host_start(unsigned node, unsigned shards);

/* Runs until somebody leads that group and serves; the node, or aborts after 20 s. */
unsigned host_leader(unsigned group);
unsigned host_leader_but(unsigned group, unsigned node); /* another one */

/* One more entry, at that node. */
enum group_err host_propose(unsigned node, unsigned group);
/* `count` of them, wherever it is led. */
void host_propose_some(unsigned group, unsigned count);

/* Runs until all nodes that are there, and are servers, have the same of each group, and all that
 * somebody was told is committed; aborts after 60 s. */
void host_agree(void);

struct group_state host_state(unsigned node, unsigned group);
void host_checkpoint(unsigned node, unsigned group); /* all that is applied is in it */
void host_copy(unsigned node, unsigned group,
               unsigned from); /* that node's checkpoint, and go on */

struct shard *host_enter(unsigned node, unsigned group); /* its home there */
unsigned host_segments(unsigned node, unsigned shard);   /* files of that journal */
