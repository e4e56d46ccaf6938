/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epollio_socket: one socket between io_attach() and closed().
 *
 * The kernel watches a socket from its first receive on, or from the first send that the socket
 * does not take whole. What it watches is more than what is wanted at times, and never less: most
 * connections never stop receiving, so a receive that is over leaves it as it is, and the first
 * event that nobody wants has it changed. A send that is over changes it at once, since a socket is
 * writable nearly always. What nobody wants anything of is not watched at all: the kernel reports a
 * hang-up whether it was asked for or not.
 *
 * A send is attempted in io_send() itself. What the socket does not take waits for it to be
 * writable; what it does take is due, to be told by the next turn.
 *
 * kernel_ops counts as io_uring does, for those who may not detach: a receive that is wanted, a
 * send that was not told.
 */
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/io/epollio.h"
#include "broker/io/receive_buffer.h"
#include "broker/io/send_now.h"

#define WANT    (EPOLLIO_WANT_ONCE | EPOLLIO_WANT_MANY)
#define WATCHED (EPOLLIO_WATCHED_IN | EPOLLIO_WATCHED_OUT)

#define RECEIVES_MAX 4u /* full buffers of one socket in one turn; a stream has more */

/* Stand for sends that need no memory of their own any more. */
static struct io_send all_sent, no_memory;

static bool has(const struct io_socket *s, unsigned flags)
{
    return (s->flags & flags) != 0;
}

static void set(struct io_socket *s, unsigned flags)
{
    s->flags = (uint16_t)(s->flags | flags);
}

static void clear(struct io_socket *s, unsigned flags)
{
    s->flags = (uint16_t)(s->flags & ~flags);
}

static bool send_is_over(const struct io_socket *s)
{
    return s->send == &all_sent || s->send == &no_memory ||
           (s->send != NULL && s->send->error != 0);
}

static bool send_waits(const struct io_socket *s)
{
    return s->send != NULL && !send_is_over(s);
}

/* ---- what the kernel watches */

static void cannot_watch(struct epollio *e, struct io_socket *s)
{
    if (send_waits(s)) {
        s->send->error = ENOMEM;
        epollio_is_due(e, s);
    }
    if (has(s, WANT)) {
        set(s, EPOLLIO_UNWATCHABLE);
        epollio_is_due(e, s);
    }
}

/* These of WATCHED, and no others. */
static void watch(struct epollio *e, struct io_socket *s, unsigned what)
{
    const unsigned before = s->flags & WATCHED;
    if (what == before) {
        return;
    }
    const uint32_t events = ((what & EPOLLIO_WATCHED_IN) != 0 ? (uint32_t)EPOLLIN : 0) |
                            ((what & EPOLLIO_WATCHED_OUT) != 0 ? (uint32_t)EPOLLOUT : 0);
    const int op = before == 0 ? EPOLL_CTL_ADD : what == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    const int error = epollio_control(e, op, s->fd, events, (uint64_t)(uintptr_t)s);
    if (error == 0) {
        clear(s, WATCHED);
        set(s, what);
    } else {
        assert(op == EPOLL_CTL_ADD); /* the others need nothing that could be lacking */
        cannot_watch(e, s);
    }
}

static unsigned wanted(const struct io_socket *s)
{
    return (has(s, WANT) ? (unsigned)EPOLLIO_WATCHED_IN : 0) |
           (send_waits(s) ? (unsigned)EPOLLIO_WATCHED_OUT : 0);
}

/* At least what is wanted. */
static void watch_wanted(struct epollio *e, struct io_socket *s)
{
    watch(e, s, (s->flags & WATCHED) | wanted(s));
}

/* ---- attaching */

void epollio_attach(struct io *io, struct io_socket *s, int fd)
{
    struct io_socket *const list = &epollio_of(io)->attached;
    *s = (struct io_socket){.fd = fd, .next = list, .previous = list->previous};
    s->next->previous = s;
    s->previous->next = s;
}

static void unlink_socket(struct io_socket *s)
{
    s->next->previous = s->previous;
    s->previous->next = s->next;
    s->next = s->previous = NULL;
    s->fd = -1;
}

