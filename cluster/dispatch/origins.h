/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origins: what of each origin a partition has applied: the highest op. What is not above it is a
 * repetition, and is applied as nothing. It is a part of the partition's replicated state: the same
 * entries in the same order give the same table on all replicas, byte for byte.
 *
 *   origin   who counts: a source stream (origin_of()), or a kept session that publishes at QoS 2
 *   op       its count, >= 1. Gaps are fair: what lies in one was for other partitions
 *
 * What it cannot tell: whether an op below the highest was applied, or never came. So whoever
 * counts must not use an op again that he has let go of, once anything newer may be on its way
 * (README.md).
 *
 * Owner: who owns the partition's state; one thread.
 * Memory: an object for each origin, `most` of them; 1 MiB in bytes for ORIGINS_MAX.
 * At the bound: the one whose last use is the longest ago is forgotten, the same one everywhere.
 * A repetition of its that comes after that is not known for one.
 * Without memory: ORIGINS_NO_MEMORY, and nothing has changed. Who applies must not go on then, as
 * the other replicas do: it makes the state anew from what is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define ORIGINS_MAX        65536u
#define ORIGINS_ITEM_BYTES 16u /* of each, in bytes: u64 origin, u64 op */

#define ORIGIN_NODES  (1u << 16)
#define ORIGIN_SHARDS (1u << 8)

struct origins;

/* The stream of one shard of one start of a node; never 0, since both begin at 1. node: 1 ..
 * ORIGIN_NODES - 1; start: 1 .. UINT32_MAX. 56 bits: what has more is a session's serial. */
static inline uint64_t origin_of(uint32_t node, uint32_t start, uint8_t shard)
{
    return (uint64_t)(node & (ORIGIN_NODES - 1)) << 40 | (uint64_t)start << 8 | shard;
}

static inline uint32_t origin_node(uint64_t origin)
{
    return (uint32_t)(origin >> 40);
}

static inline uint32_t origin_start(uint64_t origin)
{
    return (uint32_t)(origin >> 8);
}

static inline uint8_t origin_shard(uint64_t origin)
{
    return (uint8_t)origin;
}

enum origins_err {
    ORIGINS_NEW = 0,
    ORIGINS_REPEATED,
    ORIGINS_NO_MEMORY,
    ORIGINS_MALFORMED, /* of bytes: cut off, an origin twice, an op 0, too many */
};

/* most: 1 .. ORIGINS_MAX, the same on all replicas. NULL: out of memory. */
NODISCARD struct origins *origins_create(uint32_t most);
void origins_destroy(struct origins *o); /* NULL is fine */

/* An entry of (origin, op) is applied: it is new, or to be passed over. Either is a use. op >= 1.
 */
NODISCARD enum origins_err origins_take(struct origins *o, uint64_t origin, uint64_t op);

/* 0: none is known. No use. */
uint64_t origins_highest(struct origins *o, uint64_t origin);

uint32_t origins_count(const struct origins *o);

/* The whole, the longest unused first; its length, ORIGINS_ITEM_BYTES each. out may be NULL. */
size_t origins_encode(const struct origins *o, uint8_t *out);

/* What was encoded takes the place of all that there is. Any bytes are fair input; unless it is
 * ORIGINS_NEW, nothing has changed. */
NODISCARD enum origins_err origins_decode(struct origins *o, struct bytes bytes);
