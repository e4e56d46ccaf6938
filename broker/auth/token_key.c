/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/token_key.h"

#include <wolfssl/options.h>
/* after its options */
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define EXPONENT_BYTES_MAX  4u /* 65537 has three; a longer one would make each token dearer */
#define DIGEST_INFO_BYTES   (WC_MAX_DIGEST_SIZE + 32u)
#define COORDINATE_BYTES    66u /* of the largest curve */
#define FINGERPRINT_OF_NONE 0u

/* clang-format off */
static const struct {
    const char *name;
    enum token_kind kind;
    enum wc_HashType hash;
    int mgf;         /* of PS… */
    int curve;       /* of ES… */
    size_t size;     /* bytes of a digest; of ES…, of a coordinate */
} algs[TOKEN_ALGS] = {
    [TOKEN_HS256] = {"HS256", TOKEN_SECRET, WC_HASH_TYPE_SHA256, 0, 0, WC_SHA256_DIGEST_SIZE},
    [TOKEN_HS384] = {"HS384", TOKEN_SECRET, WC_HASH_TYPE_SHA384, 0, 0, WC_SHA384_DIGEST_SIZE},
    [TOKEN_HS512] = {"HS512", TOKEN_SECRET, WC_HASH_TYPE_SHA512, 0, 0, WC_SHA512_DIGEST_SIZE},
    [TOKEN_RS256] = {"RS256", TOKEN_RSA, WC_HASH_TYPE_SHA256, 0, 0, WC_SHA256_DIGEST_SIZE},
    [TOKEN_RS384] = {"RS384", TOKEN_RSA, WC_HASH_TYPE_SHA384, 0, 0, WC_SHA384_DIGEST_SIZE},
    [TOKEN_RS512] = {"RS512", TOKEN_RSA, WC_HASH_TYPE_SHA512, 0, 0, WC_SHA512_DIGEST_SIZE},
    [TOKEN_PS256] = {"PS256", TOKEN_RSA, WC_HASH_TYPE_SHA256, WC_MGF1SHA256, 0, WC_SHA256_DIGEST_SIZE},
    [TOKEN_PS384] = {"PS384", TOKEN_RSA, WC_HASH_TYPE_SHA384, WC_MGF1SHA384, 0, WC_SHA384_DIGEST_SIZE},
    [TOKEN_PS512] = {"PS512", TOKEN_RSA, WC_HASH_TYPE_SHA512, WC_MGF1SHA512, 0, WC_SHA512_DIGEST_SIZE},
    [TOKEN_ES256] = {"ES256", TOKEN_EC, WC_HASH_TYPE_SHA256, 0, ECC_SECP256R1, 32},
    [TOKEN_ES384] = {"ES384", TOKEN_EC, WC_HASH_TYPE_SHA384, 0, ECC_SECP384R1, 48},
    [TOKEN_ES512] = {"ES512", TOKEN_EC, WC_HASH_TYPE_SHA512, 0, ECC_SECP521R1, COORDINATE_BYTES},
    [TOKEN_EDDSA] = {"EdDSA", TOKEN_OKP, WC_HASH_TYPE_NONE, 0, 0, 0},
};
/* clang-format on */

/* ---- algorithms */

enum token_alg token_alg_find(struct bytes name)
{
    for (enum token_alg alg = 0; alg < TOKEN_ALGS; alg++) {
        if (bytes_equal(name, bytes_text(algs[alg].name))) {
            return alg;
        }
    }
    /* RFC 9864 calls it by its curve. */
    return bytes_equal(name, bytes_text("Ed25519")) ? TOKEN_EDDSA : TOKEN_ALGS;
}

const char *token_alg_name(enum token_alg alg)
{
    return algs[alg].name;
}

enum token_kind token_alg_kind(enum token_alg alg)
{
    return algs[alg].kind;
}

size_t token_alg_coordinate(enum token_alg alg)
{
    assert(algs[alg].kind == TOKEN_EC);
    return algs[alg].size;
}

/* ---- wolfCrypt's keys, made of ours for each signature, as they change while they are used */

static struct bytes first_of(const struct token_key *k)
{
    return bytes_of(k->data + k->kid_len, k->first_len);
}

