/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_relay: a client's connection whose socket is on one node ("near") and whose packets are
 * dealt with on another ("far"), as the two tell each other of it. Pure.
 *
 *   near ── OPEN, DATA …, CREDIT …, END ──▶ far
 *        ◀── DATA …, CREDIT …, END ──
 *
 * All of them are numbered frames of one lane, so they come once and in order. DATA is of the
 * stream of MQTT packets, cut anywhere. Each way NODE_RELAY_WINDOW bytes may be under way at first,
 * and as many more as CREDIT says. Behind its END a side says nothing more of that id,
 * but for near's ENDED: CREDIT, and GONE, may still come.
 *
 * What it is for is told in broker/relay.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define NODE_RELAY_PARTITIONS 64u
#define NODE_RELAY_WINDOW     65536u
#define NODE_RELAY_DATA_MAX   16384u /* bytes of one DATA; 1 at least */
#define NODE_RELAY_NAMES      4u
#define NODE_RELAY_NAME_MAX   255u
#define NODE_RELAY_HEAD_MAX   64u /* of a body, without names and data */
#define NODE_RELAY_BODY_MAX   (NODE_RELAY_HEAD_MAX + NODE_RELAY_DATA_MAX)

/* Given once and for all; one that is not known is as GONE. */
enum node_relay_end {
    NODE_RELAY_ENDED = 1,   /* of near: the client sends no more; of far: all has been said */
    NODE_RELAY_GONE = 2,    /* and it takes nothing more, either */
    NODE_RELAY_REFUSED = 3, /* of far, to OPEN: there are too many, or it is about to end */
    NODE_RELAY_MOVED = 4,   /* likewise: the partition is not led there */
};

/* Which name of a client's certificate. */
enum node_relay_name {
    NODE_RELAY_COMMON_NAME,
    NODE_RELAY_DNS,
    NODE_RELAY_URI,
    NODE_RELAY_EMAIL,
};

#define NODE_RELAY_OF_FAR (UINT64_C(1) << 63)

#define NODE_RELAY_LOCAL 0x01u /* the client came by a Unix socket: it has no address */

struct node_relay {
    uint8_t type; /* NODE_FRAME_RELAY_… */

    /* Near's, below NODE_RELAY_OF_FAR, never used again by that start of it; its remainder by
     * NODE_RELAY_PARTITIONS is the partition of the client id. Far says it with that bit. */
    uint64_t id;

    /* OPEN */
    uint8_t flags;
    uint8_t listener; /* near's number of it */
    uint16_t port;
    uint8_t address[16];                  /* IPv6, or IPv4 mapped; 0 if local */
    uint32_t uid, gid, pid;               /* if local: whose process; else 0 */
    struct bytes names[NODE_RELAY_NAMES]; /* UTF-8; empty: it has none */

    struct bytes data; /* DATA */
    uint32_t credit;   /* CREDIT: 1..NODE_RELAY_WINDOW */
    uint8_t why;       /* END: enum node_relay_end, or one of a later version */
};

static inline unsigned node_relay_partition(uint64_t id)
{
    return (unsigned)(id % NODE_RELAY_PARTITIONS);
}

/* The length of a body of that type; out may be NULL. */
size_t node_relay_encode(uint8_t *out, const struct node_relay *relay);

/* Of a frame of one of those types. Any bytes are fair input; what is decoded points into `body`,
 * and what the struct says of itself holds. */
NODISCARD enum node_err node_relay_decode(struct node_relay *relay, uint8_t type,
                                          struct bytes body);
