/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epollio_accept: listeners. A few connections are taken in one turn, and the rest are reported
 * anew by the next. When the process is out of descriptors or memory a listener is left alone for a
 * while, so that a connection which cannot be taken does not keep the shard busy.
 *
 * Shards that share a listening socket (a Unix socket's) are woken one at a time (EPOLLEXCLUSIVE).
 * The socket is made non-blocking, since one shard may find that another was quicker.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/io/accept_error.h"
#include "broker/io/epollio.h"

#define ACCEPTS_MAX 64u /* of one listener in one turn */
#define PAUSE_NS    UINT64_C(100000000)

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t bit(unsigned listener)
{
    return UINT64_C(1) << listener;
}

static void unwatch(struct epollio *e, unsigned listener)
{
    struct epollio_listener *const l = &e->listeners[listener];
    if (l->watched_fd >= 0) {
        (void)epollio_control(e, EPOLL_CTL_DEL, l->watched_fd, 0, 0);
        l->watched_fd = -1;
    }
}

static void listen_as(struct io *io, unsigned listener, int listen_fd, bool once)
{
    struct epollio *const e = epollio_of(io);
    struct epollio_listener *const l = &e->listeners[listener];
    assert(!l->wanted);

    l->fd = listen_fd;
    l->wanted = true;
    l->once = once;
    if (l->watched_fd != listen_fd) { /* it is, when accepted() asks for the next one */
        unwatch(e, listener);
        e->unwatched |= bit(listener);
    }
}

void epollio_listen(struct io *io, unsigned listener, int listen_fd)
{
    listen_as(io, listener, listen_fd, false);
}

void epollio_listen_once(struct io *io, unsigned listener, int listen_fd)
{
    listen_as(io, listener, listen_fd, true);
}

void epollio_listen_stop(struct io *io, unsigned listener)
{
    struct epollio *const e = epollio_of(io);
    assert(e->listeners[listener].wanted);

    e->listeners[listener].wanted = false;
    e->unwatched &= ~bit(listener);
    unwatch(e, listener); /* now: the caller closes the descriptor next */
}

static void fail(struct epollio *e, unsigned listener, int error)
{
    struct epollio_listener *const l = &e->listeners[listener];
    unwatch(e, listener);
    l->pausing = true;
    l->again_ns = now_ns() + PAUSE_NS;
    e->unwatched |= bit(listener);
    io_count(&e->io, IO_ACCEPT_FAILED);
    e->io.handlers[0]->accept_failed(e->io.context, listener, error);
}

static void watch(struct epollio *e, unsigned listener)
{
    struct epollio_listener *const l = &e->listeners[listener];
    const int flags = fcntl(l->fd, F_GETFL);
    int error = flags >= 0 && fcntl(l->fd, F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : errno;
    if (error == 0) {
        error = epollio_control(e, EPOLL_CTL_ADD, l->fd, EPOLLIN | EPOLLEXCLUSIVE,
                                EPOLLIO_LISTENER + listener);
    }
    if (error != 0) {
        fail(e, listener, error);
        return;
    }
    l->watched_fd = l->fd;
    l->pausing = false;
    e->unwatched &= ~bit(listener);
}

uint64_t epollio_watch_listeners(struct epollio *e)
{
    uint64_t least_ns = UINT64_MAX;
    for (uint64_t left = e->unwatched; left != 0; left &= left - 1) {
        const unsigned listener = (unsigned)__builtin_ctzll(left);
        const struct epollio_listener *const l = &e->listeners[listener];
        const uint64_t now = now_ns();
        if (l->again_ns <= now || !l->pausing) {
            watch(e, listener);
        }
        if (l->pausing && l->again_ns - now < least_ns) {
            least_ns = l->again_ns - now;
        }
    }
    return least_ns;
}

/* Whether there may be another one at once. */
static bool accept_one(struct epollio *e, unsigned listener)
{
    struct epollio_listener *const l = &e->listeners[listener];
    const int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const int error = fd < 0 ? errno : 0;
    if (fd >= 0) {
        l->wanted = !l->once;
        e->io.handlers[0]->accepted(e->io.context, listener, fd);
        if (!l->wanted) { /* nor again: then none but this was asked for */
            unwatch(e, listener);
        }
        return l->wanted && l->watched_fd >= 0 && !l->once;
    }
    if (error != EAGAIN && !accept_error_is_of_the_connection(error)) {
        fail(e, listener, error);
        return false;
    }
    return error != EAGAIN;
}

void epollio_listener_event(struct epollio *e, unsigned listener)
{
    const struct epollio_listener *const l = &e->listeners[listener];
    bool more = l->wanted && l->watched_fd >= 0; /* not stopped since the event was fetched */
    for (unsigned i = 0; i < ACCEPTS_MAX && more; i++) {
        more = accept_one(e, listener);
    }
}
