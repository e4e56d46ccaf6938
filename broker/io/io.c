/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/io.h"

#include <assert.h>

#include "broker/io/driver.h"

const char *io_err_text(enum io_err err)
{
    switch (err) {
    case IO_OK:
        return "io_uring is usable";
    case IO_FORBIDDEN:
        return "the system refuses io_uring: set the sysctl kernel.io_uring_disabled to 0, and let "
               "the container runtime's seccomp profile allow io_uring_setup, io_uring_enter and "
               "io_uring_register";
    case IO_TOO_OLD:
        return "the kernel's io_uring lacks something that is needed: Linux 6.1 or newer has it";
    case IO_NO_MEMORY:
        return "no memory for a shard's queues and buffers: give the process more, or, where "
               "locked memory is limited, raise RLIMIT_MEMLOCK (LimitMEMLOCK=, --ulimit memlock=)";
    case IO_NO_DESCRIPTOR:
        return "no file descriptor is left for a shard: raise RLIMIT_NOFILE (LimitNOFILE=, "
               "--ulimit nofile=)";
    case IO_FAILED:
        break;
    }
    return "what a shard waits with could not be set up";
}

const char *io_backend_name(const struct io *io)
{
    return io->driver->name;
}

void io_destroy(struct io *io)
{
    if (io != NULL) {
        io->driver->destroy(io);
    }
}

void io_listen(struct io *io, unsigned listener, int listen_fd)
{
    assert(listener < IO_LISTENERS);

    io->driver->listen(io, listener, listen_fd);
}

void io_listen_once(struct io *io, unsigned listener, int listen_fd)
{
    assert(listener < IO_LISTENERS);

    io->driver->listen_once(io, listener, listen_fd);
}

void io_listen_stop(struct io *io, unsigned listener)
{
    assert(listener < IO_LISTENERS);

    io->driver->listen_stop(io, listener);
}

void io_attach(struct io *io, struct io_socket *s, int fd)
{
    assert(fd >= 0);

    io->driver->attach(io, s, fd);
}

void io_set_second(struct io *io, const struct io_handlers *handlers)
{
    io->handlers[1] = handlers;
}

void io_attach_second(struct io *io, struct io_socket *s, int fd)
{
    assert(io->handlers[1] != NULL);

    io_attach(io, s, fd);
    s->flags = (uint16_t)(s->flags | IO_SECOND);
}

int io_detach(struct io *io, struct io_socket *s)
{
    return io->driver->detach(io, s);
}

void io_receive_once(struct io *io, struct io_socket *s)
{
    io->driver->receive_once(io, s);
}

void io_receive_start(struct io *io, struct io_socket *s)
{
    io->driver->receive_start(io, s);
}

void io_receive_stop(struct io *io, struct io_socket *s)
{
    io->driver->receive_stop(io, s);
}

void io_send(struct io *io, struct io_socket *s, const struct iovec *iov, unsigned n)
{
    assert(n >= 1);
    assert(n <= IO_IOV_MAX);

    io->driver->send(io, s, iov, n);
}

size_t io_send_at_once(struct io *io, const struct io_socket *s, const struct iovec *iov,
                       unsigned n)
{
    assert(n >= 1);
    assert(n <= IO_IOV_MAX);

    return io->driver->send_at_once(io, s, iov, n);
}

void io_shutdown_write(struct io *io, struct io_socket *s)
{
    io->driver->shutdown_write(io, s);
}

void io_close(struct io *io, struct io_socket *s)
{
    io->driver->close(io, s);
}

void io_write_and_sync(struct io *io, struct io_file_op *op, int fd, struct iovec *iov, unsigned n,
                       uint64_t offset)
{
    assert(fd >= 0);
    assert(n <= IO_FILE_IOV_MAX);
    assert(op->done != NULL);

    op->next = NULL;
    op->fd = fd;
    op->iov = iov;
    op->n = n;
    op->offset = offset;
    io->driver->write_and_sync(io, op);
}

bool io_has_news(struct io *io)
{
    return io->driver->has_news(io);
}

void io_wake(struct io *from, struct io *to)
{
    assert(from != to);
    assert(from->driver == to->driver);

    from->driver->wake(from, to);
}

void io_wake_external(struct io *to)
{
    to->driver->wake_external(to);
}

void io_turn(struct io *io, uint64_t timeout_ns)
{
    io->driver->turn(io, timeout_ns);
}

void io_submit(struct io *io)
{
    io->driver->submit(io);
}

uint64_t io_counter_read(const struct io *io, enum io_counter counter)
{
    assert((unsigned)counter < IO_COUNTERS);

    return atomic_load_explicit(&io->counters[counter], memory_order_relaxed);
}
