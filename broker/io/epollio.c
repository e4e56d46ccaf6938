/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epollio: io.h on epoll, for where io_uring is refused.
 *
 * Level-triggered. What has been reported stays in the kernel's list of what is ready until a later
 * wait finds it read, so whoever asks io_has_news() sees it for as long as its bytes lie there; and
 * a socket that has more than one turn takes of it needs no list of ours.
 *
 * A turn that has something to tell tells it without asking the kernel, every other time: at low
 * load that is the turn after each send, and costs no system call; at high load the next one asks.
 */
#include "broker/io/epollio.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "broker/io/wake_fd.h"

#define TELL_MAX  1024u /* sockets told of in one turn */
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

static const struct io_driver driver;

static void die(const char *what, int error)
{
    fprintf(stderr, "epoll: %s: %s\n", what, strerror(error));
    abort();
}

/* ---- lists of sockets */

static void list_init(struct io_socket *list)
{
    list->next = list->previous = list;
}

static bool list_is_empty(const struct io_socket *list)
{
    return list->next == list;
}

static void move_to(struct io_socket *list, struct io_socket *s)
{
    s->next->previous = s->previous;
    s->previous->next = s->next;
    s->next = list;
    s->previous = list->previous;
    list->previous->next = s;
    list->previous = s;
}

/* All of `from`, behind what is in `to`. */
static void append_all(struct io_socket *to, struct io_socket *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

/* A socket that is closed goes to the end, whatever of it was due: the next turn is the first in
 * which no event can name it. */
void epollio_is_due(struct epollio *e, struct io_socket *s)
{
    if ((s->flags & EPOLLIO_DUE) == 0 || (s->flags & EPOLLIO_CLOSING) != 0) {
        s->flags = (uint16_t)(s->flags | EPOLLIO_DUE);
        move_to(&e->due, s);
    }
}

void epollio_forget(struct epollio *e, const struct io_socket *s)
{
    for (unsigned i = e->event; i < e->events_count; i++) {
        if (e->events[i].data.u64 == (uint64_t)(uintptr_t)s) {
            e->events[i].data.u64 = EPOLLIO_NOTHING;
        }
    }
}

/* ---- creating */

int epollio_control(const struct epollio *e, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(e->epoll_fd, op, fd, &event) == 0 ? 0 : errno;
}

/* Old kernels do not know the call (Linux 5.11 does), and old profiles refuse what they do not. */
static bool has_no_nanoseconds(struct epollio *e)
{
    static const struct timespec now = {.tv_sec = 0};
    return epoll_pwait2(e->epoll_fd, e->events, 1, &now, NULL) < 0;
}

static void release(struct epollio *e)
{
    if (e->epoll_fd >= 0) {
        close(e->epoll_fd);
    }
    if (e->wake_fd >= 0) {
        close(e->wake_fd);
    }
    send_pool_fini(&e->sends);
    free(e->buffer);
    free(e);
}

static enum io_err err_of(int error)
{
    switch (error) {
    case 0:
        return IO_OK;
    case ENOMEM:
        return IO_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return IO_NO_DESCRIPTOR;
    default:
        return IO_FAILED;
    }
}

/* 0, or an errno. */
static int open_descriptors(struct epollio *e)
{
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd < 0) {
        return errno;
    }
    e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->wake_fd < 0) {
        return errno;
    }
    return epollio_control(e, EPOLL_CTL_ADD, e->wake_fd, EPOLLIN | EPOLLET, EPOLLIO_WAKE);
}

enum io_err io_epoll_create(struct io **out, const struct io_conf *conf,
                            const struct io_handlers *handlers, void *context, int *sys_errno)
{
    int error = ENOMEM;
    struct epollio *e = calloc(1, sizeof *e);
    if (e == NULL) {
        goto out;
    }
    e->io = (struct io){.driver = &driver, .handlers = {handlers}, .context = context};
    e->epoll_fd = e->wake_fd = -1;
    e->buffer_bytes = conf->receive_buffer_bytes;
    e->buffer = malloc(e->buffer_bytes);
    list_init(&e->attached);
    list_init(&e->due);
    list_init(&e->telling);
    for (unsigned i = 0; i < IO_LISTENERS; i++) {
        e->listeners[i].watched_fd = -1;
    }
    error = e->buffer == NULL ? ENOMEM : open_descriptors(e);
    if (error == 0) {
        error = epollio_writer_init(&e->writer);
    }
    if (error != 0) {
        goto out;
    }
    e->in_ms = has_no_nanoseconds(e);
    *out = &e->io;
    e = NULL; /* the caller's now */
out:
    if (e != NULL) {
        release(e);
    }
    if (error != 0) {
        *sys_errno = error;
    }
    return err_of(error);
}

/* ---- waking */

static void wake_external(struct io *to)
{
    wake_fd_write(epollio_of(to)->wake_fd); /* each write is an edge */
}

