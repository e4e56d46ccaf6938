/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/packet_head.h"

#include "proto/mqtt.h"
#include "proto/varint.h"

#define FLAGS_AND_KEEP_ALIVE 3u

/* Where a string that begins there ends, or the end of the packet. */
static size_t after_string(struct bytes packet, size_t at)
{
    if (packet.len < 2 || at > packet.len - 2) {
        return packet.len;
    }
    const size_t len = (size_t)packet.at[at] << 8 | packet.at[at + 1];
    return len < packet.len - at - 2 ? at + 2 + len : packet.len;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t connect_head(struct bytes packet, size_t at)
{
    const size_t level_at = after_string(packet, at);
    if (level_at == packet.len) {
        return packet.len;
    }
    const size_t fixed = least(level_at + 1 + FLAGS_AND_KEEP_ALIVE, packet.len);
    return packet.at[level_at] >= MQTT_V5 ? fixed : after_string(packet, fixed);
}

size_t packet_head(struct bytes packet)
{
    const uint8_t *at = packet.at;
    uint32_t remaining;
    if (packet.len < 2) {
        return packet.len;
    }
    at++;
    if (varint_decode(&at, packet.at + packet.len, &remaining) != MQTT_OK) {
        return 1;
    }
    const size_t fixed = (size_t)(at - packet.at);
    switch (packet.at[0] >> 4) {
    case MQTT_CONNECT:
        return connect_head(packet, fixed);
    case MQTT_PUBLISH:
        return least(after_string(packet, fixed) + ((packet.at[0] & 0x06) != 0 ? 2 : 0),
                     packet.len);
    case MQTT_CONNACK:
        return least(fixed + 2, packet.len);
    case MQTT_AUTH:
        return least(fixed + 1, packet.len);
    default:
        return packet.len;
    }
}
