/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/proxy_header.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct told {
    enum proxy_header_err err;
    size_t used;
    struct proxy_header header;
};

/* However the bytes come, the answer is the same, and no byte behind the header is asked for. */
static struct told decode(const void *in, size_t len)
{
    struct told t = {.used = 0};
    memset(&t.header, 0x55, sizeof t.header);
    uint8_t *const bytes = malloc(len + 1); /* exact, so that a read beyond shows */
    size_t at = 0;
    for (;;) {
        uint8_t *const exact = malloc(at == 0 ? 1 : at);
        memcpy(exact, in, at);
        t.err = proxy_header_decode(&t.header, exact, at, &t.used);
        free(exact);
        if (t.err != PROXY_HEADER_NEED_MORE) {
            break;
        }
        cr_assert_gt(t.used, at, "it asks for more than there is");
        if (t.used > len) {
            break;
        }
        at = t.used;
    }
    memcpy(bytes, in, len);
    struct proxy_header header;
    size_t used;
    const enum proxy_header_err err = proxy_header_decode(&header, bytes, len, &used);
    cr_expect_eq(err, t.err, "in one piece");
    if (t.err == PROXY_HEADER_OK) {
        cr_expect_eq(used, t.used);
        cr_expect_eq(at, t.used, "nothing behind it is looked at");
    }
    free(bytes);
    return t;
}

static const char *end_text(const struct proxy_end *end)
{
    static char text[2][80];
    static unsigned turn;
    char host[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &end->address, host, sizeof host);
    turn ^= 1;
    snprintf(text[turn], sizeof text[turn], "%s %u", host, end->port);
    return text[turn];
}

/* ---- version 1 */

Test(proxy_header, text)
{
    static const struct {
        const char *line;
        enum proxy_family family;
        const char *source, *destination;
    } rows[] = {
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", PROXY_FAMILY_IPV4,
         "::ffff:192.0.2.1 56324", "::ffff:192.0.2.2 443"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", PROXY_FAMILY_IPV4,
         "::ffff:255.255.255.255 65535", "::ffff:255.255.255.255 65535"},
        {"PROXY TCP6 2001:db8::1 ::1 0 1\r\n", PROXY_FAMILY_IPV6, "2001:db8::1 0", "::1 1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         PROXY_FAMILY_IPV6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"},
        {"PROXY UNKNOWN\r\n", PROXY_FAMILY_NONE, ":: 0", ":: 0"},
        {"PROXY UNKNOWN what ever 1 2 3\r\n", PROXY_FAMILY_NONE, ":: 0", ":: 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char with_more[200];
        snprintf(with_more, sizeof with_more, "%s\x10\nmore", rows[i].line);
        const struct told t = decode(with_more, strlen(with_more));
        cr_assert_eq(t.err, PROXY_HEADER_OK, "%s", rows[i].line);
        cr_expect_eq(t.used, strlen(rows[i].line));
        cr_expect_eq(t.header.family, rows[i].family);
        cr_expect_not(t.header.local);
        cr_expect_str_eq(end_text(&t.header.source), rows[i].source);
        cr_expect_str_eq(end_text(&t.header.destination), rows[i].destination);
    }
}

Test(proxy_header, text_malformed)
{
    static const char *const lines[] = {
        "QROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2x\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "GET / HTTP/1.1\r\n",
        "\x10\x0c",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_expect_eq(decode(lines[i], strlen(lines[i])).err, PROXY_HEADER_MALFORMED, "%s",
                     lines[i]);
    }
    static const char with_nul[] = "PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n";
    cr_expect_eq(decode(with_nul, sizeof with_nul - 1).err, PROXY_HEADER_MALFORMED);
}

Test(proxy_header, text_has_107_bytes_at_most)
{
    char line[200];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 105, "\r\n", 2);
    cr_expect_eq(decode(line, sizeof line).err, PROXY_HEADER_OK);
    memset(line + 105, 'x', 2);
    cr_expect_eq(decode(line, 106).err, PROXY_HEADER_NEED_MORE);
    cr_expect_eq(decode(line, 107).err, PROXY_HEADER_MALFORMED);
    memcpy(line + 106, "\r\n", 2);
    cr_expect_eq(decode(line, sizeof line).err, PROXY_HEADER_MALFORMED);
}

/* ---- version 2 */

struct binary {
    uint8_t at[8192];
    size_t len;
};

