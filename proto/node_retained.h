/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_retained: how nodes find out in which retained messages they differ, and give each other
 * what is missing. Pure. What the frames are for is told in cluster/replica.
 *
 * A topic has a place: its hash, read backwards (cluster/table.h). A range is first..last of them,
 * both in it. Sums are of the versions of all topics in a range: the root is all there is, its 256
 * parts have 256 parts each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define NODE_SUM_BYTES            16u
#define NODE_SUMS                 256u /* of a frame */
#define NODE_RETAINED_HEAD_MAX    64u  /* of a body, in front of what is in it */
#define NODE_RETAINED_ITEM_BYTES  40u  /* of an item, without its topic and body */
#define NODE_RETAINED_KNOWN_BYTES 24u  /* of a topic that is known */
#define NODE_RETAINED_DROP_BYTES  12u
#define NODE_RETAINED_DROPS_MAX   512u /* of a frame */
#define NODE_RETAINED_KNOWN_MAX   512u /* of a frame */
#define NODE_RETAINED_TOPIC_MAX   65535u

/* Which write it is that a topic has. No two writes have the same. */
struct retained_version {
    uint64_t stamp;          /* a hybrid logical time (cluster/hlc.h); 0: of none */
    struct node_uuid origin; /* whose client wrote it */
    uint64_t generation;     /* of the origin's start: a start that lost its end may give a stamp
                              * once more */
};

/* < 0: a is the older write; 0: the same; > 0. An order that all nodes agree on. */
static inline int retained_version_compare(const struct retained_version *a,
                                           const struct retained_version *b)
{
    if (a->stamp != b->stamp) {
        return a->stamp < b->stamp ? -1 : 1;
    }
    const int origins = node_uuid_compare(a->origin, b->origin);
    return origins != 0 ? origins
                        : (a->generation > b->generation) - (a->generation < b->generation);
}

/* ---- DIGEST: where the sender stands */

struct node_retained_digest {
    uint8_t sum[NODE_SUM_BYTES]; /* the root */
    uint64_t high;     /* no stamp that is on its disk is higher, and what it will write is */
    uint64_t complete; /* it has all that the others wrote up to that */
    uint64_t floor;    /* what it lacks of that and before has been deleted */
};

NODISCARD size_t node_retained_digest_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                             const struct node_retained_digest *digest);
NODISCARD enum node_err node_retained_digest_decode(struct node_retained_digest *digest,
                                                    struct bytes body);

/* ---- ASK */

enum node_retained_want {
    NODE_RETAINED_SUMS = 1,  /* of the parts of a range */
    NODE_RETAINED_ITEMS = 2, /* that are in the range, and newer than what is known */
};

struct node_retained_ask {
    uint32_t number; /* comes back with the answer */
    uint8_t want;
    uint8_t level; /* SUMS: 0: of the root's parts; 1: of those of one of them */
    uint64_t first, last;
    struct bytes known; /* ITEMS: all that the asking node has in the range, by place */
};

struct node_retained_known {
    uint64_t hash;   /* of the topic: that which has its place */
    uint32_t check;  /* more of it */
    uint64_t stamp;  /* of its version; */
    uint32_t writer; /* and a hash of its origin and generation */
};

size_t node_retained_known_encode(uint8_t out[NODE_RETAINED_KNOWN_BYTES],
                                  const struct node_retained_known *known);
/* The i-th. */
struct node_retained_known node_retained_known_at(struct bytes list, size_t i);

/* Without `known`, of which only the length is looked at, and which is to follow. */
NODISCARD size_t node_retained_ask_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                          const struct node_retained_ask *ask);
NODISCARD enum node_err node_retained_ask_decode(struct node_retained_ask *ask, struct bytes body);

/* ---- SUMS: NODE_SUMS of them, in the order of the places */

struct node_retained_sums {
    uint32_t number;
    struct bytes sums; /* NODE_SUMS * NODE_SUM_BYTES */
};

/* Without `sums`, which are to follow. */
NODISCARD size_t node_retained_sums_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                           const struct node_retained_sums *sums);
NODISCARD enum node_err node_retained_sums_decode(struct node_retained_sums *sums,
                                                  struct bytes body);

/* ---- ITEMS */

struct node_retained_items {
    uint32_t number;
    bool whole;         /* the range that was asked for is done */
    uint64_t next;      /* not whole: all before that place is */
    uint64_t floor;     /* the sender's */
    struct bytes items; /* by place */
    struct bytes drops; /* topics that were known, and that it lacks, up to its floor */
};

enum node_retained_kind {
    NODE_RETAINED_MESSAGE = 1,
    NODE_RETAINED_GONE = 2, /* deleted, or expired */
};

/*
 *    0  u8   kind
 *    1  u8   0
 *    2  u16  length of the topic
 *    4  u32  length of the body
 *    8  u64  stamp; 16 bytes origin; u64 generation
 *   40       topic; body
 */
struct node_retained_item {
    uint8_t kind;
    struct retained_version version;
    struct bytes topic; /* a valid name, without wildcards */
    struct bytes body;  /* of a MESSAGE: of a frame PUBLISH (node_publish.h); else empty */
};

/* The item's, without its body; NODE_RETAINED_ITEM_BYTES + topic.len of them. */
size_t node_retained_item_encode(uint8_t *out, const struct node_retained_item *item);

/* Takes the next item off *rest, which was checked; false when there is none left. */
bool node_retained_item_next(struct bytes *rest, struct node_retained_item *item);

struct node_retained_drop {
    uint64_t hash;
    uint32_t check;
};

void node_retained_drop_encode(uint8_t out[NODE_RETAINED_DROP_BYTES],
                               const struct node_retained_drop *drop);
bool node_retained_drop_next(struct bytes *rest, struct node_retained_drop *drop);

/* In front of the items, of which only the length is looked at. */
NODISCARD size_t node_retained_items_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                            const struct node_retained_items *items);
/* In front of the drops, which are behind the items: 0, and nothing, if there are none. */
#define NODE_RETAINED_DROPS_HEAD_MAX 8u
NODISCARD size_t node_retained_drops_encode(uint8_t out[NODE_RETAINED_DROPS_HEAD_MAX],
                                            const struct node_retained_items *items);

/* Any bytes are fair input; what is decoded points into `body`. */
NODISCARD enum node_err node_retained_items_decode(struct node_retained_items *items,
                                                   struct bytes body);
