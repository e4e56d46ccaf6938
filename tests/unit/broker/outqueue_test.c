/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/outqueue.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "tests/unit/route/random.h"

#define PACKET_IDS 65535u

static const struct outqueue_limits no_limits = {.messages_max = UINT32_MAX,
                                                 .bytes_max = UINT64_MAX};

/* A message whose payload is its number. */
static struct message *numbered(uint32_t number)
{
    struct message *m =
        message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of(&number, sizeof number));
    cr_assert_not_null(m);
    return m;
}

static uint32_t number_of(const struct delivery *d)
{
    uint32_t number;
    memcpy(&number, message_payload(d->message).at, sizeof number);
    return number;
}

static enum outqueue_err push(struct outqueue *q, uint32_t number, uint8_t qos,
                              const struct outqueue_limits *limits)
{
    const struct delivery d = {.message = numbered(number), .qos = qos};
    const enum outqueue_err err = outqueue_push(q, &d, limits);
    if (err != OUTQUEUE_OK) {
        message_put(d.message);
    }
    return err;
}

static uint16_t send(struct outqueue *q, uint32_t window)
{
    uint16_t packet_id;
    if (outqueue_next(q, window, &packet_id) == NULL) {
        return 0;
    }
    outqueue_sent(q);
    outqueue_check(q);
    return packet_id;
}

static void acknowledge(struct outqueue *q, uint16_t packet_id)
{
    struct delivery *d = outqueue_find(q, packet_id);
    cr_assert_not_null(d, "%u", packet_id);
    outqueue_done(q, d);
    outqueue_check(q);
}

/* ---- claims */

/* The ring and what hangs on it are memory of messages, until they go. */
Test(outqueue, counts_what_it_takes)
{
    enum { IDENTIFIERS = 1000, EACH = sizeof(struct delivery_more) + IDENTIFIERS * 4 };
    const struct outqueue_limits limits = {.messages_max = 100, .bytes_max = 10 * EACH};
    const uint64_t before = message_memory();
    struct outqueue q = {0};
    enum outqueue_err err = OUTQUEUE_OK;
    uint32_t count = 0;
    while (err == OUTQUEUE_OK) {
        struct delivery d = {.message = numbered(count), .qos = 2, .more = calloc(1, EACH)};
        d.more->identifier_count = IDENTIFIERS;
        err = outqueue_push(&q, &d, &limits);
        count += err == OUTQUEUE_OK;
        if (err != OUTQUEUE_OK) {
            message_put(d.message);
            free(d.more);
        }
        outqueue_check(&q);
    }
    cr_expect_eq(count, 9, "identifiers count: %u", count);
    cr_expect_geq(message_memory() - before, count * EACH + q.ring->mask * sizeof q.ring->at[0]);
    send(&q, 10);
    const uint64_t waiting = message_memory();
    outqueue_release(&q, outqueue_find(&q, 1));
    cr_expect_leq(message_memory(), waiting - EACH);
    acknowledge(&q, 1);
    cr_expect(outqueue_drop_oldest(&q));
    outqueue_fini(&q);
    cr_expect_eq(message_memory(), before);

    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(push(&q, i, 1, &no_limits), OUTQUEUE_OK);
    }
    while (outqueue_drop_oldest(&q)) {
    }
    cr_expect_leq(message_memory() - before, sizeof *q.ring + 32 * sizeof q.ring->at[0],
                  "an empty queue keeps little");
    outqueue_fini(&q);
    cr_expect_eq(message_memory(), before);
}

Test(outqueue, sends_no_more_than_the_window)
{
    for (uint32_t window = 1; window < 6; window++) {
        struct outqueue q = {0};
        for (uint32_t i = 0; i < 8; i++) {
            cr_assert_eq(push(&q, i, 1, &no_limits), OUTQUEUE_OK);
        }
        for (uint32_t i = 0; i < window; i++) {
            cr_expect_eq(send(&q, window), i + 1);
        }
        cr_expect_eq(send(&q, window), 0);
        acknowledge(&q, (uint16_t)window); /* not the first: a place is free all the same */
        cr_expect_eq(send(&q, window), window + 1);
        cr_expect_eq(send(&q, window), 0);
        outqueue_fini(&q);
    }
}

