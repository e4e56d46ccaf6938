/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch_node: what a broker would be for cluster/dispatch, on a node's links (link_node.h): the
 * model partitions (dispatch_group.h), a source, an intake, leases, and an interest that is small
 * enough to be told whole. What clients do, and what must hold, is the suite's.
 *
 * Who is certain to lead, the suite knows by looking at all nodes: heartbeats that were answered
 * would tell a broker.
 */
#pragma once

#include "cluster/dispatch/dispatch.h"
#include "cluster/dispatch/intake.h"
#include "cluster/dispatch/lease.h"
#include "tests/sim/dispatch_group.h"
#include "tests/sim/link_node.h"

#define DISPATCH_MAIL    256u
#define DISPATCH_PENDING 64u
#define DISPATCH_TOLD_MS 1000u /* the interest, again */

/* What a node is known to lead, and who of it subscribes to what. */
struct dispatch_view {
    uint64_t version;
    uint64_t terms[DISPATCH_GROUPS];  /* 0: it does not lead it */
    uint64_t topics[DISPATCH_TOPICS]; /* bits of the groups with subscribers */
};

struct dispatch_peer {
    uint32_t number;
    uint64_t generation;
    bool up, live, tell, ack;
    struct dispatch_view view;
    struct bytes mail[DISPATCH_MAIL]; /* messages of groups, by malloc() */
    unsigned mail_first, mail_count;
    uint8_t lease[NODE_DISPATCH_HEAD_MAX + NODE_DISPATCH_PARTITIONS * NODE_LEASE_ITEM_BYTES];
    size_t lease_len;
};

/* A subscription that is committed, and not acknowledged yet. */
struct dispatch_pending {
    uint64_t number; /* 0: free */
    unsigned group;
    uint64_t term, version; /* 0: not in the interest yet */
};

struct dispatch_lead {
    uint64_t term; /* this node leads the group; 0: it does not */
    bool asked, begun, serves;
    uint64_t certain_ms;
};

struct dispatch_node {
    struct link_node *links;
    struct dispatch *dispatch;
    struct intake *intake;
    struct lease_holder holder;
    struct lease_granter granter;
    bool is_member;
    struct dispatch_group groups[DISPATCH_GROUPS];
    struct dispatch_lead leads[DISPATCH_GROUPS];
    struct dispatch_peer peers[LINK_NODES_MAX]; /* itself, too */
    struct dispatch_pending pending[DISPATCH_PENDING];
    uint64_t pending_ms, told_ms;
    uint8_t *out;
};

/* The suite's; all set. */
struct dispatch_rules {
    bool (*is_member)(struct dispatch_node *n);
    uint32_t (*number_of)(struct sim *sim, unsigned index, struct node_uuid uuid);
    void (*applied)(struct dispatch_node *n, unsigned group, uint64_t index,
                    const struct dispatch_entry *entry, uint8_t into);
    void (*restored)(struct dispatch_node *n, unsigned group);
    void (*delivered)(struct dispatch_node *n, uint64_t origin, uint64_t op, uint64_t number);
    void (*ended)(struct dispatch_node *n, uint64_t op, enum dispatch_end end);
    void (*gone)(struct dispatch_node *n, unsigned peer);
    void (*subscribed)(struct dispatch_node *n, uint64_t number);
    void (*leads)(struct dispatch_node *n, unsigned group, uint64_t term);
    bool (*is_certain)(struct dispatch_node *n, unsigned group, uint64_t term);
};
extern struct dispatch_rules dispatch_rules;
extern const struct link_rider dispatch_rider;

struct dispatch_node *dispatch_node_of(struct sim *sim, unsigned index); /* NULL: it is down */

uint64_t dispatch_node_origin(const struct dispatch_node *n);

/* What a message of that topic has to go to: the partitions. */
uint64_t dispatch_node_targets(const struct dispatch_node *n, unsigned topic);

enum dispatch_err dispatch_node_publish(struct dispatch_node *n, uint64_t partitions,
                                        uint32_t nodes, unsigned topic, uint64_t number,
                                        size_t more, uint64_t *op);

/* false: not now. */
bool dispatch_node_ask(struct dispatch_node *n, unsigned group, unsigned session, unsigned topic,
                       bool subscribe, uint64_t number);
