/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor: what systemd is told of us, if it asked to be (Type=notify): that we are ready, are
 * reading the configuration again, are ending, and that we live (WatchdogSec=). The protocol is
 * sd_notify(3)'s: a datagram of lines to the socket that NOTIFY_SOCKET names. It is so small that
 * libsystemd is not worth its place in a container image.
 *
 * Owner: the main thread. Memory: none. At the bound: who does not take a datagram for
 * SUPERVISOR_PATIENCE_MS is not told it.
 */
#pragma once

#include <stdint.h>

#define SUPERVISOR_PATIENCE_MS 500u

struct supervisor {
    int fd;               /* -1: nobody asked */
    uint64_t watchdog_ms; /* how often it wants to hear that we live; 0: it does not */
};

/* Takes NOTIFY_SOCKET and WATCHDOG_USEC (with WATCHDOG_PID, for us) from the environment. What is
 * no socket is told to the log, and is as if nobody had asked. */
void supervisor_open(struct supervisor *v);
void supervisor_close(struct supervisor *v); /* fine when nobody asked */

/* Lines NAME=VALUE, with a newline between them. */
__attribute__((format(printf, 2, 3))) void supervisor_tell(const struct supervisor *v,
                                                           const char *format, ...);
