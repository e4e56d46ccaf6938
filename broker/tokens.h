/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokens: the keys that tokens are judged by, kept as a file and a server have them: those of both
 * together. A file that changes is read again some seconds later, when it has stopped changing, or
 * at SIGHUP, as are the settings of `token`; a server is asked now and then (key_server.h). What is
 * not good is told, and leaves the former in force.
 *
 * Owner: the main thread; shards see its work in node->token_keys and node->gate.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/auth/gate.h"
#include "broker/watched_file.h"
#include "proto/nodiscard.h"

struct config;
struct key_server;
struct node;
struct token_keys;

struct tokens {
    struct watched_file file;
    struct key_server *server;              /* NULL: none */
    struct token_keys *of_file, *of_server; /* as they came last; NULL: not yet, or there is none */
    bool away;                 /* the server gave no good answer when it was asked last */
    struct token_judge *judge; /* in force; `keys` are node->token_keys */
};

/* Before the shards run. false: the file is not good, or there is no memory or thread; the log has
 * said it. A server is not waited for. */
NODISCARD bool tokens_open(struct tokens *t, struct node *node, const struct config *config);

/* While the shards still run: nothing is under way afterwards. */
void tokens_stop(struct tokens *t);
void tokens_close(struct tokens *t, struct node *node); /* no shard and no judge runs any more */

/* Is there a file or a server to look after? */
bool tokens_are_needed(const struct tokens *t);

/* How long main may sleep before it looks after them; at most so many milliseconds. */
uint64_t tokens_poll_ms(const struct tokens *t, uint64_t most_ms);

/* Reads the file again if it has changed, takes up what the server has, and asks it if it is time;
 * `all`: all of that, and the settings, whether it is time or not. */
void tokens_refresh(struct tokens *t, struct node *node, const struct config *config, bool all);
