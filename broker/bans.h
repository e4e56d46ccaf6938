/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bans: the ban list, kept as it is on disk. A file that changes is read again some seconds later,
 * when it has stopped changing, or at SIGHUP. What is not good is told, and leaves the former in
 * force.
 *
 * Owner: the main thread; shards see its work in node->bans.
 */
#pragma once

#include <stdbool.h>

#include "broker/watched_file.h"
#include "proto/nodiscard.h"

struct node;

struct bans {
    struct watched_file file;
};

/* Before the shards run. false: the file is not good, or there is no memory; the log has said it.
 */
NODISCARD bool bans_open(struct bans *b, struct node *node, const char *file);
void bans_close(struct bans *b, struct node *node); /* no shard runs any more; NULL is fine */

/* Is there a file to look after? */
bool bans_are_needed(const struct bans *b);

/* Reads it again if it has changed; `all`: whether it has or not. */
void bans_refresh(struct bans *b, struct node *node, bool all);
