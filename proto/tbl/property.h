/* SPDX-License-Identifier: Apache-2.0 */
/* Every property of MQTT 5.0, once (2.2.2.2). Included with PROPERTY() defined as
 *     PROPERTY(name, id, text, wire, field, least, most, repeats, packets)
 * wire:    its type: BYTE, U16, U32, VARINT, STRING, BINARY, PAIR
 * field:   of struct mqtt_properties; a PAIR has none, and names `raw` to fill the place
 * least, most: of a number; what is outside is a Protocol Error (but see Topic Alias, 3.3.4)
 * repeats: the packets in which it may come more than once, else a Protocol Error
 * packets: those that may carry it, of proto/carrier.h; _S: the server's alone, _C: the client's */
/* clang-format off */
#define ANY16 0, UINT16_MAX
#define ANY32 0, UINT32_MAX
#define NONE  0, 0
PROPERTY(PAYLOAD_FORMAT_INDICATOR,          0x01, "Payload Format Indicator",          BYTE,   payload_format_indicator,          0, 1,          0,            IN_PUBLISH | IN_WILL)
PROPERTY(MESSAGE_EXPIRY_INTERVAL,           0x02, "Message Expiry Interval",           U32,    message_expiry_interval_s,         ANY32,         0,            IN_PUBLISH | IN_WILL)
PROPERTY(CONTENT_TYPE,                      0x03, "Content Type",                      STRING, content_type,                      NONE,          0,            IN_PUBLISH | IN_WILL)
PROPERTY(RESPONSE_TOPIC,                    0x08, "Response Topic",                    STRING, response_topic,                    NONE,          0,            IN_PUBLISH | IN_WILL)
PROPERTY(CORRELATION_DATA,                  0x09, "Correlation Data",                  BINARY, correlation_data,                  NONE,          0,            IN_PUBLISH | IN_WILL)
PROPERTY(SUBSCRIPTION_IDENTIFIER,           0x0b, "Subscription Identifier",           VARINT, subscription_identifier,           1, VARINT_MAX, IN_PUBLISH_S, IN_PUBLISH_S | IN_SUBSCRIBE)
PROPERTY(SESSION_EXPIRY_INTERVAL,           0x11, "Session Expiry Interval",           U32,    session_expiry_interval_s,         ANY32,         0,            IN_CONNECT | IN_CONNACK | IN_DISCONNECT_C)
PROPERTY(ASSIGNED_CLIENT_IDENTIFIER,        0x12, "Assigned Client Identifier",        STRING, assigned_client_identifier,        NONE,          0,            IN_CONNACK)
PROPERTY(SERVER_KEEP_ALIVE,                 0x13, "Server Keep Alive",                 U16,    server_keep_alive_s,               ANY16,         0,            IN_CONNACK)
PROPERTY(AUTHENTICATION_METHOD,             0x15, "Authentication Method",             STRING, authentication_method,             NONE,          0,            IN_CONNECT | IN_CONNACK | IN_AUTH)
PROPERTY(AUTHENTICATION_DATA,               0x16, "Authentication Data",               BINARY, authentication_data,               NONE,          0,            IN_CONNECT | IN_CONNACK | IN_AUTH)
PROPERTY(REQUEST_PROBLEM_INFORMATION,       0x17, "Request Problem Information",       BYTE,   request_problem_information,       0, 1,          0,            IN_CONNECT)
PROPERTY(WILL_DELAY_INTERVAL,               0x18, "Will Delay Interval",               U32,    will_delay_interval_s,             ANY32,         0,            IN_WILL)
PROPERTY(REQUEST_RESPONSE_INFORMATION,      0x19, "Request Response Information",      BYTE,   request_response_information,      0, 1,          0,            IN_CONNECT)
PROPERTY(RESPONSE_INFORMATION,              0x1a, "Response Information",              STRING, response_information,              NONE,          0,            IN_CONNACK)
PROPERTY(SERVER_REFERENCE,                  0x1c, "Server Reference",                  STRING, server_reference,                  NONE,          0,            IN_CONNACK | IN_DISCONNECT_S)
PROPERTY(REASON_STRING,                     0x1f, "Reason String",                     STRING, reason_string,                     NONE,          0,            IN_CONNACK | IN_ACKS | IN_SUBACK | IN_UNSUBACK | IN_DISCONNECT | IN_AUTH)
PROPERTY(RECEIVE_MAXIMUM,                   0x21, "Receive Maximum",                   U16,    receive_maximum,                   1, UINT16_MAX, 0,            IN_CONNECT | IN_CONNACK)
PROPERTY(TOPIC_ALIAS_MAXIMUM,               0x22, "Topic Alias Maximum",               U16,    topic_alias_maximum,               ANY16,         0,            IN_CONNECT | IN_CONNACK)
PROPERTY(TOPIC_ALIAS,                       0x23, "Topic Alias",                       U16,    topic_alias,                       1, UINT16_MAX, 0,            IN_PUBLISH)
PROPERTY(MAXIMUM_QOS,                       0x24, "Maximum QoS",                       BYTE,   maximum_qos,                       0, 1,          0,            IN_CONNACK)
PROPERTY(RETAIN_AVAILABLE,                  0x25, "Retain Available",                  BYTE,   retain_available,                  0, 1,          0,            IN_CONNACK)
PROPERTY(USER_PROPERTY,                     0x26, "User Property",                     PAIR,   raw,                               NONE,          UINT32_MAX,   IN_CONNECT | IN_CONNACK | IN_PUBLISH | IN_WILL | IN_ACKS | IN_SUBSCRIBE | IN_SUBACK | IN_UNSUBSCRIBE | IN_UNSUBACK | IN_DISCONNECT | IN_AUTH)
PROPERTY(MAXIMUM_PACKET_SIZE,               0x27, "Maximum Packet Size",               U32,    maximum_packet_size,               1, UINT32_MAX, 0,            IN_CONNECT | IN_CONNACK)
PROPERTY(WILDCARD_SUBSCRIPTION_AVAILABLE,   0x28, "Wildcard Subscription Available",   BYTE,   wildcard_subscription_available,   0, 1,          0,            IN_CONNACK)
PROPERTY(SUBSCRIPTION_IDENTIFIER_AVAILABLE, 0x29, "Subscription Identifier Available", BYTE,   subscription_identifier_available, 0, 1,          0,            IN_CONNACK)
PROPERTY(SHARED_SUBSCRIPTION_AVAILABLE,     0x2a, "Shared Subscription Available",     BYTE,   shared_subscription_available,     0, 1,          0,            IN_CONNACK)
#undef ANY16
#undef ANY32
#undef NONE
#undef PROPERTY
/* clang-format on */
