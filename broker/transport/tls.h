/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: an end of one TLS connection, without a socket: records in, records out. It is the server's
 * where clients connect; between nodes it is either.
 *
 *   tls_feed() ─▶ tls_handshake() … DONE ─▶ tls_read() …          what is to be sent ─▶ outbuf
 *
 * Owner: the connection, hence its shard; it may move to another one, whole. A handshake's first
 * step costs a millisecond or so, which is for the caller to spread. Memory: wolfSSL's, some 20 KiB
 * (docs/performance.md), and while one comes in a record, 17 KiB at most.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/transport/tls_peer.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct outbuf;
struct tls;
struct tls_context;

/* A record's plaintext at most: what one tls_write() should have, if there is as much. */
#define TLS_RECORD_BYTES 16384u

enum tls_result {
    TLS_DONE,
    TLS_WANTS_MORE, /* all that was fed is used up */
    TLS_ENDED,      /* the peer has said that nothing more will come */
    TLS_FAILED,     /* tls_why(); an alert may be in the output */
};

/* A reference to the context is taken. What is to be sent goes to `out`, which is the caller's and
 * outlives it. NULL: no memory. */
NODISCARD struct tls *tls_create(struct tls_context *context, struct bytes server_name,
                                 struct outbuf *out);
/* The end that has called; the context is one for both ends (tls_context_load_mutual()). */
NODISCARD struct tls *tls_create_caller(struct tls_context *context, struct outbuf *out);
void tls_destroy(struct tls *t); /* NULL is fine */

/* What has come from the socket, borrowed until one of the two below answers WANTS_MORE. */
void tls_feed(struct tls *t, const uint8_t *data, size_t len);

NODISCARD enum tls_result tls_handshake(struct tls *t);
/* DONE: out[0..*len) is written, *len > 0. */
NODISCARD enum tls_result tls_read(struct tls *t, uint8_t *out, size_t size, size_t *len);

NODISCARD bool tls_write(struct tls *t, const uint8_t *data, size_t len);
void tls_close_notify(struct tls *t);

bool tls_resumed(const struct tls *t);

/* The names of the client's certificate, which the handshake has found good; empty, if it showed
 * none, or one that wolfSSL does not keep (tls_peer.h). Borrowed, as long as `t` lives. */
const struct certificate_names *tls_peer_names(const struct tls *t);

/* Would that certificate let it in by what `now` trusts, and what does it cost to find out? Without
 * one: yes. Otherwise false, and why, a constant text. */
enum tls_peer_cost tls_trust_cost(const struct tls *t, const struct tls_context *now);
NODISCARD bool tls_is_trusted(struct tls *t, const struct tls_context *now, const char **why);

/* Why it failed, for the operator; a constant text. */
const char *tls_why(const struct tls *t);

/* At the end of a thread that has made handshakes: the tables that wolfSSL keeps for it. */
void tls_thread_end(void);
