/* SPDX-License-Identifier: Apache-2.0 */
/* Every control packet, once (2.1.2, 2.1.3). Included with PACKET() defined as
 *     PACKET(name, flags, client, server)
 * flags: of the fixed header; those of PUBLISH vary
 * client, server: the first version in which that side may send it; NEVER */
/* clang-format off */
#define NEVER UINT8_MAX
PACKET(CONNECT,     0, MQTT_V31, NEVER)
PACKET(CONNACK,     0, NEVER,    MQTT_V31)
PACKET(PUBLISH,     0, MQTT_V31, MQTT_V31)
PACKET(PUBACK,      0, MQTT_V31, MQTT_V31)
PACKET(PUBREC,      0, MQTT_V31, MQTT_V31)
PACKET(PUBREL,      2, MQTT_V31, MQTT_V31)
PACKET(PUBCOMP,     0, MQTT_V31, MQTT_V31)
PACKET(SUBSCRIBE,   2, MQTT_V31, NEVER)
PACKET(SUBACK,      0, NEVER,    MQTT_V31)
PACKET(UNSUBSCRIBE, 2, MQTT_V31, NEVER)
PACKET(UNSUBACK,    0, NEVER,    MQTT_V31)
PACKET(PINGREQ,     0, MQTT_V31, NEVER)
PACKET(PINGRESP,    0, NEVER,    MQTT_V31)
PACKET(DISCONNECT,  0, MQTT_V31, MQTT_V5)
PACKET(AUTH,        0, MQTT_V5,  MQTT_V5)
#undef NEVER
#undef PACKET
/* clang-format on */
