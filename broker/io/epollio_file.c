/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epollio_file: io_write_and_sync(), by a thread that waits for the disk in the shard's place.
 *
 * One thread for each shard, started by its first write, as most brokers that keep nothing need
 * none. What a shard asks for meanwhile waits its turn; a journal asks for one thing at a time, and
 * gathers what comes in between. The shard neither locks nor waits: both lists change hands by one
 * exchange, and the semaphore's post is a system call only when the thread sleeps.
 *
 * As on io_uring the write and its sync are one call (RWF_DSYNC), where the file can do that.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include "broker/io/epollio.h"
#include "broker/io/file_op.h"

static void put(_Atomic(struct io_file_op *) *list, struct io_file_op *op)
{
    struct io_file_op *first = atomic_load_explicit(list, memory_order_relaxed);
    do {
        op->next = first;
    } while (!atomic_compare_exchange_weak_explicit(list, &first, op, memory_order_release,
                                                    memory_order_relaxed));
}

/* All of it, the oldest first. */
static struct io_file_op *take(_Atomic(struct io_file_op *) *list)
{
    struct io_file_op *newest = atomic_exchange_explicit(list, NULL, memory_order_acquire);
    struct io_file_op *oldest = NULL;
    while (newest != NULL) {
        struct io_file_op *const next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* ---- the thread */

/* What the call returned, or its errno below 0. */
static ssize_t or_errno(ssize_t res)
{
    return res < 0 ? -errno : res;
}

/* Bytes written, or what the sync answered; or an errno below 0. */
static ssize_t attempt(const struct io_file_op *op)
{
    if (op->n == 0) {
        return or_errno(fdatasync(op->fd));
    }
    const int n = (int)op->n;
    const off_t offset = (off_t)op->offset;
    ssize_t res = or_errno(pwritev2(op->fd, op->iov, n, offset, RWF_DSYNC));
    if (res ==
        -EOPNOTSUPP) { /* by some file systems, and by sandboxes with a kernel of their own */
        res = or_errno(pwritev(op->fd, op->iov, n, offset));
        const ssize_t synced = res < 0 ? 0 : or_errno(fdatasync(op->fd));
        res = synced < 0 ? synced : res;
    }
    return res;
}

static void write_and_sync(struct io_file_op *op)
{
    file_op_advance(op, 0);
    while (file_op_goes_on(op, attempt(op), &op->error)) {
    }
}

static void *run(void *arg)
{
    struct epollio *const e = arg;
    struct epollio_writer *const w = &e->writer;
    bool ending;
    do {
        while (sem_wait(&w->news) != 0) { /* EINTR */
        }
        ending = atomic_load_explicit(&w->ending, memory_order_acquire);
        struct io_file_op *op = take(&w->asked);
        while (op != NULL) {
            struct io_file_op *const next = op->next;
            write_and_sync(op);
            put(&w->done, op);
            io_wake_external(&e->io);
            op = next;
        }
    } while (!ending);
    return NULL;
}

/* ---- the shard */

int epollio_writer_init(struct epollio_writer *w)
{
    atomic_init(&w->asked, NULL);
    atomic_init(&w->done, NULL);
    atomic_init(&w->ending, false);
    return sem_init(&w->news, 0, 0) == 0 ? 0 : errno;
}

void epollio_writer_fini(struct epollio_writer *w)
{
    if (w->running) {
        atomic_store_explicit(&w->ending, true, memory_order_release);
        sem_post(&w->news);
        pthread_join(w->thread, NULL);
    }
    sem_destroy(&w->news);
}

/* 0, or an errno. */
static int start(struct epollio *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&e->writer.thread, NULL, run, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    e->writer.running = error == 0;
    if (error == 0) {
        pthread_setname_np(e->writer.thread, "journal-write");
    }
    return error;
}

void epollio_write_and_sync(struct io *io, struct io_file_op *op)
{
    struct epollio *const e = epollio_of(io);
    const int error = e->writer.running ? 0 : start(e);
    if (error != 0) { /* nothing is written: told like a disk that refuses */
        op->error = error;
        put(&e->writer.done, op);
        io_wake_external(io);
        return;
    }
    put(&e->writer.asked, op);
    sem_post(&e->writer.news);
}

void epollio_files_tell(struct epollio *e)
{
    if (atomic_load_explicit(&e->writer.done, memory_order_relaxed) == NULL) {
        return;
    }
    struct io_file_op *op = take(&e->writer.done);
    while (op != NULL) {
        struct io_file_op *const next = op->next;
        op->next = NULL;
        op->done(op, op->error);
        op = next;
    }
}
