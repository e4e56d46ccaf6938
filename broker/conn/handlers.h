/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers: what is done about each packet; a file for each exchange.
 *
 * (connection, packet) in; answers into the connection's output, changes into its session. A reason
 * from 0x80 up closes the connection with it; conn/input.c is the only place that does so.
 */
#pragma once

#include "broker/relay/relay.h"
#include "proto/mqtt.h"

struct conn;

typedef enum mqtt_reason packet_fn(struct conn *c, const struct mqtt_packet *packet);

packet_fn on_connect;                                            /* on_connect.c */
packet_fn on_publish;                                            /* on_publish.c */
packet_fn on_subscribe, on_unsubscribe;                          /* on_subscribe.c */
packet_fn on_puback, on_pubrec, on_pubrel, on_pubcomp;           /* on_ack.c */
packet_fn on_pingreq, on_disconnect, on_second_connect, on_auth; /* on_control.c */

/* Answers a CONNECT with a failure, in the form of that version, and closes. */
void connect_refuse(struct conn *c, enum mqtt_version version, uint8_t reason);

/* Before anything else: where the listener takes client identifiers from certificates, gives
 * CONNECT the one that it left out. */
void connect_complete(struct conn *c, struct mqtt_connect *connect);

/* The Maximum Packet Size of a CONNECT. */
uint32_t connect_packet_bytes_max(const struct mqtt_connect *connect);

/* The shard that the CONNECT's session lives on, this one if it does not matter; or, if it is to
 * last and has its home on another node, the shard with the lane to that. */
struct relay_place connect_place(const struct conn *c, const struct mqtt_connect *m);
