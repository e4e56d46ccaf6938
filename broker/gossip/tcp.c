/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/tcp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/gossip/address.h"
#include "broker/transport/tls_pipe.h"

enum group { STREAMS, CALLERS, DIALS };

static enum group group_of(enum tcp_kind kind)
{
    return kind == TCP_DIAL ? DIALS : kind == TCP_KNOCK || kind == TCP_GREETING ? CALLERS : STREAMS;
}

bool tcp_init(struct tcp *t, int epoll)
{
    t->epoll = epoll;
    t->conns = calloc(TCP_CONNS_MAX, sizeof t->conns[0]);
    for (unsigned i = 0; t->conns != NULL && i < TCP_CONNS_MAX; i++) {
        t->conns[i].fd = -1;
    }
    return t->conns != NULL;
}

void tcp_fini(struct tcp *t)
{
    for (unsigned i = 0; t->conns != NULL && i < TCP_CONNS_MAX; i++) {
        if (t->conns[i].fd >= 0) {
            tcp_close(t, &t->conns[i]);
        }
    }
    free(t->conns);
    t->conns = NULL;
}

/* ---- Places */

static uint64_t key_of(const struct tcp *t, const struct tcp_conn *c)
{
    return (uint64_t)c->serial << 32 | (uint64_t)(c - t->conns);
}

struct tcp_conn *tcp_of_key(struct tcp *t, uint64_t key)
{
    const uint32_t at = (uint32_t)key;
    assert(at < TCP_CONNS_MAX);
    struct tcp_conn *const c = &t->conns[at];
    return c->fd >= 0 && c->serial == key >> 32 ? c : NULL;
}

static void forget(struct tcp_conn *c)
{
    knock_end(&c->knock);
    tls_pipe_destroy(c->tls);
    c->tls = NULL;
    free(c->out);
    c->fd = -1;
    c->out = NULL;
    c->in_len = c->out_from = c->out_len = 0;
}

int tcp_take(struct tcp *t, struct tcp_conn *c)
{
    const int fd = c->fd;
    assert(fd >= 0);
    epoll_ctl(t->epoll, EPOLL_CTL_DEL, fd, NULL);
    forget(c);
    return fd;
}

void tcp_close(struct tcp *t, struct tcp_conn *c)
{
    close(tcp_take(t, c));
}

static void give_up(struct tcp *t, struct tcp_conn *c)
{
    t->closed(t->context, c);
    tcp_close(t, c);
}

/* Is `a` the one that is to go, rather than `b`? */
static bool goes_first(const struct tcp_conn *a, const struct tcp_conn *b)
{
    if (a->proven != b->proven) {
        return !a->proven;
    }
    return a->used_ms < b->used_ms;
}

/* Sees to it that the group has room for one more. */
static void make_room(struct tcp *t, enum group group, const struct tcp_conn *but)
{
    unsigned count = 0;
    struct tcp_conn *first = NULL;
    for (unsigned i = 0; i < TCP_CONNS_MAX; i++) {
        struct tcp_conn *const c = &t->conns[i];
        if (c->fd >= 0 && c != but && group_of(c->kind) == group) {
            count++;
            first = first == NULL || goes_first(c, first) ? c : first;
        }
    }
    if (count >= TCP_GROUP_MAX) {
        t->displaced++;
        give_up(t, first);
    }
}

unsigned tcp_count(const struct tcp *t, enum tcp_kind kind)
{
    unsigned count = 0;
    for (unsigned i = 0; i < TCP_CONNS_MAX; i++) {
        count += t->conns[i].fd >= 0 && t->conns[i].kind == kind;
    }
    return count;
}

struct tcp_conn *tcp_find_stream(struct tcp *t, const struct node_address *peer)
{
    for (unsigned i = 0; i < TCP_CONNS_MAX; i++) {
        struct tcp_conn *const c = &t->conns[i];
        if (c->fd >= 0 && c->kind == TCP_STREAM && node_address_equal(&c->peer, peer)) {
            return c;
        }
    }
    return NULL;
}

void tcp_become(struct tcp *t, struct tcp_conn *c, enum tcp_kind kind)
{
    if (group_of(kind) != group_of(c->kind)) {
        make_room(t, group_of(kind), c);
    }
    c->kind = kind;
}

static bool watch(struct tcp *t, struct tcp_conn *c, int op)
{
    const bool writes = c->connecting || c->out_from < c->out_len;
    struct epoll_event event = {.events = EPOLLIN | (writes ? EPOLLOUT : 0),
                                .data.u64 = key_of(t, c)};
    return epoll_ctl(t->epoll, op, c->fd, &event) == 0;
}

/* Takes the descriptor in any case. There is a free place: each group has room for its own. */
static struct tcp_conn *place(struct tcp *t, int fd, struct tcp_conn conn)
{
    struct tcp_conn *c = t->conns;
    while (c->fd >= 0) {
        c++;
        assert(c < t->conns + TCP_CONNS_MAX);
    }
    *c = conn;
    c->fd = fd;
    c->serial = ++t->serial;
    if (!watch(t, c, EPOLL_CTL_ADD)) {
        forget(c);
        close(fd);
        return NULL;
    }
    return c;
}

