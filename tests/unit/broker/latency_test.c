/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured, and what is not, of the way from a publisher to a subscriber. */
#include "broker/shard/latency.h"

#include <criterion/criterion.h>

#include "broker/counters.h"
#include "broker/histogram.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"

static uint64_t count_of(const struct fake_node *n, enum histogram which)
{
    struct histogram_sum sum;
    uint64_t count = 0;
    counters_histogram(n->node, which, &sum);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += sum.count[i];
    }
    return count;
}

static uint64_t sum_us_of(const struct fake_node *n, enum histogram which)
{
    struct histogram_sum sum;
    counters_histogram(n->node, which, &sum);
    return sum.sum_us;
}

/* Every bound belongs to its bucket, and what is above it to the next one. */
Test(latency, buckets_double)
{
    cr_expect_eq(histogram_bucket(0), 0);
    uint64_t bound_us = HISTOGRAM_FIRST_US;
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++, bound_us *= 2) {
        cr_expect_eq(histogram_bucket(bound_us), i, "%u", i);
        cr_expect_eq(histogram_bucket(bound_us + 1), i + 1, "%u", i);
    }
    cr_expect_eq(bound_us / 2, 16777216);
    cr_expect_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BOUNDS);
}

Test(latency, a_delivery_counts_once_at_the_subscribers_qos)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    for (uint8_t qos = 0; qos < 3; qos++) {
        static const char *const ids[] = {"a", "b", "c"};
        client_subscribe(client_connect(n, 0, ids[qos], TERMS()), "t", qos);
    }
    client_say(pub, "t", "1", 2);
    client_say(pub, "t", "2", 0);
    fake_node_settle(n);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos0), 4);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos1), 1);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos2), 1);
    fake_node_destroy(n);
}

/* A client that does not acknowledge keeps what comes waiting, and that is seen. */
Test(latency, what_waits_for_the_window_has_waited)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    struct fake_client *sub =
        client_connect(n, 0, "sub", TERMS(.receive_maximum = 1, .silent = true));
    client_subscribe(sub, "t", 1);
    client_say(pub, "t", "1", 1);
    client_say(pub, "t", "2", 1);
    fake_node_settle(n);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos1), 1);
    cr_expect_eq(sum_us_of(n, HISTOGRAM_delivery_qos1), 0);

    fake_node_advance(n, 3000);
    client_send_ack(sub, MQTT_PUBACK, 1, 0);
    fake_node_settle(n);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos1), 2);
    cr_expect_eq(sum_us_of(n, HISTOGRAM_delivery_qos1), 3000000);
    fake_node_destroy(n);
}

/* Nor is what comes again. */
Test(latency, the_time_that_a_client_is_away_is_not_ours)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    struct fake_client *sub =
        client_connect(n, 0, "sub", TERMS(.session_expiry_s = 100, .silent = true));
    client_subscribe(sub, "t", 1);
    client_say(pub, "t", "sent, not acknowledged", 1);
    fake_node_settle(n);
    client_send_disconnect(sub, 0);
    fake_node_settle(n);
    client_say(pub, "t", "queued", 1);
    fake_node_advance(n, 5000);

    sub = client_connect(n, 0, "sub", TERMS(.session_expiry_s = 100));
    fake_node_settle(n);
    cr_expect_eq(fake_node_count(n, METRIC_publish_sent), 3);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos1), 1);
    client_say(pub, "t", "live", 1);
    fake_node_settle(n);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos1), 2);
    cr_expect_eq(sum_us_of(n, HISTOGRAM_delivery_qos1), 0);
    fake_node_destroy(n);
}

Test(latency, what_was_retained_is_not_late)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
    client_send_publish(pub, SAY(.topic = "t", .payload = "1", .qos = 1, .retain = true));
    fake_node_advance(n, 5000);
    client_subscribe(sub, "t", 1);
    client_subscribe(sub, "+", 0);
    fake_node_settle(n);
    cr_expect_eq(fake_node_count(n, METRIC_retained_replayed), 2);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos0), 0);
    cr_expect_eq(count_of(n, HISTOGRAM_delivery_qos1), 0);
    fake_node_destroy(n);
}

Test(latency, deliveries_of_several_moments_have_each_its_time)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct shard *s = fake_node_enter(n, 0);
    const uint64_t now_us = n->node->clock_us();
    latency_delivered(s, (uint32_t)(now_us - 100), 0);
    latency_delivered(s, (uint32_t)(now_us - 100), 0);
    latency_delivered(s, (uint32_t)(now_us - 20), 0);
    latency_delivered(s, 0, 0); /* not to be measured */
    latency_sent(s, now_us + 1);
    latency_sent(s, now_us + 1000);
    struct histogram_sum sum;
    counters_histogram(n->node, HISTOGRAM_delivery_qos0, &sum);
    cr_expect_eq(sum.count[histogram_bucket(100)], 2);
    cr_expect_eq(sum.count[histogram_bucket(21)], 1);
    cr_expect_eq(sum.sum_us, 221);
    fake_node_destroy(n);
}

/* What is said of a sleep that is over by then means nothing. */
Test(latency, a_wake_up_is_of_its_sleep)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct shard *s = fake_node_enter(n, 0);
    latency_asleep(s);
    latency_wake_asked(s, latency_sleep_of(s), 1000);
    latency_awake(s, 1070);
    latency_awake(s, 2000);
    cr_expect_eq(count_of(n, HISTOGRAM_wake_up), 1);
    cr_expect_eq(sum_us_of(n, HISTOGRAM_wake_up), 70);

    const uint64_t sleep = latency_sleep_of(s);
    latency_asleep(s);
    latency_wake_asked(s, sleep, 3000);
    latency_awake(s, 9000);
    cr_expect_eq(count_of(n, HISTOGRAM_wake_up), 1);
    fake_node_destroy(n);
}

Test(latency, turns_are_counted)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    const uint64_t turns = fake_node_count(n, METRIC_turns);
    fake_node_step(n, 0);
    cr_expect_eq(fake_node_count(n, METRIC_turns), turns + 1);
    cr_expect_eq(count_of(n, HISTOGRAM_turn), turns + 1);
    fake_node_destroy(n);
}
