/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT and its answer, CONNACK (3.1, 3.2). */
#include "proto/decode.h"

#include <assert.h>

#include "proto/carrier.h"
#include "proto/topic.h"

#define RETURN_CODE_MAX 5u /* 3.1.1: 3.2.2.3 */

/* The connect flags (3.1.2.3), as they stand in the byte. */
#define FLAG_RESERVED    0x01u
#define FLAG_CLEAN_START 0x02u
#define FLAG_WILL        0x04u
#define FLAG_WILL_QOS    0x18u
#define FLAG_WILL_RETAIN 0x20u
#define FLAG_PASSWORD    0x40u
#define FLAG_USER_NAME   0x80u

static const struct {
    const char *name;
    enum mqtt_version version;
} protocols[] = {
    {"MQTT", MQTT_V5},
    {"MQTT", MQTT_V311},
    {"MQIsdp", MQTT_V31},
};

static bool protocol_known(struct bytes name, enum mqtt_version version)
{
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        if (protocols[i].version == version && bytes_equal(name, bytes_text(protocols[i].name))) {
            return true;
        }
    }
    return false;
}

/* Name and level; frame->version is the packet's own from here on. */
static enum mqtt_err protocol_take(struct mqtt_connect *connect, struct frame *frame)
{
    struct bytes name;
    uint8_t level;
    if (!cursor_binary(&frame->body, &name) || !cursor_u8(&frame->body, &level)) {
        return MQTT_ERR_MALFORMED;
    }
    connect->version = level;
    if (!protocol_known(name, level)) {
        return MQTT_ERR_VERSION; /* [MQTT-3.1.2-1, 3.1.2-2] */
    }
    frame->version = level;
    /* The frame could not know yet that it was to be the shortest form [MQTT-1.5.5-1]. */
    return level == MQTT_V5 && !frame->shortest ? MQTT_ERR_MALFORMED : MQTT_OK;
}

static bool flags_valid(uint8_t flags, enum mqtt_version version)
{
    if ((flags & FLAG_RESERVED) != 0) {
        return false; /* [MQTT-3.1.2-3] */
    }
    if ((flags & FLAG_WILL) == 0 && (flags & (FLAG_WILL_QOS | FLAG_WILL_RETAIN)) != 0) {
        return false; /* [MQTT-3.1.2-11, 3.1.2-13] */
    }
    if ((flags & FLAG_WILL_QOS) == FLAG_WILL_QOS) {
        return false; /* [MQTT-3.1.2-12] */
    }
    /* 3.1.1: [MQTT-3.1.2-22]; in 5.0 a password may come alone. */
    return version == MQTT_V5 || (flags & (FLAG_USER_NAME | FLAG_PASSWORD)) != FLAG_PASSWORD;
}

static enum mqtt_err flags_take(struct mqtt_connect *connect, struct frame *frame)
{
    uint8_t flags;
    if (!cursor_u8(&frame->body, &flags) || !flags_valid(flags, frame->version)) {
        return MQTT_ERR_MALFORMED;
    }
    connect->clean_start = (flags & FLAG_CLEAN_START) != 0;
    connect->has_will = (flags & FLAG_WILL) != 0;
    connect->has_user_name = (flags & FLAG_USER_NAME) != 0;
    connect->has_password = (flags & FLAG_PASSWORD) != 0;
    connect->will.qos = flags >> 3 & 3u;
    connect->will.retain = (flags & FLAG_WILL_RETAIN) != 0;
    return MQTT_OK;
}

static enum mqtt_err connect_properties_take(struct mqtt_connect *connect, struct frame *frame)
{
    const enum mqtt_err err = decode_properties(&connect->properties, frame);
    if (err != MQTT_OK) {
        return err;
    }
    if (property_has(&connect->properties, PROPERTY_AUTHENTICATION_DATA) &&
        !property_has(&connect->properties, PROPERTY_AUTHENTICATION_METHOD)) {
        return MQTT_ERR_PROTOCOL; /* 3.1.2.11.10 */
    }
    return MQTT_OK;
}

static enum mqtt_err client_id_take(struct mqtt_connect *connect, struct frame *frame)
{
    if (!cursor_string(&frame->body, &connect->client_id)) {
        return MQTT_ERR_MALFORMED;
    }
    /* 3.1 has no empty one; what 3.1.1 and 5.0 make of it depends on the session. More than its 23
     * characters are accepted of 3.1 too: its clients have long stopped counting. */
    if (connect->client_id.len == 0 && frame->version == MQTT_V31) {
        return MQTT_ERR_CLIENT_ID;
    }
    return MQTT_OK;
}

