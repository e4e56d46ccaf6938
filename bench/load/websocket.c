/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/websocket.h"

#include <stdio.h>
#include <string.h>

#define FINAL_BINARY 0x82u
#define OPCODE_MASK  0x0fu
#define OPCODE_CLOSE 0x8u
#define MASKED       0x80u
#define MASK_BYTES   4u
#define LENGTH_16    126u
#define LENGTH_64    127u

static const char answer_begin[] = "HTTP/1.1 101";
static const char answer_end[] = "\r\n\r\n";

size_t websocket_request(const struct url *url, char out[WEBSOCKET_REQUEST_BYTES_MAX])
{
    const int len = snprintf(out, WEBSOCKET_REQUEST_BYTES_MAX,
                             "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: ZHVubGluLWJlbmNoLWtleQ==\r\n"
                             "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
                             url->path, url->host, url->port);
    return (size_t)len; /* url.h bounds what goes into it */
}

/* Passes over the answer to the upgrade. How many bytes of it there were; -1: refused. */
static ssize_t pass_answer(struct websocket *s, const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    for (; at < len && s->answer_seen < sizeof answer_begin - 1 && !s->is_answered; at++) {
        if (bytes[at] != (uint8_t)answer_begin[s->answer_seen]) {
            return -1;
        }
        s->answer_seen++;
    }
    if (s->answer_seen == sizeof answer_begin - 1 && !s->is_answered) {
        s->is_answered = true;
        s->answer_seen = 0;
    }
    for (; at < len && s->is_answered && s->answer_seen < sizeof answer_end - 1; at++) {
        if (bytes[at] == (uint8_t)answer_end[s->answer_seen]) {
            s->answer_seen++;
        } else {
            s->answer_seen = bytes[at] == (uint8_t)answer_end[0];
        }
    }
    s->is_open = s->is_answered && s->answer_seen == sizeof answer_end - 1;
    return (ssize_t)at;
}

/* Whether `header` is a whole one; then payload_left and is_skipped are set. */
static bool judge_header(struct websocket *s)
{
    if (s->header_len < 2) {
        return false;
    }
    const uint8_t length = s->header[1] & 0x7fu;
    const unsigned more = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
    if (s->header_len < 2 + more) {
        return false;
    }
    uint64_t payload = more == 0 ? length : 0;
    for (unsigned i = 0; i < more; i++) {
        payload = payload << 8 | s->header[2 + i];
    }
    s->payload_left = payload;
    s->is_skipped = (s->header[0] & OPCODE_MASK) >= OPCODE_CLOSE;
    return true;
}

ssize_t websocket_unwrap(struct websocket *s, uint8_t *bytes, size_t len)
{
    size_t at = 0, kept = 0;
    if (!s->is_open) {
        const ssize_t passed = pass_answer(s, bytes, len);
        if (passed < 0) {
            return -1;
        }
        at = (size_t)passed;
    }
    while (at < len) {
        if (s->payload_left == 0) {
            s->header[s->header_len++] = bytes[at++];
            if (judge_header(s)) {
                s->header_len = 0;
                if ((s->header[0] & OPCODE_MASK) == OPCODE_CLOSE || (s->header[1] & MASKED) != 0) {
                    return -1;
                }
            }
            continue;
        }
        const size_t left = len - at;
        const size_t part = s->payload_left < left ? (size_t)s->payload_left : left;
        if (!s->is_skipped) {
            memmove(bytes + kept, bytes + at, part);
            kept += part;
        }
        at += part;
        s->payload_left -= part;
    }
    return (ssize_t)kept;
}

bool websocket_wrap(struct websocket *s, struct outgoing *out)
{
    const size_t payload = outgoing_len(out) - s->framed;
    if (payload == 0) {
        return true;
    }
    const unsigned more = payload < LENGTH_16 ? 0 : payload <= UINT16_MAX ? 2 : 8;
    const size_t header = 2 + more + MASK_BYTES;
    if (outgoing_reserve(out, header) == NULL) {
        return false;
    }
    uint8_t *const at = out->bytes + out->begin + s->framed;
    memmove(at + header, at, payload);
    at[0] = FINAL_BINARY;
    at[1] = (uint8_t)(MASKED | (more == 0 ? payload : more == 2 ? LENGTH_16 : LENGTH_64));
    for (unsigned i = 0; i < more; i++) {
        at[2 + i] = (uint8_t)(payload >> (8 * (more - 1 - i)));
    }
    memset(at + 2 + more, 0, MASK_BYTES);
    s->framed = outgoing_len(out);
    return true;
}
