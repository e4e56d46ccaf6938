/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_socket: the file that a listening Unix socket is: who may have it, and when it goes.
 */
#pragma once

#include <stdbool.h>
#include <sys/un.h>

#include "proto/nodiscard.h"

/* Takes away what an earlier process has left there when it was killed. false and errno: EADDRINUSE
 * (somebody listens there), EEXIST (the file is no socket), or another; the file stays. */
NODISCARD bool unix_make_way(const struct sockaddr_un *un);

/* Takes the socket's file away, if it is a Unix socket and the file is still its own. */
void unix_unlink(int fd);
