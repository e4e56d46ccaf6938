/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_context: what all TLS connections of one listener have in common: certificates and keys, what
 * clients have to show, versions, cipher suites, ticket keys. It is read from files once; when they
 * change, another one is made.
 *
 * Owner: one reference each (tls_context_take(), _put()): the listener has one, and every
 * connection, since what wolfSSL makes of it borrows the ticket keys. Constant; any thread may use
 * it. Memory: some tens of KiB. Files are read in tls_context_load() only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct WOLFSSL_CERT_MANAGER;
struct WOLFSSL_CTX;
struct config_error;
struct config_listener;
struct ticket_keys;
struct tls_context;

#define TLS_FILE_BYTES_MAX (1u << 20)

/* `alpn` is what clients that offer protocols (RFC 7301) have to offer. NULL and lines in *error
 * (file, and what is wrong): one of the files is not good, or there is no memory. */
NODISCARD struct tls_context *tls_context_load(const struct config_listener *listener,
                                               const char *alpn, struct ticket_keys *tickets,
                                               struct config_error *error);

/* Of connections between nodes, of either end: both show a certificate, which the listener's
 * settings require of clients, and nothing is resumed. */
NODISCARD struct tls_context *tls_context_load_mutual(const struct config_listener *listener,
                                                      const char *alpn, struct config_error *error);

struct tls_context *tls_context_take(struct tls_context *c);
void tls_context_put(struct tls_context *c); /* NULL is fine */
void tls_context_release(void *c);           /* the same, for after_quiescent() */

/* wolfSSL's for the host that a client asked for: the first certificate that is for it, or the
 * first of all. */
struct WOLFSSL_CTX *tls_context_for(const struct tls_context *c, struct bytes server_name);
/* Which files say whom to trust: the same numbers, the same contents; zeros: clients are not asked.
 */
struct tls_trust {
    uint64_t client_ca, crl;
};

struct tls_trust tls_context_trust(const struct tls_context *c);

/* wolfSSL's list of those who sign clients' certificates, and of what they have revoked. It has
 * locks of its own, and learns those in between, as in handshakes. */
struct WOLFSSL_CERT_MANAGER *tls_context_trusted(const struct tls_context *c);

const char *tls_context_alpn(const struct tls_context *c);

/* When the first of the certificates is no longer good, in seconds since 1970. */
/* A warning for each certificate that has ended, or will within TLS_WARN_DAYS. */
#define TLS_WARN_DAYS 14u
void tls_context_warn(const struct tls_context *c);
int64_t tls_context_ends_s(const struct tls_context *c);

/* Logs one line for each certificate: file, name, days left. */
void tls_context_log(const struct tls_context *c);