Test(outqueue, counts_only_what_waits_against_its_limits)
{
    struct message *m = numbered(0);
    const uint64_t bytes = message_bytes(m);
    message_put(m);
    const struct outqueue_limits by_count = {.messages_max = 3, .bytes_max = UINT64_MAX};
    const struct outqueue_limits by_bytes = {.messages_max = UINT32_MAX, .bytes_max = 3 * bytes};
    const struct outqueue_limits tiny = {.messages_max = UINT32_MAX, .bytes_max = 1};
    const struct outqueue_limits *const both[] = {&by_count, &by_bytes};
    for (unsigned i = 0; i < 2; i++) {
        struct outqueue q = {0};
        for (uint32_t k = 0; k < 3; k++) {
            cr_expect_eq(push(&q, k, 1, both[i]), OUTQUEUE_OK);
        }
        cr_expect_eq(push(&q, 3, 1, both[i]), OUTQUEUE_FULL);
        cr_expect_eq(send(&q, 10), 1);
        cr_expect_eq(push(&q, 3, 1, both[i]), OUTQUEUE_OK);
        cr_expect_eq(push(&q, 4, 1, both[i]), OUTQUEUE_FULL);
        cr_expect(outqueue_drop_oldest(&q));
        cr_expect_eq(push(&q, 4, 1, both[i]), OUTQUEUE_OK);
        outqueue_check(&q);
        outqueue_fini(&q);
    }
    struct outqueue q = {0}; /* one message is taken whatever its size */
    cr_expect_eq(push(&q, 0, 2, &tiny), OUTQUEUE_OK);
    cr_expect_eq(push(&q, 1, 2, &tiny), OUTQUEUE_FULL);
    outqueue_fini(&q);
}

Test(outqueue, numbers_wrap_from_65535_to_1)
{
    struct outqueue q = {0};
    for (uint32_t i = 0; i < 3 * PACKET_IDS; i++) {
        cr_assert_eq(push(&q, i, 1, &no_limits), OUTQUEUE_OK);
        uint16_t packet_id;
        const struct delivery *d = outqueue_next(&q, 1, &packet_id);
        cr_assert_eq(packet_id, i % PACKET_IDS + 1);
        cr_assert_eq(number_of(d), i);
        outqueue_sent(&q);
        outqueue_done(&q, outqueue_find(&q, packet_id));
    }
    cr_expect(outqueue_is_empty(&q));
    outqueue_fini(&q);
}

/* One message is never acknowledged: no identifier is used again that it is still under. */
Test(outqueue, stalls_before_an_identifier_is_used_again)
{
    struct outqueue q = {0};
    for (uint32_t i = 0; i < PACKET_IDS + 10; i++) {
        cr_assert_eq(push(&q, i, 1, &no_limits), OUTQUEUE_OK);
    }
    uint16_t packet_id;
    for (uint32_t i = 0; i < PACKET_IDS; i++) {
        cr_assert_not_null(outqueue_next(&q, UINT32_MAX, &packet_id));
        outqueue_sent(&q);
        if (i > 0) {
            outqueue_done(&q, outqueue_find(&q, packet_id));
        }
    }
    outqueue_check(&q);
    cr_expect_eq(outqueue_in_flight(&q), 1);
    cr_expect_null(outqueue_next(&q, UINT32_MAX, &packet_id));
    acknowledge(&q, 1);
    cr_expect_eq(send(&q, UINT32_MAX), 1);
    cr_expect_eq(number_of(outqueue_find(&q, 1)), PACKET_IDS);
    outqueue_fini(&q);
}

/* [MQTT-4.6.0-1]: again, in order, under their identifiers, each as far as it had come. */
Test(outqueue, after_a_rewind_everything_unacknowledged_comes_again)
{
    struct outqueue q = {0};
    static const uint8_t qos[] = {1, 2, 2, 1, 2, 1};
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(push(&q, i, qos[i], &no_limits), OUTQUEUE_OK);
    }
    for (uint32_t i = 0; i < 5; i++) {
        send(&q, 5);
    }
    acknowledge(&q, 4);
    outqueue_release(&q, outqueue_find(&q, 3));
    outqueue_rewind(&q);
    outqueue_check(&q);
    cr_expect_eq(outqueue_in_flight(&q), 0);
    static const struct {
        uint16_t packet_id;
        enum delivery_state state;
    } want[] = {{1, DELIVERY_SENT},
                {2, DELIVERY_SENT},
                {3, DELIVERY_RELEASED},
                {5, DELIVERY_SENT},
                {6, DELIVERY_WAITING}};
    for (unsigned i = 0; i < 5; i++) {
        uint16_t packet_id;
        const struct delivery *d = outqueue_next(&q, 10, &packet_id);
        cr_assert_not_null(d);
        cr_expect_eq(packet_id, want[i].packet_id);
        cr_expect_eq(d->state, want[i].state);
        outqueue_sent(&q);
    }
    uint16_t packet_id;
    cr_expect_null(outqueue_next(&q, 10, &packet_id));
    outqueue_rewind(&q);
    acknowledge(&q, 2); /* of the earlier connection, before it was sent again */
    cr_expect_eq(send(&q, 10), 1);
    cr_expect_eq(send(&q, 10), 3);
    outqueue_fini(&q);
}

