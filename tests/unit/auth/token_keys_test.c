/* SPDX-License-Identifier: Apache-2.0 */
/* Files of keys, as they come and as they should not. */
#include "broker/auth/token_keys.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/base64url.h"
#include "broker/auth/token.h"
#include "tests/unit/auth/token_vectors.h"

#define X   "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define Y   "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define EC  "{\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y "}"
#define OCT "\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T\""

static const char *wrong_with(const char *text)
{
    const char *wrong = NULL;
    struct token_keys *const keys = token_keys_parse(bytes_text(text), &wrong);
    cr_expect_eq(keys == NULL, wrong != NULL, "%s", text);
    token_keys_destroy(keys);
    return wrong == NULL ? "nothing" : wrong;
}

static const char *vector(const char *alg)
{
    size_t i = 0;
    while (strcmp(vectors[i].alg, alg) != 0) {
        i++;
    }
    return vectors[i].pem;
}

Test(token_keys, each_mistake_is_told)
{
    static const struct {
        const char *text, *wrong;
    } rows[] = {
        {"", "it has no key in it"},
        {"{\"keys\":[]}", "it has no key in it"},
        {"{\"keys\":{}}", "it has no list of keys"},
        {EC, "it has no list of keys"},
        {"{\"keys\":[" EC "]", "it is no JSON, or has a member twice"},
        {"{\"keys\":[{\"kty\":\"EC\",\"kty\":\"EC\"}]}", "it is no JSON, or has a member twice"},
        {"{\"keys\":[{\"kty\":\"AKP\"}]}", "a key is of a kind (kty) that is none of ours"},
        {"{\"keys\":[7]}", "a key is of a kind (kty) that is none of ours"},
        {"{\"keys\":[{\"kty\":\"EC\",\"use\":\"enc\",\"crv\":\"P-256\"," X "," Y "}]}",
         "a key is for something else than signatures"},
        {"{\"keys\":[{\"kty\":\"EC\",\"key_ops\":[\"sign\"],\"crv\":\"P-256\"," X "," Y "}]}",
         "a key is for something else than signatures"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\"," X "," Y "}]}",
         "a key is of a curve that is none of ours"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256K\"," X "," Y "}]}",
         "a key is for an algorithm that is none of ours"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"none\"," X "," Y "}]}",
         "a key is for an algorithm that is none of ours"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES384\"," X "," Y "}]}",
         "a key is of another kind than its algorithm's"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"HS256\"," X "," Y "}]}",
         "a key is of another kind than its algorithm's"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":1," X "," Y "}]}",
         "a key's name (kid) is no text"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"," X "}]}",
         "a key lacks a part, or it is no base64url"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"," X ",\"y\":\"x_FEzRu9=\"}]}",
         "a key lacks a part, or it is no base64url"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"," X ",\"y\":\"x_FE\"}]}",
         "a key has coordinates of another size than its curve's"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"," X
         ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a8\"}]}",
         "a key is no point of its curve"},
        {"{\"keys\":[{" OCT "}]}", "a secret does not say its algorithm (alg)"},
        {"{\"keys\":[{\"alg\":\"HS512\"," OCT "}]}",
         "a key is shorter than its algorithm's hash (RFC 7518, 3.2)"},
        {"{\"keys\":[{\"alg\":\"RS256\"," OCT "}]}",
         "a key is of another kind than its algorithm's"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\",\"e\":"
         "\"AQAB\"}]}",
         "a key has fewer than 2048 bits (RFC 7518, 3.3)"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}",
         "a key is of another size than Ed25519's"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"X25519\"," X "}]}",
         "a key is of a curve that is none of ours"},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
         "it has something else in it than public keys (BEGIN PUBLIC KEY)"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n", "a key has no end"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
         "a key is none of RSA, P-256, P-384, P-521, or Ed25519"},
        {"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n",
         "a key is no PEM, or too long"},
        {"{\"keys\":[" EC "]}", "nothing"},
        {" \r\n\t{\"keys\":[{\"alg\":\"HS256\"," OCT "}]}", "nothing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_str_eq(wrong_with(rows[i].text), rows[i].wrong, "%s", rows[i].text);
    }
}

