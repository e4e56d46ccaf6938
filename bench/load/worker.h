/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: one thread with its own epoll and its own share of the clients.
 *
 * Owner: its thread, between worker_start() and worker_join(); others read the counts.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "bench/load/client.h"
#include "bench/load/run.h"
#include "bench/load/schedule.h"

#define WORKER_RECEIVE_BYTES (256u << 10)

struct worker {
    struct run *run;
    uint32_t number;
    pthread_t thread;
    int epoll;
    struct client *clients;
    uint32_t client_count;
    struct client *to_open; /* those that have not begun to connect, the next first */
    struct client *late;    /* and those that are to do so when all has been sent */
    uint32_t connecting;    /* how many have begun, and are not ready yet */
    struct client **publishers;
    uint32_t publisher_count;
    uint32_t turn_publisher;  /* whose turn it is in an open loop */
    struct schedule connects; /* when --connect-rate is given */
    struct schedule messages; /* when --rate is given */
    struct schedule churns;   /* when --churn-rate is given: packets */
    struct client *churner;   /* NULL: not with this worker */
    bool is_sending;
    struct client *dirty;
    uint8_t *receive;      /* WORKER_RECEIVE_BYTES */
    const uint8_t *filler; /* payload after the stamp */

    /* Messages of one publisher that came one after the other, not yet told to it. */
    struct publisher *delivered_of;
    uint64_t delivered;

    struct tls_client *tls; /* NULL: the URL is without TLS */

    struct counts counts;
    struct histogram latency;
};

/* 0, or an errno. */
int worker_start(struct worker *w, struct run *r, uint32_t number);
void worker_join(struct worker *w);
void worker_free(struct worker *w);

/* For clients: */
void worker_mark_dirty(struct worker *w, struct client *c);
void worker_on_message(struct worker *w, struct client *c, const struct stamp *stamp);
void worker_on_ready(struct worker *w, struct client *c);
void worker_on_closed(struct worker *w, struct client *c); /* unasked */
void worker_on_left(struct worker *w, struct client *c);   /* it may open again */

/* Only the owner writes, so no read-modify-write is needed. */
static inline void counts_add(_Atomic uint64_t *count, uint64_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
