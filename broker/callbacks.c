/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/callbacks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/answers.h"
#include "broker/auth/attempts.h"
#include "broker/config/config.h"
#include "broker/config/file_text.h"
#include "broker/log/log.h"
#include "broker/node.h"

#define SECRET_BYTES_MAX        4096u
#define SERVER_ANSWER_BYTES_MAX 65536u
#define REMEMBER_NO_MS          5000u /* who was just made known to the server comes in soon */

struct callbacks {
    struct http_client *client;
    struct answers answers;
    uint64_t seed;
    uint64_t (*clock_ms)(void);
    pthread_mutex_t lock; /* of `attempts`; never held for long */
    struct attempts attempts;
    _Atomic bool away; /* the last answer was none */
};

/* ---- who was refused too often */

static bool is_allowed(struct callbacks *c, const struct callback *one)
{
    const uint64_t now_ms = c->clock_ms();
    const uint32_t most = one->failures_per_minute;
    pthread_mutex_lock(&c->lock);
    const bool allowed =
        attempts_allowed(&c->attempts, one->user_hash, most, now_ms) &&
        (one->address_hash == 0 || attempts_allowed(&c->attempts, one->address_hash, most, now_ms));
    pthread_mutex_unlock(&c->lock);
    return allowed;
}

static void count_failure(struct callbacks *c, const struct callback *one)
{
    const uint64_t now_ms = c->clock_ms();
    pthread_mutex_lock(&c->lock);
    attempts_failed(&c->attempts, one->user_hash, one->failures_per_minute, now_ms);
    if (one->address_hash != 0) {
        attempts_failed(&c->attempts, one->address_hash, one->failures_per_minute, now_ms);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- answers */

/* Once for each change: a server that is away is so for thousands. */
static void note_server(struct callbacks *c, bool away, const char *why)
{
    if (atomic_exchange_explicit(&c->away, away, memory_order_relaxed) == away) {
        return;
    }
    if (away) {
        log_event(LOG_ERROR, "http_away", LOG_TEXT("reason", why),
                  LOG_TEXT("meaning", "http.when_away decides on clients until it answers"));
    } else {
        log_event(LOG_INFO, "http_back");
    }
}

static uint64_t remembered_for_ms(const struct callback *one)
{
    const uint64_t most_ms = (uint64_t)one->remember_s * 1000;
    return one->verdict.result != CALLBACK_ALLOW && most_ms > REMEMBER_NO_MS ? REMEMBER_NO_MS
                                                                             : most_ms;
}

static void judge(struct callback *one)
{
    struct callbacks *const c = one->callbacks;
    const struct http_request *const r = &one->http;
    one->err = r->err;
    one->verdict =
        (struct callback_verdict){.result = CALLBACK_UNCLEAR, .wrong = "its status is not 200"};
    if (r->err == HTTP_OK && r->status == 200) {
        callback_read(&one->verdict, bytes_of(r->answer, r->answer_len));
    }
    if (r->err == HTTP_STOPPED) {
        return;
    }
    const bool clear = one->verdict.result != CALLBACK_UNCLEAR;
    const char *const why = r->err == HTTP_OK ? one->verdict.wrong : http_err_text(r->err);
    note_server(c, !clear, r->why[0] != '\0' && r->err == HTTP_UNREACHABLE ? r->why : why);
    if (one->verdict.result == CALLBACK_DENY && !one->again) {
        count_failure(c, one);
    }
    if (clear && one->provable && one->remember_s > 0) {
        answers_add(&c->answers, &one->proof, c->clock_ms(), remembered_for_ms(one),
                    bytes_of(r->answer, r->answer_len), one->verdict.expires_in_s);
    }
}

static void answered(struct http_request *r)
{
    struct callback *const one = (struct callback *)r;
    judge(one);
    http_request_fini(r);
    one->judged(one);
}

/* ---- asking */

enum callbacks_asked callbacks_ask(struct callbacks *c, struct callback *one,
                                   const struct callback_client *client,
                                   const struct in6_addr *address)
{
    one->callbacks = c;
    one->user_hash = attempts_hash(c->seed, client->user_name);
    one->address_hash = attempts_hash_address(c->seed, address);
    one->again = client->again;
    one->provable = !client->again && answers_prove(&c->answers, &one->proof, client);
    if (one->provable && answers_find(&c->answers, &one->proof, c->clock_ms(), &one->verdict)) {
        return CALLBACKS_REMEMBERED;
    }
    if (!client->again && !is_allowed(c, one)) {
        return CALLBACKS_LIMITED;
    }
    one->http.body = callback_question(client);
    if (one->http.body == NULL) {
        return CALLBACKS_BUSY;
    }
    one->http.body_len = strlen(one->http.body);
    one->http.answered = answered;
    if (!http_client_ask(c->client, &one->http)) {
        http_request_fini(&one->http);
        return CALLBACKS_BUSY;
    }
    return CALLBACKS_ASKED;
}

unsigned callbacks_load(const struct callbacks *c)
{
    return c == NULL ? 0 : http_client_load(c->client);
}

/* ---- beginning and end */

/* The first line of the file; false: it cannot be read, or has nothing; told. */
static bool read_secret(const char *file, char **secret)
{
    size_t len;
    if (file[0] == '\0') {
        *secret = strdup("");
        return *secret != NULL;
    }
    const int err = file_text_read(file, SECRET_BYTES_MAX, secret, &len);
    if (err != 0) {
        log_event(LOG_ERROR, "http_authorization_refused", LOG_TEXT("file", file),
                  LOG_ERRNO("error", err));
        return false;
    }
    (*secret)[strcspn(*secret, "\r\n")] = '\0';
    if ((*secret)[0] == '\0') {
        log_event(LOG_ERROR, "http_authorization_refused", LOG_TEXT("file", file),
                  LOG_TEXT("error", "its first line is empty"));
        return false;
    }
    return true;
}

static struct http_client *start_client(const struct config_http *config)
{
    char *secret = NULL;
    struct http_client *client = NULL;
    if (read_secret(config->authorization_file, &secret)) {
        const struct http_client_conf conf = {.url = config->url,
                                              .ca_file = config->ca_file,
                                              .authorization = secret,
                                              .timeout_ms = config->timeout_ms,
                                              .in_flight_max = config->in_flight_max,
                                              .waiting_max = config->waiting_max,
                                              .answer_bytes_max = SERVER_ANSWER_BYTES_MAX};
        client = http_client_start(&conf);
        if (client == NULL) {
            log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "http"));
        }
    }
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
    return client;
}

bool callbacks_open(struct callbacks **out, const struct node *node,
                    const struct config_http *config)
{
    *out = NULL;
    if (config->url[0] == '\0') {
        return true;
    }
    struct callbacks *const c = calloc(1, sizeof *c);
    if (c == NULL || !answers_init(&c->answers)) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "http"));
        free(c);
        return false;
    }
    c->seed = node->seed;
    c->clock_ms = node->clock_ms;
    pthread_mutex_init(&c->lock, NULL);
    c->client = start_client(config);
    if (c->client == NULL) {
        callbacks_close(c);
        return false;
    }
    *out = c;
    return true;
}

void callbacks_stop(struct callbacks *c)
{
    if (c != NULL) {
        http_client_stop(c->client);
    }
}

void callbacks_close(struct callbacks *c)
{
    if (c != NULL) {
        http_client_destroy(c->client);
        answers_fini(&c->answers);
        pthread_mutex_destroy(&c->lock);
        free(c);
    }
}
