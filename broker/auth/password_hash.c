/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_hash.h"

#include <argon2.h>
#include <assert.h>
#include <stdio.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/pwdbased.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/sha512.h>

#include "broker/auth/password_base64.h"

#define SCRYPT_R_MAX         8u /* wolfCrypt's */
#define SCRYPT_LN_MAX        16u
#define P_MAX                16u
#define PHC_SALT_BYTES_MIN   8u /* argon2's own bound */
#define PHC_DIGEST_BYTES_MIN 16u
#define DIGITS_MAX           7u

static_assert((SCRYPT_R_MAX << SCRYPT_LN_MAX) / 8 == PASSWORD_MEMORY_KIB_MAX, "scrypt's most");
static_assert(PASSWORD_SCRAM_BYTES == WC_SHA256_DIGEST_SIZE, "its keys are SHA-256's");
static_assert(PASSWORD_DIGEST_BYTES_MAX == WC_SHA512_DIGEST_SIZE, "the largest that we make");

#define UNKNOWN                                                                                             \
    "it is no hash that is known, as $scrypt$…, $argon2id$…, $7$…, $6$… or SCRAM-SHA-256$… are; " \
    "make one with: dunlin passwd FILE USER"

/* ---- parsing: each function takes what it names from the beginning of *in */

static bool take(struct bytes *in, const char *text)
{
    const size_t len = strlen(text);
    if (in->len < len || memcmp(in->at, text, len) != 0) {
        return false;
    }
    *in = bytes_of(in->at + len, in->len - len);
    return true;
}

/* Decimal, without leading zeros, so that there is one way to write it. */
static bool take_number(struct bytes *in, uint32_t *number)
{
    uint32_t n = 0;
    size_t len = 0;
    while (len < in->len && len < DIGITS_MAX && in->at[len] >= '0' && in->at[len] <= '9') {
        n = 10 * n + (uint32_t)(in->at[len++] - '0');
    }
    if (len == 0 || in->at[0] == '0') {
        return false;
    }
    *in = bytes_of(in->at + len, in->len - len);
    *number = n;
    return true;
}

/* Up to `end`, which goes too; '\0' is the end of the text. */
static bool take_base64(struct bytes *in, char end, enum password_base64 form, uint8_t *out,
                        uint8_t *out_len)
{
    const uint8_t *const stop = end == '\0' || in->len == 0 ? NULL : memchr(in->at, end, in->len);
    if (end != '\0' && stop == NULL) {
        return false;
    }
    const size_t text_len = stop == NULL ? in->len : (size_t)(stop - in->at);
    size_t len;
    if (!password_base64_decode(out, PASSWORD_DIGEST_BYTES_MAX, &len, bytes_of(in->at, text_len),
                                form)) {
        return false;
    }
    const size_t taken = text_len + (stop != NULL);
    *in = bytes_of(in->at + taken, in->len - taken);
    *out_len = (uint8_t)len;
    return true;
}

static_assert(PASSWORD_SALT_BYTES_MAX == PASSWORD_DIGEST_BYTES_MAX, "take_base64() serves both");

static bool take_salt_and_digest(struct bytes *in, struct password_hash *h,
                                 enum password_base64 form)
{
    return take_base64(in, '$', form, h->salt, &h->salt_len) &&
           take_base64(in, '\0', form, h->digest, &h->digest_len);
}

static const char *phc_lengths(const struct password_hash *h)
{
    if (h->salt_len < PHC_SALT_BYTES_MIN) {
        return "the salt of the hash has less than 8 bytes; make the hash anew";
    }
    if (h->digest_len < PHC_DIGEST_BYTES_MIN) {
        return "the hash has less than 16 bytes; make it anew";
    }
    return NULL;
}

static const char *parse_scrypt(struct bytes in, struct password_hash *h)
{
    uint32_t ln, r, p;
    if (!take_number(&in, &ln) || !take(&in, ",r=") || !take_number(&in, &r) || !take(&in, ",p=") ||
        !take_number(&in, &p) || !take(&in, "$") ||
        !take_salt_and_digest(&in, h, PASSWORD_BASE64_BARE)) {
        return "the hash is not as $scrypt$ln=14,r=8,p=1$SALT$HASH, with SALT and HASH in base64 "
               "without = and of at most 64 bytes";
    }
    /* N is less than 2^(16 r) (RFC 7914, section 2), and takes 128 N r bytes. */
    if (r > SCRYPT_R_MAX || p > P_MAX || ln > SCRYPT_LN_MAX || ln >= 16 * r ||
        (r << ln) / 8 * p > PASSWORD_WORK_KIB_MAX) {
        return "the hash asks for too much: ln is at most 16, r at most 8, p times the memory at "
               "most 256 MiB; ln=14,r=8,p=1 is ours";
    }
    h->ln = (uint8_t)ln;
    h->r = (uint8_t)r;
    h->p = (uint8_t)p;
    return phc_lengths(h);
}

