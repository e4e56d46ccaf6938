/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/listen.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_node.h"

static uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static int bound_socket(uint16_t *port)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(bind(fd, (const struct sockaddr *)&any, sizeof any), 0);
    cr_assert_eq(listen(fd, 1), 0);
    *port = port_of(fd);
    return fd;
}

/* The harness's own listener is 0. */
static struct fake_node *node_with(const char *const settings[])
{
    struct fake_node *n = fake_node_create(3, settings);
    for (unsigned i = 0; i < 3; i++) {
        shard_pause(n->node->shards[i], 0, PAUSED_ENDING, true);
        n->node->shards[i]->listener_count = 0;
    }
    return n;
}

Test(listen, each_shard_has_a_socket_of_the_same_port)
{
    struct fake_node *n = node_with(SETTINGS("listeners.0.url=tcp://127.0.0.1:0"));
    struct listen_sockets l;
    cr_assert(listen_open(&l, n->node, n->config));
    cr_assert_eq(l.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        int on = 0;
        socklen_t len = sizeof on;
        cr_expect_eq(port_of(l.fds[i]), port_of(l.fds[0]));
        cr_expect_eq(getsockopt(l.fds[i], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
        cr_expect(on);
        cr_expect_eq(n->node->shards[i]->listener_count, 1);
    }
    listen_close(&l);
    listen_close(&l);
    fake_node_destroy(n);
}

Test(listen, a_port_in_use_is_refused)
{
    uint16_t port;
    const int fd = bound_socket(&port);
    char url[64];
    snprintf(url, sizeof url, "listeners.0.url=tcp://127.0.0.1:%u", port);
    struct fake_node *n = node_with(SETTINGS(url));
    struct listen_sockets l;
    cr_expect_not(listen_open(&l, n->node, n->config));
    listen_close(&l);
    close(fd);
    cr_expect(listen_open(&l, n->node, n->config));

    struct fake_node *const first = n; /* another broker of the same user */
    struct listen_sockets other;
    cr_expect_not(listen_open(&other, first->node, first->config));
    listen_close(&other);
    listen_close(&l);
    fake_node_destroy(n);
}

static const struct {
    const char *name;
    const char *settings[4];
    unsigned opened; /* listeners; 0: refused */
} rows[] = {
    {"loopback", {"listeners.0.url=tcp://127.0.0.1:0"}, 1},
    {"loopback of both", {"listeners.0.url=tcp://127.0.0.1:0", "listeners.1.url=tcp://[::1]:0"}, 2},
    {"for all, not allowed", {"listeners.0.url=tcp://*:0"}, 0},
    {"for all, allowed", {"listeners.0.url=tcp://*:0", "allow_anonymous=true"}, 1},
    {"one is left out", {"listeners.0.url=tcp://*:0", "listeners.1.url=tcp://127.0.0.1:0"}, 1},
    {"an address of another host",
     {"listeners.0.url=tcp://192.0.2.1:0", "allow_anonymous=true"},
     0},
};

Test(listen, without_an_authenticator_only_loopback_is_opened)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_node *n = node_with(rows[i].settings);
        struct listen_sockets l;
        cr_expect_eq(listen_open(&l, n->node, n->config), rows[i].opened > 0, "%s", rows[i].name);
        cr_expect_eq(l.count, 3 * rows[i].opened, "%s", rows[i].name);
        listen_close(&l);
        fake_node_destroy(n);
    }
}
