/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_peer: the certificate that a client showed in its handshake, and whether it would still let
 * the client in.
 *
 * Owner: the connection's struct tls. Memory: its own few bytes; the certificate and those between
 * it and the root are in wolfSSL's session, which has room for them whether they come or not. One
 * of more than 4 KiB finds none: it names nobody, and when other certificates or revocation lists
 * are trusted, it is not good any more, as nobody can tell.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/transport/tls_context.h"
#include "proto/certificate_names.h"

struct WOLFSSL;

struct tls_peer {
    bool shown;                     /* there is one, which the handshake has found good */
    bool kept;                      /* and the session has it */
    struct tls_trust trust;         /* by which it was last found good */
    struct certificate_names names; /* lie in the session; none unless it is kept */
};

/* What it costs to find out. */
enum tls_peer_cost {
    TLS_PEER_NOTHING, /* nothing has changed for it */
    TLS_PEER_LITTLE,  /* it is looked up among the revoked: some ten microseconds */
    TLS_PEER_MUCH,    /* signatures: some hundred microseconds each */
};

/* When the handshake is over. */
void tls_peer_init(struct tls_peer *p, struct WOLFSSL *ssl, const struct tls_context *context);

enum tls_peer_cost tls_peer_cost(const struct tls_peer *p, const struct tls_context *now);

/* Does what the listener trusts now let it in? Otherwise false, and why: a constant text. */
bool tls_peer_is_good(struct tls_peer *p, struct WOLFSSL *ssl, const struct tls_context *now,
                      const char **why);
