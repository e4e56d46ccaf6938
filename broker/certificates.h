/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certificates: what TLS listeners read from files, kept as the files are. A file that changes is
 * read again some seconds later, when it has stopped changing, or at SIGHUP; connections go on with
 * what they began with, and new ones get the new. What is not good is told, and leaves the old in
 * force.
 *
 * Once a day it is told which have ended, or will soon.
 *
 * Owner: the main thread; shards see its work in listener->tls_context.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct file_watch;
struct node;
struct ticket_keys;

#define CERTIFICATES_POLL_MS 1000u /* how often certificates_refresh() is to be called */

struct certificates {
    char *ticket_file;           /* "": none */
    struct ticket_keys *tickets; /* NULL: no listener needs any */
    struct file_watch *watched;  /* [node->listener_count] */
    uint64_t warn_ms;            /* of those that end is told next; on the node's clock */
};

/* For node->listeners, before the shards run. false: some file is not good; the log has said which.
 */
NODISCARD bool certificates_open(struct certificates *c, struct node *node,
                                 const char *ticket_file);
void certificates_close(struct certificates *c); /* fine with zeros */

/* Are there files to look after? */
bool certificates_are_needed(const struct certificates *c);

/* Reads again what has changed; `all`: whether it has or not. */
void certificates_refresh(struct certificates *c, struct node *node, bool all);

/* Until the first certificate ends, of all listeners and the cluster's; below 0: one has ended.
 * false: there is none. Any thread. */
bool certificates_time_left(const struct node *node, int64_t *seconds);
