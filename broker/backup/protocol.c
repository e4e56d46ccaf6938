/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/protocol.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void backup_address(struct sockaddr_un *out, const char *dir, int dir_fd)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(dir) + sizeof "/" BACKUP_SOCKET <= sizeof out->sun_path) {
        snprintf(out->sun_path, sizeof out->sun_path, "%.90s/" BACKUP_SOCKET, dir);
    } else {
        snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/" BACKUP_SOCKET, dir_fd);
    }
}

/* Room for one descriptor beside a message. */
union passed {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr aligned;
};

bool backup_say(int socket, const char *text, int fd)
{
    union passed passed = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = passed.bytes;
        message.msg_controllen = sizeof passed.bytes;
        struct cmsghdr *const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)part.iov_len;
}

/* There is room for one, so no more than one is taken. */
static int passed_descriptor(struct msghdr *message)
{
    int fd = -1;
    const struct cmsghdr *const header = CMSG_FIRSTHDR(message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof fd)) {
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    }
    return fd;
}

bool backup_hear(int socket, char text[BACKUP_TEXT_BYTES], int *fd)
{
    union passed passed = {0};
    struct iovec part = {.iov_base = text, .iov_len = BACKUP_TEXT_BYTES - 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = passed.bytes,
                             .msg_controllen = sizeof passed.bytes};
    ssize_t n;
    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    const int came = n < 0 ? -1 : passed_descriptor(&message);
    if (fd != NULL) {
        *fd = came;
    } else if (came >= 0) {
        close(came);
    }
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}
