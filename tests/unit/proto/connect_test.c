/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT and CONNACK (3.1, 3.2). */
#include "proto/mqtt.h"

#include <criterion/criterion.h>

#include "tests/unit/proto/wire.h"

#define MALFORMED MQTT_ERR_MALFORMED
#define PROTOCOL  MQTT_ERR_PROTOCOL

struct row {
    const char *name, *wire;
    enum mqtt_err err;
};

static void judge_rows(const struct row *rows, size_t count, enum mqtt_version version,
                       bool from_server)
{
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(wire_judge_text(rows[i].wire, version, from_server), rows[i].err, "%s: %d",
                     rows[i].name, wire_judge_text(rows[i].wire, version, from_server));
    }
}

/* clang-format off */
static const struct row protocols[] = {
    {"3.1",                     "10 {['MQIsdp'] 03 02 003c ['me']}",  MQTT_OK},
    {"3.1.1",                   "10 {['MQTT'] 04 02 003c ['me']}",    MQTT_OK},
    {"5.0",                     "10 {['MQTT'] 05 02 003c {} ['me']}", MQTT_OK},
    {"MQTT with level 3",       "10 {['MQTT'] 03 02 003c ['me']}",    MQTT_ERR_VERSION},
    {"MQTT with level 6",       "10 {['MQTT'] 06 02 003c ['me']}",    MQTT_ERR_VERSION},
    {"MQTT with level 0",       "10 {['MQTT'] 00 02 003c ['me']}",    MQTT_ERR_VERSION},
    {"MQIsdp with level 4",     "10 {['MQIsdp'] 04 02 003c ['me']}",  MQTT_ERR_VERSION},
    {"MQIsdp with level 5",     "10 {['MQIsdp'] 05 02 003c ['me']}",  MQTT_ERR_VERSION},
    {"a bridge's level",        "10 {['MQTT'] 84 02 003c ['me']}",    MQTT_ERR_VERSION},
    {"nothing behind level",    "10 {['MQTT'] 06}",                   MQTT_ERR_VERSION},
    {"another name",            "10 {['MQTX'] 04 02 003c ['me']}",    MQTT_ERR_VERSION},
    {"lower case",              "10 {['mqtt'] 04 02 003c ['me']}",    MQTT_ERR_VERSION},
    {"longer name",             "10 {['MQTTT'] 04 02 003c ['me']}",   MQTT_ERR_VERSION},
    {"no name",                 "10 {[] 04 02 003c ['me']}",          MQTT_ERR_VERSION},
    {"no level",                "10 {['MQTT']}",                      MALFORMED},
    {"name cut off",            "10 {0005 'MQTT'}",                   MALFORMED},
    {"nothing at all",          "10 {}",                              MALFORMED},
};

/* By connect flags; the payload is always what they ask for. */
static const struct row flags[] = {
    {"5.0 reserved bit",        "10 {['MQTT'] 05 03 003c {} ['me']}",                 MALFORMED},
    {"3.1.1 reserved bit",      "10 {['MQTT'] 04 01 003c ['me']}",                    MALFORMED},
    {"3.1 reserved bit",        "10 {['MQIsdp'] 03 01 003c ['me']}",                  MALFORMED},
    {"5.0 QoS 1, no will",      "10 {['MQTT'] 05 08 003c {} ['me']}",                 MALFORMED},
    {"5.0 QoS 2, no will",      "10 {['MQTT'] 05 10 003c {} ['me']}",                 MALFORMED},
    {"3.1.1 QoS 3, no will",    "10 {['MQTT'] 04 18 003c ['me']}",                    MALFORMED},
    {"5.0 retain, no will",     "10 {['MQTT'] 05 20 003c {} ['me']}",                 MALFORMED},
    {"3.1.1 retain, no will",   "10 {['MQTT'] 04 20 003c ['me']}",                    MALFORMED},
    {"5.0 will QoS 3",          "10 {['MQTT'] 05 1c 003c {} ['me'] {} ['w'] ['m']}",  MALFORMED},
    {"3.1.1 will QoS 3",        "10 {['MQTT'] 04 1c 003c ['me'] ['w'] ['m']}",        MALFORMED},
    {"5.0 will QoS 2, retain",  "10 {['MQTT'] 05 34 003c {} ['me'] {} ['w'] ['m']}",  MQTT_OK},
    {"5.0 password alone",      "10 {['MQTT'] 05 40 003c {} ['me'] ['p']}",           MQTT_OK},
    {"3.1.1 password alone",    "10 {['MQTT'] 04 40 003c ['me'] ['p']}",              MALFORMED},
    {"3.1 password alone",      "10 {['MQIsdp'] 03 40 003c ['me'] ['p']}",            MALFORMED},
    {"5.0 no flags",            "10 {['MQTT'] 05}",                                   MALFORMED},
    {"5.0 half a keep alive",   "10 {['MQTT'] 05 02 00}",                             MALFORMED},
};

