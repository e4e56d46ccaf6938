/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_stream: the frames of a WebSocket client, as tests write them; all that ws_frame_decode() says
 * of them, piece by piece; and what it has to say, in the simplest words.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/ws_frame.h"

#define WS_STREAM_HEADER_BYTES_MAX 14u

/* Writes a client's frame: the first byte as given, the length in its shortest form, masked. Its
 * size; out has room for the payload and WS_STREAM_HEADER_BYTES_MAX. */
size_t ws_stream_frame(uint8_t *out, uint8_t first_byte, const uint8_t mask[4],
                       struct bytes payload);

/* Everything that was said of a stream: the payload, and a log of the events. */
struct ws_transcript {
    struct ws_frame decoder;
    uint8_t *payload;
    size_t payload_len;
    uint8_t *log; /* of each event: what it is, after how much payload, its code and its data */
    size_t log_len;
    enum ws_event last;   /* the last event; WS_MORE before any */
    uint16_t close;       /* its code */
    struct bytes control; /* its data, in the log */
};

/* For a stream of at most so many bytes. */
void ws_transcript_init(struct ws_transcript *t, size_t stream_len);
void ws_transcript_fini(struct ws_transcript *t);

/* Hands the decoder the next piece; the payload goes where the piece is, `before` bytes before it,
 * or apart from it. */
enum { WS_APART = -1, WS_IN_PLACE = 0 };
void ws_transcript_feed(struct ws_transcript *t, const uint8_t *piece, size_t len, int before);

/* What a decoder has to say of the whole stream. */
void ws_transcript_oracle(struct ws_transcript *t, const uint8_t *stream, size_t len);

bool ws_transcript_equal(const struct ws_transcript *a, const struct ws_transcript *b);
