/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity: what a node is to the others of its cluster, from its start to its end.
 *
 * A plain value; whoever has it owns it. What of it survives a restart, and how, is
 * identity_file.h's. The types, and what may be done with them, are those of proto/node_id.h.
 */
#pragma once

#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_id.h"

struct identity {
    struct cluster_uuid cluster;
    struct node_uuid node;
    uint64_t generation; /* of this start, >= 1; no other start of the node has had it */
    uint8_t name_len;    /* 1..NODE_NAME_MAX */
    uint8_t name[NODE_NAME_MAX];
};

/* Borrowed from *identity. */
static inline struct bytes identity_name(const struct identity *identity)
{
    return bytes_of(identity->name, identity->name_len);
}

/* The first word of this start; the version is then counted up by membership alone. */
static inline struct incarnation identity_incarnation(const struct identity *identity)
{
    return (struct incarnation){.generation = identity->generation, .version = 0};
}
