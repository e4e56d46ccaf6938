/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retained_node: a replica on a node's links (link_node.h), with a disk, and messages that are
 * numbers: what the broker would be for it. What users do, and what must hold, is the suite's.
 *
 * The disk has a record for each topic, and the floor. What has changed is written and synced in
 * one go, one at a time; so a crash takes the end of what was done, or nothing.
 */
#pragma once

#include "cluster/replica/replica.h"
#include "tests/sim/link_node.h"

#define RETAINED_TOPICS  400u
#define RETAINED_FOREVER UINT64_MAX

struct retained_message {
    struct retained_version version; /* stamp 0: the topic is not known */
    bool gone;
    uint64_t value;
    uint64_t expires_ms; /* on the node's clock; RETAINED_FOREVER */
};

struct retained_node {
    struct link_node *links;
    struct replica *replica;
    struct retained_message topics[RETAINED_TOPICS];
    bool dirty[RETAINED_TOPICS], floor_dirty;
    uint64_t floor;
    uint64_t sync, mark;            /* what is being synced; 0: nothing */
    uint64_t up_ms[LINK_NODES_MAX]; /* last time that it was */
    bool known[LINK_NODES_MAX], up[LINK_NODES_MAX], lost[LINK_NODES_MAX];
    struct node_uuid uuids[LINK_NODES_MAX];
    /* The suite's: the newest version that it has ever had; and of the deletes that its floor
     * stands for, the stamp of the newest, and its number among all that is known of such. The
     * stamps are on its disk, so that they are lost with it. */
    struct retained_version best[RETAINED_TOPICS];
    uint64_t deleted[RETAINED_TOPICS], deleted_as[RETAINED_TOPICS];
    bool hears; /* the replica is told a peer's word, */
    unsigned hears_peer;
    uint64_t hears_known; /* which is as of so many of these */
    uint64_t walk_known[LINK_NODES_MAX];
    uint8_t digest[NODE_RETAINED_HEAD_MAX + 8];
};

/* The suite's; all set. */
struct retained_rules {
    uint64_t lost_ms; /* who has no link for so long is not waited for */
    void (*on_lost)(struct retained_node *n);
    void (*on_forget)(struct retained_node *n, unsigned topic, const struct retained_message *was);
    /* The floor has risen to that one's, as of when so much was known. */
    void (*on_floor)(struct retained_node *n, unsigned peer, uint64_t known);
    uint64_t known; /* how often a node has come to know of a delete by its floor */
};
extern struct retained_rules retained_rules;
extern const struct link_rider retained_rider;

struct retained_node *retained_node_of(struct sim *sim, unsigned index); /* NULL: it is down */

/* A delete of that stamp is known from now on, by the floor. */
void retained_node_deleted(struct retained_node *n, unsigned topic, uint64_t stamp);

/* false: it is not ready. */
bool retained_node_write(struct retained_node *n, unsigned topic, bool gone, uint64_t value,
                         uint64_t expiry_ms, bool numbered);
