/* SPDX-License-Identifier: Apache-2.0 */
/*
 * callbacks: the server that is asked who a client is (`http.url`), for all shards: the thread that
 * asks it, what it said lately, and who was refused too often.
 *
 * Owner: the main thread makes and unmakes it; any thread asks, by node->callbacks.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/auth/callback.h"
#include "broker/auth/proof.h"
#include "broker/http/client.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct callbacks;
struct config_http;
struct node;

/* One question; the first member of what holds more. */
struct callback {
    struct http_request http; /* its `answered` is callbacks' */
    struct callbacks *callbacks;
    struct proof proof;
    bool provable;                    /* false: its answer is not remembered */
    bool again;                       /* about one who is connected: no guess */
    uint64_t user_hash, address_hash; /* of who asks to come in; address 0: it is not counted */
    uint32_t failures_per_minute;     /* of each; 0: any number */
    uint32_t remember_s;
    enum http_err err;
    struct callback_verdict verdict;    /* when there is an answer */
    void (*judged)(struct callback *c); /* on the thread that asks: short, and never waits */
};

/* Before the shards run; *out is NULL if no server is configured. false: a file is not good, or
 * there is no memory or thread; told. */
NODISCARD bool callbacks_open(struct callbacks **out, const struct node *node,
                              const struct config_http *config);

/* While the shards still run: nothing is under way afterwards. NULL is fine. */
void callbacks_stop(struct callbacks *c);
void callbacks_close(struct callbacks *c); /* no shard runs any more; NULL is fine */

enum callbacks_asked {
    CALLBACKS_REMEMBERED, /* the verdict is there */
    CALLBACKS_ASKED,      /* judged() will be called, on another thread; the callback is not ours */
    CALLBACKS_LIMITED,    /* too many failures of late */
    CALLBACKS_BUSY,       /* too many are waiting, or there is no memory */
};

/* It is zeros but for `judged`, failures_per_minute and remember_s. */
enum callbacks_asked callbacks_ask(struct callbacks *c, struct callback *one,
                                   const struct callback_client *client,
                                   const struct in6_addr *address);

/* Requests waiting and in flight; 0 for NULL. Any thread. */
unsigned callbacks_load(const struct callbacks *c);
