/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_meta: what nodes say to each other of who is a member and which members have which
 * partition: the commands of META's log, how the first members of a cluster agree on being that,
 * and what members report to the leader of META. Pure.
 *
 * What it is for is told in cluster/meta. Each is a body of a head and items (node_field.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define NODE_META_PARTITIONS   64u
#define NODE_META_REPLICAS_MAX 5u
#define NODE_META_FORM_MAX     32u /* first members */
#define NODE_META_ZONE_MAX     64u /* bytes */
#define NODE_META_HEAD_MAX     96u /* of a body, in front of its items */

/* Members by their numbers, the one that is to lead first; no number comes twice. */
struct node_replicas {
    uint8_t count; /* 0..NODE_META_REPLICAS_MAX */
    uint32_t at[NODE_META_REPLICAS_MAX];
};

static inline bool node_replicas_has(const struct node_replicas *r, uint32_t number)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->at[i] == number) {
            return true;
        }
    }
    return false;
}

/* The same members, in whatever order? */
static inline bool node_replicas_same(const struct node_replicas *a, const struct node_replicas *b)
{
    for (unsigned i = 0; i < a->count; i++) {
        if (!node_replicas_has(b, a->at[i])) {
            return false;
        }
    }
    return a->count == b->count;
}

/* 1..NODE_META_REPLICAS_MAX numbers, none of them 0, none twice? */
bool node_replicas_are_fair(const struct node_replicas *r);

/*
 * A node, as an item:
 *    0  16   UUID
 *   16  u32  features: the highest level that it knows
 *   20  u8   length of the name, 1..NODE_NAME_MAX
 *   21  u8   length of the zone, 0..NODE_META_ZONE_MAX
 *   22       name, zone
 */
struct node_meta_node {
    struct node_uuid uuid;
    uint32_t features;
    struct bytes name, zone;
};

#define NODE_META_NODE_BYTES 22u /* without its texts */
#define NODE_META_NODE_MAX   (NODE_META_NODE_BYTES + NODE_NAME_MAX + NODE_META_ZONE_MAX)

size_t node_meta_node_encode(uint8_t *out, const struct node_meta_node *node); /* there is room */
/* Takes the next one off *rest; false: there is none left, or it is malformed. */
NODISCARD bool node_meta_node_next(struct bytes *rest, struct node_meta_node *node);
/* Are these 0..most of them, in the order of their UUIDs, none twice? */
NODISCARD bool node_meta_nodes_check(struct bytes items, unsigned most, unsigned *count);

/* ---- Commands. Their numbers are given once and for all. */

enum node_meta_kind {
    NODE_META_FORM = 1,     /* cluster, value: replicas, items: the first members */
    NODE_META_ADD = 2,      /* items: one node; of a member: what has changed about it */
    NODE_META_LEAVING = 3,  /* number, value: 1; 0: it stays after all */
    NODE_META_REMOVE = 4,   /* number */
    NODE_META_MOVE = 5,     /* value: partition, incarnation, replicas: where to */
    NODE_META_SEALED = 6,   /* value: partition, incarnation, index: of its SEAL */
    NODE_META_STARTED = 7,  /* value: partition, incarnation, index: of the MOVE */
    NODE_META_REPLICAS = 8, /* value: how many */
    NODE_META_FEATURES = 9, /* number: the level */
};

struct node_meta_command {
    uint8_t kind; /* may be one that is not known */
    uint8_t value;
    uint32_t number;
    uint32_t incarnation;
    uint64_t index;
    struct cluster_uuid cluster;
    struct node_replicas replicas;
    struct bytes items; /* nodes */
};

/* The length of a body; out may be NULL. */
size_t node_meta_command_encode(uint8_t *out, const struct node_meta_command *command);
/* Any bytes are fair input. items points into `body`, and has not been looked at. */
NODISCARD enum node_err node_meta_command_decode(struct node_meta_command *command,
                                                 struct bytes body);

/* ---- Formation */

enum node_form_kind {
    NODE_FORM_PROPOSE = 1, /* by who proposes, with items: the first members */
    NODE_FORM_PROMISED = 2,
    NODE_FORM_REFUSED = 3,
    NODE_FORM_ABANDONED = 4, /* by who has proposed it: it never comes about */
    NODE_FORM_FORMED = 5,    /* all have promised */
    NODE_FORM_WELCOME = 6,   /* a cluster that is there has that node for its member `number` */
};

struct node_form {
    uint8_t kind;
    uint32_t number;             /* WELCOME: >= 1; else 0 */
    struct cluster_uuid cluster; /* that would come about, or is there */
    struct bytes items;          /* nodes */
};

size_t node_form_encode(uint8_t *out, const struct node_form *form);
/* Any bytes are fair input; the items have been checked. */
NODISCARD enum node_err node_form_decode(struct node_form *form, struct bytes body);

/* ---- Reports */

enum node_report_kind {
    NODE_REPORT_SEALED = 1, /* index: where the incarnation was sealed */
    NODE_REPORT_HELD = 2,   /* index: of the MOVE; the sender has, durably, what was sealed */
};

/* 16 bytes: u8 kind, u8 partition, u16 0, u32 incarnation, u64 index */
struct node_report {
    uint8_t kind; /* may be one that is not known: it is passed over */
    uint8_t partition;
    uint32_t incarnation;
    uint64_t index;
};

#define NODE_REPORT_BYTES 16u

size_t node_report_encode(uint8_t *out, const struct node_report *report);
NODISCARD bool node_report_next(struct bytes *rest, struct node_report *report);
/* Bodies: of all that a member has to report now. */
size_t node_reports_encode(uint8_t *out, struct bytes items);
NODISCARD enum node_err node_reports_decode(struct bytes *items, struct bytes body);

/* ---- Who a node is, to each other one that it has a link to: META_MEMBER */

struct node_meta_member {
    struct cluster_uuid cluster; /* none: it is of none yet */
    uint32_t number;             /* in it, >= 1; 0 with none */
    uint32_t features;           /* as in node_meta_node */
    struct bytes zone;
};

#define NODE_META_MEMBER_MAX (NODE_META_HEAD_MAX + NODE_META_ZONE_MAX)

size_t node_meta_member_encode(uint8_t *out, const struct node_meta_member *member);
NODISCARD enum node_err node_meta_member_decode(struct node_meta_member *member, struct bytes body);

/* ---- META's state for who lacks it: META_STATE */

struct node_meta_copy {
    struct cluster_uuid cluster;
    uint64_t index;     /* in META's log: of the state; without one: which is asked for, at least */
    struct bytes state; /* empty: it is asked for */
};

/* The length of a body; out may be NULL. */
size_t node_meta_copy_encode(uint8_t *out, const struct node_meta_copy *copy);
NODISCARD enum node_err node_meta_copy_decode(struct node_meta_copy *copy, struct bytes body);
