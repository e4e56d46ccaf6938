/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin: what the operator's machines ask by HTTP: /metrics, /livez, /readyz.
 *
 * A thread of its own, by libmicrohttpd; shards only see that their figures are read. At the bound:
 * ADMIN_CONNECTIONS_MAX connections, with ADMIN_TIMEOUT_S for a request; more are closed at once.
 *
 * Owner: the main thread. The node outlives it.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct node;

#define ADMIN_CONNECTIONS_MAX 64u
#define ADMIN_TIMEOUT_S       10u

struct admin {
    struct MHD_Daemon *daemon; /* NULL: it does not listen */
};

/* `listen`: HOST:PORT as in a listener's URL; "": nowhere. false: it could not be bound; the log
 * has said why. */
NODISCARD bool admin_start(struct admin *a, const struct node *node, const char *listen);
void admin_stop(struct admin *a); /* fine with zeros */
