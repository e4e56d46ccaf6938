/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers without TLS, whose client is tests/e2e/test_tls.py: whatever pieces the bytes come in,
 * MQTT gets the same ones.
 */
#include "broker/transport/transport.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/transport/listener.h"

#define PROXY_LINE "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
#define REQUEST                                                                                    \
    "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"               \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                 \
    "Sec-WebSocket-Protocol: mqtt\r\n\r\n"

/* What MQTT got, and how it ended. */
struct heard {
    uint8_t mqtt[4096];
    size_t len;
    enum transport_step step;
};

static struct listener listener_of(const char *url, bool proxy, const char *origins)
{
    struct listener l;
    char *const none = (char *)(uintptr_t) "";
    const struct config_listener settings = {
        .url = (char *)(uintptr_t)url,
        .unix_mode = none,
        .certificate = none,
        .key = none,
        .client_ca = none,
        .crl = none,
        .ciphers = none,
        .proxy_protocol = proxy ? CONFIG_PROXY_REQUIRED : CONFIG_PROXY_OFF,
        .proxy_from = (char *)(uintptr_t)(proxy ? "127.0.0.1" : ""),
        .origins = (char *)(uintptr_t)origins,
    };
    cr_assert(listener_init(&l, &settings));
    return l;
}

static struct heard feed(struct transport *t, const void *bytes, size_t len, size_t piece)
{
    struct heard h = {.step = TRANSPORT_ON};
    struct transport_scratch scratch = {.size = 0};
    for (size_t at = 0; at < len; at += piece) {
        const size_t n = len - at < piece ? len - at : piece;
        uint8_t *const exact = malloc(n); /* so that a read beyond shows */
        memcpy(exact, (const uint8_t *)bytes + at, n);
        h.step = transport_receive(t, bytes_of(exact, n), &scratch);
        free(exact);
        cr_assert_leq(h.len + scratch.len, sizeof h.mqtt);
        if (scratch.len > 0) {
            memcpy(h.mqtt + h.len, scratch.at, scratch.len);
            h.len += scratch.len;
        }
        if (h.step != TRANSPORT_ON) {
            break;
        }
    }
    transport_scratch_fini(&scratch);
    return h;
}

