/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_socket: a listening socket that is a file.
 *
 * What an earlier process has left behind when it was killed is taken away; a socket that somebody
 * still listens on, or another kind of file, is not.
 */
#pragma once

/* mode: octal digits, or "" for what the umask leaves. -1 and errno: EADDRINUSE (somebody listens
 * there), EEXIST (the file is no socket), or another. */
int unix_listen(const char *path, const char *mode, int backlog);

/* Takes its file away, if it is a Unix socket's and the file is still this socket's. */
void unix_unlink(int fd);
