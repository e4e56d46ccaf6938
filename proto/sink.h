/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink: where the fields of a packet go: into bytes, or into a sum.
 *
 * A packet begins with its length, so the encoders run twice over the same lines: once into a sink
 * that only counts, then into one with room for just that. Hence no put can fail.
 * Not a public header.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/property.h"
#include "proto/varint.h"

#define SINK_STRING_MAX 65535u

struct sink {
    uint8_t *at; /* NULL: count only; else room for all that is put */
    size_t len;  /* put so far; the next byte goes to at[len] */
};

/* Always inline: the compiler else decides it anew in each program, and tells another count in
 * each. */
__attribute__((always_inline)) static inline void sink_bytes(struct sink *s, struct bytes value)
{
    if (s->at != NULL && value.len > 0) {
        memcpy(s->at + s->len, value.at, value.len);
    }
    s->len += value.len;
}

static inline void sink_u8(struct sink *s, uint8_t value)
{
    sink_bytes(s, bytes_of(&value, 1));
}

static inline void sink_u16(struct sink *s, uint16_t value)
{
    const uint8_t two[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    sink_bytes(s, bytes_of(two, sizeof two));
}

static inline void sink_varint(struct sink *s, size_t value)
{
    assert(value <= VARINT_MAX);

    uint8_t out[VARINT_BYTES_MAX];
    sink_bytes(s, bytes_of(out, varint_encode(out, (uint32_t)value)));
}

/* A UTF-8 string, or binary data: the length in two bytes goes before it. */
static inline void sink_string(struct sink *s, struct bytes value)
{
    assert(value.len <= SINK_STRING_MAX);

    sink_u16(s, (uint16_t)value.len);
    sink_bytes(s, value);
}

static inline void sink_properties(struct sink *s, const struct mqtt_properties *properties)
{
    sink_varint(s, properties->raw.len);
    sink_bytes(s, properties->raw);
}
