/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/unix_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool address_of(struct sockaddr_un *un, const char *path)
{
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof un->sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    strcpy(un->sun_path, path);
    return true;
}

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

static bool make_way(const struct sockaddr_un *un)
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

int unix_listen(const char *path, const char *mode, int backlog)
{
    struct sockaddr_un un;
    if (!address_of(&un, path) || !make_way(&un)) {
        return -1;
    }
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    /* Nobody gets in before listen(): the mode is there in time. */
    const bool ok = bind(fd, (const struct sockaddr *)&un, sizeof un) == 0 &&
                    (mode[0] == '\0' || chmod(path, (mode_t)strtoul(mode, NULL, 8)) == 0) &&
                    listen(fd, backlog) == 0;
    if (!ok) {
        const int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
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
