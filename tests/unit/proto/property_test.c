/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/property.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "proto/message_properties.h"
#include "tests/unit/proto/oracle.h"
#include "tests/unit/proto/wire.h"

static enum mqtt_err judge(const struct oracle_place *place, const char *properties)
{
    uint8_t in[WIRE_BYTES_MAX];
    const size_t len = oracle_packet(in, place, properties);
    return wire_judge(in, len, MQTT_V5, place->from_server);
}

/* The other properties without which the packet would not be in order. */
static const char *company(const struct oracle_place *place, unsigned id)
{
    const bool method = place->type == MQTT_AUTH ||
                        (place->type == MQTT_CONNECT && id == PROPERTY_AUTHENTICATION_DATA &&
                         oracle_property_allowed(place, (uint8_t)id));
    return method && id != PROPERTY_AUTHENTICATION_METHOD ? "15 ['M']" : "";
}

/* U5-2.2.2-a: each identifier in each packet, from each side that sends it. */
Test(property, allowed_or_not)
{
    for (size_t i = 0; i < oracle_places_count; i++) {
        const struct oracle_place *place = &oracle_places[i];
        for (unsigned id = 0; id < 256; id++) {
            const char *value = oracle_property((uint8_t)id);
            char properties[128], unknown[8];
            snprintf(unknown, sizeof unknown, "%02x 00", id);
            snprintf(properties, sizeof properties, "%s %s", company(place, id),
                     value != NULL ? value : unknown);
            const enum mqtt_err want = oracle_property_allowed(place, (uint8_t)id) ? MQTT_OK
                                       : oracle_property_others(place, (uint8_t)id)
                                           ? MQTT_ERR_PROTOCOL
                                           : MQTT_ERR_MALFORMED;
            cr_expect_eq(judge(place, properties), want, "%s: %s", place->name, properties);
        }
    }
}

/* U5-3.1.2-a, 3.1.3-a, 3.3.2-b, 3.4.2-b … */
Test(property, repeated)
{
    for (size_t i = 0; i < oracle_places_count; i++) {
        const struct oracle_place *place = &oracle_places[i];
        for (const uint8_t *id = place->ids; *id != 0; id++) {
            char properties[128];
            snprintf(properties, sizeof properties, "%s %s %s", company(place, *id),
                     oracle_property(*id), oracle_property(*id));
            const bool may = *id == PROPERTY_USER_PROPERTY ||
                             (*id == PROPERTY_SUBSCRIPTION_IDENTIFIER && place->from_server);
            cr_expect_eq(judge(place, properties), may ? MQTT_OK : MQTT_ERR_PROTOCOL, "%s: %s",
                         place->name, properties);
        }
    }
}

/* U5-2.2.2-b: cut off anywhere inside, with the length of the properties telling so. */
Test(property, cut_off)
{
    for (size_t i = 0; i < oracle_places_count; i++) {
        const struct oracle_place *place = &oracle_places[i];
        for (const uint8_t *id = place->ids; *id != 0; id++) {
            uint8_t value[64];
            const size_t len = wire_parse(value, oracle_property(*id));
            for (size_t cut = 1; cut < len; cut++) {
                char properties[160] = "";
                for (size_t b = 0; b < cut; b++) {
                    snprintf(properties + 2 * b, 3, "%02x", value[b]);
                }
                cr_expect_eq(judge(place, properties), MQTT_ERR_MALFORMED, "%s: %s", place->name,
                             properties);
            }
        }
    }
}

