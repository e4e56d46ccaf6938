/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_frame: the frames of a WebSocket connection (RFC 6455, section 5) as a server sees them. What
 * a client sends becomes the stream of bytes that MQTT is carried in (6.0); where frames and
 * messages begin and end does not matter to MQTT [MQTT-6.0.0-2], and is not told.
 *
 * Numbers in brackets are RFC 6455's here, but for those of the form [MQTT-…].
 *
 * Owner: whoever owns the connection; a struct ws_frame is all that lasts between two calls.
 * Memory: none but that. Payload is never kept, a control frame's at most 125 bytes are.
 * At the bound: a data frame may be as long as its 63 bits can say; nothing waits for its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define WS_FRAME_HEADER_BYTES_MAX  10u       /* of a server: it does not mask */
#define WS_FRAME_CONTROL_BYTES_MAX 127u      /* the whole of a server's control frame */
#define WS_FRAME_PAYLOAD_MAX       INT64_MAX /* [5.2] */
#define WS_CONTROL_PAYLOAD_MAX     125u      /* [5.5] */

/* Why a connection ends [7.4.1]; those that this broker says, and the two that are never sent. */
enum ws_close {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL_ERROR = 1002,
    WS_CLOSE_UNACCEPTABLE = 1003, /* text; MQTT is binary [MQTT-6.0.0-1] */
    WS_CLOSE_NONE = 1005,         /* the close frame has no code */
    WS_CLOSE_INCONSISTENT = 1007, /* a reason that is not UTF-8 */
    WS_CLOSE_POLICY = 1008,
};

enum ws_event {
    WS_MORE = 0, /* all bytes are used */
    WS_PING,     /* `control` is to be sent back in a pong, soon [5.5.2] */
    WS_CLOSE,    /* the client says goodbye: a close with `close` is the answer [5.5.1] */
    WS_ERROR,    /* the connection is over; `close` is the code to close it with */
};

struct ws_decoded {
    size_t used;          /* bytes of the input; the next call goes on behind them */
    size_t payload_len;   /* bytes of data frames, now in `out`; they came before the event */
    struct bytes control; /* WS_PING: its data. WS_CLOSE: the reason. Good until the next call. */
    uint16_t close;       /* WS_CLOSE: the client's code, or WS_CLOSE_NONE. WS_ERROR: ours. */
};

/* Between two calls; zeros to begin with. The fields are not for others. */
struct ws_frame {
    uint64_t payload_left; /* of the frame that the input stands in */
    uint8_t mask[4];       /* turned, so that mask[0] meets the next byte of the payload */
    uint8_t first_byte;    /* FIN and opcode of that frame */
    bool in_payload;       /* else in a header, or before one */
    bool in_message;       /* the last data frame had no FIN: a continuation must follow */
    bool over;             /* after WS_CLOSE or WS_ERROR */
    uint8_t header_len;    /* bytes of a header that is not whole yet */
    uint8_t header[14];
    uint8_t control_len; /* bytes of the control frame's payload so far */
    uint8_t control[WS_CONTROL_PAYLOAD_MAX];
};

/*
 * Decodes in[0..in_len), the bytes next received, up to the first event, and writes the payload of
 * the data frames, unmasked and without gaps, from `out` on. Any bytes are fair input. Always sets
 * *decoded; loop until WS_MORE.
 *
 * `out` has room for in_len bytes: it is `in` itself, or any place before it (so that what is left
 * of an earlier call and the new bytes become one run), or a buffer apart.
 *
 * Pongs are passed over [5.5.3]. After WS_CLOSE and WS_ERROR all bytes are passed over
 * [1.4, 7.1.7].
 */
NODISCARD enum ws_event ws_frame_decode(struct ws_frame *f, const uint8_t *in, size_t in_len,
                                        uint8_t *out, struct ws_decoded *decoded);

/* The header of a binary message in one frame; its payload of that length is to follow. The size:
 * 2, 4 or 10. payload_len <= WS_FRAME_PAYLOAD_MAX. */
size_t ws_frame_header_encode(uint8_t out[WS_FRAME_HEADER_BYTES_MAX], uint64_t payload_len);

/* A whole pong. data.len <= WS_CONTROL_PAYLOAD_MAX, as a ping's is. Its size. */
size_t ws_frame_pong_encode(uint8_t out[WS_FRAME_CONTROL_BYTES_MAX], struct bytes data);

/* A whole close without a reason, with a code unless it is WS_CLOSE_NONE. Its size. */
size_t ws_frame_close_encode(uint8_t out[WS_FRAME_CONTROL_BYTES_MAX], uint16_t close);
