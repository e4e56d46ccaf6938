/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/send_now.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

static ssize_t attempt(int fd, const struct iovec *iov, unsigned n)
{
    if (n == 1) { /* spares the kernel the copying of the rest */
        return send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    /* sendmsg() does not write to what the iov entries are in. */
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t send_now(int fd, const struct iovec *iov, unsigned n)
{
    ssize_t sent;
    int error;
    do {
        sent = attempt(fd, iov, n);
        error = errno;
    } while (sent < 0 && error == EINTR);
    return sent < 0 ? -error : sent;
}

size_t send_now_some(int fd, const struct iovec *iov, unsigned n)
{
    const ssize_t taken = send_now(fd, iov, n);
    return taken < 0 ? 0 : (size_t)taken;
}