Test(outqueue, finds_nothing_that_is_not_under_way)
{
    struct outqueue q = {0};
    cr_expect_null(outqueue_find(&q, 0));
    cr_expect_null(outqueue_find(&q, 1));
    cr_assert_eq(push(&q, 0, 1, &no_limits), OUTQUEUE_OK);
    cr_expect_null(outqueue_find(&q, 1), "it has not been sent");
    send(&q, 1);
    cr_expect_not_null(outqueue_find(&q, 1));
    cr_expect_null(outqueue_find(&q, 2));
    acknowledge(&q, 1);
    cr_expect_null(outqueue_find(&q, 1));
    cr_expect_not(outqueue_drop_oldest(&q));
    outqueue_fini(&q);
}

/* One delivery that is never acknowledged, and messages that wait, are dropped, and come: for ever.
 */
Test(outqueue, dropping_uses_up_no_memory)
{
    struct outqueue q = {0};
    const struct outqueue_limits limits = {.messages_max = 10, .bytes_max = UINT64_MAX};
    cr_assert_eq(push(&q, 0, 1, &limits), OUTQUEUE_OK);
    send(&q, 1);
    for (uint32_t i = 1; i < 200000; i++) {
        if (outqueue_waiting(&q) == 10) {
            cr_assert(outqueue_drop_oldest(&q));
        }
        cr_assert_eq(push(&q, i, 1, &limits), OUTQUEUE_OK);
    }
    outqueue_check(&q);
    cr_expect_lt(q.ring->mask, 64);
    outqueue_fini(&q);
}

Test(outqueue, an_empty_one_gives_its_memory_back)
{
    struct outqueue q = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(push(&q, i, 1, &no_limits), OUTQUEUE_OK);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        acknowledge(&q, send(&q, 1));
    }
    cr_expect_null(q.ring);
    cr_expect_eq(message_memory(), 0);
    outqueue_fini(&q);
}

/* Numbers go on where they were: an identifier means the same afterwards. */
Test(outqueue, one_that_rests_takes_no_memory_if_it_is_empty)
{
    struct outqueue q = {0};
    outqueue_rest(&q);
    cr_assert_eq(push(&q, 0, 1, &no_limits), OUTQUEUE_OK);
    outqueue_rest(&q);
    cr_expect_eq(outqueue_waiting(&q), 1);
    cr_expect_eq(send(&q, 10), 1);
    outqueue_rest(&q);
    cr_expect_not_null(outqueue_find(&q, 1), "it is not acknowledged");
    acknowledge(&q, 1);
    cr_expect_not_null(q.ring, "more may come soon");
    outqueue_rest(&q);
    cr_expect_null(q.ring);
    cr_expect_eq(message_memory(), 0);
    cr_assert_eq(push(&q, 1, 1, &no_limits), OUTQUEUE_OK);
    cr_expect_eq(send(&q, 10), 2);
    outqueue_check(&q);
    outqueue_fini(&q);
}

/* ---- against a naive model */

#define MODEL_MAX 4096u

struct item {
    uint32_t number;
    uint16_t packet_id; /* 0: never sent */
    uint8_t qos;
    bool released;
    bool sent; /* on this connection */
};

static struct {
    struct item items[MODEL_MAX]; /* all that are not done, in order */
    unsigned count;
} model;

static void model_remove(unsigned i)
{
    model.count--;
    memmove(&model.items[i], &model.items[i + 1], (model.count - i) * sizeof model.items[0]);
}

static unsigned model_in_flight(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < model.count; i++) {
        count += model.items[i].sent;
    }
    return count;
}

static struct item *model_next(void)
{
    for (unsigned i = 0; i < model.count; i++) {
        if (!model.items[i].sent) {
            return &model.items[i];
        }
    }
    return NULL;
}

/* Some item that was sent at some time. */
static struct item *model_some(struct random *random)
{
    unsigned sent = 0;
    for (unsigned i = 0; i < model.count; i++) {
        sent += model.items[i].packet_id != 0;
    }
    if (sent == 0) {
        return NULL;
    }
    unsigned which = random_below(random, sent);
    for (unsigned i = 0;; i++) {
        if (model.items[i].packet_id != 0 && which-- == 0) {
            return &model.items[i];
        }
    }
}

static void check_walk(struct outqueue *q)
{
    uint64_t at = 0;
    for (unsigned i = 0; i < model.count; i++) {
        const struct item *item = &model.items[i];
        const struct delivery *d = outqueue_walk(q, &at);
        cr_assert_not_null(d);
        cr_assert_eq(d->state, item->packet_id == 0 ? DELIVERY_WAITING
                               : item->released     ? DELIVERY_RELEASED
                                                    : DELIVERY_SENT);
        cr_assert(item->released || number_of(d) == item->number);
    }
    cr_assert_null(outqueue_walk(q, &at));
}

