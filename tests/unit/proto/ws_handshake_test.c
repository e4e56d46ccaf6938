/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ws_handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/unit/proto/wire.h"

#define LINE    "GET /mqtt HTTP/1.1\r\n"
#define HOST    "Host: broker.example:8080\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" /* the RFC's */
#define MQTT    "Sec-WebSocket-Protocol: mqtt\r\n"
#define FAIR    LINE HOST UPGRADE VERSION KEY
#define END     "\r\n"

/* What is said of just these bytes; the fields are in `in`, which the caller keeps. */
static enum ws_handshake_err judge(struct ws_handshake *handshake, struct bytes in)
{
    memset(handshake, 0xaa, sizeof *handshake); /* so that what is not written shows */
    size_t used = 99;
    const enum ws_handshake_err err = ws_handshake_decode(handshake, in.at, in.len, &used);
    cr_expect_eq(used, err == WS_HANDSHAKE_OK ? in.len : 99);
    return err;
}

static enum ws_handshake_err judge_text(const char *text)
{
    struct ws_handshake handshake;
    const size_t len = strlen(text);
    uint8_t *const copy = wire_exact((const uint8_t *)text, len);
    const enum ws_handshake_err err = judge(&handshake, bytes_of(copy, len));
    free(copy);
    return err;
}

