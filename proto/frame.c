/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <assert.h>

#include "proto/carrier.h"
#include "proto/varint.h"

#define DUP        0x08u
#define FRAME_MIN  2u /* no packet is shorter */
#define FIRST_BITS 4  /* the type stands above the four bits of the flags */

static const struct {
    uint8_t flags;
    uint8_t client_since; /* an enum mqtt_version; above all of them: never */
    uint8_t server_since;
} rules[MQTT_TYPES] = {
    [0] = {0, UINT8_MAX, UINT8_MAX},
#define PACKET(name, flags, client, server) [MQTT_##name] = {flags, client, server},
#include "proto/tbl/packet.h"
};

/* DUP QoS QoS RETAIN; no QoS 3 [MQTT-3.3.1-4], no DUP at QoS 0 [MQTT-3.3.1-2]. */
static bool publish_flags_valid(uint8_t flags)
{
    const unsigned qos = flags >> 1 & 3u;
    return qos != 3 && (qos != 0 || (flags & DUP) == 0);
}

static bool flags_valid(unsigned type, uint8_t flags, enum mqtt_version version)
{
    if (type == MQTT_PUBLISH) {
        return publish_flags_valid(flags);
    }
    if (version == MQTT_V31 && rules[type].flags != 0) {
        flags &= (uint8_t)~DUP; /* 3.1 sends PUBREL, SUBSCRIBE, UNSUBSCRIBE again with DUP set */
    }
    return flags == rules[type].flags;
}

static enum mqtt_err first_byte_check(uint8_t byte, const struct mqtt_params *params)
{
    const unsigned type = byte >> FIRST_BITS;
    assert(type < MQTT_TYPES);

    const bool unknown = params->version == MQTT_VERSION_UNKNOWN;
    if (unknown && type != MQTT_CONNECT) {
        return MQTT_ERR_PROTOCOL; /* [MQTT-3.1.0-1] */
    }
    const unsigned version = unknown ? MQTT_V31 : params->version;
    if (version < rules[type].client_since && version < rules[type].server_since) {
        return MQTT_ERR_MALFORMED; /* no one's in this version: a reserved type */
    }
    if (version < (params->from_server ? rules[type].server_since : rules[type].client_since)) {
        return MQTT_ERR_NOT_A_SERVERS;
    }
    return flags_valid(type, byte & 0x0f, params->version) ? MQTT_OK : MQTT_ERR_MALFORMED;
}

static size_t size_max(const struct mqtt_params *params)
{
    return params->packet_bytes_max == 0 ? MQTT_PACKET_BYTES_MAX : params->packet_bytes_max;
}

enum mqtt_err frame_decode(struct frame *frame, const uint8_t *in, size_t in_len,
                           const struct mqtt_params *params, size_t *used)
{
    if (in_len == 0) {
        *used = FRAME_MIN;
        return MQTT_ERR_NEED_MORE;
    }
    enum mqtt_err err = first_byte_check(in[0], params);
    if (err != MQTT_OK) {
        return err;
    }
    const uint8_t *at = in + 1;
    uint32_t remaining;
    err = varint_decode(&at, in + in_len, &remaining);
    if (err != MQTT_OK) {
        if (err == MQTT_ERR_NEED_MORE) {
            *used = in_len + 1;
        }
        return err;
    }
    const size_t head = (size_t)(at - in);
    const bool shortest = head - 1 == varint_size(remaining);
    if (params->version == MQTT_V5 && !shortest) {
        return MQTT_ERR_MALFORMED; /* [MQTT-1.5.5-1] */
    }
    const size_t size = head + remaining;
    if (size > size_max(params)) {
        return MQTT_ERR_PACKET_TOO_LARGE;
    }
    *used = size;
    if (in_len < size) {
        return MQTT_ERR_NEED_MORE;
    }
    *frame = (struct frame){
        .type = in[0] >> FIRST_BITS,
        .flags = in[0] & 0x0f,
        .shortest = shortest,
        .from_server = params->from_server,
        .version = params->version,
        .carrier = carrier_of(in[0] >> FIRST_BITS, params->from_server),
        .body = {at, in + size},
        .size = size,
    };
    return MQTT_OK;
}

uint8_t frame_first_byte(enum mqtt_type type)
{
    assert(type > 0);
    assert(type < MQTT_TYPES);

    return (uint8_t)(type << FIRST_BITS | rules[type].flags);
}
