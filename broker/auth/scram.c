/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/scram.h"

#include <assert.h>
#include <gsasl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>

#include "broker/auth/password_base64.h"

#define MECHANISM "SCRAM-SHA-256"
#define KEY_BYTES 32u

static_assert(PASSWORD_SALT_BYTES_MAX == WC_SHA512_DIGEST_SIZE, "a derived salt is long enough");
static_assert(2 * PASSWORD_SCRAM_BYTES == WC_SHA512_DIGEST_SIZE, "two keys are derived at once");

struct scram_server {
    Gsasl *gsasl;
    uint8_t key[KEY_BYTES]; /* what strangers get is derived with it */
};

struct scram {
    const struct scram_server *server;
    const struct password_file *users; /* during a step */
    Gsasl_session *session;
    bool invited;              /* the server has begun */
    bool is_known;             /* `line` is a user's, not made up */
    bool failed;               /* a callback had no memory */
    struct password_hash line; /* once the user is named */
};

/* ---- what there is of a user */

/* HMAC-SHA512 of the use and the name. */
static bool derive(const struct scram_server *server, char use, struct bytes name,
                   uint8_t out[WC_SHA512_DIGEST_SIZE])
{
    Hmac h;
    if (wc_HmacInit(&h, NULL, INVALID_DEVID) != 0) {
        return false;
    }
    const bool ok = wc_HmacSetKey(&h, WC_SHA512, server->key, sizeof server->key) == 0 &&
                    wc_HmacUpdate(&h, (const byte *)&use, 1) == 0 &&
                    wc_HmacUpdate(&h, name.at, (word32)name.len) == 0 && wc_HmacFinal(&h, out) == 0;
    wc_HmacFree(&h);
    explicit_bzero(&h, sizeof h);
    return ok;
}

/* A line for who has none: of keys that no password has. */
static bool make_up(struct scram *x, struct bytes name)
{
    const struct password_hash *const like = password_file_first_scram(x->users);
    uint8_t keys[WC_SHA512_DIGEST_SIZE];
    x->line = (struct password_hash){
        .form = PASSWORD_SCRAM_SHA256,
        .iterations = like == NULL ? PASSWORD_SCRAM_ITERATIONS : like->iterations,
        .salt_len = like == NULL ? PASSWORD_NEW_SALT_BYTES : like->salt_len,
        .digest_len = PASSWORD_SCRAM_BYTES};
    if (!derive(x->server, 's', name, x->line.salt) || !derive(x->server, 'k', name, keys)) {
        return false;
    }
    memcpy(x->line.digest, keys, PASSWORD_SCRAM_BYTES);
    memcpy(x->line.server_key, keys + PASSWORD_SCRAM_BYTES, PASSWORD_SCRAM_BYTES);
    return true;
}

static bool find(struct scram *x, struct bytes name)
{
    const struct password_hash *const line = password_file_find(x->users, name);
    x->is_known = line != NULL && line->form == PASSWORD_SCRAM_SHA256;
    if (!x->is_known) {
        return make_up(x, name);
    }
    x->line = *line;
    return true;
}

static int set_base64(Gsasl_session *session, Gsasl_property property, const uint8_t *at,
                      size_t len)
{
    char text[PASSWORD_BASE64_TEXT(PASSWORD_SALT_BYTES_MAX)];
    password_base64_encode(text, bytes_of(at, len), PASSWORD_BASE64_PADDED);
    const int err = gsasl_property_set(session, property, text);
    explicit_bzero(text, sizeof text);
    return err;
}

static int set_line(Gsasl_session *session, const struct password_hash *line)
{
    char iterations[12];
    snprintf(iterations, sizeof iterations, "%u", line->iterations);
    int err = gsasl_property_set(session, GSASL_SCRAM_ITER, iterations);
    if (err == GSASL_OK) {
        err = set_base64(session, GSASL_SCRAM_SALT, line->salt, line->salt_len);
    }
    if (err == GSASL_OK) {
        err = set_base64(session, GSASL_SCRAM_STOREDKEY, line->digest, PASSWORD_SCRAM_BYTES);
    }
    if (err == GSASL_OK) {
        err = set_base64(session, GSASL_SCRAM_SERVERKEY, line->server_key, PASSWORD_SCRAM_BYTES);
    }
    return err;
}

/* The library wants to know something: first the iterations, when it knows the user's name. */
static int asked(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
    (void)gsasl;
    if (property != GSASL_SCRAM_ITER) {
        return GSASL_NO_CALLBACK;
    }
    struct scram *const x = gsasl_session_hook_get(session);
    const int err = find(x, scram_user(x)) ? set_line(session, &x->line) : GSASL_MALLOC_ERROR;
    x->failed = x->failed || err != GSASL_OK;
    return err;
}

