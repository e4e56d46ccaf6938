/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_handshake: how an HTTP/1.1 connection becomes a WebSocket (RFC 6455, section 4.2): the request
 * of the client is judged, and the server's answer composed. Numbers in brackets are RFC 6455's,
 * but for those of the form [MQTT-…].
 *
 * Memory: none; what was decoded points into the request.
 * At the bound: a head over WS_HEAD_BYTES_MAX is refused when so many bytes have come.
 *
 * The answer carries a SHA-1. The caller computes it, between two calls, with the library that it
 * has for TLS anyway; so this folder needs none, and no function pointer, and a test can give any
 * digest:
 *
 *     ws_handshake_decode() ─▶ ws_handshake_accept_input() ─▶ SHA-1 ─▶ ws_handshake_answer_encode()
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define WS_HEAD_BYTES_MAX         8192u /* from the method to the empty line */
#define WS_KEY_BYTES              24u   /* base64 of 16 bytes */
#define WS_ACCEPT_INPUT_BYTES     60u   /* the key, and a constant of 36 characters */
#define WS_DIGEST_BYTES           20u   /* of SHA-1 */
#define WS_ANSWER_BYTES_MAX       192u
#define WS_HANDSHAKE_METHOD_BYTES 16u /* a method that is longer is no method */

enum ws_handshake_err {
    WS_HANDSHAKE_OK = 0,
    WS_HANDSHAKE_NEED_MORE,
    WS_HANDSHAKE_MALFORMED,    /* not HTTP, or a header field that is not of its form */
    WS_HANDSHAKE_HTTP_VERSION, /* HTTP, but not 1.1 */
    WS_HANDSHAKE_METHOD,       /* not GET */
    WS_HANDSHAKE_TOO_LARGE,    /* no end within WS_HEAD_BYTES_MAX */
    WS_HANDSHAKE_HOST,         /* Host is not there, or is there twice, or is not one */
    WS_HANDSHAKE_BODY,         /* announces a body */
    WS_HANDSHAKE_NO_UPGRADE,   /* an ordinary request: does not ask for a WebSocket */
    WS_HANDSHAKE_WS_VERSION,   /* asks for another version than 13 */
    WS_HANDSHAKE_KEY,          /* Sec-WebSocket-Key is not there, or is not of 16 bytes */
    WS_HANDSHAKE_ERRS,
};

/* The statuses of HTTP that a request can be refused with. */
enum ws_status {
    WS_STATUS_BAD_REQUEST = 400,
    WS_STATUS_FORBIDDEN = 403,
    WS_STATUS_NOT_FOUND = 404,
    WS_STATUS_METHOD_NOT_ALLOWED = 405,
    WS_STATUS_UPGRADE_REQUIRED = 426,
    WS_STATUS_HEAD_TOO_LARGE = 431,
    WS_STATUS_UNAVAILABLE = 503,
    WS_STATUS_HTTP_VERSION = 505,
};

enum ws_subprotocol {
    WS_SUBPROTOCOL_NONE = 0,
    WS_SUBPROTOCOL_MQTT,    /* "mqtt" [MQTT-6.0.0-3] */
    WS_SUBPROTOCOL_MQTTV31, /* "mqttv3.1", what was in use before it */
};

/* All as the client wrote it: nothing is percent-decoded, and no case changed. */
struct ws_handshake {
    struct bytes path;   /* begins with '/'; empty for a target such as "http://host" */
    struct bytes query;  /* behind the '?'; at NULL when there is none */
    struct bytes host;   /* with the port, if it was told; never empty */
    struct bytes origin; /* of the page that a browser has open; at NULL when there is none */
    struct bytes key;    /* WS_KEY_BYTES characters */
    bool offers_mqtt;    /* as subprotocols; the tokens are case-sensitive */
    bool offers_mqttv31;
};

/*
 * Decodes the request that in[0..in_len) begins with. Any bytes are fair input.
 *
 * WS_HANDSHAKE_OK: *used is the size of the head; frames come behind it. _NEED_MORE: call again,
 * from the same beginning, when more bytes are there. Any other: ws_handshake_status() is the
 * answer. *handshake and *used are written on OK only.
 *
 * The request line and bare line feeds are judged as they arrive, so a peer that does not speak
 * HTTP is told so at once; the rest when the head is whole. Several breaches: any one is told.
 * Cost: a call that answers NEED_MORE looks for line ends only; header fields are read once.
 */
NODISCARD enum ws_handshake_err ws_handshake_decode(struct ws_handshake *handshake,
                                                    const uint8_t *in, size_t in_len, size_t *used);

/* For an err above WS_HANDSHAKE_NEED_MORE. */
enum ws_status ws_handshake_status(enum ws_handshake_err err);

/* What is wrong, for the log: "not GET". */
const char *ws_handshake_err_text(enum ws_handshake_err err);

/* The text whose SHA-1 proves to the client that its request was understood [4.2.2]. */
void ws_handshake_accept_input(const struct ws_handshake *handshake,
                               uint8_t out[WS_ACCEPT_INPUT_BYTES]);

/* What is to be sent back. */
struct ws_answer {
    size_t len;
    uint8_t bytes[WS_ANSWER_BYTES_MAX];
};

/* Status 101, with that digest and the subprotocol chosen, which the client has to have offered. */
void ws_handshake_answer_encode(struct ws_answer *answer, const uint8_t digest[WS_DIGEST_BYTES],
                                enum ws_subprotocol subprotocol);

/* A refusal without a body; the connection is to be closed behind it. */
void ws_handshake_refusal_encode(struct ws_answer *answer, enum ws_status status);
