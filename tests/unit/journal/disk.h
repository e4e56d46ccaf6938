/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk: segments in memory, which fail as a disk does.
 *
 * What is written is in the kernel's memory until it is synced; a crash, or a sync that fails,
 * leaves any part of it, each sector whole or not at all. After a sync that failed, what was not
 * written never will be by a later one, as the kernel holds it for clean.
 *
 * Owner: one thread. What fails is the test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/journal/recover.h"
#include "tests/unit/route/random.h"

#define DISK_FILES_MAX    64u
#define DISK_SECTOR_BYTES 512u

struct disk_file {
    uint8_t *kept;   /* on disk: [bytes] */
    uint8_t *cached; /* as the kernel has it */
    bool *dirty;     /* of each sector */
};

struct disk {
    struct random *random;
    uint64_t bytes; /* of each file */
    size_t count;
    struct recover_file list[DISK_FILES_MAX]; /* [count], by number, ascending */
    struct disk_file files[DISK_FILES_MAX];   /* likewise */
    uint64_t unreadable;                      /* number of a segment that gives EIO; 0: none */
};

void disk_init(struct disk *d, struct random *random, uint64_t bytes);
void disk_fini(struct disk *d);

void disk_create(struct disk *d, uint64_t number); /* above the others; zeros */
void disk_recycle(struct disk *d, uint64_t from, uint64_t to);
void disk_remove(struct disk *d, uint64_t number);
struct disk_file *disk_find(struct disk *d, uint64_t number); /* NULL: there is none */

void disk_write(struct disk *d, uint64_t number, uint64_t offset, const uint8_t *at, size_t len);
void disk_sync(struct disk *d, uint64_t number);
void disk_sync_fails(struct disk *d, uint64_t number);

/* Each sector that was not synced is kept with a chance of percent in a hundred. */
void disk_crash(struct disk *d, unsigned percent);

/* Reads what is kept; good until the disk changes. */
struct recover_source disk_source(struct disk *d);
