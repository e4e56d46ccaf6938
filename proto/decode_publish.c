/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH and the four packets that acknowledge it (3.3 to 3.7). */
#include "proto/decode.h"

#include "proto/topic.h"

/* An empty topic stands for a topic alias, in 5.0 (3.3.2.3.4). */
static enum mqtt_err topic_check(const struct mqtt_publish *publish, enum mqtt_version version)
{
    if (publish->topic.len > 0) {
        return topic_name_valid(publish->topic) ? MQTT_OK : MQTT_ERR_TOPIC_NAME;
    }
    if (version < MQTT_V5) {
        return MQTT_ERR_MALFORMED;
    }
    return property_has(&publish->properties, PROPERTY_TOPIC_ALIAS) ? MQTT_OK : MQTT_ERR_PROTOCOL;
}

enum mqtt_err decode_publish(struct mqtt_packet *packet, struct frame *frame)
{
    struct mqtt_publish *publish = &packet->publish;
    publish->dup = (frame->flags & 8u) != 0;
    publish->qos = frame->flags >> 1 & 3u;
    publish->retain = (frame->flags & 1u) != 0;
    publish->packet_id = 0;

    if (!cursor_string(&frame->body, &publish->topic)) {
        return MQTT_ERR_MALFORMED;
    }
    enum mqtt_err err = MQTT_OK;
    if (publish->qos > 0) {
        err = decode_packet_id(&frame->body, &publish->packet_id);
    }
    if (err == MQTT_OK) {
        err = decode_properties(&publish->properties, frame);
    }
    if (err == MQTT_OK) {
        err = topic_check(publish, frame->version);
    }
    publish->payload = cursor_rest(&frame->body);
    return err;
}

/* Code and properties of an acknowledgement in 5.0; it may end before either (3.4.2.1). */
static enum mqtt_err ack_reason_take(struct mqtt_ack *ack, struct frame *frame)
{
    if (cursor_left(&frame->body) == 0) {
        return MQTT_OK;
    }
    if (!cursor_u8(&frame->body, &ack->reason)) {
        return MQTT_ERR_MALFORMED;
    }
    if (!mqtt_reason_allowed(ack->reason, frame->type, frame->from_server)) {
        return MQTT_ERR_PROTOCOL; /* [MQTT-3.4.2-1, 3.5.2-1, 3.6.2-1, 3.7.2-1] */
    }
    if (cursor_left(&frame->body) == 0) {
        return MQTT_OK;
    }
    return decode_properties(&ack->properties, frame);
}

enum mqtt_err decode_ack(struct mqtt_packet *packet, struct frame *frame)
{
    struct mqtt_ack *ack = &packet->ack;
    ack->reason = MQTT_REASON_SUCCESS;
    property_decode_none(&ack->properties);

    enum mqtt_err err = decode_packet_id(&frame->body, &ack->packet_id);
    if (err == MQTT_OK && frame->version == MQTT_V5) {
        err = ack_reason_take(ack, frame);
    }
    return err == MQTT_OK ? decode_end(frame) : err;
}
