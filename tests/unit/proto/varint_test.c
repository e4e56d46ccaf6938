/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/varint.h"

#include <criterion/criterion.h>

static const struct {
    const char *name;
    uint8_t in[5];
    size_t len;
    enum mqtt_err err;
    uint32_t value;
    bool shortest;
} rows[] = {
    {"zero", {0x00}, 1, MQTT_OK, 0, true},
    {"largest of one", {0x7f}, 1, MQTT_OK, 127, true},
    {"smallest of two", {0x80, 0x01}, 2, MQTT_OK, 128, true},
    {"largest of two", {0xff, 0x7f}, 2, MQTT_OK, 16383, true},
    {"smallest of three", {0x80, 0x80, 0x01}, 3, MQTT_OK, 16384, true},
    {"largest of three", {0xff, 0xff, 0x7f}, 3, MQTT_OK, 2097151, true},
    {"smallest of four", {0x80, 0x80, 0x80, 0x01}, 4, MQTT_OK, 2097152, true},
    {"largest of four", {0xff, 0xff, 0xff, 0x7f}, 4, MQTT_OK, VARINT_MAX, true},
    {"zero in two", {0x80, 0x00}, 2, MQTT_OK, 0, false},
    {"zero in four", {0x80, 0x80, 0x80, 0x00}, 4, MQTT_OK, 0, false},
    {"never ends", {0x80, 0x80, 0x80, 0x80}, 4, MQTT_ERR_MALFORMED, 0, false},
    {"ends too late", {0xff, 0xff, 0xff, 0xff}, 4, MQTT_ERR_MALFORMED, 0, false},
};

/* Every beginning asks for more, only the whole is judged, and only a success is consumed. */
Test(varint, judged_whole)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t len = 0; len <= rows[i].len; len++) {
            const enum mqtt_err want = len < rows[i].len ? MQTT_ERR_NEED_MORE : rows[i].err;
            const uint8_t *const end = rows[i].in + len, *at = rows[i].in;
            uint32_t value = 77;
            cr_expect_eq(varint_decode(&at, end, &value), want, "%s, %zu", rows[i].name, len);
            cr_expect_eq(at, want == MQTT_OK ? end : rows[i].in, "%s, %zu", rows[i].name, len);
            cr_expect_eq(value, want == MQTT_OK ? rows[i].value : 77, "%s, %zu", rows[i].name, len);
        }
    }
}

Test(varint, what_follows_is_left_alone)
{
    const uint8_t in[] = {0x81, 0x01, 0xff};
    const uint8_t *at = in;
    uint32_t value;
    cr_expect_eq(varint_decode(&at, in + sizeof in, &value), MQTT_OK);
    cr_expect_eq(at, in + 2);
    cr_expect_eq(value, 129);
}

Test(varint, encodes_to_the_shortest_form)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].shortest) {
            uint8_t out[VARINT_BYTES_MAX];
            cr_expect_eq(varint_size(rows[i].value), rows[i].len, "%s", rows[i].name);
            cr_expect_eq(varint_encode(out, rows[i].value), rows[i].len, "%s", rows[i].name);
            cr_expect_arr_eq(out, rows[i].in, rows[i].len, "%s", rows[i].name);
        }
    }
}

/* All of two bytes, and every 97th after. */
Test(varint, round_trip)
{
    for (uint32_t value = 0; value <= VARINT_MAX; value += value < 20000 ? 1 : 97) {
        uint8_t out[VARINT_BYTES_MAX];
        const size_t len = varint_encode(out, value);
        const uint8_t *at = out;
        uint32_t back;
        if (len != varint_size(value) || varint_decode(&at, out + len, &back) != MQTT_OK ||
            back != value || at != out + len) {
            cr_assert_fail("%u", value);
        }
    }
}
