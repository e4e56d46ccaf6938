/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ws_frame.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/unit/proto/packet.h"
#include "tests/unit/proto/wire.h"
#include "tests/unit/proto/ws_stream.h"

#define MASK "37fa213d" /* the RFC's */

static const uint8_t no_mask[4];

/* clang-format off */
static const struct { const char *name, *wire; enum ws_event last; unsigned close; const char *payload, *control; } rows[] = {
    /* Section 5.7, as far as it is a client's, and binary. */
    {"Hello",                    "82 85" MASK "7f9f4d5158",                      WS_MORE,  0,    "Hello", ""},
    {"a ping with Hello",        "89 85" MASK "7f9f4d5158",                      WS_PING,  0,    "", "Hello"},
    {"a pong is passed over",    "8a 85" MASK "7f9f4d5158 82 81 00000000 'x'",   WS_MORE,  0,    "x", ""},
    {"Hel and lo",               "02 83" MASK "7f9f4d 80 82" MASK "5b95",        WS_MORE,  0,    "Hello", ""},
    {"text",                     "81",                                           WS_ERROR, 1003, "", ""},
    {"text in fragments",        "01",                                           WS_ERROR, 1003, "", ""},
    {"not masked",               "82 05",                                        WS_ERROR, 1002, "", ""},
    {"a control frame neither",  "89 00",                                        WS_ERROR, 1002, "", ""},
    {"RSV1",                     "c2",                                           WS_ERROR, 1002, "", ""},
    {"RSV2",                     "a2",                                           WS_ERROR, 1002, "", ""},
    {"RSV3",                     "92",                                           WS_ERROR, 1002, "", ""},
    {"RSV1 on a ping",           "c9",                                           WS_ERROR, 1002, "", ""},
    {"opcode 3",                 "83",                                           WS_ERROR, 1002, "", ""},
    {"opcode 11",                "8b",                                           WS_ERROR, 1002, "", ""},
    {"a ping in fragments",      "09",                                           WS_ERROR, 1002, "", ""},
    {"a close in fragments",     "08",                                           WS_ERROR, 1002, "", ""},
    {"a ping of 126 bytes",      "89 fe",                                        WS_ERROR, 1002, "", ""},
    {"a ping of 64-bit length",  "89 ff",                                        WS_ERROR, 1002, "", ""},
    {"nothing to continue",      "80",                                           WS_ERROR, 1002, "", ""},
    {"nothing any more",         "02 81 00000000 'a' 80 81 00000000 'b' 00",     WS_ERROR, 1002, "ab", ""},
    {"binary in a message",      "02 81 00000000 'a' 82",                        WS_ERROR, 1002, "a", ""},
    {"text in a message",        "02 81 00000000 'a' 81",                        WS_ERROR, 1002, "a", ""},
    {"a ping in a message",      "02 81 00000000 'a' 89 80 00000000 00 81 00000000 'b' 80 80 00000000", WS_PING, 0, "ab", ""},
    {"a pong ends no message",   "02 81 00000000 'a' 8a 80 00000000 82",         WS_ERROR, 1002, "a", ""},
    {"an empty frame",           "82 80 01020304 82 81 00000000 'z'",            WS_MORE,  0,    "z", ""},
    {"126 for 125",              "82 fe 007d",                                   WS_ERROR, 1002, "", ""},
    {"126 for 0",                "82 fe 0000",                                   WS_ERROR, 1002, "", ""},
    {"126 for 126",              "82 fe 007e 00000000 'q'",                      WS_MORE,  0,    "q", ""},
    {"127 for 65535",            "82 ff 000000000000ffff",                       WS_ERROR, 1002, "", ""},
    {"127 for 126",              "82 ff 000000000000007e",                       WS_ERROR, 1002, "", ""},
    {"127 for 65536",            "82 ff 0000000000010000 00000000 'q'",          WS_MORE,  0,    "q", ""},
    {"the most",                 "82 ff 7fffffffffffffff 00000000 'q'",          WS_MORE,  0,    "q", ""},
    {"more than the most",       "82 ff 8000000000000000",                       WS_ERROR, 1002, "", ""},
    {"close",                    "88 80 00000000",                               WS_CLOSE, 1005, "", ""},
    {"close with a code",        "88 82 00000000 03e8",                          WS_CLOSE, 1000, "", ""},
    {"close with a reason",      "88 85 00000000 03e9 'bye'",                    WS_CLOSE, 1001, "", "bye"},
    {"close, masked",            "88 82 03e8ffff 0000",                          WS_CLOSE, 1000, "", ""},
    {"close with half a code",   "88 81 00000000 03",                            WS_ERROR, 1002, "", ""},
    {"close with 1005",          "88 82 00000000 03ed",                          WS_ERROR, 1002, "", ""},
    {"a reason not in UTF-8",    "88 84 00000000 03e8 c080",                     WS_ERROR, 1007, "", ""},
    {"a reason cut off",         "88 84 00000000 03e8 e282",                     WS_ERROR, 1007, "", ""},
    {"a reason in UTF-8",        "88 85 00000000 03e8 e282ac",                   WS_CLOSE, 1000, "", "\xe2\x82\xac"},
    {"what comes after a close", "88 80 00000000 ff ff 82 81 00000000 'x'",      WS_CLOSE, 1005, "", ""},
    {"what comes after a fault", "82 81 00000000 'a' 81 82 81 00000000 'x'",     WS_ERROR, 1003, "a", ""},
    {"data, ping, data, close",  "82 81 00000000 'a' 89 81 00000000 'p' 82 81 00000000 'b' 88 82 00000000 03e8", WS_CLOSE, 1000, "ab", ""},
};
/* clang-format on */

