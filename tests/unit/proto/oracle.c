/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/oracle.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/proto/wire.h"

/* clang-format off */
const struct oracle_place oracle_places[] = {
    {"CONNECT",     MQTT_CONNECT,     CLIENT, "10 {['MQTT'] 05 02 003c {@} ['me']}",
        {0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27}},
    {"will",        MQTT_CONNECT,     CLIENT, "10 {['MQTT'] 05 06 003c {} ['me'] {@} ['t'] ['bye']}",
        {0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26}},
    {"CONNACK",     MQTT_CONNACK,     SERVER, "20 {00 00 {@}}",
        {0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a}},
    {"PUBLISH C",   MQTT_PUBLISH,     CLIENT, "30 {['t'] {@} 'hello'}",
        {0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26}},
    {"PUBLISH S",   MQTT_PUBLISH,     SERVER, "30 {['t'] {@} 'hello'}",
        {0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26}},
    {"PUBACK C",    MQTT_PUBACK,      CLIENT, "40 {0001 00 {@}}", {0x1f, 0x26}},
    {"PUBACK S",    MQTT_PUBACK,      SERVER, "40 {0001 00 {@}}", {0x1f, 0x26}},
    {"PUBREC C",    MQTT_PUBREC,      CLIENT, "50 {0001 00 {@}}", {0x1f, 0x26}},
    {"PUBREC S",    MQTT_PUBREC,      SERVER, "50 {0001 00 {@}}", {0x1f, 0x26}},
    {"PUBREL C",    MQTT_PUBREL,      CLIENT, "62 {0001 00 {@}}", {0x1f, 0x26}},
    {"PUBREL S",    MQTT_PUBREL,      SERVER, "62 {0001 00 {@}}", {0x1f, 0x26}},
    {"PUBCOMP C",   MQTT_PUBCOMP,     CLIENT, "70 {0001 00 {@}}", {0x1f, 0x26}},
    {"PUBCOMP S",   MQTT_PUBCOMP,     SERVER, "70 {0001 00 {@}}", {0x1f, 0x26}},
    {"SUBSCRIBE",   MQTT_SUBSCRIBE,   CLIENT, "82 {0001 {@} ['t'] 00}", {0x0b, 0x26}},
    {"SUBACK",      MQTT_SUBACK,      SERVER, "90 {0001 {@} 00}", {0x1f, 0x26}},
    {"UNSUBSCRIBE", MQTT_UNSUBSCRIBE, CLIENT, "a2 {0001 {@} ['t']}", {0x26}},
    {"UNSUBACK",    MQTT_UNSUBACK,    SERVER, "b0 {0001 {@} 00}", {0x1f, 0x26}},
    {"DISCONNECT C", MQTT_DISCONNECT, CLIENT, "e0 {00 {@}}", {0x11, 0x1f, 0x26}},
    {"DISCONNECT S", MQTT_DISCONNECT, SERVER, "e0 {00 {@}}", {0x1c, 0x1f, 0x26}},
    {"AUTH C",      MQTT_AUTH,        CLIENT, "f0 {18 {@}}", {0x15, 0x16, 0x1f, 0x26}},
    {"AUTH S",      MQTT_AUTH,        SERVER, "f0 {18 {@}}", {0x15, 0x16, 0x1f, 0x26}},
};
const size_t oracle_places_count = sizeof oracle_places / sizeof oracle_places[0];

static const char *const properties[256] = {
    [0x01] = "01 01",         [0x02] = "02 0000003c",       [0x03] = "03 ['text']",
    [0x08] = "08 ['r/t']",    [0x09] = "09 [00ff]",         [0x0b] = "0b ffffff7f",
    [0x11] = "11 ffffffff",   [0x12] = "12 ['id']",         [0x13] = "13 ffff",
    [0x15] = "15 ['M']",      [0x16] = "16 [0001]",         [0x17] = "17 00",
    [0x18] = "18 00000005",   [0x19] = "19 01",             [0x1a] = "1a ['stem']",
    [0x1c] = "1c ['h:1']",    [0x1f] = "1f ['why']",        [0x21] = "21 ffff",
    [0x22] = "22 0000",       [0x23] = "23 0001",           [0x24] = "24 01",
    [0x25] = "25 00",         [0x26] = "26 ['k'] ['v']",    [0x27] = "27 00000001",
    [0x28] = "28 00",         [0x29] = "29 01",             [0x2a] = "2a 01",
};

/* Tables 3-1, 3-4, 3-5, 3-6, 3-7, 3-8, 3-9, 3-10 (each with 0x8c and 0x9b, see tbl/reason.h), 3-11. */
static const struct {
    const char *client; /* two digits each */
    const char *server;
} reasons[MQTT_TYPES] = {
    [MQTT_CONNACK] = {"", "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f"},
    [MQTT_PUBACK] = {"00 80 83 87 90 91 97 99", "00 10 80 83 87 90 91 97 99"},
    [MQTT_PUBREC] = {"00 80 83 87 90 91 97 99", "00 10 80 83 87 90 91 97 99"},
    [MQTT_PUBREL] = {"00 92", "00 92"},
    [MQTT_PUBCOMP] = {"00 92", "00 92"},
    [MQTT_SUBACK] = {"", "00 01 02 80 83 87 8f 91 97 9e a1 a2"},
    [MQTT_UNSUBACK] = {"", "00 11 80 83 87 8f 91"},
    [MQTT_DISCONNECT] = {"00 04 80 81 82 83 8c 90 93 94 95 96 97 98 99 9b",
                         "00 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2"},
    [MQTT_AUTH] = {"18 19", "00 18"},
};
/* clang-format on */

const char *oracle_property(uint8_t id)
{
    return properties[id];
}

bool oracle_property_allowed(const struct oracle_place *place, uint8_t id)
{
    return id != 0 && memchr(place->ids, id, sizeof place->ids) != NULL;
}

bool oracle_property_others(const struct oracle_place *place, uint8_t id)
{
    for (size_t i = 0; i < oracle_places_count; i++) {
        const struct oracle_place *p = &oracle_places[i];
        if (p->type == place->type && p->from_server != place->from_server &&
            oracle_property_allowed(p, id)) {
            return true;
        }
    }
    return false;
}

size_t oracle_packet(uint8_t *out, const struct oracle_place *place, const char *props)
{
    char text[WIRE_BYTES_MAX];
    const int before = (int)strcspn(place->wire, "@");
    const int len = snprintf(text, sizeof text, "%.*s%s%s", before, place->wire, props,
                             place->wire + before + 1);
    assert(len > 0 && (size_t)len < sizeof text);
    return wire_parse(out, text);
}

bool oracle_reason_allowed(uint8_t reason, unsigned type, bool from_server)
{
    const char *list = from_server ? reasons[type].server : reasons[type].client;
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", reason);
    return list != NULL && strstr(list, digits) != NULL;
}
