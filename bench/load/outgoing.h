/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outgoing: bytes that a connection has still to send; one buffer that grows as needed and is used
 * again from its front whenever it has run empty.
 *
 * Owner: one connection. At the bound (OUTGOING_BYTES_MAX): outgoing_reserve() gives NULL.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define OUTGOING_BYTES_MAX (64u << 20)

struct outgoing {
    uint8_t *bytes;
    size_t begin, end, size; /* unsent: bytes[begin..end) */
};

/* Room for so many bytes at the end, to be written at once; NULL: over the bound, or no memory. */
uint8_t *outgoing_reserve(struct outgoing *out, size_t len);

/* The first so many were sent. */
void outgoing_sent(struct outgoing *out, size_t len);

void outgoing_free(struct outgoing *out);

static inline size_t outgoing_len(const struct outgoing *out)
{
    return out->end - out->begin;
}
