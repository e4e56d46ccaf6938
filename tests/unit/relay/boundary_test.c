/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/relay/boundary.h"

#include <criterion/criterion.h>
#include <string.h>

/* CONNACK, PINGRESP, a PUBLISH with 130 bytes, and half of another one. */
static size_t stream(uint8_t *out, uint8_t reason)
{
    static const uint8_t begin[] = {0x20, 3, 0, 0, 0, 0xd0, 0, 0x30, 0x82, 1};
    memcpy(out, begin, sizeof begin);
    out[3] = reason;
    memset(out + sizeof begin, 0x20, 130);
    memcpy(out + sizeof begin + 130, begin + 7, 3);
    return sizeof begin + 130 + 3;
}

static bool is_between(size_t at)
{
    return at == 0 || at == 5 || at == 7 || at == 140;
}

/* However it is cut. */
Test(boundary, is_known_at_each_byte)
{
    uint8_t bytes[256];
    const size_t len = stream(bytes, 0);
    for (size_t cut = 0; cut <= len; cut++) {
        for (size_t at = cut; at <= len; at++) {
            struct boundary b = {0};
            boundary_pass(&b, bytes_of(bytes, cut));
            boundary_pass(&b, bytes_of(bytes + cut, at - cut));
            cr_assert_eq(boundary_is_between(&b), is_between(at), "%zu, %zu", cut, at);
            cr_assert_eq(b.connected, at >= 4, "%zu, %zu", cut, at);
            cr_assert_eq(b.begun, at > 0);
        }
    }
}

Test(boundary, a_refused_client_is_not_connected)
{
    uint8_t bytes[256];
    const size_t len = stream(bytes, 0x87);
    struct boundary b = {0};
    boundary_pass(&b, bytes_of(bytes, len));
    cr_expect_not(b.connected);
}

/* A packet of another type, as long, that begins with zeros. */
Test(boundary, only_connack_says_so)
{
    static const uint8_t puback[] = {0x40, 3, 0, 0, 0};
    struct boundary b = {0};
    boundary_pass(&b, bytes_of(puback, sizeof puback));
    cr_expect(boundary_is_between(&b));
    cr_expect_not(b.connected);
}

Test(boundary, what_is_no_packet_has_none)
{
    static const uint8_t longest[] = {0x30, 0xff, 0xff, 0xff, 0x7f};
    static const uint8_t endless[] = {0x30, 0xff, 0xff, 0xff, 0xff, 0, 0x20, 2, 0, 0};
    struct boundary b = {0};
    boundary_pass(&b, bytes_of(longest, sizeof longest));
    cr_expect_eq(b.at, BOUNDARY_IN_BODY);
    cr_expect_eq(b.left, 268435455);
    b = (struct boundary){0};
    boundary_pass(&b, bytes_of(endless, sizeof endless));
    cr_expect_not(boundary_is_between(&b));
    cr_expect_not(b.connected);
}