int epollio_detach(struct io *io, struct io_socket *s)
{
    struct epollio *const e = epollio_of(io);
    if (s->kernel_ops > 0) {
        return -1;
    }
    assert(!has(s, EPOLLIO_CLOSING));
    assert(s->send == NULL);

    watch(e, s, 0);
    epollio_forget(e, s);
    if (e->current == s) {
        e->current = NULL;
    }
    unlink_socket(s);
    return 0;
}

/* ---- receiving */

static void want(struct epollio *e, struct io_socket *s, unsigned how)
{
    if (has(s, EPOLLIO_ENDED)) {
        return;
    }
    if (!has(s, WANT)) {
        s->kernel_ops++;
    }
    set(s, how);
    watch_wanted(e, s);
}

static void want_no_more(struct io_socket *s)
{
    if (has(s, WANT)) {
        s->kernel_ops--;
    }
    clear(s, WANT | EPOLLIO_UNWATCHABLE);
}

void epollio_receive_once(struct io *io, struct io_socket *s)
{
    assert(!has(s, EPOLLIO_CLOSING));
    assert(!has(s, WANT));

    want(epollio_of(io), s, EPOLLIO_WANT_ONCE);
}

void epollio_receive_start(struct io *io, struct io_socket *s)
{
    assert(!has(s, EPOLLIO_CLOSING));

    want(epollio_of(io), s, EPOLLIO_WANT_MANY);
}

void epollio_receive_stop(struct io *io, struct io_socket *s)
{
    (void)io;
    assert(!has(s, EPOLLIO_CLOSING));

    want_no_more(s);
}

static void end_receiving(struct epollio *e, struct io_socket *s, int error)
{
    want_no_more(s);
    set(s, EPOLLIO_ENDED);
    io_handlers_of(&e->io, s)->ended(e->io.context, s, error);
}

/* One receive. Whether another may follow at once; false also when the socket is not ours to look
 * at any more. */
static bool receive(struct epollio *e, struct io_socket *s)
{
    ssize_t n;
    int error;
    receive_buffer_show(e->buffer, e->buffer_bytes);
    do {
        n = recv(s->fd, e->buffer, e->buffer_bytes, MSG_DONTWAIT);
        error = errno;
    } while (n < 0 && error == EINTR);
    if (n <= 0) {
        if (n == 0 || error != EAGAIN) {
            end_receiving(e, s, n < 0 ? error : 0);
        }
        return false;
    }
    if (has(s, EPOLLIO_WANT_MANY)) {
        clear(s, EPOLLIO_WANT_ONCE);
    } else {
        want_no_more(s);
    }
    receive_buffer_hide(e->buffer + n, e->buffer_bytes - (size_t)n);
    io_handlers_of(&e->io, s)->received(e->io.context, s, e->buffer, (size_t)n);
    receive_buffer_hide(e->buffer, e->buffer_bytes);
    return e->current == s && (size_t)n == e->buffer_bytes && has(s, WANT);
}

/* ---- sending */

static void send_done(struct epollio *e, struct io_socket *s)
{
    const int error = s->send == &all_sent ? 0 : s->send == &no_memory ? ENOMEM : s->send->error;
    if (s->send != &all_sent && s->send != &no_memory) {
        send_pool_put(&e->sends, s->send);
    }
    s->send = NULL;
    s->kernel_ops--;
    io_handlers_of(&e->io, s)->sent(e->io.context, s, error);
}

/* After an attempt: `taken` bytes of what is left, or an errno below 0. Whether the send is over.
 */
static bool advance(struct epollio *e, struct io_socket *s, ssize_t taken)
{
    struct io_send *const send = s->send;
    if (taken < 0 && taken != -EAGAIN) {
        send->error = (int)-taken;
    } else if (taken >= 0) {
        send_pool_advance(send, (size_t)taken);
    }
    if (send->error == 0 && send->left > 0) {
        io_count(&e->io, IO_PARTIAL_SEND);
        return false;
    }
    if (send->error == 0) {
        send_pool_put(&e->sends, send);
        s->send = &all_sent;
    }
    if (has(s, EPOLLIO_SHUTDOWN)) {
        shutdown(s->fd, SHUT_WR);
    }
    return true;
}

