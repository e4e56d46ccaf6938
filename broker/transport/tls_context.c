/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/tls_context.h"

#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <xxhash.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/openssl/evp.h>
#include <wolfssl/openssl/pem.h>

#include "broker/config/comma_list.h"
#include "broker/config/config.h"
#include "broker/config/config_error.h"
#include "broker/config/file_text.h"
#include "broker/log/log.h"
#include "broker/transport/ticket_keys.h"
#include "broker/transport/tls_memory.h"

#define CERTIFICATES_MAX 32u
#define NAMES_BYTES      1024u
#define PATH_BYTES       4096u
#define DAY_S            86400
#define SIGNATURE_BYTES  1024u /* RSA of 8192 bits */
#define TEST_TEXT        "is it its key?"

/*
 * Ephemeral key exchange, authenticated encryption. ChaCha20 first: Debian's wolfSSL has AES
 * without the processor's instructions for it, at a third of ChaCha20's speed
 * (docs/performance.md).
 */
#define CIPHERS                                                                                    \
    "TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:"              \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                                   \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"

struct certificate {
    WOLFSSL_CTX *context;
    char *file;
    int64_t ends_s;          /* since 1970 */
    char names[NAMES_BYTES]; /* DNS names, each with a NUL behind it; an empty one ends them */
};

struct tls_context {
    _Atomic unsigned references;
    struct ticket_keys *tickets; /* NULL: between nodes, where either end may have called */
    const char *alpn;            /* a constant */
    struct tls_trust trust;
    unsigned count;
    struct certificate certificates[CERTIFICATES_MAX];
};

/* What is being loaded. */
struct loading {
    const struct config_listener *listener;
    struct config_error *error;
    struct tls_context *out;
};

/* ---- files */

struct file {
    const char *path;
    char *text;
    size_t len;
};

static bool file_open(struct file *f, const char *path, struct config_error *error)
{
    *f = (struct file){.path = path};
    const int err = file_text_read(path, TLS_FILE_BYTES_MAX, &f->text, &f->len);
    if (err != 0) {
        config_error_add(error, "%s: cannot be read: %s", path, strerror(err));
    }
    return err == 0;
}

static uint64_t hash_of(const struct file *f)
{
    return XXH3_64bits(f->text, f->len);
}

/* There may be a private key in it. */
static void file_close(struct file *f)
{
    if (f->text != NULL) {
        explicit_bzero(f->text, f->len);
    }
    free(f->text);
}

static const unsigned char *file_bytes(const struct file *f)
{
    return (const unsigned char *)f->text;
}

static bool good(int ret, const struct file *f, const char *what, struct config_error *error)
{
    if (ret != WOLFSSL_SUCCESS) {
        config_error_add(error, "%s: %s (%s)", f->path, what,
                         wolfSSL_ERR_reason_error_string((unsigned long)ret));
    }
    return ret == WOLFSSL_SUCCESS;
}

/* ---- whom a certificate is for */

/* Names are few; one that finds no room is not answered to. */
static void add_name(struct certificate *c, size_t *used, const char *name)
{
    const size_t len = strlen(name);
    if (len > 0 && *used + len + 2 <= NAMES_BYTES) {
        memcpy(c->names + *used, name, len + 1);
        *used += len + 1;
        c->names[*used] = '\0';
    }
}

static int two_digits(const uint8_t *at)
{
    return (at[0] - '0') * 10 + at[1] - '0';
}

/* Of a UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5), both of which end with a Z. The C library's
 * functions would look at the time zone, and so at the environment. */
