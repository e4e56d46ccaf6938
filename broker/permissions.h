/* SPDX-License-Identifier: Apache-2.0 */
/*
 * permissions: the ACL file, kept as it is on disk. A file that changes is read again some seconds
 * later, when it has stopped changing, or at SIGHUP. What is not good is told, and leaves the
 * former in force.
 *
 * Owner: the main thread; shards see its work in node->acl.
 */
#pragma once

#include <stdbool.h>

#include "broker/watched_file.h"
#include "proto/nodiscard.h"

struct node;

struct permissions {
    struct watched_file file;
};

/* Before the shards run. false: the file is not good, or there is no memory; the log has said it.
 */
NODISCARD bool permissions_open(struct permissions *p, struct node *node, const char *file);
void permissions_close(struct permissions *p, struct node *node); /* no shard runs any more */

/* Is there a file to look after? */
bool permissions_are_needed(const struct permissions *p);

/* Reads it again if it has changed; `all`: whether it has or not. */
void permissions_refresh(struct permissions *p, struct node *node, bool all);
