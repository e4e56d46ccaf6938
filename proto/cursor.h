/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor: a place in received bytes, and where they end; the decoders take their fields off it.
 *
 * Each take moves past one field, or answers false and moves not at all: the field is cut off or
 * ill-formed, which is a Malformed Packet whatever it was. Lengths are compared with what is left.
 * Not a public header.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"
#include "proto/utf8.h"
#include "proto/varint.h"

struct cursor {
    const uint8_t *at;
    const uint8_t *end; /* one past the last byte; at <= end */
};

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* All that is left. */
static inline struct bytes cursor_rest(struct cursor *c)
{
    const struct bytes rest = bytes_of(c->at, cursor_left(c));
    c->at = c->end;
    return rest;
}

NODISCARD static inline bool cursor_bytes(struct cursor *c, size_t len, struct bytes *out)
{
    if (len > cursor_left(c)) {
        return false;
    }
    *out = bytes_of(c->at, len);
    c->at += len;
    return true;
}

NODISCARD static inline bool cursor_u8(struct cursor *c, uint8_t *out)
{
    if (cursor_left(c) < 1) {
        return false;
    }
    *out = *c->at++;
    return true;
}

NODISCARD static inline bool cursor_u16(struct cursor *c, uint16_t *out)
{
    if (cursor_left(c) < 2) {
        return false;
    }
    *out = (uint16_t)(c->at[0] << 8 | c->at[1]);
    c->at += 2;
    return true;
}

NODISCARD static inline bool cursor_u32(struct cursor *c, uint32_t *out)
{
    if (cursor_left(c) < 4) {
        return false;
    }
    *out = (uint32_t)c->at[0] << 24 | (uint32_t)c->at[1] << 16 | (uint32_t)c->at[2] << 8 | c->at[3];
    c->at += 4;
    return true;
}

/* In its shortest form [MQTT-1.5.5-1]: inside packets only 5.0 has it. */
NODISCARD static inline bool cursor_varint(struct cursor *c, uint32_t *out)
{
    const uint8_t *at = c->at;
    uint32_t value;
    if (varint_decode(&at, c->end, &value) != MQTT_OK) {
        return false;
    }
    if ((size_t)(at - c->at) != varint_size(value)) {
        return false;
    }
    c->at = at;
    *out = value;
    return true;
}

/* Binary Data (1.5.6). */
NODISCARD static inline bool cursor_binary(struct cursor *c, struct bytes *out)
{
    struct cursor after = *c;
    uint16_t len;
    if (!cursor_u16(&after, &len) || !cursor_bytes(&after, len, out)) {
        return false;
    }
    *c = after;
    return true;
}

/* A UTF-8 Encoded String (1.5.4). */
NODISCARD static inline bool cursor_string(struct cursor *c, struct bytes *out)
{
    struct cursor after = *c;
    if (!cursor_binary(&after, out) || !utf8_valid(*out)) {
        return false;
    }
    *c = after;
    return true;
}