/* clang-format off */
static const struct { const char *place, *property; enum mqtt_err err; } ranges[] = {
    {"PUBLISH C",  "01 00",          MQTT_OK},
    {"PUBLISH C",  "01 02",          MQTT_ERR_PROTOCOL},
    {"will",       "01 ff",          MQTT_ERR_PROTOCOL},
    {"PUBLISH C",  "02 00000000",    MQTT_OK},
    {"PUBLISH C",  "02 ffffffff",    MQTT_OK},
    {"PUBLISH C",  "03 [ff]",        MQTT_ERR_MALFORMED},
    {"PUBLISH C",  "03 []",          MQTT_OK},
    {"will",       "08 ['a/#']",     MQTT_ERR_PROTOCOL},
    {"will",       "08 []",          MQTT_ERR_PROTOCOL},
    {"PUBLISH S",  "08 ['+']",       MQTT_ERR_PROTOCOL},
    {"PUBLISH C",  "09 []",          MQTT_OK},
    {"SUBSCRIBE",  "0b 00",          MQTT_ERR_PROTOCOL},
    {"SUBSCRIBE",  "0b ffffffff7f",  MQTT_ERR_MALFORMED},
    {"SUBSCRIBE",  "0b 8000",        MQTT_ERR_MALFORMED},
    {"CONNECT",    "11 00000000",    MQTT_OK},
    {"CONNACK",    "13 0000",        MQTT_OK},
    {"CONNECT",    "17 01",          MQTT_OK},
    {"CONNECT",    "17 02",          MQTT_ERR_PROTOCOL},
    {"CONNECT",    "19 00",          MQTT_OK},
    {"CONNECT",    "19 ff",          MQTT_ERR_PROTOCOL},
    {"will",       "18 ffffffff",    MQTT_OK},
    {"CONNECT",    "21 0000",        MQTT_ERR_PROTOCOL},
    {"CONNACK",    "21 0000",        MQTT_ERR_PROTOCOL},
    {"CONNECT",    "21 0001",        MQTT_OK},
    {"CONNECT",    "22 ffff",        MQTT_OK},
    {"PUBLISH C",  "23 0000",        MQTT_ERR_TOPIC_ALIAS},
    {"PUBLISH S",  "23 0000",        MQTT_ERR_TOPIC_ALIAS},
    {"PUBLISH C",  "23 ffff",        MQTT_OK},
    {"CONNACK",    "24 00",          MQTT_OK},
    {"CONNACK",    "24 02",          MQTT_ERR_PROTOCOL},
    {"CONNACK",    "25 01",          MQTT_OK},
    {"CONNACK",    "25 02",          MQTT_ERR_PROTOCOL},
    {"CONNECT",    "27 00000000",    MQTT_ERR_PROTOCOL},
    {"CONNECT",    "27 ffffffff",    MQTT_OK},
    {"CONNACK",    "28 02",          MQTT_ERR_PROTOCOL},
    {"CONNACK",    "29 02",          MQTT_ERR_PROTOCOL},
    {"CONNACK",    "2a 02",          MQTT_ERR_PROTOCOL},
    {"PUBACK C",   "1f [c0af]",      MQTT_ERR_MALFORMED},
    {"PUBLISH C",  "26 [ff] []",     MQTT_ERR_MALFORMED},
    {"PUBLISH C",  "26 [] [00]",     MQTT_ERR_MALFORMED},
    {"PUBLISH C",  "26 ['k']",       MQTT_ERR_MALFORMED},
    {"CONNECT",    "8100",           MQTT_ERR_MALFORMED}, /* 0x01 as a varint of two bytes */
};
/* clang-format on */

Test(property, range)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        for (size_t k = 0; k < oracle_places_count; k++) {
            if (strcmp(oracle_places[k].name, ranges[i].place) == 0) {
                cr_expect_eq(judge(&oracle_places[k], ranges[i].property), ranges[i].err, "%s: %s",
                             ranges[i].place, ranges[i].property);
            }
        }
    }
}

static void decode(struct mqtt_packet *packet, const char *text, bool from_server)
{
    static uint8_t in[WIRE_BYTES_MAX]; /* the packet points into it */
    const struct mqtt_params params = {.version = MQTT_V5, .from_server = from_server};
    size_t used;
    cr_assert_eq(mqtt_decode(packet, in, wire_parse(in, text), &params, &used), MQTT_OK, "%s",
                 text);
}

static bool is(struct bytes have, const char *want)
{
    return bytes_equal(have, bytes_text(want));
}

