/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: one run of a scenario, from the first connection to the last message.
 *
 *   CONNECT ── all are connected and subscribed ─▶ SEND ── time is over ─▶ DRAIN ── nothing comes
 *   any more, or all has ─▶ END, or LATE ── likewise ─▶ END
 *
 * LATE is for those that were not there when the messages were sent.
 *
 * Owner: main(), which moves the phase; workers only read what is here, but for their own
 * publishers, tracks and clients (plan.h). The times are set before the phase becomes SEND, whose
 * release store pairs with the workers' acquire loads.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/load/histogram.h"
#include "bench/load/plan.h"
#include "bench/load/process.h"

struct options;
struct worker;

enum run_phase {
    RUN_CONNECT,
    RUN_SEND,
    RUN_DRAIN,
    RUN_LATE,
    RUN_END,
};

/* Written by one worker, relaxed, read by main() at any time. All only grow. */
struct counts {
    _Atomic uint64_t sent;
    _Atomic uint64_t received;
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t connected; /* got a CONNACK that accepts */
    _Atomic uint64_t ready;     /* and all that they subscribe to */
    _Atomic uint64_t refused;   /* by CONNACK, SUBACK or an acknowledgement */
    _Atomic uint64_t resumed;   /* TLS sessions */
    _Atomic uint64_t left;      /* by DISCONNECT */
    _Atomic uint64_t broken;    /* connections that ended unasked */
    _Atomic uint64_t unsent;    /* messages that found no room to be sent from */
    _Atomic uint64_t churned;   /* filters added, and filters removed */
    _Atomic uint64_t writes;
    _Atomic uint64_t reads;
};

/* Of all workers. */
struct totals {
    uint64_t sent, received, acknowledged, connected, ready, refused, resumed, left, broken, unsent,
        churned, writes, reads;
};

/* A part of the run that was measured: what was done how often, and what it cost. */
struct stage {
    const char *name;
    const char *operation; /* what is counted, in the singular */
    uint64_t operations;
    uint64_t begin_ns;
    double seconds;
    struct totals begin, end;
    struct process_usage broker_begin, broker_end; /* when there is a --pid */
};
#define RUN_STAGES_MAX 3u

/* What was shown last. */
struct progress {
    bool shown;
    uint64_t next_ns;
    struct totals last;
};

struct run {
    const struct options *options;
    struct plan plan;
    struct worker *workers; /* options->threads of them */
    _Atomic int phase;      /* enum run_phase */

    uint64_t start_ns;   /* the first message */
    uint64_t measure_ns; /* those meant to be sent from here… */
    uint64_t end_ns;     /* …to here are measured */

    /* Afterwards: */
    struct histogram latency; /* of messages, or of connecting */
    struct totals finish;
    struct stage stages[RUN_STAGES_MAX];
    unsigned stage_count;
    bool has_broker;
    struct progress progress;
};

enum run_err {
    RUN_OK = 0,
    RUN_NO_MEMORY,
    RUN_NO_PROCESS, /* --pid */
    RUN_NOT_READY,  /* some could not connect or subscribe */
    RUN_FAILED,
};

enum run_err run_scenario(struct run *r);

uint64_t run_now_ns(void); /* CLOCK_MONOTONIC */
