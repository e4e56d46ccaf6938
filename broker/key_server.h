/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_server: the server that has the keys of tokens (token.keys_url). They are fetched now and
 * then, and sooner when a token names one that is unknown.
 *
 *   gate ── key_server_seek() ─▶ main, woken ── key_server_turn() ─▶ HTTP's thread ─▶ main, woken
 *        ── key_server_take() ─▶ tokens.c puts them in force ── key_server_settle()
 *
 * Owner: the main thread; what other threads may call says so. Memory: an answer of
 * TOKEN_KEYS_BYTES_MAX at most, and the keys in it. At the bound: an answer that is none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct key_server;
struct token_keys;

struct key_server_conf {
    const char *url, *ca_file; /* as struct http_client_conf has them */
    uint32_t timeout_ms;
    uint64_t refresh_ms, pause_ms; /* as struct fetch_times has them */
    uint64_t (*clock_ms)(void);
    void (*wake)(
        void *context); /* has main call key_server_turn() and key_server_take(): any thread */
    void *context;
};

/* NULL: no memory, or no thread. */
NODISCARD struct key_server *key_server_start(const struct key_server_conf *conf);
void key_server_stop(struct key_server *s);    /* nothing is under way afterwards; NULL is fine */
void key_server_destroy(struct key_server *s); /* stopped; nobody asks any more. NULL is fine */

/* Something is missing: will there be an answer, settled after this, so soon that it is worth
 * waiting for? In any case it is fetched as soon as may be. Any thread; NULL: no. */
bool key_server_seek(struct key_server *s);

/* Begins to fetch, if it is time. */
void key_server_turn(struct key_server *s);

/* Milliseconds until it is. */
uint64_t key_server_left_ms(struct key_server *s);

enum key_server_news {
    KEY_SERVER_NOTHING, /* since the last time */
    KEY_SERVER_KEYS,    /* *keys is the caller's */
    KEY_SERVER_NONE,    /* there was no answer that is good; *wrong says why, until the next turn */
};

/* After each but KEY_SERVER_NOTHING follows key_server_settle(). *keys is NULL unless they came. */
enum key_server_news key_server_take(struct key_server *s, struct token_keys **keys,
                                     const char **wrong);

/* What was taken is in force: who misses something from now on misses it there. Those who waited
 * for it are to be told afterwards. */
void key_server_settle(struct key_server *s);

/* Of the counters; any thread; NULL: 0. The age is of the keys that came last, or, if none ever
 * did, the server's. */
uint64_t key_server_fetched(const struct key_server *s);
uint64_t key_server_failed(const struct key_server *s);
uint64_t key_server_age_s(const struct key_server *s);
