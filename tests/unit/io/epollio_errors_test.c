/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a starved or old kernel leads to, with epoll. The linker puts the functions __wrap_… before
 * those that the backend calls (see meson.build); each lets through until told otherwise. Run with
 * IO_BACKEND=epoll.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "broker/io/epollio.h"
#include "tests/unit/io/fixture.h"

/* ---- failures to order */

static bool no_malloc, no_calloc;
static int epoll_error, eventfd_error, control_error, wait_error, thread_error, write_error;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __real_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int __real_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask);
int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
/* What pwritev2() is called under _FILE_OFFSET_BITS=64. */
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags);

static bool fails(int error)
{
    if (error != 0) {
        errno = error;
    }
    return error != 0;
}

void *__wrap_malloc(size_t size)
{
    return no_malloc ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return no_calloc ? NULL : __real_calloc(count, size);
}

int __wrap_epoll_create1(int flags)
{
    return fails(epoll_error) ? -1 : __real_epoll_create1(flags);
}

int __wrap_eventfd(unsigned count, int flags)
{
    return fails(eventfd_error) ? -1 : __real_eventfd(count, flags);
}

int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    return op == EPOLL_CTL_ADD && fails(control_error) ? -1
                                                       : __real_epoll_ctl(epoll_fd, op, fd, event);
}

int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask)
{
    return fails(wait_error) ? -1 : __real_epoll_pwait2(fd, events, max, timeout, mask);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    return thread_error != 0 ? thread_error : __real_pthread_create(thread, attributes, run, arg);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    return fails(write_error) ? -1 : __real_pwritev64v2(fd, iov, n, offset, flags);
}

/* ---- creating */

TestSuite(epollio_errors, .timeout = 60);

static void expect_refused(enum io_err want, int want_errno)
{
    struct io *io = NULL;
    int error = 0;
    cr_expect_eq(io_epoll_create(&io, &fixture_conf, &fixture_handlers, NULL, &error), want);
    cr_expect_eq(error, want_errno);
    cr_expect_null(io);
}

Test(epollio_errors, each_refusal_has_its_name)
{
    static const struct {
        int error;
        enum io_err want;
    } rows[] = {{ENOMEM, IO_NO_MEMORY},
                {EMFILE, IO_NO_DESCRIPTOR},
                {ENFILE, IO_NO_DESCRIPTOR},
                {EIO, IO_FAILED}};
    int *const places[] = {&epoll_error, &eventfd_error, &control_error};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
            *places[place] = rows[i].error;
            expect_refused(rows[i].want, rows[i].error);
            *places[place] = 0;
        }
    }
    no_calloc = true;
    expect_refused(IO_NO_MEMORY, ENOMEM);
    no_calloc = false;
    no_malloc = true;
    expect_refused(IO_NO_MEMORY, ENOMEM);
    no_malloc = false;
}

/* ---- waiting */

static struct fixture f;

/* A kernel, or a profile, without epoll_pwait2(): whole milliseconds, and never too short. */
Test(epollio_errors, waits_in_milliseconds)
{
    const int errors[] = {ENOSYS, EPERM};
    for (unsigned i = 0; i < 2; i++) {
        wait_error = errors[i];
        fixture_init(&f, &fixture_conf, NULL);
        cr_expect(epollio_of(f.io)->in_ms);
        const uint64_t waits_ns[] = {1, 100000, 1000000, 2500000};
        for (unsigned w = 0; w < 4; w++) {
            const uint64_t begin = now_ns();
            io_turn(f.io, waits_ns[w]);
            cr_expect(now_ns() - begin >= waits_ns[w]);
        }
        io_turn(f.io, 0);
        io_wake_external(f.io);
        io_turn(f.io, UINT64_MAX);
        struct peer p;
        peer_open(&p, &f);
        io_receive_start(f.io, &p.socket);
        write_all(p.client, "abc", 3);
        TURN_UNTIL(&f, p.received == 3);
        peer_close_and_wait(&p);
        fixture_fini(&f);
    }
}

Test(epollio_errors, a_wait_that_cannot_be_is_fatal, .signal = SIGABRT)
{
    fixture_init(&f, &fixture_conf, NULL);
    wait_error = EBADF;
    io_turn(f.io, 0);
}

/* ---- no memory to watch a socket */

