/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/ecc.h>

struct tls_client {
    WOLFSSL_CTX *context;
    WOLFSSL_SESSION *session; /* NULL: none yet */
    const char *host;         /* borrowed */
    bool resumes;
};

/* A struct tls is a WOLFSSL by another name. */
static WOLFSSL *ssl_of(struct tls *t)
{
    return (WOLFSSL *)(void *)t;
}

struct tls_client *tls_client_create(const char *ca_file, const char *host, bool resumes)
{
    struct tls_client *client = calloc(1, sizeof *client);
    if (client == NULL || wolfSSL_Init() != WOLFSSL_SUCCESS) {
        free(client);
        return NULL;
    }
    client->host = host;
    client->resumes = resumes;
    client->context = wolfSSL_CTX_new(wolfSSLv23_client_method());
    bool is_good = client->context != NULL;
    if (is_good && ca_file != NULL) {
        is_good =
            wolfSSL_CTX_load_verify_locations(client->context, ca_file, NULL) == WOLFSSL_SUCCESS;
    } else if (is_good) {
        wolfSSL_CTX_set_verify(client->context, WOLFSSL_VERIFY_NONE, NULL);
    }
    if (!is_good) {
        tls_client_destroy(client);
        return NULL;
    }
    return client;
}

void tls_client_destroy(struct tls_client *client)
{
    if (client != NULL) {
        if (client->session != NULL) {
            wolfSSL_SESSION_free(client->session);
        }
        if (client->context != NULL) {
            wolfSSL_CTX_free(client->context);
        }
        wolfSSL_Cleanup();
        free(client);
    }
}

void tls_thread_end(void)
{
#ifdef FP_ECC
    wc_ecc_fp_free();
#endif
}

bool tls_client_has_session(const struct tls_client *client)
{
    return client->session != NULL;
}

static bool is_name(const char *host)
{
    struct in6_addr unused;
    return inet_pton(AF_INET, host, &unused) != 1 && inet_pton(AF_INET6, host, &unused) != 1;
}

struct tls *tls_open(struct tls_client *client, int fd)
{
    WOLFSSL *const ssl = wolfSSL_new(client->context);
    if (ssl == NULL) {
        return NULL;
    }
    bool is_good = wolfSSL_set_fd(ssl, fd) == WOLFSSL_SUCCESS;
    if (is_good && is_name(client->host)) {
        is_good = wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, client->host,
                                 (unsigned short)strlen(client->host)) == WOLFSSL_SUCCESS;
    }
    if (is_good && client->resumes && client->session != NULL) {
        is_good = wolfSSL_set_session(ssl, client->session) == WOLFSSL_SUCCESS;
    }
    if (!is_good) {
        wolfSSL_free(ssl);
        return NULL;
    }
    wolfSSL_set_using_nonblock(ssl, 1);
    return (struct tls *)(void *)ssl;
}

void tls_close(struct tls *t)
{
    if (t != NULL) {
        wolfSSL_free(ssl_of(t));
    }
}

static enum tls_state state_of(struct tls *t, int ret)
{
    switch (wolfSSL_get_error(ssl_of(t), ret)) {
    case WOLFSSL_ERROR_WANT_READ:
        return TLS_WANTS_READ;
    case WOLFSSL_ERROR_WANT_WRITE:
        return TLS_WANTS_WRITE;
    default:
        return TLS_FAILED;
    }
}

enum tls_state tls_handshake(struct tls *t)
{
    const int ret = wolfSSL_connect(ssl_of(t));
    return ret == WOLFSSL_SUCCESS ? TLS_DONE : state_of(t, ret);
}

bool tls_is_resumed(struct tls *t)
{
    return wolfSSL_session_reused(ssl_of(t)) != 0;
}

/* The end of the stream is 0, as it is for recv(). */
static ssize_t result(struct tls *t, int ret)
{
    if (ret > 0) {
        return ret;
    }
    const int error = wolfSSL_get_error(ssl_of(t), ret);
    if (error == WOLFSSL_ERROR_ZERO_RETURN || error == SOCKET_PEER_CLOSED_E) {
        return 0;
    }
    errno = state_of(t, ret) == TLS_FAILED ? EPROTO : EAGAIN;
    return -1;
}

ssize_t tls_receive(struct tls *t, uint8_t *bytes, size_t size)
{
    return result(t, wolfSSL_read(ssl_of(t), bytes, size < INT_MAX ? (int)size : INT_MAX));
}

ssize_t tls_send(struct tls *t, const uint8_t *bytes, size_t len)
{
    return result(t, wolfSSL_write(ssl_of(t), bytes, len < INT_MAX ? (int)len : INT_MAX));
}

void tls_keep_session(struct tls_client *client, struct tls *t)
{
    if (client->resumes && client->session == NULL) {
        client->session = wolfSSL_get1_session(ssl_of(t));
    }
}
