/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscribe: how a client comes by its subscriptions: one filter, or thousands, some packets at a
 * time; and how a churner adds and removes some for ever.
 *
 * Owner: the client's worker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct arrival;
struct client;
struct worker;

struct subscribing {
    uint32_t sent;    /* of its foreign filters */
    uint32_t awaited; /* SUBACKs, or UNSUBACKs, that have not come */
    uint64_t turns;   /* of a churner: packets sent */
};

/* Whether it has to subscribe to anything. */
bool subscribe_is_wanted(const struct client *c);

/* Sends the first SUBSCRIBE packets. */
void subscribe_begin(struct worker *w, struct client *c);

enum subscribe_state {
    SUBSCRIBE_DONE,
    SUBSCRIBE_GOES_ON,
    SUBSCRIBE_REFUSED,
};

enum subscribe_state subscribe_on_suback(struct worker *w, struct client *c,
                                         const struct arrival *a);

/* A churner's next packet: filters added, or the same ones removed. At the bound of packets that
 * are unanswered it does nothing: false. */
bool subscribe_churn(struct worker *w, struct client *c);
