/* SPDX-License-Identifier: Apache-2.0 */
/* The packets without a packet identifier: PINGREQ, PINGRESP, DISCONNECT, AUTH (3.12 to 3.15). */
#include "proto/decode.h"

enum mqtt_err decode_ping(struct mqtt_packet *packet, struct frame *frame)
{
    (void)packet; /* there is nothing in it */
    return decode_end(frame);
}

/* Code and properties; either may be left out at the end (3.14.2.1, 3.15.2.1). */
static enum mqtt_err reason_take(struct mqtt_disconnect *disconnect, struct frame *frame)
{
    disconnect->reason = MQTT_REASON_SUCCESS;
    property_decode_none(&disconnect->properties);

    if (cursor_left(&frame->body) > 0 && !cursor_u8(&frame->body, &disconnect->reason)) {
        return MQTT_ERR_MALFORMED;
    }
    if (!mqtt_reason_allowed(disconnect->reason, frame->type, frame->from_server)) {
        return MQTT_ERR_PROTOCOL; /* [MQTT-3.14.2-1, 3.15.2-1] */
    }
    if (cursor_left(&frame->body) == 0) {
        return MQTT_OK;
    }
    const enum mqtt_err err = decode_properties(&disconnect->properties, frame);
    return err == MQTT_OK ? decode_end(frame) : err;
}

enum mqtt_err decode_disconnect(struct mqtt_packet *packet, struct frame *frame)
{
    if (frame->version < MQTT_V5) {
        packet->disconnect.reason = MQTT_REASON_SUCCESS;
        property_decode_none(&packet->disconnect.properties);
        return decode_end(frame);
    }
    return reason_take(&packet->disconnect, frame);
}

enum mqtt_err decode_auth(struct mqtt_packet *packet, struct frame *frame)
{
    /* The standard allows the empty AUTH in one place (3.15.2.1) and demands a method in another
     * (3.15.2.2.2). It can only say Success, so only a server's gets here; a client may take it. */
    const bool empty = cursor_left(&frame->body) == 0;
    const enum mqtt_err err = reason_take(&packet->auth, frame);
    if (err != MQTT_OK || empty) {
        return err;
    }
    return property_has(&packet->auth.properties, PROPERTY_AUTHENTICATION_METHOD)
               ? MQTT_OK
               : MQTT_ERR_PROTOCOL;
}
