/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring_accept: one multishot accept for each listener, or one for a single connection. It may end
 * by itself at any time and is then armed again; when the process is out of descriptors or memory,
 * after a pause, so that a connection which cannot be taken does not keep the shard busy.
 */
#include <assert.h>

#include "broker/io/accept_error.h"
#include "broker/io/uring.h"

static struct __kernel_timespec pause_after_failure = {.tv_nsec = 100 * 1000 * 1000};

static void arm(struct uring *u, unsigned listener)
{
    struct uring_listener *const l = &u->listeners[listener];
    if (!l->wanted || l->under_way || l->pausing) {
        return;
    }
    struct io_uring_sqe *const sqe = uring_sqe(u);
    if (l->once) {
        io_uring_prep_accept(sqe, l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } else {
        io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    io_uring_sqe_set_data64(sqe, uring_number_tag(URING_ACCEPT, listener));
    l->under_way = true;
    l->stale = false;
    u->under_way++;
}

static void cancel(struct uring *u, unsigned listener)
{
    struct uring_listener *const l = &u->listeners[listener];
    if (!l->under_way || !l->stale || l->cancelling) {
        return;
    }
    struct io_uring_sqe *const sqe = uring_sqe(u);
    io_uring_prep_cancel64(sqe, uring_number_tag(URING_ACCEPT, listener), 0);
    io_uring_sqe_set_data64(sqe, uring_number_tag(URING_ACCEPT_CANCEL, listener));
    l->cancelling = true;
    u->under_way++;
}

static void listen_as(struct io *io, unsigned listener, int listen_fd, bool once)
{
    struct uring *const u = uring_of(io);
    struct uring_listener *const l = &u->listeners[listener];
    assert(!l->wanted);

    l->fd = listen_fd;
    l->wanted = true;
    l->once = once;
    arm(u, listener); /* or later, when the one that was stopped has ended */
}

void uring_listen(struct io *io, unsigned listener, int listen_fd)
{
    listen_as(io, listener, listen_fd, false);
}

void uring_listen_once(struct io *io, unsigned listener, int listen_fd)
{
    listen_as(io, listener, listen_fd, true);
}

void uring_listen_stop(struct io *io, unsigned listener)
{
    struct uring *const u = uring_of(io);
    struct uring_listener *const l = &u->listeners[listener];
    assert(l->wanted);

    l->wanted = false;
    l->stale = true;
    cancel(u, listener);
    uring_hand_over(u); /* nothing in the queue may name a descriptor that the caller closes next */
}

static void fail(struct uring *u, unsigned listener, int error)
{
    struct uring_listener *const l = &u->listeners[listener];
    if (!l->pausing) {
        struct io_uring_sqe *const sqe = uring_sqe(u);
        io_uring_prep_timeout(sqe, &pause_after_failure, 0, 0);
        io_uring_sqe_set_data64(sqe, uring_number_tag(URING_ACCEPT_AGAIN, listener));
        l->pausing = true;
        u->under_way++;
    }
    io_count(&u->io, IO_ACCEPT_FAILED);
    u->io.handlers[0]->accept_failed(u->io.context, listener, error);
}

static void on_accept(struct uring *u, unsigned listener, const struct io_uring_cqe *cqe)
{
    struct uring_listener *const l = &u->listeners[listener];
    const bool was_stale = l->stale;
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        l->under_way = l->stale = false;
    }
    if (cqe->res >= 0) {
        l->wanted = l->wanted && !l->once;
        arm(u, listener);
        u->io.handlers[0]->accepted(u->io.context, listener, cqe->res);
    } else if (was_stale || accept_error_is_of_the_connection(-cqe->res)) {
        arm(u, listener);
    } else {
        fail(u, listener, -cqe->res);
    }
}

void uring_accept_complete(struct uring *u, enum uring_number number, unsigned listener,
                           const struct io_uring_cqe *cqe)
{
    assert(listener < IO_LISTENERS);

    struct uring_listener *const l = &u->listeners[listener];
    switch (number) {
    case URING_ACCEPT:
        on_accept(u, listener, cqe);
        break;
    case URING_ACCEPT_CANCEL:
        l->cancelling = false;
        if (cqe->res < 0) { /* it may just have missed it; see uring_socket.c */
            cancel(u, listener);
        }
        break;
    default:
        assert(number == URING_ACCEPT_AGAIN);
        l->pausing = false;
        arm(u, listener);
        break;
    }
}
