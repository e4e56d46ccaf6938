/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property: the properties of MQTT 5.0 (2.2.2); one table (proto/tbl/property.h) drives decoding,
 * encoding and every check.
 *
 * Owner: the caller. Memory: none. Decoded strings point into the packet.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

enum property_id {
    PROPERTY_PAYLOAD_FORMAT_INDICATOR = 0x01,
    PROPERTY_MESSAGE_EXPIRY_INTERVAL = 0x02,
    PROPERTY_CONTENT_TYPE = 0x03,
    PROPERTY_RESPONSE_TOPIC = 0x08,
    PROPERTY_CORRELATION_DATA = 0x09,
    PROPERTY_SUBSCRIPTION_IDENTIFIER = 0x0b,
    PROPERTY_SESSION_EXPIRY_INTERVAL = 0x11,
    PROPERTY_ASSIGNED_CLIENT_IDENTIFIER = 0x12,
    PROPERTY_SERVER_KEEP_ALIVE = 0x13,
    PROPERTY_AUTHENTICATION_METHOD = 0x15,
    PROPERTY_AUTHENTICATION_DATA = 0x16,
    PROPERTY_REQUEST_PROBLEM_INFORMATION = 0x17,
    PROPERTY_WILL_DELAY_INTERVAL = 0x18,
    PROPERTY_REQUEST_RESPONSE_INFORMATION = 0x19,
    PROPERTY_RESPONSE_INFORMATION = 0x1a,
    PROPERTY_SERVER_REFERENCE = 0x1c,
    PROPERTY_REASON_STRING = 0x1f,
    PROPERTY_RECEIVE_MAXIMUM = 0x21,
    PROPERTY_TOPIC_ALIAS_MAXIMUM = 0x22,
    PROPERTY_TOPIC_ALIAS = 0x23,
    PROPERTY_MAXIMUM_QOS = 0x24,
    PROPERTY_RETAIN_AVAILABLE = 0x25,
    PROPERTY_USER_PROPERTY = 0x26,
    PROPERTY_MAXIMUM_PACKET_SIZE = 0x27,
    PROPERTY_WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28,
    PROPERTY_SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29,
    PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE = 0x2a,
    PROPERTY_IDS, /* one more than the largest */
};

/*
 * The decoded properties of one packet. Only `present` and `raw` are set always: any other field
 * holds a value if and only if property_has() says so (the decoder does not touch it otherwise).
 */
struct mqtt_properties {
    uint64_t present; /* bit 1 << id for each property that came */
    struct bytes raw; /* all of them as on the wire, without the length; checked */

    uint8_t payload_format_indicator;
    uint8_t request_problem_information;
    uint8_t request_response_information;
    uint8_t maximum_qos;
    uint8_t retain_available;
    uint8_t wildcard_subscription_available;
    uint8_t subscription_identifier_available;
    uint8_t shared_subscription_available;
    uint16_t server_keep_alive_s;
    uint16_t receive_maximum;
    uint16_t topic_alias_maximum;
    uint16_t topic_alias;
    uint32_t message_expiry_interval_s;
    uint32_t session_expiry_interval_s;
    uint32_t will_delay_interval_s;
    uint32_t maximum_packet_size;
    uint32_t subscription_identifier; /* the last one; a PUBLISH may have several, walk `raw` */
    struct bytes content_type;
    struct bytes response_topic;
    struct bytes correlation_data;
    struct bytes assigned_client_identifier;
    struct bytes authentication_method;
    struct bytes authentication_data;
    struct bytes response_information;
    struct bytes server_reference;
    struct bytes reason_string;
};

static inline bool property_has(const struct mqtt_properties *p, enum property_id id)
{
    return (p->present >> id & 1) != 0;
}

/* One property as it stands on the wire, for walking `raw`. */
struct property {
    enum property_id id;
    struct bytes whole;  /* identifier and value, to be copied as it is */
    uint32_t number;     /* of the integer types */
    struct bytes string; /* of strings and binary data; the name of a pair */
    struct bytes value;  /* of a pair */
};

/* Takes the next property off *rest (at first: `raw`, which was checked); false at the end. */
bool property_next(struct bytes *rest, struct property *property);

/*
 * Composes properties for mqtt_encode(). Owner: the caller, of the buffer too. A put that does not
 * fit writes nothing and sets `overflow`; it stays set, so that one look at the end suffices.
 */
struct property_writer {
    uint8_t *at;
    size_t size;
    size_t len; /* written so far */
    bool overflow;
};

void property_put_number(struct property_writer *w, enum property_id id, uint32_t value);
void property_put_string(struct property_writer *w, enum property_id id, struct bytes value);
void property_put_pair(struct property_writer *w, struct bytes name, struct bytes value);
void property_put_whole(struct property_writer *w, struct bytes whole); /* see struct property */

const char *property_name(enum property_id id); /* "Payload Format Indicator"; "?" if unknown */
