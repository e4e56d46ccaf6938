/* SPDX-License-Identifier: Apache-2.0 */
/* PINGREQ, PINGRESP, DISCONNECT, AUTH (3.12 to 3.15). */
#include "proto/mqtt.h"

#include <criterion/criterion.h>

#include "tests/unit/proto/wire.h"

#define MALFORMED MQTT_ERR_MALFORMED
#define PROTOCOL  MQTT_ERR_PROTOCOL

/* clang-format off */
static const struct { const char *name, *wire; enum mqtt_version version; bool side; enum mqtt_err err; } rows[] = {
    {"PINGREQ with a body",       "c0 {00}",                          MQTT_V5,   CLIENT, MALFORMED},
    {"PINGREQ with a body",       "c0 {00}",                          MQTT_V311, CLIENT, MALFORMED},
    {"PINGRESP with a body",      "d0 {00}",                          MQTT_V31,  SERVER, MALFORMED},
    {"DISCONNECT",                "e0 {}",                            MQTT_V31,  CLIENT, MQTT_OK},
    {"3.1.1, with a code",        "e0 {00}",                          MQTT_V311, CLIENT, MALFORMED},
    {"will",                      "e0 {04}",                          MQTT_V5,   CLIENT, MQTT_OK},
    {"will, of a server",         "e0 {04}",                          MQTT_V5,   SERVER, PROTOCOL},
    {"server's code of a client", "e0 {8b}",                          MQTT_V5,   CLIENT, PROTOCOL},
    {"unknown code",              "e0 {03}",                          MQTT_V5,   CLIENT, PROTOCOL},
    {"expiry",                    "e0 {00 {11 00000000}}",            MQTT_V5,   CLIENT, MQTT_OK},
    {"expiry, of a server",       "e0 {00 {11 00000000}}",            MQTT_V5,   SERVER, PROTOCOL},
    {"reference",                 "e0 {9c {1c ['h']}}",               MQTT_V5,   SERVER, MQTT_OK},
    {"reference, of a client",    "e0 {00 {1c ['h']}}",               MQTT_V5,   CLIENT, PROTOCOL},
    {"properties cut",            "e0 {00 05}",                       MQTT_V5,   CLIENT, MALFORMED},
    {"left over",                 "e0 {00 {} 00}",                    MQTT_V5,   CLIENT, MALFORMED},
    {"continue",                  "f0 {18 {15 ['M']}}",               MQTT_V5,   CLIENT, MQTT_OK},
    {"re-authenticate",           "f0 {19 {15 ['M'] 16 [ff]}}",       MQTT_V5,   CLIENT, MQTT_OK},
    {"re-authenticate, server",   "f0 {19 {15 ['M']}}",               MQTT_V5,   SERVER, PROTOCOL},
    {"success, of a client",      "f0 {00 {15 ['M']}}",               MQTT_V5,   CLIENT, PROTOCOL},
    {"success",                   "f0 {00 {15 ['M']}}",               MQTT_V5,   SERVER, MQTT_OK},
    {"foreign code",              "f0 {01 {15 ['M']}}",               MQTT_V5,   CLIENT, PROTOCOL},
    {"no method",                 "f0 {18 {}}",                       MQTT_V5,   CLIENT, PROTOCOL},
    {"data without method",       "f0 {18 {16 [00]}}",                MQTT_V5,   CLIENT, PROTOCOL},
    {"code alone",                "f0 {18}",                          MQTT_V5,   CLIENT, PROTOCOL},
    {"code alone, of a server",   "f0 {00}",                          MQTT_V5,   SERVER, PROTOCOL},
    {"empty, of a client",        "f0 {}",                            MQTT_V5,   CLIENT, PROTOCOL},
    {"empty, of a server",        "f0 {}",                            MQTT_V5,   SERVER, MQTT_OK},
    {"method twice",              "f0 {18 {15 ['M'] 15 ['M']}}",      MQTT_V5,   CLIENT, PROTOCOL},
    {"left over",                 "f0 {18 {15 ['M']} 00}",            MQTT_V5,   CLIENT, MALFORMED},
};
/* clang-format on */

Test(disconnect, judged)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(wire_judge_text(rows[i].wire, rows[i].version, rows[i].side), rows[i].err,
                     "%s: %s", rows[i].name, rows[i].wire);
    }
}

Test(disconnect, fields)
{
    uint8_t in[WIRE_BYTES_MAX];
    size_t len = wire_parse(in, "e0 {04 {11 0000000a 1f ['why']}}");
    const struct mqtt_params params = {.version = MQTT_V5};
    struct mqtt_packet packet;
    size_t used;
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    cr_expect_eq(packet.disconnect.reason, 4);
    cr_expect_eq(packet.disconnect.properties.session_expiry_interval_s, 10);
    cr_expect(bytes_equal(packet.disconnect.properties.reason_string, bytes_text("why")));

    len = wire_parse(in, "f0 {19 {15 ['M'] 16 [00ff]}}");
    cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
    cr_expect_eq(packet.auth.reason, MQTT_REASON_REAUTHENTICATE);
    cr_expect(bytes_equal(packet.auth.properties.authentication_method, bytes_text("M")));
    cr_expect_eq(packet.auth.properties.authentication_data.len, 2);
}

/* Before 5.0 a DISCONNECT has nothing to say. */
Test(disconnect, before_5_0)
{
    const struct mqtt_packet packet = {.type = MQTT_DISCONNECT, .disconnect = {.reason = 4}};
    uint8_t out[8];
    size_t used;
    cr_assert_eq(mqtt_encode(&packet, MQTT_V311, out, sizeof out, &used), MQTT_OK);
    cr_expect_eq(used, 2);
    cr_expect_arr_eq(out, ((uint8_t[]){0xe0, 0}), 2);
}
