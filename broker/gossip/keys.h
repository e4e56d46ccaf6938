/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys: the cluster's key or two, and what its name makes of it. Pure.
 *
 * Owner: the caller, who wipes a ring that is not needed any more (explicit_bzero()).
 */
#pragma once

#include <stddef.h>

#include "cluster/seal.h"
#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define KEYS_FILE_BYTES_MAX 1024u

struct key_ring {
    size_t count; /* 1..SEAL_KEYS_MAX */
    struct seal_key at[SEAL_KEYS_MAX];
};

/* What stands in a key file: a line of base64 of 32 bytes, or two. NULL: *ring is written;
 * otherwise what is wrong, a constant text. */
NODISCARD const char *keys_parse(struct key_ring *ring, struct bytes text);

/* Of a cluster that nobody outside of this machine can reach. false: wolfCrypt has failed. */
NODISCARD bool keys_of_name(struct key_ring *ring, const char *cluster_name);

/* Of all nodes that have this name for their cluster. false: wolfCrypt has failed. */
NODISCARD bool keys_cluster_of(struct cluster_uuid *cluster, const char *cluster_name);
