/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_key: a key that tokens are signed with, and whether a signature is by it (RFC 7518).
 *
 * A key is for one algorithm, and never used with another (RFC 8725, 3.1): which one is the key's
 * to say, not the token's.
 *
 * Owner: whoever made it; it never changes, so that any thread may ask. Memory: one block; it is
 * wiped before it goes, as it may be a secret. Cost: see docs/tokens.md; RSA and ECDSA are not for
 * a shard.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define TOKEN_KID_BYTES_MAX       256u
#define TOKEN_SECRET_BYTES_MAX    512u
#define TOKEN_RSA_BYTES_MIN       256u /* RFC 7518, 3.3 */
#define TOKEN_RSA_BYTES_MAX       512u /* wolfCrypt's, as it is built */
#define TOKEN_SIGNATURE_BYTES_MAX TOKEN_RSA_BYTES_MAX

enum token_alg {
    TOKEN_HS256,
    TOKEN_HS384,
    TOKEN_HS512,
    TOKEN_RS256,
    TOKEN_RS384,
    TOKEN_RS512,
    TOKEN_PS256,
    TOKEN_PS384,
    TOKEN_PS512,
    TOKEN_ES256,
    TOKEN_ES384,
    TOKEN_ES512,
    TOKEN_EDDSA, /* Ed25519 */
    TOKEN_ALGS   /* so many; also: none of them */
};

enum token_kind {
    TOKEN_SECRET, /* first: the secret */
    TOKEN_RSA,    /* modulus, exponent; without zeros in front */
    TOKEN_EC,     /* x, y; of the curve's size */
    TOKEN_OKP,    /* the public key of Ed25519 */
};

struct token_key {
    enum token_alg alg;
    bool has_kid;
    uint16_t kid_len, first_len, second_len;
    uint64_t fingerprint; /* of algorithm and key, not of its name */
    uint8_t data[];       /* kid, first, second */
};

static inline struct bytes token_key_kid(const struct token_key *k)
{
    return bytes_of(k->data, k->kid_len);
}

/* By its name in a header or key (RFC 7518, 3.1; RFC 8037, 3.1); TOKEN_ALGS: none of ours. "none"
 * is none of ours. */
enum token_alg token_alg_find(struct bytes name);
const char *token_alg_name(enum token_alg alg);
enum token_kind token_alg_kind(enum token_alg alg);

/* Of ES…: bytes of a coordinate. */
size_t token_alg_coordinate(enum token_alg alg);

struct token_key_parts {
    enum token_alg alg;
    const struct bytes *kid;    /* NULL: it has none */
    struct bytes first, second; /* as its kind has them */
};

/* NULL: *wrong says why: a constant text, or "out of memory". */
NODISCARD struct token_key *token_key_create(const struct token_key_parts *parts,
                                             const char **wrong);
void token_key_destroy(struct token_key *k); /* NULL is fine */

/* Another one like it; NULL: no memory. */
NODISCARD struct token_key *token_key_copy(const struct token_key *k);

/* Are they the same key, of the same name? */
bool token_key_same(const struct token_key *a, const struct token_key *b);

enum token_signature {
    TOKEN_SIGNATURE_RIGHT,
    TOKEN_SIGNATURE_WRONG,
    TOKEN_SIGNATURE_NO_MEMORY,
};

enum token_signature token_key_verify(const struct token_key *k, struct bytes text,
                                      struct bytes signature);

/* A thread that has verified ends: wolfCrypt keeps 1.6 MB of points of curves for each that does.
 */
void token_key_thread_end(void);