static const struct row payloads[] = {
    {"5.0 no properties",       "10 {['MQTT'] 05 02 003c}",                           MALFORMED},
    {"5.0 properties cut",      "10 {['MQTT'] 05 02 003c 05 11}",                     MALFORMED},
    {"5.0 length not shortest", "10 {['MQTT'] 05 02 003c 8000 ['me']}",               MALFORMED},
    {"5.0 no client id",        "10 {['MQTT'] 05 02 003c {}}",                        MALFORMED},
    {"3.1.1 no client id",      "10 {['MQTT'] 04 02 003c}",                           MALFORMED},
    {"client id ill-formed",    "10 {['MQTT'] 05 02 003c {} [ff]}",                   MALFORMED},
    {"client id with U+0000",   "10 {['MQTT'] 05 02 003c {} ['a' 00]}",               MALFORMED},
    {"client id, surrogate",    "10 {['MQTT'] 04 02 003c [eda080]}",                  MALFORMED},
    {"5.0 empty client id",     "10 {['MQTT'] 05 00 003c {} []}",                     MQTT_OK},
    {"3.1.1 empty, not clean",  "10 {['MQTT'] 04 00 003c []}",                        MQTT_OK},
    {"3.1 empty client id",     "10 {['MQIsdp'] 03 02 003c []}",                      MQTT_ERR_CLIENT_ID},
    {"bytes left over",         "10 {['MQTT'] 05 02 003c {} ['me'] 00}",              MALFORMED},
    {"user name unasked",       "10 {['MQTT'] 04 02 003c ['me'] ['u']}",              MALFORMED},
    {"no user name",            "10 {['MQTT'] 05 82 003c {} ['me']}",                 MALFORMED},
    {"no password",             "10 {['MQTT'] 05 c2 003c {} ['me'] ['u']}",           MALFORMED},
    {"3.1.1 no user name",      "10 {['MQTT'] 04 82 003c ['me']}",                    MALFORMED},
    {"3.1 no user name",        "10 {['MQIsdp'] 03 82 003c ['me']}",                  MQTT_OK},
    {"3.1 half a user name",    "10 {['MQIsdp'] 03 82 003c ['me'] 0004 'us'}",        MALFORMED},
    {"3.1 half a length",       "10 {['MQIsdp'] 03 82 003c ['me'] 00}",               MALFORMED},
    {"3.1 half a password",     "10 {['MQIsdp'] 03 c2 003c ['me'] ['u'] 0004 'p'}",   MALFORMED},
    {"3.1 will missing",        "10 {['MQIsdp'] 03 06 003c ['me']}",                  MALFORMED},
    {"user name ill-formed",    "10 {['MQTT'] 05 82 003c {} ['me'] [c080]}",          MALFORMED},
    {"password is any bytes",   "10 {['MQTT'] 05 42 003c {} ['me'] [ff00]}",          MQTT_OK},
    {"no will properties",      "10 {['MQTT'] 05 06 003c {} ['me']}",                 MALFORMED},
    {"no will topic",           "10 {['MQTT'] 05 06 003c {} ['me'] {}}",              MALFORMED},
    {"no will payload",         "10 {['MQTT'] 05 06 003c {} ['me'] {} ['w']}",        MALFORMED},
    {"empty will payload",      "10 {['MQTT'] 05 06 003c {} ['me'] {} ['w'] []}",     MQTT_OK},
    {"will topic ill-formed",   "10 {['MQTT'] 05 06 003c {} ['me'] {} [ff] []}",      MALFORMED},
    {"will topic empty",        "10 {['MQTT'] 05 06 003c {} ['me'] {} [] []}",        MQTT_ERR_TOPIC_NAME},
    {"will topic with +",       "10 {['MQTT'] 05 06 003c {} ['me'] {} ['a/+'] []}",   MQTT_ERR_TOPIC_NAME},
    {"will topic with #",       "10 {['MQTT'] 04 06 003c ['me'] ['#'] []}",           MQTT_ERR_TOPIC_NAME},
    {"3.1 will topic empty",    "10 {['MQIsdp'] 03 06 003c ['me'] [] []}",            MQTT_ERR_TOPIC_NAME},
    {"data without method",     "10 {['MQTT'] 05 02 003c {16 [00]} ['me']}",          PROTOCOL},
    {"method without data",     "10 {['MQTT'] 05 02 003c {15 ['M']} ['me']}",         MQTT_OK},
};

