/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokens: the keys that tokens are judged by, kept as the file has them. A file that changes is
 * read again some seconds later, when it has stopped changing, or at SIGHUP, as are the settings of
 * `token`. What is not good is told, and leaves the former in force.
 *
 * Owner: the main thread; shards see its work in node->token_keys and node->gate.
 */
#pragma once

#include <stdbool.h>

#include "broker/auth/gate.h"
#include "broker/watched_file.h"
#include "proto/nodiscard.h"

struct config;
struct node;

struct tokens {
    struct watched_file file;
    struct token_judge *judge; /* in force; `keys` are node->token_keys */
};

/* Before the shards run. false: the file is not good, or there is no memory; the log has said it.
 */
NODISCARD bool tokens_open(struct tokens *t, struct node *node, const struct config *config);
void tokens_close(struct tokens *t, struct node *node); /* no shard and no judge runs any more */

/* Is there a file to look after? */
bool tokens_are_needed(const struct tokens *t);

/* Reads the file again if it has changed, and takes the settings up; `all`: whether it has or not.
 */
void tokens_refresh(struct tokens *t, struct node *node, const struct config *config, bool all);
