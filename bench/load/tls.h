/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: TLS 1.2 or 1.3 towards the broker, by wolfSSL.
 *
 * Owner: a worker, of the client and of all its connections. The session that later connections
 * resume (--resume) is the last one that a connection was given.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls_client;
struct tls;

/* ca_file: NULL: any certificate will do. NULL: no memory, or that file is no good. */
struct tls_client *tls_client_create(const char *ca_file, const char *host, bool resumes);
void tls_client_destroy(struct tls_client *client); /* NULL is fine */

/* To be called by each thread that had connections, at its end: wolfSSL keeps points of curves for
 * each thread. */
void tls_thread_end(void);

/* Whether a connection that begins now would be resumed. */
bool tls_client_has_session(const struct tls_client *client);

struct tls *tls_open(struct tls_client *client, int fd); /* NULL: no memory */
void tls_close(struct tls *t);                           /* NULL is fine */

enum tls_state {
    TLS_DONE,
    TLS_WANTS_READ,
    TLS_WANTS_WRITE,
    TLS_FAILED,
};

enum tls_state tls_handshake(struct tls *t);
bool tls_is_resumed(struct tls *t);

/* As recv() and send(), errno EAGAIN and EPROTO included. What was to be sent is to be tried again
 * with the same bytes. */
ssize_t tls_receive(struct tls *t, uint8_t *bytes, size_t size);
ssize_t tls_send(struct tls *t, const uint8_t *bytes, size_t len);

/* Keeps the session for later connections; after something has been received. */
void tls_keep_session(struct tls_client *client, struct tls *t);
