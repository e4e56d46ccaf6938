/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ws_frame.h"

#include <assert.h>
#include <string.h>

#include "proto/utf8.h"

#define FIN         0x80u
#define RSV         0x70u /* no extension is ever agreed on */
#define OPCODE      0x0fu
#define CONTROL_BIT 0x08u /* of an opcode */
#define MASKED      0x80u
#define LENGTH      0x7fu
#define LENGTH_16   126u
#define LENGTH_64   127u
#define MASK_BYTES  4u

enum opcode {
    CONTINUATION = 0x0,
    TEXT = 0x1,
    BINARY = 0x2,
    CLOSE = 0x8,
    PING = 0x9,
    PONG = 0xa,
};

/* One register of the least processor of each kind; memcpy() moves it, so it may lie anyhow. */
typedef uint64_t lane __attribute__((vector_size(16)));

/*
 * out[i] = in[i] ^ mask[i % 4]. `out` may lie before `in`, at any distance: of each block all is
 * read before any is written, and what is written ends where the next block begins, or earlier.
 */
static void unmask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[MASK_BYTES])
{
    uint32_t word;
    memcpy(&word, mask, sizeof word);
    const uint64_t two = word | (uint64_t)word << 32;
    const lane wide = {two, two};
    lane block[4];
    for (; len >= sizeof block; len -= sizeof block) {
        memcpy(block, in, sizeof block);
        block[0] ^= wide;
        block[1] ^= wide;
        block[2] ^= wide;
        block[3] ^= wide;
        memcpy(out, block, sizeof block);
        in += sizeof block;
        out += sizeof block;
    }
    for (; len >= sizeof two; len -= sizeof two) {
        uint64_t eight;
        memcpy(&eight, in, sizeof eight);
        eight ^= two;
        memcpy(out, &eight, sizeof eight);
        in += sizeof eight;
        out += sizeof eight;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = in[i] ^ mask[i % MASK_BYTES];
    }
}

/* The mask of what follows a payload's first `len` bytes. */
static void mask_turn(uint8_t mask[MASK_BYTES], uint64_t len)
{
    uint8_t turned[MASK_BYTES];
    for (size_t i = 0; i < MASK_BYTES; i++) {
        turned[i] = mask[(i + len) % MASK_BYTES];
    }
    memcpy(mask, turned, MASK_BYTES);
}

/* 0, or the code to close with. The opcodes of data frames are judged by where they stand. */
static uint16_t first_byte_check(uint8_t byte, bool in_message)
{
    const unsigned opcode = byte & OPCODE;
    if ((byte & RSV) != 0) {
        return WS_CLOSE_PROTOCOL_ERROR;
    }
    switch (opcode) {
    case CONTINUATION:
        return in_message ? 0 : WS_CLOSE_PROTOCOL_ERROR;
    case TEXT:
    case BINARY:
        if (in_message) {
            return WS_CLOSE_PROTOCOL_ERROR; /* [5.4] */
        }
        return opcode == BINARY ? 0 : WS_CLOSE_UNACCEPTABLE;
    case CLOSE:
    case PING:
    case PONG:
        return (byte & FIN) != 0 ? 0 : WS_CLOSE_PROTOCOL_ERROR; /* [5.5] */
    default:
        return WS_CLOSE_PROTOCOL_ERROR;
    }
}

static uint16_t second_byte_check(uint8_t byte, bool is_control)
{
    if ((byte & MASKED) == 0) {
        return WS_CLOSE_PROTOCOL_ERROR; /* [5.1] */
    }
    const bool too_long = is_control && (byte & LENGTH) > WS_CONTROL_PAYLOAD_MAX;
    return too_long ? WS_CLOSE_PROTOCOL_ERROR : 0;
}

