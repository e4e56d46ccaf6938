/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_handshake_fuzz: any bytes have an answer, a beginning is judged as the whole, and a request
 * made of what was decoded is the same request.
 *
 * Input: what arrives.
 */
#include <stdio.h>
#include <string.h>

#include "proto/ws_handshake.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/wire.h"

#define PREFIXES_MAX 40u /* of a long input only so many are tried */

static void within(struct bytes field, const uint8_t *in, size_t used)
{
    FUZZ_EXPECT(field.at == NULL ? field.len == 0
                                 : field.at >= in && field.len <= used - (size_t)(field.at - in));
}

static bool same_fields(const struct ws_handshake *a, const struct ws_handshake *b)
{
    return bytes_equal(a->path, b->path) && bytes_equal(a->query, b->query) &&
           (a->query.at == NULL) == (b->query.at == NULL) && bytes_equal(a->host, b->host) &&
           bytes_equal(a->origin, b->origin) && (a->origin.at == NULL) == (b->origin.at == NULL) &&
           bytes_equal(a->key, b->key) && a->offers_mqtt == b->offers_mqtt &&
           a->offers_mqttv31 == b->offers_mqttv31;
}

#define TEXT(field) (int)(field).len, (const char *)((field).len > 0 ? (field).at : in)

/* Writes it anew, decodes that, and finds the same. */
static void say_again(const struct ws_handshake *h, const uint8_t *in)
{
    static char text[2 * WS_HEAD_BYTES_MAX];
    const int len =
        snprintf(text, sizeof text,
                 "GET http://%.*s%.*s%s%.*s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\n"
                 "Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: %.*s\r\n%s%.*s%s%s%s\r\n",
                 TEXT(h->host), TEXT(h->path), h->query.at != NULL ? "?" : "", TEXT(h->query),
                 TEXT(h->host), TEXT(h->key), h->origin.at != NULL ? "Origin: " : "",
                 TEXT(h->origin), h->origin.at != NULL ? "\r\n" : "",
                 h->offers_mqtt ? "Sec-WebSocket-Protocol: mqtt\r\n" : "",
                 h->offers_mqttv31 ? "Sec-WebSocket-Protocol: mqttv3.1\r\n" : "");
    FUZZ_EXPECT(len > 0 && (size_t)len < sizeof text);
    struct ws_handshake again;
    size_t used;
    const enum ws_handshake_err err =
        ws_handshake_decode(&again, (const uint8_t *)text, (size_t)len, &used);
    if ((size_t)len > WS_HEAD_BYTES_MAX) {
        FUZZ_EXPECT(err == WS_HANDSHAKE_TOO_LARGE);
        return;
    }
    FUZZ_EXPECT(err == WS_HANDSHAKE_OK && used == (size_t)len);
    FUZZ_EXPECT(same_fields(h, &again));
}

static void accepted(const struct ws_handshake *h, const uint8_t *in, size_t used)
{
    FUZZ_EXPECT(used <= WS_HEAD_BYTES_MAX && memcmp(in + used - 4, "\r\n\r\n", 4) == 0);
    within(h->path, in, used);
    within(h->query, in, used);
    within(h->host, in, used);
    within(h->origin, in, used);
    within(h->key, in, used);
    FUZZ_EXPECT(h->path.len == 0 || h->path.at[0] == '/');
    FUZZ_EXPECT(h->host.len > 0);
    uint8_t input[WS_ACCEPT_INPUT_BYTES];
    ws_handshake_accept_input(h, input);
    FUZZ_EXPECT(memcmp(input, h->key.at, h->key.len) == 0);
    say_again(h, in);
}

static void refused(enum ws_handshake_err err)
{
    struct ws_answer answer;
    ws_handshake_refusal_encode(&answer, ws_handshake_status(err));
    FUZZ_EXPECT(answer.len > 0);
    FUZZ_EXPECT(ws_handshake_err_text(err)[0] != '\0');
}

/* A beginning is judged as the whole is, or asks for more; of just its bytes. */
static void beginning(const uint8_t *in, size_t len, enum ws_handshake_err err, size_t used)
{
    uint8_t *const copy = wire_exact(in, len);
    struct ws_handshake handshake;
    size_t early_used = 0;
    const enum ws_handshake_err early = ws_handshake_decode(&handshake, copy, len, &early_used);
    FUZZ_EXPECT(early == err || early == WS_HANDSHAKE_NEED_MORE);
    FUZZ_EXPECT((early == WS_HANDSHAKE_OK) == (err == WS_HANDSHAKE_OK && len >= used));
    FUZZ_EXPECT(early != WS_HANDSHAKE_OK || early_used == used);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_handshake handshake;
    memset(&handshake, 0xaa, sizeof handshake); /* so that what is not written shows */
    size_t used = 0;
    const enum ws_handshake_err err = ws_handshake_decode(&handshake, data, size, &used);
    for (size_t len = 0; len < size; len += 1 + size / PREFIXES_MAX) {
        beginning(data, len, err, used);
    }
    beginning(data, size, err, used);
    if (err == WS_HANDSHAKE_OK) {
        beginning(data, used, err, used);
        beginning(data, used - 1, err, used);
        accepted(&handshake, data, used);
    } else if (err == WS_HANDSHAKE_NEED_MORE) {
        FUZZ_EXPECT(size < WS_HEAD_BYTES_MAX);
    } else {
        refused(err);
    }
    return 0;
}