static struct bytes second_of(const struct token_key *k)
{
    return bytes_of(k->data + k->kid_len + k->first_len, k->second_len);
}

/* To be freed whatever is returned: 0, or wolfCrypt's error. */
static int rsa_init(RsaKey *key, const struct token_key *k)
{
    const struct bytes n = first_of(k), e = second_of(k);
    const int err = wc_InitRsaKey(key, NULL);
    return err != 0 ? err : wc_RsaPublicKeyDecodeRaw(n.at, (word32)n.len, e.at, (word32)e.len, key);
}

static int ecc_init(ecc_key *key, const struct token_key *k)
{
    const int err = wc_ecc_init(key);
    return err != 0 ? err
                    : wc_ecc_import_unsigned(key, first_of(k).at, second_of(k).at, NULL,
                                             algs[k->alg].curve);
}

static int ed25519_init(ed25519_key *key, const struct token_key *k, bool trusted)
{
    const struct bytes public = first_of(k);
    const int err = wc_ed25519_init(key);
    return err != 0
               ? err
               : wc_ed25519_import_public_ex(public.at, (word32) public.len, key, trusted ? 1 : 0);
}

/* ---- making one */

static const char *wrong_with_secret(const struct token_key *k)
{
    if (k->first_len < algs[k->alg].size) {
        return "a key is shorter than its algorithm's hash (RFC 7518, 3.2)";
    }
    return k->first_len > TOKEN_SECRET_BYTES_MAX ? "a key is too long" : NULL;
}

static const char *wrong_with_rsa(const struct token_key *k)
{
    const struct bytes n = first_of(k), e = second_of(k);
    if (n.len < TOKEN_RSA_BYTES_MIN || (n.len == TOKEN_RSA_BYTES_MIN && n.at[0] < 0x80)) {
        return "a key has fewer than 2048 bits (RFC 7518, 3.3)";
    }
    if (n.len > TOKEN_RSA_BYTES_MAX) {
        return "a key has more than 4096 bits";
    }
    if (e.len == 0 || e.len > EXPONENT_BYTES_MAX || (e.at[e.len - 1] & 1) == 0 ||
        (e.len == 1 && e.at[0] < 3) || (n.at[n.len - 1] & 1) == 0) {
        return "a key is no RSA key";
    }
    RsaKey key;
    const int err = rsa_init(&key, k);
    wc_FreeRsaKey(&key);
    return err == 0 ? NULL : "a key is no RSA key";
}

static const char *wrong_with_ec(const struct token_key *k)
{
    const size_t size = algs[k->alg].size;
    if (k->first_len != size || k->second_len != size) {
        return "a key has coordinates of another size than its curve's";
    }
    ecc_key key;
    int err = ecc_init(&key, k);
    if (err == 0) {
        err = wc_ecc_check_key(&key);
    }
    wc_ecc_free(&key);
    return err == 0 ? NULL : "a key is no point of its curve";
}

static const char *wrong_with_okp(const struct token_key *k)
{
    if (k->first_len != ED25519_PUB_KEY_SIZE) {
        return "a key is of another size than Ed25519's";
    }
    ed25519_key key;
    const int err = ed25519_init(&key, k, false);
    wc_ed25519_free(&key);
    return err == 0 ? NULL : "a key is no key of Ed25519";
}

static const char *wrong_with(const struct token_key *k)
{
    switch (algs[k->alg].kind) {
    case TOKEN_SECRET:
        return wrong_with_secret(k);
    case TOKEN_RSA:
        return wrong_with_rsa(k);
    case TOKEN_EC:
        return wrong_with_ec(k);
    case TOKEN_OKP:
        return wrong_with_okp(k);
    }
    return "a key is of no kind";
}

static uint8_t *append(uint8_t *at, struct bytes part)
{
    if (part.len > 0) {
        memcpy(at, part.at, part.len);
    }
    return at + part.len;
}

static uint64_t fingerprint_of(const struct token_key *k)
{
    const uint64_t hash =
        XXH3_64bits_withSeed(k->data + k->kid_len, (size_t)k->first_len + k->second_len, k->alg);
    return hash == FINGERPRINT_OF_NONE ? 1 : hash;
}

