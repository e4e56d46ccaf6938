/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/packet_head.h"

#include <criterion/criterion.h>
#include <string.h>

#include "proto/mqtt.h"

static size_t head_of(const char *text, size_t len)
{
    return packet_head(bytes_of(text, len));
}

#define HEAD(text) head_of(text, sizeof(text) - 1)

Test(packet_head, connect_ends_with_the_client_identifier)
{
    static const char v311[] = "\x10\x1a\0\4MQTT\4\xc2\0\x3c\0\2me\0\4user\0\6secret";
    cr_expect_eq(HEAD(v311), 2 + 10 + 4u);
    static const char v31[] = "\x10\x1c\0\6MQIsdp\3\xc2\0\x3c\0\2me\0\4user\0\6secret";
    cr_expect_eq(HEAD(v31), 2 + 12 + 4u);
}

Test(packet_head, connect_of_5_ends_before_its_properties)
{
    /* Authentication Data is among them. */
    static const char v5[] = "\x10\x20\0\4MQTT\5\2\0\x3c\x0c\x15\0\1X\x16\0\6secret\0\2me";
    cr_expect_eq(HEAD(v5), 2 + 10u);
}

Test(packet_head, publish_ends_with_the_packet_identifier)
{
    cr_expect_eq(HEAD("\x30\x08\0\3a/bsec"), 2 + 5u);
    cr_expect_eq(HEAD("\x32\x0a\0\3a/b\0\1sec"), 2 + 7u);
    cr_expect_eq(HEAD("\x34\x85\1\0\3a/b\0\1sec"), 3 + 7u, "its length in two bytes");
}

Test(packet_head, answers_about_who_it_is_end_with_the_reason_code)
{
    cr_expect_eq(HEAD("\x20\x0b\0\0\x08\x16\0\5proof"), 4u);
    cr_expect_eq(HEAD("\xf0\x0a\x18\x08\x16\0\5proof"), 3u);
}

Test(packet_head, others_are_shown)
{
    cr_expect_eq(HEAD("\x82\x08\0\1\0\3a/b\0"), 10u);
    cr_expect_eq(HEAD("\xc0\0"), 2u);
    cr_expect_eq(HEAD("\xe0\x01\x04"), 3u);
}

/* Whatever the bytes are: no more than there are, and no byte beyond is looked at. */
Test(packet_head, any_bytes_have_a_head)
{
    uint32_t x = 1;
    for (unsigned round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        x = x * 1664525u + 1013904223u;
        const size_t len = x >> 8 & 15;
        for (size_t i = 0; i < len; i++) {
            x = x * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(i == 1 && (x >> 31) != 0 ? len - 2 : x >> 24);
        }
        uint8_t *const exact = malloc(len == 0 ? 1 : len); /* so that a read beyond shows */
        memcpy(exact, bytes, len);
        cr_assert_leq(packet_head(bytes_of(exact, len)), len);
        free(exact);
    }
}
