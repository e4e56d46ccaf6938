/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_pool: what is left of each io_send(), where the kernel can read it until it is done.
 *
 * Owner: one io; each io_send is one socket's from io_send() until it is over.
 * Memory: in slabs, kept for reuse; at most one io_send per socket.
 * At the bound: send_pool_take() answers NULL when out of memory; the send fails with ENOMEM.
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
    int error;                    /* epollio: it failed, and that is to be told; 0: it has not */
    struct msghdr message;        /* uring: filled in for each attempt with more than one iovec */
    struct iovec iov[IO_IOV_MAX]; /* a copy; the bytes are the caller's */
};

struct send_pool {
    struct io_send *free;
    struct send_pool_slab *slabs;
};

struct io_send *send_pool_take(struct send_pool *pool, const struct iovec *iov, unsigned n);
void send_pool_put(struct send_pool *pool, struct io_send *send);
void send_pool_fini(struct send_pool *pool); /* frees those that are taken, too */

/* `bytes` (at most `left`) of it are sent. */
void send_pool_advance(struct io_send *send, size_t bytes);