static const char *parse_argon2id(struct bytes in, struct password_hash *h)
{
    uint32_t m, t, p;
    if (!take_number(&in, &m) || !take(&in, ",t=") || !take_number(&in, &t) || !take(&in, ",p=") ||
        !take_number(&in, &p) || !take(&in, "$") ||
        !take_salt_and_digest(&in, h, PASSWORD_BASE64_BARE)) {
        return "the hash is not as $argon2id$v=19$m=47104,t=1,p=1$SALT$HASH, with SALT and HASH in "
               "base64 without = and of at most 64 bytes";
    }
    if (m > PASSWORD_MEMORY_KIB_MAX || p > P_MAX || t > PASSWORD_WORK_KIB_MAX / m || m < 8 * p) {
        return "the hash asks for too much, or too little: m is at most 65536 (64 MiB) and at "
               "least 8 times p, m times t at most 262144, p at most 16";
    }
    h->memory_kib = m;
    h->iterations = t;
    h->p = (uint8_t)p;
    return phc_lengths(h);
}

static const char *parse_pbkdf2_sha512(struct bytes in, struct password_hash *h)
{
    if (!take_number(&in, &h->iterations) || !take(&in, "$") ||
        !take_salt_and_digest(&in, h, PASSWORD_BASE64_PADDED) || h->salt_len == 0 ||
        h->digest_len != WC_SHA512_DIGEST_SIZE) {
        return "the hash is not as $7$ITERATIONS$SALT$HASH, with SALT and HASH in base64, of 1 to "
               "64 and of 64 bytes";
    }
    if (h->iterations > PASSWORD_ITERATIONS_MAX) {
        return "the hash asks for more than 1000000 iterations; make it with fewer";
    }
    return NULL;
}

static const char *parse_sha512(struct bytes in, struct password_hash *h)
{
    if (!take_salt_and_digest(&in, h, PASSWORD_BASE64_PADDED) || h->salt_len == 0 ||
        h->digest_len != WC_SHA512_DIGEST_SIZE) {
        return "the hash is not as $6$SALT$HASH, with SALT and HASH in base64, of 1 to 64 and of "
               "64 bytes";
    }
    return NULL;
}

static const char *parse_scram(struct bytes in, struct password_hash *h)
{
    uint8_t key[PASSWORD_DIGEST_BYTES_MAX], key_len;
    if (!take_number(&in, &h->iterations) || !take(&in, ":") ||
        !take_base64(&in, '$', PASSWORD_BASE64_PADDED, h->salt, &h->salt_len) ||
        !take_base64(&in, ':', PASSWORD_BASE64_PADDED, h->digest, &h->digest_len) ||
        !take_base64(&in, '\0', PASSWORD_BASE64_PADDED, key, &key_len) || h->salt_len == 0 ||
        h->digest_len != PASSWORD_SCRAM_BYTES || key_len != PASSWORD_SCRAM_BYTES) {
        return "the credential is not as SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY, with "
               "SALT and the keys in base64, of 1 to 64 and of 32 bytes";
    }
    if (h->iterations < PASSWORD_SCRAM_MIN || h->iterations > PASSWORD_ITERATIONS_MAX) {
        return "the credential has not 4096 to 1000000 iterations; make it anew";
    }
    memcpy(h->server_key, key, sizeof h->server_key);
    return NULL;
}

static const struct {
    const char *begins;
    const char *(*parse)(struct bytes in, struct password_hash *h);
} forms[] = {
    [PASSWORD_SCRYPT] = {"$scrypt$ln=", parse_scrypt},
    [PASSWORD_ARGON2ID] = {"$argon2id$v=19$m=", parse_argon2id},
    [PASSWORD_PBKDF2_SHA512] = {"$7$", parse_pbkdf2_sha512},
    [PASSWORD_SHA512] = {"$6$", parse_sha512},
    [PASSWORD_SCRAM_SHA256] = {"SCRAM-SHA-256$", parse_scram},
};

#define FORMS (sizeof forms / sizeof forms[0])

const char *password_hash_parse(struct password_hash *h, struct bytes text)
{
    for (size_t i = 0; i < FORMS; i++) {
        struct bytes in = text;
        if (take(&in, forms[i].begins)) {
            struct password_hash parsed = {.form = (enum password_form)i};
            const char *const wrong = forms[i].parse(in, &parsed);
            if (wrong == NULL) {
                *h = parsed;
            }
            return wrong;
        }
    }
    return UNKNOWN;
}