static void step_send(struct outqueue *q, uint32_t window, bool skip)
{
    uint16_t packet_id;
    struct delivery *d = outqueue_next(q, window, &packet_id);
    struct item *item = model_next();
    if (item == NULL || model_in_flight() >= window) {
        cr_assert_null(d);
        return;
    }
    if (d == NULL) { /* the identifier may be in use */
        cr_assert_eq(item->packet_id, 0);
        return;
    }
    cr_assert(item->packet_id == 0 || item->packet_id == packet_id);
    for (unsigned i = 0; i < model.count && item->packet_id == 0; i++) {
        cr_assert_neq(model.items[i].packet_id, packet_id, "in use");
    }
    cr_assert(item->released || number_of(d) == item->number);
    if (skip && !item->released) {
        outqueue_skip(q);
        model_remove((unsigned)(item - model.items));
    } else {
        outqueue_sent(q);
        item->packet_id = packet_id;
        item->sent = true;
    }
}

static void step_acknowledge(struct outqueue *q, struct random *random)
{
    struct item *item = model_some(random);
    if (item == NULL) {
        return;
    }
    struct delivery *d = outqueue_find(q, item->packet_id);
    cr_assert_not_null(d);
    if (item->qos == 2 && !item->released && random_below(random, 4) > 0) {
        outqueue_release(q, d);
        item->released = true;
    } else {
        outqueue_done(q, d);
        model_remove((unsigned)(item - model.items));
    }
}

static void step_drop(struct outqueue *q)
{
    unsigned i = 0;
    while (i < model.count && model.items[i].packet_id != 0) {
        i++;
    }
    cr_assert_eq(outqueue_drop_oldest(q), i < model.count);
    if (i < model.count) {
        model_remove(i);
    }
}

/* In two, and together again: as if nothing had been. */
static void step_split(struct outqueue *q, struct random *random)
{
    const uint64_t waiting = outqueue_waiting(q);
    struct outqueue after = {0};
    if (waiting == 0) {
        return;
    }
    const uint64_t keep = random_below(random, (uint32_t)waiting);
    const uint64_t bytes = outqueue_waiting_bytes(q);
    cr_assert(outqueue_split(q, keep, &after));
    outqueue_check(q);
    outqueue_check(&after);
    cr_assert_eq(outqueue_waiting(q), keep);
    cr_assert_eq(outqueue_waiting(&after), waiting - keep);
    cr_assert_eq(outqueue_waiting_bytes(q) + outqueue_waiting_bytes(&after), bytes);
    while (outqueue_waiting(&after) > 0) {
        struct delivery d;
        outqueue_pop(&after, &d);
        outqueue_check(&after);
        cr_assert(outqueue_append(q, &d));
        outqueue_check(q);
    }
    outqueue_fini(&after);
    cr_assert_eq(outqueue_waiting_bytes(q), bytes);
}

Test(outqueue, does_as_the_model_does)
{
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    for (unsigned round = 0; round < 60; round++) {
        struct outqueue q = {0};
        /* Not from the beginning, so that identifiers wrap. */
        q.next_number = random_next(&random) % 200000;
        model.count = 0;
        uint32_t next = 0;
        const uint32_t window = 1 + random_below(&random, 40);
        const uint32_t eager = 2 + random_below(&random, 6);
        for (unsigned step = 0; step < 4000; step++) {
            switch (random_below(&random, 8 + eager)) {
            case 0:
            case 1:
                step_acknowledge(&q, &random);
                break;
            case 2:
                if (random_below(&random, 8) == 0) {
                    outqueue_rest(&q); /* between two connections */
                    outqueue_rewind(&q);
                    for (unsigned i = 0; i < model.count; i++) {
                        model.items[i].sent = false;
                    }
                }
                break;
            case 3:
                step_drop(&q);
                break;
            case 4:
                step_send(&q, window, true);
                break;
            case 5:
            case 6:
                step_send(&q, window, false);
                break;
            case 7:
                if (random_below(&random, 8) == 0) {
                    step_split(&q, &random);
                }
                break;
            default:
                if (model.count < MODEL_MAX) {
                    const uint8_t qos = (uint8_t)(1 + random_below(&random, 2));
                    cr_assert_eq(push(&q, next, qos, &no_limits), OUTQUEUE_OK);
                    model.items[model.count++] = (struct item){.number = next++, .qos = qos};
                }
            }
            outqueue_check(&q);
            cr_assert_eq(outqueue_in_flight(&q), model_in_flight());
            if (step % 50 == 0) {
                check_walk(&q);
            }
        }
        outqueue_fini(&q);
        cr_assert_eq(message_memory(), 0);
    }
}
