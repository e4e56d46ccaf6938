/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring: io.h on io_uring.
 *
 * The ring is created disabled, so that whoever starts the process is told why it cannot be, and
 * is enabled by the first call that submits, whose thread is the owner from then on
 * (SINGLE_ISSUER). Completions are worked out by the kernel when the owner enters it and at no
 * other time (DEFER_TASKRUN). One turn is one enter, unless the kernel stopped half-way: it works
 * off about twenty events in one enter, or as many as it is told to wait for. So a turn goes on
 * while it looks as if there is more, up to a budget, and then gives the shard's other work a
 * chance.
 */
#include "broker/io/uring.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "broker/io/wake_fd.h"

#define EVENTS_PER_ENTER    20u   /* what the kernel does in one enter; fewer were all there was */
#define HAND_OVER_TRIES_MAX 1000u /* a millisecond each; while the kernel is short of memory */
#define DRAIN_ROUNDS_MAX    100u  /* in io_destroy(), 100 ms each at most */
#define NS_PER_S            UINT64_C(1000000000)

const struct uring_options uring_defaults = {
    .send_flags = MSG_WAITALL,
    .completions_max = 1024,
};

static const uint8_t needed_ops[] = {
    IORING_OP_NOP,     IORING_OP_ACCEPT, IORING_OP_RECV,         IORING_OP_SEND,
    IORING_OP_SENDMSG, IORING_OP_CLOSE,  IORING_OP_ASYNC_CANCEL, IORING_OP_MSG_RING,
    IORING_OP_TIMEOUT, IORING_OP_READ,   IORING_OP_WRITEV,       IORING_OP_FSYNC,
};

/* What is registered once the ring is enabled: nothing but that. */
static const uint8_t needed_registrations[] = {IORING_REGISTER_ENABLE_RINGS};

static const struct io_driver driver;

static void die(const char *what, int error)
{
    fprintf(stderr, "io_uring: %s: %s\n", what, strerror(error));
    abort();
}

/* ---- creating */

static enum io_err err_of(int error)
{
    switch (error) {
    case 0:
        return IO_OK;
    case EPERM:
    case EACCES:
    case ENOSYS:
        return IO_FORBIDDEN;
    case EINVAL:
        return IO_TOO_OLD;
    case ENOMEM:
        return IO_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return IO_NO_DESCRIPTOR;
    default:
        return IO_FAILED;
    }
}

/* 0, or an errno; EINVAL when an operation is not there. */
static int probe(struct io_uring *ring)
{
    _Alignas(struct io_uring_probe)
        uint8_t memory[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)] = {
            0};
    struct io_uring_probe *const answer = (struct io_uring_probe *)(void *)memory;
    const int err = -io_uring_register_probe(ring, answer, 256);
    if (err != 0) {
        return err;
    }
    for (size_t i = 0; i < sizeof needed_ops; i++) {
        if ((answer->ops[needed_ops[i]].flags & IO_URING_OP_SUPPORTED) == 0) {
            return EINVAL;
        }
    }
    return 0;
}

/* A ring does what seccomp would refuse: it is told what ours will ever be asked for, and takes
 * nothing else once it is enabled. 0, or an errno. */
static int restrict_to_needed(struct io_uring *ring)
{
    struct io_uring_restriction rules[sizeof needed_ops + sizeof needed_registrations + 1] = {
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
         .sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS | IOSQE_ASYNC},
    };
    unsigned count = 1;
    for (size_t i = 0; i < sizeof needed_ops; i++) {
        rules[count++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
                                                       .sqe_op = needed_ops[i]};
    }
    for (size_t i = 0; i < sizeof needed_registrations; i++) {
        rules[count++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP,
                                                       .register_op = needed_registrations[i]};
    }
    /* liburing 2.3 declares io_uring_register_restrictions(), but does not export it either. */
    return -io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rules, count);
}

/* 0, or an errno. */
static int ring_init(struct uring *u, const struct io_conf *conf)
{
    const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
    struct io_uring_params params = {
        .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP,
        /* More than what one turn hands over: a fan-out completes many sends at once. */
        .cq_entries = u->options.completions > 0 ? u->options.completions : 16 * conf->entries,
    };
    const int err = -io_uring_queue_init_params(conf->entries, &u->ring, &params);
    if (err != 0) {
        u->ring.ring_fd = -1;
        return err;
    }
    return (params.features & features) == features ? probe(&u->ring) : EINVAL;
}

static void release(struct uring *u)
{
    if (u->wake_fd >= 0) {
        close(u->wake_fd);
    }
    if (u->ring.ring_fd >= 0) {
        io_uring_queue_exit(&u->ring);
    }
    uring_buffers_fini(&u->buffers);
    send_pool_fini(&u->sends);
    free(u);
}

