/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/ws_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/utf8.h"
#include "tests/unit/proto/wire.h"

size_t ws_stream_frame(uint8_t *out, uint8_t first_byte, const uint8_t mask[4],
                       struct bytes payload)
{
    size_t len = 0;
    out[len++] = first_byte;
    if (payload.len < 126) {
        out[len++] = (uint8_t)(0x80 | payload.len);
    } else if (payload.len < 65536) {
        out[len++] = 0x80 | 126;
        out[len++] = (uint8_t)(payload.len >> 8);
        out[len++] = (uint8_t)payload.len;
    } else {
        out[len++] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8) {
            out[len++] = (uint8_t)(payload.len >> shift);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        out[len++] = mask[i];
    }
    for (size_t i = 0; i < payload.len; i++) {
        out[len++] = payload.at[i] ^ mask[i % 4];
    }
    return len;
}

/* An event is twelve bytes and its data in the log, six and its data in the stream; the last may be
 * of one byte. */
static size_t log_room(size_t stream_len)
{
    return 2 * stream_len + 256;
}

void ws_transcript_init(struct ws_transcript *t, size_t stream_len)
{
    *t = (struct ws_transcript){.payload = malloc(stream_len + 1),
                                .log = malloc(log_room(stream_len))};
    assert(t->payload != NULL);
    assert(t->log != NULL);
}

void ws_transcript_fini(struct ws_transcript *t)
{
    free(t->payload);
    free(t->log);
}

static void note(struct ws_transcript *t, enum ws_event event, uint16_t close, struct bytes control)
{
    const uint64_t after = t->payload_len;
    t->log[t->log_len++] = (uint8_t)event;
    memcpy(t->log + t->log_len, &after, sizeof after);
    t->log_len += sizeof after;
    memcpy(t->log + t->log_len, &close, sizeof close);
    t->log_len += sizeof close;
    t->log[t->log_len++] = (uint8_t)control.len;
    t->control = bytes_of(t->log + t->log_len, control.len);
    if (control.len > 0) {
        memcpy(t->log + t->log_len, control.at, control.len);
        t->log_len += control.len;
    }
    t->last = event;
    t->close = close;
}

void ws_transcript_feed(struct ws_transcript *t, const uint8_t *piece, size_t len, int before)
{
    const size_t gap = before > 0 ? (size_t)before : 0;
    uint8_t *const block = malloc(gap + len); /* just so long: ASan sees a byte too far */
    uint8_t *const apart = before == WS_APART ? malloc(len) : NULL;
    assert(block != NULL || gap + len == 0);
    memcpy(block + gap, piece, len);
    const uint8_t *in = block + gap;
    uint8_t *out = before == WS_APART ? apart : block;
    enum ws_event event;
    do {
        struct ws_decoded decoded;
        event = ws_frame_decode(&t->decoder, in, len, out, &decoded);
        assert(decoded.used <= len);
        assert(decoded.payload_len <= decoded.used);
        memcpy(t->payload + t->payload_len, out, decoded.payload_len);
        t->payload_len += decoded.payload_len;
        if (event != WS_MORE) {
            note(t, event, decoded.close, decoded.control);
        }
        in += decoded.used;
        out += decoded.payload_len;
        len -= decoded.used;
    } while (event != WS_MORE);
    assert(len == 0);
    free(block);
    free(apart);
}

/* ---- The oracle: a frame at a time, over bytes that are all there. */

static bool close_code_fair(unsigned code)
{
    static const unsigned defined[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                       1009, 1010, 1011, 1012, 1013, 1014};
    for (size_t i = 0; i < sizeof defined / sizeof defined[0]; i++) {
        if (code == defined[i]) {
            return true;
        }
    }
    return code / 1000 == 3 || code / 1000 == 4;
}

static void oracle_close(struct ws_transcript *t, const uint8_t *body, size_t len)
{
    const struct bytes none = bytes_of(NULL, 0);
    const unsigned code = len >= 2 ? body[0] * 256u + body[1] : 0;
    if (len == 0) {
        note(t, WS_CLOSE, 1005, none);
    } else if (len == 1 || !close_code_fair(code)) {
        note(t, WS_ERROR, 1002, none);
    } else if (!utf8_valid(bytes_of(body + 2, len - 2))) {
        note(t, WS_ERROR, 1007, none);
    } else {
        note(t, WS_CLOSE, (uint16_t)code, bytes_of(body + 2, len - 2));
    }
}

/* The code of a fault in the header s[0..len), as far as it is there; 0: none. */
static uint16_t oracle_fault(const uint8_t *s, size_t len, bool in_message)
{
    const unsigned opcode = s[0] % 16;
    const bool is_data = opcode <= 2, is_control = opcode >= 8 && opcode <= 10;
    if ((s[0] / 16) % 8 != 0 || (!is_data && !is_control)) {
        return 1002;
    }
    if (is_data && in_message != (opcode == 0)) {
        return 1002;
    }
    if (opcode == 1) {
        return 1003;
    }
    if (is_control && s[0] < 128) {
        return 1002;
    }
    if (len >= 2 && (s[1] < 128 || (is_control && s[1] > 128 + 125))) {
        return 1002;
    }
    if (len >= 4 && s[1] == 128 + 126 && s[2] == 0 && s[3] < 126) {
        return 1002;
    }
    if (len >= 10 && s[1] == 128 + 127 &&
        (s[2] > 127 || (s[2] | s[3] | s[4] | s[5] | s[6] | s[7]) == 0)) {
        return 1002;
    }
    return 0;
}

void ws_transcript_oracle(struct ws_transcript *t, const uint8_t *stream, size_t len)
{
    bool in_message = false;
    for (size_t at = 0; at < len;) {
        const uint8_t *const s = stream + at;
        const size_t left = len - at;
        const uint16_t fault = oracle_fault(s, left, in_message);
        if (fault != 0) {
            note(t, WS_ERROR, fault, bytes_of(NULL, 0));
            return;
        }
        const size_t more = left < 2 || s[1] < 128 + 126 ? 0 : s[1] == 128 + 126 ? 2 : 8;
        if (left < 2 + more + 4) {
            return;
        }
        uint64_t size = more == 0 ? s[1] - 128u : 0;
        for (size_t i = 0; i < more; i++) {
            size = size * 256 + s[2 + i];
        }
        const size_t begin = 2 + more + 4;
        const bool is_data = s[0] % 16 <= 2;
        uint8_t control[125];
        size_t i = 0;
        for (; i < size && begin + i < left; i++) {
            const uint8_t byte = s[begin + i] ^ s[begin - 4 + i % 4];
            if (is_data) {
                t->payload[t->payload_len++] = byte;
            } else {
                control[i] = byte;
            }
        }
        if (i < size) {
            return;
        }
        if (is_data) {
            in_message = s[0] < 128;
        } else if (s[0] % 16 == 9) {
            note(t, WS_PING, 0, bytes_of(control, i));
        } else if (s[0] % 16 == 8) {
            oracle_close(t, control, i);
            return;
        }
        at += begin + i;
    }
}

bool ws_transcript_equal(const struct ws_transcript *a, const struct ws_transcript *b)
{
    return bytes_equal(bytes_of(a->payload, a->payload_len),
                       bytes_of(b->payload, b->payload_len)) &&
           bytes_equal(bytes_of(a->log, a->log_len), bytes_of(b->log, b->log_len));
}
