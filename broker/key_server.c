/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/key_server.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "broker/auth/token_keys.h"
#include "broker/http/client.h"
#include "broker/http/fetch_times.h"
#include "proto/bytes.h"

/* For longer a client is not kept waiting, which would go meanwhile. */
#define WORTH_WAITING_MS 2000u

struct key_server {
    struct key_server_conf conf; /* the texts are not looked at after the start */
    struct http_client *client;
    struct http_request request; /* HTTP's from its being asked for until it has `arrived` */
    bool good;                   /* what was taken last; main's */

    pthread_mutex_t lock; /* of the next two; never held for long */
    struct fetch_times times;
    bool arrived; /* there is an answer, or a reason why not; not taken yet */

    /* Written by main, read by any thread; relaxed. */
    _Atomic uint64_t fetched, failed;
    _Atomic uint64_t came_ms;
};

/* On HTTP's thread. */
static void answered(struct http_request *r)
{
    struct key_server *const s =
        (struct key_server *)(void *)((char *)r - offsetof(struct key_server, request));
    pthread_mutex_lock(&s->lock);
    s->arrived = true;
    pthread_mutex_unlock(&s->lock);
    s->conf.wake(s->conf.context);
}

/* ---- asking */

bool key_server_seek(struct key_server *s)
{
    if (s == NULL) {
        return false;
    }
    const uint64_t now_ms = s->conf.clock_ms();
    pthread_mutex_lock(&s->lock);
    const uint64_t before = fetch_times_left(&s->times, now_ms);
    const uint64_t left = fetch_times_seek(&s->times, now_ms);
    const bool sooner = !s->times.under_way && left < before;
    pthread_mutex_unlock(&s->lock);
    if (sooner) {
        s->conf.wake(s->conf.context);
    }
    return left <= WORTH_WAITING_MS;
}

void key_server_turn(struct key_server *s)
{
    pthread_mutex_lock(&s->lock);
    const bool begins = fetch_times_begin(&s->times, s->conf.clock_ms());
    pthread_mutex_unlock(&s->lock);
    if (begins) {
        s->request = (struct http_request){.answered = answered};
        const bool asked = http_client_ask(s->client, &s->request);
        assert(asked); /* one at a time, and by main, before it stops the client */
        (void)asked;
    }
}

uint64_t key_server_left_ms(struct key_server *s)
{
    pthread_mutex_lock(&s->lock);
    const uint64_t left = fetch_times_left(&s->times, s->conf.clock_ms());
    pthread_mutex_unlock(&s->lock);
    return left;
}

/* ---- an answer */

/* NULL: *wrong says why. */
static struct token_keys *keys_of(const struct http_request *r, const char **wrong)
{
    if (r->err != HTTP_OK) {
        *wrong = r->err == HTTP_UNREACHABLE && r->why[0] != '\0' ? r->why : http_err_text(r->err);
        return NULL;
    }
    if (r->status != 200) {
        *wrong = "its status is not 200";
        return NULL;
    }
    if (r->answer == NULL) {
        *wrong = "the answer is empty";
        return NULL;
    }
    return token_keys_parse(bytes_of(r->answer, r->answer_len), wrong);
}

static bool has_arrived(struct key_server *s)
{
    pthread_mutex_lock(&s->lock);
    const bool arrived = s->arrived;
    s->arrived = false;
    pthread_mutex_unlock(&s->lock);
    return arrived;
}

enum key_server_news key_server_take(struct key_server *s, struct token_keys **keys,
                                     const char **wrong)
{
    *keys = NULL;
    if (!has_arrived(s)) {
        return KEY_SERVER_NOTHING;
    }
    *keys = keys_of(&s->request, wrong);
    http_request_fini(&s->request);
    s->good = *keys != NULL;
    atomic_fetch_add_explicit(s->good ? &s->fetched : &s->failed, 1, memory_order_relaxed);
    if (s->good) {
        atomic_store_explicit(&s->came_ms, s->conf.clock_ms(), memory_order_relaxed);
    }
    return s->good ? KEY_SERVER_KEYS : KEY_SERVER_NONE;
}

void key_server_settle(struct key_server *s)
{
    pthread_mutex_lock(&s->lock);
    fetch_times_end(&s->times, s->good, s->conf.clock_ms());
    pthread_mutex_unlock(&s->lock);
}

/* ---- figures */

uint64_t key_server_fetched(const struct key_server *s)
{
    return s == NULL ? 0 : atomic_load_explicit(&s->fetched, memory_order_relaxed);
}

uint64_t key_server_failed(const struct key_server *s)
{
    return s == NULL ? 0 : atomic_load_explicit(&s->failed, memory_order_relaxed);
}

uint64_t key_server_age_s(const struct key_server *s)
{
    if (s == NULL) {
        return 0;
    }
    const uint64_t came_ms = atomic_load_explicit(&s->came_ms, memory_order_relaxed);
    const uint64_t now_ms = s->conf.clock_ms();
    return now_ms > came_ms ? (now_ms - came_ms) / 1000 : 0;
}

/* ---- beginning and end */

struct key_server *key_server_start(const struct key_server_conf *conf)
{
    struct key_server *const s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    const uint64_t now_ms = conf->clock_ms();
    s->conf = *conf;
    s->came_ms = now_ms;
    pthread_mutex_init(&s->lock, NULL);
    fetch_times_init(&s->times, conf->refresh_ms, conf->pause_ms, now_ms);
    const struct http_client_conf http = {.url = conf->url,
                                          .ca_file = conf->ca_file,
                                          .authorization = "",
                                          .timeout_ms = conf->timeout_ms,
                                          .in_flight_max = 1,
                                          .waiting_max = 1,
                                          .answer_bytes_max = TOKEN_KEYS_BYTES_MAX};
    s->client = http_client_start(&http);
    if (s->client == NULL) {
        key_server_destroy(s);
        return NULL;
    }
    return s;
}

void key_server_stop(struct key_server *s)
{
    if (s != NULL) {
        http_client_stop(s->client);
    }
}

void key_server_destroy(struct key_server *s)
{
    if (s != NULL) {
        http_client_destroy(s->client);
        http_request_fini(&s->request);
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
}
