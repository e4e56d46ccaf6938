/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load: what a node says of itself by membership, for the others to read: how many shards it has,
 * how many clients, and how many more it takes. Pure.
 *
 *   0  u8   LOAD_VERSION
 *   1  u8   shards
 *   2  u8   bits: LOAD_DRAINING, LOAD_ENCRYPTS
 *   3  u32  clients that are connected
 *   7  u32  connections that it takes in a second; LOAD_ANY: any number
 *
 * Numbers are big-endian. What a later version adds stands behind it. The first version had two
 * bytes: the rest is not known then.
 *
 * What is said is some seconds old, and may be wrong: clients are counted roughly by it.
 * Owner: the caller. Memory: none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/bytes.h"

#define LOAD_VERSION 1u
#define LOAD_BYTES   11u
#define LOAD_ANY     UINT32_MAX

#define LOAD_LOOK_MS 1000u /* how often load_is_to_be_told() is worth asking */

struct node_load {
    bool known;       /* it has said so */
    bool draining;    /* it sends its clients away: it takes none */
    bool encrypts;    /* it takes links that are encrypted */
    uint32_t clients; /* a node that has more says UINT32_MAX */
    uint32_t admits;  /* a second; LOAD_ANY */
};

void load_encode(uint8_t out[LOAD_BYTES], unsigned shards, const struct node_load *load);

/* Shards, or 0: it is not understood. Any bytes are fair input. */
unsigned load_shards(struct bytes data);
struct node_load load_decode(struct bytes data);

/* Is `now` so different from what was `told` so long ago that all are to hear it? Each telling goes
 * to all nodes, so the more there are, the more seldom it is. */
bool load_is_to_be_told(const struct node_load *told, const struct node_load *now, uint64_t ago_ms,
                        unsigned nodes);
