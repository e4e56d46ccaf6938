/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH and its acknowledgements (3.3 to 3.7). */
#include "proto/mqtt.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "tests/unit/proto/packet.h"
#include "tests/unit/proto/wire.h"

#define MALFORMED MQTT_ERR_MALFORMED
#define PROTOCOL  MQTT_ERR_PROTOCOL

/* clang-format off */
static const struct {
    const char *name, *wire;
    enum mqtt_err v311, v5; /* 3.1 is as 3.1.1; both sides alike unless tested apart */
} rows[] = {
    {"nothing at all",          "30 {}",                    MALFORMED, MALFORMED},
    {"topic cut off",           "30 {0005 'abc'}",          MALFORMED, MALFORMED},
    {"topic ill-formed",        "30 {[ff] 00}",             MALFORMED, MALFORMED},
    {"topic overlong",          "30 {[c080] 00}",           MALFORMED, MALFORMED},
    {"topic with U+0000",       "30 {['a' 00] 00}",         MALFORMED, MALFORMED},
    {"topic with control",      "30 {['a' 01 c285] 00}",    MQTT_OK,   MQTT_OK},
    {"topic with noncharacter", "30 {[efbfbf] 00}",         MQTT_OK,   MQTT_OK},
    {"topic with +",            "30 {['a/+'] 00}",          MQTT_ERR_TOPIC_NAME, MQTT_ERR_TOPIC_NAME},
    {"topic with #",            "30 {['#'] 00}",            MQTT_ERR_TOPIC_NAME, MQTT_ERR_TOPIC_NAME},
    {"topic with # inside",     "30 {['abcdefgh#i'] 00}",   MQTT_ERR_TOPIC_NAME, MQTT_ERR_TOPIC_NAME},
    {"empty topic",             "30 {[] 00}",               MALFORMED, PROTOCOL},
    {"empty topic at QoS 1",    "32 {[] 0001 00}",          MALFORMED, PROTOCOL},
    {"packet id 0",             "32 {['a'] 0000 00}",       PROTOCOL,  PROTOCOL},
    {"packet id 0 at QoS 2",    "34 {['a'] 0000 00}",       PROTOCOL,  PROTOCOL},
    {"packet id cut off",       "32 {['a'] 00}",            MALFORMED, MALFORMED},
    {"no packet id",            "34 {['a']}",               MALFORMED, MALFORMED},
    {"no properties",           "30 {['a']}",               MQTT_OK,   MALFORMED},
    {"properties cut off",      "30 {['a'] 05 01}",         MQTT_OK,   MALFORMED},
    {"property length long",    "30 {['a'] 8000}",          MQTT_OK,   MALFORMED},
    {"property length endless", "30 {['a'] ffffffff00}",    MQTT_OK,   MALFORMED},
    {"payload is any bytes",    "30 {['a'] {} 00ff}",       MQTT_OK,   MQTT_OK},
    {"not text, though said so", "30 {['a'] {01 01} ff}",   MQTT_OK,   MQTT_OK},
    {"alias alone",             "30 {[] {23 0001}}",        MALFORMED, MQTT_OK},
    {"alias 0",                 "30 {['a'] {23 0000}}",     MQTT_OK,   MQTT_ERR_TOPIC_ALIAS},
    {"alias 0 alone",           "30 {[] {23 0000}}",        MALFORMED, MQTT_ERR_TOPIC_ALIAS},
    {"response topic with +",   "30 {['a'] {08 ['r/+']}}",  MQTT_OK,   PROTOCOL},
    {"response topic with #",   "30 {['a'] {08 ['#']}}",    MQTT_OK,   PROTOCOL},
    {"response topic empty",    "30 {['a'] {08 []}}",       MQTT_OK,   PROTOCOL},
    {"response topic no UTF-8", "30 {['a'] {08 [ff]}}",     MQTT_OK,   MALFORMED},
};
/* clang-format on */

Test(publish, judged)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int side = 0; side < 2; side++) {
            cr_expect_eq(wire_judge_text(rows[i].wire, MQTT_V31, side), rows[i].v311, "%s",
                         rows[i].name);
            cr_expect_eq(wire_judge_text(rows[i].wire, MQTT_V311, side), rows[i].v311, "%s",
                         rows[i].name);
            cr_expect_eq(wire_judge_text(rows[i].wire, MQTT_V5, side), rows[i].v5, "%s",
                         rows[i].name);
        }
    }
}

