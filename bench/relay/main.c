/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dunlin-relay: the floor that a broker is measured against: the same bytes between the same
 * sockets, with the ring settings of a shard, and no idea of what they mean. See hello.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "bench/relay/relay.h"

#define BACKLOG 4096

static int listen_at(uint16_t port)
{
    const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0) {
        return -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2 || atoi(argv[1]) <= 0 || atoi(argv[1]) > UINT16_MAX) {
        fprintf(stderr, "usage: dunlin-relay PORT\n\nListens on 127.0.0.1 for dunlin-bench "
                        "--relay, until it is killed.\n");
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* then with fewer */
    }
    const int fd = listen_at((uint16_t)atoi(argv[1]));
    if (fd < 0) {
        fprintf(stderr, "dunlin-relay: port %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    const int error = relay_run(fd);
    fprintf(stderr, "dunlin-relay: %s\n", strerror(error));
    return 1;
}