static int64_t seconds_of(const uint8_t *text, int len)
{
    const bool short_year = len == 13; /* YYMMDDHHMMSSZ: 1950 to 2049 */
    if (!short_year && len != 15) {
        return 0;
    }
    const int year_of_century = two_digits(text);
    int64_t year = short_year ? 1900 + year_of_century + (year_of_century < 50 ? 100 : 0)
                              : year_of_century * 100 + two_digits(text + 2);
    const uint8_t *const at = text + (short_year ? 2 : 4);
    int64_t month = two_digits(at);
    /* Years from March on, so that a leap day is the last one. */
    year -= month <= 2;
    month += month <= 2 ? 9 : -3;
    const int64_t leap_days = year / 4 - year / 100 + year / 400;
    const int64_t days =
        year * 365 + leap_days + (153 * month + 2) / 5 + two_digits(at + 2) - 1 - 719468;
    return days * DAY_S + two_digits(at + 4) * 3600 + two_digits(at + 6) * 60 + two_digits(at + 8);
}

static bool read_certificate(struct certificate *c, WOLFSSL_X509 *x509)
{
    size_t used = 0;
    for (const char *name; (name = wolfSSL_X509_get_next_altname(x509)) != NULL;) {
        add_name(c, &used, name);
    }
    const char *const common_name = wolfSSL_X509_get_subjectCN(x509);
    if (used == 0 && common_name != NULL) {
        add_name(c, &used, common_name);
    }
    WOLFSSL_ASN1_TIME *const ends = wolfSSL_X509_get_notAfter(x509);
    if (ends == NULL) {
        return false;
    }
    c->ends_s = seconds_of(wolfSSL_ASN1_TIME_get_data(ends), wolfSSL_ASN1_TIME_get_length(ends));
    return c->ends_s != 0;
}

static size_t sign(WOLFSSL_EVP_PKEY *key, uint8_t signature[SIGNATURE_BYTES])
{
    size_t len = SIGNATURE_BYTES;
    WOLFSSL_EVP_MD_CTX *const md = wolfSSL_EVP_MD_CTX_new();
    const bool ok =
        md != NULL &&
        wolfSSL_EVP_DigestSignInit(md, NULL, wolfSSL_EVP_sha256(), NULL, key) == WOLFSSL_SUCCESS &&
        wolfSSL_EVP_DigestSignUpdate(md, TEST_TEXT, sizeof TEST_TEXT) == WOLFSSL_SUCCESS &&
        wolfSSL_EVP_DigestSignFinal(md, signature, &len) == WOLFSSL_SUCCESS;
    wolfSSL_EVP_MD_CTX_free(md);
    return ok ? len : 0;
}

static bool is_signed(WOLFSSL_EVP_PKEY *key, const uint8_t *signature, size_t len)
{
    WOLFSSL_EVP_MD_CTX *const md = wolfSSL_EVP_MD_CTX_new();
    const bool ok =
        md != NULL &&
        wolfSSL_EVP_DigestVerifyInit(md, NULL, wolfSSL_EVP_sha256(), NULL, key) ==
            WOLFSSL_SUCCESS &&
        wolfSSL_EVP_DigestVerifyUpdate(md, TEST_TEXT, sizeof TEST_TEXT) == WOLFSSL_SUCCESS &&
        wolfSSL_EVP_DigestVerifyFinal(md, signature, len) == WOLFSSL_SUCCESS;
    wolfSSL_EVP_MD_CTX_free(md);
    return ok;
}

/* What the key signs has to be signed for the certificate: wolfSSL_CTX_check_private_key() is
 * content with any key of the same kind. */
static bool is_key_of(WOLFSSL_X509 *x509, const struct file *key)
{
    uint8_t signature[SIGNATURE_BYTES];
    WOLFSSL_BIO *const bio = wolfSSL_BIO_new_mem_buf(key->text, (int)key->len);
    WOLFSSL_EVP_PKEY *const private =
        bio == NULL ? NULL : wolfSSL_PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    WOLFSSL_EVP_PKEY *const public = wolfSSL_X509_get_pubkey(x509);
    const size_t len = private == NULL ? 0 : sign(private, signature);
    const bool same = len > 0 && public != NULL && is_signed(public, signature, len);
    wolfSSL_EVP_PKEY_free(public);
    wolfSSL_EVP_PKEY_free(private);
    wolfSSL_BIO_free(bio);
    return same;
}