void epollio_send(struct io *io, struct io_socket *s, const struct iovec *iov, unsigned n)
{
    struct epollio *const e = epollio_of(io);
    assert(!has(s, EPOLLIO_CLOSING | EPOLLIO_SHUTDOWN));
    assert(s->send == NULL);

    size_t all = 0;
    for (unsigned i = 0; i < n; i++) {
        all += iov[i].iov_len;
    }
    s->kernel_ops++;
    const ssize_t taken = send_now(s->fd, iov, n);
    if (taken >= 0 && (size_t)taken == all) {
        s->send = &all_sent;
        epollio_is_due(e, s);
        return;
    }
    s->send = send_pool_take(&e->sends, iov, n);
    if (s->send == NULL) {
        s->send = &no_memory;
        epollio_is_due(e, s);
    } else if (advance(e, s, taken)) {
        epollio_is_due(e, s);
    } else {
        watch_wanted(e, s);
    }
}

size_t epollio_send_at_once(struct io *io, const struct io_socket *s, const struct iovec *iov,
                            unsigned n)
{
    (void)io;
    return send_now_some(s->fd, iov, n);
}

void epollio_shutdown_write(struct io *io, struct io_socket *s)
{
    (void)io;
    assert(!has(s, EPOLLIO_CLOSING));

    set(s, EPOLLIO_SHUTDOWN);
    if (!send_waits(s)) {
        shutdown(s->fd, SHUT_WR);
    }
}

/* ---- events */

static bool is_open(const struct epollio *e, const struct io_socket *s)
{
    return e->current == s && !has(s, EPOLLIO_CLOSING);
}

void epollio_socket_event(struct epollio *e, struct io_socket *s, uint32_t events)
{
    if (has(s, EPOLLIO_CLOSING)) {
        return; /* by a handler of this turn */
    }
    const uint32_t hang_up = events & (EPOLLERR | EPOLLHUP);
    const bool is_in = (events & EPOLLIN) != 0 || hang_up != 0;
    const bool in_is_wanted = has(s, WANT);
    e->current = s;
    if (send_waits(s) && ((events & EPOLLOUT) != 0 || hang_up != 0) &&
        advance(e, s,
                send_now(s->fd, &s->send->iov[s->send->first], s->send->count - s->send->first))) {
        send_done(e, s);
    }
    bool more = is_in && is_open(e, s) && has(s, WANT);
    for (unsigned i = 0; i < RECEIVES_MAX && more; i++) {
        more = receive(e, s);
    }
    if (is_open(e, s)) {
        const bool in_is_useless = is_in && !in_is_wanted;
        const unsigned kept = in_is_useless || has(s, EPOLLIO_ENDED) ? 0 : EPOLLIO_WATCHED_IN;
        watch(e, s, (s->flags & WATCHED & kept) | wanted(s));
    }
    e->current = NULL;
}

void epollio_socket_tell(struct epollio *e, struct io_socket *s)
{
    if (has(s, EPOLLIO_CLOSING)) {
        unlink_socket(s);
        s->kernel_ops = 0;
        io_handlers_of(&e->io, s)->closed(e->io.context, s);
    } else if (has(s, EPOLLIO_UNWATCHABLE)) {
        if (send_is_over(s)) { /* one call at a time: in it the socket may go */
            epollio_is_due(e, s);
        }
        end_receiving(e, s, ENOMEM);
    } else if (send_is_over(s)) {
        send_done(e, s);
    } /* else it was a receive that could not be watched, and is not wanted any more */
}

/* ---- closing */

void epollio_close(struct io *io, struct io_socket *s)
{
    struct epollio *const e = epollio_of(io);
    assert(!has(s, EPOLLIO_CLOSING));

    watch(e, s, 0); /* not left to close(): others may hold the descriptor's file for a moment */
    set(s, EPOLLIO_CLOSING);
    want_no_more(s);
    if (s->send != NULL && s->send != &all_sent && s->send != &no_memory) {
        send_pool_put(&e->sends, s->send);
    }
    s->send = NULL;
    close(s->fd);
    epollio_is_due(e, s);
}
