/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_fuzz: a stranger at a TLS listener, as the broker has it (tls.h), and so wolfSSL's parsers.
 * `./dev fuzz tls` builds wolfSSL with the sanitizers, so that the fuzzer sees into it.
 *
 * The first byte says which stranger: whoever sends the rest of the input, in pieces; a client of
 * wolfSSL, some bytes of which are changed on their way; or one whose certificate is the rest.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "broker/config/config.h"
#include "broker/config/config_error.h"
#include "broker/outbuf.h"
#include "broker/transport/ticket_keys.h"
#include "broker/transport/tls.h"
#include "broker/transport/tls_context.h"
#include "proto/certificate_names.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tls_vectors.h"

#define WIRE_BYTES 65536u
#define EDITS_MAX  8u
#define ROUNDS_MAX 32u
#define YOUNG_S    300

static const char alpn[] = "mqtt";
static const char said[] =
    "what the one says, the other hears: these bytes, or fewer, and no others";

/* ---- what all runs share */

static struct tls_context *open_house; /* with tickets; asks for no certificate */
static struct tls_context *named;      /* asks for a certificate */

/* A name that is good as long as the process. */
static char *file_of(const char *text)
{
    const int fd = memfd_create("pem", MFD_CLOEXEC);
    char *name = NULL;
    FUZZ_EXPECT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    FUZZ_EXPECT(asprintf(&name, "/proc/self/fd/%d", fd) > 0);
    return name;
}

