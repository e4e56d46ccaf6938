/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/reason.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "tests/unit/proto/oracle.h"
#include "tests/unit/proto/wire.h"

/* Each number, in each packet, from each side, against the standard's tables. */
Test(reason, allowed)
{
    for (unsigned type = 1; type < MQTT_TYPES; type++) {
        for (unsigned reason = 0; reason < 256; reason++) {
            for (int side = 0; side < 2; side++) {
                cr_expect_eq(mqtt_reason_allowed((uint8_t)reason, type, side),
                             oracle_reason_allowed((uint8_t)reason, type, side),
                             "%02x in %s, side %d", reason, mqtt_type_name(type), side);
            }
        }
    }
}

/* The same, as decoded (v5_mqtt_3_4_2_1, 3_14_2_1, 3_15_2_1 and their like). */
Test(reason, decoded)
{
    static const struct {
        unsigned type;
        int side;
        const char *wire; /* the code for %02x */
    } rows[] = {
        {MQTT_CONNACK, SERVER, "20 {00 %02x {}}"},
        {MQTT_PUBACK, CLIENT, "40 {0001 %02x}"},
        {MQTT_PUBACK, SERVER, "40 {0001 %02x}"},
        {MQTT_PUBREC, CLIENT, "50 {0001 %02x}"},
        {MQTT_PUBREC, SERVER, "50 {0001 %02x}"},
        {MQTT_PUBREL, CLIENT, "62 {0001 %02x}"},
        {MQTT_PUBREL, SERVER, "62 {0001 %02x}"},
        {MQTT_PUBCOMP, CLIENT, "70 {0001 %02x}"},
        {MQTT_PUBCOMP, SERVER, "70 {0001 %02x}"},
        {MQTT_SUBACK, SERVER, "90 {0001 {} 00 %02x}"},
        {MQTT_UNSUBACK, SERVER, "b0 {0001 {} 00 %02x}"},
        {MQTT_DISCONNECT, CLIENT, "e0 {%02x}"},
        {MQTT_DISCONNECT, SERVER, "e0 {%02x}"},
        {MQTT_AUTH, CLIENT, "f0 {%02x {15 ['M']}}"},
        {MQTT_AUTH, SERVER, "f0 {%02x {15 ['M']}}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned reason = 0; reason < 256; reason++) {
            char wire[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(wire, sizeof wire, rows[i].wire, reason);
#pragma GCC diagnostic pop
            const bool fair = oracle_reason_allowed((uint8_t)reason, rows[i].type, rows[i].side);
            cr_expect_eq(wire_judge_text(wire, MQTT_V5, rows[i].side),
                         fair ? MQTT_OK : MQTT_ERR_PROTOCOL, "%s, side %d", wire, rows[i].side);
        }
    }
}

/* 43 codes have a text, each its own; no other number has one. */
Test(reason, texts)
{
    size_t known = 0;
    for (unsigned reason = 0; reason < 256; reason++) {
        const char *text = mqtt_reason_text((uint8_t)reason);
        known += strcmp(text, "?") != 0;
        for (unsigned other = 0; other < reason; other++) {
            cr_expect(strcmp(text, "?") == 0 || strcmp(text, mqtt_reason_text((uint8_t)other)) != 0,
                      "%02x and %02x", reason, other);
        }
    }
    cr_expect_eq(known, 43, "%zu", known);
    cr_expect_str_eq(mqtt_reason_text(MQTT_REASON_SUCCESS), "Success");
    cr_expect_str_eq(mqtt_reason_text(0x95), "Packet too large");
    cr_expect_str_eq(mqtt_reason_text(0xa2), "Wildcard Subscriptions not supported");
}

Test(reason, return_codes)
{
    static const struct {
        uint8_t reason, code;
    } rows[] = {{0x00, 0}, {0x18, 0}, {0x84, 1}, {0x85, 2}, {0x88, 3}, {0x89, 3},
                {0x97, 3}, {0x86, 4}, {0x87, 5}, {0x8a, 5}, {0x8c, 5}, {0xff, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(mqtt_reason_to_return_code(rows[i].reason), rows[i].code, "%02x",
                     rows[i].reason);
    }
}