struct token_key *token_key_create(const struct token_key_parts *parts, const char **wrong)
{
    const struct bytes kid = parts->kid == NULL ? bytes_of(NULL, 0) : *parts->kid;
    assert(parts->alg < TOKEN_ALGS);
    if (kid.len > TOKEN_KID_BYTES_MAX || parts->first.len > UINT16_MAX ||
        parts->second.len > UINT16_MAX) {
        *wrong = "a key is too long";
        return NULL;
    }
    struct token_key *k = malloc(sizeof *k + kid.len + parts->first.len + parts->second.len);
    if (k == NULL) {
        *wrong = "out of memory";
        return NULL;
    }
    *k = (struct token_key){.alg = parts->alg,
                            .has_kid = parts->kid != NULL,
                            .kid_len = (uint16_t)kid.len,
                            .first_len = (uint16_t)parts->first.len,
                            .second_len = (uint16_t)parts->second.len};
    (void)append(append(append(k->data, kid), parts->first), parts->second);
    k->fingerprint = fingerprint_of(k);
    *wrong = wrong_with(k);
    if (*wrong != NULL) {
        token_key_destroy(k);
        return NULL;
    }
    return k;
}

static size_t data_bytes(const struct token_key *k)
{
    return (size_t)k->kid_len + k->first_len + k->second_len;
}

void token_key_destroy(struct token_key *k)
{
    if (k != NULL) {
        explicit_bzero(k->data, data_bytes(k));
        free(k);
    }
}

struct token_key *token_key_copy(const struct token_key *k)
{
    const size_t bytes = sizeof *k + data_bytes(k);
    struct token_key *const copy = malloc(bytes);
    if (copy != NULL) {
        memcpy(copy, k, bytes);
    }
    return copy;
}

bool token_key_same(const struct token_key *a, const struct token_key *b)
{
    return a->alg == b->alg && a->has_kid == b->has_kid && a->kid_len == b->kid_len &&
           a->first_len == b->first_len && a->second_len == b->second_len &&
           memcmp(a->data, b->data, data_bytes(a)) == 0;
}

/* ---- signatures */

static enum token_signature verdict(int err, bool right)
{
    if (err == MEMORY_E) {
        return TOKEN_SIGNATURE_NO_MEMORY;
    }
    return err == 0 && right ? TOKEN_SIGNATURE_RIGHT : TOKEN_SIGNATURE_WRONG;
}

/* In a time that does not depend on where they differ. */
static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint8_t differs = 0;
    for (size_t i = 0; i < len; i++) {
        differs |= a[i] ^ b[i];
    }
    return differs == 0;
}

static enum token_signature verify_secret(const struct token_key *k, struct bytes text,
                                          struct bytes signature)
{
    const struct bytes secret = first_of(k);
    uint8_t mac[WC_MAX_DIGEST_SIZE];
    Hmac hmac;
    int err = wc_HmacInit(&hmac, NULL, INVALID_DEVID);
    if (err == 0) {
        err = wc_HmacSetKey(&hmac, (int)algs[k->alg].hash, secret.at, (word32)secret.len);
    }
    if (err == 0) {
        err = wc_HmacUpdate(&hmac, text.at, (word32)text.len);
    }
    if (err == 0) {
        err = wc_HmacFinal(&hmac, mac);
    }
    wc_HmacFree(&hmac);
    const bool right =
        err == 0 && signature.len == algs[k->alg].size && same(mac, signature.at, signature.len);
    explicit_bzero(mac, sizeof mac);
    return verdict(err, right);
}

/* RFC 8017, 8.2.2: what the signature says is compared with what it should say, whole. */
static enum token_signature rs_is_right(RsaKey *key, enum token_alg alg, const uint8_t *digest,
                                        struct bytes signature)
{
    uint8_t said[TOKEN_RSA_BYTES_MAX], *at;
    uint8_t right[DIGEST_INFO_BYTES];
    memcpy(said, signature.at, signature.len);
    const int said_len = wc_RsaSSL_VerifyInline(said, (word32)signature.len, &at, key);
    if (said_len < 0) {
        return verdict(said_len, false);
    }
    const word32 len =
        wc_EncodeSignature(right, digest, (word32)algs[alg].size, wc_HashGetOID(algs[alg].hash));
    return verdict(0, len > 0 && (word32)said_len == len && same(at, right, len));
}

