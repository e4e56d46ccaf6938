/* SPDX-License-Identifier: Apache-2.0 */
/*
 * callback: what a server of the operator's is asked about a client, and what its answer means;
 * both JSON (docs/http-callback.md). Pure: text in, text or verdict out.
 *
 * Any bytes are fair input. Memory: as said; answers are bounded by CALLBACK_ANSWER_BYTES_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define CALLBACK_ANSWER_BYTES_MAX 65536u
#define CALLBACK_USER_BYTES_MAX   256u

struct acl;

/* Who wants to come in; all borrowed. */
struct callback_client {
    bool has_user_name, has_password;
    struct bytes user_name;
    struct bytes password;
    struct bytes client_id;
    const char *address;  /* with the port, or "unix" */
    bool has_uid;         /* it has come by a Unix socket, and is known: */
    uint32_t uid;         /* a process of that user of the machine */
    const char *listener; /* its URL, as configured */
    unsigned protocol_level;
    bool again; /* it is connected, and was let in under this user name; its password is not kept */
};

/* JSON, to be wiped and freed by the caller; NULL: no memory. What is not UTF-8 goes as Base64,
 * under a name that says so. */
NODISCARD char *callback_question(const struct callback_client *client);

enum callback_result {
    CALLBACK_ALLOW,
    CALLBACK_DENY,
    CALLBACK_IGNORE,  /* the next method is asked */
    CALLBACK_UNCLEAR, /* it is no answer: *wrong says why */
};

struct callback_verdict {
    enum callback_result result;
    bool has_user; /* the server has another name for it */
    uint16_t user_len;
    char user[CALLBACK_USER_BYTES_MAX];
    uint32_t expires_in_s; /* how long this holds; 0: as long as the connection */
    struct acl *acl;       /* rules of its own, the receiver's to destroy; NULL: none */
    const char *wrong;     /* a constant text with nothing of the input in it */
};

/* Of the body of an answer with status 200. CALLBACK_UNCLEAR: there is no acl. */
void callback_read(struct callback_verdict *out, struct bytes answer);