/* What is on the wire, taken off it; a text. */
static const char *wire(struct transport *t)
{
    static char text[8192];
    size_t len = 0, bytes;
    struct iovec iov[8];
    struct outbuf *const out = transport_wire(t);
    while (outbuf_bytes(out) > 0) {
        const unsigned n = outbuf_gather(out, iov, 8, &bytes);
        for (unsigned i = 0; i < n; i++) {
            cr_assert_lt(len + iov[i].iov_len, sizeof text);
            memcpy(text + len, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
        outbuf_consume(out, bytes);
    }
    text[len] = '\0';
    return text;
}

/* A client's frame with a mask of zeros, which changes nothing. */
static size_t frame(uint8_t *out, uint8_t first, const char *payload, size_t len)
{
    const uint8_t head[] = {first, (uint8_t)(0x80 | len), 0, 0, 0, 0};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, payload, len);
    return sizeof head + len;
}

/* A WebSocket whose request has been answered, with nothing on the wire. */
static struct transport *upgraded(struct listener *l)
{
    *l = listener_of("ws://*:1", false, "");
    struct transport *t = transport_create(l);
    cr_assert_eq(feed(t, REQUEST, sizeof REQUEST - 1, 4096).step, TRANSPORT_ON);
    (void)wire(t);
    return t;
}

Test(transport, proxy_header_then_nothing)
{
    static const char all[] = PROXY_LINE "MQTT's own bytes";
    for (size_t piece = 1; piece < sizeof all; piece++) {
        struct listener l = listener_of("tcp://*:1", true, "");
        struct transport *t = transport_create(&l);
        cr_expect_not(transport_is_open(t));
        const struct heard h = feed(t, all, sizeof all - 1, piece);
        cr_assert_eq(h.step, TRANSPORT_ON);
        cr_expect_eq(h.len, 16, "in pieces of %zu", piece);
        cr_expect_arr_eq(h.mqtt, "MQTT's own bytes", 16);
        cr_expect(transport_is_plain(t));
        cr_expect(transport_peer(t)->told);
        cr_expect_eq(transport_peer(t)->port, 56324);
        cr_expect_eq(transport_peer(t)->address.s6_addr[15], 1);
        transport_destroy(t);
        listener_fini(&l);
    }
}

/* A header of version 2 for TCP over IPv4, with what the load balancer says of TLS. */
static size_t header_of(uint8_t *out, uint8_t client, uint8_t verify, const char *name, size_t len)
{
    static const uint8_t begin[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11";
    const size_t ssl = 5 + 3 + len, all = 12 + 3 + ssl;
    uint8_t *at = out;
    memcpy(at, begin, sizeof begin - 1);
    at += sizeof begin - 1;
    *at++ = (uint8_t)(all >> 8);
    *at++ = (uint8_t)all;
    memset(at, 1, 12);
    at += 12;
    const uint8_t head[] = {0x20, (uint8_t)(ssl >> 8), (uint8_t)ssl, client, 0, 0, 0, verify,
                            0x22, (uint8_t)(len >> 8), (uint8_t)len};
    memcpy(at, head, sizeof head);
    memcpy(at + sizeof head, name, len);
    return (size_t)(at - out) + sizeof head + len;
}

/* What it names is kept as long as the transport, which therefore stays. */
Test(transport, proxy_header_tells_the_name)
{
    static const struct {
        uint8_t client, verify;
        const char *name;
        size_t len, want;
    } rows[] = {
        {7, 0, "a device", 8, 8},        {7, 1, "a device", 8, 0}, {7, 0, "", 0, 0},
        {7, 0, "admin\0x", 7, 0},        {7, 0, "*.a", 3, 0},      {7, 0, "\xc0\x80", 2, 0},
        {1, 0, "no certificate", 14, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[512];
        size_t len = header_of(bytes, rows[i].client, rows[i].verify, rows[i].name, rows[i].len);
        memcpy(bytes + len, "MQTT", 4);
        struct listener l = listener_of("tcp://*:1", true, "");
        struct transport *t = transport_create(&l);
        const struct heard h = feed(t, bytes, len + 4, sizeof bytes);
        cr_assert_eq(h.step, TRANSPORT_ON);
        cr_expect_eq(h.len, 4);
        cr_expect(transport_is_open(t));
        cr_expect_eq(transport_is_plain(t), rows[i].want == 0, "row %zu", i);
        cr_expect(bytes_equal(transport_common_name(t), bytes_of(rows[i].name, rows[i].want)),
                  "row %zu", i);
        cr_expect_eq(transport_name(t, CONFIG_FROM_SAN_DNS).len, 0);
        cr_expect_eq(transport_name(t, CONFIG_FROM_NONE).len, 0);
        transport_destroy(t);
        listener_fini(&l);
    }
    cr_expect_eq(transport_common_name(NULL).len, 0);
}

/* With such a name MQTT goes through it, either way, unchanged. */
Test(transport, bytes_go_through_the_one_that_stays)
{
    uint8_t bytes[512];
    const size_t len = header_of(bytes, 7, 0, "a", 1);
    struct listener l = listener_of("tcp://*:1", true, "");
    struct transport *t = transport_create(&l);
    struct transport_scratch scratch = {.size = 0};
    size_t taken = 0;
    const struct iovec iov = {.iov_base = (void *)(uintptr_t) "answer", .iov_len = 6};
    cr_assert_eq(feed(t, bytes, len, 1).step, TRANSPORT_ON);
    const struct heard h = feed(t, "MQTT's own", 10, 3);
    cr_expect_eq(h.len, 10);
    cr_expect_arr_eq(h.mqtt, "MQTT's own", 10);
    cr_assert(transport_send(t, &iov, 1, &scratch, &taken));
    cr_expect_eq(taken, 6);
    cr_expect_str_eq(wire(t), "answer");
    transport_scratch_fini(&scratch);
    transport_destroy(t);
    listener_fini(&l);
}

Test(transport, proxy_header_is_missing)
{
    struct listener l = listener_of("tcp://*:1", true, "");
    struct transport *t = transport_create(&l);
    const struct heard h = feed(t, "\x10\x0c\0\4MQTT", 8, 8);
    cr_expect_eq(h.step, TRANSPORT_REFUSED);
    cr_expect_eq(h.len, 0);
    cr_expect_str_eq(transport_refusal(t).event, "proxy_header_refused");
    transport_destroy(t);
    listener_fini(&l);
}

Test(transport, websocket_in_any_pieces)
{
    uint8_t all[1024];
    size_t len = sizeof PROXY_LINE REQUEST - 1;
    memcpy(all, PROXY_LINE REQUEST, len);
    len += frame(all + len, 0x02, "one ", 4);
    len += frame(all + len, 0x89, "ping", 4);
    len += frame(all + len, 0x80, "two ", 4);
    len += frame(all + len, 0x82, "three", 5);
    len += frame(all + len, 0x88, "\x03\xe8", 2);
    len += frame(all + len, 0x82, "not heard", 9);
    for (size_t piece = 1; piece <= len; piece++) {
        struct listener l = listener_of("ws://*:1/mqtt", true, "");
        struct transport *t = transport_create(&l);
        const struct heard h = feed(t, all, len, piece);
        cr_assert_eq(h.step, TRANSPORT_ENDED, "in pieces of %zu", piece);
        cr_expect_eq(h.len, 13);
        cr_expect_arr_eq(h.mqtt, "one two three", 13);
        cr_expect(transport_has_ended(t));
        const char *const said = wire(t);
        cr_expect_eq(strncmp(said, "HTTP/1.1 101 ", 13), 0);
        cr_expect_not_null(strstr(said, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        cr_expect_not_null(strstr(said, "Sec-WebSocket-Protocol: mqtt\r\n"));
        cr_expect_str_eq(strstr(said, "\r\n\r\n") + 4, "\x8a\x04ping\x88\x02\x03\xe8");
        transport_destroy(t);
        listener_fini(&l);
    }
}

Test(transport, websocket_refusals)
{
    static const struct {
        const char *url, *origins, *request, *status;
    } rows[] = {
        {"ws://*:1/other", "", REQUEST, "404"},
        {"ws://*:1/mqt", "", REQUEST, "404"},
        {"ws://*:1", "https://a.example",
         "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Origin: https://b.example\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
         "403"},
        {"ws://*:1", "",
         "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         "400"},
        {"ws://*:1", "", "\x10\x0c\0\4MQTT", "400"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct listener l = listener_of(rows[i].url, false, rows[i].origins);
        struct transport *t = transport_create(&l);
        const struct heard h = feed(t, rows[i].request, strlen(rows[i].request) + 1, 4096);
        cr_expect_eq(h.step, TRANSPORT_REFUSED);
        cr_expect_str_eq(transport_refusal(t).event, "websocket_refused");
        cr_expect_eq(strncmp(wire(t) + 9, rows[i].status, 3), 0, "row %zu", i);
        transport_goodbye(t);
        cr_expect_str_eq(wire(t), "", "no frame where there is no WebSocket");
        transport_destroy(t);
        listener_fini(&l);
    }
}

Test(transport, an_origin_of_the_list_is_welcome_and_none_is_too)
{
    static const char with_origin[] =
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Origin: https://b.example\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqttv3.1\r\n\r\n";
    static const char *const requests[] = {with_origin, REQUEST};
    for (size_t i = 0; i < 2; i++) {
        struct listener l = listener_of("ws://*:1", false, "https://a.example, https://b.example");
        struct transport *t = transport_create(&l);
        cr_expect_eq(feed(t, requests[i], strlen(requests[i]), 4096).step, TRANSPORT_ON);
        cr_expect(transport_is_open(t));
        cr_expect_not(transport_is_plain(t));
        transport_destroy(t);
        listener_fini(&l);
    }
}

Test(transport, what_is_sent_is_framed_and_ends_with_close)
{
    struct listener l;
    struct transport *t = upgraded(&l);
    struct transport_scratch scratch = {.size = 0};
    size_t taken;
    const struct iovec iov[] = {{(void *)(uintptr_t) "MQ", 2}, {(void *)(uintptr_t) "TT", 2}};
    cr_assert(transport_send(t, iov, 2, &scratch, &taken));
    cr_expect_eq(taken, 4);
    cr_expect_str_eq(wire(t), "\x82\x04MQTT");
    transport_goodbye(t);
    cr_expect_str_eq(wire(t), "\x88\x02\x03\xe8");
    cr_assert(transport_send(t, iov, 2, &scratch, &taken));
    cr_expect_eq(taken, 4, "taken, and thrown away");
    cr_expect_str_eq(wire(t), "");
    transport_scratch_fini(&scratch);
    transport_destroy(t);
    listener_fini(&l);
}

/* A large message goes out a batch at a time, and is taken whole in the end. */
Test(transport, sends_a_batch_at_a_time)
{
    struct listener l;
    struct transport *t = upgraded(&l);
    struct transport_scratch scratch = {.size = 0};
    uint8_t *const all = calloc(1, 300000);
    size_t sent = 0;
    while (sent < 300000) {
        const struct iovec iov = {all + sent, 300000 - sent};
        size_t taken, bytes;
        struct iovec out[16];
        cr_assert(transport_send(t, &iov, 1, &scratch, &taken));
        cr_assert_gt(taken, 0);
        cr_assert_lt(outbuf_bytes(transport_wire(t)), 2 * TRANSPORT_BATCH);
        while (outbuf_bytes(transport_wire(t)) > 0) {
            (void)outbuf_gather(transport_wire(t), out, 16, &bytes);
            outbuf_consume(transport_wire(t), bytes);
        }
        sent += taken;
    }
    cr_expect_eq(sent, 300000);
    free(all);
    transport_scratch_fini(&scratch);
    transport_destroy(t);
    listener_fini(&l);
}

/* Answers that a client does not read are not piled up. */
Test(transport, pings_are_answered_while_little_is_unsent)
{
    struct listener l;
    struct transport *t = upgraded(&l);
    uint8_t ping[16];
    const size_t len = frame(ping, 0x89, "ping", 4);
    for (unsigned i = 0; i < 100000; i++) {
        cr_assert_eq(feed(t, ping, len, len).step, TRANSPORT_ON);
    }
    cr_expect_lt(outbuf_bytes(transport_wire(t)), 8192);
    transport_destroy(t);
    listener_fini(&l);
}