/* A receive ends, and a send that was not taken whole fails: each told once, in a turn. */
Test(epollio_errors, what_cannot_be_watched_ends)
{
    static char much[8 << 20];
    fixture_init(&f, &fixture_conf, NULL);
    struct peer p, q, r;
    peer_open(&p, &f);
    peer_open(&q, &f);
    peer_open(&r, &f);
    control_error = ENOSPC; /* fs.epoll.max_user_watches */
    io_receive_start(f.io, &p.socket);
    cr_expect_eq(p.ended, 0, "never from inside the call");
    io_receive_once(f.io, &q.socket);
    peer_send(&q, much, sizeof much);
    io_receive_once(f.io, &r.socket);
    io_receive_stop(f.io, &r.socket);
    control_error = 0;
    TURN_UNTIL(&f, p.ended == 1 && q.ended == 1 && q.sent == 1);
    cr_expect_eq(p.ended_error, ENOMEM);
    cr_expect_eq(q.ended_error, ENOMEM);
    cr_expect_eq(q.sent_error, ENOMEM);
    cr_expect_eq(r.ended, 0, "it was not wanted any more");
    cr_expect_eq(io_detach(f.io, &r.socket), 0);
    peer_close_and_wait(&p);
    peer_close_and_wait(&q);
    fixture_fini(&f);
}

Test(epollio_errors, a_listener_that_cannot_be_watched_is_tried_again)
{
    fixture_init(&f, &fixture_conf, NULL);
    f.listen_fd = listen_on_loopback();
    control_error = ENOMEM;
    io_listen(f.io, 0, f.listen_fd);
    TURN_UNTIL(&f, f.accept_failures == 1);
    cr_expect_eq(f.accept_error, ENOMEM);
    control_error = 0;
    const int client = connect_to(f.listen_fd);
    const uint64_t begin = now_ns();
    while (f.accepts == 0) {
        io_turn(f.io, UINT64_MAX); /* the pause bounds a wait that has no limit */
    }
    cr_expect(now_ns() - begin < UINT64_C(5000000000));
    close(f.accepted[0]);
    close(client);
    fixture_fini(&f);
}

Test(epollio_errors, no_memory_to_send)
{
    static char much[8 << 20];
    fixture_init(&f, &fixture_conf, NULL);
    struct peer p, q;
    peer_open(&p, &f);
    peer_open(&q, &f);
    no_malloc = true;
    peer_send(&p, much, sizeof much); /* the rest of it has to be remembered */
    peer_send(&q, much, sizeof much);
    no_malloc = false;
    peer_close(&q); /* with the failure to be told */
    TURN_UNTIL(&f, p.sent == 1 && q.closed == 1);
    cr_expect_eq(p.sent_error, ENOMEM);
    peer_send(&p, "x", 1);
    peer_close_and_wait(&p);
    close(q.client);
    fixture_fini(&f);
}

/* ---- files */

struct write {
    struct io_file_op op; /* first */
    unsigned done;
    int error;
};

static void done(struct io_file_op *op, int error)
{
    struct write *const w = (struct write *)(void *)op;
    w->done++;
    w->error = error;
}

/* No thread to write with is told like a disk that refuses, and tried anew by the next write. */
Test(epollio_errors, no_thread_to_write_with)
{
    fixture_init(&f, &fixture_conf, NULL);
    const int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    struct write w = {.op.done = done};
    struct iovec iov = {.iov_base = (char[]){'x'}, .iov_len = 1};
    thread_error = EAGAIN;
    io_write_and_sync(f.io, &w.op, fd, &iov, 1, 0);
    cr_expect_eq(w.done, 0, "never from inside the call");
    io_turn(f.io, UINT64_MAX);
    cr_expect_eq(w.done, 1);
    cr_expect_eq(w.error, EAGAIN);
    thread_error = 0;
    io_write_and_sync(f.io, &w.op, fd, &iov, 1, 0);
    TURN_UNTIL(&f, w.done == 2);
    cr_expect_eq(w.error, 0);
    fixture_fini(&f);
    close(fd);
}

/* A file that cannot sync with the write is written, then synced. */
Test(epollio_errors, syncs_after_the_write)
{
    fixture_init(&f, &fixture_conf, NULL);
    const int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    struct write w = {.op.done = done};
    struct iovec iov[] = {{.iov_base = (char[]){'a', 'b'}, .iov_len = 2},
                          {.iov_base = (char[]){'c'}, .iov_len = 1}};
    write_error = EOPNOTSUPP;
    io_write_and_sync(f.io, &w.op, fd, iov, 2, 5);
    TURN_UNTIL(&f, w.done == 1);
    cr_expect_eq(w.error, 0);
    char got[4] = {0};
    cr_expect_eq(pread(fd, got, 3, 5), 3);
    cr_expect_str_eq(got, "abc");
    int pipes[2]; /* cannot be written at an offset, by whichever call */
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    io_write_and_sync(f.io, &w.op, pipes[1], iov, 1, 0);
    TURN_UNTIL(&f, w.done == 2);
    cr_expect_neq(w.error, 0);
    close(pipes[0]);
    close(pipes[1]);
    fixture_fini(&f);
    close(fd);
}
