/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode: the parts of mqtt_decode(), one function for each shape of packet.
 *
 * Each takes the fields off frame->body, all of it, into the member of *packet that is its own,
 * and answers MQTT_OK or the breach; never MQTT_ERR_NEED_MORE, as the body is there to its end.
 * After an error the member holds nothing of worth. Not a public header.
 */
#pragma once

#include <stdint.h>

#include "proto/cursor.h"
#include "proto/frame.h"
#include "proto/mqtt.h"
#include "proto/nodiscard.h"

typedef enum mqtt_err decode_fn(struct mqtt_packet *packet, struct frame *frame);

NODISCARD decode_fn decode_connect;
NODISCARD decode_fn decode_connack;
NODISCARD decode_fn decode_publish;
NODISCARD decode_fn decode_ack;       /* PUBACK, PUBREC, PUBREL, PUBCOMP */
NODISCARD decode_fn decode_subscribe; /* UNSUBSCRIBE too */
NODISCARD decode_fn decode_suback;
NODISCARD decode_fn decode_unsuback;
NODISCARD decode_fn decode_ping; /* PINGREQ, PINGRESP */
NODISCARD decode_fn decode_disconnect;
NODISCARD decode_fn decode_auth;

/*
 * Takes the length of the properties and the properties off the cursor (2.2.2), and judges them.
 * carrier: the one packet that they stand in, see proto/carrier.h. In property.c.
 */
NODISCARD enum mqtt_err property_decode(struct mqtt_properties *properties, struct cursor *c,
                                        uint32_t carrier);

/* Likewise, of properties that came without their length. */
NODISCARD enum mqtt_err property_decode_raw(struct mqtt_properties *properties, struct bytes raw,
                                            uint32_t carrier);

/* No property at all: what a packet before 5.0 has, and one in its short form. Leaves the values
 * alone; there are some 250 bytes of them, and no one may look (see struct mqtt_properties). */
static inline void property_decode_none(struct mqtt_properties *properties)
{
    properties->present = 0;
    properties->raw = bytes_of(NULL, 0);
}

/* The packet identifier of a packet that must have one: not 0 [MQTT-2.2.1-3]. */
NODISCARD static inline enum mqtt_err decode_packet_id(struct cursor *c, uint16_t *packet_id)
{
    if (!cursor_u16(c, packet_id)) {
        return MQTT_ERR_MALFORMED;
    }
    return *packet_id == 0 ? MQTT_ERR_PROTOCOL : MQTT_OK;
}

/* The properties of a whole packet, where its version has them. */
NODISCARD static inline enum mqtt_err decode_properties(struct mqtt_properties *properties,
                                                        struct frame *frame)
{
    if (frame->version < MQTT_V5) {
        property_decode_none(properties);
        return MQTT_OK;
    }
    return property_decode(properties, &frame->body, frame->carrier);
}

/* To be asked last: nothing may stand behind the last field (2.1.4). */
static inline enum mqtt_err decode_end(const struct frame *frame)
{
    return cursor_left(&frame->body) == 0 ? MQTT_OK : MQTT_ERR_MALFORMED;
}
