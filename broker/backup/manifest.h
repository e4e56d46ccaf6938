/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest: what a backup consists of, in a file of it that is written last: where there is none,
 * there is no backup.
 *
 *   dunlin backup 1
 *   version 0.1.0
 *   node 5d1f…
 *   taken 2026-11-27T18:00:00Z
 *   file 4096 00c0ffee00c0ffee checkpoint/data.mdb      bytes, XXH3 of them, where
 *   end 0123456789abcdef                                XXH3 of the lines above
 *
 * Sums find damage, not forgery: who can change a backup can change its manifest.
 *
 * Owner: the command. Memory: a line for each file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/data_dir.h"
#include "proto/nodiscard.h"

struct config_error;

#define MANIFEST_NAME       "dunlin.backup"
#define MANIFEST_FORMAT     1u
#define MANIFEST_PATH_BYTES 64u

struct manifest_file {
    uint64_t bytes, sum;
    char path[MANIFEST_PATH_BYTES]; /* node.id, checkpoint/data.mdb, or journal/…, without more / */
};

struct manifest {
    char node_id[NODE_ID_TEXT];
    char version[32];
    char taken[32];
    struct manifest_file *files; /* [count] */
    size_t count;
};

/* Of the files that a backup may have and that are there, in the directory `dir`. false: told. */
NODISCARD bool manifest_take(struct manifest *m, const char *dir, struct config_error *error);

/* Into the directory, synced, and so is the directory. */
NODISCARD bool manifest_write(const struct manifest *m, const char *dir,
                              struct config_error *error);
NODISCARD bool manifest_read(struct manifest *m, const char *dir, struct config_error *error);
void manifest_fini(struct manifest *m); /* also when the above failed */

uint64_t manifest_bytes(const struct manifest *m); /* of all files */

/* Sums up what can be read from fd. 0 or an errno. */
NODISCARD int manifest_sum(int fd, struct manifest_file *file);
