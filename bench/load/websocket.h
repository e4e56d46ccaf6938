/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket: as much of RFC 6455 as a client that sends binary frames needs. Frames are masked with
 * zeros, which is a mask like any other and costs nothing; pings are not answered.
 *
 * Owner: one connection. Memory: in place.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/load/outgoing.h"
#include "bench/load/url.h"

#define WEBSOCKET_REQUEST_BYTES_MAX 1024u
#define WEBSOCKET_HEADER_BYTES_MAX  14u

struct websocket {
    uint64_t payload_left; /* of the frame that is being received */
    bool is_skipped;       /* a control frame's */
    uint8_t header[WEBSOCKET_HEADER_BYTES_MAX];
    uint8_t header_len;  /* of `header`, when the rest of it has not come */
    uint8_t answer_seen; /* bytes of the beginning, then of the end, of the answer */
    bool is_answered;    /* its beginning was right */
    bool is_open;
    size_t framed; /* bytes at the front of the output that stand in a frame already */
};

/* The request to upgrade; its length. */
size_t websocket_request(const struct url *url, char out[WEBSOCKET_REQUEST_BYTES_MAX]);

/*
 * Takes the frames' headers out of bytes[0..len), and the answer to the request before them; what
 * is left of it begins at `bytes`. Its length, or -1: refused, closed, or no WebSocket.
 */
ssize_t websocket_unwrap(struct websocket *s, uint8_t *bytes, size_t len);

/* Makes a frame of what is at the end of the output and stands in none. false: no memory. */
bool websocket_wrap(struct websocket *s, struct outgoing *out);
