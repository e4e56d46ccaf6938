/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring_buffers: the receive buffers that the kernel picks from, in a provided-buffer ring.
 *
 * Owner: one uring. Memory: one mapping, the ring in front of the buffers; the kernel pins the
 * ring. At the bound: a receive that finds no buffer ends with ENOBUFS; see uring_socket.c.
 */
#pragma once

#include <liburing.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct uring_buffers {
    struct io_uring_buf_ring *ring; /* NULL: not initialised */
    uint8_t *first;                 /* buffer i begins at first + i * bytes */
    unsigned count;                 /* a power of two, at most 32768 */
    unsigned bytes;                 /* of each */
    size_t mapped;                  /* bytes from `ring` on */
};

#define URING_BUFFER_GROUP 0

/* All buffers are the kernel's after it. 0, or an errno. */
NODISCARD int uring_buffers_init(struct uring_buffers *b, struct io_uring *uring, unsigned count,
                                 unsigned bytes);

/* After the ring was closed, or while no receive is under way. Fine when not initialised. */
void uring_buffers_fini(struct uring_buffers *b);

/* Buffer `id`, which the kernel has filled with `len` bytes: ours until it is given back. */
const uint8_t *uring_buffers_take(struct uring_buffers *b, unsigned id, size_t len);
void uring_buffers_put(struct uring_buffers *b, unsigned id);
