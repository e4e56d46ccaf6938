/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_pipe: an end of one TLS connection between two nodes, with what it has to send. It has no
 * socket: bytes in, bytes out.
 *
 *   tls_pipe_feed() ─▶ tls_pipe_handshake() … DONE ─▶ tls_pipe_read() … WANTS_MORE
 *   tls_pipe_write() ─▶ tls_pipe_gather() ─▶ tls_pipe_sent()
 *
 * Both ends show a certificate. There is no close_notify: what goes over a link says its own end.
 *
 * Owner: who has the connection: the gossip thread as long as it is nobody's, then the lane's
 * shard. Memory: wolfSSL's, some 40 KiB; what is written and not sent, which the caller bounds by
 * writing no more before it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "broker/transport/tls.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* Of plaintext: what a node should write at once, so that little is copied ahead of a slow peer. */
#define TLS_PIPE_BATCH (4 * TLS_RECORD_BYTES)

#define TLS_PIPE_ALPN                                                                              \
    "dunlin-link/1" /* so that a client's listener does not take it for its own                    \
                     */

struct tls_pipe;

/* With a reference to the context; has_called: this end has opened the connection. NULL: no memory.
 */
NODISCARD struct tls_pipe *tls_pipe_create(struct tls_context *context, bool has_called);
void tls_pipe_destroy(struct tls_pipe *p); /* nothing of it is under way; NULL is fine */

/* Is that how a TLS connection begins? Any three bytes are fair. */
#define TLS_PIPE_PEEK_BYTES 3u
bool tls_pipe_begins(const uint8_t in[TLS_PIPE_PEEK_BYTES]);

/* What has come: borrowed until one of the two below has answered WANTS_MORE. */
void tls_pipe_feed(struct tls_pipe *p, const uint8_t *data, size_t len);
NODISCARD enum tls_result tls_pipe_handshake(struct tls_pipe *p); /* some ms */
/* DONE: out[0..*len) is written, *len > 0. */
NODISCARD enum tls_result tls_pipe_read(struct tls_pipe *p, uint8_t *out, size_t size, size_t *len);

/* The first bytes of the runs, TLS_PIPE_BATCH at most, *taken of them. false: tls_pipe_why(). */
NODISCARD bool tls_pipe_write(struct tls_pipe *p, const struct bytes *runs, size_t n,
                              size_t *taken);

/* What is to be sent, as iov[0..n), n <= max; *bytes is their sum. The same until
 * tls_pipe_sent() has taken them away. */
unsigned tls_pipe_gather(const struct tls_pipe *p, struct iovec *iov, unsigned max, size_t *bytes);
void tls_pipe_sent(struct tls_pipe *p, size_t bytes);

/* Does what is trusted now let the other end in? Otherwise false, and why, a constant text. */
NODISCARD bool tls_pipe_is_trusted(struct tls_pipe *p, const struct tls_context *now,
                                   const char **why);

const char *tls_pipe_why(const struct tls_pipe *p); /* after FAILED; a constant text */