static void put(struct binary *b, const void *bytes, size_t len)
{
    memcpy(b->at + b->len, bytes, len);
    b->len += len;
}

static struct binary binary(uint8_t version_and_command, uint8_t family)
{
    struct binary b = {.len = 0};
    put(&b, "\r\n\r\n\0\r\nQUIT\n", 12);
    put(&b, (const uint8_t[]){version_and_command, family, 0, 0}, 4);
    return b;
}

static void put_tlv(struct binary *b, uint8_t type, const void *value, size_t len)
{
    put(b, (const uint8_t[]){type, (uint8_t)(len >> 8), (uint8_t)len}, 3);
    put(b, value, len);
}

static struct told done(struct binary *b)
{
    const size_t len = b->len - 16;
    b->at[14] = (uint8_t)(len >> 8);
    b->at[15] = (uint8_t)len;
    put(b, "\r\n\r\n behind", 11);
    const struct told t = decode(b->at, b->len);
    if (t.err == PROXY_HEADER_OK) {
        cr_expect_eq(t.used, 16 + len);
    }
    return t;
}

#define V4_ENDS "\xc0\0\2\1\xc0\0\2\2\xdc\4\1\xbb" /* 192.0.2.1, 192.0.2.2, 56324, 443 */

static struct binary binary_v4(void)
{
    struct binary b = binary(0x21, 0x11);
    put(&b, V4_ENDS, 12);
    return b;
}

Test(proxy_header, binary_addresses)
{
    struct binary b = binary_v4();
    struct told t = done(&b);
    cr_assert_eq(t.err, PROXY_HEADER_OK);
    cr_expect_eq(t.header.family, PROXY_FAMILY_IPV4);
    cr_expect_str_eq(end_text(&t.header.source), "::ffff:192.0.2.1 56324");
    cr_expect_str_eq(end_text(&t.header.destination), "::ffff:192.0.2.2 443");
    cr_expect_not(t.header.tls.used);

    b = binary(0x21, 0x21);
    put(&b, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    put(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\2", 20);
    t = done(&b);
    cr_assert_eq(t.err, PROXY_HEADER_OK);
    cr_expect_eq(t.header.family, PROXY_FAMILY_IPV6);
    cr_expect_str_eq(end_text(&t.header.source), "2001:db8::1 1");
    cr_expect_str_eq(end_text(&t.header.destination), "::1 2");

    b = binary(0x21, 0x31);
    b.len += 216;
    t = done(&b);
    cr_assert_eq(t.err, PROXY_HEADER_OK);
    cr_expect_eq(t.header.family, PROXY_FAMILY_UNIX);

    b = binary(0x21, 0x00); /* not told */
    t = done(&b);
    cr_assert_eq(t.err, PROXY_HEADER_OK);
    cr_expect_eq(t.header.family, PROXY_FAMILY_NONE);
}

Test(proxy_header, binary_local_passes_over_the_rest)
{
    struct binary b = binary(0x20, 0xff);
    put(&b, "what ever", 9);
    const struct told t = done(&b);
    cr_assert_eq(t.err, PROXY_HEADER_OK);
    cr_expect(t.header.local);
    cr_expect_eq(t.header.family, PROXY_FAMILY_NONE);
}

Test(proxy_header, binary_malformed)
{
    static const struct {
        uint8_t version_and_command, family;
        size_t addresses;
    } rows[] = {
        {0x11, 0x11, 12}, {0x31, 0x11, 12}, {0x22, 0x11, 12}, {0x2f, 0x11, 12},
        {0x21, 0x41, 12}, {0x21, 0x11, 11}, {0x21, 0x21, 35}, {0x21, 0x31, 215},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct binary b = binary(rows[i].version_and_command, rows[i].family);
        b.len += rows[i].addresses;
        cr_expect_eq(done(&b).err, PROXY_HEADER_MALFORMED, "row %zu", i);
    }
    for (size_t i = 0; i < 12; i++) { /* the signature */
        struct binary b = binary_v4();
        b.at[i] ^= 1;
        cr_expect_eq(done(&b).err, PROXY_HEADER_MALFORMED, "byte %zu", i);
    }
}

Test(proxy_header, binary_length)
{
    struct binary b = binary_v4();
    static const uint8_t zeros[4096];
    put_tlv(&b, 0x04, zeros, 4096 - 12 - 3);
    cr_expect_eq(done(&b).err, PROXY_HEADER_OK, "as long as may be");
    b = binary_v4();
    put_tlv(&b, 0x04, zeros, 4096 - 12 - 3 + 1);
    cr_expect_eq(done(&b).err, PROXY_HEADER_MALFORMED);
}

Test(proxy_header, binary_says_what_the_client_did_in_tls)
{
    struct binary inner = {.len = 0};
    put(&inner, "\7\0\0\0\0", 5);
    put_tlv(&inner, 0x21, "TLSv1.3", 7);
    put_tlv(&inner, 0x23, "a cipher", 8);
    put_tlv(&inner, 0x22, "alice", 5);
    struct binary b = binary_v4();
    put_tlv(&b, 0x01, "mqtt", 4);
    put_tlv(&b, 0x02, "example.org", 11);
    put_tlv(&b, 0xee, "unknown", 7);
    put_tlv(&b, 0x20, inner.at, inner.len);
    const size_t header_len = b.len;
    done(&b);
    struct proxy_header h;
    size_t used;
    cr_assert_eq(proxy_header_decode(&h, b.at, b.len, &used), PROXY_HEADER_OK);
    cr_expect_eq(used, header_len);
    cr_expect(bytes_equal(h.alpn, bytes_text("mqtt")));
    cr_expect(bytes_equal(h.server_name, bytes_text("example.org")));
    cr_expect(h.tls.used && h.tls.certificate && h.tls.certificate_earlier && h.tls.verified);
    cr_expect(bytes_equal(h.tls.version, bytes_text("TLSv1.3")));
    cr_expect(bytes_equal(h.tls.common_name, bytes_text("alice")));
}

Test(proxy_header, binary_tls_without_a_good_certificate_is_not_verified)
{
    static const struct {
        const char *head;
        bool certificate, verified;
    } rows[] = {
        {"\1\0\0\0\0", false, false}, /* none shown: nothing has been verified */
        {"\3\0\0\0\0", true, true},
        {"\3\0\0\0\1", true, false},
        {"\3\1\0\0\0", true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct binary b = binary_v4();
        put_tlv(&b, 0x20, rows[i].head, 5);
        const struct told t = done(&b);
        cr_assert_eq(t.err, PROXY_HEADER_OK);
        cr_expect_eq(t.header.tls.certificate, rows[i].certificate);
        cr_expect_eq(t.header.tls.verified, rows[i].verified, "row %zu", i);
    }
}

Test(proxy_header, binary_extensions_malformed)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"\4", 1},
        {"\4\0", 2},
        {"\4\0\1", 3},
        {"\4\0\2x", 4},
        {"\x20\0\4\1\0\0\0", 7},
        {"\x20\0\6\1\0\0\0\0\x21", 9},
        {"\x20\0\x8\1\0\0\0\0\x21\0\1", 11},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct binary b = binary_v4();
        put(&b, rows[i].bytes, rows[i].len);
        cr_expect_eq(done(&b).err, PROXY_HEADER_MALFORMED, "row %zu", i);
    }
}

