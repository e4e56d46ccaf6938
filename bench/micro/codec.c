/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "proto/mqtt.h"
#include "proto/topic.h"
#include "proto/utf8.h"

#define TOPIC      "site/12/line/3/sensor/7/temperature"
#define TEXT_BYTES 1024u

static const uint8_t payload[64] = "21.5";

/* A packet's bytes, and what a decoder has to know. */
struct coded {
    uint8_t bytes[512];
    size_t len;
    struct mqtt_packet packet;
    enum mqtt_version version;
    struct mqtt_params params;
};

static void *coded(const struct mqtt_packet *packet, enum mqtt_version version)
{
    struct coded *c = calloc(1, sizeof *c);
    assert(c != NULL);
    c->packet = *packet;
    c->version = version;
    c->params = (struct mqtt_params){
        .version = packet->type == MQTT_CONNECT ? MQTT_VERSION_UNKNOWN : version,
        .packet_bytes_max = 1u << 20,
    };
    if (mqtt_encode(packet, version, c->bytes, sizeof c->bytes, &c->len) != MQTT_OK) {
        abort();
    }
    return c;
}

static void *publish_q0(void)
{
    return coded(&(struct mqtt_packet){.type = MQTT_PUBLISH,
                                       .publish = {.topic = bytes_text(TOPIC),
                                                   .payload = bytes_of(payload, 64)}},
                 MQTT_V311);
}

static void *publish_q1_v5(void)
{
    static const uint8_t expiry[] = {0x02, 0, 0, 0, 60};
    return coded(&(struct mqtt_packet){.type = MQTT_PUBLISH,
                                       .publish = {.qos = 1,
                                                   .packet_id = 7,
                                                   .topic = bytes_text(TOPIC),
                                                   .properties.raw = bytes_of(expiry, 5),
                                                   .payload = bytes_of(payload, 64)}},
                 MQTT_V5);
}

static void *puback(void)
{
    return coded(&(struct mqtt_packet){.type = MQTT_PUBACK, .ack = {.packet_id = 7}}, MQTT_V311);
}

static void *connect_packet(void)
{
    return coded(&(struct mqtt_packet){.type = MQTT_CONNECT,
                                       .connect = {.version = MQTT_V311,
                                                   .clean_start = true,
                                                   .keep_alive_s = 60,
                                                   .client_id = bytes_text("device-000017")}},
                 MQTT_V311);
}

/* As the broker answers without a setting: how much may be on its way, and the topic aliases. */
static void *connack_v5(void)
{
    static const uint8_t terms[] = {0x21, 4, 0, 0x22, 0, 10};
    return coded(&(struct mqtt_packet){.type = MQTT_CONNACK,
                                       .connack.properties.raw = bytes_of(terms, sizeof terms)},
                 MQTT_V5);
}

/* With a reason, so not in the short form. PUBACK, PUBREC and PUBCOMP differ in the first byte. */
static void *pubrel_v5(void)
{
    return coded(&(struct mqtt_packet){.type = MQTT_PUBREL,
                                       .ack = {.packet_id = 7,
                                               .reason = MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND}},
                 MQTT_V5);
}

static void *disconnect_v5(void)
{
    return coded(&(struct mqtt_packet){.type = MQTT_DISCONNECT,
                                       .disconnect.reason = MQTT_REASON_SESSION_TAKEN_OVER},
                 MQTT_V5);
}

static void *subscribe(void)
{
    static const uint8_t filter[] = "\0\x0csite/+/state\1";
    return coded(
        &(struct mqtt_packet){.type = MQTT_SUBSCRIBE,
                              .subscribe = {.packet_id = 7, .filters = bytes_of(filter, 15)}},
        MQTT_V311);
}

static void *suback_v5(void)
{
    static const uint8_t granted[] = {1, 0, 2, 1};
    return coded(&(struct mqtt_packet){.type = MQTT_SUBACK,
                                       .suback = {.packet_id = 7, .reasons = bytes_of(granted, 4)}},
                 MQTT_V5);
}

static void *unsubscribe(void)
{
    static const uint8_t filter[] = "\0\x0csite/+/state";
    return coded(
        &(struct mqtt_packet){.type = MQTT_UNSUBSCRIBE,
                              .subscribe = {.packet_id = 7, .filters = bytes_of(filter, 14)}},
        MQTT_V311);
}

static void decode(void *state, uint64_t count)
{
    const struct coded *c = state;
    for (uint64_t i = 0; i < count; i++) {
        struct mqtt_packet packet;
        size_t used;
        if (mqtt_decode(&packet, c->bytes, c->len, &c->params, &used) != MQTT_OK) {
            abort();
        }
        micro_use(used);
    }
}

static void encode(void *state, uint64_t count)
{
    const struct coded *c = state;
    uint8_t out[512];
    for (uint64_t i = 0; i < count; i++) {
        size_t used;
        if (mqtt_encode(&c->packet, c->version, out, sizeof out, &used) != MQTT_OK) {
            abort();
        }
        micro_use(used + out[0]);
    }
}

static void name_valid(void *state, uint64_t count)
{
    (void)state;
    for (uint64_t i = 0; i < count; i++) {
        struct bytes topic = bytes_text(TOPIC);
        __asm__ volatile("" : "+r"(topic.at));
        micro_use(topic_name_valid(topic));
    }
}

static void filter_valid(void *state, uint64_t count)
{
    (void)state;
    for (uint64_t i = 0; i < count; i++) {
        struct bytes filter = bytes_text("site/+/line/+/sensor/#");
        __asm__ volatile("" : "+r"(filter.at));
        micro_use(topic_filter_valid(filter));
    }
}

/* Letters of two bytes among those of one. */
static void *text(void)
{
    uint8_t *t = malloc(TEXT_BYTES);
    assert(t != NULL);
    for (size_t i = 0; i < TEXT_BYTES; i += 4) {
        memcpy(t + i, "ab\xc3\xa9", 4);
    }
    return t;
}

static void utf8(void *state, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        micro_use(utf8_valid(bytes_of(state, TEXT_BYTES)));
    }
}

const struct micro micro_codec[] = {
    {"decode_publish_q0", publish_q0, decode, free},
    {"decode_publish_q1_v5", publish_q1_v5, decode, free},
    {"decode_puback", puback, decode, free},
    {"decode_connect", connect_packet, decode, free},
    {"decode_subscribe", subscribe, decode, free},
    {"decode_unsubscribe", unsubscribe, decode, free},
    {"decode_pubrel_v5", pubrel_v5, decode, free},
    {"encode_publish_q0", publish_q0, encode, free},
    {"encode_publish_q1_v5", publish_q1_v5, encode, free},
    {"encode_puback", puback, encode, free},
    {"encode_pubrel_v5", pubrel_v5, encode, free},
    {"encode_connect", connect_packet, encode, free},
    {"encode_connack_v5", connack_v5, encode, free},
    {"encode_suback_v5", suback_v5, encode, free},
    {"encode_disconnect_v5", disconnect_v5, encode, free},
    {"topic_name_valid", NULL, name_valid, NULL},
    {"topic_filter_valid", NULL, filter_valid, NULL},
    {"utf8_valid_1k", text, utf8, free},
    {.name = NULL},
};