static enum mqtt_err will_take(struct mqtt_will *will, struct frame *frame)
{
    property_decode_none(&will->properties);
    if (frame->version == MQTT_V5) {
        const enum mqtt_err err = property_decode(&will->properties, &frame->body, IN_WILL);
        if (err != MQTT_OK) {
            return err;
        }
    }
    if (!cursor_string(&frame->body, &will->topic)) {
        return MQTT_ERR_MALFORMED;
    }
    if (!topic_name_valid(will->topic)) {
        return MQTT_ERR_TOPIC_NAME; /* [MQTT-4.7.0-1, 4.7.3-1] */
    }
    return cursor_binary(&frame->body, &will->payload) ? MQTT_OK : MQTT_ERR_MALFORMED;
}

/* 3.1 lets the remaining length win over a flag: the string may be missing, at the very end. */
static bool flag_overruled(const struct frame *frame)
{
    return frame->version == MQTT_V31 && cursor_left(&frame->body) == 0;
}

static enum mqtt_err credentials_take(struct mqtt_connect *connect, struct frame *frame)
{
    if (connect->has_user_name && flag_overruled(frame)) {
        connect->has_user_name = false;
    }
    if (connect->has_user_name && !cursor_string(&frame->body, &connect->user_name)) {
        return MQTT_ERR_MALFORMED;
    }
    if (connect->has_password && flag_overruled(frame)) {
        connect->has_password = false;
    }
    if (connect->has_password && !cursor_binary(&frame->body, &connect->password)) {
        return MQTT_ERR_MALFORMED;
    }
    return MQTT_OK;
}

/* Client id, will, user name, password: in this order [MQTT-3.1.3-1]. */
static enum mqtt_err payload_take(struct mqtt_connect *connect, struct frame *frame)
{
    enum mqtt_err err = client_id_take(connect, frame);
    if (err == MQTT_OK && connect->has_will) {
        err = will_take(&connect->will, frame);
    }
    if (err == MQTT_OK) {
        err = credentials_take(connect, frame);
    }
    return err;
}

enum mqtt_err decode_connect(struct mqtt_packet *packet, struct frame *frame)
{
    struct mqtt_connect *connect = &packet->connect;
    connect->client_id = bytes_of(NULL, 0);
    connect->user_name = bytes_of(NULL, 0);
    connect->password = bytes_of(NULL, 0);
    connect->will.topic = bytes_of(NULL, 0);
    connect->will.payload = bytes_of(NULL, 0);
    property_decode_none(&connect->will.properties);

    enum mqtt_err err = protocol_take(connect, frame);
    if (err == MQTT_OK) {
        err = flags_take(connect, frame);
    }
    if (err == MQTT_OK && !cursor_u16(&frame->body, &connect->keep_alive_s)) {
        err = MQTT_ERR_MALFORMED;
    }
    if (err == MQTT_OK) {
        err = connect_properties_take(connect, frame);
    }
    if (err == MQTT_OK) {
        err = payload_take(connect, frame);
    }
    return err == MQTT_OK ? decode_end(frame) : err;
}

static bool connack_reason_allowed(uint8_t reason, enum mqtt_version version)
{
    return version == MQTT_V5 ? mqtt_reason_allowed(reason, MQTT_CONNACK, true)
                              : reason <= RETURN_CODE_MAX;
}

enum mqtt_err decode_connack(struct mqtt_packet *packet, struct frame *frame)
{
    struct mqtt_connack *connack = &packet->connack;
    uint8_t flags;
    if (!cursor_u8(&frame->body, &flags) || !cursor_u8(&frame->body, &connack->reason)) {
        return MQTT_ERR_MALFORMED;
    }
    if (frame->version == MQTT_V31) {
        flags = 0; /* a reserved byte of any value, before there was a Session Present */
    }
    if (flags > 1) {
        return MQTT_ERR_MALFORMED;
    }
    connack->session_present = flags == 1;
    if (!connack_reason_allowed(connack->reason, frame->version)) {
        return MQTT_ERR_PROTOCOL;
    }
    if (connack->session_present && connack->reason != 0) {
        return MQTT_ERR_PROTOCOL; /* [MQTT-3.2.2-6] */
    }
    const enum mqtt_err err = decode_properties(&connack->properties, frame);
    return err == MQTT_OK ? decode_end(frame) : err;
}
