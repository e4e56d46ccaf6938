/* SPDX-License-Identifier: Apache-2.0 */
/*
 * greeting: whether a node that says HELLO is one to talk to. Pure.
 *
 * Who accepts a connection does not know whose it is before its first frame has come:
 * greeting_read() gives it, the caller finds the link (by node and lane), and link_accept() takes
 * the connection; or CLOSE is sent with the reason (greeting_farewell()), and that is all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/identity.h"
#include "proto/node_control.h"
#include "proto/node_frame.h"
#include "proto/node_hello.h"
#include "proto/nodiscard.h"

/* That this source has, beyond protocol 1. */
#define GREETING_FEATURES                                                                          \
    (NODE_FEATURE_CLAIMS | NODE_FEATURE_RELAY | NODE_FEATURE_GROUPS | NODE_FEATURE_META)

/* Is `self` to talk to that node? NODE_CLOSE_NONE, or the first reason that speaks against it.
 * dialed: self has called it; otherwise it has called self. */
NODISCARD enum node_close greeting_judge(const struct identity *self,
                                         const struct node_hello *hello, bool dialed);

/* The first frame of a connection, read; *hello is set, and points into `in`. */
struct greeting {
    struct node_hello hello;
    uint16_t lane;
    size_t used; /* of `in`: what is behind it is the link's */
};

enum greeting_state {
    GREETING_OK = 0,
    GREETING_NEED_MORE, /* never more than NODE_FRAME_HEAD_BYTES + NODE_HELLO_BYTES_MAX */
    GREETING_BAD,       /* *why */
};

/* Any bytes are fair input. It was judged, as that of one who has called. */
NODISCARD enum greeting_state greeting_read(const struct identity *self, const uint8_t *in,
                                            size_t in_len, struct greeting *greeting,
                                            enum node_close *why);

#define GREETING_FAREWELL_BYTES (NODE_FRAME_HEAD_BYTES + NODE_CONTROL_BYTES_MAX)

/* A CLOSE with that reason, for one who has no link; its length. */
NODISCARD size_t greeting_farewell(uint8_t out[GREETING_FAREWELL_BYTES], enum node_close why);
