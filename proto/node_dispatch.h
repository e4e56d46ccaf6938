/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_dispatch: a message on its way to the leaders of partitions, and what becomes of it there;
 * and leases, by which a node knows that a partition has no subscribers. Pure.
 *
 * What it is for is told in cluster/dispatch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define NODE_DISPATCH_PARTITIONS 64u
/* Where a partition is named: the receiving node itself, for its transient subscribers. */
#define NODE_DISPATCH_NODE         NODE_DISPATCH_PARTITIONS
#define NODE_DISPATCH_ITEMS_MAX    (NODE_DISPATCH_PARTITIONS + 1) /* each is named once */
#define NODE_DISPATCH_ITEM_BYTES   20u
#define NODE_DISPATCH_HEAD_MAX     40u /* of a body, without its items and bytes */
#define NODE_DISPATCHED_ITEM_BYTES 24u
#define NODE_DISPATCHED_ITEMS_MAX  (2u * NODE_DISPATCH_ITEMS_MAX)
#define NODE_LEASE_ITEM_BYTES      16u
#define NODE_ORIGIN_MAX            ((UINT64_C(1) << 56) - 1)
#define NODE_LEASE_MS_MAX          60000u
#define NODE_LEADS_ITEM_BYTES      12u

/*
 * For whom the message is, of those that the receiver leads.
 *
 *    0  u8   partition, or NODE_DISPATCH_NODE
 *    1       0, 0, 0
 *    4  u32  run, >= 1: the sender begins anew with what is not answered in each
 *    8  u32  place in the run, from 1 on, without a gap
 *   12  u64  term of the leader that is meant, >= 1; of the node itself 0
 */
struct node_dispatch_item {
    uint8_t partition;
    uint32_t run, place;
    uint64_t term;
};

struct node_dispatch {
    uint64_t origin; /* the source: 1 .. NODE_ORIGIN_MAX */
    uint64_t op;     /* its count, >= 1 */
    struct bytes items;
    struct bytes bytes; /* the message, in the words of the broker */
};

/* Given once and for all; an answer that is not known is passed over. */
enum node_dispatched_kind {
    NODE_DISPATCHED_DONE = 1,   /* all of the source's for that partition, up to op */
    NODE_DISPATCHED_LOST = 2,   /* the receiver does not lead it, in that term */
    NODE_DISPATCHED_REPEAT = 3, /* a place was left out, or there is no room: begin a new run */
};

/*
 *    0  u8   kind
 *    1  u8   partition, or NODE_DISPATCH_NODE
 *    2  u16  0
 *    4  u32  run that is meant; of DONE 0
 *    8  u64  term that is meant; of DONE, or the node itself, 0
 *   16  u64  DONE: op, >= 1; else 0
 */
struct node_dispatched_item {
    uint8_t kind, partition;
    uint32_t run;
    uint64_t term, op;
};

struct node_dispatched {
    uint64_t origin;
    struct bytes items;
};

struct node_lease_ask {
    uint64_t number;  /* the asker's own, >= 1 */
    uint64_t version; /* of the receiver's interest, that the asker has all of; 0: of none */
};

/*
 *    0  u8   partition
 *    1       0, 0, 0
 *    4  u32  length in ms, from when it was asked for; 1 .. NODE_LEASE_MS_MAX
 *    8  u64  term, >= 1
 */
struct node_lease_item {
    uint8_t partition;
    uint32_t length_ms;
    uint64_t term;
};

struct node_lease {
    uint64_t number;  /* of the question */
    uint64_t version; /* of the sender's interest, that who uses the lease must have all of */
    struct bytes items;
};

/*
 * What the sender leads: of each partition that is not named it does not, any more.
 *
 *    0  u8   partition
 *    1       0, 0, 0
 *    4  u64  term, >= 1
 */
struct node_leads_item {
    uint8_t partition;
    uint64_t term;
};

/* Their length; there is room. */
size_t node_dispatch_item_encode(uint8_t *out, const struct node_dispatch_item *item);
size_t node_dispatched_item_encode(uint8_t *out, const struct node_dispatched_item *item);
size_t node_lease_item_encode(uint8_t *out, const struct node_lease_item *item);
size_t node_leads_item_encode(uint8_t *out, const struct node_leads_item *item);

/* The next item is taken off *rest, which was checked; false: there is none left. */
bool node_dispatch_item_next(struct bytes *rest, struct node_dispatch_item *item);
bool node_dispatched_item_next(struct bytes *rest, struct node_dispatched_item *item);
bool node_lease_item_next(struct bytes *rest, struct node_lease_item *item);
bool node_leads_item_next(struct bytes *rest, struct node_leads_item *item);

/* The length of a body; out may be NULL. */
NODISCARD size_t node_dispatch_encode(uint8_t *out, const struct node_dispatch *dispatch);
NODISCARD size_t node_dispatched_encode(uint8_t *out, const struct node_dispatched *dispatched);
NODISCARD size_t node_lease_ask_encode(uint8_t *out, const struct node_lease_ask *ask);
NODISCARD size_t node_lease_encode(uint8_t *out, const struct node_lease *lease);
NODISCARD size_t node_leads_encode(uint8_t *out, struct bytes items);

/* Any bytes are fair input; what is decoded points into `body`, and its items have been checked: a
 * partition is named once in a dispatch, and in a lease. */
NODISCARD enum node_err node_dispatch_decode(struct node_dispatch *dispatch, struct bytes body);
NODISCARD enum node_err node_dispatched_decode(struct node_dispatched *dispatched,
                                               struct bytes body);
NODISCARD enum node_err node_lease_ask_decode(struct node_lease_ask *ask, struct bytes body);
NODISCARD enum node_err node_lease_decode(struct node_lease *lease, struct bytes body);
NODISCARD enum node_err node_leads_decode(struct bytes *items, struct bytes body);
