/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring: what the files of the io_uring backend share. Internal to broker/io, and to its tests.
 *
 *   uring.c           the ring: creating it, handing over, waiting, who gets a completion
 *   uring_accept.c    listeners
 *   uring_socket.c    one socket: receiving, sending, closing
 *   uring_file.c      files: writing, syncing
 *   uring_buffers.c   receive buffers
 *
 * A completion names what it completes in its user data: the address of an io_socket (or
 * io_file_op, or, for a wake-up that failed, of the target) with the operation in the low bits, or
 * a number. Addresses need no generation: a socket stays where it is until its last operation has
 * completed, and the kernel knows it by the address, never by the descriptor, which may be in use
 * again by then.
 */
#pragma once

#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>

#include "broker/io/driver.h"
#include "broker/io/uring_buffers.h"
#include "broker/io/send_pool.h"

enum uring_op {
    URING_NUMBER, /* not an address: enum uring_number, and a listener */
    URING_RECEIVE,
    URING_SEND,
    URING_FILE,
    URING_CANCEL_RECEIVE,
    URING_CANCEL_SEND,
    URING_CLOSE,
    URING_WAKE, /* completes only when it failed */
};
#define URING_OP_MASK UINT64_C(7)

enum uring_number {
    URING_IGNORED,
    URING_WOKEN,          /* another ring sent this */
    URING_WOKEN_EXTERNAL, /* the eventfd was read */
    URING_ACCEPT,
    URING_ACCEPT_CANCEL,
    URING_ACCEPT_AGAIN, /* the pause after a failure is over */
};

struct uring_listener {
    int fd;
    bool wanted;     /* between io_listen() and io_listen_stop() */
    bool once;       /* for a single connection */
    bool under_way;  /* an accept is with the kernel */
    bool stale;      /* …and was asked to stop */
    bool cancelling; /* so is a cancellation of it */
    bool pausing;    /* so is a timeout */
};

/* What tests turn; io_uring_create() uses the defaults. */
struct uring_options {
    unsigned completions;     /* 0: as many as uring.c thinks right */
    int send_flags;           /* MSG_WAITALL: the kernel continues a short send itself */
    unsigned completions_max; /* handled in one turn */
};
extern const struct uring_options uring_defaults;

struct uring {
    struct io io; /* first */
    struct io_uring ring;
    struct uring_buffers buffers;
    struct send_pool sends;
    struct uring_options options;
    struct io_socket attached; /* head of the list */
    struct uring_listener listeners[IO_LISTENERS];
    int wake_fd;         /* an eventfd, blocking: the ring waits for it by reading */
    uint64_t wake_count; /* read from it */
    bool enabled;        /* by the first call that submits; `owner` is its thread */
    pthread_t owner;
    uint64_t under_way;       /* operations that will post a last completion */
    uint64_t files_under_way; /* those of them that write or sync a file */
};

enum io_err uring_create(struct io **out, const struct io_conf *conf,
                         const struct io_handlers *handlers, void *context,
                         const struct uring_options *options, int *sys_errno);

static inline struct uring *uring_of(struct io *io)
{
    return (struct uring *)(void *)io;
}

static inline uint64_t uring_tag(const void *address, enum uring_op op)
{
    return (uint64_t)(uintptr_t)address | (uint64_t)op;
}

static inline uint64_t uring_number_tag(enum uring_number number, unsigned listener)
{
    return ((uint64_t)number << 16 | (uint64_t)listener << 8) | URING_NUMBER;
}

/* A place in the submission queue; what is there is handed over first when it is full. The caller
 * prepares it, and sets the user data, before anything else. */
struct io_uring_sqe *uring_sqe(struct uring *u);

/* Hands the submission queue to the kernel. The first call makes its thread the owner. */
void uring_hand_over(struct uring *u);

/* ---- uring_accept.c */
void uring_listen(struct io *io, unsigned listener, int listen_fd);
void uring_listen_once(struct io *io, unsigned listener, int listen_fd);
void uring_listen_stop(struct io *io, unsigned listener);
void uring_accept_complete(struct uring *u, enum uring_number number, unsigned listener,
                           const struct io_uring_cqe *cqe);

/* ---- uring_socket.c */
void uring_attach(struct io *io, struct io_socket *s, int fd);
int uring_detach(struct io *io, struct io_socket *s);
void uring_receive_once(struct io *io, struct io_socket *s);
void uring_receive_start(struct io *io, struct io_socket *s);
void uring_receive_stop(struct io *io, struct io_socket *s);
void uring_send(struct io *io, struct io_socket *s, const struct iovec *iov, unsigned n);
size_t uring_send_at_once(struct io *io, const struct io_socket *s, const struct iovec *iov,
                          unsigned n);
void uring_shutdown_write(struct io *io, struct io_socket *s);
void uring_close(struct io *io, struct io_socket *s);
void uring_socket_complete(struct uring *u, enum uring_op op, struct io_socket *s,
                           const struct io_uring_cqe *cqe);
void uring_sockets_forget(struct uring *u); /* closes the descriptors of all that are attached */

/* ---- uring_file.c */
void uring_write_and_sync(struct io *io, struct io_file_op *op);
void uring_file_complete(struct uring *u, struct io_file_op *op, int res);
