/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mqtt.h"

#include <assert.h>

#include "proto/decode.h"
#include "proto/frame.h"

static decode_fn *const decoders[MQTT_TYPES] = {
    [MQTT_CONNECT] = decode_connect,   [MQTT_CONNACK] = decode_connack,
    [MQTT_PUBLISH] = decode_publish,   [MQTT_PUBACK] = decode_ack,
    [MQTT_PUBREC] = decode_ack,        [MQTT_PUBREL] = decode_ack,
    [MQTT_PUBCOMP] = decode_ack,       [MQTT_SUBSCRIBE] = decode_subscribe,
    [MQTT_SUBACK] = decode_suback,     [MQTT_UNSUBSCRIBE] = decode_subscribe,
    [MQTT_UNSUBACK] = decode_unsuback, [MQTT_PINGREQ] = decode_ping,
    [MQTT_PINGRESP] = decode_ping,     [MQTT_DISCONNECT] = decode_disconnect,
    [MQTT_AUTH] = decode_auth,
};

/* What a caller may ask of a packet that was refused: its type, and a CONNECT's level. */
static void packet_begin(struct mqtt_packet *packet, uint8_t first_byte)
{
    packet->type = first_byte >> 4;
    if (packet->type == MQTT_CONNECT) {
        packet->connect.version = MQTT_VERSION_UNKNOWN;
    }
}

enum mqtt_err mqtt_decode(struct mqtt_packet *packet, const uint8_t *in, size_t in_len,
                          const struct mqtt_params *params, size_t *used)
{
    assert(in != NULL || in_len == 0);
    assert(params->version == MQTT_VERSION_UNKNOWN || params->version >= MQTT_V31);
    assert(params->version <= MQTT_V5);

    struct frame frame;
    size_t size;
    enum mqtt_err err = frame_decode(&frame, in, in_len, params, &size);
    if (err == MQTT_ERR_NEED_MORE) {
        assert(size > in_len);
        *used = size;
        return err;
    }
    packet_begin(packet, in[0]);
    if (err != MQTT_OK) {
        return err;
    }
    err = decoders[frame.type](packet, &frame);
    assert(err != MQTT_ERR_NEED_MORE);
    if (err == MQTT_OK) {
        assert(cursor_left(&frame.body) == 0);
        assert(frame.size <= in_len);
        *used = frame.size;
    }
    return err;
}

enum mqtt_reason mqtt_err_reason(enum mqtt_err err)
{
    switch (err) {
    case MQTT_ERR_MALFORMED:
        return MQTT_REASON_MALFORMED_PACKET;
    case MQTT_ERR_PACKET_TOO_LARGE:
        return MQTT_REASON_PACKET_TOO_LARGE;
    case MQTT_ERR_VERSION:
        return MQTT_REASON_UNSUPPORTED_PROTOCOL_VERSION;
    case MQTT_ERR_CLIENT_ID:
        return MQTT_REASON_CLIENT_IDENTIFIER_NOT_VALID;
    case MQTT_ERR_TOPIC_NAME:
        return MQTT_REASON_TOPIC_NAME_INVALID;
    case MQTT_ERR_TOPIC_ALIAS:
        return MQTT_REASON_TOPIC_ALIAS_INVALID;
    default:
        assert(err == MQTT_ERR_PROTOCOL || err == MQTT_ERR_NOT_A_SERVERS);
        return MQTT_REASON_PROTOCOL_ERROR;
    }
}

const char *mqtt_type_name(enum mqtt_type type)
{
    static const char *const names[MQTT_TYPES] = {
        [0] = "?",
#define PACKET(name, flags, client, server) [MQTT_##name] = #name,
#include "proto/tbl/packet.h"
    };
    return type < MQTT_TYPES ? names[type] : names[0];
}
