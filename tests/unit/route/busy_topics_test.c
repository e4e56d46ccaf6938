/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/busy_topics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "broker/message.h"

static struct busy_topics b;

static void setup(void)
{
    cr_assert(busy_topics_init(&b, 1000));
}

static void teardown(void)
{
    busy_topics_fini(&b);
}

TestSuite(busy_topics, .init = setup, .fini = teardown);

static struct message *message(const char *topic, size_t payload_len)
{
    static uint8_t payload[4096];
    struct message *const m =
        message_create(bytes_text(topic), bytes_of(NULL, 0), bytes_of(payload, payload_len));
    cr_assert_not_null(m);
    return m;
}

/* How many samples it was. */
static unsigned publish(struct message *m, unsigned times)
{
    unsigned samples = 0;
    for (unsigned i = 0; i < times; i++) {
        samples += b.countdown == 1;
        busy_topics_count(&b, m);
    }
    return samples;
}

/* In both windows. */
static uint64_t count_of(const char *topic, enum busy_by by)
{
    struct message *const m = message(topic, 0);
    uint64_t count = 0;
    for (unsigned i = 0; i < 2; i++) {
        const struct busy_sketch *const s = &b.windows[i].sketches[by];
        for (uint32_t at = 0; at < s->used; at++) {
            count += s->all[at].hash == m->topic_hash ? s->all[at].count : 0;
        }
    }
    message_put(m);
    return count;
}

Test(busy_topics, while_little_is_published_each_message_counts)
{
    struct message *const one = message("one", 10), *const two = message("two", 1000);
    cr_expect_eq(publish(one, 20), 20);
    cr_expect_eq(publish(two, 3), 3);
    cr_expect_eq(count_of("one", BUSY_BY_MESSAGES), 20);
    cr_expect_eq(count_of("two", BUSY_BY_MESSAGES), 3);
    cr_expect_eq(count_of("one", BUSY_BY_BYTES), 200);
    cr_expect_eq(count_of("two", BUSY_BY_BYTES), 3000);
    cr_expect_eq(count_of("three", BUSY_BY_MESSAGES), 0);
    message_put(one);
    message_put(two);
}

Test(busy_topics, what_was_published_is_forgotten_after_a_while)
{
    struct message *const m = message("t", 1);
    publish(m, 5);
    busy_topics_turn(&b, 1000 + BUSY_WINDOW_MS);
    cr_expect_eq(count_of("t", BUSY_BY_MESSAGES), 5, "it is of the window before");
    cr_expect_eq(busy_topics_ms(&b, 1000 + BUSY_WINDOW_MS), BUSY_WINDOW_MS);
    publish(m, 2);
    cr_expect_eq(count_of("t", BUSY_BY_MESSAGES), 7);
    busy_topics_turn(&b, 1000 + 2 * BUSY_WINDOW_MS);
    cr_expect_eq(count_of("t", BUSY_BY_MESSAGES), 2);
    busy_topics_turn(&b, 1000 + 9 * BUSY_WINDOW_MS);
    cr_expect_eq(count_of("t", BUSY_BY_MESSAGES), 0, "nothing came for long");
    cr_expect_eq(busy_topics_ms(&b, 1000 + 9 * BUSY_WINDOW_MS), 0);
    message_put(m);
}

/* A stream of 200,000 a second, of which one topic has a third, for three seconds. */
Test(busy_topics, a_stream_costs_few_samples_and_is_estimated)
{
    struct message *const heavy = message("heavy", 100), *others[1000];
    unsigned samples = 0, published = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "other/%u", i);
        others[i] = message(topic, 100);
    }
    for (uint64_t now_ms = 1000; now_ms < 4000; now_ms++) {
        busy_topics_turn(&b, now_ms);
        for (unsigned i = 0; i < 200; i++) {
            samples += publish(i % 3 == 0 ? heavy : others[published % 1000], 1);
            published++;
        }
    }
    cr_expect_lt(samples, 3 * 1000, "%u samples of %u", samples, published);
    const double share = (double)count_of("heavy", BUSY_BY_MESSAGES) / published;
    cr_expect(fabs(share - 1.0 / 3) < 0.06, "%f", share);
    const double bytes = (double)count_of("heavy", BUSY_BY_BYTES) / published / 100;
    cr_expect(fabs(bytes - 1.0 / 3) < 0.06, "%f", bytes);
    for (unsigned i = 0; i < 1000; i++) {
        message_put(others[i]);
    }
    message_put(heavy);
}

/* After a stream what comes now and then is seen again, at once. */
Test(busy_topics, each_message_counts_again_when_a_stream_is_over)
{
    struct message *const m = message("stream", 0), *const rare = message("rare", 0);
    publish(m, 1000000);
    cr_expect_gt(b.stride, 1000);
    busy_topics_turn(&b, 1000 + 30 * BUSY_LOOK_MS);
    cr_expect_eq(publish(rare, 10), 10);
    cr_expect_eq(count_of("rare", BUSY_BY_MESSAGES), 10);
    message_put(m);
    message_put(rare);
}

/* Space-Saving: who has more than the MAXth part of all is in it, and a count is at most its error
 * too large, and never too small. Each message is a sample here. */
Test(busy_topics, who_has_much_is_in_it_however_many_there_are)
{
    struct message *const heavy = message("heavy", 1);
    for (unsigned i = 0; i < 3000; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "other/%u", i);
        struct message *const other = message(topic, 1);
        busy_topics_sample(&b, other);
        b.stride = 1;
        message_put(other);
        if (i % 20 == 0) {
            busy_topics_sample(&b, heavy);
            b.stride = 1;
        }
    }
    const struct busy_sketch *const s = &b.windows[b.current].sketches[BUSY_BY_MESSAGES];
    cr_expect_eq(s->used, BUSY_TOPICS_MAX);
    unsigned found = 0;
    for (uint32_t i = 0; i < s->used; i++) {
        if (s->all[i].hash == heavy->topic_hash) {
            found++;
            cr_expect_geq(s->all[i].count, 150);
            cr_expect_leq(s->all[i].count - s->all[i].error, 150);
        } else {
            cr_expect_leq(s->all[i].count - s->all[i].error, 1);
        }
    }
    cr_expect_eq(found, 1);
    message_put(heavy);
}