/* "*.example.org" is for "a.example.org", and for neither "example.org" nor "a.b.example.org" (RFC
 * 6125, 6.4.3). */
static bool name_is_for(const char *name, struct bytes host)
{
    const char *at = (const char *)host.at;
    size_t len = host.len;
    if (name[0] == '*' && name[1] == '.') {
        const char *const dot = memchr(at, '.', len);
        if (dot == NULL || dot == at) {
            return false;
        }
        len -= (size_t)(dot - at);
        at = dot;
        name++;
    }
    return strlen(name) == len && strncasecmp(name, at, len) == 0;
}

static bool certificate_is_for(const struct certificate *c, struct bytes host)
{
    for (const char *name = c->names; *name != '\0'; name += strlen(name) + 1) {
        if (name_is_for(name, host)) {
            return true;
        }
    }
    return false;
}

/* ---- one WOLFSSL_CTX */

static bool use_certificate(struct loading *l, struct certificate *c, const char *key_path)
{
    struct file chain = {.text = NULL}, key = {.text = NULL};
    bool ok = file_open(&chain, c->file, l->error) && file_open(&key, key_path, l->error);
    if (ok) {
        ok = good(wolfSSL_CTX_use_certificate_chain_buffer(c->context, file_bytes(&chain),
                                                           (long)chain.len),
                  &chain, "it holds no certificate that can be used, in PEM", l->error) &&
             good(wolfSSL_CTX_use_PrivateKey_buffer(c->context, file_bytes(&key), (long)key.len,
                                                    WOLFSSL_FILETYPE_PEM),
                  &key, "it holds no private key that can be used, in PEM and not encrypted",
                  l->error) &&
             true;
    }
    WOLFSSL_X509 *const x509 = ok ? wolfSSL_X509_load_certificate_buffer(
                                        file_bytes(&chain), (int)chain.len, WOLFSSL_FILETYPE_PEM)
                                  : NULL;
    if (ok && (x509 == NULL || !read_certificate(c, x509))) {
        config_error_add(l->error, "%s: its first certificate cannot be read", chain.path);
        ok = false;
    }
    if (ok && !is_key_of(x509, &key)) {
        config_error_add(l->error, "%s: it is not the key of the certificate in %s", key.path,
                         chain.path);
        ok = false;
    }
    wolfSSL_X509_free(x509);
    file_close(&chain);
    file_close(&key);
    return ok;
}

/* wolfSSL reads the first list of a text only; there is one of each authority. */
static bool use_revocation_lists(struct loading *l, WOLFSSL_CTX *context)
{
    static const char begin[] = "-----BEGIN X509 CRL-----";
    struct file crl = {.text = NULL};
    bool ok = file_open(&crl, l->listener->crl, l->error) &&
              good(wolfSSL_CTX_EnableCRL(context, WOLFSSL_CRL_CHECKALL), &crl,
                   "revocation lists cannot be used", l->error);
    const char *at = ok ? strstr(crl.text, begin) : NULL;
    if (ok && at == NULL) {
        config_error_add(l->error, "%s: it holds no revocation list, in PEM", crl.path);
        ok = false;
    }
    while (ok && at != NULL) {
        const char *const next = strstr(at + sizeof begin, begin);
        const char *const end = next == NULL ? crl.text + crl.len : next;
        ok = good(wolfSSL_CTX_LoadCRLBuffer(context, (const unsigned char *)at, end - at,
                                            WOLFSSL_FILETYPE_PEM),
                  &crl, "it holds a revocation list that cannot be used", l->error);
        at = next;
    }
    l->out->trust.crl = ok ? hash_of(&crl) : 0;
    file_close(&crl);
    return ok;
}

