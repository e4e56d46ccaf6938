/* Every reason code of MQTT 5.0, once (2.4). Included with REASON() defined.
 *     name                 value  text                         packets; _S: the server alone, _C: the client */
/* clang-format off */
REASON(SUCCESS,             0x00, "Success",                    IN_CONNACK | IN_ACKS | IN_SUBACK | IN_UNSUBACK | IN_DISCONNECT | IN_AUTH_S)
REASON(GRANTED_QOS_1,       0x01, "Granted QoS 1",              IN_SUBACK)
/* … */
#undef REASON
/* clang-format on */
