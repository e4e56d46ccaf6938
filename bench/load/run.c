/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/run.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/load/options.h"
#include "bench/load/worker.h"

#define NS_PER_S    UINT64_C(1000000000)
#define LOOK_NS     (NS_PER_S / 200) /* how often a phase's end is looked for */
#define LEAD_NS     (NS_PER_S / 20)  /* from the last connection to the first message */
#define SETTLE_NS   (NS_PER_S / 50)  /* workers send no more: they have seen the end */
#define CONNECT_S   60.0             /* longest wait without a further connection */
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
        t.resumed += read_count(&c->resumed);
        t.left += read_count(&c->left);
        t.broken += read_count(&c->broken);
        t.unsent += read_count(&c->unsent);
        t.churned += read_count(&c->churned);
        t.writes += read_count(&c->writes);
        t.reads += read_count(&c->reads);
    }
    return t;
}

/* ---- progress, a line each second where somebody looks */

static void progress_begin(struct run *r)
{
    r->progress = (struct progress){.shown = !r->options->quiet && isatty(STDERR_FILENO) != 0,
                                    .next_ns = run_now_ns() + PROGRESS_NS};
}

static void progress_show(struct run *r, const char *phase)
{
    struct progress *const p = &r->progress;
    if (!p->shown || run_now_ns() < p->next_ns) {
        return;
    }
    const struct totals t = add_up(r);
    fprintf(stderr, "%-8s %lu/%u ready, sent %lu/s, received %lu/s, in all %lu and %lu\n", phase,
            t.ready - t.left, r->plan.client_count, t.sent - p->last.sent,
            t.received - p->last.received, t.sent, t.received);
    p->last = t;
    p->next_ns += PROGRESS_NS;
}

/* ---- the phases */

static void enter(struct run *r, enum run_phase phase)
{
    atomic_store_explicit(&r->phase, (int)phase, memory_order_release);
}

static void wait_until(struct run *r, const char *phase, uint64_t then_ns)
{
    uint64_t now_ns;
    while ((now_ns = run_now_ns()) < then_ns) {
        const uint64_t look_ns = now_ns + LOOK_NS;
        sleep_until(look_ns < then_ns ? look_ns : then_ns);
        progress_show(r, phase);
    }
}

/* Until done(), or nothing has moved for so long: false. */
static bool wait_for(struct run *r, const char *phase, double patience_s,
                     bool (*done)(const struct run *r, const struct totals *t))
{
    struct totals seen = add_up(r);
    uint64_t moved_ns = run_now_ns();
    for (;;) {
        const struct totals t = add_up(r);
        const uint64_t now_ns = run_now_ns();
        if (done(r, &t)) {
            return true;
        }
        if (memcmp(&t, &seen, sizeof t) != 0) {
            seen = t;
            moved_ns = now_ns;
        } else if (now_ns - moved_ns > ns_of(patience_s)) {
            return false;
        }
        progress_show(r, phase);
        sleep_until(now_ns + LOOK_NS);
    }
}

/* ---- what is measured */

static bool broker_usage(const struct run *r, struct process_usage *usage)
{
    return !r->has_broker || process_usage_read((pid_t)r->options->pid, usage);
}

static enum run_err stage_begin(struct run *r, const char *name, const char *operation)
{
    assert(r->stage_count < RUN_STAGES_MAX);

    struct stage *const s = &r->stages[r->stage_count];
    *s = (struct stage){.name = name, .operation = operation};
    if (!broker_usage(r, &s->broker_begin)) {
        return RUN_NO_PROCESS;
    }
    s->begin = add_up(r);
    s->begin_ns = run_now_ns();
    return RUN_OK;
}

static enum run_err stage_end(struct run *r)
{
    struct stage *const s = &r->stages[r->stage_count++];
    s->seconds = (double)(run_now_ns() - s->begin_ns) / (double)NS_PER_S;
    s->end = add_up(r);
    return broker_usage(r, &s->broker_end) ? RUN_OK : RUN_NO_PROCESS;
}

/* What all publishers together have sent, times who is to get it. Exact once none sends. */
static uint64_t expected(const struct run *r)
{
    uint64_t copies = 0;
    for (uint32_t i = 0; i < r->plan.publisher_count; i++) {
        copies += read_count(&r->plan.publishers[i].sent) * r->plan.publishers[i].copies;
    }
    return copies;
}

static uint64_t count_clients(const struct run *r, bool late)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < r->plan.client_count; i++) {
        count += r->plan.clients[i].is_late == late;
    }
    return count;
}

static uint64_t count_leavers(const struct run *r)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < r->plan.client_count; i++) {
        count += r->plan.clients[i].was_before;
    }
    return count;
}

static bool are_ready(const struct run *r, const struct totals *t)
{
    const uint64_t leavers = count_leavers(r);
    const bool have_left = t->left >= leavers;
    return t->broken > 0 || (have_left && t->ready >= count_clients(r, false) + leavers);
}

static bool is_all_there(const struct run *r, const struct totals *t)
{
    const bool acknowledged = r->options->qos == 0 || t->acknowledged >= t->sent;
    return acknowledged && (t->received >= expected(r) || r->plan.track_count == 0);
}

static bool is_all_stored(const struct run *r, const struct totals *t)
{
    return t->acknowledged >= r->options->count * r->plan.publisher_count;
}

