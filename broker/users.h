/* SPDX-License-Identifier: Apache-2.0 */
/*
 * users: the password file, kept as it is on disk, for the threads that judge by it. A file that
 * changes is read again some seconds later, when it has stopped changing, or at SIGHUP. What is not
 * good is told, and leaves the former in force.
 *
 * Owner: the main thread; shards see its work in node->users and node->gate.
 */
#pragma once

#include <stdbool.h>

#include "broker/watched_file.h"
#include "proto/nodiscard.h"

struct node;

struct users {
    struct watched_file file;
};

/* Before the shards run. false: the file is not good, or there is no memory; the log has said it.
 */
NODISCARD bool users_open(struct users *u, struct node *node, const char *file);

/* No shard and no judge runs any more. */
void users_close(struct users *u, struct node *node);

/* Is there a file to look after? */
bool users_are_needed(const struct users *u);

/* Reads it again if it has changed; `all`: whether it has or not. */
void users_refresh(struct users *u, struct node *node, bool all);
