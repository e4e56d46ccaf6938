/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol: what `dunlin backup` and the broker that runs on a directory say to each other, by a
 * Unix socket in it. Messages are texts, each a packet of its own (SOCK_SEQPACKET).
 *
 *   who backs up                  the broker
 *   connects                      holds the journals' segments
 *                    ◀── ready ──
 *   ── copy, and a stream socket ─▶   writes the checkpoint into it, and closes it
 *                    ◀── copied, or a sentence about why not ──
 *   copies the journals' segments
 *   ── end ─▶                     lets go of the segments
 *                    ◀── held, or lost: segments may have gone meanwhile ──
 *
 * The checkpoint comes through a socket, not into a file that the broker opens: so the target may
 * be where the broker must not write, or a disk that hangs, and a stream can be shut at any moment.
 */
#pragma once

#include <stdbool.h>
#include <sys/un.h>

#include "proto/nodiscard.h"

#define BACKUP_SOCKET     "backup.sock"
#define BACKUP_TEXT_BYTES 256u

#define BACKUP_READY  "ready"
#define BACKUP_COPY   "copy"
#define BACKUP_COPIED "copied"
#define BACKUP_END    "end"
#define BACKUP_HELD   "held"
#define BACKUP_LOST   "lost"

/* The socket's, in the directory that is called `dir` and open as dir_fd, which has to stay open
 * as long as the address is used: where the path is too long it goes through that. */
void backup_address(struct sockaddr_un *out, const char *dir, int dir_fd);

/* A text, with a descriptor where fd >= 0. false: the other one has gone. */
NODISCARD bool backup_say(int socket, const char *text, int fd);

/* Waits for a text. *fd, where fd is not NULL, is a descriptor that came along, or -1. false: the
 * other one has gone. */
NODISCARD bool backup_hear(int socket, char text[BACKUP_TEXT_BYTES], int *fd);
