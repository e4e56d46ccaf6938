/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/run.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/load/options.h"
#include "bench/load/worker.h"

#define NS_PER_S    UINT64_C(1000000000)
#define LOOK_NS     (NS_PER_S / 50) /* how often a phase's end is looked for */
#define LEAD_NS     (NS_PER_S / 20) /* from the last connection to the first message */
#define CONNECT_S   60.0            /* longest wait without a further connection */
#define PROGRESS_NS NS_PER_S

uint64_t run_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t then_ns)
{
    const struct timespec t = {.tv_sec = (time_t)(then_ns / NS_PER_S),
                               .tv_nsec = (long)(then_ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {
    }
}

static uint64_t ns_of(double seconds)
{
    return (uint64_t)(seconds * (double)NS_PER_S);
}

static uint64_t read_count(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static struct totals add_up(const struct run *r)
{
    struct totals t = {0};
    for (uint64_t i = 0; i < r->options->threads; i++) {
        const struct counts *const c = &r->workers[i].counts;
        t.sent += read_count(&c->sent);
        t.received += read_count(&c->received);
        t.acknowledged += read_count(&c->acknowledged);
        t.connected += read_count(&c->connected);
        t.ready += read_count(&c->ready);
        t.refused += read_count(&c->refused);
        t.broken += read_count(&c->broken);
        t.unsent += read_count(&c->unsent);
        t.writes += read_count(&c->writes);
        t.reads += read_count(&c->reads);
    }
    return t;
}

/* ---- progress, a line each second where somebody looks */

struct progress {
    bool shown;
    uint64_t next_ns;
    struct totals last;
};

static struct progress progress_begin(const struct run *r)
{
    return (struct progress){.shown = !r->options->quiet && isatty(STDERR_FILENO) != 0,
                             .next_ns = run_now_ns() + PROGRESS_NS};
}

static void progress_show(struct progress *p, const struct run *r, const char *phase)
{
    const uint64_t now_ns = run_now_ns();
    if (!p->shown || now_ns < p->next_ns) {
        return;
    }
    const struct totals t = add_up(r);
    fprintf(stderr, "%-8s %u/%u ready, sent %lu/s, received %lu/s, in all %lu and %lu\n", phase,
            (unsigned)t.ready, r->plan.client_count, t.sent - p->last.sent,
            t.received - p->last.received, t.sent, t.received);
    p->last = t;
    p->next_ns += PROGRESS_NS;
}

/* ---- the phases */

static void enter(struct run *r, enum run_phase phase)
{
    atomic_store_explicit(&r->phase, (int)phase, memory_order_release);
}

static enum run_err await_ready(struct run *r, struct progress *p)
{
    const uint64_t begin_ns = run_now_ns();
    uint64_t seen = 0, seen_ns = begin_ns;
    for (;;) {
        const struct totals t = add_up(r);
        const uint64_t now_ns = run_now_ns();
        if (t.ready + t.broken >= r->plan.client_count) {
            r->connect_s = (double)(now_ns - begin_ns) / (double)NS_PER_S;
            return t.broken > 0 ? RUN_NOT_READY : RUN_OK;
        }
        if (t.ready + t.broken != seen) {
            seen = t.ready + t.broken;
            seen_ns = now_ns;
        } else if (now_ns - seen_ns > ns_of(CONNECT_S)) {
            return RUN_NOT_READY;
        }
        progress_show(p, r, "connect");
        sleep_until(now_ns + LOOK_NS);
    }
}

static void wait_until(struct run *r, struct progress *p, const char *phase, uint64_t then_ns)
{
    uint64_t now_ns;
    while ((now_ns = run_now_ns()) < then_ns) {
        const uint64_t look_ns = now_ns + LOOK_NS;
        sleep_until(look_ns < then_ns ? look_ns : then_ns);
        progress_show(p, r, phase);
    }
}

static bool read_broker(const struct run *r, struct process_usage *usage)
{
    return process_usage_read((pid_t)r->options->pid, usage);
}

/* What all publishers together have sent, times who is to get it. Exact once none sends. */
static uint64_t expected(const struct run *r)
{
    uint64_t copies = 0;
    for (uint32_t i = 0; i < r->plan.publisher_count; i++) {
        copies += r->plan.publishers[i].sent * r->plan.publishers[i].copies;
    }
    return copies;
}

static bool is_all_there(const struct run *r, const struct totals *t)
{
    const bool acknowledged = r->options->qos == 0 || t->acknowledged >= t->sent;
    return acknowledged && t->received >= expected(r);
}

static void drain(struct run *r, struct progress *p)
{
    struct totals seen = add_up(r);
    uint64_t seen_ns = run_now_ns();
    for (;;) {
        sleep_until(run_now_ns() + LOOK_NS);
        const struct totals t = add_up(r);
        const uint64_t now_ns = run_now_ns();
        const bool moved = t.received != seen.received || t.acknowledged != seen.acknowledged ||
                           t.sent != seen.sent;
        if (moved) {
            seen = t;
            seen_ns = now_ns;
        } else if (is_all_there(r, &t) || now_ns - seen_ns > ns_of(r->options->drain_s)) {
            return;
        }
        progress_show(p, r, "drain");
    }
}

static enum run_err send_and_measure(struct run *r, struct progress *p)
{
    const struct options *const o = r->options;
    r->start_ns = run_now_ns() + LEAD_NS;
    r->measure_ns = r->start_ns + ns_of(o->warmup_s);
    r->end_ns = r->measure_ns + ns_of(o->duration_s);
    enter(r, RUN_SEND);

    wait_until(r, p, "warm-up", r->measure_ns);
    if (r->has_broker && !read_broker(r, &r->broker_begin)) {
        return RUN_NO_PROCESS;
    }
    r->begin = add_up(r);
    const uint64_t begin_ns = run_now_ns();
    wait_until(r, p, "measure", r->end_ns);
    if (r->has_broker && !read_broker(r, &r->broker_end)) {
        return RUN_NO_PROCESS;
    }
    r->end = add_up(r);
    r->measured_s = (double)(run_now_ns() - begin_ns) / (double)NS_PER_S;
    enter(r, RUN_DRAIN);
    drain(r, p);
    return RUN_OK;
}

static enum run_err run_flow(struct run *r)
{
    struct progress p = progress_begin(r);
    const enum run_err err = await_ready(r, &p);
    return err != RUN_OK ? err : send_and_measure(r, &p);
}

static enum run_err run_connect(struct run *r)
{
    struct progress p = progress_begin(r);
    const enum run_err err = await_ready(r, &p);
    r->end = add_up(r);
    r->measured_s = r->connect_s;
    if (r->has_broker && !read_broker(r, &r->broker_end)) {
        return RUN_NO_PROCESS;
    }
    if (err == RUN_OK) {
        wait_until(r, &p, "hold", run_now_ns() + ns_of(r->options->duration_s));
    }
    return err;
}

static void stop(struct run *r, uint64_t started)
{
    enter(r, RUN_END);
    for (uint64_t i = 0; i < started; i++) {
        worker_join(&r->workers[i]);
        histogram_merge(&r->latency, &r->workers[i].latency);
    }
}

enum run_err run_scenario(struct run *r)
{
    const uint64_t threads = r->options->threads;
    uint64_t started = 0;
    enum run_err err = RUN_OK;
    histogram_init(&r->latency);
    r->workers = calloc(threads, sizeof *r->workers);
    if (r->workers == NULL) {
        return RUN_NO_MEMORY;
    }
    r->has_broker = r->options->pid != 0;
    if (r->has_broker && !read_broker(r, &r->broker_begin)) {
        err = RUN_NO_PROCESS;
    }
    while (err == RUN_OK && started < threads) {
        if (worker_start(&r->workers[started], r, (uint32_t)started) != 0) {
            worker_free(&r->workers[started]);
            err = RUN_FAILED;
        } else {
            started++;
        }
    }
    if (err == RUN_OK) {
        err = r->options->scenario->kind == SCENARIO_CONNECT ? run_connect(r) : run_flow(r);
    }
    stop(r, started);
    if (started == threads) {
        r->finish = add_up(r);
    }
    for (uint64_t i = 0; i < started; i++) {
        worker_free(&r->workers[i]);
    }
    free(r->workers);
    r->workers = NULL;
    return err;
}