/* ---- Beginning */

struct tcp_conn *tcp_accept(struct tcp *t, int listener, uint64_t now_ms, uint64_t life_ms)
{
    struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof from;
    const int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    t->accepted++;
    make_room(t, STREAMS, NULL);
    return place(t, fd,
                 (struct tcp_conn){.kind = TCP_NEW,
                                   .peer = address_of(&from),
                                   .since_ms = now_ms,
                                   .used_ms = now_ms,
                                   .end_ms = now_ms + life_ms});
}

static int begin_connect(const struct node_address *to, int family)
{
    static const int on = 1;
    struct sockaddr_storage address;
    const socklen_t len = address_to(&address, family, to);
    const int fd = len == 0 ? -1 : socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&address, len) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

struct tcp_conn *tcp_connect(struct tcp *t, enum tcp_kind kind, const struct node_address *to,
                             int family, uint64_t now_ms, uint64_t life_ms)
{
    if (kind == TCP_DIAL && tcp_count(t, TCP_DIAL) >= TCP_GROUP_MAX) {
        return NULL;
    }
    const int fd = begin_connect(to, family);
    if (fd < 0) {
        return NULL;
    }
    make_room(t, group_of(kind), NULL);
    return place(t, fd,
                 (struct tcp_conn){.kind = kind,
                                   .connecting = true,
                                   .peer = *to,
                                   .since_ms = now_ms,
                                   .used_ms = now_ms,
                                   .end_ms = now_ms + life_ms});
}

/* ---- Bytes */

/* false: it is broken. */
static bool flush(struct tcp_conn *c)
{
    while (c->out_from < c->out_len) {
        const ssize_t n = send(c->fd, c->out + c->out_from, c->out_len - c->out_from, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        }
        c->out_from += (size_t)n;
    }
    free(c->out);
    c->out = NULL;
    c->out_from = c->out_len = 0;
    return true;
}

bool tcp_put(struct tcp *t, struct tcp_conn *c, struct bytes bytes)
{
    const size_t left = c->out_len - c->out_from;
    uint8_t *const out = left + bytes.len > TCP_OUT_MAX ? NULL : malloc(left + bytes.len);
    if (out == NULL) {
        give_up(t, c);
        return false;
    }
    if (left > 0) {
        memcpy(out, c->out + c->out_from, left);
    }
    memcpy(out + left, bytes.at, bytes.len);
    free(c->out);
    c->out = out;
    c->out_from = 0;
    c->out_len = left + bytes.len;
    if (c->connecting) {
        return true;
    }
    if (!flush(c) || !watch(t, c, EPOLL_CTL_MOD)) {
        give_up(t, c);
        return false;
    }
    return true;
}

static bool is_through(struct tcp_conn *c)
{
    int err = 0;
    socklen_t len = sizeof err;
    return getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0;
}

static enum tcp_news receive(struct tcp *t, struct tcp_conn *c)
{
    if (c->in_len == sizeof c->in) { /* no message is that long */
        give_up(t, c);
        return TCP_GONE;
    }
    const ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return TCP_NOTHING;
    }
    if (n <= 0) {
        give_up(t, c);
        return TCP_GONE;
    }
    c->in_len += (size_t)n;
    return TCP_BYTES;
}

enum tcp_news tcp_event(struct tcp *t, struct tcp_conn *c, uint32_t events)
{
    const bool was_connecting = c->connecting;
    if (was_connecting) {
        if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) {
            return TCP_NOTHING;
        }
        if (!is_through(c)) {
            give_up(t, c);
            return TCP_GONE;
        }
        c->connecting = false;
    }
    if (!flush(c) || !watch(t, c, EPOLL_CTL_MOD)) {
        give_up(t, c);
        return TCP_GONE;
    }
    return was_connecting                                    ? TCP_CONNECTED
           : (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 ? receive(t, c)
                                                             : TCP_NOTHING;
}

void tcp_used(struct tcp_conn *c, size_t len)
{
    assert(len <= c->in_len);
    memmove(c->in, c->in + len, c->in_len - len);
    c->in_len -= len;
}

/* ---- Time */

void tcp_expire(struct tcp *t, uint64_t now_ms)
{
    for (unsigned i = 0; i < TCP_CONNS_MAX; i++) {
        if (t->conns[i].fd >= 0 && t->conns[i].end_ms <= now_ms) {
            t->timed_out++;
            give_up(t, &t->conns[i]);
        }
    }
}

uint64_t tcp_due(const struct tcp *t)
{
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < TCP_CONNS_MAX; i++) {
        const struct tcp_conn *const c = &t->conns[i];
        due = c->fd >= 0 && c->end_ms < due ? c->end_ms : due;
    }
    return due;
}
