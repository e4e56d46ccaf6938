/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_hello.h"

#include <assert.h>

#include "proto/node_field.h"
#include "proto/utf8.h"

#define MAGIC       "dunlinND"
#define MAGIC_BYTES 8u

/* Given once and for all, as the types of frames are. */
enum tag {
    TAG_FEATURES = 1,
    TAG_CLUSTER = 2,
    TAG_NODE = 3,
    TAG_TO = 4,
    TAG_GENERATION = 5,
    TAG_NAME = 6,
    TAG_BUILD = 7,
    TAG_FRAME_MAX = 8,
    TAG_STREAM = 9,
    TAG_RECEIVED = 10, /* stream, number */
    TAG_CREDIT = 11,
};

size_t node_hello_encode(uint8_t *out, const struct node_hello *hello)
{
    assert(node_name_is_valid(hello->name));
    assert(hello->build.len <= NODE_BUILD_BYTES_MAX);

    struct sink s = node_sink(out);
    sink_bytes(&s, bytes_of(MAGIC, MAGIC_BYTES));
    node_put_u16(&s, hello->protocol_min);
    node_put_u16(&s, hello->protocol_max);
    node_put_field_u64(&s, TAG_FEATURES, hello->features);
    node_put_field(&s, TAG_CLUSTER, bytes_of(hello->cluster.bytes, UUID_BYTES));
    node_put_field(&s, TAG_NODE, bytes_of(hello->node.bytes, UUID_BYTES));
    node_put_field(&s, TAG_TO, bytes_of(hello->to.bytes, UUID_BYTES));
    node_put_field_u64(&s, TAG_GENERATION, hello->generation);
    node_put_field(&s, TAG_NAME, hello->name);
    node_put_field(&s, TAG_BUILD, hello->build);
    node_put_field_u32(&s, TAG_FRAME_MAX, hello->frame_max);
    node_put_field_u64(&s, TAG_STREAM, hello->stream);
    node_put_head(&s, TAG_RECEIVED, 2 * sizeof(uint64_t));
    node_put_u64(&s, hello->received_stream);
    node_put_u64(&s, hello->received_seq);
    node_put_field_u64(&s, TAG_CREDIT, hello->credit);
    assert(s.len <= NODE_HELLO_BYTES_MAX);
    return s.len;
}

static bool uuid_take(struct bytes value, uint8_t out[UUID_BYTES])
{
    struct cursor c = node_cursor(value);
    return node_copy(&c, out, UUID_BYTES);
}

static bool received_take(struct bytes value, struct node_hello *hello)
{
    struct cursor c = node_cursor(value);
    return node_u64(&c, &hello->received_stream) && node_u64(&c, &hello->received_seq);
}

static enum node_err field_take(struct node_hello *hello, const struct node_field *field)
{
    bool fair = true;
    switch (field->tag) {
    case TAG_FEATURES:
        fair = node_value_u64(field->value, &hello->features);
        break;
    case TAG_CLUSTER:
        fair = uuid_take(field->value, hello->cluster.bytes);
        break;
    case TAG_NODE:
        fair = uuid_take(field->value, hello->node.bytes);
        break;
    case TAG_TO:
        fair = uuid_take(field->value, hello->to.bytes);
        break;
    case TAG_GENERATION:
        fair = node_value_u64(field->value, &hello->generation);
        break;
    case TAG_NAME:
        hello->name = field->value;
        break;
    case TAG_BUILD:
        fair = field->value.len <= NODE_BUILD_BYTES_MAX && utf8_valid(field->value);
        hello->build = field->value;
        break;
    case TAG_FRAME_MAX:
        fair = node_value_u32(field->value, &hello->frame_max);
        break;
    case TAG_STREAM:
        fair = node_value_u64(field->value, &hello->stream);
        break;
    case TAG_RECEIVED:
        fair = received_take(field->value, hello);
        break;
    case TAG_CREDIT:
        fair = node_value_u64(field->value, &hello->credit);
        break;
    default:
        return node_field_unknown(field);
    }
    return fair ? NODE_OK : NODE_MALFORMED;
}

/* All that must be there, and is what it must be. */
static bool is_whole(const struct node_hello *hello)
{
    return !cluster_uuid_is_none(hello->cluster) && !node_uuid_is_none(hello->node) &&
           hello->generation > 0 && node_name_is_valid(hello->name) && hello->frame_max > 0 &&
           hello->stream > 0;
}

static bool versions_take(struct cursor *c, struct node_hello *hello)
{
    struct bytes magic;
    return cursor_bytes(c, MAGIC_BYTES, &magic) && memcmp(magic.at, MAGIC, MAGIC_BYTES) == 0 &&
           node_u16(c, &hello->protocol_min) && node_u16(c, &hello->protocol_max) &&
           hello->protocol_min <= hello->protocol_max;
}

enum node_err node_hello_decode(struct node_hello *hello, struct bytes body)
{
    struct node_hello h = {.credit = UINT64_MAX};
    struct cursor c = node_cursor(body);
    if (!versions_take(&c, &h)) {
        return NODE_MALFORMED;
    }
    if (h.protocol_min > NODE_PROTOCOL || h.protocol_max < NODE_PROTOCOL) {
        *hello = h;
        return NODE_OK;
    }
    if (body.len > NODE_HELLO_BYTES_MAX) {
        return NODE_TOO_LARGE;
    }
    while (cursor_left(&c) > 0) {
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return NODE_MALFORMED;
        }
        const enum node_err err = field_take(&h, &field);
        if (err != NODE_OK) {
            return err;
        }
    }
    if (!is_whole(&h)) {
        return NODE_MALFORMED;
    }
    *hello = h;
    return NODE_OK;
}
