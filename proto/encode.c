/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/encode.h"

#include "proto/frame.h"

/* PUBLISH is not here: its payload may be elsewhere, see encode_publish.c. */
static encode_fn *const encoders[MQTT_TYPES] = {
    [MQTT_CONNECT] = encode_connect,
    [MQTT_CONNACK] = encode_connack,
    [MQTT_PUBACK] = encode_ack,
    [MQTT_PUBREC] = encode_ack,
    [MQTT_PUBREL] = encode_ack,
    [MQTT_PUBCOMP] = encode_ack,
    [MQTT_SUBSCRIBE] = encode_subscribe,
    [MQTT_SUBACK] = encode_suback,
    [MQTT_UNSUBSCRIBE] = encode_subscribe,
    [MQTT_UNSUBACK] = encode_unsuback,
    [MQTT_PINGREQ] = encode_ping,
    [MQTT_PINGRESP] = encode_ping,
    [MQTT_DISCONNECT] = encode_disconnect,
    [MQTT_AUTH] = encode_auth,
};

static enum mqtt_err publish_encode(const struct mqtt_publish *publish, enum mqtt_version version,
                                    uint8_t *out, size_t out_size, size_t *used)
{
    if (mqtt_publish_size(publish, version) > out_size) {
        return MQTT_ERR_NO_SPACE;
    }
    struct sink s = {.at = out};
    const enum mqtt_err err = mqtt_publish_head_encode(publish, version, out, out_size, &s.len);
    if (err != MQTT_OK) {
        return err;
    }
    sink_bytes(&s, publish->payload);
    *used = s.len;
    return MQTT_OK;
}

enum mqtt_err mqtt_encode(const struct mqtt_packet *packet, enum mqtt_version version, uint8_t *out,
                          size_t out_size, size_t *used)
{
    assert(packet->type > 0);
    assert(packet->type < MQTT_TYPES);
    assert(version >= MQTT_V31);
    assert(version <= MQTT_V5);

    if (packet->type == MQTT_PUBLISH) {
        return publish_encode(&packet->publish, version, out, out_size, used);
    }
    struct sink count = {.at = NULL};
    encoders[packet->type](&count, packet, version);
    if (count.len > VARINT_MAX) {
        return MQTT_ERR_NO_SPACE;
    }
    const size_t size = 1 + varint_size((uint32_t)count.len) + count.len;
    if (size > out_size) {
        return MQTT_ERR_NO_SPACE;
    }
    struct sink s = {.at = out};
    sink_u8(&s, frame_first_byte(packet->type));
    sink_varint(&s, count.len);
    encoders[packet->type](&s, packet, version);
    assert(s.len == size);
    *used = size;
    return MQTT_OK;
}

/* A part that 5.0 may leave off at the end, where it would say nothing (3.4.2.1, 3.14.2.1):
 * first the properties, then the code. */
static void reason_put(struct sink *s, uint8_t reason, const struct mqtt_properties *properties)
{
    if (reason == MQTT_REASON_SUCCESS && properties->raw.len == 0) {
        return;
    }
    sink_u8(s, reason);
    if (properties->raw.len > 0) {
        sink_properties(s, properties);
    }
}

void encode_ack(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    assert(packet->ack.packet_id != 0);

    sink_u16(s, packet->ack.packet_id);
    if (version == MQTT_V5) {
        reason_put(s, packet->ack.reason, &packet->ack.properties);
    }
}

void encode_subscribe(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    assert(packet->subscribe.packet_id != 0);

    sink_u16(s, packet->subscribe.packet_id);
    if (version == MQTT_V5) {
        sink_properties(s, &packet->subscribe.properties);
    }
    sink_bytes(s, packet->subscribe.filters);
}

void encode_suback(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    assert(packet->suback.packet_id != 0);

    sink_u16(s, packet->suback.packet_id);
    if (version == MQTT_V5) {
        sink_properties(s, &packet->suback.properties);
    }
    sink_bytes(s, packet->suback.reasons);
}

void encode_unsuback(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    if (version == MQTT_V5) {
        encode_suback(s, packet, version);
        return;
    }
    assert(packet->suback.packet_id != 0);

    sink_u16(s, packet->suback.packet_id);
}

void encode_ping(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    (void)s; /* there is nothing in it */
    (void)packet;
    (void)version;
}

void encode_disconnect(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    if (version == MQTT_V5) {
        reason_put(s, packet->disconnect.reason, &packet->disconnect.properties);
    }
}

void encode_auth(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    assert(version == MQTT_V5);

    reason_put(s, packet->auth.reason, &packet->auth.properties);
}
