/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolver: the addresses that seeds have at the moment. Asking DNS blocks, for many seconds if it
 * is away: it has a thread of its own.
 *
 *   resolver_ask() ─▶ thread: getaddrinfo(), res_nsearch() ─▶ wake() ─▶ resolver_take()
 *
 * Owner: the gossip thread. Memory: one answer. The thread is not waited for when it is asking:
 * what it uses is freed by whoever is last, it or resolver_stop().
 * At the bound: RESOLVER_ADDRESSES_MAX addresses; further ones are left out.
 */
#pragma once

#include <stdbool.h>

#include "broker/config/seeds.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define RESOLVER_ADDRESSES_MAX 64u

struct resolver;

struct resolved {
    unsigned count;
    struct node_address at[RESOLVER_ADDRESSES_MAX];
    unsigned failed;    /* seeds that gave no address */
    unsigned failed_at; /* the first of them */
    const char *error;  /* why; constant */
};

/* wake_fd, an eventfd, is written to when there is an answer. NULL: no memory, or no thread. */
NODISCARD struct resolver *resolver_start(const struct seeds *seeds, int wake_fd);
void resolver_stop(struct resolver *r); /* does not wait; NULL is fine */

void resolver_ask(struct resolver *r);
/* false: nothing has come since the last time. */
bool resolver_take(struct resolver *r, struct resolved *out);
