/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_copy: what nodes say to each other while the records of a partition are copied from the one
 * to the other: bodies of PARTITION_COPY. Pure.
 *
 *   who lacks them ── WANT(copy, part 0) ──▶ who has them
 *                  ◀── PART(copy, part 0, index) ──
 *                  ── WANT(copy, part 1) ──▶ …          until PART says that it is the last
 *
 * Who lacks them asks again when nothing comes; the part that was sent last may be asked for once
 * more. What a part is made of is told in broker/store/partition_copy.h.
 *
 *    0  u8   kind
 *    1  u8   partition, below 64
 *    2  u8   1: it is the last part
 *    3  u8   0
 *    4  u32  incarnation
 *    8  u64  copy, which who asks has made up
 *   16  u64  part
 *   24  u64  index: WANT: of what there is to be at least; PART: that the copy is of; HAVE: what
 *            there is
 *   32  u64  PART: where the incarnation has ended, if it has; else 0
 *   40       PART: its bytes
 *
 * Who is to take a partition over, and copies it ahead, says to its leader each second how far it
 * is: HAVE.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define NODE_COPY_HEAD_BYTES 40u
#define NODE_COPY_PARTITIONS 64u

/* Given once and for all. */
enum node_copy_kind {
    NODE_COPY_WANT = 1,
    NODE_COPY_PART = 2,
    NODE_COPY_REFUSED = 3, /* it is not there, or not as far, or something else is copied now */
    NODE_COPY_HAVE = 4,
};

struct node_copy {
    uint8_t kind;
    uint8_t partition;
    bool is_last;
    uint32_t incarnation;
    uint64_t copy, part, index, sealed;
    struct bytes data; /* PART */
};

/* Its head; the data goes behind it. */
void node_copy_encode(uint8_t out[NODE_COPY_HEAD_BYTES], const struct node_copy *copy);

/* Any bytes are fair input: NODE_OK, or NODE_MALFORMED. */
NODISCARD enum node_err node_copy_decode(struct node_copy *copy, struct bytes body);
