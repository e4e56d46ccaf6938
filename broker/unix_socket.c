/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/unix_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Nobody accepts there any more. */
static bool is_left_behind(const struct sockaddr_un *un)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    const bool refused =
        connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

bool unix_make_way(const struct sockaddr_un *un)
{
    struct stat s;
    if (lstat(un->sun_path, &s) != 0) {
        return errno == ENOENT;
    }
    if (!S_ISSOCK(s.st_mode)) {
        errno = EEXIST;
        return false;
    }
    if (!is_left_behind(un)) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(un->sun_path) == 0;
}

/* Not if another process has put its own there meanwhile: that one answers. */
void unix_unlink(int fd)
{
    struct sockaddr_un un = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof un;
    if (getsockname(fd, (struct sockaddr *)&un, &len) != 0 || un.sun_family != AF_UNIX) {
        return;
    }
    (void)shutdown(fd, SHUT_RDWR);
    if (is_left_behind(&un)) {
        (void)unlink(un.sun_path);
    }
}

void unix_peer_read(int fd, struct unix_peer *out)
{
    struct ucred told;
    socklen_t len = sizeof told;
    *out = (struct unix_peer){.uid = UNIX_ID_UNKNOWN, .gid = UNIX_ID_UNKNOWN};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &told, &len) == 0 && len == sizeof told) {
        *out = (struct unix_peer){.uid = told.uid, .gid = told.gid, .pid = told.pid};
    }
}