/* A sum of its own: bitwise, from the polynomial. */
static uint32_t crc32c(const uint8_t *at, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < 8 * len; i++) {
        const uint32_t bit = (uint32_t)(at[i / 8] >> i % 8 & 1);
        crc = (crc & 1) != bit ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

Test(proxy_header, binary_sum)
{
    cr_assert_eq(crc32c((const uint8_t *)"123456789", 9), 0xe3069283u); /* the known one */
    struct binary b = binary_v4();
    put_tlv(&b, 0x02, "a", 1);
    put_tlv(&b, 0x03, "\0\0\0\0", 4);
    const size_t sum_at = b.len - 4;
    put_tlv(&b, 0x02, "b", 1);
    b.at[15] = (uint8_t)(b.len - 16);
    const uint32_t sum = crc32c(b.at, b.len);
    for (unsigned i = 0; i < 4; i++) {
        b.at[sum_at + i] = (uint8_t)(sum >> (24 - 8 * i));
    }
    struct binary wrong = b;
    wrong.at[16] ^= 1;
    cr_expect_eq(done(&b).err, PROXY_HEADER_OK);
    cr_expect_eq(done(&wrong).err, PROXY_HEADER_MALFORMED);
    b = binary_v4();
    put_tlv(&b, 0x03, "\0\0\0", 3);
    cr_expect_eq(done(&b).err, PROXY_HEADER_MALFORMED);
}
