/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/load/options.h"

#define EVENTS_PER_TURN   256
#define WAIT_MAX_NS       UINT64_C(10000000)  /* how late a change of phase may be noticed */
#define BLOCKED_WAIT_NS   UINT64_C(100000)    /* others may have made room meanwhile */
#define MESSAGES_PER_TURN 4096u               /* then what has come is read */
#define FORGIVE_NS        UINT64_C(500000000) /* what has not come by then at QoS 0 is lost */
#define NS_PER_S          UINT64_C(1000000000)

/* ---- called by clients */

void worker_mark_dirty(struct worker *w, struct client *c)
{
    if (!c->is_dirty) {
        c->is_dirty = true;
        c->next_dirty = w->dirty;
        w->dirty = c;
    }
}

static void tell_delivered(struct worker *w)
{
    if (w->delivered > 0) {
        atomic_fetch_add_explicit(&w->delivered_of->delivered, w->delivered, memory_order_relaxed);
        w->delivered = 0;
    }
}

static void count_delivered(struct worker *w, struct publisher *p)
{
    if (w->delivered_of != p) {
        tell_delivered(w);
        w->delivered_of = p;
    }
    w->delivered++;
}

static bool is_measured(const struct run *r, uint64_t intended_ns)
{
    return intended_ns >= r->measure_ns && intended_ns < r->end_ns;
}

void worker_on_message(struct worker *w, struct client *c, const struct stamp *stamp)
{
    const struct run *const r = w->run;
    if (c->plan->track == PLAN_NONE) {
        return;
    }
    struct track *const t = &r->plan.tracks[c->plan->track];
    const uint32_t index = stamp->publisher - t->first;
    if (index >= t->count) {
        return; /* not one of ours; the number of those that are will not come right */
    }
    struct sequence *const s = &t->sequences[index];
    if (t->from_first_seen && s->next == 0) {
        s->next = stamp->sequence;
        s->seen = stamp->sequence;
    }
    const enum sequence_verdict verdict =
        sequence_check(s, t->bits + index * (t->window / 64), t->window, stamp->sequence);
    counts_add(&w->counts.received, 1);
    if (verdict != SEQUENCE_DUPLICATE && stamp->publisher < r->plan.publisher_count) {
        count_delivered(w, &r->plan.publishers[stamp->publisher]);
    }
    if (is_measured(r, stamp->intended_ns)) {
        const uint64_t now_ns = run_now_ns();
        histogram_add(&w->latency, now_ns > stamp->intended_ns ? now_ns - stamp->intended_ns : 0);
    }
}

void worker_on_ready(struct worker *w, struct client *c)
{
    assert(w->connecting > 0);
    w->connecting--;
    counts_add(&w->counts.ready, 1);
    const struct run *const r = w->run;
    const enum scenario_kind kind = r->options->scenario->kind;
    if (kind == SCENARIO_CONNECT || (kind == SCENARIO_CHURN && is_measured(r, c->begun_ns))) {
        histogram_add(&w->latency, run_now_ns() - c->begun_ns);
    }
    if (kind == SCENARIO_CHURN || (c->plan->was_before && !c->was_ready)) {
        client_leave(w, c);
    }
}

void worker_on_closed(struct worker *w, struct client *c)
{
    if (c->phase != CLIENT_READY) {
        assert(w->connecting > 0);
        w->connecting--;
    }
    counts_add(&w->counts.broken, 1);
}

static void push(struct client **list, struct client *c)
{
    c->next_to_open = *list;
    *list = c;
}

void worker_on_left(struct worker *w, struct client *c)
{
    counts_add(&w->counts.left, 1);
    push(c->plan->is_late ? &w->late : &w->to_open, c);
}

/* ---- the parts of a turn */

/* With --resume the first connection has to bring the session that the others resume. */
static bool waits_for_session(const struct worker *w)
{
    return w->tls != NULL && w->run->options->resume && !tls_client_has_session(w->tls) &&
           w->connecting > 0;
}

static void open_some(struct worker *w, uint64_t now_ns)
{
    const struct options *const o = w->run->options;
    while (w->to_open != NULL && w->connecting < o->connecting && !waits_for_session(w)) {
        uint64_t begin_ns = now_ns;
        if (o->connect_rate > 0 && !schedule_take(&w->connects, now_ns, &begin_ns)) {
            return;
        }
        w->connecting++;
        struct client *const c = w->to_open;
        w->to_open = c->next_to_open;
        client_open(w, c, begin_ns);
    }
}

