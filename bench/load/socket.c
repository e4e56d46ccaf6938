/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define SOURCES_FIRST 0x7f000101u /* 127.0.1.1 */

/* The port is chosen by connect(), which knows the destination, so that it may be used for others
 * too. */
static int bind_source(int fd, uint32_t source)
{
    const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(SOURCES_FIRST + source - 1),
    };
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0) {
        return -1;
    }
    return bind(fd, (const struct sockaddr *)&address, sizeof address);
}

int socket_connect(const struct url *url, uint32_t source)
{
    const int on = 1;
    const int fd = socket(url->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    const struct sockaddr *const address = (const struct sockaddr *)&url->address;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        (source == 0 || bind_source(fd, source) == 0) &&
        (connect(fd, address, url->address_len) == 0 || errno == EINPROGRESS)) {
        return fd;
    }
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
}
