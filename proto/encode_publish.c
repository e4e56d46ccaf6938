/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH (3.3): the packet that one message becomes for each of its subscribers. */
#include "proto/encode.h"

#include "proto/frame.h"

/* Variable header and payload. May be over VARINT_MAX: a message that came in by a topic alias
 * goes out with its topic. */
static size_t remaining_length(const struct mqtt_publish *publish, enum mqtt_version version)
{
    size_t len = 2 + publish->topic.len + (publish->qos > 0 ? 2 : 0) + publish->payload.len;
    if (version == MQTT_V5) {
        assert(publish->properties.raw.len <= VARINT_MAX);
        len += varint_size((uint32_t)publish->properties.raw.len) + publish->properties.raw.len;
    }
    return len;
}

static size_t packet_size(size_t remaining)
{
    return 1 + (remaining > VARINT_MAX ? VARINT_BYTES_MAX : varint_size((uint32_t)remaining)) +
           remaining;
}

static uint8_t first_byte(const struct mqtt_publish *publish)
{
    assert(publish->qos <= 2);
    assert(publish->qos > 0 || !publish->dup); /* [MQTT-3.3.1-2] */

    return (uint8_t)(frame_first_byte(MQTT_PUBLISH) | (publish->dup ? 8u : 0) |
                     (unsigned)publish->qos << 1 | (publish->retain ? 1u : 0));
}

enum mqtt_err mqtt_publish_head_encode(const struct mqtt_publish *publish,
                                       enum mqtt_version version,
                                       uint8_t *out, /* NOLINT(readability-non-const-parameter) */
                                       size_t out_size, size_t *used)
{
    const size_t remaining = remaining_length(publish, version);
    const size_t head = packet_size(remaining) - publish->payload.len;
    if (remaining > VARINT_MAX || head > out_size) {
        return MQTT_ERR_NO_SPACE;
    }
    struct sink s = {.at = out};
    sink_u8(&s, first_byte(publish));
    sink_varint(&s, remaining);
    sink_string(&s, publish->topic);
    if (publish->qos > 0) {
        assert(publish->packet_id != 0); /* [MQTT-2.2.1-4] */
        sink_u16(&s, publish->packet_id);
    }
    if (version == MQTT_V5) {
        sink_properties(&s, &publish->properties);
    }
    assert(s.len == head);
    assert(s.len <= mqtt_publish_head_bound(publish));
    *used = s.len;
    return MQTT_OK;
}

size_t mqtt_publish_head_bound(const struct mqtt_publish *publish)
{
    return 1 + VARINT_BYTES_MAX + 2 + publish->topic.len + 2 + VARINT_BYTES_MAX +
           publish->properties.raw.len;
}

size_t mqtt_publish_size(const struct mqtt_publish *publish, enum mqtt_version version)
{
    return packet_size(remaining_length(publish, version));
}