static void wake(struct io *from, struct io *to)
{
    io_count(from, IO_WAKE_UPS);
    wake_external(to);
}

/* What was read is not in the kernel's list any more, though the shard may not have heard of it
 * yet. So the second look comes after the first, as at_work is set before the reading. */
static bool has_news(struct io *io)
{
    const struct epollio *const e = epollio_of(io);
    struct pollfd all = {.fd = e->epoll_fd, .events = POLLIN};
    return poll(&all, 1, 0) > 0 || atomic_load(&e->at_work);
}

/* ---- a turn */

static int wait_for_events(struct epollio *e, uint64_t timeout_ns)
{
    if (e->in_ms) { /* rounded up: whoever is woken too soon finds nothing to do */
        const uint64_t ms = timeout_ns / NS_PER_MS + (timeout_ns % NS_PER_MS != 0);
        return epoll_wait(e->epoll_fd, e->events, EPOLLIO_EVENTS_MAX,
                          timeout_ns == UINT64_MAX ? -1
                          : ms < INT32_MAX         ? (int)ms
                                                   : INT32_MAX);
    }
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                                     .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    return epoll_pwait2(e->epoll_fd, e->events, EPOLLIO_EVENTS_MAX,
                        timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
}

static void fetch_events(struct epollio *e, uint64_t timeout_ns)
{
    atomic_store(&e->at_work, false); /* what was read before has been heard */
    const int n = wait_for_events(e, timeout_ns);
    if (n < 0 && errno != EINTR) {
        die("the wait failed", errno);
    }
    e->event = 0;
    e->events_count = n < 0 ? 0 : (unsigned)n;
    if (n > 0) {
        atomic_store(&e->at_work, true);
    }
}

static void tell_what_is_due(struct epollio *e)
{
    for (unsigned i = 0; i < TELL_MAX && !list_is_empty(&e->telling); i++) {
        struct io_socket *const s = e->telling.next;
        s->flags = (uint16_t)(s->flags & ~EPOLLIO_DUE);
        move_to(&e->attached, s);
        epollio_socket_tell(e, s);
    }
}

static void handle_events(struct epollio *e)
{
    while (e->event < e->events_count) {
        const struct epoll_event event = e->events[e->event++];
        const uint64_t data = event.data.u64;
        if (data >= EPOLLIO_LISTENER + IO_LISTENERS) {
            epollio_socket_event(e, (struct io_socket *)(uintptr_t)data, event.events);
        } else if (data >= EPOLLIO_LISTENER) {
            epollio_listener_event(e, (unsigned)(data - EPOLLIO_LISTENER));
        } /* else it was a wake-up: io_turn() comes back, which is all */
    }
}

static void turn(struct io *io, uint64_t timeout_ns)
{
    struct epollio *const e = epollio_of(io);
    const uint64_t again_ns = epollio_watch_listeners(e);
    const bool is_due = !list_is_empty(&e->due) || !list_is_empty(&e->telling);
    if (!is_due || !e->has_asked) {
        fetch_events(e, is_due ? 0 : timeout_ns < again_ns ? timeout_ns : again_ns);
        e->has_asked = true;
    } else {
        e->has_asked = false;
    }
    io_count(io, IO_TURNS);
    append_all(&e->telling, &e->due);
    tell_what_is_due(e);
    handle_events(e);
    epollio_files_tell(e);
}

static void submit(struct io *io)
{
    (void)io; /* what is asked for is done, or with the kernel, already */
}

/* ---- destroying */

static void forget_sockets(struct io_socket *list)
{
    while (!list_is_empty(list)) {
        struct io_socket *const s = list->next;
        if ((s->flags & EPOLLIO_CLOSING) == 0) {
            close(s->fd);
        }
        list->next = s->next;
        s->next->previous = list;
        s->next = s->previous = NULL;
        s->fd = -1;
    }
}

static void destroy(struct io *io)
{
    struct epollio *const e = epollio_of(io);
    epollio_writer_fini(&e->writer);
    forget_sockets(&e->attached);
    forget_sockets(&e->due);
    forget_sockets(&e->telling);
    release(e);
}

static const struct io_driver driver = {
    .name = "epoll",
    .destroy = destroy,
    .listen = epollio_listen,
    .listen_once = epollio_listen_once,
    .listen_stop = epollio_listen_stop,
    .attach = epollio_attach,
    .detach = epollio_detach,
    .receive_once = epollio_receive_once,
    .receive_start = epollio_receive_start,
    .receive_stop = epollio_receive_stop,
    .send = epollio_send,
    .send_at_once = epollio_send_at_once,
    .shutdown_write = epollio_shutdown_write,
    .close = epollio_close,
    .write_and_sync = epollio_write_and_sync,
    .wake = wake,
    .has_news = has_news,
    .wake_external = wake_external,
    .turn = turn,
    .submit = submit,
};
