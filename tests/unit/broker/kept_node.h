/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept_node: a fake_node that keeps sessions: its shards write journals, each into a file in
 * memory, by turns of io_fake, which may hold them back. It may crash at any moment: then another
 * node begins with what the files have, which is what was on disk. There is no checkpoint, and the
 * second node keeps nothing.
 *
 * Owner: the test; one node at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/broker/fake_node.h"

#define KEPT_SHARDS 2u

struct keeper;
struct store;

struct kept_node {
    struct fake_node *n;
    struct keeper *keeper; /* whose thread never runs: there is one segment for each */
    struct store *stores[KEPT_SHARDS];
    int files[KEPT_SHARDS];
    char dir[64];
};

struct kept_disks {
    uint8_t *at[KEPT_SHARDS];
};

void kept_node_create(struct kept_node *k, const char *const settings[]);

/* What that shard writes from now on waits, or no longer. */
void kept_node_hold(struct kept_node *k, unsigned shard, bool hold);

/* Its end: what was written is in *disks. */
void kept_node_crash(struct kept_node *k, struct kept_disks *disks);

/* The next one, by store/revive.h; the disks are freed. */
struct fake_node *kept_node_again(struct kept_disks *disks, const char *const settings[]);

void kept_node_destroy(struct kept_node *k); /* a crash, and nobody comes after it */