static const struct row connacks[] = {
    {"flags",                   "20 {02 00 {}}",  MALFORMED},
    {"session of a refused",    "20 {01 87 {}}",  PROTOCOL},
    {"code of another packet",  "20 {00 8e {}}",  PROTOCOL},
    {"unknown code",            "20 {00 03 {}}",  PROTOCOL},
    {"no properties",           "20 {00 00}",     MALFORMED},
    {"left over",               "20 {00 00 {} 00}", MALFORMED},
    {"empty",                   "20 {}",          MALFORMED},
};
static const struct row connacks_before[] = {
    {"flags",                   "20 {02 00}",     MALFORMED},
    {"session of a refused",    "20 {01 05}",     PROTOCOL},
    {"reserved code",           "20 {00 06}",     PROTOCOL},
    {"left over",               "20 {00 00 00}",  MALFORMED},
    {"short",                   "20 {00}",        MALFORMED},
};
/* clang-format on */

#define JUDGE(rows, version, side) judge_rows(rows, sizeof(rows) / sizeof(rows)[0], version, side)

/* v311_mqtt_3_1_2_1, v311_mqtt_3_1_2_2 */
Test(connect, protocol_name_and_level)
{
    JUDGE(protocols, MQTT_VERSION_UNKNOWN, CLIENT);
}

/* v5_mqtt_3_1_2_3, 3_1_2_11 to 13, v311_mqtt_3_1_2_22 */
Test(connect, flags)
{
    JUDGE(flags, MQTT_VERSION_UNKNOWN, CLIENT);
}

Test(connect, payload)
{
    JUDGE(payloads, MQTT_VERSION_UNKNOWN, CLIENT);
}

Test(connect, connack)
{
    JUDGE(connacks, MQTT_V5, SERVER);
    JUDGE(connacks_before, MQTT_V311, SERVER);
}

/* 3.1 had no Session Present: the byte is reserved, whatever the caller knows. */
Test(connect, session_present_is_not_told_in_3_1)
{
    const struct mqtt_packet packet = {.type = MQTT_CONNACK, .connack.session_present = true};
    uint8_t out[8];
    size_t used;
    cr_assert_eq(mqtt_encode(&packet, MQTT_V31, out, sizeof out, &used), MQTT_OK);
    cr_expect_arr_eq(out, "\x20\x02\0\0", 4);
    cr_assert_eq(mqtt_encode(&packet, MQTT_V311, out, sizeof out, &used), MQTT_OK);
    cr_expect_arr_eq(out, "\x20\x02\1\0", 4);
}

Test(connect, fields)
{
    uint8_t in[WIRE_BYTES_MAX];
    const size_t len = wire_parse(in, "10 {['MQTT'] 05 ee 1234 {21 0014} ['me'] {18 00000005} "
                                      "['w/t'] ['bye'] ['user'] ['pass']}");
    const struct mqtt_params params = {.version = MQTT_VERSION_UNKNOWN};
    struct mqtt_packet packet;
    size_t used;
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    const struct mqtt_connect *c = &packet.connect;
    cr_expect_eq(packet.type, MQTT_CONNECT);
    cr_expect_eq(c->version, MQTT_V5);
    cr_expect(c->clean_start && c->has_will && c->has_user_name && c->has_password);
    cr_expect_eq(c->keep_alive_s, 0x1234);
    cr_expect(property_has(&c->properties, PROPERTY_RECEIVE_MAXIMUM));
    cr_expect_eq(c->properties.receive_maximum, 20);
    cr_expect(bytes_equal(c->client_id, bytes_text("me")));
    cr_expect_eq(c->will.qos, 1);
    cr_expect(c->will.retain);
    cr_expect(property_has(&c->will.properties, PROPERTY_WILL_DELAY_INTERVAL));
    cr_expect_eq(c->will.properties.will_delay_interval_s, 5);
    cr_expect(bytes_equal(c->will.topic, bytes_text("w/t")));
    cr_expect(bytes_equal(c->will.payload, bytes_text("bye")));
    cr_expect(bytes_equal(c->user_name, bytes_text("user")));
    cr_expect(bytes_equal(c->password, bytes_text("pass")));
}

/* 3.1: the remaining length wins over the flags, and the flags are told as they then are. */
Test(connect, flags_overruled_in_3_1)
{
    const struct mqtt_params params = {.version = MQTT_VERSION_UNKNOWN};
    uint8_t in[WIRE_BYTES_MAX];
    struct mqtt_packet packet;
    size_t used;
    size_t len = wire_parse(in, "10 {['MQIsdp'] 03 c2 003c ['me']}");
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    cr_expect(!packet.connect.has_user_name && !packet.connect.has_password);
    len = wire_parse(in, "10 {['MQIsdp'] 03 c2 003c ['me'] ['u']}");
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    cr_expect(packet.connect.has_user_name && !packet.connect.has_password);
}
