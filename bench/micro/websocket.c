/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/micro/websocket.h"

#include <assert.h>
#include <stdlib.h>

#include "bench/micro/micro.h"
#include "proto/ws_frame.h"

#define MASKED    0x80u
#define LENGTH_16 126u

struct websocket_stream *websocket_stream_create(size_t payload_bytes)
{
    assert(payload_bytes <= UINT16_MAX);
    struct websocket_stream *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->payload_bytes = payload_bytes;
    s->frame_bytes = payload_bytes + (payload_bytes < LENGTH_16 ? 6 : 8);
    s->frames = sizeof s->bytes / s->frame_bytes;
    uint8_t *at = s->bytes;
    for (size_t i = 0; i < s->frames; i++) {
        *at++ = 0x82; /* binary, FIN */
        if (payload_bytes < LENGTH_16) {
            *at++ = (uint8_t)(MASKED | payload_bytes);
        } else {
            *at++ = MASKED | LENGTH_16;
            *at++ = (uint8_t)(payload_bytes >> 8);
            *at++ = (uint8_t)payload_bytes;
        }
        for (size_t k = 0; k < 4 + payload_bytes; k++) {
            *at++ = (uint8_t)(i * 251 + k * 37);
        }
    }
    return s;
}

static void *frames_64(void)
{
    return websocket_stream_create(64);
}

static void *frames_4k(void)
{
    return websocket_stream_create(4096);
}

static void decode(void *state, uint64_t count)
{
    struct websocket_stream *s = state;
    struct ws_frame f = {0};
    while (count > 0) {
        const size_t frames = count < s->frames ? (size_t)count : s->frames;
        struct ws_decoded decoded;
        const enum ws_event event =
            ws_frame_decode(&f, s->bytes, frames * s->frame_bytes, s->out, &decoded);
        if (event != WS_MORE || decoded.payload_len != frames * s->payload_bytes) {
            abort();
        }
        micro_use(s->out[0]);
        count -= frames;
    }
}

const struct micro micro_websocket[] = {
    {"ws_decode_64", frames_64, decode, free},
    {"ws_decode_4k", frames_4k, decode, free},
    {.name = NULL},
};
