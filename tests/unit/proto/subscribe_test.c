/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (3.8 to 3.11). */
#include "proto/mqtt.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "tests/unit/proto/wire.h"

#define MALFORMED MQTT_ERR_MALFORMED
#define PROTOCOL  MQTT_ERR_PROTOCOL

struct row {
    const char *name, *wire;
    enum mqtt_err err;
};

/* clang-format off */
static const struct row subscribes[] = {
    {"no filter",               "82 {0001 {}}",                           PROTOCOL},
    {"no properties",           "82 {0001}",                              MALFORMED},
    {"empty",                   "82 {}",                                  MALFORMED},
    {"id 0",                    "82 {0000 {} ['a'] 00}",                  PROTOCOL},
    {"no options",              "82 {0001 {} ['a']}",                     MALFORMED},
    {"no options, second",      "82 {0001 {} ['a'] 00 ['b']}",            MALFORMED},
    {"filter cut off",          "82 {0001 {} 0003 'a'}",                  MALFORMED},
    {"filter ill-formed",       "82 {0001 {} [ff] 00}",                   MALFORMED},
    {"filter with U+0000",      "82 {0001 {} [00] 00}",                   MALFORMED},
    {"filter empty",            "82 {0001 {} [] 00}",                     PROTOCOL},
    {"filter empty, second",    "82 {0001 {} ['a'] 00 [] 00}",            PROTOCOL},
    {"wildcards are not ours",  "82 {0001 {} ['a#/+b'] 00}",              MQTT_OK},
    {"nor the form of a share", "82 {0001 {} ['$share/g'] 00}",           MQTT_OK},
    {"no local",                "82 {0001 {} ['a'] 04}",                  MQTT_OK},
    {"no local on a share",     "82 {0001 {} ['$share/g/t'] 04}",         PROTOCOL},
    {"same, second",            "82 {0001 {} ['a'] 04 ['$share/g/t'] 06}", PROTOCOL},
    {"no local, no share",      "82 {0001 {} ['$SHARE/g/t'] 04}",         MQTT_OK},
    {"identifier 0",            "82 {0001 {0b 00} ['a'] 00}",             PROTOCOL},
    {"identifier twice",        "82 {0001 {0b 01 0b 02} ['a'] 00}",       PROTOCOL},
    {"identifier, largest",     "82 {0001 {0b ffffff7f} ['a'] 00}",       MQTT_OK},
    {"identifier not shortest", "82 {0001 {0b 8100} ['a'] 00}",           MALFORMED},
    {"UNSUBSCRIBE, no filter",  "a2 {0001 {}}",                           PROTOCOL},
    {"UNSUBSCRIBE, id 0",       "a2 {0000 {} ['a']}",                     PROTOCOL},
    {"UNSUBSCRIBE, empty",      "a2 {0001 {} []}",                        PROTOCOL},
    {"UNSUBSCRIBE, ill-formed", "a2 {0001 {} [ff]}",                      MALFORMED},
    {"UNSUBSCRIBE, cut off",    "a2 {0001 {} ['a'] 00}",                  MALFORMED},
    {"UNSUBSCRIBE, no properties", "a2 {0001}",                           MALFORMED},
    {"UNSUBSCRIBE, any filter", "a2 {0001 {} ['a#'] ['$share/']}",        MQTT_OK},
};
static const struct row subscribes_before[] = {
    {"no filter",               "82 {0001}",                              PROTOCOL},
    {"id 0",                    "82 {0000 ['a'] 00}",                     PROTOCOL},
    {"empty",                   "82 {}",                                  MALFORMED},
    {"filter empty",            "82 {0001 [] 00}",                        PROTOCOL},
    {"filter ill-formed",       "82 {0001 [80] 00}",                      MALFORMED},
    {"UNSUBSCRIBE, no filter",  "a2 {0001}",                              PROTOCOL},
    {"UNSUBSCRIBE, empty",      "a2 {0001 []}",                           PROTOCOL},
};
static const struct row subacks[] = {
    {"no code",                 "90 {0001 {}}",                           MALFORMED},
    {"no properties",           "90 {0001}",                              MALFORMED},
    {"id 0",                    "90 {0000 {} 00}",                        PROTOCOL},
    {"code of another packet",  "90 {0001 {} 00 11}",                     PROTOCOL},
    {"UNSUBACK, no code",       "b0 {0001 {}}",                           MALFORMED},
    {"UNSUBACK, id 0",          "b0 {0000 {} 00}",                        PROTOCOL},
    {"UNSUBACK, SUBACK's code", "b0 {0001 {} 01}",                        PROTOCOL},
};
static const struct row subacks_before[] = {
    {"no code",                 "90 {0001}",                              MALFORMED},
    {"id 0",                    "90 {0000 00}",                           PROTOCOL},
    {"reserved code",           "90 {0001 03}",                           PROTOCOL},
    {"code of 5.0",             "90 {0001 00 87}",                        PROTOCOL},
    {"UNSUBACK, with code",     "b0 {0001 00}",                           MALFORMED},
    {"UNSUBACK, id 0",          "b0 {0000}",                              PROTOCOL},
    {"UNSUBACK, empty",         "b0 {}",                                  MALFORMED},
};
/* clang-format on */

#define JUDGE(rows, version, side) judge_rows(rows, sizeof(rows) / sizeof(rows)[0], version, side)

static void judge_rows(const struct row *rows, size_t count, enum mqtt_version version,
                       bool from_server)
{
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(wire_judge_text(rows[i].wire, version, from_server), rows[i].err, "%s",
                     rows[i].name);
    }
}