/* The salt is as long as the hash (RFC 7518, 3.5), which is wolfCrypt's rule too. */
static enum token_signature ps_is_right(RsaKey *key, enum token_alg alg, const uint8_t *digest,
                                        struct bytes signature)
{
    uint8_t copy[TOKEN_RSA_BYTES_MAX], *at;
    memcpy(copy, signature.at, signature.len);
    const int len =
        wc_RsaPSS_VerifyCheckInline(copy, (word32)signature.len, &at, digest,
                                    (word32)algs[alg].size, algs[alg].hash, algs[alg].mgf, key);
    return len < 0 ? verdict(len, false) : verdict(0, len > 0);
}

static enum token_signature verify_rsa(const struct token_key *k, const uint8_t *digest,
                                       struct bytes signature)
{
    if (signature.len != k->first_len) {
        return TOKEN_SIGNATURE_WRONG;
    }
    RsaKey key;
    const int err = rsa_init(&key, k);
    enum token_signature answer = verdict(err, false);
    if (err == 0) {
        answer = algs[k->alg].mgf == 0 ? rs_is_right(&key, k->alg, digest, signature)
                                       : ps_is_right(&key, k->alg, digest, signature);
    }
    wc_FreeRsaKey(&key);
    return answer;
}

static bool is_zero(const uint8_t *at, size_t len)
{
    uint8_t all = 0;
    for (size_t i = 0; i < len; i++) {
        all |= at[i];
    }
    return all == 0;
}

/* RFC 7518, 3.4: r and s, one behind the other, each of the curve's size. */
static enum token_signature verify_ec(const struct token_key *k, const uint8_t *digest,
                                      struct bytes signature)
{
    const size_t size = algs[k->alg].size;
    uint8_t der[ECC_MAX_SIG_SIZE];
    word32 der_len = sizeof der;
    if (signature.len != 2 * size || is_zero(signature.at, size) ||
        is_zero(signature.at + size, size)) {
        return TOKEN_SIGNATURE_WRONG;
    }
    int right = 0;
    ecc_key key;
    int err = ecc_init(&key, k);
    if (err == 0) {
        err = wc_ecc_rs_raw_to_sig(signature.at, (word32)size, signature.at + size, (word32)size,
                                   der, &der_len);
    }
    if (err == 0) {
        err = wc_ecc_verify_hash(der, der_len, digest,
                                 (word32)wc_HashGetDigestSize(algs[k->alg].hash), &right, &key);
    }
    wc_ecc_free(&key);
    return verdict(err, right == 1);
}

static enum token_signature verify_okp(const struct token_key *k, struct bytes text,
                                       struct bytes signature)
{
    if (signature.len != ED25519_SIG_SIZE) {
        return TOKEN_SIGNATURE_WRONG;
    }
    int right = 0;
    ed25519_key key;
    int err = ed25519_init(&key, k, true);
    if (err == 0) {
        err = wc_ed25519_verify_msg(signature.at, (word32)signature.len, text.at, (word32)text.len,
                                    &right, &key);
    }
    wc_ed25519_free(&key);
    return verdict(err, right == 1);
}

enum token_signature token_key_verify(const struct token_key *k, struct bytes text,
                                      struct bytes signature)
{
    assert(signature.len <= TOKEN_SIGNATURE_BYTES_MAX);
    switch (algs[k->alg].kind) {
    case TOKEN_SECRET:
        return verify_secret(k, text, signature);
    case TOKEN_OKP:
        return verify_okp(k, text, signature);
    default:
        break;
    }
    uint8_t digest[WC_MAX_DIGEST_SIZE];
    const int digest_len = wc_HashGetDigestSize(algs[k->alg].hash);
    const int err = digest_len <= 0 ? digest_len
                                    : wc_Hash(algs[k->alg].hash, text.at, (word32)text.len, digest,
                                              (word32)digest_len);
    if (err != 0 || digest_len <= 0) {
        return verdict(err, false);
    }
    return algs[k->alg].kind == TOKEN_RSA ? verify_rsa(k, digest, signature)
                                          : verify_ec(k, digest, signature);
}

void token_key_thread_end(void)
{
#ifdef FP_ECC
    wc_ecc_fp_free();
#endif
}
