/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/client_hello.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* ---- a hello in writing */

struct hello {
    uint8_t at[2048];
    size_t len;
};

static void put(struct hello *h, const void *bytes, size_t len)
{
    memcpy(h->at + h->len, bytes, len);
    h->len += len;
}

static void put_extension(struct hello *h, uint16_t type, const void *body, size_t len)
{
    put(h,
        (const uint8_t[]){(uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(len >> 8), (uint8_t)len},
        4);
    put(h, body, len);
}

static struct hello record(const struct hello *extensions)
{
    struct hello h = {.len = 9}; /* two headers, for the end */
    static const uint8_t random[32] = {7};
    put(&h, "\3\3", 2);
    put(&h, random, sizeof random);
    put(&h, "\4sess\0\4\x13\1\x13\2\1\0", 5 + 6 + 2);
    put(&h, (const uint8_t[]){(uint8_t)(extensions->len >> 8), (uint8_t)extensions->len}, 2);
    put(&h, extensions->at, extensions->len);
    const size_t message = h.len - 9, whole = h.len - 5;
    const uint8_t head[] = {22,
                            3,
                            1,
                            (uint8_t)(whole >> 8),
                            (uint8_t)whole,
                            1,
                            0,
                            (uint8_t)(message >> 8),
                            (uint8_t)message};
    memcpy(h.at, head, sizeof head);
    return h;
}

/* From memory that ends with the bytes. */
static enum client_hello_err peek(struct client_hello *out, const uint8_t *in, size_t len,
                                  size_t *wanted)
{
    static uint8_t *exact;
    free(exact);
    exact = malloc(len == 0 ? 1 : len);
    memcpy(exact, in, len);
    return client_hello_peek(out, exact, len, wanted);
}

static struct client_hello read_whole(const struct hello *h)
{
    struct client_hello out;
    size_t wanted;
    cr_assert_eq(peek(&out, h->at, h->len, &wanted), CLIENT_HELLO_OK);
    return out;
}

Test(client_hello, names_the_host)
{
    struct hello extensions = {.len = 0};
    put_extension(&extensions, 10, "\0\2\0\x1d", 4);
    put_extension(&extensions, 0,
                  "\0\x0e\0\0\x0b"
                  "example.org",
                  16);
    const struct hello h = record(&extensions);
    const struct client_hello out = read_whole(&h);
    cr_expect(bytes_equal(out.server_name, bytes_text("example.org")));
    cr_expect_not(out.resumes);
}

Test(client_hello, without_extensions_says_nothing)
{
    const struct hello none = {.len = 0};
    const struct hello h = record(&none);
    const struct client_hello out = read_whole(&h);
    cr_expect_eq(out.server_name.len, 0);
    cr_expect_not(out.resumes);
}

Test(client_hello, comes_back_with_a_ticket_or_a_key)
{
    static const struct {
        uint16_t type;
        const char *body;
        bool resumes;
    } rows[] = {{35, "ticket", true}, {35, "", false}, {41, "\0\0", true}, {45, "\1\1", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hello extensions = {.len = 0};
        put_extension(&extensions, rows[i].type, rows[i].body, strlen(rows[i].body));
        const struct hello h = record(&extensions);
        cr_expect_eq(read_whole(&h).resumes, rows[i].resumes, "row %zu", i);
    }
}

Test(client_hello, wants_the_whole_first_record)
{
    struct hello extensions = {.len = 0};
    put_extension(&extensions, 35, "ticket", 6);
    const struct hello h = record(&extensions);
    struct client_hello out;
    for (size_t len = 0; len < h.len; len++) {
        size_t wanted = 0;
        cr_assert_eq(peek(&out, h.at, len, &wanted), CLIENT_HELLO_NEED_MORE, "%zu", len);
        cr_expect_eq(wanted, len < 5 ? 5 : h.len);
    }
}

Test(client_hello, what_is_no_handshake)
{
    static const char *const firsts[] = {
        "\x10\x0c\0\4MQTT", "GET / HTTP/1.1\r\n", "\x80\x2e\1\3\1", "\x16\2\0\0\5xxxxx",
        "\x16\3\1\0\0x",    "\x16\3\1\x40\1x",    "\x17\3\3\0\1x"};
    static const size_t lens[] = {8, 16, 5, 10, 6, 6, 6};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        struct client_hello out;
        size_t wanted;
        cr_expect_eq(peek(&out, (const uint8_t *)firsts[i], lens[i], &wanted), CLIENT_HELLO_NOT_TLS,
                     "%zu", i);
    }
}

/* Lengths that lie: each byte of the message raised and cut to nothing, and only what is whole
 * read. */
Test(client_hello, survives_lengths_that_lie)
{
    struct hello extensions = {.len = 0};
    put_extension(&extensions, 0,
                  "\0\x0e\0\0\x0b"
                  "example.org",
                  16);
    put_extension(&extensions, 35, "ticket", 6);
    for (size_t at = 5; at < record(&extensions).len; at++) {
        for (unsigned value = 0; value < 256; value += 51) {
            struct hello h = record(&extensions);
            h.at[at] = (uint8_t)value;
            const struct client_hello out = read_whole(&h);
            cr_assert(out.server_name.len <= h.len);
        }
    }
}