/* v5_mqtt_3_3_4_6 */
Test(publish, subscription_identifier_is_the_servers)
{
    cr_expect_eq(wire_judge_text("30 {['a'] {0b 01}}", MQTT_V5, CLIENT), PROTOCOL);
    cr_expect_eq(wire_judge_text("30 {['a'] {0b 01 0b 02}}", MQTT_V5, SERVER), MQTT_OK);
    cr_expect_eq(wire_judge_text("30 {['a'] {0b 00}}", MQTT_V5, SERVER), PROTOCOL);
}

Test(publish, fields)
{
    uint8_t in[WIRE_BYTES_MAX];
    const size_t len = wire_parse(in, "3b {['a/b'] 1234 {23 0007 26 ['k'] ['v']} 'hello'}");
    const struct mqtt_params params = {.version = MQTT_V5};
    struct mqtt_packet packet;
    size_t used;
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    const struct mqtt_publish *p = &packet.publish;
    cr_expect(p->dup && p->retain);
    cr_expect_eq(p->qos, 1);
    cr_expect_eq(p->packet_id, 0x1234);
    cr_expect(bytes_equal(p->topic, bytes_text("a/b")));
    cr_expect(bytes_equal(p->payload, bytes_text("hello")));
    cr_expect_eq(p->properties.present,
                 1ull << PROPERTY_TOPIC_ALIAS | 1ull << PROPERTY_USER_PROPERTY);
    cr_expect_eq(p->properties.topic_alias, 7);
    cr_expect_eq(p->properties.raw.len, 10);
}

/* A PUBLISH without properties does not pay for them: the values are not touched. */
Test(publish, values_left_alone)
{
    uint8_t in[WIRE_BYTES_MAX];
    const size_t len = wire_parse(in, "30 {['a/b'] {} 'hello'}");
    const struct mqtt_params params = {.version = MQTT_V5};
    struct mqtt_packet packet;
    memset(&packet, 0xaa, sizeof packet);
    size_t used;
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    cr_expect_eq(packet.publish.properties.present, 0);
    cr_expect_eq(packet.publish.properties.raw.len, 0);
    cr_expect_eq(packet.publish.properties.topic_alias, 0xaaaa);
    cr_expect_eq(packet.publish.packet_id, 0, "at QoS 0");
}

/* v5_mqtt_4_7_3_3: 65535 bytes of topic are a topic. */
Test(publish, longest_topic)
{
    static uint8_t in[1 + 3 + 2 + 65535];
    memset(in, 'x', sizeof in);
    memcpy(in, (uint8_t[]){0x30, 0x80, 0x80, 0x04, 0xff, 0xff}, 6);
    cr_expect_eq(wire_judge(in, sizeof in - 1, MQTT_V311, CLIENT), MALFORMED, "one byte short");
    in[1] = 0x81;
    cr_expect_eq(wire_judge(in, sizeof in, MQTT_V311, CLIENT), MQTT_OK);
}

static void head_agrees(struct packet_source *source, enum mqtt_version version)
{
    static uint8_t whole[PACKET_ARENA_BYTES], head[PACKET_ARENA_BYTES];
    struct mqtt_packet packet;
    packet_next(source, version, SERVER, &packet);
    if (packet.type != MQTT_PUBLISH) {
        return;
    }
    size_t size, head_len;
    cr_assert_eq(mqtt_encode(&packet, version, whole, sizeof whole, &size), MQTT_OK);
    cr_expect_eq(mqtt_publish_size(&packet.publish, version), size);
    const size_t bound = mqtt_publish_head_bound(&packet.publish);
    packet.publish.payload.at = NULL; /* is not read */
    cr_assert_eq(mqtt_publish_head_encode(&packet.publish, version, head, bound, &head_len),
                 MQTT_OK);
    cr_expect_eq(head_len + packet.publish.payload.len, size);
    cr_expect_arr_eq(head, whole, head_len);
    size_t untouched = 77;
    cr_expect_eq(mqtt_publish_head_encode(&packet.publish, version, head, head_len - 1, &untouched),
                 MQTT_ERR_NO_SPACE);
    cr_expect_eq(untouched, 77);
}

/* The head, the bound, and the size say of any PUBLISH what the whole encoding says. */
Test(publish, head_size_and_bound_agree)
{
    static struct packet_source source;
    packet_source_init(&source, "publish head_size_and_bound_agree");
    for (size_t i = 0; i < 20000; i++) {
        head_agrees(&source, MQTT_V31 + packet_random(&source, 3));
    }
}

