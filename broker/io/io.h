/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io: how a shard waits for the kernel: accept, receive, send, close, write files, wake, time.
 *
 * Nothing of io_uring shows here: epoll, where io_uring is refused, and a test's own kernel stand
 * behind the same functions, and nobody above them notices. `struct io` begins with a table of
 * them. Completions arrive as calls of struct io_handlers, only from inside io_turn().
 *
 * Owner: the shard's thread, of the io and of its sockets; only io_wake_external(),
 * io_send_at_once() and io_has_news() may be called from elsewhere (any thread), and
 * io_wake(from, to) touches nothing of `to` but its ring. Memory: receive buffers are shared by all
 * connections of the io; an idle connection holds none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/nodiscard.h"

struct io;

/*
 * One connected socket as io knows it; embedded in a connection. The fields are io's alone.
 * From io_attach() until closed() was called (or io_detach() succeeded) it must stay where it is.
 */
struct io_socket {
    struct io_socket *next, *previous; /* the io's list of what is attached */
    struct io_send *send;              /* what is left of the send under way; NULL: none */
    int fd;                            /* -1 before attach and after closed/detach */
    uint16_t flags;
    uint16_t kernel_ops; /* asked for, and not yet over for good */
};

struct io_handlers {
    /* A connection came in on that listener. The fd (non-blocking, close-on-exec) is the callee's.
     */
    void (*accepted)(void *context, unsigned listener, int fd);

    /* Bytes arrived; borrowed for the call. */
    void (*received)(void *context, struct io_socket *s, const uint8_t *data, size_t len);

    /* No more bytes will come: error 0 is the peer's end of stream, else an errno. Once a socket.
     */
    void (*ended)(void *context, struct io_socket *s, int error);

    /* The io_send() is over: all was sent (error 0), or it failed for good (errno). */
    void (*sent)(void *context, struct io_socket *s, int error);

    /* After io_close(): the descriptor is closed and nothing in the kernel refers to `s` or to the
     * memory of its last send; both may be freed. No other call comes after it. */
    void (*closed)(void *context, struct io_socket *s);

    /* Accepting paused (EMFILE, ENFILE, ENOMEM …), to be tried again by io itself after 100 ms. */
    void (*accept_failed)(void *context, unsigned listener, int error);
};

struct io_conf {
    unsigned receive_buffers; /* a power of two; epoll needs a single one */
    unsigned receive_buffer_bytes;
    unsigned entries; /* submission queue of io_uring, a power of two */
};

/* What io counts; written by the owner with relaxed stores, read by any thread. */
enum io_counter {
    IO_TURNS,               /* waits that came back */
    IO_SUBMISSION_FULL,     /* the submission queue was full and had to be handed over early */
    IO_COMPLETION_OVERFLOW, /* turns that began with the kernel holding completions back */
    IO_NO_BUFFER,           /* receives that ended for want of a buffer, and were started again */
    IO_PARTIAL_SEND,        /* sends that the kernel did in part, and were continued */
    IO_ACCEPT_FAILED,
    IO_WAKE_UPS, /* sent to other shards */
    IO_COUNTERS,
};

enum io_err {
    IO_OK = 0,
    IO_FORBIDDEN, /* the kernel or a container profile refuses io_uring; see io_err_text() */
    IO_TOO_OLD,   /* the kernel lacks something that is needed (6.1 has it) */
    IO_NO_MEMORY, /* memory or locked memory */
    IO_NO_DESCRIPTOR,
    IO_FAILED, /* another errno, in *sys_errno */
};

/* A sentence for the operator, with the remedy. */
const char *io_err_text(enum io_err err);

/* What the io stands on, as metrics and the log call it: "io_uring" or "epoll". */
const char *io_backend_name(const struct io *io);

/* On io_uring (broker/io/uring.c). `handlers` must outlive it. *sys_errno is set on failure. Any
 * thread may create it; the first to call io_turn() or io_submit() is the owner from then on. */
NODISCARD enum io_err io_uring_create(struct io **out, const struct io_conf *conf,
                                      const struct io_handlers *handlers, void *context,
                                      int *sys_errno);

/* On epoll (broker/io/epollio.c); the same. */
NODISCARD enum io_err io_epoll_create(struct io **out, const struct io_conf *conf,
                                      const struct io_handlers *handlers, void *context,
                                      int *sys_errno);

/* Cancels what is under way, waits for it without calling handlers, frees. Sockets that are still
 * attached are closed. By the owner, or by another thread when the owner's has ended. NULL is fine.
 * For a write of a file it waits as long as the disk takes. */
void io_destroy(struct io *io);