enum io_err uring_create(struct io **out, const struct io_conf *conf,
                         const struct io_handlers *handlers, void *context,
                         const struct uring_options *options, int *sys_errno)
{
    int error = ENOMEM;
    struct uring *u = calloc(1, sizeof *u);
    if (u == NULL) {
        goto out;
    }
    u->io = (struct io){.driver = &driver, .handlers = {handlers}, .context = context};
    u->options = *options;
    u->attached.next = u->attached.previous = &u->attached;
    u->ring.ring_fd = -1;
    u->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (u->wake_fd < 0) {
        error = errno;
        goto out;
    }
    error = ring_init(u, conf);
    if (error != 0) {
        goto out;
    }
    error = uring_buffers_init(&u->buffers, &u->ring, conf->receive_buffers,
                               conf->receive_buffer_bytes);
    if (error == 0) {
        error = restrict_to_needed(&u->ring);
    }
    if (error != 0) {
        goto out;
    }
    *out = &u->io;
    u = NULL; /* the caller's now */
out:
    if (u != NULL) {
        release(u);
    }
    if (error != 0) {
        *sys_errno = error;
    }
    return err_of(error);
}

enum io_err io_uring_create(struct io **out, const struct io_conf *conf,
                            const struct io_handlers *handlers, void *context, int *sys_errno)
{
    return uring_create(out, conf, handlers, context, &uring_defaults, sys_errno);
}

/* ---- handing over */

static void arm_wake_up(struct uring *u)
{
    struct io_uring_sqe *const sqe = uring_sqe(u);
    io_uring_prep_read(sqe, u->wake_fd, &u->wake_count, sizeof u->wake_count, 0);
    io_uring_sqe_set_data64(sqe, uring_number_tag(URING_WOKEN_EXTERNAL, 0));
    u->under_way++;
}

static void enable(struct uring *u)
{
    /* liburing 2.3 declares io_uring_enable_rings(), but does not export it. */
    const int err =
        -io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (err != 0) {
        die("cannot be enabled", err);
    }
    u->owner = pthread_self();
    u->enabled = true;
    arm_wake_up(u);
}

/* Dies of what cannot be: it was no wait that ended, no signal, no lack of memory. */
static void check_enter(int ret)
{
    switch (-ret) {
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ENOMEM:
    case ETIME:
        return;
    default:
        if (ret < 0) {
            die("enter failed", -ret); /* EBADR: completions were lost */
        }
    }
}

void uring_hand_over(struct uring *u)
{
    if (!u->enabled) {
        enable(u);
    }
    if (io_uring_sq_ready(&u->ring) > 0) {
        check_enter(io_uring_submit(&u->ring));
    }
}

struct io_uring_sqe *uring_sqe(struct uring *u)
{
    assert(!u->enabled || pthread_equal(u->owner, pthread_self()));

    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (sqe != NULL) {
        return sqe;
    }
    io_count(&u->io, IO_SUBMISSION_FULL);
    for (unsigned i = 0; i < HAND_OVER_TRIES_MAX; i++) {
        uring_hand_over(u);
        sqe = io_uring_get_sqe(&u->ring);
        if (sqe != NULL) {
            return sqe;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    die("takes no submissions", EAGAIN);
    return NULL;
}

static void submit(struct io *io)
{
    uring_hand_over(uring_of(io));
}

/* ---- completions */

static void wake_external(struct io *to)
{
    wake_fd_write(uring_of(to)->wake_fd);
}

static void wake(struct io *from, struct io *to)
{
    struct uring *const u = uring_of(from);
    struct io_uring_sqe *const sqe = uring_sqe(u);
    io_uring_prep_msg_ring(sqe, uring_of(to)->ring.ring_fd, 0, uring_number_tag(URING_WOKEN, 0), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, uring_tag(to, URING_WAKE));
    io_count(from, IO_WAKE_UPS);
}

/* The kernel sets the flag when there is something for the thread to run, and clears it when the
 * thread does, which then shows as completions. */
static bool has_news(struct io *io)
{
    const struct io_uring *const ring = &uring_of(io)->ring;
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_TASKRUN) != 0 ||
           io_uring_smp_load_acquire(ring->cq.ktail) != io_uring_smp_load_acquire(ring->cq.khead);
}

static void on_number(struct uring *u, const struct io_uring_cqe *cqe)
{
    const enum uring_number number = (enum uring_number)(cqe->user_data >> 16);
    switch (number) {
    case URING_IGNORED:
    case URING_WOKEN: /* io_turn() comes back, which is all */
        break;
    case URING_WOKEN_EXTERNAL:
        arm_wake_up(u);
        break;
    default:
        uring_accept_complete(u, number, cqe->user_data >> 8 & 0xff, cqe);
        break;
    }
}

static bool is_last_of_counted(const struct io_uring_cqe *cqe)
{
    const enum uring_op op = (enum uring_op)(cqe->user_data & URING_OP_MASK);
    if (op == URING_WAKE || (cqe->flags & IORING_CQE_F_MORE) != 0) {
        return false;
    }
    return op != URING_NUMBER || cqe->user_data >> 16 > URING_WOKEN;
}

static void complete(struct uring *u, const struct io_uring_cqe *cqe)
{
    void *const address = (void *)(uintptr_t)(cqe->user_data & ~URING_OP_MASK);
    const enum uring_op op = (enum uring_op)(cqe->user_data & URING_OP_MASK);
    switch (op) {
    case URING_NUMBER:
        on_number(u, cqe);
        break;
    case URING_WAKE: /* the target is not enabled yet, or cannot take it: then the other way */
        wake_external(address);
        break;
    case URING_FILE:
        uring_file_complete(u, address, cqe->res);
        break;
    default:
        uring_socket_complete(u, op, address, cqe);
        break;
    }
}

/* One at a time, for handlers may submit, and even wait for room to submit. */
static bool next_completion(struct uring *u, struct io_uring_cqe *out)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        *out = *cqe;
        io_uring_cq_advance(&u->ring, 1);
        if (is_last_of_counted(out)) {
            assert(u->under_way > 0);
            u->under_way--;
            u->files_under_way -= (out->user_data & URING_OP_MASK) == URING_FILE;
        }
        return true;
    }
    return false;
}