static uint64_t big_endian(const uint8_t *at, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* What could be read of a header. */
struct header {
    size_t size;     /* 0: it is not whole */
    uint16_t close;  /* 0: there is no fault so far */
    uint64_t length; /* of the payload, of a whole header */
};

/* Judges the header that h[0..len) begins with, each field as soon as it is there. */
static struct header header_read(const uint8_t *h, size_t len, bool in_message)
{
    assert(len > 0);

    struct header header = {.close = first_byte_check(h[0], in_message)};
    if (header.close != 0 || len < 2) {
        return header;
    }
    header.close = second_byte_check(h[1], (h[0] & CONTROL_BIT) != 0);
    const uint8_t length = h[1] & LENGTH;
    const size_t more = length < LENGTH_16 ? 0 : length == LENGTH_16 ? 2 : 8;
    if (header.close != 0 || len < 2 + more) {
        return header;
    }
    header.length = length;
    if (more != 0) {
        header.length = big_endian(h + 2, more);
        const uint64_t least = more == 2 ? LENGTH_16 : (uint64_t)UINT16_MAX + 1;
        if (header.length < least || header.length > WS_FRAME_PAYLOAD_MAX) { /* [5.2] */
            header.close = WS_CLOSE_PROTOCOL_ERROR;
            return header;
        }
    }
    header.size = len < 2 + more + MASK_BYTES ? 0 : 2 + more + MASK_BYTES;
    return header;
}

static enum ws_event fail(struct ws_frame *f, struct ws_decoded *decoded, uint16_t close)
{
    f->over = true;
    decoded->close = close;
    return WS_ERROR;
}

/* The payload of that frame comes next. `h` is its whole header. */
static void frame_begin(struct ws_frame *f, const uint8_t *h, const struct header *header)
{
    f->first_byte = h[0];
    f->payload_left = header->length;
    memcpy(f->mask, h + header->size - MASK_BYTES, MASK_BYTES);
    f->in_payload = true;
    if ((h[0] & CONTROL_BIT) == 0) {
        f->in_message = (h[0] & FIN) == 0;
    } else {
        f->control_len = 0;
    }
}

/* Takes a header, or as much of it as there is, off in[0..len), len > 0. A header that is whole is
 * read where it lies; one that comes in parts is put together in f->header, byte by byte. */
static enum ws_event header_take(struct ws_frame *f, const uint8_t *in, size_t len,
                                 struct ws_decoded *decoded)
{
    if (f->header_len == 0 && len >= sizeof f->header) {
        const struct header header = header_read(in, len, f->in_message);
        if (header.close != 0) {
            return fail(f, decoded, header.close);
        }
        frame_begin(f, in, &header);
        decoded->used += header.size;
        return WS_MORE;
    }
    for (size_t i = 0; i < len; i++) {
        assert(f->header_len < sizeof f->header);
        f->header[f->header_len++] = in[i];
        const struct header header = header_read(f->header, f->header_len, f->in_message);
        if (header.close != 0) {
            return fail(f, decoded, header.close);
        }
        decoded->used++;
        if (header.size != 0) {
            frame_begin(f, f->header, &header);
            f->header_len = 0;
            break;
        }
    }
    return WS_MORE;
}

/* May a client say so? The codes that are defined for it, and those that anybody may use [7.4]. */
static bool close_code_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum ws_event on_close(struct ws_frame *f, struct ws_decoded *decoded)
{
    f->over = true;
    if (f->control_len == 0) {
        decoded->close = WS_CLOSE_NONE;
        return WS_CLOSE;
    }
    if (f->control_len < 2) {
        return fail(f, decoded, WS_CLOSE_PROTOCOL_ERROR);
    }
    const uint16_t code = (uint16_t)(f->control[0] << 8 | f->control[1]);
    if (!close_code_valid(code)) {
        return fail(f, decoded, WS_CLOSE_PROTOCOL_ERROR);
    }
    const struct bytes reason = bytes_of(f->control + 2, f->control_len - 2u);
    if (!utf8_valid(reason)) {
        return fail(f, decoded, WS_CLOSE_INCONSISTENT);
    }
    decoded->close = code;
    decoded->control = reason;
    return WS_CLOSE;
}

/* A control frame is all there. */
static enum ws_event on_control(struct ws_frame *f, struct ws_decoded *decoded)
{
    switch (f->first_byte & OPCODE) {
    case CLOSE:
        return on_close(f, decoded);
    case PING:
        decoded->control = bytes_of(f->control, f->control_len);
        return WS_PING;
    default:
        return WS_MORE;
    }
}

/* Takes what there is of the frame's payload, maybe nothing, off in[0..len). */
static enum ws_event payload_take(struct ws_frame *f, const uint8_t *in, size_t len, uint8_t *out,
                                  struct ws_decoded *decoded)
{
    const bool is_control = (f->first_byte & CONTROL_BIT) != 0;
    const size_t part = f->payload_left < len ? (size_t)f->payload_left : len;
    if (is_control) {
        assert(part <= sizeof f->control - f->control_len);
        unmask(f->control + f->control_len, in, part, f->mask);
        f->control_len = (uint8_t)(f->control_len + part);
    } else {
        unmask(out + decoded->payload_len, in, part, f->mask);
        decoded->payload_len += part;
    }
    decoded->used += part;
    f->payload_left -= part;
    if (f->payload_left > 0) {
        mask_turn(f->mask, part);
        return WS_MORE;
    }
    f->in_payload = false;
    return is_control ? on_control(f, decoded) : WS_MORE;
}

enum ws_event ws_frame_decode(struct ws_frame *f, const uint8_t *in, size_t in_len, uint8_t *out,
                              struct ws_decoded *decoded)
{
    *decoded = (struct ws_decoded){.used = f->over ? in_len : 0};
    enum ws_event event = WS_MORE;
    while (event == WS_MORE && decoded->used < in_len) {
        if (!f->in_payload) {
            event = header_take(f, in + decoded->used, in_len - decoded->used, decoded);
        }
        /* Also when no byte is left: a control frame without payload ends with its header. */
        if (event == WS_MORE && f->in_payload) {
            event = payload_take(f, in + decoded->used, in_len - decoded->used, out, decoded);
        }
    }
    assert(decoded->payload_len <= decoded->used);
    assert(decoded->used <= in_len);
    return event;
}

size_t ws_frame_header_encode(uint8_t out[WS_FRAME_HEADER_BYTES_MAX], uint64_t payload_len)
{
    assert(payload_len <= WS_FRAME_PAYLOAD_MAX);

    const size_t more = payload_len < LENGTH_16 ? 0 : payload_len <= UINT16_MAX ? 2 : 8;
    out[0] = FIN | BINARY;
    out[1] = (uint8_t)(more == 0 ? payload_len : more == 2 ? LENGTH_16 : LENGTH_64);
    for (size_t i = 0; i < more; i++) {
        out[2 + i] = (uint8_t)(payload_len >> (8 * (more - 1 - i)));
    }
    return 2 + more;
}

size_t ws_frame_pong_encode(uint8_t out[WS_FRAME_CONTROL_BYTES_MAX], struct bytes data)
{
    assert(data.len <= WS_CONTROL_PAYLOAD_MAX);

    out[0] = FIN | PONG;
    out[1] = (uint8_t)data.len;
    if (data.len > 0) {
        memcpy(out + 2, data.at, data.len);
    }
    return 2 + data.len;
}

size_t ws_frame_close_encode(uint8_t out[WS_FRAME_CONTROL_BYTES_MAX], uint16_t close)
{
    assert(close == WS_CLOSE_NONE || close_code_valid(close));

    out[0] = FIN | CLOSE;
    out[1] = close == WS_CLOSE_NONE ? 0 : 2;
    out[2] = (uint8_t)(close >> 8);
    out[3] = (uint8_t)close;
    return 2u + out[1];
}
