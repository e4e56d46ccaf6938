/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest: a number that says what is in a set of items, whatever the order in which they came: the
 * sum, modulo 2^128, of a hash of each kind and text, times the count.
 *
 * All nodes of a cluster have to get the same, so the hash's seed is made of the cluster's UUID,
 * which clients do not know: XXH3 is no cryptographic hash, and who chose topics with the seed
 * before him could make a difference vanish. Pure.
 */
#pragma once

#include <stdint.h>
#include <xxhash.h>

#include "proto/little_endian.h"
#include "proto/node_id.h"
#include "proto/node_interest.h"

struct digest {
    unsigned __int128 sum;
};

/* Of an item, without its count. The lower half serves tables as well. */
struct item_hash {
    unsigned __int128 value;
};

static inline uint64_t digest_seed(struct cluster_uuid cluster)
{
    return XXH3_64bits(cluster.bytes, sizeof cluster.bytes);
}

static inline struct item_hash item_hash(uint8_t kind, struct bytes text, uint64_t seed)
{
    const XXH128_hash_t h =
        XXH3_128bits_withSeed(text.at, text.len, seed + kind * UINT64_C(0x9e3779b97f4a7c15));
    return (struct item_hash){(unsigned __int128)h.high64 << 64 | h.low64};
}

static inline uint64_t item_hash_short(struct item_hash h)
{
    return (uint64_t)h.value;
}

/* The item's count changes from `was` to `is`; 0: it is not there. */
static inline void digest_change(struct digest *d, struct item_hash h, uint32_t was, uint32_t is)
{
    d->sum += h.value * is;
    d->sum -= h.value * was;
}

static inline void digest_encode(uint8_t out[NODE_DIGEST_BYTES], struct digest d)
{
    put_u64(out, (uint64_t)d.sum);
    put_u64(out + sizeof(uint64_t), (uint64_t)(d.sum >> 64));
}
