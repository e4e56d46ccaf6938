/* SPDX-License-Identifier: Apache-2.0 */
/*
 * patience: an address to listen on may become free in a moment. When a process is killed, the
 * kernel takes its rings down in the background, and they hold its listening sockets: so a start
 * right after it finds them in use.
 *
 * Owner: main, at the start; it sleeps.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct listen_url;

#define PATIENCE_MS 1500u /* for each address; then it is another process that has it */

struct patience {
    unsigned waited_ms; /* 0 to begin with */
};

/* errno says that the address is in use, and there is some left: it has waited a little, the caller
 * tries again. Else errno is as it was. */
NODISCARD bool patience_waits(struct patience *p);

/* bind(), as often as there is patience for. false and errno. */
NODISCARD bool patience_bind(int fd, const struct listen_url *where);
