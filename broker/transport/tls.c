/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/tls.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/ecc.h>

#include "broker/conn/outbuf.h"
#include "broker/transport/tls_context.h"

/* wolfSSL's largest block of a connection, its session: 37 KiB, most of which nobody ever writes.
 */
struct block {
    uint8_t *at; /* NULL: none was seen */
    size_t len;
};

struct tls {
    WOLFSSL *ssl;
    struct block session;
    struct tls_context *context;
    struct outbuf *out;
    const uint8_t *in; /* fed, and not taken yet */
    size_t in_len;
    const char *why; /* NULL: it has not failed */
};

/* ---- wolfSSL's memory */

#define PAGE_BYTES        4096u
#define LARGE_BLOCK_BYTES 32768u

/* What this thread has asked for and not given back since it was reset. */
static _Thread_local struct block largest;

static void *allocate(size_t size)
{
    if (size < LARGE_BLOCK_BYTES) {
        return malloc(size);
    }
    const size_t len = (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint8_t *const at = aligned_alloc(PAGE_BYTES, len);
    if (at != NULL && len > largest.len) {
        largest = (struct block){.at = at, .len = len};
    }
    return at;
}

static void release(void *at)
{
    if (at == largest.at) {
        largest = (struct block){.len = 0};
    }
    free(at);
}

void tls_init(void)
{
    (void)wolfSSL_SetAllocators(allocate, release, realloc); /* it refuses NULL only */
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

/* Pages of zeros go back to the system, which gives zeros again when they are looked at: some 30
 * KiB of a session. Not where the kernel's pages are larger: it would take the neighbours too. */
static void give_back_zeros(struct block b)
{
    if (sysconf(_SC_PAGESIZE) != (long)PAGE_BYTES) {
        return;
    }
    for (size_t from = 0; from < b.len;) {
        size_t to = from;
        while (to < b.len && is_zero(b.at + to)) {
            to += PAGE_BYTES;
        }
        if (to > from) {
            (void)madvise(b.at + from, to - from, MADV_DONTNEED);
        }
        from = to + PAGE_BYTES;
    }
}

/* ---- wolfSSL's socket */

static int on_receive(WOLFSSL *ssl, char *to, int size, void *context)
{
    struct tls *const t = context;
    (void)ssl;
    if (t->in_len == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    const size_t len = t->in_len < (size_t)size ? t->in_len : (size_t)size;
    memcpy(to, t->in, len);
    t->in += len;
    t->in_len -= len;
    return (int)len;
}

static int on_send(WOLFSSL *ssl, char *from, int len, void *context)
{
    struct tls *const t = context;
    (void)ssl;
    uint8_t *const to = outbuf_reserve(t->out, (size_t)len);
    if (to == NULL) {
        t->why = "out of memory";
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    memcpy(to, from, (size_t)len);
    outbuf_commit(t->out, (size_t)len);
    return len;
}

void tls_use_callbacks(WOLFSSL_CTX *context)
{
    wolfSSL_CTX_SetIORecv(context, on_receive);
    wolfSSL_CTX_SetIOSend(context, on_send);
}

void tls_thread_end(void)
{
#ifdef FP_ECC
    wc_ecc_fp_free();
#endif
}

/* ---- beginning and end */

struct tls *tls_create(struct tls_context *context, struct bytes server_name, struct outbuf *out)
{
    struct tls *t = calloc(1, sizeof *t);
    largest = (struct block){.len = 0};
    WOLFSSL *ssl = t == NULL ? NULL : wolfSSL_new(tls_context_for(context, server_name));
    if (ssl == NULL) {
        free(t);
        return NULL;
    }
    *t = (struct tls){
        .ssl = ssl, .session = largest, .context = tls_context_take(context), .out = out};
    wolfSSL_SetIOReadCtx(ssl, t);
    wolfSSL_SetIOWriteCtx(ssl, t);
    char alpn[32];
    const size_t len = strlen(tls_context_alpn(context));
    assert(len < sizeof alpn);
    memcpy(alpn, tls_context_alpn(context), len + 1);
    if (wolfSSL_UseALPN(ssl, alpn, (unsigned)len, WOLFSSL_ALPN_FAILED_ON_MISMATCH) !=
        WOLFSSL_SUCCESS) {
        tls_destroy(t);
        return NULL;
    }
    return t;
}

void tls_destroy(struct tls *t)
{
    if (t != NULL) {
        wolfSSL_free(t->ssl);
        tls_context_put(t->context);
        free(t);
    }
}

/* ---- records */

void tls_feed(struct tls *t, const uint8_t *data, size_t len)
{
    assert(t->in_len == 0);
    t->in = data;
    t->in_len = len;
}

static enum tls_result result(struct tls *t, int ret)
{
    const int error = wolfSSL_get_error(t->ssl, ret);
    switch (error) {
    case WOLFSSL_ERROR_WANT_READ:
        return TLS_WANTS_MORE;
    case WOLFSSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    default:
        if (t->why == NULL) {
            t->why = wolfSSL_ERR_reason_error_string((unsigned long)error);
        }
        return TLS_FAILED;
    }
}

/* Before 1.3, wolfSSL ends without a word where a certificate was required and none came; nothing
 * is encrypted yet then (RFC 5246, 7.4.6: handshake_failure). */
static void tell_certificate_is_missing(struct tls *t)
{
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 40};
    uint8_t *const to = outbuf_reserve(t->out, sizeof alert);
    if (to != NULL) {
        memcpy(to, alert, sizeof alert);
        outbuf_commit(t->out, sizeof alert);
    }
}

enum tls_result tls_handshake(struct tls *t)
{
    largest = t->session;
    const int ret = wolfSSL_accept(t->ssl);
    t->session = largest;
    if (ret == WOLFSSL_SUCCESS) {
        give_back_zeros(t->session);
        return TLS_DONE;
    }
    if (wolfSSL_get_error(t->ssl, ret) == NO_PEER_CERT &&
        wolfSSL_version(t->ssl) < TLS1_3_VERSION) {
        tell_certificate_is_missing(t);
    }
    return result(t, ret);
}

enum tls_result tls_read(struct tls *t, uint8_t *out, size_t size, size_t *len)
{
    const int ret = wolfSSL_read(t->ssl, out, size < INT_MAX ? (int)size : INT_MAX);
    if (ret > 0) {
        *len = (size_t)ret;
        return TLS_DONE;
    }
    return result(t, ret);
}

bool tls_write(struct tls *t, const uint8_t *data, size_t len)
{
    assert(len <= INT_MAX);
    const int ret = wolfSSL_write(t->ssl, data, (int)len);
    if (ret != (int)len) {
        (void)result(t, ret);
        return false;
    }
    return true;
}

void tls_close_notify(struct tls *t)
{
    if (t->why == NULL) {
        (void)wolfSSL_shutdown(t->ssl); /* what the peer answers to it is not waited for */
    }
}

bool tls_resumed(const struct tls *t)
{
    return wolfSSL_session_reused(t->ssl) != 0;
}

const char *tls_version(const struct tls *t)
{
    return wolfSSL_get_version(t->ssl);
}

const char *tls_why(const struct tls *t)
{
    return t->why;
}
