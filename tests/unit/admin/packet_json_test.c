/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/packet_json.h"

#include <criterion/criterion.h>
#include <string.h>

#include "proto/mqtt.h"

#define V4 MQTT_V311
#define V5 MQTT_V5

static const struct {
    const char *name;
    uint8_t version;
    const char *bytes;
    size_t len;
    const char *json;
} rows[] = {
#define ROW(name, version, bytes, json)                                                            \
    {                                                                                              \
        name, version, bytes, sizeof(bytes) - 1, json                                              \
    }
    ROW("nothing", V5, "", "{}"),
    ROW("a type that there is not", V5, "\x00\x00", "{}"),
    ROW("CONNECT", V5, "\x10\x0d\x00\x04MQTT\x05\x06\x00\x3c",
        "{\"packet\":\"CONNECT\",\"protocol_level\":5,\"clean_start\":true,\"has_will\":true,"
        "\"keep_alive_s\":60}"),
    ROW("CONNACK of old", V4, "\x20\x02\x00\x05",
        "{\"packet\":\"CONNACK\",\"session_present\":false,\"reason_code\":5,"
        "\"reason\":\"Not authorized\"}"),
    ROW("CONNACK", V5, "\x20\x03\x01\x00",
        "{\"packet\":\"CONNACK\",\"session_present\":true,\"reason_code\":0,"
        "\"reason\":\"Success\"}"),
    ROW("PUBLISH", V5, "\x3d\x07\x00\x01t\x01\x02",
        "{\"packet\":\"PUBLISH\",\"qos\":2,\"retain\":true,\"dup\":true,\"packet_id\":258}"),
    ROW("PUBLISH, QoS 0", V4, "\x30\x03\x00\x01t",
        "{\"packet\":\"PUBLISH\",\"qos\":0,\"retain\":false,\"dup\":false}"),
    ROW("PUBACK, short", V5, "\x40\x02\x00\x07", "{\"packet\":\"PUBACK\",\"packet_id\":7}"),
    ROW("PUBREC", V5, "\x50\x03\x00\x07\x97",
        "{\"packet\":\"PUBREC\",\"packet_id\":7,\"reason_code\":151,"
        "\"reason\":\"Quota exceeded\"}"),
    ROW("SUBSCRIBE", V5,
        "\x82\x0e\x00\x09\x02\x0b\x05\x00\x01"
        "a\x2d\x00\x01"
        "b\x00",
        "{\"packet\":\"SUBSCRIBE\",\"packet_id\":9,\"filters\":[{\"filter\":\"a\",\"qos\":1,"
        "\"no_local\":true,\"retain_as_published\":true,\"retain_handling\":2},{\"filter\":\"b\","
        "\"qos\":0,\"no_local\":false,\"retain_as_published\":false,\"retain_handling\":0}]}"),
    ROW("SUBSCRIBE that is cut", V4,
        "\x82\x80\x01\x00\x09\x00\x01"
        "a\x01\x00\x64"
        "b",
        "{\"packet\":\"SUBSCRIBE\",\"packet_id\":9,\"filters\":[{\"filter\":\"a\",\"qos\":1}]}"),
    ROW("SUBACK", V5, "\x90\x05\x00\x09\x00\x01\x87",
        "{\"packet\":\"SUBACK\",\"packet_id\":9,\"reason_codes\":[1,135]}"),
    ROW("UNSUBSCRIBE of old", V4,
        "\xa2\x05\x00\x03\x00\x01"
        "a",
        "{\"packet\":\"UNSUBSCRIBE\",\"packet_id\":3,\"filters\":[{\"filter\":\"a\"}]}"),
    ROW("UNSUBACK of old", V4, "\xb0\x02\x00\x03",
        "{\"packet\":\"UNSUBACK\",\"packet_id\":3,\"reason_codes\":[]}"),
    ROW("PINGREQ", V5, "\xc0\x00", "{\"packet\":\"PINGREQ\"}"),
    ROW("DISCONNECT", V5, "\xe0\x01\x8e",
        "{\"packet\":\"DISCONNECT\",\"reason_code\":142,\"reason\":\"Session taken over\"}"),
    ROW("DISCONNECT, short", V5, "\xe0\x00", "{\"packet\":\"DISCONNECT\"}"),
    ROW("AUTH", V5, "\xf0\x10\x18",
        "{\"packet\":\"AUTH\",\"reason_code\":24,\"reason\":\"Continue authentication\"}"),
};

static char *told(uint8_t version, struct bytes head)
{
    json_t *const o = json_object();
    cr_assert_eq(packet_json_add(o, version, head), 0);
    char *const text = json_dumps(o, JSON_COMPACT);
    cr_assert_not_null(text);
    json_decref(o);
    return text;
}

Test(packet_json, each_packet_says_what_stands_in_it)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *const text = told(rows[i].version, bytes_of(rows[i].bytes, rows[i].len));
        cr_expect_str_eq(text, rows[i].json, "%s: %s", rows[i].name, text);
        free(text);
    }
}

/* Every beginning is read without going beyond it: the copy is as long as it is. */
Test(packet_json, bytes_may_end_anywhere)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t len = 0; len <= rows[i].len; len++) {
            uint8_t *const copy = malloc(len + 1);
            cr_assert_not_null(copy);
            uint8_t *const at = copy + 1;
            memcpy(at, rows[i].bytes, len);
            free(told(rows[i].version, bytes_of(at, len)));
            free(copy);
        }
    }
}