/* clang-format off */
static const struct { const char *name; enum ws_handshake_err err; const char *text; } rows[] = {
    {"fair",                        WS_HANDSHAKE_OK,           FAIR MQTT END},
    {"no subprotocol",              WS_HANDSHAKE_OK,           FAIR END},
    {"any case, any blanks",        WS_HANDSHAKE_OK,           LINE "hOST:x\r\nUPGRADE:\tWebSocket \r\nconnection:upgrade\r\nSEC-WEBSOCKET-VERSION: \t 13\t\r\nsec-websocket-key:AAAAAAAAAAAAAAAAAAAAAA==\r\n" END},
    {"lists",                       WS_HANDSHAKE_OK,           LINE HOST VERSION KEY "Connection: keep-alive, Upgrade\r\nUpgrade: h2c ,, websocket\r\n" END},
    {"lists in several fields",     WS_HANDSHAKE_OK,           LINE HOST VERSION KEY "Connection: close\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" END},
    {"fields that nobody knows",    WS_HANDSHAKE_OK,           FAIR "Cookie: a=b; c=\xc3\xa9\r\nX-Empty:\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" END},
    {"Content-Length of nothing",   WS_HANDSHAKE_OK,           FAIR "Content-Length: 0\r\n" END},
    {"the key of section 4.1",      WS_HANDSHAKE_OK,           LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n" END},
    {"a key with + and /",          WS_HANDSHAKE_OK,           LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: +/AAAAAAAAAAAAAAAAAAAA==\r\n" END},

    {"no request",                  WS_HANDSHAKE_MALFORMED,    END},
    {"an MQTT CONNECT",             WS_HANDSHAKE_MALFORMED,    "\x10\x0c"},
    {"a ClientHello",               WS_HANDSHAKE_MALFORMED,    "\x16\x03\x01"},
    {"a method without end",        WS_HANDSHAKE_MALFORMED,    "GETGETGETGETGETGET"},
    {"a blank before the method",   WS_HANDSHAKE_MALFORMED,    " GET /mqtt HTTP/1.1\r\n"},
    {"two blanks",                  WS_HANDSHAKE_MALFORMED,    "GET  /mqtt HTTP/1.1\r\n"},
    {"two blanks, behind",          WS_HANDSHAKE_MALFORMED,    "GET /mqtt  HTTP/1.1\r\n"},
    {"a blank at the end",          WS_HANDSHAKE_MALFORMED,    "GET /mqtt HTTP/1.1 \r\n"},
    {"a tab",                       WS_HANDSHAKE_MALFORMED,    "GET\t/mqtt HTTP/1.1\r\n"},
    {"HTTP/0.9",                    WS_HANDSHAKE_MALFORMED,    "GET /mqtt\r\n"},
    {"no target",                   WS_HANDSHAKE_MALFORMED,    "GET HTTP/1.1\r\n"},
    {"a fragment",                  WS_HANDSHAKE_MALFORMED,    "GET /mqtt#a HTTP/1.1\r\n"},
    {"a control character",         WS_HANDSHAKE_MALFORMED,    "GET /mq\x01tt HTTP/1.1\r\n"},
    {"DEL in the target",           WS_HANDSHAKE_MALFORMED,    "GET /mq\x7ftt HTTP/1.1\r\n"},
    {"not ASCII in the target",     WS_HANDSHAKE_MALFORMED,    "GET /mqtt\xc3\xa9 HTTP/1.1\r\n"},
    {"no path",                     WS_HANDSHAKE_MALFORMED,    "GET mqtt HTTP/1.1\r\n"},
    {"of no path, a query",         WS_HANDSHAKE_MALFORMED,    "GET ?a HTTP/1.1\r\n"},
    {"the server as such",          WS_HANDSHAKE_MALFORMED,    "GET * HTTP/1.1\r\n"},
    {"another scheme",              WS_HANDSHAKE_MALFORMED,    "GET ftp://a/b HTTP/1.1\r\n"},
    {"a scheme without a host",     WS_HANDSHAKE_MALFORMED,    "GET http:///b HTTP/1.1\r\n"},
    {"a scheme and little more",    WS_HANDSHAKE_MALFORMED,    "GET http:/ HTTP/1.1\r\n"},
    {"a scheme and one slash",      WS_HANDSHAKE_MALFORMED,    "GET http:/a/ HTTP/1.1\r\n"},
    {"a user in the target",        WS_HANDSHAKE_MALFORMED,    "GET http://me@a/b HTTP/1.1\r\n"},
    {"http in small letters",       WS_HANDSHAKE_MALFORMED,    "GET /mqtt http/1.1\r\n"},
    {"a version of letters",        WS_HANDSHAKE_MALFORMED,    "GET /mqtt HTTP/1.x\r\n"},
    {"a version too long",          WS_HANDSHAKE_MALFORMED,    "GET /mqtt HTTP/1.10\r\n"},
    {"a bare LF",                   WS_HANDSHAKE_MALFORMED,    "GET /mqtt HTTP/1.1\n"},
    {"a bare LF in a field",        WS_HANDSHAKE_MALFORMED,    LINE "Host: a\nb"},
    {"a bare LF for the end",       WS_HANDSHAKE_MALFORMED,    FAIR "\n"},
    {"a bare CR in the request",    WS_HANDSHAKE_MALFORMED,    "GET /mq\rtt HTTP/1.1\r\n"},
    {"a bare CR in a value",        WS_HANDSHAKE_MALFORMED,    FAIR "A: b\rc\r\n" END},
    {"a bare CR at the end",        WS_HANDSHAKE_MALFORMED,    FAIR "A: b\r\r\n" END},
    {"a control character in one",  WS_HANDSHAKE_MALFORMED,    FAIR "A: b\x1f\r\n" END},
    {"DEL in a value",              WS_HANDSHAKE_MALFORMED,    FAIR "A: b\x7f\r\n" END},
    {"a control character in Host", WS_HANDSHAKE_MALFORMED,    LINE "Host: a\x02\r\n" UPGRADE VERSION KEY END},
    {"a line that goes on",         WS_HANDSHAKE_MALFORMED,    FAIR "A: b\r\n c\r\n" END},
    {"a line that goes on by tab",  WS_HANDSHAKE_MALFORMED,    FAIR "A: b\r\n\tc: d\r\n" END},
    {"a first line that goes on",   WS_HANDSHAKE_MALFORMED,    LINE " " HOST UPGRADE VERSION KEY END},
    {"no colon",                    WS_HANDSHAKE_MALFORMED,    FAIR "A\r\n" END},
    {"no name",                     WS_HANDSHAKE_MALFORMED,    FAIR ": b\r\n" END},
    {"a blank before the colon",    WS_HANDSHAKE_MALFORMED,    FAIR "A : b\r\n" END},
    {"a name that is no token",     WS_HANDSHAKE_MALFORMED,    FAIR "A(: b\r\n" END},
    {"two origins",                 WS_HANDSHAKE_MALFORMED,    FAIR "Origin: http://a\r\nOrigin: http://a\r\n" END},
    {"two versions",                WS_HANDSHAKE_MALFORMED,    FAIR VERSION END},
    {"a subprotocol no token",      WS_HANDSHAKE_MALFORMED,    FAIR "Sec-WebSocket-Protocol: mqtt, \"a\"\r\n" END},
    {"two in one, with a blank",    WS_HANDSHAKE_MALFORMED,    FAIR "Sec-WebSocket-Protocol: mqtt mqttv3.1\r\n" END},

    {"HTTP/1.0",                    WS_HANDSHAKE_HTTP_VERSION, "GET /mqtt HTTP/1.0\r\n"},
    {"HTTP/1.2",                    WS_HANDSHAKE_HTTP_VERSION, "GET /mqtt HTTP/1.2\r\n"},
    {"HTTP/2",                      WS_HANDSHAKE_HTTP_VERSION, "PRI * HTTP/2.0\r\n"},
    {"POST",                        WS_HANDSHAKE_METHOD,       "POST /mqtt HTTP/1.1\r\n"},
    {"HEAD",                        WS_HANDSHAKE_METHOD,       "HEAD /mqtt HTTP/1.1\r\n"},
    {"get",                         WS_HANDSHAKE_METHOD,       "get /mqtt HTTP/1.1\r\n"},
    {"GETS",                        WS_HANDSHAKE_METHOD,       "GETS /mqtt HTTP/1.1\r\n"},
    {"the longest method",          WS_HANDSHAKE_METHOD,       "ABCDEFGHIJKLMNOP / HTTP/1.1\r\n"},
    {"a method that is longer",     WS_HANDSHAKE_MALFORMED,    "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n"},
    {"no Host",                     WS_HANDSHAKE_HOST,         LINE UPGRADE VERSION KEY END},
    {"an empty Host",               WS_HANDSHAKE_HOST,         LINE "Host: \r\n" UPGRADE VERSION KEY END},
    {"two Hosts",                   WS_HANDSHAKE_HOST,         FAIR HOST END},
    {"two Hosts in one",            WS_HANDSHAKE_HOST,         LINE "Host: a b\r\n" UPGRADE VERSION KEY END},
    {"a Host with a path",          WS_HANDSHAKE_HOST,         LINE "Host: a/b\r\n" UPGRADE VERSION KEY END},
    {"a Host with a user",          WS_HANDSHAKE_HOST,         LINE "Host: me@a\r\n" UPGRADE VERSION KEY END},
    {"a body",                      WS_HANDSHAKE_BODY,         FAIR "Content-Length: 1\r\n" END},
    {"a body of 10",                WS_HANDSHAKE_BODY,         FAIR "Content-Length: 10\r\n" END},
    {"a body of no length",         WS_HANDSHAKE_BODY,         FAIR "Content-Length:\r\n" END},
    {"a body of less than 0",       WS_HANDSHAKE_BODY,         FAIR "Content-Length: -0\r\n" END},
    {"two lengths",                 WS_HANDSHAKE_BODY,         FAIR "Content-Length: 0\r\nContent-Length: 0\r\n" END},
    {"two lengths in one",          WS_HANDSHAKE_BODY,         FAIR "Content-Length: 0, 0\r\n" END},
    {"a body in chunks",            WS_HANDSHAKE_BODY,         FAIR "Transfer-Encoding: chunked\r\n" END},
    {"a body as it is",             WS_HANDSHAKE_BODY,         FAIR "Transfer-Encoding: identity\r\n" END},
    {"an ordinary request",         WS_HANDSHAKE_NO_UPGRADE,   LINE HOST END},
    {"no Upgrade",                  WS_HANDSHAKE_NO_UPGRADE,   LINE HOST "Connection: Upgrade\r\n" VERSION KEY END},
    {"no Connection",               WS_HANDSHAKE_NO_UPGRADE,   LINE HOST "Upgrade: websocket\r\n" VERSION KEY END},
    {"no version",                  WS_HANDSHAKE_NO_UPGRADE,   LINE HOST UPGRADE KEY END},
    {"Upgrade to something else",   WS_HANDSHAKE_NO_UPGRADE,   LINE HOST "Upgrade: websockets, web socket, h2c\r\nConnection: Upgrade\r\n" VERSION KEY END},
    {"Upgrade with a version",      WS_HANDSHAKE_NO_UPGRADE,   LINE HOST "Upgrade: websocket/13\r\nConnection: Upgrade\r\n" VERSION KEY END},
    {"Connection of something",     WS_HANDSHAKE_NO_UPGRADE,   LINE HOST "Upgrade: websocket\r\nConnection: keep-alive, upgrades\r\n" VERSION KEY END},
    {"WebSocket 8",                 WS_HANDSHAKE_WS_VERSION,   LINE HOST UPGRADE "Sec-WebSocket-Version: 8\r\n" KEY END},
    {"WebSocket 013",               WS_HANDSHAKE_WS_VERSION,   LINE HOST UPGRADE "Sec-WebSocket-Version: 013\r\n" KEY END},
    {"WebSocket 13 or 8",           WS_HANDSHAKE_WS_VERSION,   LINE HOST UPGRADE "Sec-WebSocket-Version: 13, 8\r\n" KEY END},
    {"WebSocket of no version",     WS_HANDSHAKE_WS_VERSION,   LINE HOST UPGRADE "Sec-WebSocket-Version:\r\n" KEY END},
    {"no key",                      WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION END},
    {"two keys",                    WS_HANDSHAKE_KEY,          FAIR KEY END},
    {"an empty key",                WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key:\r\n" END},
    {"a key of 15 bytes",           WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n" END},
    {"a key of 17 bytes",           WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n" END},
    {"a key of 18 bytes",           WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n" END},
    {"a key without its end",       WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA\r\n" END},
    {"a key of 16 bytes, and more", WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==A\r\n" END},
    {"a key with _ and -",          WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: _-AAAAAAAAAAAAAAAAAAAA==\r\n" END},
    {"a key with = within",         WS_HANDSHAKE_KEY,          LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA===\r\n" END},
};
/* clang-format on */

/* Each is judged by its last byte, if not by one before; a beginning of it asks for more. */
Test(ws_handshake, judged)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(judge_text(rows[i].text), rows[i].err, "%s: %u", rows[i].name,
                     judge_text(rows[i].text));
        const size_t whole = strlen(rows[i].text);
        for (size_t len = 0; len < whole; len++) {
            uint8_t *const copy = wire_exact((const uint8_t *)rows[i].text, len);
            struct ws_handshake handshake;
            const enum ws_handshake_err err = judge(&handshake, bytes_of(copy, len));
            cr_expect(err == WS_HANDSHAKE_NEED_MORE || (err == rows[i].err && err > 0),
                      "%s, %zu bytes: %u", rows[i].name, len, err);
            free(copy);
        }
    }
}

/* What follows the head is the first frame's. */
Test(ws_handshake, ends_with_the_empty_line)
{
    static const char in[] = FAIR MQTT END "\x82\x85\n\n";
    struct ws_handshake handshake;
    size_t used = 0;
    cr_assert_eq(ws_handshake_decode(&handshake, (const uint8_t *)in, sizeof in - 1, &used),
                 WS_HANDSHAKE_OK);
    cr_expect_eq(used, sizeof in - 1 - 4);
}

static bool is(struct bytes field, const char *text)
{
    return text == NULL ? field.at == NULL
                        : field.at != NULL && bytes_equal(field, bytes_text(text));
}

/* clang-format off */
static const struct { const char *line, *more, *path, *query, *host, *origin; bool mqtt, mqttv31; } fields[] = {
    {"/mqtt",                   "",                                          "/mqtt", NULL, "h:1", NULL, false, false},
    {"/",                       "Origin: null\r\n",                          "/", NULL, "h:1", "null", false, false},
    {"/a/%2e?b=?c&d=/",         "Origin: https://e.example\r\n",             "/a/%2e", "b=?c&d=/", "h:1", "https://e.example", false, false},
    {"/mqtt?",                  "Origin:\r\n",                               "/mqtt", "", "h:1", "", false, false},
    {"//x/y",                   "",                                          "//x/y", NULL, "h:1", NULL, false, false},
    {"http://other:80/p?q",     "",                                          "/p", "q", "other:80", NULL, false, false},
    {"HTTPS://[::1]/",          "",                                          "/", NULL, "[::1]", NULL, false, false},
    {"http://other",            "",                                          "", NULL, "other", NULL, false, false},
    {"http://other?q",          "",                                          "", "q", "other", NULL, false, false},
    {"/", "Sec-WebSocket-Protocol: mqtt\r\n",                                "/", NULL, "h:1", NULL, true, false},
    {"/", "sec-websocket-protocol: mqttv3.1\r\n",                            "/", NULL, "h:1", NULL, false, true},
    {"/", "Sec-WebSocket-Protocol: mqttv3.1,mqtt\r\n",                       "/", NULL, "h:1", NULL, true, true},
    {"/", "Sec-WebSocket-Protocol: ,chat ,\tmqtt\t,\r\n",                    "/", NULL, "h:1", NULL, true, false},
    {"/", "Sec-WebSocket-Protocol: chat\r\nA: b\r\nSec-WebSocket-Protocol: mqtt\r\n", "/", NULL, "h:1", NULL, true, false},
    {"/", "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: mqttv3.1\r\n",     "/", NULL, "h:1", NULL, true, true},
    {"/", "Sec-WebSocket-Protocol: MQTT, mqttv3, mqtt5, xmqtt, mqttv3.1.1\r\n", "/", NULL, "h:1", NULL, false, false},
    {"/", "Sec-WebSocket-Protocol:\r\n",                                     "/", NULL, "h:1", NULL, false, false},
};
/* clang-format on */

/* v5_mqtt_6_0_0_3 and what else the caller decides by. */
Test(ws_handshake, fields)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char in[512];
        const int len =
            snprintf(in, sizeof in, "GET %s HTTP/1.1\r\nhost: h:1\r\n" UPGRADE VERSION KEY "%s\r\n",
                     fields[i].line, fields[i].more);
        struct ws_handshake got;
        cr_assert_eq(judge(&got, bytes_of(in, (size_t)len)), WS_HANDSHAKE_OK, "%s", in);
        cr_expect(is(got.path, fields[i].path), "%s", in);
        cr_expect(is(got.query, fields[i].query), "%s", in);
        cr_expect(is(got.host, fields[i].host), "%s", in);
        cr_expect(is(got.origin, fields[i].origin), "%s", in);
        cr_expect(is(got.key, "dGhlIHNhbXBsZSBub25jZQ=="), "%s", in);
        cr_expect_eq(got.offers_mqtt, fields[i].mqtt, "%s", in);
        cr_expect_eq(got.offers_mqttv31, fields[i].mqttv31, "%s", in);
    }
}

/* A head of `size` bytes, fair but for that. */
static uint8_t *head_of(size_t size)
{
    static const char begin[] = FAIR "Cookie: ";
    uint8_t *const in = malloc(size);
    memset(in, 'c', size);
    memcpy(in, begin, sizeof begin - 1);
    memcpy(in + size - 4, "\r\n\r\n", 4);
    return in;
}

Test(ws_handshake, at_most_so_many_bytes)
{
    struct ws_handshake handshake;
    uint8_t *in = head_of(WS_HEAD_BYTES_MAX);
    cr_expect_eq(judge(&handshake, bytes_of(in, WS_HEAD_BYTES_MAX)), WS_HANDSHAKE_OK);
    cr_expect_eq(judge(&handshake, bytes_of(in, WS_HEAD_BYTES_MAX - 1)), WS_HANDSHAKE_NEED_MORE);
    free(in);

    in = head_of(WS_HEAD_BYTES_MAX + 1);
    for (size_t len = WS_HEAD_BYTES_MAX - 1; len <= WS_HEAD_BYTES_MAX + 1; len++) {
        cr_expect_eq(judge(&handshake, bytes_of(in, len)),
                     len < WS_HEAD_BYTES_MAX ? WS_HANDSHAKE_NEED_MORE : WS_HANDSHAKE_TOO_LARGE);
    }
    /* Nor a request line without an end. */
    memset(in, 'x', WS_HEAD_BYTES_MAX + 1);
    memcpy(in, "GET /", 5);
    cr_expect_eq(judge(&handshake, bytes_of(in, WS_HEAD_BYTES_MAX - 1)), WS_HANDSHAKE_NEED_MORE);
    cr_expect_eq(judge(&handshake, bytes_of(in, WS_HEAD_BYTES_MAX)), WS_HANDSHAKE_TOO_LARGE);
    free(in);
}

/* Any byte, in the method, the target, a name, a value: what each may be made of. */
Test(ws_handshake, characters)
{
    static const char token[] = "!#$%&'*+-.^_`|~";
    for (unsigned c = 1; c < 256; c++) {
        const bool letter =
            c < 128 && strchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                              "stuvwxyz",
                              (int)c) != NULL;
        const bool in_token = letter || strchr(token, (int)c) != NULL;
        const bool visible = c > 32 && c < 127;
        char in[512];
        snprintf(in, sizeof in, "GE%cT / HTTP/1.1\r\n", c);
        cr_expect_eq(judge_text(in), in_token ? WS_HANDSHAKE_METHOD : WS_HANDSHAKE_MALFORMED,
                     "method %02x", c);
        snprintf(in, sizeof in, "GET /%c HTTP/1.1\r\n" HOST UPGRADE VERSION KEY "\r\n", c);
        cr_expect_eq(judge_text(in), visible && c != '#' ? WS_HANDSHAKE_OK : WS_HANDSHAKE_MALFORMED,
                     "target %02x", c);
        snprintf(in, sizeof in, FAIR "A%cB: b\r\n\r\n", c);
        cr_expect_eq(judge_text(in),
                     in_token || c == ':' ? WS_HANDSHAKE_OK : WS_HANDSHAKE_MALFORMED, "name %02x",
                     c);
        snprintf(in, sizeof in, FAIR "A: b%cb\r\n\r\n", c);
        cr_expect_eq(judge_text(in),
                     (c >= 32 && c != 127) || c == '\t' ? WS_HANDSHAKE_OK : WS_HANDSHAKE_MALFORMED,
                     "value %02x", c);
    }
}

/* And a NUL, which ends no text here. */
Test(ws_handshake, nul)
{
    static const char *const with_at[] = {"GET @/ HTTP/1.1\r\n", FAIR "A@: b\r\n\r\n",
                                          FAIR "A: @\r\n\r\n", FAIR "Upgrade: websocket@\r\n\r\n"};
    for (size_t i = 0; i < sizeof with_at / sizeof with_at[0]; i++) {
        char in[512];
        const size_t len = strlen(with_at[i]);
        memcpy(in, with_at[i], len);
        *(char *)memchr(in, '@', len) = '\0';
        struct ws_handshake handshake;
        cr_expect_eq(judge(&handshake, bytes_of(in, len)), WS_HANDSHAKE_MALFORMED, "%zu", i);
    }
}

/* ---- Answers. */

Test(ws_handshake, statuses)
{
    static const struct {
        enum ws_handshake_err err;
        unsigned status;
    } wanted[] = {
        {WS_HANDSHAKE_MALFORMED, 400},  {WS_HANDSHAKE_HTTP_VERSION, 505},
        {WS_HANDSHAKE_METHOD, 405},     {WS_HANDSHAKE_TOO_LARGE, 431},
        {WS_HANDSHAKE_HOST, 400},       {WS_HANDSHAKE_BODY, 400},
        {WS_HANDSHAKE_NO_UPGRADE, 400}, {WS_HANDSHAKE_WS_VERSION, 426},
        {WS_HANDSHAKE_KEY, 400},
    };
    cr_assert_eq(sizeof wanted / sizeof wanted[0] + 2, WS_HANDSHAKE_ERRS);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        cr_expect_eq(ws_handshake_status(wanted[i].err), wanted[i].status);
        cr_expect_gt(strlen(ws_handshake_err_text(wanted[i].err)), 5);
    }
}

/* The example of section 1.3; v5_mqtt_6_0_0_4. */
Test(ws_handshake, answer)
{
    static const uint8_t digest[WS_DIGEST_BYTES] = {0xb3, 0x7a, 0x4f, 0x2c, 0xc0, 0x62, 0x4f,
                                                    0x16, 0x90, 0xf6, 0x46, 0x06, 0xcf, 0x38,
                                                    0x59, 0x45, 0xb2, 0xbe, 0xc4, 0xea};
    static const char *const subprotocols[] = {"", "Sec-WebSocket-Protocol: mqtt\r\n",
                                               "Sec-WebSocket-Protocol: mqttv3.1\r\n"};
    static const char in[] = FAIR MQTT END;
    struct ws_handshake handshake;
    cr_assert_eq(judge(&handshake, bytes_of(in, sizeof in - 1)), WS_HANDSHAKE_OK);
    uint8_t input[WS_ACCEPT_INPUT_BYTES];
    ws_handshake_accept_input(&handshake, input);
    cr_expect(bytes_equal(bytes_of(input, sizeof input),
                          bytes_text("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B1"
                                     "1")));
    for (unsigned i = WS_SUBPROTOCOL_NONE; i <= WS_SUBPROTOCOL_MQTTV31; i++) {
        struct ws_answer answer;
        char want[512];
        snprintf(want, sizeof want,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%s\r\n",
                 subprotocols[i]);
        ws_handshake_answer_encode(&answer, digest, i);
        cr_expect(bytes_equal(bytes_of(answer.bytes, answer.len), bytes_text(want)), "%.*s",
                  (int)answer.len, answer.bytes);
    }
}

/* Each digit of base64, at each of its four places. */
Test(ws_handshake, accept_of_any_digest)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned seed = 0; seed < 64; seed++) {
        uint8_t digest[WS_DIGEST_BYTES + 1] = {0};
        for (unsigned bit = 0; bit < WS_DIGEST_BYTES * 8; bit++) { /* digit i is seed + i */
            const unsigned digit = (seed + bit / 6) % 64;
            digest[bit / 8] |= (uint8_t)((digit >> (5 - bit % 6) & 1) << (7 - bit % 8));
        }
        struct ws_answer answer;
        ws_handshake_answer_encode(&answer, digest, WS_SUBPROTOCOL_NONE);
        const char *at = memmem(answer.bytes, answer.len, "Accept: ", 8);
        cr_assert_not_null(at);
        at += strlen("Accept: ");
        for (unsigned i = 0; i < 26; i++) {
            cr_expect_eq(at[i], digits[(seed + i) % 64], "%u at %u", seed, i);
        }
        cr_expect_eq(at[26], digits[(seed + 26) % 64 & ~3u], "%u", seed); /* four bits of six */
        cr_expect(strncmp(at + 27, "=\r\n", 3) == 0);
    }
}

Test(ws_handshake, refusals)
{
    static const struct {
        enum ws_status status;
        const char *text;
    } wanted[] = {
        {400, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"},
        {403, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"},
        {404, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n"},
        {405, "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nAllow: GET\r\n"},
        {426, "HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\n"
              "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
        {431, "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"},
        {503, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"},
        {505, "HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\n"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct ws_answer answer;
        char want[256];
        snprintf(want, sizeof want, "%sContent-Length: 0\r\n\r\n", wanted[i].text);
        ws_handshake_refusal_encode(&answer, wanted[i].status);
        cr_expect(bytes_equal(bytes_of(answer.bytes, answer.len), bytes_text(want)), "%.*s",
                  (int)answer.len, answer.bytes);
    }
}
