/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_interest: what nodes tell each other of the filters that they have subscribers for. Pure.
 *
 * A node's interest is its own alone: a set of items, changed one by one, each change one version.
 * What the frames are for is told in cluster/interest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define NODE_DIGEST_BYTES        16u
#define NODE_INTEREST_HEAD_MAX   64u    /* of a body, in front of its items */
#define NODE_INTEREST_ITEM_BYTES 8u     /* of an item, without its text */
#define NODE_INTEREST_TEXT_MAX   65535u /* of its text */

/* Given once and for all. An item of a kind that is not known is kept, and means nothing here. */
enum node_interest_kind {
    NODE_INTEREST_FILTER = 1, /* a filter; its count is 1 */
    NODE_INTEREST_GROUP = 2,  /* "$share/NAME/FILTER"; its count is how many members there are */
};

/*
 *    0  u8   kind
 *    1  u8   0
 *    2  u16  length of the text
 *    4  u32  count; 0: the item has gone
 *    8       text
 */
struct node_interest_item {
    uint8_t kind;
    uint32_t count;
    struct bytes text;
};

/* Its length, NODE_INTEREST_ITEM_BYTES + text.len; there is room for it. */
size_t node_interest_item_encode(uint8_t *out, const struct node_interest_item *item);

/* Takes the next item off *rest, which was checked; false when there is none left. */
bool node_interest_item_next(struct bytes *rest, struct node_interest_item *item);

/* Changes first..first + (number of items) - 1. */
struct node_interest_delta {
    uint64_t generation;
    uint64_t first;     /* the version that the first of them makes; >= 1 */
    struct bytes items; /* one at least */
    uint32_t count;     /* of items; decoded only */
};

/* Items that there are, in no order; all of them are in one part or another. */
struct node_interest_snapshot {
    uint64_t generation;
    uint64_t version;  /* that the set has now, at this part */
    uint32_t snapshot; /* a number that the sender has for this walk through its set */
    uint32_t part;     /* 0, 1, 2, … */
    bool last;
    struct bytes items; /* may be empty; no count is 0 */
};

struct node_interest_digest {
    uint64_t generation;
    uint64_t version;
    uint8_t digest[NODE_DIGEST_BYTES];
};

/* What the sender holds of the receiver's interest. */
struct node_interest_ack {
    uint64_t generation; /* 0: of none */
    uint64_t version;    /* all up to that one is there, and found by each match that begins now */
    uint32_t snapshot;   /* of the snapshot that is coming in: its number, */
    uint32_t parts;      /* and the parts of it that have come */
    uint8_t want;        /* enum node_interest_want */
};

enum node_interest_want {
    NODE_WANT_NOTHING = 0, /* go on as you are */
    NODE_WANT_TAIL,        /* from version + 1 on */
    NODE_WANT_SNAPSHOT,    /* what is here is not to be gone on from */
};

/* The body without its items, which are to follow: into out[0..NODE_INTEREST_HEAD_MAX); its length.
 * Of items only the length is looked at. */
NODISCARD size_t node_interest_delta_encode(uint8_t *out, const struct node_interest_delta *delta);
NODISCARD size_t node_interest_snapshot_encode(uint8_t *out,
                                               const struct node_interest_snapshot *snapshot);

/* Whole bodies, into out[0..NODE_INTEREST_HEAD_MAX). */
NODISCARD size_t node_interest_digest_encode(uint8_t *out,
                                             const struct node_interest_digest *digest);
NODISCARD size_t node_interest_ack_encode(uint8_t *out, const struct node_interest_ack *ack);

/* Any bytes are fair input; what is decoded points into `body`. Each item is judged: a filter is a
 * valid one, a group is well-formed. */
NODISCARD enum node_err node_interest_delta_decode(struct node_interest_delta *delta,
                                                   struct bytes body);
NODISCARD enum node_err node_interest_snapshot_decode(struct node_interest_snapshot *snapshot,
                                                      struct bytes body);
NODISCARD enum node_err node_interest_digest_decode(struct node_interest_digest *digest,
                                                    struct bytes body);
NODISCARD enum node_err node_interest_ack_decode(struct node_interest_ack *ack, struct bytes body);
