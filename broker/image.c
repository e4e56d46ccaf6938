/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/image.h"

#include <string.h>

#include "broker/message.h"

void image_begin(struct image *image, const struct message *message)
{
    image->message = message;
    image->len = 0;
}

void image_end(struct image *image)
{
    image->message = NULL;
}

static bool encode(struct image *image, enum mqtt_version version, uint8_t qos, bool retain)
{
    const struct message *m = image->message;
    const struct mqtt_packet packet = {
        .type = MQTT_PUBLISH,
        .publish = {
            .qos = qos,
            .retain = retain,
            .packet_id = qos > 0 ? 1 : 0, /* in whose place the right one is written */
            .topic = message_topic(m),
            .payload = message_payload(m),
            .properties.raw = version == MQTT_V5 ? message_properties(m) : bytes_of(NULL, 0),
        }};
    size_t used;
    if (mqtt_encode(&packet, version, image->bytes, IMAGE_BYTES_MAX, &used) != MQTT_OK) {
        return false;
    }
    const size_t length_bytes = image->bytes[1] < 0x80 ? 1 : 2; /* of at most IMAGE_BYTES_MAX */
    image->packet_id_at = (uint16_t)(1 + length_bytes + 2 + m->topic_len);
    image->len = (uint16_t)used;
    image->version = version;
    image->qos = qos;
    image->retain = retain;
    return true;
}

bool image_is_of(struct image *image, const struct message *message, enum mqtt_version version,
                 uint8_t qos, bool retain)
{
    if (image->message != message) {
        return false;
    }
    return (image->len > 0 && image->version == version && image->qos == qos &&
            image->retain == retain) ||
           encode(image, version, qos, retain);
}

void image_write(const struct image *image, uint16_t packet_id, uint8_t *out)
{
    memcpy(out, image->bytes, image->len);
    if (image->qos > 0) {
        out[image->packet_id_at] = (uint8_t)(packet_id >> 8);
        out[image->packet_id_at + 1] = (uint8_t)packet_id;
    }
}
