/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/token_keys.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/auth/token_jwks.h"
#include "broker/auth/token_pem.h"

static bool is_json(struct bytes text)
{
    size_t i = 0;
    while (i < text.len &&
           (text.at[i] == ' ' || text.at[i] == '\t' || text.at[i] == '\r' || text.at[i] == '\n')) {
        i++;
    }
    return i < text.len && text.at[i] == '{';
}

struct token_keys *token_keys_parse(struct bytes text, const char **wrong)
{
    if (text.len > TOKEN_KEYS_BYTES_MAX) {
        *wrong = "it is larger than 256 KiB";
        return NULL;
    }
    struct token_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL) {
        *wrong = "out of memory";
        return NULL;
    }
    *wrong = is_json(text) ? token_jwks_read(keys, text) : token_pem_read(keys, text);
    if (*wrong == NULL && keys->count == 0) {
        *wrong = keys->why != NULL ? keys->why : "it has no key in it";
    }
    if (*wrong != NULL) {
        token_keys_destroy(keys);
        return NULL;
    }
    return keys;
}

void token_keys_destroy(struct token_keys *keys)
{
    for (unsigned i = 0; keys != NULL && i < keys->count; i++) {
        token_key_destroy(keys->keys[i]);
    }
    free(keys);
}

static bool copy_all(struct token_keys *to, const struct token_keys *from)
{
    for (unsigned i = 0; from != NULL && i < from->count; i++) {
        assert(to->count < TOKEN_KEYS_JOINED_MAX);
        struct token_key *const copy = token_key_copy(from->keys[i]);
        if (copy == NULL) {
            return false;
        }
        to->keys[to->count++] = copy;
    }
    return true;
}

struct token_keys *token_keys_join(const struct token_keys *a, const struct token_keys *b)
{
    struct token_keys *const keys = calloc(1, sizeof *keys);
    if (keys == NULL || !copy_all(keys, a) || !copy_all(keys, b)) {
        token_keys_destroy(keys);
        return NULL;
    }
    return keys;
}

bool token_keys_same(const struct token_keys *a, const struct token_keys *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++) {
        same = token_key_same(a->keys[i], b->keys[i]);
    }
    return same;
}

bool token_keys_have(const struct token_keys *keys, uint64_t fingerprint)
{
    for (unsigned i = 0; i < keys->count; i++) {
        if (keys->keys[i]->fingerprint == fingerprint) {
            return true;
        }
    }
    return false;
}

static bool is_named(const struct token_key *key, struct bytes kid)
{
    return key->has_kid && bytes_equal(token_key_kid(key), kid);
}

bool token_keys_know(const struct token_keys *keys, struct bytes kid)
{
    for (unsigned i = 0; i < keys->count; i++) {
        if (is_named(keys->keys[i], kid)) {
            return true;
        }
    }
    return false;
}

const struct token_key *token_keys_next(const struct token_keys *keys, unsigned *at,
                                        enum token_alg alg, const struct bytes *kid)
{
    while (*at < keys->count) {
        const struct token_key *const key = keys->keys[(*at)++];
        if (key->alg == alg && (kid == NULL || !key->has_kid || is_named(key, *kid))) {
            return key;
        }
    }
    return NULL;
}

void token_keys_add(struct token_keys *keys, struct token_key *key)
{
    assert(keys->count < TOKEN_KEYS_MAX);
    keys->keys[keys->count++] = key;
}

void token_keys_pass_over(struct token_keys *keys, const char *why)
{
    keys->passed_over++;
    keys->why = why;
}
