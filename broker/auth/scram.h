/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scram: the server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), by the lines of a password file
 * that hold what it needs. libgsasl reads and writes the messages.
 *
 *   client-first ─▶ SCRAM_GO_ON, server-first ─▶ client-final ─▶ SCRAM_RIGHT, server-final
 *
 * A step takes some tens of microseconds, whatever the line's iterations: those are the client's to
 * do. No channel is bound to: a client that asks for that is refused.
 *
 * A user who is not there, or whose line is another kind of hash, gets a salt all the same, always
 * the same one until the process ends, and the iterations of the file's first SCRAM line; and the
 * proof is checked with as much work. Where lines were made alike, nobody can tell who is a user.
 *
 * Owner: a server is made and destroyed while no thread has an exchange; in between threads only
 * read it. An exchange is its thread's. Memory: about 4 KiB of each, wiped at the end where it is
 * ours. At the bound of a message: SCRAM_MALFORMED. Any bytes are fair input.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "broker/auth/password_file.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define SCRAM_MESSAGE_BYTES_MAX 1024u /* the client's; a name has PASSWORD_NAME_BYTES_MAX */
#define SCRAM_ANSWER_BYTES_MAX  1280u /* has the client's nonce in it, ours, and a salt */

struct scram;
struct scram_server;

enum scram_result {
    SCRAM_GO_ON,     /* there is an answer, and another message is expected */
    SCRAM_RIGHT,     /* the client is that user; the answer is the server's proof */
    SCRAM_WRONG,     /* it is not, or there is no such user */
    SCRAM_MALFORMED, /* this is no message of SCRAM, or asks for what is not offered */
    SCRAM_FAILED,    /* no memory to judge */
};

/* NULL: no memory, no random bytes, or the library cannot do it. */
NODISCARD struct scram_server *scram_server_create(void);
void scram_server_destroy(struct scram_server *server); /* NULL is fine */

/* NULL: no memory. */
NODISCARD struct scram *scram_begin(const struct scram_server *server);
void scram_end(struct scram *x); /* NULL is fine */

/* The client's next message; not after anything else than SCRAM_GO_ON. An empty one at the start is
 * answered with an empty one, once: it is the server who begins then. answer is written on
 * SCRAM_GO_ON and SCRAM_RIGHT. */
NODISCARD enum scram_result scram_step(struct scram *x, const struct password_file *users,
                                       struct bytes message, uint8_t answer[SCRAM_ANSWER_BYTES_MAX],
                                       size_t *answer_len);

/* Whom the client says it is; empty: it has not said. Borrowed. */
struct bytes scram_user(const struct scram *x);

/* The user's line as it was when the salt was told; NULL: there is none. Borrowed. */
const struct password_hash *scram_line(const struct scram *x);
