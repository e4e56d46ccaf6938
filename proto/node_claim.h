/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_claim: what nodes tell each other of who has which client id. Pure.
 *
 * The id space has 64 partitions, and each of them has an owner among the nodes. A node tells the
 * owner what has become of each of its clients (a hold), and the owner answers with words about
 * them. What the frames are for is told in cluster/claims.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define NODE_CLAIM_PARTITIONS 64u
#define NODE_CLAIM_HEAD_MAX   300u /* of a body, in front of its items; a whole one of the others */
#define NODE_CLAIM_HOLD_BYTES 48u  /* of a hold, without its texts */
#define NODE_CLAIM_WORD_BYTES 44u  /* of a word */
#define NODE_CLAIM_ID_MAX     65535u  /* of a client id */
#define NODE_CLAIM_WILL_MAX   262144u /* of a will, in the words of the broker */

/* A claim's time is below that: there is always a next one. */
#define NODE_CLAIM_TIME_MAX (UINT64_C(1) << 63)

/* The partition of a client id with that hash. */
static inline unsigned node_claim_partition(uint64_t hash)
{
    return (unsigned)(hash >> 58);
}

/* Given once and for all; one that is not known is passed over. */
enum node_hold_kind {
    NODE_HOLD_WANTS = 1, /* a client has come, and waits for the owner's word */
    NODE_HOLD_HOLDS = 2, /* it is connected */
    NODE_HOLD_GONE = 3,  /* it was lost, or kicked, and has left a will */
    NODE_HOLD_ENDED = 4, /* it is no more, and has left nothing */
    NODE_HOLD_BEGIN = 5, /* all holds of the partition follow, */
    NODE_HOLD_END = 6,   /* and have come */
    /* Not to the owner, who is the sender, but to its deputy: */
    NODE_HOLD_COPY = 7,       /* a client has a will */
    NODE_HOLD_COPY_ENDED = 8, /* has none any more */
    NODE_HOLD_COPIES_BEGIN = 9,
    NODE_HOLD_COPIES_END = 10,
};

#define NODE_HOLD_CLEAN 0x01u /* flag: the client begins a new session */
#define NODE_HOLD_LOST  0x02u /* flag, of COPY: it is lost, as in GONE */

/*
 *    0  u8   kind
 *    1  u8   flags
 *    2  u16  length of the client id
 *    4  u32  length of the will; 0: there is none
 *    8  u64  hash of the client id; of BEGIN and END, the first one of the partition
 *   16  u64  serial
 *   24  u64  time of the claim
 *   32  u64  delay of the will, ms
 *   40  u64  of GONE, or LOST: what is left of it, ms
 *   48       client id, will
 */
struct node_hold {
    uint8_t kind;
    uint8_t flags;
    uint64_t hash;
    uint64_t serial; /* which of the sender's, of this start; >= 1 */
    uint64_t claim;  /* 1 .. NODE_CLAIM_TIME_MAX - 1 */
    uint64_t delay_ms, left_ms;
    struct bytes id, will;
};

enum node_word_kind {
    NODE_WORD_GRANT = 1, /* the client is connected */
    NODE_WORD_KICK = 2,  /* it is to be closed: another one has the id */
    NODE_WORD_DONE = 3,  /* its will was published, or is not due any more */
};

#define NODE_WORD_UNSURE 0x01u /* flag, of GRANT: a former holder may still be there */

/*
 *    0  u8   kind
 *    1  u8   flags
 *    2  u16  0
 *    4  u64  hash
 *   12  u64  serial
 *   20  u64  time of the claim
 *   28  16   the node that held the id before; all 0: none is known
 */
struct node_word {
    uint8_t kind;
    uint8_t flags;
    uint64_t hash, serial; /* of the hold */
    uint64_t claim;
    struct node_uuid former;
};

/* What the sender owns, for the receiver's clients. */
struct node_claim_owner {
    uint32_t session; /* another one: what the receiver has told before is forgotten */
    uint32_t terms[NODE_CLAIM_PARTITIONS]; /* another one: likewise, of that one; 0: not its own */
};

struct node_claim_holds {
    uint32_t number; /* of such frames on this connection: 1, 2, … */
    struct bytes items;
};

/* Into `out`, where there is room: a hold's length is NODE_CLAIM_HOLD_BYTES + id.len + will.len. */
size_t node_hold_encode(uint8_t *out, const struct node_hold *hold);
size_t node_word_encode(uint8_t *out, const struct node_word *word);

/* The next item is taken off *rest, which was checked; false: there is none left. */
bool node_hold_next(struct bytes *rest, struct node_hold *hold);
bool node_word_next(struct bytes *rest, struct node_word *word);

/* Bodies, into out[0..NODE_CLAIM_HEAD_MAX); those of holds and words without their items, which are
 * to follow, and of which only the length is looked at. */
NODISCARD size_t node_claim_owner_encode(uint8_t *out, const struct node_claim_owner *owner);
NODISCARD size_t node_claim_holds_encode(uint8_t *out, const struct node_claim_holds *holds);
NODISCARD size_t node_claim_ack_encode(uint8_t *out, uint32_t number);
NODISCARD size_t node_claim_words_encode(uint8_t *out, struct bytes items);

/* Any bytes are fair input; what is decoded points into `body`, and each item was judged. */
NODISCARD enum node_err node_claim_owner_decode(struct node_claim_owner *owner, struct bytes body);
NODISCARD enum node_err node_claim_holds_decode(struct node_claim_holds *holds, struct bytes body);
NODISCARD enum node_err node_claim_ack_decode(uint32_t *number, struct bytes body);
NODISCARD enum node_err node_claim_words_decode(struct bytes *items, struct bytes body);
