/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver: what stands behind the functions of io.h. A backend embeds `struct io` as its first
 * member and fills in the table; each entry is the function of io.h of the same name. Internal to
 * broker/io and to tests.
 */
#pragma once

#include <stdatomic.h>

#include "broker/io/io.h"

struct io_driver {
    const char *name; /* of the backend, as metrics and the log call it */
    void (*destroy)(struct io *io);
    void (*listen)(struct io *io, unsigned listener, int listen_fd);
    void (*listen_once)(struct io *io, unsigned listener, int listen_fd);
    void (*listen_stop)(struct io *io, unsigned listener);
    void (*attach)(struct io *io, struct io_socket *s, int fd);
    int (*detach)(struct io *io, struct io_socket *s);
    void (*receive_once)(struct io *io, struct io_socket *s);
    void (*receive_start)(struct io *io, struct io_socket *s);
    void (*receive_stop)(struct io *io, struct io_socket *s);
    void (*send)(struct io *io, struct io_socket *s, const struct iovec *iov, unsigned n);
    size_t (*send_at_once)(struct io *io, const struct io_socket *s, const struct iovec *iov,
                           unsigned n);
    void (*shutdown_write)(struct io *io, struct io_socket *s);
    void (*close)(struct io *io, struct io_socket *s);
    void (*write_and_sync)(struct io *io, struct io_file_op *op); /* its fields are filled in */
    void (*wake)(struct io *from, struct io *to);                 /* both have this driver */
    bool (*has_news)(struct io *io);
    void (*wake_external)(struct io *to);
    void (*turn)(struct io *io, uint64_t timeout_ns);
    void (*submit)(struct io *io);
};

struct io {
    const struct io_driver *driver;
    const struct io_handlers *handlers[2]; /* of all; of the sockets with IO_SECOND */
    void *context;

    /* Written by the owner, read by any thread; relaxed, no order promised. */
    _Atomic uint64_t counters[IO_COUNTERS];
};

#define IO_LISTENERS 64u

/* In io_socket.flags, where all other bits are the backend's: io_attach_second(). */
#define IO_SECOND (1u << 15)

/* Whoever is told of that socket. Not a branch: clients pay nothing for there being others. */
static inline const struct io_handlers *io_handlers_of(const struct io *io,
                                                       const struct io_socket *s)
{
    return io->handlers[s->flags / IO_SECOND];
}

/* The owner's: there is one writer, so that no atomic addition is needed. */
static inline void io_count(struct io *io, enum io_counter counter)
{
    const uint64_t n = atomic_load_explicit(&io->counters[counter], memory_order_relaxed);
    atomic_store_explicit(&io->counters[counter], n + 1, memory_order_relaxed);
}
