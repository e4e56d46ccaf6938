/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement: which members are to have which partition: rendezvous hashing (Thaler, Ravishankar,
 * 1996). Each member has a weight for each partition, that nobody else decides; the highest ones
 * have it. So all who know the members come to the same, and a member that comes or goes moves
 * nothing but what it takes or leaves.
 *
 * Replicas of a partition are in different zones as far as there are zones: of those who are left,
 * it is always one of a zone that has the fewest so far, and of these the one with the highest
 * weight. Who has the highest weight of all is first, and is to lead.
 *
 * Pure; no memory.
 */
#pragma once

#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_meta.h"

struct placement_member {
    uint32_t number; /* >= 1; each comes once */
    struct bytes zone;
};

/* What voters of META are chosen by, as if it were a partition. */
#define PLACEMENT_META NODE_META_PARTITIONS

uint64_t placement_weight(unsigned partition, uint32_t number);

/* `replicas` of these, 1..NODE_META_REPLICAS_MAX; all, if there are fewer. Their order is of no
 * account. */
struct node_replicas placement_choose(unsigned partition, const struct placement_member *members,
                                      unsigned count, unsigned replicas);