/* Each row, at any cut, and in place as well as apart. */
Test(ws_frame, rows_at_any_cut)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t in[WIRE_BYTES_MAX];
        const size_t len = wire_parse(in, rows[i].wire);
        for (size_t cut = 0; cut <= len; cut++) {
            for (int before = WS_APART; before <= 2; before++) {
                struct ws_transcript t;
                ws_transcript_init(&t, len);
                ws_transcript_feed(&t, in, cut, before);
                ws_transcript_feed(&t, in + cut, len - cut, before);
                cr_expect_eq(t.last, rows[i].last, "%s, cut at %zu", rows[i].name, cut);
                cr_expect_eq(t.close, rows[i].close, "%s, cut at %zu", rows[i].name, cut);
                cr_expect(
                    bytes_equal(bytes_of(t.payload, t.payload_len), bytes_text(rows[i].payload)),
                    "%s, cut at %zu", rows[i].name, cut);
                cr_expect(bytes_equal(t.control, bytes_text(rows[i].control)), "%s, cut at %zu",
                          rows[i].name, cut);
                ws_transcript_fini(&t);
            }
        }
    }
}

/* The short rows that end in an error do so with their last byte, not before. */
Test(ws_frame, faults_are_told_by_the_byte_that_makes_them)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t in[WIRE_BYTES_MAX];
        const size_t len = wire_parse(in, rows[i].wire);
        if (rows[i].last != WS_ERROR || len > 10 || rows[i].close == 1007) {
            continue;
        }
        struct ws_transcript t;
        ws_transcript_init(&t, len);
        ws_transcript_feed(&t, in, len - 1, WS_IN_PLACE);
        cr_expect_eq(t.last, WS_MORE, "%s", rows[i].name);
        ws_transcript_fini(&t);
    }
}

static void expect_as_oracle(const uint8_t *stream, size_t len, const char *what, unsigned number)
{
    struct ws_transcript t, oracle;
    ws_transcript_init(&t, len);
    ws_transcript_init(&oracle, len);
    ws_transcript_feed(&t, stream, len, WS_IN_PLACE);
    ws_transcript_oracle(&oracle, stream, len);
    cr_expect(ws_transcript_equal(&t, &oracle), "%s %04x: %u %u, not %u %u", what, number, t.last,
              t.close, oracle.last, oracle.close);
    ws_transcript_fini(&t);
    ws_transcript_fini(&oracle);
}

/* All first two bytes, outside a message and inside one. */
Test(ws_frame, first_two_bytes)
{
    uint8_t stream[7 + 2 + 12 + 200] = {0x02, 0x81, 0, 0, 0, 0, 'a'};
    memset(stream + 7 + 2, 'x', sizeof stream - 7 - 2);
    for (unsigned i = 0; i < 65536; i++) {
        stream[7] = (uint8_t)(i >> 8);
        stream[8] = (uint8_t)i;
        expect_as_oracle(stream, sizeof stream, "inside", i);
        expect_as_oracle(stream + 7, sizeof stream - 7, "outside", i);
    }
}

/* Any code that a client may close with, and no other. */
Test(ws_frame, close_codes)
{
    for (unsigned code = 0; code < 65536; code++) {
        const uint8_t in[8] = {0x88, 0x82, 0, 0, 0, 0, (uint8_t)(code >> 8), (uint8_t)code};
        expect_as_oracle(in, sizeof in, "close", code);
    }
}