/* Each value is where its name says. */
Test(property, values)
{
    struct mqtt_packet packet;
    const struct mqtt_properties *p = &packet.connack.properties;
    decode(&packet,
           "20 {00 00 {11 00000011 12 ['id'] 13 1313 15 ['M'] 16 ['D'] 1a ['stem'] 1c ['ref'] "
           "1f ['why'] 21 2121 22 2222 24 01 25 00 26 [] [] 27 27272727 28 00 29 01 2a 00}}",
           SERVER);
    cr_expect_eq(p->session_expiry_interval_s, 0x11);
    cr_expect(is(p->assigned_client_identifier, "id"));
    cr_expect_eq(p->server_keep_alive_s, 0x1313);
    cr_expect(is(p->authentication_method, "M") && is(p->authentication_data, "D"));
    cr_expect(is(p->response_information, "stem") && is(p->server_reference, "ref"));
    cr_expect(is(p->reason_string, "why"));
    cr_expect_eq(p->receive_maximum, 0x2121);
    cr_expect_eq(p->topic_alias_maximum, 0x2222);
    cr_expect(p->maximum_qos == 1 && p->retain_available == 0);
    cr_expect_eq(p->maximum_packet_size, 0x27272727);
    cr_expect_eq(p->wildcard_subscription_available, 0);
    cr_expect_eq(p->subscription_identifier_available, 1);
    cr_expect_eq(p->shared_subscription_available, 0);

    p = &packet.publish.properties;
    decode(&packet,
           "30 {['t'] {01 01 02 02020202 03 ['ct'] 08 ['rt'] 09 [0009] 0b 01 0b 8102 23 2323}}",
           SERVER);
    cr_expect_eq(p->payload_format_indicator, 1);
    cr_expect_eq(p->message_expiry_interval_s, 0x02020202);
    cr_expect(is(p->content_type, "ct") && is(p->response_topic, "rt"));
    cr_expect(bytes_equal(p->correlation_data, bytes_of("\0\t", 2)));
    cr_expect_eq(p->subscription_identifier, 0x101, "the last one");
    cr_expect_eq(p->topic_alias, 0x2323);

    p = &packet.connect.properties;
    decode(&packet, "10 {['MQTT'] 05 06 0000 {17 00 19 01} [] {18 18181818} ['w'] []}", CLIENT);
    cr_expect(p->request_problem_information == 0 && p->request_response_information == 1);
    cr_expect_eq(packet.connect.will.properties.will_delay_interval_s, 0x18181818);
    cr_expect_not(property_has(p, PROPERTY_WILL_DELAY_INTERVAL));
}

/* Walking `raw` gives what was put in, in order, and each whole as it stood. */
Test(property, walked)
{
    struct mqtt_packet packet;
    decode(&packet, "30 {['t'] {26 ['k1'] ['v1'] 0b 8102 01 01 26 ['k2'] [] 09 [ff] 23 0005}}",
           SERVER);
    static const struct {
        enum property_id id;
        size_t size;
        uint32_t number;
        const char *string, *value;
    } want[] = {
        {PROPERTY_USER_PROPERTY, 9, 0, "k1", "v1"},
        {PROPERTY_SUBSCRIPTION_IDENTIFIER, 3, 0x101, "", ""},
        {PROPERTY_PAYLOAD_FORMAT_INDICATOR, 2, 1, "", ""},
        {PROPERTY_USER_PROPERTY, 7, 0, "k2", ""},
        {PROPERTY_CORRELATION_DATA, 4, 0, "\xff", ""},
        {PROPERTY_TOPIC_ALIAS, 3, 5, "", ""},
    };
    struct bytes rest = packet.publish.properties.raw;
    const uint8_t *at = rest.at;
    struct property property;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        cr_assert(property_next(&rest, &property), "%zu", i);
        cr_expect_eq(property.id, want[i].id, "%zu", i);
        cr_expect_eq(property.number, want[i].number, "%zu", i);
        cr_expect(is(property.string, want[i].string) && is(property.value, want[i].value), "%zu",
                  i);
        cr_expect(property.whole.at == at && property.whole.len == want[i].size, "%zu", i);
        at += want[i].size;
    }
    cr_expect_not(property_next(&rest, &property));
}

