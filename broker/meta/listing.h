/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listing: members and partitions as this node has them, for a thread that is no shard's.
 *
 * Owner: as errands (shard/errand.h). Memory: META's state, once; a row for each partition.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/partitions/partitions.h"
#include "broker/shard/errand.h"
#include "cluster/meta/meta.h"
#include "proto/nodiscard.h"

/* Asked of shard 0. */
struct members_listing {
    struct errand errand;
    uint32_t number;         /* this node's; 0: it is no member yet */
    uint64_t leader;         /* META's, its number; 0: none is known */
    uint64_t applied;        /* index in META's log */
    struct meta_state state; /* cluster none: nothing is known */
};

NODISCARD struct members_listing *members_listing_create(void); /* NULL: no memory */

/* Asked of each shard: the partitions that are at home there. */
struct partitions_listing {
    struct errand errand;
    unsigned count;
    struct {
        unsigned partition;
        struct partition_state state;
    } rows[NODE_META_PARTITIONS];
};

NODISCARD struct partitions_listing *partitions_listing_create(void); /* NULL: no memory */