static struct client *next_publisher(struct worker *w)
{
    struct client *const c = w->publishers[w->turn_publisher];
    w->turn_publisher = (w->turn_publisher + 1) % w->publisher_count;
    return c;
}

/* `burst` messages of one publisher are due at the same time, and go out in one write. */
static void send_due(struct worker *w, uint64_t now_ns)
{
    const uint64_t burst = w->run->options->burst;
    uint64_t intended_ns;
    for (unsigned i = 0; i < MESSAGES_PER_TURN; i += (unsigned)burst) {
        if (!schedule_take(&w->messages, now_ns, &intended_ns)) {
            return;
        }
        if (intended_ns >= w->run->end_ns) {
            w->is_sending = false;
            return;
        }
        struct client *const c = next_publisher(w);
        uint64_t n = 0;
        while (n < burst && client_room(w, c) > 0 && client_publish(w, c, intended_ns)) {
            n++;
        }
        counts_add(&w->counts.unsent, burst - n);
        client_flush(w, c);
    }
}

/* A window's room, until it is used up or the socket is full. */
static void fill_window(struct worker *w, struct client *c, uint64_t room, uint64_t now_ns)
{
    c->filled_ns = now_ns;
    while (room-- > 0 && client_publish(w, c, now_ns)) {
        if (c->body_left > 0) { /* one at a time, when it is not copied */
            client_flush(w, c);
            if (c->body_left > 0) {
                return;
            }
        }
    }
}

/* Half a window at a time, so that writes do not get smaller and smaller. */
static void fill_windows(struct worker *w, uint64_t now_ns)
{
    const struct options *const o = w->run->options;
    if (now_ns >= w->run->end_ns) {
        w->is_sending = false;
        return;
    }
    for (uint32_t i = 0; i < w->publisher_count; i++) {
        struct client *const c = w->publishers[i];
        const uint64_t room = client_room(w, c);
        const uint64_t least = (o->window + 1) / 2;
        if (room >= least || (room > 0 && o->count > 0)) {
            fill_window(w, c, room, now_ns);
        } else if (o->qos == 0 && now_ns - c->filled_ns > FORGIVE_NS) {
            client_forgive(w, c);
        }
    }
}

static void churn_some(struct worker *w, enum run_phase phase, uint64_t now_ns)
{
    uint64_t intended_ns;
    while (w->churner != NULL && phase == RUN_SEND &&
           schedule_take(&w->churns, now_ns, &intended_ns)) {
        if (subscribe_churn(w, w->churner)) {
            counts_add(&w->counts.churned, FOREIGN_PER_PACKET);
        }
    }
}

static void send_some(struct worker *w, enum run_phase phase, uint64_t now_ns)
{
    const struct options *const o = w->run->options;
    if (w->publisher_count == 0 || phase != RUN_SEND || now_ns < w->run->start_ns) {
        return;
    }
    if (!w->is_sending) {
        return;
    }
    if (o->rate > 0) {
        send_due(w, now_ns);
    } else {
        fill_windows(w, now_ns);
    }
}

static void flush_dirty(struct worker *w)
{
    struct client *c = w->dirty;
    w->dirty = NULL;
    while (c != NULL) {
        struct client *const next = c->next_dirty;
        c->is_dirty = false;
        client_flush(w, c);
        c = next;
    }
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t until(uint64_t then_ns, uint64_t now_ns)
{
    return then_ns > now_ns ? then_ns - now_ns : 0;
}

static uint64_t how_long(const struct worker *w, enum run_phase phase, uint64_t now_ns)
{
    const struct options *const o = w->run->options;
    uint64_t ns = WAIT_MAX_NS;
    if (o->connect_rate > 0 && w->to_open != NULL) {
        ns = least_of(ns, until(schedule_next_ns(&w->connects), now_ns));
    }
    if (phase == RUN_SEND && w->publisher_count > 0 && w->is_sending) {
        if (now_ns < w->run->start_ns) {
            ns = least_of(ns, until(w->run->start_ns, now_ns));
        } else if (o->rate > 0) {
            ns = least_of(ns, until(schedule_next_ns(&w->messages), now_ns));
        } else if (o->threads > 1) {
            ns = least_of(ns, BLOCKED_WAIT_NS);
        } else {
            ns = least_of(ns, until(w->run->end_ns, now_ns));
        }
    }
    if (phase == RUN_SEND && w->churner != NULL) {
        ns = least_of(ns, until(schedule_next_ns(&w->churns), now_ns));
    }
    return ns;
}

static void take_events(struct worker *w, uint64_t wait_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    const struct timespec timeout = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                                     .tv_nsec = (long)(wait_ns % NS_PER_S)};
    const int count = epoll_pwait2(w->epoll, events, EVENTS_PER_TURN, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        client_on_events(w, events[i].data.ptr, events[i].events);
    }
    tell_delivered(w);
}

