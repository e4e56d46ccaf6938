/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/packet_json.h"

#include "broker/admin/api/answer.h"
#include "proto/cursor.h"
#include "proto/mqtt.h"
#include "proto/reason.h"

#define FLAG_CLEAN_START 0x02u
#define FLAG_WILL        0x04u
#define OPTION_NO_LOCAL  0x04u
#define OPTION_PUBLISHED 0x08u

/* Where it is read, and what has come of it. */
struct telling {
    json_t *object;
    struct cursor at;
    uint8_t version;
    int failed;
};

static void tell(struct telling *t, const char *name, json_t *value)
{
    t->failed |= json_object_set_new(t->object, name, value);
}

static void tell_number(struct telling *t, const char *name, json_int_t value)
{
    tell(t, name, json_integer(value));
}

static void tell_packet_id(struct telling *t)
{
    uint16_t id;
    if (cursor_u16(&t->at, &id)) {
        tell_number(t, "packet_id", id);
    }
}

/* Before 5.0 a CONNACK has return codes (3.1.1: 3.2.2.3). */
static const char *text_of(const struct telling *t, uint8_t code)
{
    static const char *const return_codes[] = {"Success",
                                               "Unsupported protocol version",
                                               "Client identifier not valid",
                                               "Server unavailable",
                                               "Bad user name or password",
                                               "Not authorized"};
    return t->version == MQTT_V5                                 ? mqtt_reason_text(code)
           : code < sizeof return_codes / sizeof return_codes[0] ? return_codes[code]
                                                                 : "?";
}

static void tell_reason(struct telling *t)
{
    uint8_t code;
    if (cursor_u8(&t->at, &code)) {
        tell_number(t, "reason_code", code);
        tell(t, "reason", json_string(text_of(t, code)));
    }
}

static void pass_properties(struct telling *t)
{
    uint32_t len;
    struct bytes properties;
    if (t->version == MQTT_V5 &&
        (!cursor_varint(&t->at, &len) || !cursor_bytes(&t->at, len, &properties))) {
        (void)cursor_rest(&t->at); /* they are cut off */
    }
}

static void tell_connect(struct telling *t)
{
    struct bytes name;
    uint8_t level, flags;
    uint16_t keep_alive_s;
    if (cursor_binary(&t->at, &name) && cursor_u8(&t->at, &level) && cursor_u8(&t->at, &flags) &&
        cursor_u16(&t->at, &keep_alive_s)) {
        tell_number(t, "protocol_level", level);
        tell(t, "clean_start", json_boolean(flags & FLAG_CLEAN_START));
        tell(t, "has_will", json_boolean(flags & FLAG_WILL));
        tell_number(t, "keep_alive_s", keep_alive_s);
    }
}

static void tell_connack(struct telling *t)
{
    uint8_t flags;
    if (cursor_u8(&t->at, &flags)) {
        tell(t, "session_present", json_boolean(flags & 1));
        tell_reason(t);
    }
}

static void tell_publish(struct telling *t, uint8_t flags)
{
    const unsigned qos = flags >> 1 & 3;
    struct bytes topic;
    tell_number(t, "qos", qos);
    tell(t, "retain", json_boolean(flags & 1));
    tell(t, "dup", json_boolean(flags & 8));
    if (qos > 0 && cursor_binary(&t->at, &topic)) {
        tell_packet_id(t);
    }
}

static json_t *filter_json(const struct telling *t, struct bytes filter, uint8_t options)
{
    return t->version == MQTT_V5
               ? json_pack("{s:o, s:i, s:b, s:b, s:i}", "filter", answer_text(filter), "qos",
                           options & 3, "no_local", (options & OPTION_NO_LOCAL) != 0,
                           "retain_as_published", (options & OPTION_PUBLISHED) != 0,
                           "retain_handling", options >> 4 & 3)
               : json_pack("{s:o, s:i}", "filter", answer_text(filter), "qos", options & 3);
}

static void tell_filters(struct telling *t, bool have_options)
{
    json_t *const filters = json_array();
    struct bytes filter;
    uint8_t options;
    tell_packet_id(t);
    pass_properties(t);
    while (cursor_binary(&t->at, &filter) && (!have_options || cursor_u8(&t->at, &options))) {
        json_t *const one = have_options ? filter_json(t, filter, options)
                                         : json_pack("{s:o}", "filter", answer_text(filter));
        t->failed |= json_array_append_new(filters, one);
    }
    tell(t, "filters", filters);
}

static void tell_codes(struct telling *t)
{
    json_t *const codes = json_array();
    uint8_t code;
    tell_packet_id(t);
    pass_properties(t);
    while (cursor_u8(&t->at, &code)) {
        t->failed |= json_array_append_new(codes, json_integer(code));
    }
    tell(t, "reason_codes", codes);
}

static void tell_rest(struct telling *t, enum mqtt_type type, uint8_t flags)
{
    switch (type) {
    case MQTT_CONNECT:
        tell_connect(t);
        break;
    case MQTT_CONNACK:
        tell_connack(t);
        break;
    case MQTT_PUBLISH:
        tell_publish(t, flags);
        break;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        tell_packet_id(t);
        tell_reason(t);
        break;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        tell_filters(t, type == MQTT_SUBSCRIBE);
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        tell_codes(t);
        break;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        tell_reason(t);
        break;
    default:
        break;
    }
}

int packet_json_add(json_t *object, uint8_t version, struct bytes head)
{
    struct telling t = {
        .object = object, .at = {.at = head.at, .end = head.at + head.len}, .version = version};
    uint8_t first;
    uint32_t remaining;
    if (!cursor_u8(&t.at, &first) || first >> 4 == 0) {
        return 0;
    }
    tell(&t, "packet", json_string(mqtt_type_name((enum mqtt_type)(first >> 4))));
    /* Before 5.0 it may be in a longer form than it has to be. */
    if (varint_decode(&t.at.at, t.at.end, &remaining) == MQTT_OK) {
        tell_rest(&t, (enum mqtt_type)(first >> 4), first & 0xf);
    }
    return t.failed == 0 ? 0 : -1;
}
