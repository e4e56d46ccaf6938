/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_hello: what a node says of itself when a connection to another begins. Pure.
 *
 *    0  8 bytes  "dunlinND"
 *    8  u16      lowest version of this protocol that the sender speaks
 *   10  u16      highest
 *   12           fields (node_field.h)
 *
 * The first twelve bytes are the same for ever, so that two nodes which have no version in common
 * can say so. What is said here is not judged here: whether it is the right cluster, and whether
 * the generation is not an old one, is for cluster/link.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define NODE_PROTOCOL 1u /* that this source speaks, as the highest and the lowest */

#define NODE_HELLO_BYTES_MAX 512u /* of the body; a longer one is refused */
#define NODE_BUILD_BYTES_MAX 64u

/* Features. A bit is given once and for all. */
#define NODE_FEATURE_CLAIMS UINT64_C(1) /* it owns client ids (CLAIM_OWNER and the like) */
#define NODE_FEATURE_RELAY  UINT64_C(2) /* it takes other nodes' connections (RELAY_OPEN) */
#define NODE_FEATURE_GROUPS UINT64_C(4) /* it takes CONSENSUS */
#define NODE_FEATURE_META   UINT64_C(8) /* it takes META_MEMBER and the like */

struct node_hello {
    uint16_t protocol_min, protocol_max; /* min <= max */
    uint64_t features;                   /* bit each; what both have may be used */
    struct cluster_uuid cluster;         /* not none */
    struct node_uuid node;               /* not none */
    struct node_uuid to;                 /* who is thought to be at the other end; none: whoever */
    uint64_t generation;                 /* of this start; >= 1 */
    struct bytes name;                   /* node_name_is_valid() */
    struct bytes build;                  /* for the log; may be empty */
    uint32_t frame_max;                  /* longest body that the sender takes; >= 1 */
    uint64_t stream;                     /* what the sender numbers on this lane; not 0 */
    /* What it has of the other's: the stream, and the highest number; 0, 0: nothing. */
    uint64_t received_stream, received_seq;
    uint64_t credit; /* bytes that may be unacknowledged; UINT64_MAX: as many as you keep */
};

/* Into out[0..NODE_HELLO_BYTES_MAX); its length. What the fields say of themselves holds, and
 * build.len <= NODE_BUILD_BYTES_MAX. */
NODISCARD size_t node_hello_encode(uint8_t *out, const struct node_hello *hello);

/* Any bytes are fair input; *hello points into `body`. On NODE_OK all that the struct says holds.
 * When protocol_min..max do not include NODE_PROTOCOL, only these two are set: the rest may be of
 * any form. */
NODISCARD enum node_err node_hello_decode(struct node_hello *hello, struct bytes body);
