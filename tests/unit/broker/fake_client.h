/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_client: an MQTT client of a fake_node: packets written with proto's encoder, read with its
 * decoder, and kept in the order of their arrival until the test asks for them.
 *
 * Owner: the fake_node, until it is destroyed; a client can still be asked after its connection
 * ended. Functions that return an answer settle the node first; those that only send do not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mqtt.h"
#include "tests/unit/broker/fake_node.h"

/* A packet from the broker, as far as tests ask for it. */
struct got {
    enum mqtt_type type;
    uint16_t packet_id;
    uint8_t reason; /* of an acknowledgement, a CONNACK, a DISCONNECT; the first one of a SUBACK */
    uint8_t reasons[8];
    uint32_t reason_count; /* of a SUBACK or UNSUBACK */
    bool session_present;
    bool dup, retain;
    uint8_t qos;
    char topic[128];
    char payload[32]; /* its beginning */
    size_t payload_len;
    uint16_t topic_alias;    /* 0: none */
    uint32_t identifiers[8]; /* subscription identifiers */
    unsigned identifier_count;
    uint64_t present; /* as in struct mqtt_properties */
    uint32_t message_expiry_interval_s;
    uint32_t session_expiry_interval_s;
    uint32_t maximum_packet_size;
    uint16_t receive_maximum, topic_alias_maximum, server_keep_alive_s;
    char assigned_id[64];
    char response_information[64];
    char authentication_data[192]; /* of AUTH */
};

struct fake_client {
    struct fake_client *next;
    struct fake_node *n;
    int fd;
    enum mqtt_version version;
    uint16_t next_packet_id;
    bool acks;   /* acknowledges whatever arrives, as soon as it is read */
    bool broken; /* what came was no packet */
    uint8_t *in; /* read, not decoded yet */
    size_t in_len, in_capacity;
    struct got *got; /* [got_first, got_count) are still to be asked for */
    size_t got_first, got_count, got_capacity;
    struct got connack; /* of client_connect(); type 0: none came */
};

/* What a CONNECT says; zero is: 5.0, Clean Start 0, no keep alive, no properties. */
struct terms {
    enum mqtt_version version;
    bool clean_start;
    uint16_t keep_alive_s;
    uint32_t session_expiry_s, maximum_packet_size; /* 0: absent */
    uint16_t receive_maximum, topic_alias_maximum;  /* 0: absent */
    bool request_response_information;
    bool no_problem_information;
    bool silent;            /* the client does not acknowledge by itself */
    const char *will_topic; /* NULL: no will */
    const char *will_payload;
    uint8_t will_qos;
    bool will_retain;
    uint32_t will_delay_s, will_expiry_s; /* 0: absent */
};
#define TERMS(...) (&(const struct terms){__VA_ARGS__})

struct fake_client *client_open(struct fake_node *n, unsigned shard); /* no CONNECT yet */

/* Opened on that shard, CONNECT sent, and its answer in `connack`; acks is set. */
struct fake_client *client_connect(struct fake_node *n, unsigned shard, const char *id,
                                   const struct terms *terms);
void client_send_connect(struct fake_client *c, const char *id, const struct terms *terms);

void client_send(struct fake_client *c, const struct mqtt_packet *packet);
void client_send_bytes(struct fake_client *c, const void *bytes, size_t len);
void client_send_ack(struct fake_client *c, enum mqtt_type type, uint16_t packet_id,
                     uint8_t reason);
void client_send_disconnect(struct fake_client *c, uint8_t reason);

/* What a PUBLISH says; a packet id of 0 is the next one. */
struct say {
    const char *topic, *payload;
    uint8_t qos;
    bool retain, dup;
    uint16_t packet_id;
    uint16_t alias;     /* 0: absent */
    size_t payload_len; /* 0: the text's; else filled up with '.' */
    bool has_expiry;
    uint32_t expiry_s;
};
#define SAY(...) (&(const struct say){__VA_ARGS__})
uint16_t client_send_publish(struct fake_client *c, const struct say *say); /* the packet id */
uint16_t client_say(struct fake_client *c, const char *topic, const char *payload, uint8_t qos);

/* What a SUBSCRIBE asks for. */
struct ask {
    const char *filter;
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling;
    uint32_t identifier; /* 0: absent */
};
#define ASK(...) (&(const struct ask){__VA_ARGS__})
uint16_t client_send_subscribe(struct fake_client *c, const struct ask *ask);
uint16_t client_send_unsubscribe(struct fake_client *c, const char *filter);
uint8_t client_subscribe_as(struct fake_client *c, const struct ask *ask); /* the SUBACK's reason */
uint8_t client_subscribe(struct fake_client *c, const char *filter, uint8_t qos);
uint8_t client_unsubscribe(struct fake_client *c, const char *filter);

/* Takes the next packet; NULL: none. Good until the next call for this client. */
const struct got *client_next(struct fake_client *c);

/* Takes the next packet of that type from among the others; NULL: there is none. */
const struct got *client_take(struct fake_client *c, enum mqtt_type type);

/* Takes every PUBLISH: "topic=payload/1rd other=…" with QoS, retain and DUP. Good until the next
 * call. */
const char *client_heard(struct fake_client *c);
unsigned client_heard_count(struct fake_client *c); /* takes them too */

void client_finish(struct fake_client *c); /* end of stream, without a DISCONNECT */
void client_reset(struct fake_client *c);
void client_set_window(struct fake_client *c, size_t bytes); /* how much it lets lie unread */
void client_read(struct fake_client *c);     /* takes in what has come; those above do so */
bool client_is_ended(struct fake_client *c); /* by the broker */
