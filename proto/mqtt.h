/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqtt: the control packets of MQTT 3.1, 3.1.1 and 5.0; bytes in, structs out, and back.
 *
 * Owner: the caller, of everything; a decoded packet points into the bytes it was decoded from.
 * Memory: none. At the bound: a packet over mqtt_params.packet_bytes_max is refused by its fixed
 * header alone, before the rest has arrived.
 * Not here: which packet may come when (broker/conn), what a topic matches (proto/topic.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"
#include "proto/property.h"
#include "proto/reason.h"

enum mqtt_version {
    MQTT_VERSION_UNKNOWN = 0, /* before CONNECT */
    MQTT_V31 = 3,
    MQTT_V311 = 4,
    MQTT_V5 = 5,
};

enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_PUBREC,
    MQTT_PUBREL,
    MQTT_PUBCOMP,
    MQTT_SUBSCRIBE,
    MQTT_SUBACK,
    MQTT_UNSUBSCRIBE,
    MQTT_UNSUBACK,
    MQTT_PINGREQ,
    MQTT_PINGRESP,
    MQTT_DISCONNECT,
    MQTT_AUTH,
    MQTT_TYPES, /* one more than the last */
};

enum mqtt_err {
    MQTT_OK = 0,
    MQTT_ERR_NEED_MORE,        /* a fair beginning; the rest has not arrived */
    MQTT_ERR_MALFORMED,        /* 0x81 */
    MQTT_ERR_PROTOCOL,         /* 0x82 */
    MQTT_ERR_PACKET_TOO_LARGE, /* 0x95 */
    MQTT_ERR_VERSION,          /* 0x84: a protocol level that is none of ours */
    MQTT_ERR_CLIENT_ID,        /* 0x85 */
    MQTT_ERR_TOPIC_NAME,       /* 0x90: a wildcard in a topic name, say */
    MQTT_ERR_TOPIC_ALIAS,      /* 0x94: alias 0 */
    MQTT_ERR_NOT_A_SERVERS,    /* 0x82: a packet type that the peer's side never sends */
    MQTT_ERR_NO_SPACE,         /* encoding only: over `out`, or over MQTT_PACKET_BYTES_MAX */
};

/* The reason code that a server answers the error with (4.13). Not for OK, NEED_MORE, NO_SPACE. */
enum mqtt_reason mqtt_err_reason(enum mqtt_err err);

/* What a decoder has to know besides the bytes. */
struct mqtt_params {
    enum mqtt_version version; /* UNKNOWN: only CONNECT is fair, and it tells the version */
    bool from_server;          /* the bytes were sent by a server (tests, tools, bridges) */
    uint32_t packet_bytes_max; /* of a whole packet; 0: MQTT_PACKET_BYTES_MAX */
};

#define MQTT_PACKET_BYTES_MAX 268435460u  /* 1 + 4 + 268435455 (2.1.4) */
#define MQTT_NO_EXPIRY        0xffffffffu /* session expiry interval: never (3.1.2.11.2) */

struct mqtt_will {
    uint8_t qos;
    bool retain;
    struct mqtt_properties properties; /* of the will; empty before 5.0 */
    struct bytes topic;
    struct bytes payload;
};

struct mqtt_connect {
    enum mqtt_version version;
    bool clean_start; /* Clean Session before 5.0 */
    bool has_will;
    bool has_user_name;
    bool has_password;
    uint16_t keep_alive_s;
    struct mqtt_properties properties;
    struct bytes client_id;
    struct mqtt_will will; /* when has_will */
    struct bytes user_name;
    struct bytes password;
};

struct mqtt_connack {
    bool session_present;
    uint8_t reason; /* 5.0: enum mqtt_reason; before: return code 0..5 */
    struct mqtt_properties properties;
};