/* The writer's bytes are the ones that a decoder takes. */
Test(property, written)
{
    uint8_t out[128], want[WIRE_BYTES_MAX];
    struct property_writer w = {.at = out, .size = sizeof out};
    property_put_number(&w, PROPERTY_PAYLOAD_FORMAT_INDICATOR, 1);
    property_put_number(&w, PROPERTY_MESSAGE_EXPIRY_INTERVAL, 0x01020304);
    property_put_number(&w, PROPERTY_TOPIC_ALIAS, 0x0506);
    property_put_number(&w, PROPERTY_SUBSCRIPTION_IDENTIFIER, 128);
    property_put_string(&w, PROPERTY_CONTENT_TYPE, bytes_text("ct"));
    property_put_string(&w, PROPERTY_CORRELATION_DATA, bytes_of(NULL, 0));
    property_put_pair(&w, bytes_text("k"), bytes_text("value"));
    property_put_whole(&w, bytes_of("\x23\x00\x01", 3));
    property_put_whole(&w, bytes_of(NULL, 0));
    const size_t len = wire_parse(want, "01 01 02 01020304 23 0506 0b 8001 03 ['ct'] 09 [] "
                                        "26 ['k'] ['value'] 23 0001");
    cr_expect_not(w.overflow);
    cr_assert_eq(w.len, len);
    cr_expect_arr_eq(out, want, len);
}

/* What does not fit is not there in part, and all that comes after is left out too. */
Test(property, writer_overflow)
{
    for (int kind = 0; kind < 4; kind++) {
        uint8_t out[16];
        memset(out, 0xaa, sizeof out);
        struct property_writer w = {.at = out, .size = 4};
        property_put_number(&w, PROPERTY_MAXIMUM_QOS, 1);
        switch (kind) {
        case 0:
            property_put_number(&w, PROPERTY_RECEIVE_MAXIMUM, 1);
            break;
        case 1:
            property_put_string(&w, PROPERTY_REASON_STRING, bytes_text(""));
            break;
        case 2:
            property_put_pair(&w, bytes_text(""), bytes_text(""));
            break;
        default:
            property_put_whole(&w, bytes_of("123", 3));
        }
        cr_expect(w.overflow, "%d", kind);
        property_put_number(&w, PROPERTY_MAXIMUM_QOS, 1);
        cr_expect(w.overflow, "%d: it stays", kind);
        cr_expect_eq(w.len, 2, "%d", kind);
        cr_expect_eq(out[2], 0xaa, "%d", kind);
    }
}

/* Room is used up to its last byte. */
Test(property, writer_full)
{
    uint8_t out[5], want[WIRE_BYTES_MAX];
    struct property_writer w = {.at = out, .size = sizeof out};
    property_put_number(&w, PROPERTY_MAXIMUM_QOS, 1);
    property_put_number(&w, PROPERTY_RECEIVE_MAXIMUM, 2);
    wire_parse(want, "24 01 21 0002");
    cr_expect_not(w.overflow);
    cr_expect_eq(w.len, sizeof out);
    cr_expect_arr_eq(out, want, sizeof out);
    property_put_whole(&w, bytes_of(NULL, 0));
    cr_expect_not(w.overflow, "nothing fits where there is no room");
}

Test(property, names)
{
    cr_expect_str_eq(property_name(PROPERTY_PAYLOAD_FORMAT_INDICATOR), "Payload Format Indicator");
    cr_expect_str_eq(property_name(PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE),
                     "Shared Subscription Available");
    cr_expect_str_eq(property_name(0), "?");
    cr_expect_str_eq(property_name(0x10), "?");
    cr_expect_str_eq(property_name(PROPERTY_IDS), "?");
    size_t known = 0;
    for (unsigned id = 0; id < PROPERTY_IDS; id++) {
        known += strcmp(property_name(id), "?") != 0;
    }
    cr_expect_eq(known, 27);
}

static bool is_kept(const char *hex)
{
    uint8_t raw[WIRE_BYTES_MAX];
    const size_t len = wire_parse(raw, hex);
    return message_properties_valid(bytes_of(raw, len));
}

/* What a message keeps, without its length; not what is the hop's own. */
Test(property, of_a_message)
{
    cr_expect(message_properties_valid(bytes_of(NULL, 0)));
    cr_expect(is_kept("01 01 26 0001 61 0001 62"));
    cr_expect_not(is_kept("01 02"), "a payload format that there is not");
    cr_expect_not(is_kept("01 01 01 01"), "twice");
    cr_expect_not(is_kept("23 0001"), "a topic alias");
    cr_expect_not(is_kept("02 00000001"), "an expiry interval");
    cr_expect_not(is_kept("0b 01"), "a subscription identifier");
    cr_expect_not(is_kept("26 0001 61"), "cut off");
    cr_expect_not(is_kept("7f"), "none that there is");
}
