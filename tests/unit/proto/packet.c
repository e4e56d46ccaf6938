/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/packet.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/proto/oracle.h"
#include "tests/unit/proto/wire.h"

/* ---- Comparing */

static bool connect_equal(const struct mqtt_connect *a, const struct mqtt_connect *b)
{
    const bool flags = a->clean_start == b->clean_start && a->has_will == b->has_will &&
                       a->has_user_name == b->has_user_name && a->has_password == b->has_password;
    const bool will =
        !a->has_will || (a->will.qos == b->will.qos && a->will.retain == b->will.retain &&
                         bytes_equal(a->will.properties.raw, b->will.properties.raw) &&
                         bytes_equal(a->will.topic, b->will.topic) &&
                         bytes_equal(a->will.payload, b->will.payload));
    return flags && will && a->version == b->version && a->keep_alive_s == b->keep_alive_s &&
           bytes_equal(a->properties.raw, b->properties.raw) &&
           bytes_equal(a->client_id, b->client_id) &&
           (!a->has_user_name || bytes_equal(a->user_name, b->user_name)) &&
           (!a->has_password || bytes_equal(a->password, b->password));
}

static bool connack_equal(const struct mqtt_connack *a, const struct mqtt_connack *b)
{
    return a->session_present == b->session_present && a->reason == b->reason &&
           bytes_equal(a->properties.raw, b->properties.raw);
}

static bool publish_equal(const struct mqtt_publish *a, const struct mqtt_publish *b)
{
    return a->dup == b->dup && a->qos == b->qos && a->retain == b->retain &&
           a->packet_id == b->packet_id && bytes_equal(a->topic, b->topic) &&
           bytes_equal(a->properties.raw, b->properties.raw) && bytes_equal(a->payload, b->payload);
}

static bool ack_equal(const struct mqtt_ack *a, const struct mqtt_ack *b)
{
    return a->packet_id == b->packet_id && a->reason == b->reason &&
           bytes_equal(a->properties.raw, b->properties.raw);
}

static bool subscribe_equal(const struct mqtt_subscribe *a, const struct mqtt_subscribe *b)
{
    return a->packet_id == b->packet_id && a->count == b->count &&
           bytes_equal(a->properties.raw, b->properties.raw) && bytes_equal(a->filters, b->filters);
}

static bool suback_equal(const struct mqtt_suback *a, const struct mqtt_suback *b)
{
    return a->packet_id == b->packet_id && bytes_equal(a->properties.raw, b->properties.raw) &&
           bytes_equal(a->reasons, b->reasons);
}

static bool disconnect_equal(const struct mqtt_disconnect *a, const struct mqtt_disconnect *b)
{
    return a->reason == b->reason && bytes_equal(a->properties.raw, b->properties.raw);
}

bool packet_equal(const struct mqtt_packet *a, const struct mqtt_packet *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case MQTT_CONNECT:
        return connect_equal(&a->connect, &b->connect);
    case MQTT_CONNACK:
        return connack_equal(&a->connack, &b->connack);
    case MQTT_PUBLISH:
        return publish_equal(&a->publish, &b->publish);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return ack_equal(&a->ack, &b->ack);
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        return subscribe_equal(&a->subscribe, &b->subscribe);
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        return suback_equal(&a->suback, &b->suback);
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        return disconnect_equal(&a->disconnect, &b->disconnect);
    default:
        return true; /* PINGREQ, PINGRESP */
    }
}

/* ---- At random */