/* ---- printing */

size_t password_hash_print(const struct password_hash *h, char text[PASSWORD_HASH_TEXT])
{
    const enum password_base64 form = h->form == PASSWORD_SCRYPT || h->form == PASSWORD_ARGON2ID
                                          ? PASSWORD_BASE64_BARE
                                          : PASSWORD_BASE64_PADDED;
    char salt[PASSWORD_BASE64_TEXT(PASSWORD_SALT_BYTES_MAX)];
    char digest[PASSWORD_BASE64_TEXT(PASSWORD_DIGEST_BYTES_MAX)];
    char key[PASSWORD_BASE64_TEXT(PASSWORD_SCRAM_BYTES)];
    password_base64_encode(salt, bytes_of(h->salt, h->salt_len), form);
    password_base64_encode(digest, bytes_of(h->digest, h->digest_len), form);
    password_base64_encode(key, bytes_of(h->server_key, sizeof h->server_key), form);

    const char *const begins = forms[h->form].begins;
    int len = 0;
    switch (h->form) {
    case PASSWORD_SCRYPT:
        len = snprintf(text, PASSWORD_HASH_TEXT, "%s%u,r=%u,p=%u$%s$%s", begins, h->ln, h->r, h->p,
                       salt, digest);
        break;
    case PASSWORD_ARGON2ID:
        len = snprintf(text, PASSWORD_HASH_TEXT, "%s%u,t=%u,p=%u$%s$%s", begins, h->memory_kib,
                       h->iterations, h->p, salt, digest);
        break;
    case PASSWORD_PBKDF2_SHA512:
        len = snprintf(text, PASSWORD_HASH_TEXT, "%s%u$%s$%s", begins, h->iterations, salt, digest);
        break;
    case PASSWORD_SHA512:
        len = snprintf(text, PASSWORD_HASH_TEXT, "%s%s$%s", begins, salt, digest);
        break;
    case PASSWORD_SCRAM_SHA256:
        len = snprintf(text, PASSWORD_HASH_TEXT, "%s%u:%s$%s:%s", begins, h->iterations, salt,
                       digest, key);
        break;
    }
    assert(len > 0);
    assert(len < (int)PASSWORD_HASH_TEXT);
    return (size_t)len;
}

/* ---- deriving. The libraries take what they only read as if they wrote to it. All that can fail
 * is their memory: the parameters were judged when the hash was parsed. */

static enum password_err crypt_err(int err)
{
    return err == 0 ? PASSWORD_OK : PASSWORD_NO_MEMORY;
}

static enum password_err derive_argon2id(const struct password_hash *h, struct bytes password,
                                         /* NOLINTNEXTLINE(readability-non-const-parameter) */
                                         uint8_t *digest)
{
    argon2_context context = {
        .out = digest,
        .outlen = h->digest_len,
        .pwd = (uint8_t *)(uintptr_t)password.at,
        .pwdlen = (uint32_t)password.len,
        .salt = (uint8_t *)(uintptr_t)h->salt,
        .saltlen = h->salt_len,
        .t_cost = h->iterations,
        .m_cost = h->memory_kib,
        .lanes = h->p,
        .threads = 1, /* more would only be sooner */
        .version = ARGON2_VERSION_13,
    };
    return crypt_err(argon2_ctx(&context, Argon2_id));
}

static enum password_err derive_sha512(const struct password_hash *h, struct bytes password,
                                       uint8_t *digest)
{
    wc_Sha512 sha;
    if (wc_InitSha512(&sha) != 0) {
        return PASSWORD_NO_MEMORY;
    }
    int err = wc_Sha512Update(&sha, password.at, (word32)password.len);
    if (err == 0) {
        err = wc_Sha512Update(&sha, h->salt, h->salt_len);
    }
    if (err == 0) {
        err = wc_Sha512Final(&sha, digest);
    }
    wc_Sha512Free(&sha);
    explicit_bzero(&sha, sizeof sha);
    return crypt_err(err);
}

static int hmac_sha256(uint8_t *out, const uint8_t *key, const char *text)
{
    Hmac hmac;
    int err = wc_HmacInit(&hmac, NULL, INVALID_DEVID);
    if (err != 0) {
        return err;
    }
    err = wc_HmacSetKey(&hmac, WC_SHA256, key, PASSWORD_SCRAM_BYTES);
    if (err == 0) {
        err = wc_HmacUpdate(&hmac, (const byte *)text, (word32)strlen(text));
    }
    if (err == 0) {
        err = wc_HmacFinal(&hmac, out);
    }
    wc_HmacFree(&hmac);
    explicit_bzero(&hmac, sizeof hmac);
    return err;
}

