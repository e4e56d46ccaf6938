/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_frame: what nodes of a cluster send each other, one frame after the other on a stream of
 * bytes. Pure: bytes in, struct out.
 *
 *    0  u32  length of the body
 *    4  u8   type (tbl/node_frame.h)
 *    5  u8   flags
 *    6  u16  lane
 *    8  u64  number of the frame in the sender's stream, from 1 on; 0: not numbered
 *   16  u64  highest number that the sender has received of the other direction, and all before it;
 *            0: it says nothing about that
 *   24       the body
 *
 * Little-endian. Bodies are fields (node_field.h), but for HELLO's first 12 bytes. What a later
 * version adds: types, flags, fields, and bytes behind those that a field has today. What is not
 * known is passed over, unless it says that it is critical; so neighbouring versions can talk.
 *
 * Memory: none. At the bound: a body over body_max is refused by its header, before it has come.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define NODE_FRAME_HEAD_BYTES 24u

#define NODE_FRAME_CRITICAL 0x01u /* who does not know the type must not go on */

enum node_frame_type {
#define NODE_FRAME(name, number, text) NODE_FRAME_##name = (number),
#include "proto/tbl/node_frame.h"
};

enum node_err {
    NODE_OK = 0,
    NODE_NEED_MORE, /* a fair beginning; the rest has not arrived */
    NODE_MALFORMED, /* cut off inside, a value out of its range, a field that must be there */
    NODE_TOO_LARGE, /* the body is over body_max */
    NODE_UNKNOWN_CRITICAL, /* a field of a later version, that must be understood */
};

struct node_frame {
    uint8_t type; /* may be one that is not known */
    uint8_t flags;
    uint16_t lane;
    uint64_t seq;
    uint64_t ack;
    struct bytes body;
};

/* Writes the head; body.at is not looked at. */
void node_frame_head_encode(uint8_t out[NODE_FRAME_HEAD_BYTES], const struct node_frame *frame);

/*
 * Decodes the frame that in[0..in_len) begins with; its body points into `in`, and has not been
 * looked at. Any bytes are fair input. NODE_OK: *used is the frame's size. NODE_NEED_MORE: *used is
 * the size to call again with. NODE_TOO_LARGE: as soon as the header is there.
 */
NODISCARD enum node_err node_frame_decode(struct node_frame *frame, const uint8_t *in,
                                          size_t in_len, size_t body_max, size_t *used);

const char *node_frame_name(uint8_t type); /* "PUBLISH"; NULL: a type that is not known */