/* The longest of each control frame. */
Test(ws_frame, control_of_125_bytes)
{
    uint8_t payload[125] = {0x0b, 0xb8}; /* 3000 */
    memset(payload + 2, 'r', sizeof payload - 2);
    for (unsigned opcode = 8; opcode <= 10; opcode++) {
        uint8_t in[256];
        const size_t len =
            ws_stream_frame(in, (uint8_t)(0x80 | opcode), (const uint8_t *)"\x01\x02\x03\x04",
                            bytes_of(payload, sizeof payload));
        for (size_t cut = 0; cut <= len; cut++) {
            struct ws_transcript t;
            ws_transcript_init(&t, len);
            ws_transcript_feed(&t, in, cut, WS_IN_PLACE);
            ws_transcript_feed(&t, in + cut, len - cut, WS_IN_PLACE);
            static const enum ws_event events[] = {WS_CLOSE, WS_PING, WS_MORE};
            cr_assert_eq(t.last, events[opcode - 8]);
            if (t.last == WS_PING) {
                cr_assert(bytes_equal(t.control, bytes_of(payload, sizeof payload)));
            }
            ws_transcript_fini(&t);
        }
    }
}

/* Payloads of every length around what the unmasking works on, cut anywhere, moved by any distance:
 * the mask goes on where it was. */