/* RFC 7517, 5: a server may have keys for others, too. */
Test(token_keys, what_is_not_for_us_is_passed_over)
{
    const char *wrong = NULL;
    struct token_keys *const keys = token_keys_parse(
        bytes_text("{\"keys\":[{\"kty\":\"AKP\"}," EC ",{\"kty\":\"RSA\"}]}"), &wrong);
    cr_assert_not_null(keys);
    cr_expect_eq(keys->count, 1);
    cr_expect_eq(keys->passed_over, 2);
    cr_expect_str_eq(keys->why, "a key lacks a part, or it is no base64url");
    cr_expect(token_keys_have(keys, keys->keys[0]->fingerprint));
    cr_expect_not(token_keys_have(keys, keys->keys[0]->fingerprint + 1));
    token_keys_destroy(keys);
}

Test(token_keys, several_in_pem_and_what_stands_between)
{
    const char *wrong = NULL;
    char *text = NULL;
    cr_assert(asprintf(&text, "first\n%s\nsecond\n%s%s", vector("RS256"), vector("EdDSA"),
                       vector("ES512")) > 0);
    struct token_keys *const keys = token_keys_parse(bytes_text(text), &wrong);
    cr_assert_not_null(keys);
    cr_expect_eq(keys->count, 3);
    cr_expect_eq(keys->keys[0]->alg, TOKEN_RS256);
    cr_expect_eq(keys->keys[1]->alg, TOKEN_EDDSA);
    cr_expect_eq(keys->keys[2]->alg, TOKEN_ES512);
    cr_expect_not(keys->keys[0]->has_kid);
    token_keys_destroy(keys);
    free(text);
}

static char *set_of(unsigned count)
{
    char *text = NULL;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    fputs("{\"keys\":[", f);
    for (unsigned i = 0; i < count; i++) {
        fprintf(f, "%s" EC, i == 0 ? "" : ",");
    }
    fputs("]}", f);
    fclose(f);
    return text;
}

Test(token_keys, bounds)
{
    char *text = set_of(TOKEN_KEYS_MAX);
    cr_expect_str_eq(wrong_with(text), "nothing");
    free(text);
    text = set_of(TOKEN_KEYS_MAX + 1);
    cr_expect_str_eq(wrong_with(text), "it has more than 64 keys");
    free(text);
    text = malloc(TOKEN_KEYS_BYTES_MAX + 2);
    memset(text, ' ', TOKEN_KEYS_BYTES_MAX + 1);
    text[TOKEN_KEYS_BYTES_MAX + 1] = '\0';
    cr_expect_str_eq(wrong_with(text), "it is larger than 256 KiB");
    text[TOKEN_KEYS_BYTES_MAX] = '\0';
    cr_expect_str_eq(wrong_with(text), "it has no key in it");
    free(text);
}

static struct token_keys *keys_of(const char *text)
{
    const char *wrong = NULL;
    struct token_keys *const keys = token_keys_parse(bytes_text(text), &wrong);
    cr_assert_not_null(keys, "%s", wrong);
    return keys;
}

/* All keys of both, whatever their names; each side may be missing. */
Test(token_keys, joined_are_copies_of_both)
{
    char *const text = set_of(TOKEN_KEYS_MAX);
    struct token_keys *const many = keys_of(text),
                             *const one =
                                 keys_of("{\"keys\":[{\"alg\":\"HS256\",\"kid\":\"a\"," OCT "}]}");
    struct token_keys *const joined = token_keys_join(one, many),
                             *const none = token_keys_join(NULL, NULL),
                             *const same = token_keys_join(NULL, one),
                             *const most = token_keys_join(many, many);
    free(text);
    cr_expect_eq(joined->count, TOKEN_KEYS_MAX + 1);
    cr_expect_eq(most->count, TOKEN_KEYS_JOINED_MAX);
    cr_expect_eq(none->count, 0);
    cr_expect(token_keys_same(same, one));
    cr_expect(token_keys_same(none, none));
    cr_expect_not(token_keys_same(none, one));
    cr_expect_not(token_keys_same(joined, one));
    cr_expect_not(token_keys_same(many, one));
    token_keys_destroy(many);
    token_keys_destroy(one);
    cr_expect(token_keys_know(joined, bytes_text("a"))); /* nothing of it was theirs */
    cr_expect(token_keys_have(same, joined->keys[0]->fingerprint));
    token_keys_destroy(joined);
    token_keys_destroy(none);
    token_keys_destroy(same);
    token_keys_destroy(most);
}

