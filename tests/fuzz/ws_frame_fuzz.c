/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_frame_fuzz: any bytes are fair input to ws_frame_decode(), and it says of them what the oracle
 * says (tests/unit/proto/ws_stream.h), however they are cut and wherever the payload goes.
 *
 * Input: one byte of choice, then four that cut, then what arrives.
 *   choice  0: the payload goes apart; else so many bytes less one before the input
 *   cuts    pieces of so many bytes and one, in turn
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/ws_stream.h"

#define CUTS 4u

static void answers(const struct ws_transcript *t)
{
    uint8_t out[WS_FRAME_CONTROL_BYTES_MAX];
    if (t->last == WS_PING) {
        FUZZ_EXPECT(ws_frame_pong_encode(out, t->control) == 2 + t->control.len);
    } else if (t->last != WS_MORE) { /* each code that comes out may be sent */
        FUZZ_EXPECT(ws_frame_close_encode(out, t->close) == (t->close == WS_CLOSE_NONE ? 2 : 4));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 + CUTS) {
        return 0;
    }
    const uint8_t *const stream = data + 1 + CUTS;
    const size_t len = size - 1 - CUTS;
    struct ws_transcript oracle, whole, pieces;
    ws_transcript_init(&oracle, len);
    ws_transcript_init(&whole, len);
    ws_transcript_init(&pieces, len);
    ws_transcript_oracle(&oracle, stream, len);
    ws_transcript_feed(&whole, stream, len, WS_IN_PLACE);
    for (size_t at = 0, i = 0; at < len; i++) {
        const size_t wish = 1u + data[1 + i % CUTS], left = len - at;
        const size_t piece = wish < left ? wish : left;
        ws_transcript_feed(&pieces, stream + at, piece, (int)data[0] - 1);
        at += piece;
    }
    FUZZ_EXPECT(ws_transcript_equal(&whole, &oracle));
    FUZZ_EXPECT(ws_transcript_equal(&pieces, &oracle));
    answers(&oracle);
    ws_transcript_fini(&oracle);
    ws_transcript_fini(&whole);
    ws_transcript_fini(&pieces);
    return 0;
}
