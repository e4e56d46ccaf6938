/* SPDX-License-Identifier: Apache-2.0 */
/* Retained messages: stored on the shard of their topic, replayed to new subscriptions. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"

#define SHARDS_MAX 3u

static void retain(struct fake_client *c, const char *topic, const char *payload, uint8_t qos)
{
    client_send_publish(c, SAY(.topic = topic, .payload = payload, .qos = qos, .retain = true));
    fake_node_settle(c->n);
}

Test(retain, the_last_message_awaits_a_new_subscription)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *sub = client_connect(n, shards - 1, "sub", TERMS());
        static const char *const topics[] = {"a/x", "b/x", "c/x", "d/x", "e/x", "f/x"};
        for (unsigned i = 0; i < 6; i++) {
            retain(pub, topics[i], "old", 1);
            retain(pub, topics[i], topics[i], (uint8_t)(i % 3));
        }
        cr_expect_eq(atomic_load(&n->node->retained), 6);
        client_subscribe(sub, "a/x", 2);
        cr_expect_str_eq(client_heard(sub), "a/x=a/x/0r");
        client_subscribe(sub, "c/+", 1);
        cr_expect_str_eq(client_heard(sub), "c/x=c/x/1r");
        client_subscribe(sub, "+/x", 2); /* asks every shard */
        cr_expect_eq(client_heard_count(sub), 6, "%u shards", shards);
        client_subscribe(sub, "nobody", 2);
        cr_expect_str_empty(client_heard(sub));

        retain(pub, "c/x", "", 1); /* [MQTT-3.3.1-6]; it is a message all the same */
        cr_expect_eq(client_heard_count(sub), 1);
        client_subscribe(sub, "c/#", 2);
        cr_expect_str_empty(client_heard(sub));
        cr_expect_eq(atomic_load(&n->node->retained), 5);
        cr_expect_eq(fake_node_count(n, METRIC_retained_deleted), 1);
        cr_expect_eq(fake_node_count(n, METRIC_retained_set), 12);
        cr_expect_eq(fake_node_count(n, METRIC_retained_replayed), 8);
        fake_node_destroy(n);
    }
}

/* (3.8.3.1) */
Test(retain, handling_is_as_the_subscription_says)
{
    static const struct {
        uint8_t handling;
        bool first, again;
    } rows[] = {{0, true, true}, {1, true, false}, {2, false, false}};
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned i = 0; i < 3; i++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            struct fake_client *c = client_connect(n, 0, "me", TERMS());
            retain(c, "t", "1", 1);
            const struct ask *ask =
                ASK(.filter = "t", .qos = 1, .retain_handling = rows[i].handling);
            client_subscribe_as(c, ask);
            cr_expect_eq(client_heard_count(c), rows[i].first);
            client_subscribe_as(c, ask);
            cr_expect_eq(client_heard_count(c), rows[i].again);
            client_unsubscribe(c, "t");
            client_subscribe_as(c, ask);
            cr_expect_eq(client_heard_count(c), rows[i].first);
            fake_node_destroy(n);
        }
    }
}

/* [MQTT-3.3.1-12, 3.3.1-13]; of overlapping subscriptions one that asks is enough. */
Test(retain, the_flag_is_passed_on_if_asked_for)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *a = client_connect(n, 0, "a", TERMS());
        struct fake_client *b = client_connect(n, 0, "b", TERMS());
        struct fake_client *both = client_connect(n, 0, "both", TERMS());
        client_subscribe_as(a, ASK(.filter = "t", .retain_as_published = true));
        client_subscribe(b, "t", 0);
        client_subscribe_as(both, ASK(.filter = "t", .qos = 0));
        client_subscribe_as(both, ASK(.filter = "+", .qos = 1, .retain_as_published = true));
        struct fake_client *pub = client_connect(n, shards - 1, "pub", TERMS());
        retain(pub, "t", "1", 1);
        client_say(pub, "t", "2", 1);
        cr_expect_str_eq(client_heard(a), "t=1/0r t=2/0");
        cr_expect_str_eq(client_heard(b), "t=1/0 t=2/0");
        cr_expect_str_eq(client_heard(both), "t=1/1r t=2/1");
        fake_node_destroy(n);
    }
}

Test(retain, shared_subscriptions_get_no_old_messages)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    retain(c, "t", "1", 1);
    retain(c, "$share/g/t", "1", 1); /* not the filter, though it looks like it */
    cr_expect_eq(client_subscribe(c, "$share/g/t", 1), 1);
    cr_expect_str_empty(client_heard(c));
    retain(c, "t", "2", 1);
    cr_expect_str_eq(client_heard(c), "t=2/1");
    fake_node_destroy(n);
}