Test(ws_frame, unmasks_alike_however_it_is_cut)
{
    uint8_t payload[300], in[sizeof payload + WS_STREAM_HEADER_BYTES_MAX];
    for (size_t i = 0; i < sizeof payload; i++) {
        payload[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t len = 0; len <= sizeof payload; len++) {
        const size_t size =
            ws_stream_frame(in, 0x82, (const uint8_t *)"\xa1\x42\x07\xfe", bytes_of(payload, len));
        for (size_t cut = 0; cut <= size; cut += len < 160 ? 1 : 13) {
            struct ws_transcript t;
            ws_transcript_init(&t, size);
            ws_transcript_feed(&t, in, cut, (int)(cut % 70) - 1);
            ws_transcript_feed(&t, in + cut, size - cut, (int)(len % 70) - 1);
            if (!bytes_equal(bytes_of(t.payload, t.payload_len), bytes_of(payload, len))) {
                cr_assert_fail("%zu bytes, cut at %zu", len, cut);
            }
            ws_transcript_fini(&t);
        }
    }
}

/* Both lengths of more than one byte, at their edges, with all of the payload. */
Test(ws_frame, lengths)
{
    static const size_t lengths[] = {125, 126, 127, 255, 256, 65535, 65536, 65537, 200000};
    uint8_t *const payload = malloc(200000), *const in = malloc(200000 + 64);
    for (size_t i = 0; i < 200000; i++) {
        payload[i] = (uint8_t)(i ^ i >> 8);
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t size = ws_stream_frame(in, 0x82, (const uint8_t *)"\x11\x22\x33\x44",
                                      bytes_of(payload, lengths[i]));
        size += ws_stream_frame(in + size, 0x89, no_mask, bytes_text("end"));
        for (size_t piece = 1; piece <= size; piece = piece * 3 + 1) {
            struct ws_transcript t;
            ws_transcript_init(&t, size);
            for (size_t at = 0; at < size; at += piece) {
                ws_transcript_feed(&t, in + at, size - at < piece ? size - at : piece, WS_IN_PLACE);
            }
            cr_expect(
                bytes_equal(bytes_of(t.payload, t.payload_len), bytes_of(payload, lengths[i])),
                "%zu by %zu", lengths[i], piece);
            cr_expect_eq(t.last, WS_PING, "%zu by %zu", lengths[i], piece);
            ws_transcript_fini(&t);
        }
    }
    free(payload);
    free(in);
}

/* ---- Streams at random: fair ones, and fair ones with a byte changed. */

static struct packet_source source;

static uint32_t below(uint32_t limit)
{
    return packet_random(&source, limit);
}

/* Frames that a client may send, a close maybe among them. Their size; out has room. */
static size_t fair_stream(uint8_t *out, size_t frames)
{
    static const uint8_t controls[] = {0x89, 0x8a, 0x89, 0x8a, 0x89, 0x88};
    bool in_message = false;
    size_t len = 0;
    for (size_t i = 0; i < frames; i++) {
        uint8_t payload[300], mask[4];
        for (size_t k = 0; k < sizeof payload; k++) {
            payload[k] = (uint8_t)below(256);
        }
        for (size_t k = 0; k < 4; k++) {
            mask[k] = (uint8_t)below(256);
        }
        if (below(3) == 0) {
            const uint8_t first = controls[below(sizeof controls)];
            memcpy(payload, "\x03\xe8 fair", 7);
            len += ws_stream_frame(out + len, first, mask,
                                   bytes_of(payload, first == 0x88 ? below(8) : below(126)));
        } else {
            const bool fin = below(2) == 0;
            len += ws_stream_frame(out + len, (uint8_t)((fin ? 0x80 : 0) | (in_message ? 0 : 2)),
                                   mask, bytes_of(payload, below(3) == 0 ? below(300) : below(20)));
            in_message = !fin;
        }
    }
    return len;
}

Test(ws_frame, any_stream_in_any_pieces_is_as_the_oracle_says)
{
    packet_source_init(&source, "ws_frame");
    for (unsigned round = 0; round < 3000; round++) {
        uint8_t stream[8 * 320];
        const size_t len = fair_stream(stream, 1 + below(8));
        for (uint32_t changes = below(3); changes > 0; changes--) {
            stream[below((uint32_t)len)] = (uint8_t)below(256);
        }
        struct ws_transcript t, oracle;
        ws_transcript_init(&t, len);
        ws_transcript_init(&oracle, len);
        ws_transcript_oracle(&oracle, stream, len);
        const uint32_t piece_max = 1 + below(below(2) == 0 ? 8 : 600);
        for (size_t at = 0; at < len;) {
            const size_t left = len - at, wish = 1 + below(piece_max);
            const size_t piece = wish < left ? wish : left;
            ws_transcript_feed(&t, stream + at, piece, (int)below(20) - 1);
            at += piece;
        }
        cr_assert(ws_transcript_equal(&t, &oracle), "round %u", round);
        ws_transcript_fini(&t);
        ws_transcript_fini(&oracle);
    }
}

Test(ws_frame, nothing_received_is_no_event)
{
    struct ws_frame f = {0};
    struct ws_decoded decoded;
    cr_expect_eq(ws_frame_decode(&f, NULL, 0, NULL, &decoded), WS_MORE);
    cr_expect_eq(decoded.used, 0);
    cr_expect_eq(decoded.payload_len, 0);
}

/* ---- Encoders. */

/* Reads a server's header as a client does. Its size; 0: it is none. */
static size_t client_reads(const uint8_t *h, uint64_t *payload_len)
{
    if (h[0] != 0x82 || h[1] >= 128) {
        return 0;
    }
    const size_t more = h[1] < 126 ? 0 : h[1] == 126 ? 2 : 8;
    *payload_len = more == 0 ? h[1] : 0;
    for (size_t i = 0; i < more; i++) {
        *payload_len = *payload_len * 256 + h[2 + i];
    }
    return 2 + more;
}

Test(ws_frame, header_encode)
{
    static const struct {
        uint64_t len;
        size_t size;
    } lengths[] = {{0, 2},      {1, 2},         {125, 2},
                   {126, 4},    {127, 4},       {65535, 4},
                   {65536, 10}, {1u << 28, 10}, {WS_FRAME_PAYLOAD_MAX, 10}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t out[WS_FRAME_HEADER_BYTES_MAX];
        uint64_t read = 0;
        cr_expect_eq(ws_frame_header_encode(out, lengths[i].len), lengths[i].size);
        cr_expect_eq(client_reads(out, &read), lengths[i].size);
        cr_expect_eq(read, lengths[i].len, "%llu", (unsigned long long)read);
    }
    /* Section 5.7: 256 bytes, and 64 KiB, in one frame that is not masked. */
    uint8_t out[WS_FRAME_HEADER_BYTES_MAX];
    cr_expect(bytes_equal(bytes_of(out, ws_frame_header_encode(out, 256)),
                          bytes_of("\x82\x7e\x01\x00", 4)));
    cr_expect(bytes_equal(bytes_of(out, ws_frame_header_encode(out, 65536)),
                          bytes_of("\x82\x7f\0\0\0\0\0\x01\0\0", 10)));
}

Test(ws_frame, control_encode)
{
    uint8_t out[WS_FRAME_CONTROL_BYTES_MAX], data[WS_CONTROL_PAYLOAD_MAX];
    memset(data, 'd', sizeof data);
    cr_expect(bytes_equal(bytes_of(out, ws_frame_pong_encode(out, bytes_text("Hello"))),
                          bytes_text("\x8a\x05Hello")));
    cr_expect(bytes_equal(bytes_of(out, ws_frame_pong_encode(out, bytes_of(NULL, 0))),
                          bytes_of("\x8a\0", 2)));
    cr_expect_eq(ws_frame_pong_encode(out, bytes_of(data, sizeof data)), sizeof out);
    cr_expect(out[1] == 125 && out[126] == 'd');
    cr_expect(bytes_equal(bytes_of(out, ws_frame_close_encode(out, WS_CLOSE_UNACCEPTABLE)),
                          bytes_of("\x88\x02\x03\xeb", 4)));
    cr_expect(bytes_equal(bytes_of(out, ws_frame_close_encode(out, WS_CLOSE_NONE)),
                          bytes_of("\x88\0", 2)));
}
