/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin: what the operator's machines ask by HTTP: /metrics, /livez, /readyz; and, by whoever has a
 * key, the API (api/api.h).
 *
 * By libmicrohttpd, with a thread for each connection: one that waits for a shard, or for its own
 * client, keeps nobody else waiting. Of the first three, shards only see that their figures are
 * read. At the bound: ADMIN_CONNECTIONS_MAX connections, with ADMIN_TIMEOUT_S for a request; more
 * are closed at once.
 *
 * Owner: the main thread. The node outlives it.
 */
#pragma once

#include <stdbool.h>

#include "broker/admin/api/api.h"
#include "broker/admin/keyring.h"
#include "broker/config/config.h"
#include "broker/file_stamp.h"
#include "proto/nodiscard.h"

struct node;

#define ADMIN_CONNECTIONS_MAX 64u
#define ADMIN_TIMEOUT_S       10u

struct admin {
    struct MHD_Daemon *daemon;         /* NULL: it does not listen */
    int fd;                            /* listens; while the daemon is there */
    char *certificate_file, *key_file; /* as of the start; NULL: no TLS */
    char *certificate, *key;           /* PEM; NULL: no TLS */
    struct file_watch watch;           /* of their files */
    struct keyring keys;
    struct api api;
};

/* false: it could not be bound, or a file is not good;
 * the log has said why. */
NODISCARD bool admin_start(struct admin *a, struct node *node, const struct config *config);
void admin_stop(struct admin *a); /* fine with zeros */

/* Are there files to look after? */
bool admin_is_needed(const struct admin *a);

/* Reads them again if they have changed; `all`: whether they have or not. Requests that are under
 * way when the certificate is another one are cut off. */
void admin_refresh(struct admin *a, bool all);

/* Has the API changed the ban file since it was asked last? Then it is to be read. */
bool admin_has_banned(struct admin *a);