void packet_source_init(struct packet_source *source, const char *test)
{
    const char *given = getenv("PACKET_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    fprintf(stderr, "%s: PACKET_SEED=%llu\n", test, (unsigned long long)seed);
    source->state = (seed + 1) * 0x9e3779b97f4a7c15u | 1;
    source->used = 0;
}

uint32_t packet_random(struct packet_source *source, uint32_t below)
{
    source->state ^= source->state << 13;
    source->state ^= source->state >> 7;
    source->state ^= source->state << 17;
    return (uint32_t)(source->state >> 32) % below;
}

static bool coin(struct packet_source *source)
{
    return packet_random(source, 2) == 0;
}

static uint8_t *arena_take(struct packet_source *source, size_t len)
{
    assert(len <= PACKET_ARENA_BYTES - source->used);
    uint8_t *at = source->arena + source->used;
    source->used += len;
    return at;
}

static struct bytes random_binary(struct packet_source *source)
{
    const uint32_t len = coin(source) ? packet_random(source, 8) : packet_random(source, 300);
    uint8_t *at = arena_take(source, len);
    for (uint32_t i = 0; i < len; i++) {
        at[i] = (uint8_t)packet_random(source, 256);
    }
    return bytes_of(at, len);
}

/* Of 1..most pieces. */
static struct bytes random_text(struct packet_source *source, const char *const pieces[],
                                uint32_t kinds, uint32_t most)
{
    uint8_t *at = arena_take(source, 0);
    for (uint32_t left = 1 + packet_random(source, most); left > 0; left--) {
        const struct bytes piece = bytes_text(pieces[packet_random(source, kinds)]);
        memcpy(arena_take(source, piece.len), piece.at, piece.len);
    }
    return bytes_of(at, (size_t)(source->arena + source->used - at));
}

static struct bytes random_topic(struct packet_source *source)
{
    static const char *const pieces[] = {"a", "/", "bc", "é", "$", "sensor", "\xf0\x9f\x90\xa6"};
    return random_text(source, pieces, 7, 20);
}

static struct bytes random_filter(struct packet_source *source)
{
    static const char *const pieces[] = {"a", "/", "+", "$share/g/", "#", "b"};
    return random_text(source, pieces, 6, 10);
}

static struct bytes random_string(struct packet_source *source)
{
    return coin(source) ? bytes_of(NULL, 0) : random_topic(source);
}

static uint16_t random_packet_id(struct packet_source *source)
{
    return (uint16_t)(1 + packet_random(source, 65535));
}

static const struct oracle_place *place_of(const char *name, unsigned type, bool from_server)
{
    for (size_t i = 0; i < oracle_places_count; i++) {
        const struct oracle_place *place = &oracle_places[i];
        if (name != NULL ? strcmp(place->name, name) == 0
                         : place->type == type && place->from_server == from_server) {
            return place;
        }
    }
    return NULL; /* PINGREQ, PINGRESP */
}

static void property_put(struct packet_source *source, struct property_writer *w, uint8_t id)
{
    switch (id) {
    case PROPERTY_USER_PROPERTY:
        for (uint32_t n = packet_random(source, 3); n > 0; n--) {
            property_put_pair(w, random_string(source), random_string(source));
        }
        break;
    case PROPERTY_RESPONSE_TOPIC:
        property_put_string(w, id, random_topic(source));
        break;
    case PROPERTY_CORRELATION_DATA:
    case PROPERTY_AUTHENTICATION_DATA:
        property_put_string(w, id, random_binary(source));
        break;
    default: {
        uint8_t wire[64];
        property_put_whole(w, bytes_of(wire, wire_parse(wire, oracle_property(id))));
    }
    }
}

/* A choice of those that may stand there, the method with its data. */
static struct mqtt_properties random_properties(struct packet_source *source,
                                                const struct oracle_place *place,
                                                enum mqtt_version version)
{
    struct mqtt_properties properties = {.present = 0};
    const bool must = place->type == MQTT_AUTH; /* have a method */
    if (version != MQTT_V5 || (coin(source) && !must)) {
        return properties;
    }
    struct property_writer w = {.at = malloc(8192), .size = 8192};
    const bool method = must || coin(source);
    for (const uint8_t *id = place->ids; *id != 0; id++) {
        const bool of_method =
            *id == PROPERTY_AUTHENTICATION_METHOD || *id == PROPERTY_AUTHENTICATION_DATA;
        if (of_method ? method : coin(source)) {
            property_put(source, &w, *id);
        }
    }
    assert(!w.overflow);
    uint8_t *at = arena_take(source, w.len);
    memcpy(at, w.at, w.len);
    free(w.at);
    properties.raw = bytes_of(at, w.len);
    return properties;
}

static uint8_t random_reason(struct packet_source *source, unsigned type, bool from_server)
{
    uint8_t reason;
    do {
        reason = coin(source) ? 0 : (uint8_t)packet_random(source, 256);
    } while (!oracle_reason_allowed(reason, type, from_server));
    return reason;
}

static void connect_fill(struct packet_source *source, enum mqtt_version version,
                         struct mqtt_connect *connect)
{
    connect->version = version;
    connect->clean_start = coin(source);
    connect->keep_alive_s = (uint16_t)packet_random(source, 65536);
    connect->client_id = random_topic(source);
    connect->has_will = coin(source);
    if (connect->has_will) {
        connect->will.qos = (uint8_t)packet_random(source, 3);
        connect->will.retain = coin(source);
        connect->will.properties = random_properties(source, place_of("will", 0, CLIENT), version);
        connect->will.topic = random_topic(source);
        connect->will.payload = random_binary(source);
    }
    connect->has_user_name = coin(source);
    connect->user_name = random_string(source);
    connect->has_password = coin(source) && (connect->has_user_name || version == MQTT_V5);
    connect->password = random_binary(source);
}

static void connack_fill(struct packet_source *source, enum mqtt_version version,
                         struct mqtt_connack *connack)
{
    connack->reason = version == MQTT_V5 ? random_reason(source, MQTT_CONNACK, SERVER)
                                         : (uint8_t)packet_random(source, 6);
    connack->session_present = connack->reason == 0 && version != MQTT_V31 && coin(source);
}

static void publish_fill(struct packet_source *source, struct mqtt_publish *publish)
{
    publish->qos = (uint8_t)packet_random(source, 3);
    publish->dup = publish->qos > 0 && coin(source);
    publish->retain = coin(source);
    publish->packet_id = publish->qos > 0 ? random_packet_id(source) : 0;
    publish->topic = random_topic(source);
    publish->payload = random_binary(source);
}

static void filters_fill(struct packet_source *source, enum mqtt_version version, unsigned type,
                         struct mqtt_subscribe *subscribe)
{
    uint8_t out[2048];
    size_t len = 0;
    subscribe->count = 1 + packet_random(source, 4);
    for (uint32_t i = 0; i < subscribe->count; i++) {
        const struct bytes filter = random_filter(source);
        out[len++] = (uint8_t)(filter.len >> 8);
        out[len++] = (uint8_t)filter.len;
        memcpy(out + len, filter.at, filter.len);
        len += filter.len;
        if (type == MQTT_SUBSCRIBE) {
            const bool plain = filter.at[0] != '$'; /* No Local is not for shared ones */
            const uint32_t more = packet_random(source, 3) << 4 | packet_random(source, 2) << 3 |
                                  (plain ? packet_random(source, 2) << 2 : 0);
            out[len++] = (uint8_t)(packet_random(source, 3) | (version == MQTT_V5 ? more : 0));
        }
    }
    uint8_t *at = arena_take(source, len);
    memcpy(at, out, len);
    subscribe->filters = bytes_of(at, len);
}

static void suback_fill(struct packet_source *source, enum mqtt_version version, unsigned type,
                        struct mqtt_suback *suback)
{
    if (type == MQTT_UNSUBACK && version != MQTT_V5) {
        return;
    }
    const uint32_t count = 1 + packet_random(source, 5);
    uint8_t *at = arena_take(source, count);
    for (uint32_t i = 0; i < count; i++) {
        at[i] = version == MQTT_V5 ? random_reason(source, type, SERVER)
                                   : (uint8_t)packet_random(source, 3);
        if (version == MQTT_V311 && packet_random(source, 4) == 0) {
            at[i] = 0x80; /* failure; 3.1 has no word for it */
        }
    }
    suback->reasons = bytes_of(at, count);
}

static unsigned random_type(struct packet_source *source, enum mqtt_version version,
                            bool from_server)
{
    for (;;) {
        const unsigned type = 1 + packet_random(source, 15);
        const bool ping = type == (from_server ? MQTT_PINGRESP : MQTT_PINGREQ);
        const bool later = type == MQTT_AUTH || (type == MQTT_DISCONNECT && from_server);
        if (ping || (place_of(NULL, type, from_server) != NULL && (version == MQTT_V5 || !later))) {
            return type;
        }
    }
}

void packet_next(struct packet_source *source, enum mqtt_version version, bool from_server,
                 struct mqtt_packet *packet)
{
    source->used = 0;
    memset(packet, 0, sizeof *packet);
    const unsigned type = random_type(source, version, from_server);
    packet->type = type;
    if (type == MQTT_PINGREQ || type == MQTT_PINGRESP) {
        return;
    }
    const struct mqtt_properties properties =
        random_properties(source, place_of(NULL, type, from_server), version);
    switch (type) {
    case MQTT_CONNECT:
        connect_fill(source, version, &packet->connect);
        packet->connect.properties = properties;
        break;
    case MQTT_CONNACK:
        connack_fill(source, version, &packet->connack);
        packet->connack.properties = properties;
        break;
    case MQTT_PUBLISH:
        publish_fill(source, &packet->publish);
        packet->publish.properties = properties;
        break;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        filters_fill(source, version, type, &packet->subscribe);
        packet->subscribe.packet_id = random_packet_id(source);
        packet->subscribe.properties = properties;
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        suback_fill(source, version, type, &packet->suback);
        packet->suback.packet_id = random_packet_id(source);
        packet->suback.properties = properties;
        break;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        packet->disconnect.reason =
            version == MQTT_V5 ? random_reason(source, type, from_server) : 0;
        packet->disconnect.properties = properties;
        break;
    default:
        packet->ack.packet_id = random_packet_id(source);
        packet->ack.reason = version == MQTT_V5 ? random_reason(source, type, from_server) : 0;
        packet->ack.properties = properties;
        break;
    }
}
