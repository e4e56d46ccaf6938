/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_socket: the file that a listening Unix socket is: who may have it, and when it goes; and who
 * has connected to one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "proto/nodiscard.h"

/* Takes away what an earlier process has left there when it was killed. false and errno: EADDRINUSE
 * (somebody listens there), EEXIST (the file is no socket), or another; the file stays. */
NODISCARD bool unix_make_way(const struct sockaddr_un *un);

/* Takes the socket's file away, if it is a Unix socket and the file is still its own. */
void unix_unlink(int fd);

#define UNIX_ID_UNKNOWN UINT32_MAX /* of a user or group; nobody has it */

/* The process that connected, as it was then: by its effective ids, as this user namespace has
 * them. */
struct unix_peer {
    uint32_t uid;
    uint32_t gid; /* its primary group */
    int32_t pid;  /* 0: it is of another namespace, or unknown */
};

/* Ids are unknown if the kernel does not tell. */
void unix_peer_read(int fd, struct unix_peer *out);
