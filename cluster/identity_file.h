/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity_file: what a node has to remember of who it is. All of it blocks: it is for the start.
 *
 *   DIR/node        dunlin node 1
 *                   node 01234567-89ab-4def-8edc-ba9876543210
 *                   cluster 00000000-0000-0000-0000-000000000000      (none yet)
 *                   generation 42
 *                   end
 *   DIR/node.new    one that is being written; of no meaning after a crash
 *
 * Each write is to node.new, synced, renamed, and the directory synced: after a crash there is the
 * former one, or the new one, whole. The generation is on disk before a start says a word to
 * anybody, so that none is had twice. A file that cannot be read is not made anew: that would be
 * another node, or, worse, this one with a generation that it had before.
 *
 * Owner: one thread, and one process: who has the directory is settled elsewhere.
 * Memory: none.
 */
#pragma once

#include "cluster/identity.h"
#include "proto/nodiscard.h"

enum identity_file_err {
    IDENTITY_FILE_OK = 0,
    IDENTITY_FILE_IO,        /* *sys_errno says what */
    IDENTITY_FILE_DAMAGED,   /* it is there, and is not what was written */
    IDENTITY_FILE_EXHAUSTED, /* there is no higher generation */
};

/*
 * A start: counts the generation up, or makes a node of `random` where there is none yet. `dir` is
 * a descriptor of the directory. Sets node, cluster and generation of *identity; the name is not
 * kept. first: the generation where there is no file, >= 1. The node may have had some before, as
 * after a backup was restored: it should be higher than any that was counted up, as the time is.
 */
NODISCARD enum identity_file_err identity_file_start(int dir, const uint8_t random[UUID_BYTES],
                                                     uint64_t first, struct identity *identity,
                                                     int *sys_errno);

/* The node is of that cluster from now on: identity->cluster, with its generation, is kept. */
NODISCARD enum identity_file_err identity_file_keep(int dir, const struct identity *identity,
                                                    int *sys_errno);
