/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch_uses: what dispatch asks of the partitions of this node. All of it on their home shard.
 * The node's own are dispatch_uses_partitions; tests have others.
 */
#pragma once

#include <stdint.h>

#include "broker/route/publish.h"

struct message;
struct shard;

extern const struct dispatch_uses dispatch_uses_partitions; /* broker/partitions */

struct dispatch_uses {
    /* publish_to_partition() */
    enum publish_partition (*publish)(struct shard *s, unsigned p, struct message *m,
                                      uint64_t stream, uint64_t operation);
    /* partition_highest() */
    uint64_t (*highest)(const struct shard *s, unsigned p, uint64_t origin);
    /* Until when nobody else can lead it, which this node leads; 0: that is not known
     * (group_state.lease_ms). */
    uint64_t (*certain_ms)(const struct shard *s, unsigned p);
};
