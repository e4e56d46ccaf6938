/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: who takes part in a scenario: which connections there are, what each publishes and
 * subscribes to, and which messages it has to get.
 *
 * Owner: main(), before the workers begin and after they have ended; meanwhile each client and each
 * publisher belongs to one worker, but for the atomics.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/load/sequence.h"

struct options;

#define PLAN_NONE UINT32_MAX

/* Who publishes. */
struct publisher {
    char *topic;           /* with --topics, one level before the last */
    uint32_t copies;       /* receivers that are to get each of its messages */
    _Atomic uint64_t sent; /* written by the worker that has the client, relaxed */

    /* Copies that arrived: added to by the workers of the receivers, relaxed; read for the window.
     */
    _Atomic uint64_t delivered;
};

/* What the members of a receiving group have got of the publishers first .. first + count - 1. */
struct track {
    uint32_t first;
    uint32_t count;
    uint64_t window;            /* bits a publisher */
    struct sequence *sequences; /* count of them */
    uint64_t *bits;             /* window / 64 words each */
    bool any_order;             /* shared among several receivers: no order is promised */
    bool from_first_seen;       /* publishers are elsewhere, and may have begun before */
};

struct plan_client {
    uint32_t publisher; /* its number; PLAN_NONE: it publishes nothing */
    uint32_t track;     /* what it gets; PLAN_NONE: it is to get nothing */
    uint32_t worker;
    uint32_t channel; /* of the relay */
    char *filter;     /* NULL: it subscribes to nothing, or to… */

    /* …filters of foreign.h, which none of the messages match. */
    uint64_t foreign_first;
    uint32_t foreign_count;
    bool is_churner; /* adds and removes some of these all the time */

    bool is_late;    /* it connects when all messages have been sent */
    bool was_before; /* and has once connected and subscribed before they were */
};

struct plan {
    struct publisher *publishers;
    struct track *tracks;
    struct plan_client *clients;
    uint32_t publisher_count, track_count, client_count;
};

enum plan_err {
    PLAN_OK = 0,
    PLAN_NO_MEMORY,
    PLAN_TOO_MANY,
};

/* One row of the table of scenarios. */
struct scenario {
    const char *name;
    const char *help;
    enum plan_err (*plan)(struct plan *p, const struct options *o);
    enum scenario_kind {
        SCENARIO_FLOW,    /* publishers and receivers, for a time */
        SCENARIO_CONNECT, /* connecting is what is measured */
        SCENARIO_CHURN,   /* and disconnecting, again and again */
        SCENARIO_LATE,    /* first all is sent, then received */
    } kind;
    struct { /* unless the command line says otherwise */
        uint32_t publishers, subscribers, idle, qos, topics, count, connecting, foreign;
        bool retain;
    } by_default;
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;
const struct scenario *scenario_find(const char *name); /* NULL: there is none */

void plan_free(struct plan *p);
