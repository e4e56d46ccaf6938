/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backups: a backup that somebody has asked for by the API, of our own directory into
 * admin.backup_dir; one at a time, on a thread of its own, as `dunlin backup` would take it.
 *
 * Owner: the main thread; those of the API's requests may ask and begin one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct config;

#define BACKUP_NAME_BYTES  65u /* with its NUL */
#define BACKUP_ERROR_BYTES 512u

enum backup_state { BACKUP_NONE, BACKUP_RUNNING, BACKUP_DONE, BACKUP_FAILED };

/* Of the one that runs, or was taken last. */
struct backup_status {
    enum backup_state state;
    char name[BACKUP_NAME_BYTES];
    int64_t began_s, ended_s;       /* Unix time; ended_s 0: it has not */
    uint64_t files, bytes;          /* BACKUP_DONE */
    char error[BACKUP_ERROR_BYTES]; /* BACKUP_FAILED */
};

struct backups;

NODISCARD struct backups *backups_create(const struct config *config); /* NULL: no memory */

/* NULL is fine. One that runs is given up with the process, which does not wait for it: what is
 * there of it goes with the next one of its name. */
void backups_destroy(struct backups *b);

enum backup_begun { BACKUP_BEGUN, BACKUP_IS_RUNNING, BACKUP_NO_THREAD };
enum backup_begun backups_begin(struct backups *b, const char *name, struct backup_status *out);
void backups_status(struct backups *b, struct backup_status *out);
