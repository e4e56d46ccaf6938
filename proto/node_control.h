/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_control: the small frames: those that a link has for itself, why it ends, what may be under
 * way, and what will not come; and what time it is. Pure. (ACK and PING have no body.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define NODE_CONTROL_BYTES_MAX 32u /* of the body of each */

enum node_close {
#define NODE_CLOSE(name, number, refused, text) NODE_CLOSE_##name = (number),
#include "proto/tbl/node_close.h"
};

const char *node_close_text(enum node_close why); /* a sentence's end; of an unknown one, too */
bool node_close_is_refusal(enum node_close why);  /* it will be the same the next time */

/* Why a connection ends on which such a frame came. */
enum node_close node_close_of(enum node_err err);

/*
 * GAP stands for the numbers first..its own in the header, which are not sent (again). Whether
 * anything is lost by that, the receiver can tell: it has had some of them, or all.
 */
enum node_gap {
    NODE_GAP_FRESH = 1, /* the receiver was started anew: they were for the one before */
    NODE_GAP_LOST = 2,  /* they were given up */
};

struct node_gap_body {
    uint64_t first;
    enum node_gap why;
};

/* Each into out[0..NODE_CONTROL_BYTES_MAX); the length of the body. */
NODISCARD size_t node_close_encode(uint8_t *out, enum node_close why);
NODISCARD size_t node_credit_encode(uint8_t *out, uint64_t credit);
NODISCARD size_t node_gap_encode(uint8_t *out, const struct node_gap_body *gap);
NODISCARD size_t node_clock_encode(uint8_t *out, uint64_t wall_ms); /* since 1970 */

/* Any bytes are fair input. A reason that is not known is given as it is. */
NODISCARD enum node_err node_close_decode(enum node_close *why, struct bytes body);
NODISCARD enum node_err node_credit_decode(uint64_t *credit, struct bytes body);
NODISCARD enum node_err node_gap_decode(struct node_gap_body *gap, struct bytes body);
NODISCARD enum node_err node_clock_decode(uint64_t *wall_ms, struct bytes body);
