/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/supervisor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/descriptor.h"
#include "broker/log/log.h"

#define TEXT_BYTES 256

/* A path, or a name of the abstract namespace: "@" stands for its zero byte. */
static bool address_of(const char *name, struct sockaddr_un *address, socklen_t *len)
{
    const size_t name_len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || name_len >= sizeof address->sun_path) {
        return false;
    }
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, name, name_len);
    if (name[0] == '@') {
        address->sun_path[0] = '\0';
    }
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_len);
    return true;
}

/* -1, errno set: it is none. */
static int connect_to(const char *name)
{
    static const struct timeval patience = {.tv_usec = SUPERVISOR_PATIENCE_MS * 1000};
    struct sockaddr_un address;
    socklen_t len;
    if (!address_of(name, &address, &len)) {
        errno = EINVAL;
        return -1;
    }
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (const struct sockaddr *)&address, len) != 0) {
        return descriptor_drop(fd);
    }
    return fd;
}

/* The variables are of the process that was started by it, which a child of it may not be. */
static uint64_t watchdog_ms(void)
{
    const char *const us = getenv("WATCHDOG_USEC");
    const char *const pid = getenv("WATCHDOG_PID");
    if (us == NULL || (pid != NULL && strtoll(pid, NULL, 10) != getpid())) {
        return 0;
    }
    return strtoull(us, NULL, 10) / 1000;
}

void supervisor_open(struct supervisor *v)
{
    *v = (struct supervisor){.fd = -1};
    const char *const name = getenv("NOTIFY_SOCKET");
    if (name == NULL || name[0] == '\0') {
        return;
    }
    v->fd = connect_to(name);
    if (v->fd < 0) {
        log_event(LOG_WARNING, "supervisor_unreachable", LOG_TEXT("socket", name),
                  LOG_ERRNO("error", errno));
        return;
    }
    v->watchdog_ms = watchdog_ms();
}

void supervisor_close(struct supervisor *v)
{
    if (v->fd >= 0) {
        close(v->fd);
    }
    v->fd = -1;
}

void supervisor_tell(const struct supervisor *v, const char *format, ...)
{
    if (v->fd < 0) {
        return;
    }
    char text[TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len > 0 && len < TEXT_BYTES && send(v->fd, text, (size_t)len, MSG_NOSIGNAL) < 0) {
        log_event(LOG_WARNING, "supervisor_not_told", LOG_ERRNO("error", errno));
    }
}
