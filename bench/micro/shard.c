/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "broker/message.h"
#include "broker/session/outqueue.h"
#include "broker/shard/mailbox.h"
#include "broker/shard/wheel.h"

#define BATCH        64u /* as a busy turn hands over */
#define RECORD_BYTES 32u
#define RECORDS      1024u /* go into the ring at once */
#define TIMERS       1024u /* a power of two */
#define WINDOW       16u

/* ---- mail, on one thread: what both ends have to do, without the cache lines' way */

static void *mailbox(void)
{
    return mailbox_create(1u << 16);
}

static void mailbox_free(void *state)
{
    mailbox_destroy(state);
}

static void put(struct mailbox *m, uint64_t i)
{
    void *record = mailbox_reserve(m, RECORD_BYTES);
    assert(record != NULL);
    memcpy(record, &i, sizeof i);
    mailbox_commit(m);
}

static void hand_over(void *state, uint64_t count)
{
    struct mailbox *m = state;
    for (uint64_t i = 0; i < count; i++) {
        put(m, i);
        if (i % BATCH != BATCH - 1 && i != count - 1) {
            continue;
        }
        micro_use(mailbox_publish(m));
        size_t len;
        for (const void *got; (got = mailbox_peek(m, &len)) != NULL;) {
            micro_use((uint64_t)(uintptr_t)got);
            mailbox_release(m);
        }
    }
}

static void take_all(void *state)
{
    size_t len;
    while (mailbox_peek(state, &len) != NULL) {
        mailbox_release(state);
    }
}

static void fill(void *state)
{
    take_all(state);
    for (unsigned i = 0; i < RECORDS; i++) {
        put(state, i);
    }
    micro_use(mailbox_publish(state));
}

static void push(void *state, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (i % RECORDS == 0) {
            micro_aside(take_all, state);
        }
        put(state, i);
        if (i % BATCH == BATCH - 1) {
            micro_use(mailbox_publish(state));
        }
    }
    micro_use(mailbox_publish(state));
}

static void pop(void *state, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (i % RECORDS == 0) {
            micro_aside(fill, state);
        }
        size_t len;
        const void *got = mailbox_peek(state, &len);
        assert(got != NULL);
        micro_use((uint64_t)(uintptr_t)got);
        mailbox_release(state);
    }
}

/* ---- timers */

struct timers {
    struct wheel *wheel;
    uint64_t now_ms;
    struct timer timers[TIMERS];
};

static void on_fire(struct timer *t, uint64_t now_ms)
{
    micro_use(t->due_ms + now_ms);
}

static void *timers(void)
{
    struct timers *t = calloc(1, sizeof *t);
    assert(t != NULL);
    t->wheel = wheel_create(0);
    assert(t->wheel != NULL);
    for (unsigned i = 0; i < TIMERS; i++) {
        timer_init(&t->timers[i], on_fire);
    }
    return t;
}

static void timers_free(void *state)
{
    struct timers *t = state;
    wheel_destroy(t->wheel);
    free(t);
}

/* A keep alive that is moved with each packet. */
static void set_again(void *state, uint64_t count)
{
    struct timers *t = state;
    for (uint64_t i = 0; i < count; i++) {
        wheel_set(t->wheel, &t->timers[i % TIMERS], 90000 + i % 5000);
    }
}

static void set_all(void *state)
{
    struct timers *t = state;
    for (unsigned i = 0; i < TIMERS; i++) {
        wheel_set(t->wheel, &t->timers[i], 90000 + i % 5000);
    }
}

static void cancel(void *state, uint64_t count)
{
    struct timers *t = state;
    for (uint64_t i = 0; i < count; i++) {
        if (i % TIMERS == 0) {
            micro_aside(set_all, t);
        }
        wheel_cancel(t->wheel, &t->timers[i % TIMERS]);
    }
}

static void set_and_fire(void *state, uint64_t count)
{
    struct timers *t = state;
    for (uint64_t i = 0; i < count; i++) {
        t->now_ms++;
        wheel_set(t->wheel, &t->timers[i % TIMERS], t->now_ms + 500);
        micro_use(wheel_run(t->wheel, t->now_ms, TIMERS));
    }
}

/* ---- messages */

static void make_message(void *state, uint64_t count)
{
    (void)state;
    static const uint8_t payload[64] = "21.5";
    for (uint64_t i = 0; i < count; i++) {
        struct message *m = message_create(bytes_text("site/12/line/3/sensor/7/temperature"),
                                           bytes_of(NULL, 0), bytes_of(payload, sizeof payload));
        assert(m != NULL);
        micro_use(m->topic_hash);
        message_put(m);
    }
}

struct queue {
    struct outqueue q;
    struct message *message;
    uint16_t ids[WINDOW];
};

static void *queue(void)
{
    struct queue *q = calloc(1, sizeof *q);
    assert(q != NULL);
    q->message = message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of("x", 1));
    assert(q->message != NULL);
    return q;
}

static void queue_free(void *state)
{
    struct queue *q = state;
    outqueue_fini(&q->q);
    message_put(q->message);
    free(q);
}

static void acknowledge(struct queue *q, unsigned sent, uint8_t qos)
{
    for (unsigned i = 0; i < sent; i++) {
        struct delivery *d = outqueue_find(&q->q, q->ids[i]);
        assert(d != NULL);
        if (qos == 2) {
            outqueue_release(&q->q, d);
            d = outqueue_find(&q->q, q->ids[i]);
            assert(d != NULL);
        }
        outqueue_done(&q->q, d);
    }
}

/* Queued, sent, acknowledged: a window at a time. */
static void deliver(struct queue *q, uint64_t count, uint8_t qos)
{
    static const struct outqueue_limits limits = {.messages_max = 1000, .bytes_max = 1u << 20};
    unsigned sent = 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct delivery d = {.message = message_take(q->message, 1), .qos = qos};
        if (outqueue_push(&q->q, &d, &limits) != OUTQUEUE_OK ||
            outqueue_next(&q->q, WINDOW, &q->ids[sent]) == NULL) {
            abort();
        }
        outqueue_sent(&q->q);
        if (++sent == WINDOW) {
            acknowledge(q, sent, qos);
            sent = 0;
        }
    }
    acknowledge(q, sent, qos);
}

static void deliver_q1(void *state, uint64_t count)
{
    deliver(state, count, 1);
}

static void deliver_q2(void *state, uint64_t count)
{
    deliver(state, count, 2);
}

const struct micro micro_shard[] = {
    {"mailbox_hand_over", mailbox, hand_over, mailbox_free},
    {"mailbox_push", mailbox, push, mailbox_free},
    {"mailbox_pop", mailbox, pop, mailbox_free},
    {"wheel_set_again", timers, set_again, timers_free},
    {"wheel_cancel", timers, cancel, timers_free},
    {"wheel_set_and_fire", timers, set_and_fire, timers_free},
    {"message_create_put", NULL, make_message, NULL},
    {"outqueue_qos1", queue, deliver_q1, queue_free},
    {"outqueue_qos2", queue, deliver_q2, queue_free},
    {.name = NULL},
};
