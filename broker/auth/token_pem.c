/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/token_pem.h"

#include <wolfssl/options.h>
/* after its options */
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <string.h>

#define BEGIN         "-----BEGIN "
#define END           "-----END PUBLIC KEY-----"
#define PUBLIC_KEY    "PUBLIC KEY-----"
#define DER_BYTES_MAX 1024u /* RSA of 4096 bits has 550 */

static struct bytes after(struct bytes text, size_t len)
{
    return bytes_of(text.at + len, text.len - len);
}

/* Behind the next place where the word stands; false: nowhere. */
static bool skip_past(struct bytes *text, const char *word)
{
    const uint8_t *const at =
        text->len == 0 ? NULL : memmem(text->at, text->len, word, strlen(word));
    if (at == NULL) {
        return false;
    }
    *text = after(*text, (size_t)(at - text->at) + strlen(word));
    return true;
}

static struct bytes without_zeros(const uint8_t *number, word32 len)
{
    word32 zeros = 0;
    while (zeros < len && number[zeros] == 0) {
        zeros++;
    }
    return bytes_of(number + zeros, len - zeros);
}

static struct token_key *key_of_rsa(struct bytes der, const char **wrong)
{
    uint8_t n[DER_BYTES_MAX], e[DER_BYTES_MAX];
    word32 n_len = sizeof n, e_len = sizeof e, used = 0;
    struct token_key *made = NULL;
    RsaKey key;
    if (wc_InitRsaKey(&key, NULL) == 0 &&
        wc_RsaPublicKeyDecode(der.at, &used, &key, (word32)der.len) == 0 &&
        wc_RsaFlattenPublicKey(&key, e, &e_len, n, &n_len) == 0) {
        const struct token_key_parts parts = {.alg = TOKEN_RS256,
                                              .first = without_zeros(n, n_len),
                                              .second = without_zeros(e, e_len)};
        made = token_key_create(&parts, wrong);
    }
    wc_FreeRsaKey(&key);
    return made;
}

static enum token_alg alg_of_curve(int curve)
{
    return curve == ECC_SECP256R1   ? TOKEN_ES256
           : curve == ECC_SECP384R1 ? TOKEN_ES384
           : curve == ECC_SECP521R1 ? TOKEN_ES512
                                    : TOKEN_ALGS;
}

static struct token_key *key_of_point(ecc_key *key, const char **wrong)
{
    uint8_t x[MAX_ECC_BYTES], y[MAX_ECC_BYTES];
    word32 x_len = sizeof x, y_len = sizeof y;
    const enum token_alg alg = alg_of_curve(key->dp->id);
    if (alg == TOKEN_ALGS) {
        *wrong = "a key is of a curve that is none of ours";
        return NULL;
    }
    if (wc_ecc_export_public_raw(key, x, &x_len, y, &y_len) != 0) {
        return NULL;
    }
    const struct token_key_parts parts = {
        .alg = alg, .first = bytes_of(x, x_len), .second = bytes_of(y, y_len)};
    return token_key_create(&parts, wrong);
}

static struct token_key *key_of_ec(struct bytes der, const char **wrong)
{
    word32 used = 0;
    struct token_key *made = NULL;
    ecc_key key;
    if (wc_ecc_init(&key) == 0 &&
        wc_EccPublicKeyDecode(der.at, &used, &key, (word32)der.len) == 0) {
        made = key_of_point(&key, wrong);
    }
    wc_ecc_free(&key);
    return made;
}

static struct token_key *key_of_ed25519(struct bytes der, const char **wrong)
{
    uint8_t public[ED25519_PUB_KEY_SIZE];
    word32 len = sizeof public, used = 0;
    struct token_key *made = NULL;
    ed25519_key key;
    if (wc_ed25519_init(&key) == 0 &&
        wc_Ed25519PublicKeyDecode(der.at, &used, &key, (word32)der.len) == 0 &&
        wc_ed25519_export_public(&key, public, &len) == 0) {
        const struct token_key_parts parts = {.alg = TOKEN_EDDSA, .first = bytes_of(public, len)};
        made = token_key_create(&parts, wrong);
    }
    wc_ed25519_free(&key);
    return made;
}

/* From "-----BEGIN PUBLIC KEY-----" to the end of the text; which kind it is its DER tells. */
static const char *add(struct token_keys *keys, struct bytes pem)
{
    uint8_t der[DER_BYTES_MAX];
    const char *wrong = "a key is none of RSA, P-256, P-384, P-521, or Ed25519";
    const int len = wc_PubKeyPemToDer(pem.at, (int)pem.len, der, (int)sizeof der);
    if (len <= 0) {
        return "a key is no PEM, or too long";
    }
    if (keys->count == TOKEN_KEYS_MAX) {
        return "it has more than 64 keys";
    }
    const struct bytes of_key = bytes_of(der, (size_t)len);
    struct token_key *key = key_of_rsa(of_key, &wrong);
    if (key == NULL) {
        key = key_of_ec(of_key, &wrong);
    }
    if (key == NULL) {
        key = key_of_ed25519(of_key, &wrong);
    }
    if (key == NULL) {
        return wrong;
    }
    token_keys_add(keys, key);
    return NULL;
}

const char *token_pem_read(struct token_keys *keys, struct bytes text)
{
    struct bytes rest = text;
    while (skip_past(&rest, BEGIN)) {
        if (rest.len < strlen(PUBLIC_KEY) || memcmp(rest.at, PUBLIC_KEY, strlen(PUBLIC_KEY)) != 0) {
            return "it has something else in it than public keys (BEGIN PUBLIC KEY)";
        }
        const struct bytes pem = bytes_of(rest.at - strlen(BEGIN), rest.len + strlen(BEGIN));
        if (!skip_past(&rest, END)) {
            return "a key has no end";
        }
        const char *const wrong = add(keys, bytes_of(pem.at, (size_t)(rest.at - pem.at)));
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}
