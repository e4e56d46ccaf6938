/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_field: the body of a node frame is fields, one after the other: a tag, a length, a value.
 *
 *   tag u8 | length, as a Variable Byte Integer (1.5.5) | value
 *
 * Tags from 128 on are critical: who does not know one must refuse the frame. Any other that is not
 * known is passed over. Numbers inside of values are little-endian, one behind the other, and a
 * later version may put more behind them. A field comes once, unless its frame says otherwise.
 * Not a public header.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/cursor.h"
#include "proto/little_endian.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"
#include "proto/sink.h"

#define NODE_FIELD_CRITICAL 0x80u

struct node_field {
    uint8_t tag;
    struct bytes value;
};

/* false: cut off. */
NODISCARD static inline bool node_field_take(struct cursor *c, struct node_field *field)
{
    uint32_t len;
    return cursor_u8(c, &field->tag) && cursor_varint(c, &len) &&
           cursor_bytes(c, len, &field->value);
}

/* What to do about a field that is not known. */
NODISCARD static inline enum node_err node_field_unknown(const struct node_field *field)
{
    return (field->tag & NODE_FIELD_CRITICAL) != 0 ? NODE_UNKNOWN_CRITICAL : NODE_OK;
}

static inline struct cursor node_cursor(struct bytes in)
{
    /* No arithmetic on a pointer that may be NULL. */
    return (struct cursor){in.at, in.len == 0 ? in.at : in.at + in.len};
}

/* The value of that field of a body which has no other that is known; the last, or none. */
NODISCARD static inline enum node_err node_field_only(struct bytes *value, struct bytes body,
                                                      uint8_t tag)
{
    struct bytes found = {NULL, 0};
    struct cursor c = node_cursor(body);
    while (cursor_left(&c) > 0) {
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return NODE_MALFORMED;
        }
        if (field.tag == tag) {
            found = field.value;
        } else if (node_field_unknown(&field) != NODE_OK) {
            return NODE_UNKNOWN_CRITICAL;
        }
    }
    *value = found;
    return NODE_OK;
}

/* A body that is a head, and items; given once and for all, as the types of frames are. Either may
 * be left out. */
enum {
    NODE_TAG_HEAD = 1,
    NODE_TAG_ITEMS = 2,
};

NODISCARD static inline enum node_err node_fields_head_items(struct bytes *head,
                                                             struct bytes *items, struct bytes body)
{
    struct cursor c = node_cursor(body);
    *head = bytes_of(NULL, 0);
    *items = bytes_of(NULL, 0);
    while (cursor_left(&c) > 0) {
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return NODE_MALFORMED;
        }
        if (field.tag == NODE_TAG_HEAD) {
            *head = field.value;
        } else if (field.tag == NODE_TAG_ITEMS) {
            *items = field.value;
        } else if (node_field_unknown(&field) != NODE_OK) {
            return NODE_UNKNOWN_CRITICAL;
        }
    }
    return NODE_OK;
}

/* ---- Numbers of a value; false: it ends before. */

NODISCARD static inline bool node_u16(struct cursor *c, uint16_t *out)
{
    struct bytes in;
    if (!cursor_bytes(c, sizeof *out, &in)) {
        return false;
    }
    *out = get_u16(in.at);
    return true;
}

NODISCARD static inline bool node_u32(struct cursor *c, uint32_t *out)
{
    struct bytes in;
    if (!cursor_bytes(c, sizeof *out, &in)) {
        return false;
    }
    *out = get_u32(in.at);
    return true;
}

NODISCARD static inline bool node_u64(struct cursor *c, uint64_t *out)
{
    struct bytes in;
    if (!cursor_bytes(c, sizeof *out, &in)) {
        return false;
    }
    *out = get_u64(in.at);
    return true;
}

NODISCARD static inline bool node_copy(struct cursor *c, void *out, size_t len)
{
    struct bytes in;
    if (!cursor_bytes(c, len, &in)) {
        return false;
    }
    memcpy(out, in.at, len);
    return true;
}

/* A value that is one number, and perhaps more of a later version. */
NODISCARD static inline bool node_value_u8(struct bytes value, uint8_t *out)
{
    struct cursor c = node_cursor(value);
    return cursor_u8(&c, out);
}

NODISCARD static inline bool node_value_u32(struct bytes value, uint32_t *out)
{
    struct cursor c = node_cursor(value);
    return node_u32(&c, out);
}

NODISCARD static inline bool node_value_u64(struct bytes value, uint64_t *out)
{
    struct cursor c = node_cursor(value);
    return node_u64(&c, out);
}

/* ---- Writing, into a sink */

/* Into `out`; NULL: only counted. */
static inline struct sink node_sink(uint8_t *out) /* NOLINT(readability-non-const-parameter) */
{
    return (struct sink){.at = out};
}

static inline void node_put_u16(struct sink *s, uint16_t value)
{
    uint8_t out[sizeof value];
    put_u16(out, value);
    sink_bytes(s, bytes_of(out, sizeof out));
}

static inline void node_put_u32(struct sink *s, uint32_t value)
{
    uint8_t out[sizeof value];
    put_u32(out, value);
    sink_bytes(s, bytes_of(out, sizeof out));
}

static inline void node_put_u64(struct sink *s, uint64_t value)
{
    uint8_t out[sizeof value];
    put_u64(out, value);
    sink_bytes(s, bytes_of(out, sizeof out));
}

/* The field's tag and length; its value is to follow. */
static inline void node_put_head(struct sink *s, uint8_t tag, size_t len)
{
    sink_u8(s, tag);
    sink_varint(s, len);
}

static inline void node_put_field(struct sink *s, uint8_t tag, struct bytes value)
{
    node_put_head(s, tag, value.len);
    sink_bytes(s, value);
}

static inline void node_put_field_u8(struct sink *s, uint8_t tag, uint8_t value)
{
    node_put_head(s, tag, sizeof value);
    sink_u8(s, value);
}

static inline void node_put_field_u32(struct sink *s, uint8_t tag, uint32_t value)
{
    node_put_head(s, tag, sizeof value);
    node_put_u32(s, value);
}

static inline void node_put_field_u64(struct sink *s, uint8_t tag, uint64_t value)
{
    node_put_head(s, tag, sizeof value);
    node_put_u64(s, value);
}
