/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refusing, old or starved kernel leads to. The linker puts the functions __wrap_… before
 * those that the backend calls (see meson.build); each lets through until told otherwise.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/io/fixture.h"

/* ---- failures to order */

static bool no_malloc, no_calloc, no_mmap, no_msg_ring;
static int setup_error, probe_error, buffers_error, enable_error, eventfd_error;
static unsigned missing_features;
static int submit_error;
static unsigned submit_failures;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
/* What mmap() is called under _FILE_OFFSET_BITS=64. */
void *__real_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p);
int __real_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *p, unsigned n);
int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *p, unsigned n);
int __real_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
                                      unsigned flags);
int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
                                      unsigned flags);
int __real_io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned n);
int __wrap_io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned n);
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

void *__wrap_malloc(size_t size)
{
    return no_malloc ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return no_calloc ? NULL : __real_calloc(count, size);
}

void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    if (no_mmap) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap64(at, len, protection, flags, fd, offset);
}

int __wrap_eventfd(unsigned count, int flags)
{
    if (eventfd_error != 0) {
        errno = eventfd_error;
        return -1;
    }
    return __real_eventfd(count, flags);
}

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p)
{
    const int err =
        setup_error != 0 ? -setup_error : __real_io_uring_queue_init_params(entries, ring, p);
    p->features &= ~missing_features;
    return err;
}

int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *p, unsigned n)
{
    const int err = probe_error != 0 ? -probe_error : __real_io_uring_register_probe(ring, p, n);
    if (no_msg_ring) {
        p->ops[IORING_OP_MSG_RING].flags = 0;
    }
    return err;
}

int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
                                      unsigned flags)
{
    return buffers_error != 0 ? -buffers_error
                              : __real_io_uring_register_buf_ring(ring, reg, flags);
}

int __wrap_io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned n)
{
    return enable_error != 0 ? -enable_error : __real_io_uring_register(fd, opcode, arg, n);
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
    if (submit_failures > 0) {
        submit_failures--;
        return -submit_error;
    }
    return __real_io_uring_submit(ring);
}

/* ---- creating */

TestSuite(uring_errors, .timeout = 60);

static void expect_refused(enum io_err want, int want_errno)
{
    struct io *io = NULL;
    int error = 0;
    cr_expect_eq(io_uring_create(&io, &fixture_conf, &fixture_handlers, NULL, &error), want);
    cr_expect_eq(error, want_errno);
    cr_expect_null(io);
}

Test(uring_errors, each_refusal_has_its_name)
{
    const struct {
        int error;
        enum io_err want;
    } rows[] = {
        {EPERM, IO_FORBIDDEN},      {EACCES, IO_FORBIDDEN}, {ENOSYS, IO_FORBIDDEN},
        {EINVAL, IO_TOO_OLD},       {ENOMEM, IO_NO_MEMORY}, {EMFILE, IO_NO_DESCRIPTOR},
        {ENFILE, IO_NO_DESCRIPTOR}, {EIO, IO_FAILED},
    };
    int *const places[] = {&setup_error, &probe_error, &buffers_error, &eventfd_error};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
            *places[place] = rows[i].error;
            expect_refused(rows[i].want, rows[i].error);
            *places[place] = 0;
        }
    }
    no_msg_ring = true;
    expect_refused(IO_TOO_OLD, EINVAL);
    no_msg_ring = false;
    missing_features = IORING_FEAT_EXT_ARG;
    expect_refused(IO_TOO_OLD, EINVAL);
    missing_features = 0;
    no_calloc = true;
    expect_refused(IO_NO_MEMORY, ENOMEM);
    no_calloc = false;
    no_mmap = true;
    expect_refused(IO_NO_MEMORY, ENOMEM);
    no_mmap = false;
}

Test(uring_errors, each_has_a_text_of_its_own)
{
    for (int a = IO_OK; a <= IO_FAILED; a++) {
        cr_expect(strlen(io_err_text((enum io_err)a)) > 10);
        for (int b = IO_OK; b < a; b++) {
            cr_expect_str_neq(io_err_text((enum io_err)a), io_err_text((enum io_err)b));
        }
    }
    cr_expect_not_null(strstr(io_err_text(IO_FORBIDDEN), "kernel.io_uring_disabled"));
    cr_expect_not_null(strstr(io_err_text(IO_FORBIDDEN), "seccomp"));
    cr_expect_not_null(strstr(io_err_text(IO_NO_MEMORY), "RLIMIT_MEMLOCK"));
}

/* As under a container runtime's profile. */
Test(uring_errors, forbidden_by_seccomp)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {
        .len = sizeof filter / sizeof filter[0],
        .filter = filter,
    };
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    expect_refused(IO_FORBIDDEN, EPERM);
}

/* ---- later */

static struct fixture f;

Test(uring_errors, no_memory_to_send)
{
    fixture_init(&f, &fixture_conf, NULL);
    struct peer p, q;
    peer_open(&p, &f);
    peer_open(&q, &f);
    no_malloc = true;
    peer_send(&p, "x", 1);
    peer_send(&q, "x", 1);
    no_malloc = false;
    peer_close(&q); /* with the failure under way */
    TURN_UNTIL(&f, p.sent == 1 && q.closed == 1);
    cr_expect_eq(p.sent_error, ENOMEM);
    peer_send(&p, "x", 1);
    TURN_UNTIL(&f, p.sent == 2);
    cr_expect_eq(p.sent_error, 0);
    peer_close_and_wait(&p);
    close(q.client);
    fixture_fini(&f);
}

/* The kernel takes nothing for a moment while the queue is full: nothing is lost. */
Test(uring_errors, submission_waits_for_memory)
{
    struct io_conf conf = fixture_conf;
    conf.entries = 1;
    fixture_init(&f, &conf, NULL);
    struct peer p, q;
    peer_open(&p, &f);
    peer_open(&q, &f);
    io_turn(f.io, 0);
    peer_send(&p, "x", 1);
    submit_error = EAGAIN;
    submit_failures = 5;
    peer_send(&q, "x", 1);
    cr_expect_eq(submit_failures, 0);
    TURN_UNTIL(&f, p.sent == 1 && q.sent == 1);
    peer_close_and_wait(&p);
    peer_close_and_wait(&q);
    fixture_fini(&f);
}

Test(uring_errors, submission_never_possible, .signal = SIGABRT)
{
    struct io_conf conf = fixture_conf;
    conf.entries = 1;
    fixture_init(&f, &conf, NULL);
    struct peer p, q;
    peer_open(&p, &f);
    peer_open(&q, &f);
    io_turn(f.io, 0);
    peer_send(&p, "x", 1);
    submit_error = EBUSY;
    submit_failures = 1000000;
    peer_send(&q, "x", 1);
}

Test(uring_errors, lost_completions_are_fatal, .signal = SIGABRT)
{
    fixture_init(&f, &fixture_conf, NULL);
    struct peer p;
    peer_open(&p, &f);
    io_turn(f.io, 0);
    peer_send(&p, "x", 1);
    submit_error = EBADR;
    submit_failures = 1;
    io_submit(f.io);
}

Test(uring_errors, enabling_fails, .signal = SIGABRT)
{
    fixture_init(&f, &fixture_conf, NULL);
    enable_error = EBADFD;
    io_turn(f.io, 0);
}
