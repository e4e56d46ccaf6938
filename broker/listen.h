/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen: the sockets that clients come to: one for each listener and shard, so that the kernel
 * spreads connections over the shards (SO_REUSEPORT).
 *
 * Owner: the main thread; the shards only accept on them.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct config;
struct node;

struct listen_sockets {
    int *fds; /* [listener * shard_count + shard] */
    unsigned count;
};

/* Binds all listeners that may be open (without an authenticator and without allow_anonymous: only
 * loopback ones, and the log says which were left out) and hands them to the shards, which must not
 * run yet. false: one could not be bound, or none may be open; the log has said why. */
NODISCARD bool listen_open(struct listen_sockets *l, struct node *node,
                           const struct config *config);
void listen_close(struct listen_sockets *l);
