/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/io/fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const struct io_conf fixture_conf = {
    .receive_buffers = 16,
    .receive_buffer_bytes = 1024,
    .entries = 64,
};

uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* ---- what the io tells */

static struct peer *peer_of(struct io_socket *s)
{
    struct peer *const p = (struct peer *)(void *)s;
    cr_assert_eq(p->closed, 0, "a call after closed()");
    return p;
}

static void accepted(void *context, unsigned listener, int fd)
{
    struct fixture *const f = context;
    (void)listener;
    cr_assert(f->accepts < ACCEPTED_MAX);
    f->accepted[f->accepts++] = fd;
    if (f->on_accepted != NULL) {
        f->on_accepted(f, fd);
    }
}

static void received(void *context, struct io_socket *s, const uint8_t *data, size_t len)
{
    struct peer *const p = peer_of(s);
    cr_assert_eq(p->fixture, context);
    cr_assert_not(p->closing);
    cr_assert_eq(p->ended, 0);
    cr_assert(len > 0);
    p->received += len;
    p->received_calls++;
    p->last = data[len - 1];
    if (p->on_received != NULL) {
        p->on_received(p);
    }
}

static void ended(void *context, struct io_socket *s, int error)
{
    struct peer *const p = peer_of(s);
    cr_assert_eq(p->fixture, context);
    cr_assert_not(p->closing);
    cr_assert_eq(p->ended, 0);
    p->ended++;
    p->ended_error = error;
}

static void sent(void *context, struct io_socket *s, int error)
{
    struct peer *const p = peer_of(s);
    cr_assert_eq(p->fixture, context);
    cr_assert_not(p->closing);
    cr_assert(p->sending);
    p->sending = false;
    p->sent++;
    p->sent_error = error;
}

static void closed(void *context, struct io_socket *s)
{
    struct peer *const p = peer_of(s);
    cr_assert_eq(p->fixture, context);
    cr_assert(p->closing);
    cr_assert_eq(s->kernel_ops, 0);
    cr_assert_eq(s->fd, -1);
    p->closed++;
}

static void accept_failed(void *context, unsigned listener, int error)
{
    struct fixture *const f = context;
    (void)listener;
    f->accept_failures++;
    f->accept_error = error;
}

const struct io_handlers fixture_handlers = {
    .accepted = accepted,
    .received = received,
    .ended = ended,
    .sent = sent,
    .closed = closed,
    .accept_failed = accept_failed,
};

bool fixture_is_uring(void)
{
    const char *const backend = getenv("IO_BACKEND");
    cr_assert(backend == NULL || strcmp(backend, "epoll") == 0);
    return backend == NULL;
}

void fixture_init(struct fixture *f, const struct io_conf *conf,
                  const struct uring_options *options)
{
    memset(f, 0, sizeof *f);
    f->listen_fd = -1;
    int error = 0;
    const enum io_err err = fixture_is_uring()
                                ? uring_create(&f->io, conf, &fixture_handlers, f,
                                               options != NULL ? options : &uring_defaults, &error)
                                : io_epoll_create(&f->io, conf, &fixture_handlers, f, &error);
    cr_assert_eq(err, IO_OK, "%s: %s", io_err_text(err), strerror(error));
}

void fixture_fini(struct fixture *f)
{
    io_destroy(f->io);
    if (f->listen_fd >= 0) {
        close(f->listen_fd);
    }
}

/* ---- sockets */

int listen_on_loopback(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in any = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    cr_assert(fd >= 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&any, sizeof any), 0);
    cr_assert_eq(listen(fd, 4096), 0);
    return fd;
}

int connect_to(int listen_fd)
{
    struct sockaddr_in to;
    socklen_t len = sizeof to;
    cr_assert_eq(getsockname(listen_fd, (struct sockaddr *)&to, &len), 0);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0, "%s", strerror(errno));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&to, len), 0, "%s", strerror(errno));
    return fd;
}

void tcp_pair(int fds[2])
{
    const int listen_fd = listen_on_loopback();
    fds[1] = connect_to(listen_fd);
    fds[0] = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert(fds[0] >= 0);
    close(listen_fd);
}

void unix_pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

void write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        const ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        cr_assert(n > 0, "%s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
}

void reset(int fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(fd);
}

/* ---- peers */

void peer_open_on(struct peer *p, struct fixture *f, int fd, int client)
{
    *p = (struct peer){.fixture = f, .client = client};
    io_attach(f->io, &p->socket, fd);
}

void peer_open(struct peer *p, struct fixture *f)
{
    int fds[2];
    tcp_pair(fds);
    peer_open_on(p, f, fds[0], fds[1]);
}

void peer_send(struct peer *p, const void *data, size_t len)
{
    const struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    p->sending = true;
    io_send(p->fixture->io, &p->socket, &iov, 1);
}

void peer_close(struct peer *p)
{
    io_close(p->fixture->io, &p->socket);
    p->closing = true; /* after the call: nothing may be called from inside it */
    cr_assert_eq(p->closed, 0);
}

void peer_close_and_wait(struct peer *p)
{
    peer_close(p);
    TURN_UNTIL(p->fixture, p->closed == 1);
    if (p->client >= 0) {
        close(p->client);
        p->client = -1;
    }
}
