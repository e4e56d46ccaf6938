/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/token_jwks.h"

#include <jansson.h>
#include <string.h>

#include "broker/auth/base64url.h"

#define MEMBER_BYTES_MAX (TOKEN_RSA_BYTES_MAX + 64u) /* decoded; more is too long anyway */

struct member {
    uint8_t bytes[MEMBER_BYTES_MAX];
    size_t len;
};

/* The text of a member; at NULL: there is none, or it is no text. */
static struct bytes text_of(const json_t *jwk, const char *name)
{
    const json_t *const value = json_object_get(jwk, name);
    return bytes_of(json_string_value(value), json_string_length(value));
}

static bool is(struct bytes text, const char *word)
{
    return text.at != NULL && bytes_equal(text, bytes_text(word));
}

static bool decode(struct member *out, const json_t *jwk, const char *name)
{
    const struct bytes text = text_of(jwk, name);
    return text.at != NULL && base64url_decode(out->bytes, sizeof out->bytes, &out->len, text);
}

/* Numbers have no zeros in front (RFC 7518, 2), but some write one. */
static struct bytes number_of(const struct member *m)
{
    size_t zeros = 0;
    while (zeros < m->len && m->bytes[zeros] == 0) {
        zeros++;
    }
    return bytes_of(m->bytes + zeros, m->len - zeros);
}

/* Both are only looked at where they are there (RFC 7517, 4.2 and 4.3). */
static bool is_for_verifying(const json_t *jwk)
{
    const json_t *const operations = json_object_get(jwk, "key_ops");
    if (json_object_get(jwk, "use") != NULL && !is(text_of(jwk, "use"), "sig")) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const json_t *const operation = json_array_get(operations, i);
        if (json_is_string(operation) && strcmp(json_string_value(operation), "verify") == 0) {
            return true;
        }
    }
    return operations == NULL;
}

/* TOKEN_ALGS: none of ours. */
static enum token_alg alg_of_curve(const json_t *jwk)
{
    const struct bytes curve = text_of(jwk, "crv");
    return is(curve, "P-256")     ? TOKEN_ES256
           : is(curve, "P-384")   ? TOKEN_ES384
           : is(curve, "P-521")   ? TOKEN_ES512
           : is(curve, "Ed25519") ? TOKEN_EDDSA
                                  : TOKEN_ALGS;
}

static const char *find_alg(const json_t *jwk, enum token_kind kind, enum token_alg *alg)
{
    const bool curved = kind == TOKEN_EC || kind == TOKEN_OKP;
    const enum token_alg of_kind = curved              ? alg_of_curve(jwk)
                                   : kind == TOKEN_RSA ? TOKEN_RS256
                                                       : TOKEN_ALGS;
    const bool said = json_object_get(jwk, "alg") != NULL;
    *alg = said ? token_alg_find(text_of(jwk, "alg")) : of_kind;
    if (*alg == TOKEN_ALGS) {
        return said     ? "a key is for an algorithm that is none of ours"
               : curved ? "a key is of a curve that is none of ours"
                        : "a secret does not say its algorithm (alg)";
    }
    if (token_alg_kind(*alg) != kind || (curved && *alg != of_kind)) {
        return "a key is of another kind than its algorithm's";
    }
    return NULL;
}

static bool find_kind(const json_t *jwk, enum token_kind *kind)
{
    const struct bytes kty = text_of(jwk, "kty");
    if (is(kty, "RSA")) {
        *kind = TOKEN_RSA;
    } else if (is(kty, "EC")) {
        *kind = TOKEN_EC;
    } else if (is(kty, "OKP")) {
        *kind = TOKEN_OKP;
    } else if (is(kty, "oct")) {
        *kind = TOKEN_SECRET;
    } else {
        return false;
    }
    return true;
}

/* The parts of a key, as RFC 7518, 6 names them. */
static bool decode_parts(const json_t *jwk, enum token_kind kind, struct member *first,
                         struct member *second)
{
    switch (kind) {
    case TOKEN_RSA:
        return decode(first, jwk, "n") && decode(second, jwk, "e");
    case TOKEN_EC:
        return decode(first, jwk, "x") && decode(second, jwk, "y");
    case TOKEN_OKP:
        return decode(first, jwk, "x");
    case TOKEN_SECRET:
        return decode(first, jwk, "k");
    }
    return false;
}

/* NULL: it is in; or why it is passed over. */
static const char *add(struct token_keys *keys, const json_t *jwk)
{
    struct token_key_parts parts;
    struct member first = {.len = 0}, second = {.len = 0};
    enum token_kind kind;
    if (!find_kind(jwk, &kind)) {
        return "a key is of a kind (kty) that is none of ours";
    }
    if (!is_for_verifying(jwk)) {
        return "a key is for something else than signatures";
    }
    const char *wrong = find_alg(jwk, kind, &parts.alg);
    if (wrong != NULL) {
        return wrong;
    }
    const struct bytes kid = text_of(jwk, "kid");
    if (json_object_get(jwk, "kid") != NULL && kid.at == NULL) {
        return "a key's name (kid) is no text";
    }
    if (!decode_parts(jwk, kind, &first, &second)) {
        return "a key lacks a part, or it is no base64url";
    }
    parts.kid = kid.at == NULL ? NULL : &kid;
    parts.first = kind == TOKEN_RSA ? number_of(&first) : bytes_of(first.bytes, first.len);
    parts.second = kind == TOKEN_RSA ? number_of(&second) : bytes_of(second.bytes, second.len);
    struct token_key *const key = token_key_create(&parts, &wrong);
    explicit_bzero(&first, sizeof first);
    if (key == NULL) {
        return wrong;
    }
    token_keys_add(keys, key);
    return NULL;
}

static const char *read_set(struct token_keys *keys, const json_t *set)
{
    const json_t *const list = json_object_get(set, "keys");
    if (!json_is_array(list)) {
        return "it has no list of keys";
    }
    if (json_array_size(list) > TOKEN_KEYS_MAX) {
        return "it has more than 64 keys";
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *const why = add(keys, json_array_get(list, i));
        if (why != NULL) {
            token_keys_pass_over(keys, why);
        }
    }
    return NULL;
}

const char *token_jwks_read(struct token_keys *keys, struct bytes text)
{
    json_error_t error;
    json_t *const set = json_loadb((const char *)text.at, text.len, JSON_REJECT_DUPLICATES, &error);
    const char *const wrong =
        set == NULL ? "it is no JSON, or has a member twice" : read_set(keys, set);
    json_decref(set);
    return wrong;
}
