/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_keys: the keys that tokens may be signed with, as a file or a server has them: public keys
 * in PEM, or a set of keys in JSON (JWKS, RFC 7517, 5). docs/tokens.md describes both.
 *
 * In a JWKS, what is not for us is passed over and counted (RFC 7517, 5): keys of other kinds, for
 * other uses, of sizes that we do not take. PEM is written by the operator: there it is a mistake.
 * So is a text without any key for us.
 *
 * Owner: whoever made it; it never changes, so that any thread may ask.
 * Memory: some hundred bytes a key. At the bounds below: a mistake. Any bytes are fair input.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/auth/token_key.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define TOKEN_KEYS_MAX        64u /* of one text */
#define TOKEN_KEYS_JOINED_MAX (2 * TOKEN_KEYS_MAX)
#define TOKEN_KEYS_BYTES_MAX  (256u << 10)

struct token_keys {
    unsigned count;       /* 1.. in one that was parsed; 0: those of a server are still to come */
    unsigned passed_over; /* of a JWKS */
    const char *why;      /* the last of those; constant; NULL: none */
    struct token_key *keys[TOKEN_KEYS_JOINED_MAX];
};

/* NULL: *wrong says why, a constant text with nothing of the keys in it. */
NODISCARD struct token_keys *token_keys_parse(struct bytes text, const char **wrong);
void token_keys_destroy(struct token_keys *keys); /* NULL is fine */

/* Copies of all keys of both, each of which was parsed, or is NULL: none. NULL: no memory. */
NODISCARD struct token_keys *token_keys_join(const struct token_keys *a,
                                             const struct token_keys *b);

/* Are they the same keys, in the same order? */
bool token_keys_same(const struct token_keys *a, const struct token_keys *b);

/* Is the key of that fingerprint among them? */
bool token_keys_have(const struct token_keys *keys, uint64_t fingerprint);

/* Is there a key of that name? */
bool token_keys_know(const struct token_keys *keys, struct bytes kid);

/* The next key from number *at on that may have signed a token of that algorithm and name (NULL:
 * the token names none): of that algorithm, and of that name or without one. NULL: no more. */
const struct token_key *token_keys_next(const struct token_keys *keys, unsigned *at,
                                        enum token_alg alg, const struct bytes *kid);

/* ---- for the readers of the two forms: takes the key over. */
void token_keys_add(struct token_keys *keys, struct token_key *key);
void token_keys_pass_over(struct token_keys *keys, const char *why);
