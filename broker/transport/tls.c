/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/tls.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/ecc.h>

#include "broker/outbuf.h"
#include "broker/transport/tls_context.h"
#include "broker/transport/tls_memory.h"
#include "broker/transport/tls_peer.h"

struct tls {
    WOLFSSL *ssl;
    struct tls_block session;
    struct tls_context *context;
    struct outbuf *out;
    const uint8_t *in; /* fed, and not taken yet */
    size_t in_len;
    const char *why; /* NULL: it has not failed */
    bool has_called;
    struct tls_peer peer;
};

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
    if (outbuf_put(t->out, from, (size_t)len) != 0) {
        t->why = "out of memory";
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    return len;
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
    tls_memory_watch((struct tls_block){.len = 0});
    WOLFSSL *ssl = t == NULL ? NULL : wolfSSL_new(tls_context_for(context, server_name));
    if (ssl == NULL) {
        free(t);
        return NULL;
    }
    *t = (struct tls){.ssl = ssl,
                      .session = tls_memory_largest(),
                      .context = tls_context_take(context),
                      .out = out};
    wolfSSL_SSLSetIORecv(ssl, on_receive);
    wolfSSL_SSLSetIOSend(ssl, on_send);
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

struct tls *tls_create_caller(struct tls_context *context, struct outbuf *out)
{
    struct tls *const t = tls_create(context, bytes_of(NULL, 0), out);
    if (t != NULL) {
        t->has_called = true;
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
    if (outbuf_put(t->out, alert, sizeof alert) != 0) {
        t->why = "out of memory";
    }
}

enum tls_result tls_handshake(struct tls *t)
{
    tls_memory_watch(t->session);
    const int ret = t->has_called ? wolfSSL_connect(t->ssl) : wolfSSL_accept(t->ssl);
    t->session = tls_memory_largest();
    if (ret == WOLFSSL_SUCCESS) {
        tls_peer_init(&t->peer, t->ssl, t->context);
        tls_memory_give_back_zeros(t->session);
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

const struct certificate_names *tls_peer_names(const struct tls *t)
{
    return &t->peer.names;
}

enum tls_peer_cost tls_trust_cost(const struct tls *t, const struct tls_context *now)
{
    return tls_peer_cost(&t->peer, now);
}

bool tls_is_trusted(struct tls *t, const struct tls_context *now, const char **why)
{
    return tls_peer_is_good(&t->peer, t->ssl, now, why);
}

const char *tls_why(const struct tls *t)
{
    return t->why;
}