Test(retain, messages_expire)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS());
        for (unsigned i = 0; i < 10; i++) {
            char topic[8];
            snprintf(topic, sizeof topic, "%u/t", i);
            client_send_publish(c, SAY(.topic = topic, .payload = "1", .qos = 1, .retain = true,
                                       .has_expiry = i % 2 == 0, .expiry_s = 10));
        }
        fake_node_settle(n);
        fake_node_advance(n, 7500);
        client_subscribe(c, "0/t", 1);
        const struct got *g = client_take(c, MQTT_PUBLISH);
        cr_assert_not_null(g);
        cr_expect_eq(g->message_expiry_interval_s, 3); /* what is left, begun seconds whole */
        for (unsigned i = 0; i < 6; i++) {             /* a few are dropped each second */
            fake_node_advance(n, 1000);
        }
        client_subscribe(c, "+/t", 1);
        cr_expect_eq(client_heard_count(c), 5);
        cr_expect_eq(atomic_load(&n->node->retained), 5);
        cr_expect_eq(fake_node_count(n, METRIC_retained_expired), 5);
        fake_node_destroy(n);
    }
}

/* The exchange has ended with the refusal: the identifier is free for another message. */
Test(retain, what_was_refused_holds_no_packet_identifier)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.retained_messages_max=1"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
    client_subscribe(sub, "#", 2);
    retain(pub, "a", "1", 1);
    client_send_publish(
        pub, SAY(.topic = "b", .payload = "1", .qos = 2, .retain = true, .packet_id = 9));
    cr_assert_eq(client_take(pub, MQTT_PUBREC)->reason, MQTT_REASON_QUOTA_EXCEEDED);
    client_send_publish(pub, SAY(.topic = "b", .payload = "2", .qos = 2, .packet_id = 9));
    cr_expect_str_eq(client_heard(sub), "a=1/1 b=2/2");
    fake_node_destroy(n);
}

Test(retain, there_is_a_limit)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS("limits.retained_messages_max=2"));
        struct fake_client *new = client_connect(n, 0, "new", TERMS());
        struct fake_client *old = client_connect(n, 0, "old", TERMS(.version = MQTT_V311));
        struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
        client_subscribe(sub, "#", 1);
        retain(new, "a", "1", 1);
        retain(new, "b", "1", 1);
        cr_expect_eq(client_take(new, MQTT_PUBACK)->reason, 0);
        cr_expect_eq(client_take(new, MQTT_PUBACK)->reason, 0);
        retain(new, "a", "2", 1); /* replacing is no growth */
        cr_expect_eq(client_take(new, MQTT_PUBACK)->reason, 0);
        cr_expect_eq(client_heard_count(sub), 3);
        retain(new, "c", "1", 1);
        cr_expect_eq(client_take(new, MQTT_PUBACK)->reason, MQTT_REASON_QUOTA_EXCEEDED);
        retain(new, "d", "1", 2);
        cr_expect_eq(client_take(new, MQTT_PUBREC)->reason, MQTT_REASON_QUOTA_EXCEEDED);
        cr_expect_eq(client_heard_count(sub), 0);
        retain(new, "e", "1", 0); /* what cannot be refused goes to those who are there */
        retain(old, "f", "1", 1);
        cr_expect_not_null(client_take(old, MQTT_PUBACK));
        cr_expect_eq(client_heard_count(sub), 2);
        cr_expect_eq(fake_node_count(n, METRIC_retained_refused), 4);
        cr_expect_eq(fake_node_count(n, METRIC_drop_refused), 2);
        cr_expect_eq(fake_node_drops(n), 2);
        cr_expect_eq(atomic_load(&n->node->retained), 2);
        retain(new, "b", "", 1);
        retain(new, "c", "1", 1);
        cr_expect_eq(client_take(new, MQTT_PUBACK)->reason, 0);
        fake_node_destroy(n);
    }
}

/* ---- a lot of them, through narrow queues */

#define MANY 3000u

static void retain_many(struct fake_client *pub, unsigned qos)
{
    for (unsigned i = 0; i < MANY; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "%u/%u/x", i % 40, i);
        client_send_publish(pub, SAY(.topic = topic, .payload_len = 1 + i % 50, .qos = (uint8_t)qos,
                                     .retain = true));
    }
    fake_node_settle(pub->n);
}

/* Each of them once. */
static void expect_all(struct fake_client *sub, unsigned qos)
{
    static bool seen[MANY];
    memset(seen, 0, sizeof seen);
    unsigned count = 0;
    for (const struct got *g; (g = client_take(sub, MQTT_PUBLISH)) != NULL; count++) {
        unsigned first, number;
        cr_assert_eq(sscanf(g->topic, "%u/%u/x", &first, &number), 2);
        cr_assert_not(seen[number], "%s came twice", g->topic);
        cr_assert(g->retain);
        cr_assert_eq(g->qos, qos);
        cr_assert_eq(g->payload_len, 1 + number % 50);
        seen[number] = true;
    }
    cr_expect_eq(count, MANY, "%u of %u", count, MANY);
}

Test(retain, thousands_arrive_once_each_through_a_narrow_queue, .timeout = 120)
{
    static const char *const filters[] = {"#", "+/+/x", "+/#"};
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned qos = 0; qos <= 2; qos++) {
            struct fake_node *n = fake_node_create(
                shards, SETTINGS("limits.session_queue_messages_max=10", "limits.inflight_max=4",
                                 "limits.output_bytes_max=1024", "limits.receive_maximum=65535"));
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            retain_many(pub, qos);
            cr_assert_eq(atomic_load(&n->node->retained), MANY);
            struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
            client_subscribe(sub, filters[qos], (uint8_t)qos);
            expect_all(sub, qos);
            cr_expect_eq(fake_node_drops(n), 0);
            fake_node_destroy(n);
        }
    }
}

