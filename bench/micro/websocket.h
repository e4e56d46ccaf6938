/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket: a client's stream of WebSocket frames of one size, to be decoded again and again.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define WEBSOCKET_BYTES_MAX (16u * 4104u) /* a generous read */

struct websocket_stream {
    size_t frames;
    size_t frame_bytes; /* of each, with its header */
    size_t payload_bytes;
    uint8_t bytes[WEBSOCKET_BYTES_MAX];
    uint8_t out[WEBSOCKET_BYTES_MAX];
};

/* Binary frames, each masked with a key of its own; as many as there is room for. */
struct websocket_stream *websocket_stream_create(size_t payload_bytes);
