/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life: how a connection begins, is flushed, and ends (the drawing is in conn/conn.h); what the
 * kernel has to say arrives here.
 *
 * Owner: the shard of the connection.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/conn/conn.h"
#include "broker/session/session.h"
#include "broker/shard/post.h"

struct io_handlers;
struct relay;
struct shard;

/* Where a connection comes from whose socket is another node's. */
struct conn_from {
    uint8_t listener; /* one of this shard's */
    bool local;
    uint16_t port;
    union conn_origin at;
};

extern const struct io_handlers conn_io_handlers; /* context: the shard */

/*
 * Ends the connection. `reason` is sent in a DISCONNECT to a 5.0 client that is connected, unless
 * it is SUCCESS (the client has said goodbye itself, or is gone). The session is detached, and ends
 * if its expiry interval is 0. Nothing happens when it is ending already.
 */
void conn_close(struct conn *c, uint8_t reason, enum session_will will);

/* The same, with a few words for people that go into the DISCONNECT. */
void conn_close_saying(struct conn *c, uint8_t reason, const char *words, enum session_will will);

/* Closes without a word, whatever is still unsent. */
void conn_abort(struct conn *c);

/* Other shards owed one answer less; frees the connection when it was only waiting for that. */
void conn_answered(struct conn *c);

/* Before CONNECT: from now on the client has its time for the handshake, or when that is over, for
 * CONNECT. */
void conn_await_connect(struct conn *c);

/* The client will send no more, without a DISCONNECT: it is over when all that it sent is dealt
 * with.
 */
void conn_peer_left(struct conn *c);

/* Sends what has gathered in this turn; to be called for each connection of shard->dirty. */
void conn_flush(struct conn *c);

/* The same by a visitor (shard/visit.h): what the socket takes now is sent, without the ring.
 * False: something is left for conn_flush(). */
bool conn_flush_at_once(struct conn *c);

/* The descriptor and what was read of it, from its `CONNECT` on, move to the session's shard; the
 * connection here is freed. data is borrowed. */
void conn_move(struct conn *c, unsigned to, const uint8_t *data, size_t len);

/* A connection whose socket is another node's, as if it had been accepted: what it asks for,
 * `relay` is asked (conn/socket.h), and that calls conn_io_handlers. NULL: there are too many, or
 * no memory; it is told, and counted. */
struct conn *conn_open_far(struct shard *s, const struct conn_from *from, struct relay *relay);

extern post_fn conn_on_arrival; /* POST_CONNECTION */