/* The session sleeps, its client comes back, and the replay goes on. */
Test(retain, a_replay_goes_on_after_a_reconnect)
{
    struct fake_node *n = fake_node_create(
        3, SETTINGS("limits.session_queue_messages_max=100", "limits.receive_maximum=65535"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    retain_many(pub, 1);
    const struct terms *terms =
        TERMS(.session_expiry_s = 60, .receive_maximum = 10, .silent = true);
    struct fake_client *sub = client_connect(n, 0, "sub", terms);
    client_subscribe(sub, "#", 1);
    cr_expect_eq(client_heard_count(sub), 10);
    client_reset(sub);
    fake_node_settle(n);
    fake_node_advance(n, 1000);
    sub = client_connect(n, 0, "sub", TERMS(.session_expiry_s = 60, .receive_maximum = 10));
    expect_all(sub, 1);
    fake_node_destroy(n);
}

/* The batch comes when there is no room any more, and is thrown away whole with the connection.
 * Which clients and topics are on which shard is tried out. */
static void look_up_in_vain(unsigned shard, char level, const char *publisher)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.session_queue_messages_max=40"));
    const char topic[] = {level, '/', '1', 0}, filter[] = {level, '/', '+', 0};
    struct fake_client *pub = client_connect(n, 0, publisher, TERMS());
    struct fake_client *sub = client_connect(
        n, 0, "sub", TERMS(.session_expiry_s = 60, .receive_maximum = 1, .silent = true));
    client_send_publish(pub, SAY(.topic = topic, .payload = "kept", .qos = 1, .retain = true));
    client_subscribe(sub, "live", 1);
    client_send_subscribe(sub, ASK(.filter = filter, .qos = 1));
    fake_node_step(n, shard);
    fake_node_step(n, 1 - shard); /* the subscription is in the index */
    fake_node_step(n, shard);     /* and asks for what is retained */
    for (unsigned i = 0; i < 30; i++) {
        client_send_publish(pub, SAY(.topic = "live", .payload = "x", .qos = 1));
    }
    fake_node_step(n, shard); /* there is no room any more */
    fake_node_settle(n);
    client_reset(sub);
    fake_node_settle(n);
    sub = client_connect(n, 0, "sub", TERMS(.session_expiry_s = 60));
    cr_expect_not_null(strstr(client_heard(sub), "=kept"), "%s", topic);
    fake_node_destroy(n);
}

Test(retain, what_was_looked_up_in_vain_is_looked_up_again)
{
    for (const char *level = "abcdefgh"; *level != 0; level++) {
        for (unsigned shard = 0; shard < 2; shard++) {
            look_up_in_vain(shard, *level, "p1");
            look_up_in_vain(shard, *level, "p2");
            look_up_in_vain(shard, *level, "p3");
        }
    }
}

/* Who unsubscribes, leaves, or ends in the middle gets no more; nothing is left in memory. */
Test(retain, a_replay_may_be_abandoned)
{
    for (unsigned how = 0; how < 5; how++) {
        struct fake_node *n = fake_node_create(
            3, SETTINGS("limits.session_queue_messages_max=100", "limits.receive_maximum=65535"));
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        retain_many(pub, 1);
        struct fake_client *sub =
            client_connect(n, 0, "sub", TERMS(.receive_maximum = 10, .silent = true));
        client_send_subscribe(sub, ASK(.filter = "#", .qos = 1));
        client_send_subscribe(sub, ASK(.filter = "+/#", .qos = 1));
        for (unsigned turn = 0; turn < how; turn++) { /* the request may be anywhere */
            for (unsigned i = 0; i < 3; i++) {
                fake_node_step(n, i);
            }
        }
        if (how == 4) {
            fake_node_settle(n);
        }
        client_send_unsubscribe(sub, "#");
        client_send_unsubscribe(sub, "+/#");
        if (how % 2 == 1) {
            client_reset(sub);
        }
        fake_node_settle(n);
        sub->acks = true;
        cr_expect_leq(client_heard_count(sub), 20 + 150);
        fake_node_destroy(n);
    }
}

/* A stored message and the live one may both come, but never neither. */
Test(retain, a_message_on_its_way_meets_a_new_subscription)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned steps = 0; steps < 20; steps++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            struct fake_client *sub = client_connect(n, shards - 1, "sub", TERMS());
            client_send_publish(pub, SAY(.topic = "t", .payload = "1", .qos = 1, .retain = true));
            for (unsigned i = 0; i < steps; i++) {
                fake_node_step(n, i * 7 % shards);
            }
            client_send_subscribe(sub, ASK(.filter = "+", .qos = 1));
            cr_expect_geq(client_heard_count(sub), 1, "%u shards, %u steps", shards, steps);
            fake_node_destroy(n);
        }
    }
}
