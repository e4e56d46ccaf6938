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
    int *fds; /* one for each listener and shard; of a Unix socket one in all */
    unsigned count;
    bool paused;
};

/* Binds all listeners that may be open (loopback ones, those that require client certificates, with
 * allow_anonymous all; the log says which were left out), enters them in node->listeners, and hands
 * them to the shards, which must not run yet. false: one could not be bound, or none may be open;
 * the log has said why. */
NODISCARD bool listen_open(struct listen_sockets *l, struct node *node,
                           const struct config *config);
void listen_close(struct listen_sockets *l);

/* Who comes is refused until listen_resume(), though the ports stay ours: so it can be undone also
 * where they could not be bound again. No shard looks at them. With a Unix socket, who comes waits.
 * Twice is as once. */
void listen_pause(struct listen_sockets *l);
NODISCARD bool listen_resume(struct listen_sockets *l); /* false: one of them is not open */