/* At the edges of both lengths that a head holds, its own and that of its properties. */
Test(publish, head_bound_at_every_edge)
{
    static const uint8_t bytes[20000];
    static const size_t edges[] = {0, 127, 128, 16383, 16384, 2097151, 2097152, 200000000};
    static uint8_t head[sizeof bytes + 64];
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < sizeof edges / sizeof edges[0]; j++) {
            const struct mqtt_publish publish = {.qos = 1,
                                                 .packet_id = 1,
                                                 .topic = bytes_text("t"),
                                                 .properties.raw = bytes_of(bytes, edges[i]),
                                                 .payload = {NULL, edges[j]}};
            size_t used;
            cr_expect_eq(mqtt_publish_head_encode(&publish, MQTT_V5, head,
                                                  mqtt_publish_head_bound(&publish), &used),
                         MQTT_OK, "%zu, %zu", edges[i], edges[j]);
        }
    }
}

/* A payload that the topic in full makes too large for MQTT is an error, not an assert. */
Test(publish, over_the_standards_limit)
{
    uint8_t out[64];
    size_t used = 0;
    struct mqtt_publish publish = {.topic = bytes_text("topic"), .payload = {NULL, 268435455 - 8}};
    cr_expect_eq(mqtt_publish_size(&publish, MQTT_V5), MQTT_PACKET_BYTES_MAX);
    cr_expect_eq(mqtt_publish_head_encode(&publish, MQTT_V5, out, sizeof out, &used), MQTT_OK);
    cr_expect_eq(used, 1 + 4 + 8);
    publish.payload.len++;
    cr_expect_eq(mqtt_publish_size(&publish, MQTT_V5), MQTT_PACKET_BYTES_MAX + 1);
    cr_expect_eq(mqtt_publish_head_encode(&publish, MQTT_V5, out, sizeof out, &used),
                 MQTT_ERR_NO_SPACE);
    struct mqtt_packet packet = {.type = MQTT_PUBLISH, .publish = publish};
    cr_expect_eq(mqtt_encode(&packet, MQTT_V5, out, SIZE_MAX, &used), MQTT_ERR_NO_SPACE);
}

/* clang-format off */
static const struct { const char *name, *body; enum mqtt_err v311, v5; } acks[] = {
    {"short",                   "{0001}",            MQTT_OK,   MQTT_OK},
    {"largest id",              "{ffff}",            MQTT_OK,   MQTT_OK},
    {"id 0",                    "{0000}",            PROTOCOL,  PROTOCOL},
    {"half an id",              "{00}",              MALFORMED, MALFORMED},
    {"empty",                   "{}",                MALFORMED, MALFORMED},
    {"code",                    "{0001 00}",         MALFORMED, MQTT_OK},
    {"code of no ack",          "{0001 01}",         MALFORMED, PROTOCOL},
    {"unknown code",            "{0001 ff}",         MALFORMED, PROTOCOL},
    {"empty properties",        "{0001 00 {}}",      MALFORMED, MQTT_OK},
    {"properties",              "{0001 00 {1f []}}", MALFORMED, MQTT_OK},
    {"property length long",    "{0001 00 8000}",    MALFORMED, MALFORMED},
    {"left over",               "{0001 00 {} 00}",   MALFORMED, MALFORMED},
    {"properties cut",          "{0001 00 03 1f}",   MALFORMED, MALFORMED},
};
/* clang-format on */

/* v5_mqtt_3_4_2_1 and its like; U311-3.4-a */
Test(publish, acknowledgements)
{
    static const char *const first[] = {"40", "50", "62", "70"};
    for (size_t i = 0; i < sizeof acks / sizeof acks[0] * 4; i++) {
        char wire[64];
        snprintf(wire, sizeof wire, "%s %s", first[i % 4], acks[i / 4].body);
        for (int side = 0; side < 2; side++) {
            cr_expect_eq(wire_judge_text(wire, MQTT_V31, side), acks[i / 4].v311, "%s", wire);
            cr_expect_eq(wire_judge_text(wire, MQTT_V311, side), acks[i / 4].v311, "%s", wire);
            cr_expect_eq(wire_judge_text(wire, MQTT_V5, side), acks[i / 4].v5, "%s", wire);
        }
    }
}

/* Before 5.0 an acknowledgement leaves out what it cannot say. */
Test(publish, acknowledgement_before_5_0)
{
    const struct mqtt_packet packet = {.type = MQTT_PUBREC,
                                       .ack = {.packet_id = 7, .reason = 0x97}};
    uint8_t out[8];
    size_t used;
    cr_assert_eq(mqtt_encode(&packet, MQTT_V311, out, sizeof out, &used), MQTT_OK);
    cr_expect_eq(used, 4);
    cr_expect_arr_eq(out, ((uint8_t[]){0x50, 2, 0, 7}), 4);
}
