/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graves: topics that have no retained message as of a version, between the reading of the disk and
 * the beginning of the replica, which has them from then on.
 *
 * Owner: main, before the shards run. Memory: each topic and 64 bytes, until it is emptied; a node
 * without a cluster empties it, too: what is on disk stays there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/node_retained.h"
#include "proto/nodiscard.h"

struct grave {
    struct table_link link;
    struct retained_version version;
    uint16_t len;
    uint8_t topic[];
};

struct graves {
    struct table table; /* made when there is something to be in it */
    uint64_t floor;     /* as on disk (cluster/replica); 0: none */
};

void graves_fini(struct graves *g);

/* The topic's newest version stays. false: no memory. */
NODISCARD bool graves_bury(struct graves *g, struct bytes topic,
                           const struct retained_version *version);

struct grave *graves_find(struct graves *g, struct bytes topic); /* or NULL */

/* Some grave, taken out; the caller frees it. NULL: there are none. *cursor: 0 at first. */
struct grave *graves_take(struct graves *g, size_t *cursor);

static inline struct bytes grave_topic(const struct grave *g)
{
    return bytes_of(g->topic, g->len);
}