/* RFC 5802, section 3. */
static enum password_err derive_scram(const struct password_hash *h, struct bytes password,
                                      uint8_t *stored_key, uint8_t *server_key)
{
    uint8_t salted[PASSWORD_SCRAM_BYTES], client_key[PASSWORD_SCRAM_BYTES];
    int err = wc_PBKDF2(salted, password.at, (int)password.len, h->salt, h->salt_len,
                        (int)h->iterations, sizeof salted, WC_SHA256);
    if (err == 0) {
        err = hmac_sha256(client_key, salted, "Client Key");
    }
    if (err == 0) {
        err = wc_Sha256Hash(client_key, sizeof client_key, stored_key);
    }
    if (err == 0) {
        err = hmac_sha256(server_key, salted, "Server Key");
    }
    explicit_bzero(salted, sizeof salted);
    explicit_bzero(client_key, sizeof client_key);
    return crypt_err(err);
}

static enum password_err derive(const struct password_hash *h, struct bytes password,
                                uint8_t digest[PASSWORD_DIGEST_BYTES_MAX],
                                uint8_t server_key[PASSWORD_SCRAM_BYTES])
{
    assert(h->digest_len <= PASSWORD_DIGEST_BYTES_MAX);
    assert(h->salt_len <= PASSWORD_SALT_BYTES_MAX);
    assert(password.len <= PASSWORD_BYTES_MAX);

    if (password.len == 0) { /* the libraries mind a NULL */
        password.at = (const uint8_t *)"";
    }
    switch (h->form) {
    case PASSWORD_SCRYPT:
        return crypt_err(wc_scrypt(digest, password.at, (int)password.len, h->salt, h->salt_len,
                                   h->ln, h->r, h->p, h->digest_len));
    case PASSWORD_ARGON2ID:
        return derive_argon2id(h, password, digest);
    case PASSWORD_PBKDF2_SHA512:
        return crypt_err(wc_PBKDF2(digest, password.at, (int)password.len, h->salt, h->salt_len,
                                   (int)h->iterations, h->digest_len, WC_SHA512));
    case PASSWORD_SHA512:
        return derive_sha512(h, password, digest);
    case PASSWORD_SCRAM_SHA256:
        return derive_scram(h, password, digest, server_key);
    }
    return PASSWORD_NO_MEMORY;
}

/* ---- comparing */

/* Takes as long wherever they differ. */
static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    volatile uint8_t differ = 0;
    for (size_t i = 0; i < len; i++) {
        differ = (uint8_t)(differ | (a[i] ^ b[i]));
    }
    return differ == 0;
}

enum password_err password_hash_verify(const struct password_hash *h, struct bytes password)
{
    uint8_t digest[PASSWORD_DIGEST_BYTES_MAX], server_key[PASSWORD_SCRAM_BYTES];
    if (password.len > PASSWORD_BYTES_MAX) {
        return PASSWORD_WRONG;
    }
    enum password_err err = derive(h, password, digest, server_key);
    if (err == PASSWORD_OK && !same(digest, h->digest, h->digest_len)) {
        err = PASSWORD_WRONG;
    }
    explicit_bzero(digest, sizeof digest);
    explicit_bzero(server_key, sizeof server_key);
    return err;
}

enum password_err password_hash_dummy(struct bytes password)
{
    static const uint8_t salt[PASSWORD_NEW_SALT_BYTES];
    struct password_hash h;
    password_hash_init(&h, PASSWORD_SCRYPT, bytes_of(salt, sizeof salt));
    const enum password_err err = password_hash_verify(&h, password);
    return err == PASSWORD_OK ? PASSWORD_WRONG : err;
}

/* ---- making */

void password_hash_init(struct password_hash *h, enum password_form form, struct bytes salt)
{
    assert(form == PASSWORD_SCRYPT || form == PASSWORD_SCRAM_SHA256);
    assert(salt.len > 0);
    assert(salt.len <= PASSWORD_SALT_BYTES_MAX);

    *h = (struct password_hash){.form = form, .digest_len = PASSWORD_SCRAM_BYTES};
    if (form == PASSWORD_SCRYPT) {
        h->ln = PASSWORD_SCRYPT_LN;
        h->r = PASSWORD_SCRYPT_R;
        h->p = PASSWORD_SCRYPT_P;
    } else {
        h->iterations = PASSWORD_SCRAM_ITERATIONS;
    }
    h->salt_len = (uint8_t)salt.len;
    memcpy(h->salt, salt.at, salt.len);
}

enum password_err password_hash_make(struct password_hash *h, struct bytes password)
{
    return derive(h, password, h->digest, h->server_key);
}