struct mqtt_publish {
    bool dup;
    uint8_t qos;
    bool retain;
    uint16_t packet_id; /* 0 at QoS 0 */
    struct bytes topic; /* empty in 5.0 where a topic alias stands for it */
    struct mqtt_properties properties;
    struct bytes payload;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
struct mqtt_ack {
    uint16_t packet_id;
    uint8_t reason; /* 0 before 5.0 */
    struct mqtt_properties properties;
};

/* SUBSCRIBE and UNSUBSCRIBE; the filters were checked for form, walk them with mqtt_filter_next().
 */
struct mqtt_subscribe {
    uint16_t packet_id;
    struct mqtt_properties properties;
    struct bytes filters; /* as on the wire */
    uint32_t count;       /* >= 1 */
};

/* SUBACK and UNSUBACK; before 5.0 an UNSUBACK has no codes. */
struct mqtt_suback {
    uint16_t packet_id;
    struct mqtt_properties properties;
    struct bytes reasons; /* one byte each */
};

/* DISCONNECT and AUTH. */
struct mqtt_disconnect {
    uint8_t reason;
    struct mqtt_properties properties;
};

struct mqtt_packet {
    enum mqtt_type type;
    union {
        struct mqtt_connect connect;
        struct mqtt_connack connack;
        struct mqtt_publish publish;
        struct mqtt_ack ack;
        struct mqtt_subscribe subscribe; /* UNSUBSCRIBE too */
        struct mqtt_suback suback;       /* UNSUBACK too */
        struct mqtt_disconnect disconnect;
        struct mqtt_disconnect auth;
    };
};

/*
 * Decodes the packet that in[0..in_len) begins with; it points into `in`. Any bytes are fair input.
 * MQTT_OK: *used is the packet's size. MQTT_ERR_NEED_MORE: *used is the size to call again with (at
 * least; once the fixed header is complete, exactly the packet's size).
 * Any other: the connection is over; mqtt_err_reason() gives the reason code. Of the packet only
 * the type that the first byte named is to be used, and of a CONNECT connect.version: the level as
 * it came (so any number, after MQTT_ERR_VERSION), or MQTT_VERSION_UNKNOWN when it was not reached.
 * A wrong first byte, length, or size is told as soon as it is there, ahead of the packet's end.
 *
 * Checks everything that the bytes alone can tell: flags, lengths, UTF-8, properties (which, how
 * often, their ranges), topic names without wildcards, filters that are not empty, subscription
 * options (No Local on a "$share/…" too), packet id 0, reason codes, nothing left over. A filter's
 * wildcards and the form of $share are the caller's, with proto/topic.h, since SUBACK answers them
 * one by one. Not checked: that a payload said to be UTF-8 is (3.3.2.3.2).
 */
NODISCARD enum mqtt_err mqtt_decode(struct mqtt_packet *packet, const uint8_t *in, size_t in_len,
                                    const struct mqtt_params *params, size_t *used);

/* One filter of a SUBSCRIBE or UNSUBSCRIBE. */
struct mqtt_filter {
    struct bytes filter;
    uint8_t qos; /* the options of a SUBSCRIBE (3.8.3.1); all zero for UNSUBSCRIBE */
    bool no_local;
    bool retain_as_published;
    uint8_t retain_handling; /* 0..2 */
};

/* Takes the next filter off *rest (at first: packet's `filters`); false when there is none left. */
bool mqtt_filter_next(struct bytes *rest, enum mqtt_type type, struct mqtt_filter *filter);

/*
 * Encodes any packet into out[0..out_size). `properties.raw` is written as it stands (compose it
 * with a struct property_writer); before 5.0 properties and reason codes are left out. Fixed-header
 * flags follow from the type. Acks, DISCONNECT and AUTH take their short forms where the reason is
 * 0x00 and there are no properties. *used is the size. Only MQTT_ERR_NO_SPACE, else MQTT_OK.
 * A CONNECT is written in `version`, whatever connect.version says. The codes of CONNACK and SUBACK
 * are written as given: before 5.0 the caller has to turn them into the old ones.
 * The caller guarantees, and asserts see to it: qos <= 2, a packet id where there must be one, no
 * string over 65535 bytes, no DUP at QoS 0, no AUTH before 5.0.
 */
NODISCARD enum mqtt_err mqtt_encode(const struct mqtt_packet *packet, enum mqtt_version version,
                                    uint8_t *out, size_t out_size, size_t *used);

/*
 * The parts of a PUBLISH before its payload, for a sender that keeps the payload elsewhere;
 * publish->payload.len counts into the remaining length, payload.at is not read. At most
 * mqtt_publish_head_bound() bytes.
 */
NODISCARD enum mqtt_err mqtt_publish_head_encode(const struct mqtt_publish *publish,
                                                 enum mqtt_version version, uint8_t *out,
                                                 size_t out_size, size_t *used);

/* 1 + 4 + 2 + topic + 2 + 4 + properties: never less than what mqtt_publish_head_encode() writes.
 */
size_t mqtt_publish_head_bound(const struct mqtt_publish *publish);

/* The whole size that mqtt_encode() would give, for a peer's Maximum Packet Size (3.1.2.11.4). */
size_t mqtt_publish_size(const struct mqtt_publish *publish, enum mqtt_version version);

const char *mqtt_type_name(enum mqtt_type type); /* "CONNECT" … */
