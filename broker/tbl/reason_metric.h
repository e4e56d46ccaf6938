/* SPDX-License-Identifier: Apache-2.0 */
/* What a shard counts for each reason code, once. Included with REASON_COUNTER() defined. Reason
 * codes are those of MQTT 5.0, also where an older client was told another number. */
/* clang-format off */
/*             name                 packet           from the server   what */
REASON_COUNTER(connack_sent,        MQTT_CONNACK,    true,             "CONNACK packets sent, by their reason as MQTT 5 has it")
REASON_COUNTER(disconnect_sent,     MQTT_DISCONNECT, true,             "DISCONNECT packets sent (to MQTT 5 clients only), by their reason")
REASON_COUNTER(disconnect_received, MQTT_DISCONNECT, false,            "DISCONNECT packets received, by their reason")
#undef REASON_COUNTER
/* clang-format on */