/* ---- servers */

struct scram_server *scram_server_create(void)
{
    struct scram_server *const server = calloc(1, sizeof *server);
    if (server == NULL) {
        return NULL;
    }
    if (getrandom(server->key, sizeof server->key, 0) != (ssize_t)sizeof server->key ||
        gsasl_init(&server->gsasl) != GSASL_OK) {
        free(server);
        return NULL;
    }
    gsasl_callback_set(server->gsasl, asked);
    if (!gsasl_server_support_p(server->gsasl, MECHANISM)) {
        scram_server_destroy(server);
        return NULL;
    }
    return server;
}

void scram_server_destroy(struct scram_server *server)
{
    if (server != NULL) {
        gsasl_done(server->gsasl);
        explicit_bzero(server, sizeof *server);
        free(server);
    }
}

/* ---- exchanges */

struct scram *scram_begin(const struct scram_server *server)
{
    struct scram *const x = calloc(1, sizeof *x);
    if (x == NULL) {
        return NULL;
    }
    x->server = server;
    if (gsasl_server_start(server->gsasl, MECHANISM, &x->session) != GSASL_OK) {
        free(x);
        return NULL;
    }
    gsasl_session_hook_set(x->session, x);
    return x;
}

void scram_end(struct scram *x)
{
    if (x != NULL) {
        gsasl_finish(x->session);
        explicit_bzero(x, sizeof *x);
        free(x);
    }
}

struct bytes scram_user(const struct scram *x)
{
    const char *const name = gsasl_property_fast(x->session, GSASL_AUTHID);
    return name == NULL ? bytes_of(NULL, 0) : bytes_text(name);
}

const struct password_hash *scram_line(const struct scram *x)
{
    return x->is_known ? &x->line : NULL;
}

static bool is_named(const struct scram *x)
{
    return scram_user(x).len > 0;
}

/* Nobody may act for another. */
static bool acts_for_another(const struct scram *x)
{
    const char *const acts_as = gsasl_property_fast(x->session, GSASL_AUTHZID);
    return acts_as != NULL && acts_as[0] != '\0' &&
           !bytes_equal(bytes_text(acts_as), scram_user(x));
}

static enum scram_result result_of(const struct scram *x, int err, bool was_named)
{
    if (err == GSASL_MALLOC_ERROR || err == GSASL_CRYPTO_ERROR || x->failed) {
        return SCRAM_FAILED;
    }
    switch (err) {
    case GSASL_NEEDS_MORE:
        return acts_for_another(x) ? SCRAM_MALFORMED : SCRAM_GO_ON;
    case GSASL_OK:
        return x->is_known ? SCRAM_RIGHT : SCRAM_WRONG;
    default:
        return was_named && err == GSASL_AUTHENTICATION_ERROR ? SCRAM_WRONG : SCRAM_MALFORMED;
    }
}

static enum scram_result invite(struct scram *x, size_t *answer_len)
{
    if (x->invited) {
        return SCRAM_MALFORMED;
    }
    x->invited = true;
    *answer_len = 0;
    return SCRAM_GO_ON;
}

enum scram_result scram_step(struct scram *x, const struct password_file *users,
                             struct bytes message, uint8_t answer[SCRAM_ANSWER_BYTES_MAX],
                             size_t *answer_len)
{
    const bool was_named = is_named(x);
    if (message.len == 0 && !was_named) {
        return invite(x, answer_len);
    }
    /* The library takes a name up to its first NUL, and lets a channel be bound to that it does not
     * look at. */
    if (message.len == 0 || message.len > SCRAM_MESSAGE_BYTES_MAX ||
        memchr(message.at, '\0', message.len) != NULL || (!was_named && message.at[0] == 'p')) {
        return SCRAM_MALFORMED;
    }
    char *out = NULL;
    size_t out_len = 0;
    x->users = users;
    const int err = gsasl_step(x->session, (const char *)message.at, message.len, &out, &out_len);
    x->users = NULL;
    enum scram_result result = result_of(x, err, was_named);
    if (out_len > SCRAM_ANSWER_BYTES_MAX) {
        result = SCRAM_MALFORMED;
    } else if ((result == SCRAM_GO_ON || result == SCRAM_RIGHT) && out_len > 0) {
        memcpy(answer, out, out_len);
        *answer_len = out_len;
    }
    gsasl_free(out);
    return result;
}