static bool use_client_ca(struct loading *l, WOLFSSL_CTX *context)
{
    const struct config_listener *const listener = l->listener;
    if (listener->client_certificate == CONFIG_CLIENT_NONE) {
        wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, NULL);
        return true;
    }
    struct file ca = {.text = NULL};
    bool ok = file_open(&ca, listener->client_ca, l->error) &&
              good(wolfSSL_CTX_load_verify_buffer(context, file_bytes(&ca), (long)ca.len,
                                                  WOLFSSL_FILETYPE_PEM),
                   &ca, "it holds no certificate that can be used, in PEM", l->error);
    l->out->trust.client_ca = ok ? hash_of(&ca) : 0;
    ok = ok && (listener->crl[0] == '\0' || use_revocation_lists(l, context));
    const bool required = listener->client_certificate == CONFIG_CLIENT_REQUIRED;
    wolfSSL_CTX_set_verify(
        context, WOLFSSL_VERIFY_PEER | (required ? WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    file_close(&ca);
    return ok;
}

/* A resumed session would not show its certificate again: no tickets where they are asked for. */
static bool use_tickets(struct loading *l, WOLFSSL_CTX *context)
{
    wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
    if (l->listener->client_certificate != CONFIG_CLIENT_NONE) {
        wolfSSL_CTX_set_options(context, WOLFSSL_OP_NO_TICKET);
        return wolfSSL_CTX_NoTicketTLSv12(context) == WOLFSSL_SUCCESS &&
               wolfSSL_CTX_no_ticket_TLSv13(context) == 0;
    }
    return ticket_keys_use(context, l->out->tickets) == 0;
}

static bool use_policy(struct loading *l, WOLFSSL_CTX *context)
{
    const struct config_listener *const listener = l->listener;
    const char *const ciphers = listener->ciphers[0] != '\0' ? listener->ciphers : CIPHERS;
    const int oldest = listener->tls_min == CONFIG_TLS_1_3 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2;
    if (wolfSSL_CTX_SetMinVersion(context, oldest) != WOLFSSL_SUCCESS) {
        config_error_add(l->error, "%s: that version of TLS cannot be required", listener->url);
        return false;
    }
    if (wolfSSL_CTX_set_cipher_list(context, ciphers) != WOLFSSL_SUCCESS) {
        config_error_add(l->error, "%s: ciphers: '%.64s' holds none that is known", listener->url,
                         ciphers);
        return false;
    }
    if (!use_tickets(l, context)) {
        config_error_add(l->error, "%s: tickets cannot be set up", listener->url);
        return false;
    }
    return true;
}

/* The next certificate; false: it is not good, or there is no memory. */
static bool add_certificate(struct loading *l, const char *certificate, const char *key)
{
    struct certificate *const c = &l->out->certificates[l->out->count++];
    c->file = strdup(certificate);
    c->context =
        wolfSSL_CTX_new(l->out->tickets == NULL ? wolfSSLv23_method() : wolfSSLv23_server_method());
    if (c->file == NULL || c->context == NULL) {
        config_error_add(l->error, "out of memory");
        return false;
    }
    return use_certificate(l, c, key) && use_client_ca(l, c->context) && use_policy(l, c->context);
}

static struct tls_context *load(const struct config_listener *listener, const char *alpn,
                                struct ticket_keys *tickets, struct config_error *error)
{
    struct tls_context *const c = calloc(1, sizeof *c);
    tls_memory_init();
    if (c == NULL || wolfSSL_Init() != WOLFSSL_SUCCESS) {
        config_error_add(error, "out of memory");
        free(c);
        return NULL;
    }
    atomic_init(&c->references, 1);
    c->alpn = alpn;
    c->tickets = tickets == NULL ? NULL : ticket_keys_take(tickets);

    struct loading l = {.listener = listener, .error = error, .out = c};
    char certificate[PATH_BYTES], key[PATH_BYTES];
    const size_t count = comma_list_count(listener->certificate);
    bool ok = count <= CERTIFICATES_MAX;
    if (!ok) {
        config_error_add(error, "%s: there are more than %u certificates", listener->url,
                         CERTIFICATES_MAX);
    }
    for (size_t i = 0; ok && i < count; i++) {
        ok = comma_list_at(listener->certificate, i, certificate, sizeof certificate) &&
             comma_list_at(listener->key, i, key, sizeof key) &&
             add_certificate(&l, certificate, key);
    }
    if (!ok) {
        tls_context_put(c);
        return NULL;
    }
    return c;
}

struct tls_context *tls_context_load(const struct config_listener *listener, const char *alpn,
                                     struct ticket_keys *tickets, struct config_error *error)
{
    assert(tickets != NULL);
    return load(listener, alpn, tickets, error);
}

struct tls_context *tls_context_load_mutual(const struct config_listener *listener,
                                            const char *alpn, struct config_error *error)
{
    assert(listener->client_certificate == CONFIG_CLIENT_REQUIRED);
    return load(listener, alpn, NULL, error);
}

struct tls_context *tls_context_take(struct tls_context *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void tls_context_put(struct tls_context *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (unsigned i = 0; i < c->count; i++) {
        wolfSSL_CTX_free(c->certificates[i].context);
        free(c->certificates[i].file);
    }
    ticket_keys_put(c->tickets);
    wolfSSL_Cleanup();
    free(c);
}

void tls_context_release(void *c)
{
    tls_context_put(c);
}

/* ---- questions */

WOLFSSL_CTX *tls_context_for(const struct tls_context *c, struct bytes server_name)
{
    assert(c->count > 0);
    for (unsigned i = 0; i < c->count && server_name.len > 0; i++) {
        if (certificate_is_for(&c->certificates[i], server_name)) {
            return c->certificates[i].context;
        }
    }
    return c->certificates[0].context;
}

struct tls_trust tls_context_trust(const struct tls_context *c)
{
    return c->trust;
}

WOLFSSL_CERT_MANAGER *tls_context_trusted(const struct tls_context *c)
{
    return wolfSSL_CTX_GetCertManager(c->certificates[0].context);
}

const char *tls_context_alpn(const struct tls_context *c)
{
    return c->alpn;
}

int64_t tls_context_ends_s(const struct tls_context *c)
{
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < c->count; i++) {
        first = c->certificates[i].ends_s < first ? c->certificates[i].ends_s : first;
    }
    return first;
}

static void log_expired(const struct certificate *one)
{
    log_event(LOG_ERROR, "certificate_expired", LOG_TEXT("file", one->file),
              LOG_TEXT("name", one->names),
              LOG_TEXT("remedy", "put a new one into the file: it is read when it changes"));
}

void tls_context_log(const struct tls_context *c)
{
    const int64_t now_s = time(NULL);
    for (unsigned i = 0; i < c->count; i++) {
        const struct certificate *const one = &c->certificates[i];
        if (one->ends_s <= now_s) {
            log_expired(one);
        } else {
            log_event(LOG_INFO, "certificate_loaded", LOG_TEXT("file", one->file),
                      LOG_TEXT("name", one->names),
                      LOG_NUMBER("days_left", (uint64_t)(one->ends_s - now_s) / DAY_S));
        }
    }
}

void tls_context_warn(const struct tls_context *c)
{
    const int64_t now_s = time(NULL);
    for (unsigned i = 0; i < c->count; i++) {
        const struct certificate *const one = &c->certificates[i];
        if (one->ends_s <= now_s) {
            log_expired(one);
        } else if (one->ends_s - now_s < (int64_t)(TLS_WARN_DAYS * DAY_S)) {
            log_event(LOG_WARNING, "certificate_ends", LOG_TEXT("file", one->file),
                      LOG_TEXT("name", one->names),
                      LOG_NUMBER("days_left", (uint64_t)(one->ends_s - now_s) / DAY_S),
                      LOG_TEXT("remedy", "put a new one into the file: it is read when it "
                                         "changes"));
        }
    }
}
