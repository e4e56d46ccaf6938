/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport: a client's bytes through TCP, and through TLS and a WebSocket where the URL says so.
 *
 *   TCP is there ─▶ TLS handshake (tls, wss) ─▶ upgrade (ws, wss) ─▶ open
 *
 * Owner: the client's worker. Neither waits: who calls, watches the socket.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "bench/load/tls.h"
#include "bench/load/websocket.h"

struct client;
struct worker;

struct transport {
    bool is_websocket;
    bool is_secured; /* the TLS handshake is over */
    struct tls *tls; /* NULL: none */
    struct websocket websocket;
};

enum transport_state {
    TRANSPORT_OPEN,
    TRANSPORT_WANTS_READ,
    TRANSPORT_WANTS_WRITE,
    TRANSPORT_FAILED,
};

/* The socket is connected. false: no memory. */
bool transport_begin(struct worker *w, struct client *c);

/* The next step, as far as it goes now. To be called again on the event that it wants. */
enum transport_state transport_open(struct worker *w, struct client *c);

/* Into the worker's buffer: how many bytes of MQTT, which may be none; -1 and errno as of recv(),
 * the end of the stream being ECONNRESET. */
ssize_t transport_receive(struct worker *w, struct client *c);

/* Sends of the client's output what the kernel takes. -1 and errno as of send(). */
int transport_send(struct worker *w, struct client *c);

/* Payload is copied into the output, for it has to be framed or encrypted. */
bool transport_copies(const struct worker *w);

void transport_end(struct client *c);
