/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/http/client.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#define POLL_MS 1000 /* libcurl's own time-outs end it earlier */

struct http_client {
    char *url, *ca_file;
    struct curl_slist *headers;
    uint32_t timeout_ms, in_flight_max, waiting_max, answer_bytes_max;
    CURLM *multi;                 /* the thread's; but for curl_multi_wakeup() */
    struct http_request **flying; /* [in_flight], the thread's; room for in_flight_max */
    uint32_t in_flight;

    pthread_mutex_t lock; /* of all below; never held for long */
    struct http_request *first, *last;
    unsigned waiting;
    bool stopping;

    _Atomic unsigned load;
    pthread_t thread;
    bool started;
};

const char *http_err_text(enum http_err err)
{
    switch (err) {
    case HTTP_OK:
        return "there is an answer";
    case HTTP_NO_MEMORY:
        return "out of memory";
    case HTTP_UNREACHABLE:
        return "the server cannot be reached";
    case HTTP_TIMED_OUT:
        return "the server did not answer in time";
    case HTTP_TOO_LARGE:
        return "the answer is too large";
    case HTTP_STOPPED:
        return "the broker is ending";
    }
    return "";
}

/* ---- requests */

static void wipe_body(struct http_request *r)
{
    if (r->body != NULL) {
        explicit_bzero(r->body, r->body_len);
        free(r->body);
        r->body = NULL;
    }
}

void http_request_fini(struct http_request *r)
{
    wipe_body(r);
    free(r->answer);
    r->answer = NULL;
}

/* CURLOPT_WRITEFUNCTION: less than `len` ends the transfer. */
static size_t take_answer(char *data, size_t size, size_t count, void *request)
{
    struct http_request *const r = request;
    const size_t len = size * count;
    if (len > r->answer_bytes_max - r->answer_len) {
        r->err = HTTP_TOO_LARGE;
        return 0;
    }
    char *const grown = realloc(r->answer, r->answer_len + len + 1);
    if (grown == NULL) {
        r->err = HTTP_NO_MEMORY;
        return 0;
    }
    r->answer = grown;
    memcpy(r->answer + r->answer_len, data, len);
    r->answer_len += len;
    r->answer[r->answer_len] = '\0';
    return len;
}

static enum http_err err_of(const struct http_request *r, CURLcode code)
{
    if (r->err != HTTP_OK || code == CURLE_OK) {
        return r->err;
    }
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_TIMED_OUT;
    case CURLE_OUT_OF_MEMORY:
        return HTTP_NO_MEMORY;
    default:
        return HTTP_UNREACHABLE;
    }
}

static bool prepare(const struct http_client *c, struct http_request *r, CURL *easy)
{
    CURLcode bad = CURLE_OK;
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},       {CURLOPT_TIMEOUT_MS, (long)c->timeout_ms},
        {CURLOPT_FOLLOWLOCATION, 0}, {CURLOPT_MAXREDIRS, 0},
        {CURLOPT_SSL_VERIFYPEER, 1}, {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_TCP_KEEPALIVE, 1},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        bad |= curl_easy_setopt(easy, numbers[i].option, numbers[i].value);
    }
    bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    bad |= curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
    bad |= curl_easy_setopt(easy, CURLOPT_URL, c->url);
    bad |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, c->headers);
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
    bad |= curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
    bad |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->why);
    if (c->ca_file[0] != '\0') {
        bad |= curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca_file);
    }
    if (r->body != NULL) {
        bad |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)r->body_len);
        bad |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r->body);
    }
    return bad == CURLE_OK;
}

/* It has come to its end; `r` is not ours any more. */
static void finish(struct http_client *c, struct http_request *r, enum http_err err)
{
    if (r->easy != NULL) {
        long status = 0;
        (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status); /* 0, if it cannot say */
        r->status = (unsigned)status;
        curl_multi_remove_handle(c->multi, r->easy);
        curl_easy_cleanup(r->easy);
        r->easy = NULL;
        c->flying[r->place] = c->flying[--c->in_flight];
        c->flying[r->place]->place = r->place;
    }
    r->err = err;
    wipe_body(r);
    atomic_fetch_sub_explicit(&c->load, 1, memory_order_relaxed);
    r->answered(r);
}

static void begin(struct http_client *c, struct http_request *r)
{
    r->easy = curl_easy_init();
    if (r->easy == NULL) {
        finish(c, r, HTTP_NO_MEMORY);
        return;
    }
    assert(c->in_flight < c->in_flight_max);
    r->answer_bytes_max = c->answer_bytes_max;
    r->place = c->in_flight;
    c->flying[c->in_flight++] = r;
    if (!prepare(c, r, r->easy) || curl_multi_add_handle(c->multi, r->easy) != CURLM_OK) {
        finish(c, r, HTTP_NO_MEMORY);
    }
}