static unsigned handle_completions(struct uring *u, unsigned budget)
{
    struct io_uring_cqe cqe;
    unsigned handled = 0;
    while (handled < budget && next_completion(u, &cqe)) {
        complete(u, &cqe);
        handled++;
    }
    return handled;
}

/* ---- waiting */

static int submit_and_wait(struct uring *u, uint64_t timeout_ns)
{
    if (timeout_ns == 0) {
        return io_uring_submit_and_get_events(&u->ring);
    }
    if (timeout_ns == UINT64_MAX) {
        return io_uring_submit_and_wait(&u->ring, 1);
    }
    struct __kernel_timespec ts = {
        .tv_sec = (long long)(timeout_ns / NS_PER_S),
        .tv_nsec = (long long)(timeout_ns % NS_PER_S),
    };
    struct io_uring_cqe *unused;
    return io_uring_submit_and_wait_timeout(&u->ring, &unused, 1, &ts, NULL);
}

/* Whether the kernel has more that is ready, after `handled` completions of one enter. */
static bool has_more(const struct uring *u, unsigned handled)
{
    if (io_uring_cq_has_overflow(&u->ring)) {
        return handled > 0;
    }
    const unsigned flags = __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED);
    return handled >= EVENTS_PER_ENTER && (flags & IORING_SQ_TASKRUN) != 0;
}

static void turn(struct io *io, uint64_t timeout_ns)
{
    struct uring *const u = uring_of(io);
    if (!u->enabled) {
        enable(u);
    }
    if (io_uring_cq_has_overflow(&u->ring)) {
        io_count(io, IO_COMPLETION_OVERFLOW);
    }
    check_enter(submit_and_wait(u, timeout_ns));
    io_count(io, IO_TURNS);

    unsigned budget = u->options.completions_max;
    for (;;) {
        const unsigned handled = handle_completions(u, budget);
        budget -= handled;
        if (budget == 0 || !has_more(u, handled)) {
            return;
        }
        check_enter(io_uring_submit_and_get_events(&u->ring));
    }
}

/* ---- destroying */

static void discard_completions(struct uring *u)
{
    struct io_uring_cqe cqe;
    while (next_completion(u, &cqe)) {
        const enum uring_number number = (enum uring_number)(cqe.user_data >> 16);
        if ((cqe.user_data & URING_OP_MASK) == URING_NUMBER && number == URING_ACCEPT &&
            cqe.res >= 0) {
            close(cqe.res);
        }
    }
}

/* Cancels all there is until all of it has completed. A write that has begun is waited for without
 * a bound: whoever ended before it would have the kernel write what is in that memory by then. */
static void drain(struct uring *u)
{
    for (unsigned i = 0; u->files_under_way > 0 || (i < DRAIN_ROUNDS_MAX && u->under_way > 0);
         i++) {
        struct io_uring_sqe *const sqe = uring_sqe(u);
        io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        io_uring_sqe_set_data64(sqe, uring_number_tag(URING_IGNORED, 0));
        check_enter(submit_and_wait(u, NS_PER_S / 10));
        discard_completions(u);
    }
}

static void destroy(struct io *io)
{
    struct uring *const u = uring_of(io);
    if (!u->enabled || pthread_equal(u->owner, pthread_self())) {
        uring_hand_over(u);
        drain(u);
    } else { /* its thread is gone, and with it the kernel's leave to touch the process's memory */
        discard_completions(u);
    }
    uring_sockets_forget(u);
    release(u);
}

static const struct io_driver driver = {
    .name = "io_uring",
    .destroy = destroy,
    .listen = uring_listen,
    .listen_once = uring_listen_once,
    .listen_stop = uring_listen_stop,
    .attach = uring_attach,
    .detach = uring_detach,
    .receive_once = uring_receive_once,
    .receive_start = uring_receive_start,
    .receive_stop = uring_receive_stop,
    .send = uring_send,
    .send_at_once = uring_send_at_once,
    .shutdown_write = uring_shutdown_write,
    .close = uring_close,
    .write_and_sync = uring_write_and_sync,
    .wake = wake,
    .has_news = has_news,
    .wake_external = wake_external,
    .turn = turn,
    .submit = submit,
};
