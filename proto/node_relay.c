/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_relay.h"

#include <assert.h>
#include <string.h>

#include "proto/node_field.h"
#include "proto/utf8.h"

/* Of all four; given once and for all, as the types of frames are. */
enum tag {
    TAG_HEAD = 1, /* u64 id; OPEN: u8 flags, listener, u16 port, 16 bytes, u32 uid, gid, pid;
                     CREDIT: u32; END: u8 */
    TAG_DATA = 2,
    TAG_NAME_FIRST = 3, /* and the other names behind it, by enum node_relay_name */
};

#define ADDRESS_BYTES 16u

static size_t head_bytes(uint8_t type)
{
    switch (type) {
    case NODE_FRAME_RELAY_OPEN:
        return sizeof(uint64_t) + 2 + sizeof(uint16_t) + ADDRESS_BYTES + 3 * sizeof(uint32_t);
    case NODE_FRAME_RELAY_CREDIT:
        return sizeof(uint64_t) + sizeof(uint32_t);
    case NODE_FRAME_RELAY_END:
        return sizeof(uint64_t) + 1;
    default:
        return sizeof(uint64_t);
    }
}

static void put_open(struct sink *s, const struct node_relay *relay)
{
    sink_u8(s, relay->flags);
    sink_u8(s, relay->listener);
    node_put_u16(s, relay->port);
    sink_bytes(s, bytes_of(relay->address, ADDRESS_BYTES));
    node_put_u32(s, relay->uid);
    node_put_u32(s, relay->gid);
    node_put_u32(s, relay->pid);
    for (unsigned i = 0; i < NODE_RELAY_NAMES; i++) {
        assert(relay->names[i].len <= NODE_RELAY_NAME_MAX);
        if (relay->names[i].len > 0) {
            node_put_field(s, (uint8_t)(TAG_NAME_FIRST + i), relay->names[i]);
        }
    }
}

size_t node_relay_encode(uint8_t *out, const struct node_relay *relay)
{
    struct sink s = node_sink(out);
    node_put_head(&s, TAG_HEAD, head_bytes(relay->type));
    node_put_u64(&s, relay->id);
    switch (relay->type) {
    case NODE_FRAME_RELAY_OPEN:
        put_open(&s, relay);
        break;
    case NODE_FRAME_RELAY_CREDIT:
        node_put_u32(&s, relay->credit);
        break;
    case NODE_FRAME_RELAY_END:
        sink_u8(&s, relay->why);
        break;
    default:
        assert(relay->type == NODE_FRAME_RELAY_DATA);
        assert(relay->data.len > 0);
        assert(relay->data.len <= NODE_RELAY_DATA_MAX);
        node_put_field(&s, TAG_DATA, relay->data);
    }
    return s.len;
}

/* ---- reading */

static bool take_head(struct node_relay *relay, struct bytes value)
{
    struct cursor c = node_cursor(value);
    if (!node_u64(&c, &relay->id)) {
        return false;
    }
    switch (relay->type) {
    case NODE_FRAME_RELAY_OPEN:
        return cursor_u8(&c, &relay->flags) && cursor_u8(&c, &relay->listener) &&
               node_u16(&c, &relay->port) && node_copy(&c, relay->address, ADDRESS_BYTES) &&
               node_u32(&c, &relay->uid) && node_u32(&c, &relay->gid) && node_u32(&c, &relay->pid);
    case NODE_FRAME_RELAY_CREDIT:
        return node_u32(&c, &relay->credit) && relay->credit > 0 &&
               relay->credit <= NODE_RELAY_WINDOW;
    case NODE_FRAME_RELAY_END:
        return cursor_u8(&c, &relay->why);
    default:
        return true;
    }
}

static bool take_name(struct node_relay *relay, const struct node_field *field)
{
    relay->names[field->tag - TAG_NAME_FIRST] = field->value;
    return field->value.len <= NODE_RELAY_NAME_MAX && utf8_valid(field->value);
}

static enum node_err take(struct node_relay *relay, const struct node_field *field, bool *headed)
{
    if (field->tag == TAG_HEAD) {
        *headed = true;
        return take_head(relay, field->value) ? NODE_OK : NODE_MALFORMED;
    }
    if (field->tag == TAG_DATA && relay->type == NODE_FRAME_RELAY_DATA) {
        relay->data = field->value;
        return NODE_OK;
    }
    if (field->tag >= TAG_NAME_FIRST && field->tag < TAG_NAME_FIRST + NODE_RELAY_NAMES &&
        relay->type == NODE_FRAME_RELAY_OPEN) {
        return take_name(relay, field) ? NODE_OK : NODE_MALFORMED;
    }
    return node_field_unknown(field);
}

enum node_err node_relay_decode(struct node_relay *relay, uint8_t type, struct bytes body)
{
    struct node_relay r = {.type = type};
    struct cursor c = node_cursor(body);
    bool headed = false;
    while (cursor_left(&c) > 0) {
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return NODE_MALFORMED;
        }
        const enum node_err err = take(&r, &field, &headed);
        if (err != NODE_OK) {
            return err;
        }
    }
    if (type == NODE_FRAME_RELAY_OPEN && (r.id & NODE_RELAY_OF_FAR) != 0) {
        return NODE_MALFORMED;
    }
    const bool has_data = r.data.len > 0 && r.data.len <= NODE_RELAY_DATA_MAX;
    if (!headed || (type == NODE_FRAME_RELAY_DATA && !has_data)) {
        return NODE_MALFORMED;
    }
    *relay = r;
    return NODE_OK;
}
