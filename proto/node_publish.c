/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_publish.h"

#include <assert.h>

#include "proto/carrier.h"
#include "proto/decode.h"
#include "proto/node_field.h"
#include "proto/topic.h"

#define QOS_BITS   0x03u
#define RETAIN_BIT 0x04u
#define STORED_BIT 0x08u

/* Given once and for all, as the types of frames are. */
enum tag {
    TAG_HEAD = 1, /* u64 op, publisher, published_ms, expiry_ms; u8 QoS and RETAIN */
    TAG_TOPIC = 2,
    TAG_PROPERTIES = 3,
    TAG_PAYLOAD = 4,
    TAG_GROUP = 5,      /* may come more than once */
    TAG_STAMP = 6,      /* u64 */
    TAG_GENERATION = 7, /* u64 */
};

enum result_tag {
    RESULT_TAG_LIST = 1, /* u64 op, u8 reason; again and again */
};

#define HEAD_BYTES (4 * sizeof(uint64_t) + 1)

size_t node_publish_encode(uint8_t *out, const struct node_publish *publish)
{
    assert(publish->qos <= 2);
    assert(publish->topic.len > 0);
    assert(publish->topic.len <= UINT16_MAX);

    struct sink s = node_sink(out);
    node_put_head(&s, TAG_HEAD, HEAD_BYTES);
    node_put_u64(&s, publish->op);
    node_put_u64(&s, publish->publisher);
    node_put_u64(&s, publish->published_ms);
    node_put_u64(&s, publish->expiry_ms);
    sink_u8(&s, (uint8_t)(publish->qos | (publish->retain ? RETAIN_BIT : 0) |
                          (publish->stored_only ? STORED_BIT : 0)));
    node_put_field(&s, TAG_TOPIC, publish->topic);
    if (publish->properties.len > 0) {
        node_put_field(&s, TAG_PROPERTIES, publish->properties);
    }
    sink_bytes(&s, publish->groups);
    if (publish->stamp > 0) {
        node_put_field_u64(&s, TAG_STAMP, publish->stamp);
        node_put_field_u64(&s, TAG_GENERATION, publish->generation);
    }
    if (publish->payload.len > 0) {
        node_put_field(&s, TAG_PAYLOAD, publish->payload);
    }
    return s.len;
}

static enum node_err head_take(struct node_publish *publish, struct bytes value)
{
    struct cursor c = node_cursor(value);
    uint8_t flags;
    if (!node_u64(&c, &publish->op) || !node_u64(&c, &publish->publisher) ||
        !node_u64(&c, &publish->published_ms) || !node_u64(&c, &publish->expiry_ms) ||
        !cursor_u8(&c, &flags)) {
        return NODE_MALFORMED;
    }
    publish->qos = flags & QOS_BITS;
    publish->retain = (flags & RETAIN_BIT) != 0;
    publish->stored_only = (flags & STORED_BIT) != 0;
    return publish->qos <= 2 ? NODE_OK : NODE_MALFORMED;
}

/* They are as in a client's PUBLISH, with their length before them, but for what is the hop's own.
 */
static enum node_err properties_take(struct node_publish *publish, const struct node_field *field)
{
    struct mqtt_properties properties;
    const uint8_t *const length = field->value.at - varint_size((uint32_t)field->value.len);
    struct cursor c = {length, field->value.at + field->value.len};
    if (property_decode(&properties, &c, CARRIER_CLIENT(MQTT_PUBLISH)) != MQTT_OK) {
        return NODE_MALFORMED;
    }
    if (property_has(&properties, PROPERTY_TOPIC_ALIAS) ||
        property_has(&properties, PROPERTY_MESSAGE_EXPIRY_INTERVAL)) {
        return NODE_MALFORMED;
    }
    publish->properties = properties.raw;
    return NODE_OK;
}

static bool is_group(struct bytes text)
{
    struct bytes name, filter;
    return utf8_valid(text) && topic_share_parse(text, &name, &filter);
}