static struct tls_context *load(enum config_client_certificate asked)
{
    static const char secret[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    char *const none = (char *)(uintptr_t) "";
    const struct config_listener listener = {.url = none,
                                             .unix_mode = none,
                                             .certificate = file_of(server_pem),
                                             .key = file_of(server_key),
                                             .client_certificate = asked,
                                             .client_ca = file_of(authority_pem),
                                             .crl = none,
                                             .tls_min = CONFIG_TLS_1_2,
                                             .ciphers = none,
                                             .proxy_from = none,
                                             .origins = none};
    struct config_error error = {.count = 0};
    const char *wrong;
    struct ticket_keys *const tickets = ticket_keys_parse(secret, sizeof secret - 1, &wrong);
    struct tls_context *const c = tls_context_load(&listener, alpn, tickets, &error);
    FUZZ_EXPECT(tickets != NULL && c != NULL);
    ticket_keys_put(tickets);
    free(listener.certificate);
    free(listener.key);
    free(listener.client_ca);
    return c;
}

static void begin(void)
{
    if (open_house == NULL) {
        open_house = load(CONFIG_CLIENT_NONE);
        named = load(CONFIG_CLIENT_OPTIONAL);
    }
}

/* ---- the input */

struct input {
    const uint8_t *at;
    size_t left;
};

static uint8_t next(struct input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

/* ---- the server, and what it hears */

struct server {
    struct tls *tls;
    struct outbuf out;
    bool is_in, is_over;
    size_t heard;
};

static void server_open(struct server *s, struct tls_context *context)
{
    *s = (struct server){.heard = 0};
    s->tls = tls_create(context, bytes_of(NULL, 0), &s->out);
    FUZZ_EXPECT(s->tls != NULL);
}

static void server_close(struct server *s)
{
    tls_destroy(s->tls);
    outbuf_fini(&s->out);
}

static void hear(struct server *s)
{
    static uint8_t plain[TLS_RECORD_BYTES];
    size_t len = 0;
    enum tls_result result;
    while ((result = tls_read(s->tls, plain, sizeof plain, &len)) == TLS_DONE) {
        FUZZ_EXPECT(len > 0 && len <= sizeof said - s->heard);
        FUZZ_EXPECT(memcmp(plain, said + s->heard, len) == 0);
        s->heard += len;
    }
    s->is_over = result != TLS_WANTS_MORE;
    FUZZ_EXPECT(result != TLS_FAILED || tls_why(s->tls) != NULL);
}

static void server_take(struct server *s, const uint8_t *bytes, size_t len)
{
    uint8_t *const exact = malloc(len == 0 ? 1 : len); /* so that a read beyond shows */
    FUZZ_EXPECT(exact != NULL);
    memcpy(exact, bytes, len);
    tls_feed(s->tls, exact, len);
    if (!s->is_in) {
        const enum tls_result result = tls_handshake(s->tls);
        s->is_in = result == TLS_DONE;
        s->is_over = result != TLS_DONE && result != TLS_WANTS_MORE;
        FUZZ_EXPECT(result != TLS_FAILED || tls_why(s->tls) != NULL);
        if (s->is_in) {
            FUZZ_EXPECT(tls_write(s->tls, (const uint8_t *)said, sizeof said));
        }
    }
    if (s->is_in) {
        hear(s);
    }
    free(exact);
}

/* Until it is over; `piece` bytes at a time. */
static void server_take_pieces(struct server *s, const uint8_t *bytes, size_t len, size_t piece)
{
    for (size_t at = 0; at < len && !s->is_over; at += piece) {
        server_take(s, bytes + at, len - at < piece ? len - at : piece);
    }
}

/* ---- the wire from the client to the server */

enum edit_kind { EDIT_FLIP, EDIT_SET, EDIT_INSERT, EDIT_DROP, EDIT_END, EDIT_KINDS };

struct edit {
    size_t at; /* of the client's stream */
    enum edit_kind kind;
    uint8_t value;
};

struct wire {
    uint8_t to_server[WIRE_BYTES], to_client[WIRE_BYTES];
    size_t to_server_len, to_client_len, to_client_taken;
    size_t sent; /* by the client, so far */
    struct edit edits[EDITS_MAX];
    unsigned edit_count;
    bool is_cut, is_changed;
};

static void put(struct wire *w, uint8_t byte)
{
    if (w->to_server_len < WIRE_BYTES) {
        w->to_server[w->to_server_len++] = byte;
    }
}

static void pass_on(struct wire *w, uint8_t byte)
{
    bool stays = true;
    for (unsigned i = 0; i < w->edit_count; i++) {
        const struct edit *const e = &w->edits[i];
        if (e->at != w->sent) {
            continue;
        }
        w->is_changed = true;
        switch (e->kind) {
        case EDIT_FLIP:
            byte ^= e->value;
            break;
        case EDIT_SET:
            byte = e->value;
            break;
        case EDIT_INSERT:
            put(w, e->value);
            break;
        case EDIT_DROP:
            stays = false;
            break;
        case EDIT_END:
        case EDIT_KINDS:
            w->is_cut = true;
            break;
        }
    }
    w->sent++;
    if (stays && !w->is_cut) {
        put(w, byte);
    }
}

static int client_sends(WOLFSSL *ssl, char *from, int len, void *context)
{
    (void)ssl;
    for (int i = 0; i < len; i++) {
        pass_on(context, (uint8_t)from[i]);
    }
    return len;
}

static int client_receives(WOLFSSL *ssl, char *to, int size, void *context)
{
    (void)ssl;
    struct wire *const w = context;
    const size_t left = w->to_client_len - w->to_client_taken;
    const size_t len = left < (size_t)size ? left : (size_t)size;
    if (len == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    memcpy(to, w->to_client + w->to_client_taken, len);
    w->to_client_taken += len;
    return (int)len;
}

static void bring_answers(struct wire *w, struct server *s)
{
    struct iovec iov[8];
    size_t bytes;
    unsigned count;
    while ((count = outbuf_gather(&s->out, iov, 8, &bytes)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            FUZZ_EXPECT(iov[i].iov_len <= WIRE_BYTES - w->to_client_len);
            memcpy(w->to_client + w->to_client_len, iov[i].iov_base, iov[i].iov_len);
            w->to_client_len += iov[i].iov_len;
        }
        outbuf_consume(&s->out, bytes);
    }
}

/* ---- the client */

struct wish {
    bool shows_certificate, is_1_2, takes_alpn;
    size_t piece;
};

static WOLFSSL_CTX *client_context(const struct wish *wish)
{
    WOLFSSL_CTX *const c =
        wolfSSL_CTX_new(wish->is_1_2 ? wolfTLSv1_2_client_method() : wolfTLSv1_3_client_method());
    FUZZ_EXPECT(c != NULL);
    wolfSSL_CTX_set_verify(c, WOLFSSL_VERIFY_NONE, NULL);
    if (wish->shows_certificate) {
        FUZZ_EXPECT(wolfSSL_CTX_use_certificate_chain_buffer(c, (const unsigned char *)client_pem,
                                                             sizeof client_pem - 1) ==
                    WOLFSSL_SUCCESS);
        FUZZ_EXPECT(wolfSSL_CTX_use_PrivateKey_buffer(c, (const unsigned char *)client_key,
                                                      sizeof client_key - 1,
                                                      WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS);
    }
    wolfSSL_SetIOSend(c, client_sends);
    wolfSSL_SetIORecv(c, client_receives);
    (void)wolfSSL_CTX_UseSessionTicket(c);
    return c;
}

/* What the client has heard, while what came was not changed, is what the server said. */
static bool client_hears(WOLFSSL *ssl, size_t *heard)
{
    char plain[sizeof said];
    const int len = wolfSSL_read(ssl, plain, sizeof plain);
    if (len > 0) {
        FUZZ_EXPECT((size_t)len <= sizeof said - *heard);
        FUZZ_EXPECT(memcmp(plain, said + *heard, (size_t)len) == 0);
        *heard += (size_t)len;
    }
    return len > 0 || wolfSSL_get_error(ssl, len) == WOLFSSL_ERROR_WANT_READ;
}

/* A whole conversation. What it leaves for the next one is the answer; NULL: nothing. */
static WOLFSSL_SESSION *talk(const struct wish *wish, struct wire *w, WOLFSSL_SESSION *former)
{
    WOLFSSL_CTX *const context = client_context(wish);
    WOLFSSL *const ssl = wolfSSL_new(context);
    WOLFSSL_SESSION *session = NULL;
    struct server server;
    server_open(&server, wish->shows_certificate ? named : open_house);
    FUZZ_EXPECT(ssl != NULL);
    wolfSSL_SetIOReadCtx(ssl, w);
    wolfSSL_SetIOWriteCtx(ssl, w);
    if (wish->takes_alpn) {
        char protocol[] = "mqtt";
        (void)wolfSSL_UseALPN(ssl, protocol, 4, WOLFSSL_ALPN_CONTINUE_ON_MISMATCH);
    }
    if (former != NULL) {
        FUZZ_EXPECT(wolfSSL_set_session(ssl, former) == WOLFSSL_SUCCESS);
    }
    bool is_in = false, goes_on = true;
    size_t heard = 0;
    for (unsigned round = 0; round < ROUNDS_MAX && goes_on && !server.is_over; round++) {
        if (!is_in) {
            const int ret = wolfSSL_connect(ssl);
            is_in = ret == WOLFSSL_SUCCESS;
            goes_on = is_in || wolfSSL_get_error(ssl, ret) == WOLFSSL_ERROR_WANT_READ;
            if (is_in) {
                goes_on = wolfSSL_write(ssl, said, sizeof said) == sizeof said;
            }
        } else {
            goes_on = client_hears(ssl, &heard) && heard < sizeof said;
        }
        server_take_pieces(&server, w->to_server, w->to_server_len, wish->piece);
        w->to_server_len = 0;
        bring_answers(w, &server);
    }
    if (!w->is_changed && w->sent > 0) {
        FUZZ_EXPECT(is_in && server.is_in);
        FUZZ_EXPECT(heard == sizeof said && server.heard == sizeof said);
        const struct bytes name = tls_peer_names(server.tls)->name[CERTIFICATE_COMMON_NAME];
        FUZZ_EXPECT(name.len == (wish->shows_certificate ? strlen("client") : 0));
        FUZZ_EXPECT(former == NULL || tls_resumed(server.tls));
        session = wolfSSL_get1_session(ssl);
    }
    wolfSSL_free(ssl);
    wolfSSL_CTX_free(context);
    server_close(&server);
    return session;
}

/* ---- the three strangers */

static void sender_of_anything(struct input *in)
{
    struct server server;
    const bool asked = (next(in) & 1) != 0;
    const size_t piece = 1 + (size_t)next(in) * 8;
    server_open(&server, asked ? named : open_house);
    server_take_pieces(&server, in->at, in->left, piece);
    FUZZ_EXPECT(!server.is_in); /* a guess at a signature, or at a hash */
    server_close(&server);
}

/* A session of that version to be resumed, which is young: wolfSSL's end after 500 seconds, on
 * either side, and its client does not get on with a server that has forgotten it sooner. */
static WOLFSSL_SESSION *former_of(bool is_1_2)
{
    static struct {
        WOLFSSL_SESSION *session;
        time_t made_s;
    } formers[2];
    const time_t now_s = time(NULL);
    if (formers[is_1_2].session == NULL || now_s - formers[is_1_2].made_s > YOUNG_S) {
        static struct wire w;
        const struct wish wish = {.is_1_2 = is_1_2, .takes_alpn = true, .piece = WIRE_BYTES};
        wolfSSL_SESSION_free(formers[is_1_2].session);
        w = (struct wire){.sent = 0};
        formers[is_1_2].session = talk(&wish, &w, NULL);
        formers[is_1_2].made_s = now_s;
        FUZZ_EXPECT(formers[is_1_2].session != NULL);
    }
    return formers[is_1_2].session;
}

static void client_on_a_bad_wire(struct input *in)
{
    static struct wire w;
    const uint8_t flags = next(in);
    const bool resumes = (flags & 4) != 0; /* where certificates are asked for nobody does */
    const struct wish wish = {.shows_certificate = (flags & 1) != 0 && !resumes,
                              .is_1_2 = (flags & 2) != 0,
                              .takes_alpn = (flags & 8) == 0,
                              .piece = 1 + (size_t)next(in) * 8};
    w = (struct wire){.sent = 0};
    while (in->left >= 4 && w.edit_count < EDITS_MAX) {
        struct edit *const e = &w.edits[w.edit_count++];
        e->at = next(in);
        e->at = e->at << 8 | next(in);
        e->kind = (enum edit_kind)(next(in) % EDIT_KINDS);
        e->value = next(in);
    }
    wolfSSL_SESSION_free(talk(&wish, &w, resumes ? former_of(wish.is_1_2) : NULL));
}

/* Does it hold what the authority has signed in that certificate? Its first element, that is. */
static bool holds_signed(struct bytes text, const char *pem)
{
    uint8_t der[1024];
    const int len = wolfSSL_CertPemToDer((const unsigned char *)pem, (int)strlen(pem), der,
                                         sizeof der, CERT_TYPE);
    const size_t at = 4, signed_len = 4 + ((size_t)der[6] << 8 | der[7]);
    FUZZ_EXPECT(len > 0 && der[1] == 0x82 && der[5] == 0x82 && at + signed_len < (size_t)len);
    return memmem(text.at, text.len, der + at, signed_len) != NULL;
}

/* Whoever is let in bears what the authority signed. */
static void bearer_of_a_certificate(struct input *in)
{
    struct certificate_names names;
    uint8_t *const exact = malloc(in->left == 0 ? 1 : in->left);
    const struct bytes text = bytes_of(exact, in->left);
    FUZZ_EXPECT(exact != NULL);
    memcpy(exact, in->at, in->left);
    if (wolfSSL_CertManagerVerifyBuffer(tls_context_trusted(named), exact, (long)in->left,
                                        WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS) {
        FUZZ_EXPECT(holds_signed(text, client_pem) || holds_signed(text, server_pem) ||
                    holds_signed(text, authority_pem));
        FUZZ_EXPECT(certificate_names_decode(&names, text));
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {.at = data, .left = size};
    begin();
    switch (next(&in) % 3) {
    case 0:
        sender_of_anything(&in);
        break;
    case 1:
        client_on_a_bad_wire(&in);
        break;
    default:
        bearer_of_a_certificate(&in);
        break;
    }
    return 0;
}