static void begin_sending(struct worker *w)
{
    const struct run *const r = w->run;
    const struct options *const o = r->options;
    w->is_sending = true;
    if (w->churner != NULL) { /* each filter is removed and added: two packets */
        w->churns = schedule_start(r->start_ns, 2 * o->churn_rate / FOREIGN_PER_PACKET);
    }
    if (o->rate > 0 && w->publisher_count > 0) {
        const double share = (double)w->publisher_count / (double)r->plan.publisher_count;
        w->messages = schedule_start(r->start_ns, o->rate * share / (double)o->burst);
    }
}

static void *work(void *context)
{
    struct worker *const w = context;
    enum run_phase phase = RUN_CONNECT;
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    if (w->run->options->connect_rate > 0) {
        const double share = 1 / (double)w->run->options->threads;
        w->connects = schedule_start(run_now_ns(), w->run->options->connect_rate * share);
    }
    while (phase != RUN_END) {
        const enum run_phase was = phase;
        phase = (enum run_phase)atomic_load_explicit(&w->run->phase, memory_order_acquire);
        if (was == RUN_CONNECT && phase == RUN_SEND) {
            begin_sending(w);
        }
        if (was != RUN_LATE && phase == RUN_LATE) {
            w->to_open = w->late;
            w->late = NULL;
        }
        const uint64_t now_ns = run_now_ns();
        open_some(w, now_ns);
        send_some(w, phase, now_ns);
        churn_some(w, phase, now_ns);
        flush_dirty(w);
        take_events(w, how_long(w, phase, run_now_ns()));
    }
    if (w->tls != NULL) {
        tls_thread_end();
    }
    return NULL;
}

/* ---- begin and end */

static bool take_clients(struct worker *w)
{
    const struct plan *const p = &w->run->plan;
    w->clients = calloc(p->client_count + 1u, sizeof *w->clients);
    w->publishers = calloc(p->publisher_count + 1u, sizeof(struct client *));
    if (w->clients == NULL || w->publishers == NULL) {
        return false;
    }
    for (uint32_t i = p->client_count; i-- > 0;) {
        if (p->clients[i].worker != w->number) {
            continue;
        }
        struct client *const c = &w->clients[w->client_count++];
        c->plan = &p->clients[i];
        c->number = i;
        c->fd = -1;
        if (c->plan->publisher != PLAN_NONE) {
            w->publishers[w->publisher_count++] = c;
        }
        if (c->plan->is_churner) {
            w->churner = c;
        }
        push(c->plan->is_late && !c->plan->was_before ? &w->late : &w->to_open, c);
    }
    return true;
}

int worker_start(struct worker *w, struct run *r, uint32_t number)
{
    *w = (struct worker){.run = r, .number = number};
    histogram_init(&w->latency);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll < 0) {
        return errno;
    }
    uint8_t *const filler = calloc(1, r->options->payload);
    w->filler = filler;
    const struct options *const o = r->options;
    if (o->url.is_tls) {
        w->tls = tls_client_create(o->ca_file, o->url.host, o->resume);
        if (w->tls == NULL) {
            return EINVAL;
        }
    }
    w->receive = malloc(WORKER_RECEIVE_BYTES);
    if (filler == NULL || w->receive == NULL || !take_clients(w)) {
        return ENOMEM;
    }
    return pthread_create(&w->thread, NULL, work, w);
}

void worker_join(struct worker *w)
{
    const int err = pthread_join(w->thread, NULL);
    assert(err == 0);
    (void)err;
}

void worker_free(struct worker *w)
{
    for (uint32_t i = 0; i < w->client_count; i++) {
        client_free(&w->clients[i]);
    }
    if (w->epoll >= 0) {
        close(w->epoll);
    }
    tls_client_destroy(w->tls);
    free(w->clients);
    free(w->publishers);
    free(w->receive);
    free((void *)(uintptr_t)w->filler);
}
