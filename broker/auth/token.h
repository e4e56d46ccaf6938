/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token: a JSON Web Token (RFC 7519) in the compact form of a signature (RFC 7515, 3.1), judged
 * after the advice of RFC 8725:
 *
 *   form ─▶ header ─▶ a key of that algorithm and name ─▶ signature ─▶ claims ─▶ who it is
 *
 * The algorithm is the key's (3.1): a token that names another is by no key. Claims are not looked
 * at before the signature is right. Members that stand twice are refused (RFC 7519, 4).
 *
 * Pure but for memory: bytes and a time in, a verdict out. Any thread. Any bytes are fair input.
 * At the bounds below: TOKEN_MALFORMED, before anything is decoded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/auth/token_keys.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define TOKEN_BYTES_MAX        16384u
#define TOKEN_HEADER_BYTES_MAX 2048u /* encoded */
#define TOKEN_USER_BYTES_MAX   256u
#define TOKEN_TRIES_MAX        4u /* keys that are tried on one token that names none */

enum token_err {
    TOKEN_OK = 0,
    TOKEN_MALFORMED,
    TOKEN_CRITICAL,    /* it has an extension that must be understood (RFC 7515, 4.1.11) */
    TOKEN_TYPE,        /* it is a token for something else (RFC 8725, 3.11) */
    TOKEN_UNKNOWN_KEY, /* it names a key that we do not have */
    TOKEN_NO_KEYS,     /* nobody can say: we have no keys at all */
    TOKEN_ALGORITHM,   /* no key of ours is for the algorithm that it names */
    TOKEN_SIGNATURE,
    TOKEN_NO_EXPIRY,
    TOKEN_EXPIRED,
    TOKEN_EARLY, /* nbf or iat is in the future */
    TOKEN_ISSUER,
    TOKEN_AUDIENCE,
    TOKEN_CLAIM,  /* one is not what it has to be */
    TOKEN_USER,   /* it names no user, or another one than CONNECT */
    TOKEN_CLIENT, /* it is for another client identifier */
    TOKEN_GROUPS, /* its groups are none */
    TOKEN_ACL,    /* its rules are none */
    TOKEN_NO_MEMORY,
};

/* A phrase behind "the token": "is signed by a key that is unknown". */
const char *token_err_text(enum token_err err);

struct token_rules {
    const char *issuer;          /* "": any */
    const char *audience;        /* "": none, then a token that has one is for somebody else */
    const char *user_claim;      /* the user's name */
    const char *client_id_claim; /* looked at where it is there; "": never */
    const char *groups_claim;    /* likewise */
    const char *acl_claim;       /* likewise */
    uint32_t leeway_s;           /* clocks may be that much apart */
    bool require_expiry;
    bool user_name_must_match; /* where the client gives one */
};

/* Who shows it. */
struct token_bearer {
    const struct bytes *user_name; /* NULL: it gave none */
    struct bytes client_id;
};

struct acl;
struct groups;

/* What a good token says. */
struct token_facts {
    uint64_t ends_s;       /* with the leeway; UINT64_MAX: never */
    uint64_t fingerprint;  /* of its key */
    struct groups *groups; /* owned; NULL: it names none */
    struct acl *acl;       /* owned; NULL: it has no rules */
    uint16_t user_len;     /* 1..TOKEN_USER_BYTES_MAX */
    uint8_t user[TOKEN_USER_BYTES_MAX];
};

static inline struct bytes token_facts_user(const struct token_facts *facts)
{
    return bytes_of(facts->user, facts->user_len);
}

/* What is owned goes; the rest stays. */
void token_facts_fini(struct token_facts *facts);

/* Does it look like a token, good or bad: a header of JSON, and two more parts? No look inside. */
bool token_has_form(struct bytes text);

/* now_s: since 1970. *facts is written on TOKEN_OK only. */
NODISCARD enum token_err token_verify(struct token_facts *facts, const struct token_keys *keys,
                                      const struct token_rules *rules,
                                      const struct token_bearer *bearer, struct bytes text,
                                      uint64_t now_s);
