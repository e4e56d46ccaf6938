/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT and its answer, CONNACK (3.1, 3.2). */
#include "proto/encode.h"

static uint8_t connect_flags(const struct mqtt_connect *connect)
{
    unsigned flags = connect->clean_start ? 0x02u : 0;
    if (connect->has_will) {
        assert(connect->will.qos <= 2);
        flags |= 0x04u | (unsigned)connect->will.qos << 3 | (connect->will.retain ? 0x20u : 0);
    }
    flags |= connect->has_password ? 0x40u : 0;
    flags |= connect->has_user_name ? 0x80u : 0;
    return (uint8_t)flags;
}

static void will_put(struct sink *s, const struct mqtt_will *will, enum mqtt_version version)
{
    if (version == MQTT_V5) {
        sink_properties(s, &will->properties);
    }
    sink_string(s, will->topic);
    sink_string(s, will->payload);
}

void encode_connect(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    const struct mqtt_connect *connect = &packet->connect;
    sink_string(s, bytes_text(version == MQTT_V31 ? "MQIsdp" : "MQTT"));
    sink_u8(s, (uint8_t)version);
    sink_u8(s, connect_flags(connect));
    sink_u16(s, connect->keep_alive_s);
    if (version == MQTT_V5) {
        sink_properties(s, &connect->properties);
    }
    sink_string(s, connect->client_id);
    if (connect->has_will) {
        will_put(s, &connect->will, version);
    }
    if (connect->has_user_name) {
        sink_string(s, connect->user_name);
    }
    if (connect->has_password) {
        sink_string(s, connect->password);
    }
}

void encode_connack(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version)
{
    const struct mqtt_connack *connack = &packet->connack;
    /* 3.1 has no Session Present, but a reserved byte. */
    sink_u8(s, version != MQTT_V31 && connack->session_present);
    sink_u8(s, connack->reason);
    if (version == MQTT_V5) {
        sink_properties(s, &connack->properties);
    }
}