/* Any part of a key makes it another one. */
Test(token_keys, same_to_the_last_part)
{
    static const char *const texts[] = {
        "{\"keys\":[{\"alg\":\"HS256\",\"kid\":\"a\"," OCT "}]}",
        "{\"keys\":[{\"alg\":\"HS256\",\"kid\":\"a\",\"kty\":\"oct\",\"k\":"
        "\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_U\"}]}",
        "{\"keys\":[{\"alg\":\"HS256\",\"kid\":\"b\"," OCT "}]}",
        "{\"keys\":[{\"alg\":\"HS256\",\"kid\":\"\"," OCT "}]}",
        "{\"keys\":[{\"alg\":\"HS256\"," OCT "}]}",
        "{\"keys\":[" EC "]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t j = 0; j < sizeof texts / sizeof texts[0]; j++) {
            struct token_keys *const a = keys_of(texts[i]), *const b = keys_of(texts[j]);
            cr_expect_eq(token_keys_same(a, b), i == j, "%zu, %zu", i, j);
            token_keys_destroy(a);
            token_keys_destroy(b);
        }
    }
}

/* A name that two keys have is both's; a key without a name is for every one. */
Test(token_keys, names_choose)
{
    const char *wrong = NULL;
    struct token_keys *const keys = token_keys_parse(
        bytes_text("{\"keys\":[{\"alg\":\"HS256\",\"kid\":\"a\"," OCT "},{\"alg\":\"HS256\"," OCT
                   "},{\"kty\":\"EC\",\"kid\":\"a\",\"crv\":\"P-256\"," X "," Y "},"
                   "{\"alg\":\"HS256\",\"kid\":\"\"," OCT "}]}"),
        &wrong);
    cr_assert_not_null(keys);
    static const struct {
        const char *kid;
        enum token_alg alg;
        int found[3];
    } rows[] = {
        {"a", TOKEN_HS256, {0, 1, -1}}, {"a", TOKEN_ES256, {2, -1}},  {"b", TOKEN_HS256, {1, -1}},
        {"", TOKEN_HS256, {1, 3, -1}},  {NULL, TOKEN_ES256, {2, -1}}, {"a", TOKEN_ALGS, {-1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct bytes kid = bytes_text(rows[i].kid == NULL ? "" : rows[i].kid);
        unsigned at = 0;
        for (size_t n = 0; n < 3; n++) {
            const struct token_key *const key =
                token_keys_next(keys, &at, rows[i].alg, rows[i].kid == NULL ? NULL : &kid);
            const int want = rows[i].found[n];
            cr_expect_eq(key, want < 0 ? NULL : keys->keys[want], "%zu, %zu", i, n);
            if (want < 0) {
                break;
            }
        }
    }
    cr_expect(token_keys_know(keys, bytes_text("a")));
    cr_expect(token_keys_know(keys, bytes_text("")));
    cr_expect_not(token_keys_know(keys, bytes_text("b")));
    token_keys_destroy(keys);
}

Test(base64url, one_text_for_each_run_of_bytes)
{
    static const struct {
        const char *text, *bytes; /* NULL: refused */
    } rows[] = {
        {"", ""},      {"Zg", "f"},     {"Zm8", "fo"},   {"Zm9v", "foo"},   {"_-A", "\xff\xe0"},
        {"Zh", NULL},  {"Zm9", NULL},   {"Z", NULL},     {"Zg==", NULL},    {"Zm9v\n", NULL},
        {"+/A", NULL}, {"Zm 9v", NULL}, {"Zm9vZ", NULL}, {"Zm9vZm9v", NULL} /* no room */};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[4] = {0, 0, 0, 0xaa};
        size_t len = 0;
        const bool good = base64url_decode(out, 3, &len, bytes_text(rows[i].text));
        cr_expect_eq(good, rows[i].bytes != NULL, "%s", rows[i].text);
        cr_expect(!good || bytes_equal(bytes_of(out, len), bytes_text(rows[i].bytes)), "%s",
                  rows[i].text);
        cr_expect_eq(out[3], 0xaa);
    }
}
