/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/errand.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "broker/io/io.h"
#include "broker/shard/shard.h"

/* In `come` once the shard runs no more. */
static struct errand closed;

/* ---- who waits */

void errand_put(struct errand *e)
{
    if (atomic_fetch_sub_explicit(&e->holders, 1, memory_order_acq_rel) == 1) {
        (void)sem_destroy(&e->told);
        e->destroy(e);
    }
}

void errand_take(struct errand *e)
{
    atomic_fetch_add_explicit(&e->holders, 1, memory_order_relaxed);
}

static bool take_place(struct errands *es)
{
    if (atomic_fetch_add_explicit(&es->count, 1, memory_order_relaxed) < ERRANDS_MAX) {
        return true;
    }
    atomic_fetch_sub_explicit(&es->count, 1, memory_order_relaxed);
    return false;
}

static void leave_place(struct errands *es)
{
    atomic_fetch_sub_explicit(&es->count, 1, memory_order_relaxed);
}

static bool hand_over(struct errands *es, struct errand *e)
{
    struct errand *first = atomic_load_explicit(&es->come, memory_order_relaxed);
    do {
        if (first == &closed) {
            return false;
        }
        e->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&es->come, &first, e, memory_order_release,
                                                    memory_order_relaxed));
    return true;
}

static bool is_told_within(struct errand *e, unsigned ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    int status;
    do {
        status = sem_clockwait(&e->told, CLOCK_MONOTONIC, &end);
    } while (status != 0 && errno == EINTR);
    return atomic_load_explicit(&e->answered, memory_order_acquire);
}

enum errand_result errand_do(struct shard *s, struct errand *e, unsigned within_ms)
{
    assert(shard_self == NULL);
    const int err = sem_init(&e->told, 0, 0);
    assert(err == 0);
    (void)err;
    atomic_init(&e->answered, false);
    atomic_init(&e->abandoned, false);
    atomic_init(&e->holders, 2);
    if (!take_place(&s->errands)) {
        atomic_store_explicit(&e->holders, 1, memory_order_relaxed);
        return ERRAND_BUSY;
    }
    if (!hand_over(&s->errands, e)) {
        leave_place(&s->errands);
        atomic_store_explicit(&e->holders, 1, memory_order_relaxed);
        return ERRAND_BUSY;
    }
    io_wake_external(s->io);
    if (is_told_within(e, within_ms)) {
        return ERRAND_ANSWERED;
    }
    atomic_store_explicit(&e->abandoned, true, memory_order_relaxed);
    return ERRAND_LATE;
}

/* ---- the shard */

static void done(struct errands *es, struct errand *e)
{
    atomic_store_explicit(&e->answered, true, memory_order_release);
    (void)sem_post(&e->told);
    leave_place(es);
    errand_put(e);
}

static void append(struct errands *es, struct errand *e)
{
    e->next = NULL;
    if (es->first == NULL) {
        es->first = e;
    } else {
        es->last->next = e;
    }
    es->last = e;
}

static void take_up(struct errands *es, struct errand *come)
{
    struct errand *in_order = NULL; /* the first one first */
    while (come != NULL) {
        struct errand *const next = come->next;
        come->next = in_order;
        in_order = come;
        come = next;
    }
    while (in_order != NULL) {
        struct errand *const next = in_order->next;
        append(es, in_order);
        in_order = next;
    }
}

static void drop(struct errands *es, struct errand *e)
{
    leave_place(es);
    errand_put(e);
}

static void step(struct shard *s, struct errand *e)
{
    struct errands *const es = &s->errands;
    if (atomic_load_explicit(&e->abandoned, memory_order_relaxed)) {
        drop(es, e);
        return;
    }
    switch (e->run(s, e)) {
    case ERRAND_DONE:
        done(es, e);
        break;
    case ERRAND_MORE:
        append(es, e);
        break;
    case ERRAND_LATER:
        e->next = es->resting;
        es->resting = e;
        break;
    }
}

void errands_turn(struct shard *s)
{
    struct errands *const es = &s->errands;
    const struct errand *const come = atomic_load_explicit(&es->come, memory_order_relaxed);
    if (come == &closed) {
        return; /* mail is still dealt with when all have ended (node_settle()) */
    }
    if (come != NULL) {
        take_up(es, atomic_exchange_explicit(&es->come, NULL, memory_order_acquire));
    }
    struct errand *const e = es->first;
    if (e != NULL) {
        es->first = e->next;
        step(s, e);
    }
}

void errands_settle(struct shard *s)
{
    struct errands *const es = &s->errands;
    struct errand *rested = es->resting;
    es->resting = NULL;
    while (rested != NULL) {
        struct errand *const e = rested;
        rested = e->next;
        if (atomic_load_explicit(&e->abandoned, memory_order_relaxed)) {
            drop(es, e);
        } else if (e->is_ready(s, e)) {
            append(es, e);
        } else {
            e->next = es->resting;
            es->resting = e;
        }
    }
}

bool errands_are_waiting(const struct shard *s)
{
    return s->errands.first != NULL;
}

static void drop_all(struct errands *es, struct errand **list)
{
    while (*list != NULL) {
        struct errand *const e = *list;
        *list = e->next;
        drop(es, e);
    }
}

void errands_close(struct shard *s)
{
    struct errands *const es = &s->errands;
    struct errand *const come = atomic_exchange_explicit(&es->come, &closed, memory_order_acquire);
    take_up(es, come == &closed ? NULL : come);
    drop_all(es, &es->first);
    drop_all(es, &es->resting);
}
