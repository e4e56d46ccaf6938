/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode: the parts of mqtt_encode(), one function for each shape of packet.
 *
 * Each puts variable header and payload into the sink, in that version; the same bytes each time
 * that it is called with the same packet. Not a public header.
 */
#pragma once

#include "proto/mqtt.h"
#include "proto/sink.h"

typedef void encode_fn(struct sink *s, const struct mqtt_packet *packet, enum mqtt_version version);

encode_fn encode_connect;
encode_fn encode_connack;
encode_fn encode_ack;       /* PUBACK, PUBREC, PUBREL, PUBCOMP */
encode_fn encode_subscribe; /* UNSUBSCRIBE too */
encode_fn encode_suback;
encode_fn encode_unsuback;
encode_fn encode_ping; /* PINGREQ, PINGRESP */
encode_fn encode_disconnect;
encode_fn encode_auth;