/* The groups stand together, so that they are one run of bytes. */
static enum node_err group_take(struct node_publish *publish, const struct node_field *field,
                                const uint8_t *begin)
{
    const uint8_t *const end = field->value.at + field->value.len;
    struct bytes *const groups = &publish->groups;
    if (!is_group(field->value) || (groups->len > 0 && groups->at + groups->len != begin)) {
        return NODE_MALFORMED;
    }
    if (groups->len == 0) {
        groups->at = begin;
    }
    groups->len = (size_t)(end - groups->at);
    return NODE_OK;
}

static enum node_err field_take(struct node_publish *publish, const struct node_field *field,
                                const uint8_t *begin)
{
    switch (field->tag) {
    case TAG_HEAD:
        return head_take(publish, field->value);
    case TAG_TOPIC:
        publish->topic = field->value;
        return utf8_valid(field->value) && topic_name_valid(field->value) ? NODE_OK
                                                                          : NODE_MALFORMED;
    case TAG_PROPERTIES:
        return properties_take(publish, field);
    case TAG_PAYLOAD:
        publish->payload = field->value;
        return NODE_OK;
    case TAG_GROUP:
        return group_take(publish, field, begin);
    case TAG_STAMP:
        return node_value_u64(field->value, &publish->stamp) ? NODE_OK : NODE_MALFORMED;
    case TAG_GENERATION:
        return node_value_u64(field->value, &publish->generation) ? NODE_OK : NODE_MALFORMED;
    default:
        return node_field_unknown(field);
    }
}

enum node_err node_publish_decode(struct node_publish *publish, struct bytes body)
{
    struct node_publish p = {.qos = UINT8_MAX};
    struct cursor c = node_cursor(body);
    while (cursor_left(&c) > 0) {
        const uint8_t *const begin = c.at;
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return NODE_MALFORMED;
        }
        const enum node_err err = field_take(&p, &field, begin);
        if (err != NODE_OK) {
            return err;
        }
    }
    if (p.qos > 2 || p.topic.len == 0) {
        return NODE_MALFORMED; /* one of the two fields that must be there is not */
    }
    *publish = p;
    return NODE_OK;
}

size_t node_group_encode(uint8_t *out, struct bytes group)
{
    struct sink s = node_sink(out);
    node_put_field(&s, TAG_GROUP, group);
    return s.len;
}

bool node_group_next(struct bytes *rest, struct bytes *group)
{
    struct cursor c = node_cursor(*rest);
    struct node_field field;
    if (cursor_left(&c) == 0 || !node_field_take(&c, &field)) {
        return false;
    }
    *group = field.value;
    *rest = cursor_rest(&c);
    return true;
}

/* ---- RESULT */

size_t node_results_encode(uint8_t *out, const struct node_result *results, size_t count)
{
    struct sink s = node_sink(out);
    node_put_head(&s, RESULT_TAG_LIST, count * NODE_RESULT_BYTES);
    for (size_t i = 0; i < count; i++) {
        node_put_u64(&s, results[i].op);
        sink_u8(&s, results[i].reason);
    }
    return s.len;
}

enum node_err node_results_decode(struct bytes *list, struct bytes body)
{
    struct bytes found;
    const enum node_err err = node_field_only(&found, body, RESULT_TAG_LIST);
    if (err != NODE_OK) {
        return err;
    }
    if (found.len == 0 || found.len % NODE_RESULT_BYTES != 0) {
        return NODE_MALFORMED;
    }
    *list = found;
    return NODE_OK;
}

bool node_result_next(struct bytes *list, struct node_result *result)
{
    if (list->len == 0) {
        return false;
    }
    assert(list->len >= NODE_RESULT_BYTES); /* the decoder checked it */
    result->op = get_u64(list->at);
    result->reason = list->at[sizeof result->op];
    *list = bytes_of(list->at + NODE_RESULT_BYTES, list->len - NODE_RESULT_BYTES);
    return true;
}