Test(subscribe, judged)
{
    JUDGE(subscribes, MQTT_V5, CLIENT);
    JUDGE(subscribes_before, MQTT_V31, CLIENT);
    JUDGE(subscribes_before, MQTT_V311, CLIENT);
}

Test(subscribe, answers_judged)
{
    JUDGE(subacks, MQTT_V5, SERVER);
    JUDGE(subacks_before, MQTT_V31, SERVER);
    JUDGE(subacks_before, MQTT_V311, SERVER);
    cr_expect_eq(wire_judge_text("90 {0001 80}", MQTT_V311, SERVER), MQTT_OK);
    cr_expect_eq(wire_judge_text("90 {0001 80}", MQTT_V31, SERVER), PROTOCOL);
}

static enum mqtt_err oracle_options(unsigned options, enum mqtt_version version)
{
    if (version != MQTT_V5) {
        return options <= 2 ? MQTT_OK : MALFORMED;
    }
    if (options >= 0x40) {
        return MALFORMED;
    }
    return (options & 3) == 3 || options >= 0x30 ? PROTOCOL : MQTT_OK;
}

/* v5_mqtt_3_8_3_5, U5-3.8.3-a, v311_mqtt_3_8_3_4: all 256 of them. */
Test(subscribe, options)
{
    for (unsigned options = 0; options < 256; options++) {
        char wire[64];
        snprintf(wire, sizeof wire, "82 {0001 {} ['a'] %02x}", options);
        cr_expect_eq(wire_judge_text(wire, MQTT_V5, CLIENT), oracle_options(options, MQTT_V5), "%s",
                     wire);
        snprintf(wire, sizeof wire, "82 {0001 ['a'] %02x}", options);
        cr_expect_eq(wire_judge_text(wire, MQTT_V311, CLIENT), oracle_options(options, MQTT_V311),
                     "%s", wire);
        cr_expect_eq(wire_judge_text(wire, MQTT_V31, CLIENT), oracle_options(options, MQTT_V31),
                     "%s", wire);
    }
}

Test(subscribe, filters_walked)
{
    static const struct mqtt_filter want[] = {
        {{(const uint8_t *)"a/+", 3}, 1, true, false, 0},
        {{(const uint8_t *)"#", 1}, 2, false, true, 2},
        {{(const uint8_t *)"$share/g/t", 10}, 0, false, false, 1},
    };
    uint8_t in[WIRE_BYTES_MAX];
    const size_t len = wire_parse(in, "82 {1234 {0b 07} ['a/+'] 05 ['#'] 2a ['$share/g/t'] 10}");
    const struct mqtt_params params = {.version = MQTT_V5};
    struct mqtt_packet packet;
    size_t used;
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    cr_expect_eq(packet.subscribe.packet_id, 0x1234);
    cr_expect_eq(packet.subscribe.count, 3);
    cr_expect_eq(packet.subscribe.properties.subscription_identifier, 7);
    struct bytes rest = packet.subscribe.filters;
    struct mqtt_filter filter;
    for (size_t i = 0; i < 3; i++) {
        cr_assert(mqtt_filter_next(&rest, MQTT_SUBSCRIBE, &filter), "%zu", i);
        cr_expect(bytes_equal(filter.filter, want[i].filter), "%zu", i);
        cr_expect_eq(filter.qos, want[i].qos, "%zu", i);
        cr_expect_eq(filter.no_local, want[i].no_local, "%zu", i);
        cr_expect_eq(filter.retain_as_published, want[i].retain_as_published, "%zu", i);
        cr_expect_eq(filter.retain_handling, want[i].retain_handling, "%zu", i);
    }
    cr_expect_not(mqtt_filter_next(&rest, MQTT_SUBSCRIBE, &filter));
}

Test(subscribe, unsubscribe_walked)
{
    uint8_t in[WIRE_BYTES_MAX];
    const size_t len = wire_parse(in, "a2 {1234 ['a'] ['b/c']}");
    const struct mqtt_params params = {.version = MQTT_V311};
    struct mqtt_packet packet;
    size_t used;
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    cr_expect_eq(packet.subscribe.count, 2);
    struct bytes rest = packet.subscribe.filters;
    struct mqtt_filter filter;
    cr_assert(mqtt_filter_next(&rest, MQTT_UNSUBSCRIBE, &filter));
    cr_expect(bytes_equal(filter.filter, bytes_text("a")));
    cr_assert(mqtt_filter_next(&rest, MQTT_UNSUBSCRIBE, &filter));
    cr_expect(bytes_equal(filter.filter, bytes_text("b/c")));
    cr_expect_eq(filter.qos, 0);
    cr_expect_not(mqtt_filter_next(&rest, MQTT_UNSUBSCRIBE, &filter));
}

/* Before 5.0 an UNSUBACK has no codes, whatever the struct holds. */
Test(subscribe, unsuback_before_5_0)
{
    const struct mqtt_packet packet = {
        .type = MQTT_UNSUBACK, .suback = {.packet_id = 7, .reasons = {(const uint8_t *)"\x11", 1}}};
    uint8_t out[8];
    size_t used;
    cr_assert_eq(mqtt_encode(&packet, MQTT_V31, out, sizeof out, &used), MQTT_OK);
    cr_expect_eq(used, 4);
    cr_expect_arr_eq(out, ((uint8_t[]){0xb0, 2, 0, 7}), 4);
}