/* All that are not late; the memory that connections and filters take is seen here. */
static enum run_err connect_all(struct run *r)
{
    const bool has_foreign = r->options->foreign > 0;
    enum run_err err = stage_begin(r, "connect", has_foreign ? "foreign filter" : "connection");
    const bool all = err == RUN_OK && wait_for(r, "connect", CONNECT_S, are_ready);
    if (err == RUN_OK) {
        err = stage_end(r);
    }
    if (err != RUN_OK) {
        return err;
    }
    struct stage *const s = &r->stages[r->stage_count - 1];
    s->operations = has_foreign ? r->options->foreign : s->end.ready;
    return all && s->end.broken == 0 ? RUN_OK : RUN_NOT_READY;
}

static void set_times(struct run *r)
{
    r->start_ns = run_now_ns() + LEAD_NS;
    r->measure_ns = r->start_ns + ns_of(r->options->warmup_s);
    r->end_ns = r->measure_ns + ns_of(r->options->duration_s);
}

/* The stage in between the warm-up and the end. */
static enum run_err measure(struct run *r, const char *name, const char *operation)
{
    wait_until(r, "warm-up", r->measure_ns);
    enum run_err err = stage_begin(r, name, operation);
    if (err == RUN_OK) {
        wait_until(r, "measure", r->end_ns);
        err = stage_end(r);
    }
    return err;
}

/* ---- the kinds of scenarios */

static enum run_err run_flow(struct run *r)
{
    enum run_err err = connect_all(r);
    if (err != RUN_OK) {
        return err;
    }
    set_times(r);
    enter(r, RUN_SEND);
    err = measure(r, "flow", "message");
    enter(r, RUN_DRAIN);
    if (err == RUN_OK) {
        struct stage *const s = &r->stages[r->stage_count - 1];
        s->operations = r->plan.track_count > 0 ? s->end.received - s->begin.received
                                                : s->end.sent - s->begin.sent;
        wait_until(r, "drain", run_now_ns() + SETTLE_NS);
        (void)wait_for(r, "drain", r->options->drain_s, is_all_there); /* faults are counted */
    }
    return err;
}

static enum run_err run_connect(struct run *r)
{
    const enum run_err err = connect_all(r);
    if (err == RUN_OK) {
        wait_until(r, "hold", run_now_ns() + ns_of(r->options->duration_s));
    }
    return err;
}

/* It all begins with the workers, and goes on until they end. */
static enum run_err run_churn(struct run *r)
{
    enter(r, RUN_SEND);
    const enum run_err err = measure(r, "churn", "connection");
    if (err == RUN_OK) {
        struct stage *const s = &r->stages[r->stage_count - 1];
        s->operations = s->end.ready - s->begin.ready;
    }
    return err;
}

static enum run_err run_late(struct run *r)
{
    enum run_err err = connect_all(r);
    if (err != RUN_OK) {
        return err;
    }
    r->start_ns = run_now_ns();
    r->measure_ns = r->end_ns = UINT64_MAX; /* until the count is reached; no latencies */
    err = stage_begin(r, "store", "message");
    if (err == RUN_OK) {
        enter(r, RUN_SEND);
        (void)wait_for(r, "store", r->options->drain_s, is_all_stored); /* faults are counted */
        err = stage_end(r);
        r->stages[r->stage_count - 1].operations = add_up(r).acknowledged;
    }
    if (err == RUN_OK) {
        err = stage_begin(r, "deliver", "message");
    }
    if (err == RUN_OK) {
        enter(r, RUN_LATE);
        (void)wait_for(r, "deliver", r->options->drain_s, is_all_there);
        err = stage_end(r);
        r->stages[r->stage_count - 1].operations = add_up(r).received;
    }
    return err;
}

static enum run_err run_kind(struct run *r)
{
    switch (r->options->scenario->kind) {
    case SCENARIO_CONNECT:
        return run_connect(r);
    case SCENARIO_CHURN:
        return run_churn(r);
    case SCENARIO_LATE:
        return run_late(r);
    default:
        return run_flow(r);
    }
}

static void stop(struct run *r, uint64_t started)
{
    enter(r, RUN_END);
    for (uint64_t i = 0; i < started; i++) {
        worker_join(&r->workers[i]);
        histogram_merge(&r->latency, &r->workers[i].latency);
    }
}

static enum run_err start(struct run *r, uint64_t *started)
{
    struct process_usage unused;
    if (r->workers == NULL) {
        return RUN_NO_MEMORY;
    }
    if (!broker_usage(r, &unused)) {
        return RUN_NO_PROCESS;
    }
    set_times(r); /* for those that do not wait for the phase */
    for (; *started < r->options->threads; ++*started) {
        struct worker *const w = &r->workers[*started];
        if (worker_start(w, r, (uint32_t)*started) != 0) {
            worker_free(w);
            return RUN_FAILED;
        }
    }
    return RUN_OK;
}

enum run_err run_scenario(struct run *r)
{
    uint64_t started = 0;
    histogram_init(&r->latency);
    progress_begin(r);
    r->has_broker = r->options->pid != 0;
    r->workers = calloc(r->options->threads, sizeof *r->workers);
    enum run_err err = start(r, &started);
    if (err == RUN_OK) {
        err = run_kind(r);
    }
    stop(r, started);
    if (started == r->options->threads) {
        r->finish = add_up(r);
    }
    for (uint64_t i = 0; i < started; i++) {
        worker_free(&r->workers[i]);
    }
    free(r->workers);
    r->workers = NULL;
    return err;
}
