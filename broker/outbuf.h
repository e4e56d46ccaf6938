/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbuf: the bytes that one connection has still to send, in order: runs of copied bytes, and
 * large payloads by reference to their message.
 *
 * Owner: the connection, hence its shard. Memory: pieces of 1 to 64 KiB, none when there is nothing
 * to send. The bound is the caller's, who looks at outbuf_bytes() before it adds.
 * Bytes handed out by outbuf_gather() stay where they are until outbuf_consume() takes them away;
 * adding meanwhile is fine.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/nodiscard.h"

struct message;
struct out_piece;

struct outbuf {
    struct out_piece *first, *last;
    size_t bytes;
};

static inline size_t outbuf_bytes(const struct outbuf *o)
{
    return o->bytes;
}

void outbuf_fini(struct outbuf *o);

/* Room for `len` bytes in one piece at the end; write up to that many and outbuf_commit() them.
 * NULL when out of memory. */
uint8_t *outbuf_reserve(struct outbuf *o, size_t len);
void outbuf_commit(struct outbuf *o, size_t len);

/* Both, with a copy of those bytes. -1 when out of memory. */
NODISCARD int outbuf_put(struct outbuf *o, const void *bytes, size_t len);

/* The message's payload, by reference (takes one). -1 when out of memory. */
int outbuf_add_payload(struct outbuf *o, struct message *message);

/* The first pieces as iov[0..max); returns how many; *bytes is their sum. */
unsigned outbuf_gather(const struct outbuf *o, struct iovec *iov, unsigned max, size_t *bytes);
void outbuf_consume(struct outbuf *o, size_t bytes); /* they were sent */
