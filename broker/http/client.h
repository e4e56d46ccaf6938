/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: asks HTTP servers, on a thread of its own, by libcurl (with GnuTLS; none of the libraries
 * that it brings has a symbol in common with wolfSSL).
 *
 *   any thread ── http_client_ask() ─▶ waiting ─▶ in flight ── answered(), on the client's thread
 *
 * Connections are kept and used again. At the bounds: more than `in_flight_max` requests wait, more
 * than `waiting_max` are refused; an answer of more than `answer_bytes_max` is an error. No
 * redirect is followed: who may be asked is the operator's to say.
 *
 * Owner: the main thread. A request is the asker's until http_client_ask() took it, then the
 * client's, and from answered() on whose that makes it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

enum http_err {
    HTTP_OK = 0, /* there is an answer, whatever its status */
    HTTP_NO_MEMORY,
    HTTP_UNREACHABLE, /* no connection, or it broke; also TLS that is not as it should be */
    HTTP_TIMED_OUT,
    HTTP_TOO_LARGE,
    HTTP_STOPPED, /* the client ends */
};

struct http_request {
    struct http_request *next;
    void *easy;     /* libcurl's; the client's own, as is */
    uint32_t place; /* … among those in flight */
    uint32_t answer_bytes_max;
    char *body; /* JSON, owned, wiped when it has been sent; NULL: GET */
    size_t body_len;
    void (*answered)(struct http_request *r); /* on the client's thread: short, and never waits */

    enum http_err err;
    unsigned status;
    char *answer; /* owned; ends with a 0 that is not counted; NULL: none */
    size_t answer_len;
    char why[256]; /* of an error, for the log */
};

/* Body and answer go. The rest is the caller's. */
void http_request_fini(struct http_request *r);

struct http_client_conf {
    const char *url;           /* all texts: copies are taken */
    const char *ca_file;       /* PEM; "": the system's */
    const char *authorization; /* value of that header; "": none is sent. Never logged */
    uint32_t timeout_ms;       /* of a request in flight */
    uint32_t in_flight_max;
    uint32_t waiting_max;
    uint32_t answer_bytes_max;
};

struct http_client;

/* NULL: no memory, or no thread. */
NODISCARD struct http_client *http_client_start(const struct http_client_conf *conf);

/* false: too many wait, or it ends; the request is still the caller's. Any thread. */
NODISCARD bool http_client_ask(struct http_client *c, struct http_request *r);

/* Waiting and in flight. Any thread. */
unsigned http_client_load(const struct http_client *c);

/* All that is under way is answered with HTTP_STOPPED, as is what is asked later. */
void http_client_stop(struct http_client *c);
void http_client_destroy(struct http_client *c); /* stopped; nobody asks any more. NULL is fine */

const char *http_err_text(enum http_err err);
