/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usable: how many processors and how much memory this process may really use: what the machine
 * has, cut down by affinity and by the limits of its control groups (v1 and v2, all ancestors).
 *
 * Owner: the caller; reads files, so it is for the start, not for a shard.
 */
#pragma once

#include <stdint.h>

/* Where to look; tests build a tree of their own. */
struct usable_paths {
    const char *cgroup_self; /* "/proc/self/cgroup" */
    const char *cgroup_root; /* "/sys/fs/cgroup" */
};

/* Both with paths = NULL for the real ones. A limit that cannot be read is no limit. */
unsigned usable_processors(const struct usable_paths *paths); /* >= 1; a quota is rounded up */
uint64_t usable_memory(const struct usable_paths *paths);     /* bytes, > 0 */