/* ---- the thread */

static struct http_request *take_waiting(struct http_client *c)
{
    struct http_request *r = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->first != NULL) {
        r = c->first;
        c->first = r->next;
        c->last = c->first == NULL ? NULL : c->last;
        c->waiting--;
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

static bool is_stopping(struct http_client *c)
{
    pthread_mutex_lock(&c->lock);
    const bool stopping = c->stopping;
    pthread_mutex_unlock(&c->lock);
    return stopping;
}

/* Has any come to its end? */
static bool finish_done(struct http_client *c)
{
    bool any = false;
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
        struct http_request *r = NULL;
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r) == CURLE_OK) {
            finish(c, r, err_of(r, m->data.result));
            any = true;
        }
    }
    return any;
}

static void finish_all(struct http_client *c)
{
    for (struct http_request *r; (r = take_waiting(c)) != NULL;) {
        finish(c, r, HTTP_STOPPED);
    }
    while (c->in_flight > 0) {
        finish(c, c->flying[0], HTTP_STOPPED);
    }
}

static void *run(void *client)
{
    struct http_client *const c = client;
    while (!is_stopping(c)) {
        int running;
        for (struct http_request *r;
             c->in_flight < c->in_flight_max && (r = take_waiting(c)) != NULL;) {
            begin(c, r);
        }
        if (curl_multi_perform(c->multi, &running) != CURLM_OK || !finish_done(c)) {
            (void)curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL); /* or we look too early */
        }
    }
    finish_all(c);
    return NULL;
}

/* ---- asking */

bool http_client_ask(struct http_client *c, struct http_request *r)
{
    pthread_mutex_lock(&c->lock);
    const bool taken = !c->stopping && c->waiting < c->waiting_max;
    if (taken) {
        r->next = NULL;
        if (c->last == NULL) {
            c->first = r;
        } else {
            c->last->next = r;
        }
        c->last = r;
        c->waiting++;
        atomic_fetch_add_explicit(&c->load, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&c->lock);
    if (taken) {
        curl_multi_wakeup(c->multi);
    }
    return taken;
}

unsigned http_client_load(const struct http_client *c)
{
    return atomic_load_explicit(&c->load, memory_order_relaxed);
}

/* ---- beginning and end */

static bool make_headers(struct http_client *c, const char *authorization)
{
    static const char name[] = "Authorization: ";
    c->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (c->headers == NULL || authorization[0] == '\0') {
        return c->headers != NULL;
    }
    char *const line = malloc(sizeof name + strlen(authorization));
    if (line == NULL) {
        return false;
    }
    strcpy(line, name);
    strcat(line, authorization);
    struct curl_slist *const more = curl_slist_append(c->headers, line);
    explicit_bzero(line, strlen(line));
    free(line);
    return more != NULL;
}

static bool set_up(struct http_client *c, const struct http_client_conf *conf)
{
    c->url = strdup(conf->url);
    c->ca_file = strdup(conf->ca_file);
    c->flying = calloc(conf->in_flight_max, sizeof c->flying[0]);
    c->multi = curl_multi_init();
    return c->url != NULL && c->ca_file != NULL && c->flying != NULL && c->multi != NULL &&
           make_headers(c, conf->authorization) &&
           curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)conf->in_flight_max) == CURLM_OK;
}

struct http_client *http_client_start(const struct http_client_conf *conf)
{
    struct http_client *const c = calloc(1, sizeof *c);
    if (c == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) { /* counts its callers */
        free(c);
        return NULL;
    }
    c->timeout_ms = conf->timeout_ms;
    c->in_flight_max = conf->in_flight_max;
    c->waiting_max = conf->waiting_max;
    c->answer_bytes_max = conf->answer_bytes_max;
    pthread_mutex_init(&c->lock, NULL);
    if (!set_up(c, conf) || pthread_create(&c->thread, NULL, run, c) != 0) {
        http_client_destroy(c);
        return NULL;
    }
    c->started = true;
    pthread_setname_np(c->thread, "http");
    return c;
}

void http_client_stop(struct http_client *c)
{
    if (!c->started) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
    pthread_join(c->thread, NULL);
    c->started = false;
}

void http_client_destroy(struct http_client *c)
{
    if (c == NULL) {
        return;
    }
    if (c->multi != NULL) {
        curl_multi_cleanup(c->multi);
    }
    curl_slist_free_all(c->headers);
    curl_global_cleanup();
    pthread_mutex_destroy(&c->lock);
    free(c->flying);
    free(c->url);
    free(c->ca_file);
    free(c);
}
