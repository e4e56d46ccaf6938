/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_stamp: have files changed since they were read? And have they stopped changing?
 *
 * A stamp is a hash of what the system says about files: device, inode, size, time of the last
 * change. Links are followed, as Kubernetes puts another folder under one to change all files in it
 * at once. A file that is not there has a stamp too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct file_watch {
    uint64_t loaded, seen; /* the files, as they were tried and as they were seen last */
};

/* The stamp of those before and this one; 0: of none. "" is a file that is not there. */
uint64_t file_stamp_add(uint64_t before, const char *path);

/* Are they other files than those that were tried, and the same as a while ago? */
bool file_watch_has_changed(struct file_watch *w, uint64_t stamp);
