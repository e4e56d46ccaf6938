/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring_send: what is left of one io_send(), where the kernel can read it until it is done.
 *
 * Owner: one uring; each io_send is one socket's from io_send() until its last completion.
 * Memory: in slabs, kept for reuse; at most one io_send per socket.
 * At the bound: uring_send_take() answers NULL when out of memory; the send fails with ENOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "broker/io/io.h"

struct io_send {
    struct io_send *next_free;
    size_t left;    /* bytes in iov[first..count) */
    unsigned first; /* the first that is not sent; it begins at what is not sent */
    unsigned count;
    struct msghdr message;        /* filled in for each attempt with more than one iovec */
    struct iovec iov[IO_IOV_MAX]; /* a copy; the bytes are the caller's */
};

struct uring_send_pool {
    struct io_send *free;
    struct uring_send_slab *slabs;
};

struct io_send *uring_send_take(struct uring_send_pool *pool, const struct iovec *iov, unsigned n);
void uring_send_put(struct uring_send_pool *pool, struct io_send *send);
void uring_send_pool_fini(struct uring_send_pool *pool); /* frees those that are taken, too */

/* `bytes` (at most `left`) of it are sent. */
void uring_send_advance(struct io_send *send, size_t bytes);
