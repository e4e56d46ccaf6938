/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier: sets of packets, each with the side that sends it; the tables say with them where a
 * property or a reason code may stand.
 *
 *   bit  0      the will in a client's CONNECT
 *   bits 1..15  a client's packet, by enum mqtt_type
 *   bits 17..31 a server's, by 16 + enum mqtt_type
 *
 * Not a public header: tbl/property.h, tbl/reason.h and those who read them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/mqtt.h"

#define CARRIER_CLIENT(type) (UINT32_C(1) << (type))
#define CARRIER_SERVER(type) (UINT32_C(1) << (16 + (type)))
#define CARRIER_BOTH(type)   (CARRIER_CLIENT(type) | CARRIER_SERVER(type))

#define IN_WILL         CARRIER_CLIENT(0)
#define IN_CONNECT      CARRIER_CLIENT(MQTT_CONNECT)
#define IN_CONNACK      CARRIER_SERVER(MQTT_CONNACK)
#define IN_PUBLISH      CARRIER_BOTH(MQTT_PUBLISH)
#define IN_PUBLISH_S    CARRIER_SERVER(MQTT_PUBLISH)
#define IN_RECEIVED     (CARRIER_BOTH(MQTT_PUBACK) | CARRIER_BOTH(MQTT_PUBREC))
#define IN_RECEIVED_S   (CARRIER_SERVER(MQTT_PUBACK) | CARRIER_SERVER(MQTT_PUBREC))
#define IN_RELEASED     (CARRIER_BOTH(MQTT_PUBREL) | CARRIER_BOTH(MQTT_PUBCOMP))
#define IN_ACKS         (IN_RECEIVED | IN_RELEASED)
#define IN_SUBSCRIBE    CARRIER_CLIENT(MQTT_SUBSCRIBE)
#define IN_SUBACK       CARRIER_SERVER(MQTT_SUBACK)
#define IN_UNSUBSCRIBE  CARRIER_CLIENT(MQTT_UNSUBSCRIBE)
#define IN_UNSUBACK     CARRIER_SERVER(MQTT_UNSUBACK)
#define IN_DISCONNECT   CARRIER_BOTH(MQTT_DISCONNECT)
#define IN_DISCONNECT_C CARRIER_CLIENT(MQTT_DISCONNECT)
#define IN_DISCONNECT_S CARRIER_SERVER(MQTT_DISCONNECT)
#define IN_AUTH         CARRIER_BOTH(MQTT_AUTH)
#define IN_AUTH_C       CARRIER_CLIENT(MQTT_AUTH)
#define IN_AUTH_S       CARRIER_SERVER(MQTT_AUTH)

/* The set of that one packet. type: an enum mqtt_type, or 0 for the will. */
static inline uint32_t carrier_of(unsigned type, bool from_server)
{
    return from_server ? CARRIER_SERVER(type) : CARRIER_CLIENT(type);
}

/* The same packets, sent by the other side. */
static inline uint32_t carrier_reversed(uint32_t carriers)
{
    return carriers << 16 | carriers >> 16;
}
