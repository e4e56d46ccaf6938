/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_hash: what a client identifier's partition and shard follow from (node_shard_of()). Where
 * several nodes have the partitions they have to agree, so it is claims_hash() then, turned so that
 * what claims takes for the partition is what is left of it modulo PARTITIONS.
 *
 * Pure.
 */
#pragma once

#include <stdint.h>
#include <xxhash.h>

#include "broker/node.h"
#include "cluster/claims/claims.h"
#include "proto/bytes.h"

_Static_assert(PARTITIONS == 64, "claims takes the upper six bits");

static inline uint64_t client_hash_of(const struct node *node, struct bytes client_id)
{
    if (node->replicas == 0) {
        return XXH3_64bits(client_id.at, client_id.len);
    }
    const uint64_t hash = claims_hash(node->cluster, client_id);
    return hash << 6 | hash >> 58;
}