/* Accepts on listen_fd (bound, listening, the caller's to close after io_listen_stop()) from now
 * on; `listener` is handed back with each connection, below 64. */
void io_listen(struct io *io, unsigned listener, int listen_fd);
void io_listen_stop(struct io *io, unsigned listener); /* a few accepted() may still come */

/* The same for one connection, where io_listen() takes all that wait before the first of them is
 * known here: the next accepted(), of whatever was asked for, stops the listener. */
void io_listen_once(struct io *io, unsigned listener, int listen_fd);

void io_attach(struct io *io, struct io_socket *s, int fd); /* fd is io's from here on */

/* The same for a socket of another kind, of which other handlers are told, with the same context;
 * set once, before. accepted() and accept_failed() of them are not called. */
void io_set_second(struct io *io, const struct io_handlers *handlers);
void io_attach_second(struct io *io, struct io_socket *s, int fd);

/* Takes the descriptor (s->fd until then) out again, to be attached to another io: 0. Only while
 * nothing is under way: -1 if something is. */
int io_detach(struct io *io, struct io_socket *s);

/* Exactly one received() or ended(); nothing is under way after it. Not while a receive is under
 * way; after ended() this and io_receive_start() do nothing. */
void io_receive_once(struct io *io, struct io_socket *s);

/* received() for whatever comes, until io_receive_stop(), ended(), or io_close(). */
void io_receive_start(struct io *io, struct io_socket *s);

/* Asks to stop; received() may still come a few times. Starting again is allowed at any moment. */
void io_receive_stop(struct io *io, struct io_socket *s);

/* Sends all of iov[0..n), n <= IO_IOV_MAX; one send a socket at a time. What the iov entries point
 * to must stay until sent() (or closed()); the array itself is copied. Partial sends are continued
 * by io. MSG_NOSIGNAL. */
#define IO_IOV_MAX 16u
void io_send(struct io *io, struct io_socket *s, const struct iovec *iov, unsigned n);

/* Sends of iov[0..n) what the kernel takes at once, and returns how much that is; 0 also when it
 * failed, which the next io_send() will tell. Not while a send is under way. The only function that
 * a thread other than the owner may call for a socket: it does not touch the io. A system call. */
size_t io_send_at_once(struct io *io, const struct io_socket *s, const struct iovec *iov,
                       unsigned n);

/* No more will be sent: the peer sees the end of the stream after what was sent. */
void io_shutdown_write(struct io *io, struct io_socket *s);

/* Cancels what is under way and closes; closed() follows, never from inside this call. */
void io_close(struct io *io, struct io_socket *s);

/*
 * A write of a file that is synced, under way; embedded in what it belongs to. The caller sets
 * done(); the other fields are io's. From io_write_and_sync() until done() it must stay where it
 * is, and so must the iov and the bytes; done() may begin the next one, or free it.
 */
struct io_file_op {
    /* error 0: all is written and synced; else an errno: what was to be written may be in the file
     * or not, whole or in part, and no later sync that succeeds says otherwise. */
    void (*done)(struct io_file_op *op, int error);

    struct io_file_op *next; /* for a backend with a list… */
    int error;               /* …and what is to be told of it */
    struct iovec *iov;       /* [0..n), without what is written already */
    unsigned n;
    int fd;
    uint64_t offset; /* of iov[0] */
};

/*
 * Writes all of iov[0..n) at `offset` of a regular file, as fdatasync() would keep it: exactly one
 * done() follows, from inside io_turn(). n = 0: a sync of all that the file has. n <=
 * IO_FILE_IOV_MAX; the array is io's until done(), and what it holds afterwards is undefined. One
 * at a time for each op; several of one file are in no order. Nothing of it is cancelled but by
 * io_destroy(), which waits for it without calling done().
 */
#define IO_FILE_IOV_MAX 1024u
void io_write_and_sync(struct io *io, struct io_file_op *op, int fd, struct iovec *iov, unsigned n,
                       uint64_t offset);

/* Makes the io_turn() of `to`, on another thread, come back (at the latest when `from` next turns).
 */
void io_wake(struct io *from, struct io *to);

/* Has something come that its thread has yet to see, and is about to wake for? Any thread may ask.
 */
bool io_has_news(struct io *io);

void io_wake_external(struct io *to); /* from any thread; async-signal-safe */

/*
 * Submits what was asked for, waits until something completed or timeout_ns has passed (0: do not
 * wait; UINT64_MAX: no limit), and calls the handlers for all that has completed.
 */
void io_turn(struct io *io, uint64_t timeout_ns);

/* Hands to the kernel what was asked for, without waiting and without calling handlers. */
void io_submit(struct io *io);

uint64_t io_counter_read(const struct io *io, enum io_counter counter); /* any thread */
