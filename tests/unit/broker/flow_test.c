/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens at the bounds: windows, queues, outputs, mailboxes, memory; and that whatever is
 * missing is counted, under one reason.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"

#define SHARDS_MAX 3u

/* Numbers as payloads; what is heard must go up by ones from the first one, up to and without the
 * last. */
static void say_numbers(struct fake_client *pub, unsigned from, unsigned to, uint8_t qos)
{
    for (unsigned i = from; i < to; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%u", i);
        client_say(pub, "t", payload, qos);
    }
}

static void expect_numbers(struct fake_client *c, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        const struct got *g = client_take(c, MQTT_PUBLISH);
        cr_assert_not_null(g, "%u is missing", i);
        cr_assert_eq(strtoul(g->payload, NULL, 10), i, "%s, not %u", g->payload, i);
    }
    const struct got *g = client_take(c, MQTT_PUBLISH);
    cr_expect_null(g, "%s is too much", g == NULL ? "" : g->payload);
}

/* ---- windows */

/* [MQTT-3.3.4-9]: QoS 0 goes on. */
Test(flow, the_clients_receive_maximum_is_kept)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (uint8_t qos = 1; qos <= 2; qos++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS("limits.inflight_max=5"));
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            struct fake_client *a =
                client_connect(n, 0, "a", TERMS(.receive_maximum = 3, .silent = true));
            struct fake_client *b =
                client_connect(n, 0, "b", TERMS(.receive_maximum = 9, .silent = true));
            client_subscribe(a, "t", qos);
            client_subscribe(b, "t", qos);
            say_numbers(pub, 0, 8, qos);
            expect_numbers(a, 0, 3);
            expect_numbers(b, 0, 5);
            client_say(pub, "t", "q0", 0);
            cr_expect_str_eq(client_heard(a), "t=q0/0");

            client_send_ack(a, qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, 2, 0);
            if (qos == 2) {
                cr_expect_str_empty(client_heard(a)); /* the quota comes back with PUBCOMP */
                client_send_ack(a, MQTT_PUBCOMP, 2, 0);
            }
            expect_numbers(a, 3, 4);
            cr_expect_eq(fake_node_drops(n), 0);
            fake_node_destroy(n);
        }
    }
}

/* [MQTT-3.3.4-7]: one more than allowed ends the connection. */
Test(flow, ours_must_be_kept)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.receive_maximum=3"));
    struct fake_client *c = client_connect(n, 0, "a", TERMS(.silent = true));
    for (unsigned i = 0; i < 3; i++) {
        client_say(c, "t", "1", 2);
    }
    cr_expect_not(client_is_ended(c));
    client_send_ack(c, MQTT_PUBREL, 2, 0);
    client_say(c, "t", "1", 2);
    cr_expect_not(client_is_ended(c));
    client_say(c, "t", "1", 2);
    const struct got *g = client_take(c, MQTT_DISCONNECT);
    cr_assert_not_null(g);
    cr_expect_eq(g->reason, MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED);
    fake_node_destroy(n);
}

/* What an earlier connection has left open is not of this one's quota (4.9). */
Test(flow, our_receive_maximum_is_each_connections)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.receive_maximum=3"));
    const struct terms *terms = TERMS(.session_expiry_s = 60, .silent = true);
    struct fake_client *c = client_connect(n, 0, "me", terms);
    for (uint16_t id = 1; id <= 2; id++) {
        client_send_publish(c, SAY(.topic = "t", .payload = "x", .qos = 2, .packet_id = id));
    }
    fake_node_settle(n);
    client_reset(c);
    fake_node_settle(n);
    c = client_connect(n, 0, "me", terms);
    cr_assert(c->connack.session_present);
    for (uint16_t id = 3; id <= 5; id++) {
        client_send_publish(c, SAY(.topic = "t", .payload = "x", .qos = 2, .packet_id = id));
    }
    cr_expect_not(client_is_ended(c));
    client_send_publish(c, SAY(.topic = "t", .payload = "x", .qos = 2, .packet_id = 6));
    const struct got *g = client_take(c, MQTT_DISCONNECT);
    cr_assert_not_null(g);
    cr_expect_eq(g->reason, MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED);
    fake_node_destroy(n);
}

/* Acknowledgements of nothing, of the wrong kind, twice. */
static const struct {
    const char *name;
    uint8_t qos;
    enum mqtt_type type;
    uint16_t packet_id;
    bool breach;
    enum mqtt_type answer; /* 0: none */
} odd_acks[] = {
    {"PUBACK of nothing", 1, MQTT_PUBACK, 77, false, 0},
    {"PUBACK at QoS 2", 2, MQTT_PUBACK, 1, true, 0},
    {"PUBREC at QoS 1", 1, MQTT_PUBREC, 1, true, 0},
    {"PUBREC of nothing", 1, MQTT_PUBREC, 77, false, MQTT_PUBREL},
    {"PUBCOMP of nothing", 2, MQTT_PUBCOMP, 77, false, 0},
    {"PUBCOMP before PUBREC", 2, MQTT_PUBCOMP, 1, true, 0},
    {"PUBCOMP at QoS 1", 1, MQTT_PUBCOMP, 1, true, 0},
};

Test(flow, odd_acknowledgements_do_no_harm)
{
    for (size_t i = 0; i < sizeof odd_acks / sizeof odd_acks[0]; i++) {
        struct fake_node *n = fake_node_create(1, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "a", TERMS(.silent = true));
        client_subscribe(c, "t", 2);
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        client_say(pub, "t", "1", odd_acks[i].qos);
        fake_node_settle(n);
        client_send_ack(c, odd_acks[i].type, odd_acks[i].packet_id, 0);
        cr_expect_eq(client_is_ended(c), odd_acks[i].breach, "%s", odd_acks[i].name);
        if (odd_acks[i].answer != 0) {
            const struct got *g = client_take(c, odd_acks[i].answer);
            cr_assert_not_null(g, "%s", odd_acks[i].name);
            cr_expect_eq(g->reason, MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND);
        }
        fake_node_destroy(n);
    }
}

/* [MQTT-3.1.2-24]: too large is as good as delivered. */
Test(flow, the_clients_maximum_packet_size_is_kept)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (uint8_t qos = 0; qos <= 2; qos++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            struct fake_client *c = client_connect(
                n, 0, "me", TERMS(.maximum_packet_size = 60, .topic_alias_maximum = 3));
            client_subscribe(c, "long/topic", qos);
            for (unsigned i = 0; i < 4; i++) { /* an alias is learnt in between, or is not */
                client_send_publish(
                    pub, SAY(.topic = "long/topic", .qos = qos, .payload_len = i % 2 ? 20 : 60));
            }
            cr_expect_eq(client_heard_count(c), 2);
            cr_expect_eq(fake_node_count(n, METRIC_drop_too_large), 2);
            cr_expect_eq(fake_node_drops(n), 2);
            fake_node_destroy(n);
        }
    }
}

Test(flow, aliases_name_the_topics_that_come_again)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.topic_alias_maximum=4"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS(.topic_alias_maximum = 10));
    cr_expect_eq(c->connack.topic_alias_maximum, 4);
    client_subscribe(c, "#", 1);
    client_send_publish(pub, SAY(.topic = "some/topic", .payload = "1", .alias = 2));
    client_send_publish(pub, SAY(.topic = "", .payload = "2", .alias = 2));
    client_send_publish(pub, SAY(.topic = "another/one", .payload = "3", .alias = 2));
    client_send_publish(pub, SAY(.topic = "", .payload = "4", .alias = 2, .qos = 1));
    client_send_publish(pub, SAY(.topic = "some/topic", .payload = "5"));
    char known[8][128] = {{0}};
    for (unsigned i = 1; i <= 5; i++) {
        const struct got *g = client_take(c, MQTT_PUBLISH);
        cr_assert_not_null(g);
        cr_assert_leq(g->topic_alias, 4);
        if (g->topic[0] != '\0' && g->topic_alias != 0) {
            snprintf(known[g->topic_alias], sizeof known[0], "%s", g->topic);
        }
        const char *topic = g->topic[0] != '\0' ? g->topic : known[g->topic_alias];
        cr_expect_str_eq(topic, i == 3 || i == 4 ? "another/one" : "some/topic");
        cr_expect_eq(strtoul(g->payload, NULL, 10), i);
    }
    client_send_publish(pub, SAY(.topic = "x", .alias = 5));
    cr_expect_eq(client_take(pub, MQTT_DISCONNECT)->reason, MQTT_REASON_TOPIC_ALIAS_INVALID);
    fake_node_destroy(n);
}

/* The packet with the new alias is too large for the client, and never sent. */
Test(flow, the_client_has_seen_each_alias_that_is_used)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *sub =
        client_connect(n, 0, "sub", TERMS(.topic_alias_maximum = 4, .maximum_packet_size = 100));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    client_subscribe(sub, "some/long/topic", 0);
    client_say(pub, "some/long/topic", "first", 0);
    client_send_publish(pub, SAY(.topic = "some/long/topic", .payload = "x", .payload_len = 200));
    client_say(pub, "some/long/topic", "third", 0);
    fake_node_settle(n);
    const struct got *g = client_take(sub, MQTT_PUBLISH);
    cr_assert_not_null(g);
    cr_expect_str_eq(g->payload, "first");
    g = client_take(sub, MQTT_PUBLISH);
    cr_assert_not_null(g);
    cr_expect_str_eq(g->payload, "third");
    cr_expect_str_eq(g->topic, "some/long/topic");
    fake_node_destroy(n);
}

Test(flow, messages_expire_where_they_wait)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        const struct terms *terms =
            TERMS(.session_expiry_s = 600, .receive_maximum = 1, .silent = true);
        struct fake_client *c = client_connect(n, 0, "me", terms);
        client_subscribe(c, "t", 1);
        for (unsigned i = 0; i < 4; i++) {
            char payload[8];
            snprintf(payload, sizeof payload, "%u", i);
            client_send_publish(pub, SAY(.topic = "t", .payload = payload, .qos = 1,
                                         .has_expiry = true, .expiry_s = 10 * (i + 1)));
        }
        cr_expect_str_eq(client_heard(c), "t=0/1");
        fake_node_advance(n, 20001); /* 0 was begun, 1 has expired */
        client_reset(c);
        fake_node_settle(n);
        c = client_connect(n, 0, "me", terms);
        c->acks = true;
        struct got g = *client_take(c, MQTT_PUBLISH);
        cr_expect(g.dup);
        cr_expect_str_eq(g.payload, "0");
        cr_expect_eq(g.message_expiry_interval_s, 0);
        client_send_ack(c, MQTT_PUBACK, g.packet_id, 0);
        g = *client_take(c, MQTT_PUBLISH);
        cr_expect_str_eq(g.payload, "2");
        cr_expect_eq(g.message_expiry_interval_s, 10); /* 9.999 */
        g = *client_take(c, MQTT_PUBLISH);
        cr_expect_str_eq(g.payload, "3");
        cr_expect_eq(fake_node_count(n, METRIC_drop_expired), 1);
        cr_expect_eq(fake_node_drops(n), 1);
        fake_node_destroy(n);
    }
}

/* ---- queues */

static const struct {
    const char *policy, *limit;
    unsigned first, last; /* of forty that come while the client is away */
    enum metric reason;
} queues[] = {
    {"drop_oldest", "limits.session_queue_messages_max=4", 36, 40, METRIC_drop_queue_full_oldest},
    {"drop_newest", "limits.session_queue_messages_max=4", 0, 4, METRIC_drop_queue_full_newest},
    {"disconnect", "limits.session_queue_messages_max=4", 0, 4, METRIC_drop_queue_full_newest},
    {"drop_newest", "limits.session_queue_bytes_max=1024", 0, 0, METRIC_drop_queue_full_newest},
    {"drop_oldest", "limits.session_queue_bytes_max=1024", 0, 40, METRIC_drop_queue_full_oldest},
};

Test(flow, a_full_queue_does_as_it_is_told)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
            char policy[64];
            snprintf(policy, sizeof policy, "limits.session_queue_full=%s", queues[i].policy);
            struct fake_node *n = fake_node_create(shards, SETTINGS(policy, queues[i].limit));
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            const struct terms *terms = TERMS(.session_expiry_s = 60);
            struct fake_client *c = client_connect(n, 0, "me", terms);
            client_subscribe(c, "t", 2);
            client_finish(c);
            fake_node_settle(n);
            say_numbers(pub, 0, 40, 1);
            fake_node_settle(n);
            const uint64_t dropped = fake_node_count(n, queues[i].reason);
            unsigned first = queues[i].first, last = queues[i].last;
            if (i >= 3) { /* by bytes: as many as there is room for */
                cr_expect_gt(dropped, 0);
                cr_expect_lt(dropped, 40);
                first += last == 40 ? (unsigned)dropped : 0;
                last = last == 40 ? 40 : 40 - (unsigned)dropped;
            }
            c = client_connect(n, 0, "me", terms);
            expect_numbers(c, first, last);
            cr_expect_eq(dropped, 40 - (last - first), "%s", queues[i].policy);
            cr_expect_eq(fake_node_drops(n), dropped);
            fake_node_destroy(n);
        }
    }
}

Test(flow, who_is_too_slow_may_be_disconnected)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n =
            fake_node_create(shards, SETTINGS("limits.session_queue_full=disconnect",
                                              "limits.session_queue_messages_max=4"));
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *c = client_connect(
            n, 0, "me", TERMS(.session_expiry_s = 60, .receive_maximum = 2, .silent = true));
        client_subscribe(c, "t", 1);
        say_numbers(pub, 0, 6, 1);
        cr_expect_not(client_is_ended(c));
        say_numbers(pub, 6, 7, 1);
        const struct got *g = client_take(c, MQTT_DISCONNECT);
        cr_assert_not_null(g);
        cr_expect_eq(g->reason, MQTT_REASON_QUOTA_EXCEEDED);
        c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60));
        expect_numbers(c, 0, 6);
        cr_expect_eq(fake_node_drops(n), 1);
        fake_node_destroy(n);
    }
}

/* All of it went in the turn of the next message. */
Test(flow, a_queue_that_has_become_too_long_grows_shorter_by_and_by)
{
    static const char *const limits[] = {"limits.session_queue_messages_max=10",
                                         "limits.session_queue_bytes_max=1024"};
    enum { LONG = 200 };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct fake_node *n =
            fake_node_create(1, SETTINGS("limits.session_queue_messages_max=1000"));
        const struct terms *terms = TERMS(.session_expiry_s = 60);
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *c = client_connect(n, 0, "me", terms);
        client_subscribe(c, "t", 2);
        client_finish(c);
        fake_node_settle(n);
        say_numbers(pub, 0, LONG, 1);
        fake_node_settle(n);
        fake_node_reload(n, SETTINGS(limits[i]));
        uint64_t dropped = 0;
        unsigned said = LONG;
        for (; said < LONG + 100; said++) {
            say_numbers(pub, said, said + 1, 1);
            fake_node_settle(n);
            const uint64_t now = fake_node_count(n, METRIC_drop_queue_full_oldest);
            cr_expect_gt(now, dropped, "it grows no longer");
            cr_expect_leq(now, dropped + 5);
            dropped = now;
        }
        c = client_connect(n, 0, "me", terms);
        cr_expect_leq(said - dropped, 20);
        expect_numbers(c, (unsigned)dropped, said);
        fake_node_destroy(n);
    }
}

/* ---- a client that does not read */

Test(flow, qos_0_is_dropped_for_a_client_that_does_not_read)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS("limits.output_bytes_max=4096"));
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS());
        client_subscribe(c, "t", 1);
        client_set_window(c, 0);
        for (unsigned i = 0; i < 100; i++) {
            client_send_publish(pub, SAY(.topic = "t", .payload_len = 500));
            fake_node_settle(n);
        }
        const uint64_t dropped = fake_node_count(n, METRIC_drop_qos0_output_full);
        cr_expect_geq(dropped, 100 - 4096 / 500 - 1, "%u", (unsigned)dropped);
        client_set_window(c, SIZE_MAX);
        cr_expect_eq(client_heard_count(c) + dropped, 100);
        cr_expect_eq(fake_node_drops(n), dropped);
        fake_node_destroy(n);
    }
}

/* Those who do not read take a share together; then others have little each, and get it all. */
Test(flow, unsent_output_is_bounded_over_all)
{
    enum { SLOW = 20, COUNT = 100, BYTES = 5000 };
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.message_memory_max=1048576"));
    const struct shard *s = fake_node_enter(n, 0);
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    struct fake_client *good = client_connect(n, 0, "good", TERMS());
    struct fake_client *slow[SLOW];
    client_subscribe(good, "t", 1);
    for (unsigned i = 0; i < SLOW; i++) {
        char id[16];
        snprintf(id, sizeof id, "s%u", i);
        slow[i] = client_connect(n, 0, id, TERMS());
        client_subscribe(slow[i], i % 2 == 0 ? "t" : "+", 0);
        client_set_window(slow[i], 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        client_send_publish(pub, SAY(.topic = "t", .qos = 1, .payload_len = BYTES));
        fake_node_settle(n);
    }
    cr_expect_eq(client_heard_count(good), COUNT);
    cr_expect_gt(s->unsent_bytes, 262144 - 2 * BYTES);
    cr_expect_lt(s->unsent_bytes, 262144 + SLOW * 2 * 8192);
    const uint64_t dropped = fake_node_count(n, METRIC_drop_qos0_output_full);
    uint64_t heard = 0;
    for (unsigned i = 0; i < SLOW; i++) {
        client_set_window(slow[i], SIZE_MAX);
        heard += client_heard_count(slow[i]);
    }
    cr_expect_eq(heard + dropped, SLOW * COUNT);
    cr_expect_eq(s->unsent_bytes, 0);
    client_set_window(slow[0], 0);
    client_send_publish(pub, SAY(.topic = "t", .payload_len = BYTES));
    fake_node_settle(n);
    cr_expect_gt(s->unsent_bytes, BYTES);
    client_reset(slow[0]);
    fake_node_settle(n);
    cr_expect_eq(s->unsent_bytes, 0);
    fake_node_destroy(n);
}

/* Questions are not heard of who does not read the answers, however much the others take. */
Test(flow, unsent_answers_are_bounded_over_all)
{
    enum { ASKING = 6, PINGS = 300000, SHARE = 1 << 20 };
    static uint8_t pings[2 * PINGS];
    for (unsigned i = 0; i < sizeof pings; i += 2) {
        pings[i] = 0xc0;
    }
    struct fake_node *n = fake_node_create(
        1, SETTINGS("limits.message_memory_max=4194304", "limits.output_bytes_max=262144"));
    io_fake_set_chunk(n->net, 16384);
    const struct shard *s = fake_node_enter(n, 0);
    struct fake_client *c[ASKING];
    for (unsigned i = 0; i < ASKING; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        c[i] = client_connect(n, 0, id, TERMS());
        client_set_window(c[i], 0);
        client_send_bytes(c[i], pings, sizeof pings);
        fake_node_settle(n);
    }
    cr_expect_geq(s->unsent_bytes, SHARE);
    cr_expect_lt(s->unsent_bytes, SHARE + ASKING * 2 * 8192);
    for (unsigned i = 0; i < ASKING; i++) {
        client_set_window(c[i], SIZE_MAX);
    }
    fake_node_settle(n);
    for (unsigned i = 0; i < ASKING; i++) {
        unsigned answers = 0;
        while (client_take(c[i], MQTT_PINGRESP) != NULL) {
            answers++;
        }
        cr_expect_eq(answers, PINGS);
    }
    cr_expect_eq(s->unsent_bytes, 0);
    fake_node_destroy(n);
}

Test(flow, qos_1_waits_for_a_client_that_does_not_read)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (uint8_t qos = 1; qos <= 2; qos++) {
            struct fake_node *n =
                fake_node_create(shards, SETTINGS("limits.output_bytes_max=2048"));
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            struct fake_client *c = client_connect(n, 0, "me", TERMS());
            client_subscribe(c, "t", qos);
            client_set_window(c, 0);
            say_numbers(pub, 0, 1000, qos);
            fake_node_settle(n);
            cr_expect_lt(fake_node_count(n, METRIC_publish_sent), 500);
            client_set_window(c, SIZE_MAX);
            expect_numbers(c, 0, 1000);
            cr_expect_eq(fake_node_count(n, METRIC_deliveries_acknowledged), 1000);
            cr_expect_eq(fake_node_drops(n), 0);
            fake_node_destroy(n);
        }
    }
}

/* Large payloads go by reference, and stay whole, through a straw. */
Test(flow, large_messages_pass_through_a_straw)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS());
        client_subscribe(c, "t", 1);
        client_set_window(c, 1000);
        static const size_t sizes[] = {8192, 8193, 100000, 1, 900000, 5};
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            client_send_publish(pub, SAY(.topic = "t", .qos = 1, .payload_len = sizes[i]));
        }
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            const struct got *g = client_take(c, MQTT_PUBLISH);
            cr_assert_not_null(g);
            cr_expect_eq(g->payload_len, sizes[i]);
        }
        cr_expect_eq(fake_node_drops(n), 0);
        fake_node_destroy(n);
    }
}

/* Who floods us with questions and reads no answer is not read from. */
/* It takes what it was sent and leaves, in the same moment: what it said before is heard. */
Test(flow, the_last_words_of_who_waited_are_heard)
{
    enum { PINGS = 5000 };
    static uint8_t pings[2 * PINGS];
    for (unsigned i = 0; i < sizeof pings; i += 2) {
        pings[i] = 0xc0;
    }
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.output_bytes_max=4096"));
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    client_subscribe(sub, "t", 0);
    client_set_window(c, 0);
    client_send_bytes(c, pings, sizeof pings);
    client_say(c, "t", "farewell", 0);
    fake_node_settle(n);
    cr_assert_gt(fake_node_count(n, METRIC_output_stalled), 0);
    cr_expect_str_empty(client_heard(sub));
    client_set_window(c, SIZE_MAX);
    client_finish(c);
    cr_expect_str_eq(client_heard(sub), "t=farewell/0");
    cr_expect(client_is_ended(c));
    fake_node_destroy(n);
}

Test(flow, a_flood_of_pings_is_bounded)
{
    enum { PINGS = 500000, PART = 16384 };
    static uint8_t pings[PART];
    for (unsigned i = 0; i < PART; i += 2) {
        pings[i] = 0xc0;
        pings[i + 1] = 0;
    }
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.output_bytes_max=4096"));
    io_fake_set_chunk(n->net, PART);
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    client_set_window(c, 0);
    for (unsigned sent = 0; sent < PINGS; sent += PART / 2) {
        client_send_bytes(c, pings, PART);
        fake_node_settle(n);
    }
    cr_expect_leq(fake_node_count(n, METRIC_bytes_received), 65536 + 3 * PART);
    cr_expect_leq(fake_node_count(n, METRIC_packets_received), 2 * 4096);
    cr_expect_gt(fake_node_count(n, METRIC_output_stalled), 0);
    client_set_window(c, SIZE_MAX);
    unsigned answers = 0;
    while (client_take(c, MQTT_PINGRESP) != NULL) {
        answers++;
    }
    cr_expect_geq(answers, PINGS);
    cr_expect_not(client_is_ended(c));
    fake_node_destroy(n);
}

/* ---- mail */

/* A publisher faster than the mailbox waits; nothing is lost, all in order (P2). */
Test(flow, full_mailboxes_keep_the_order)
{
    for (unsigned shards = 2; shards <= SHARDS_MAX; shards++) {
        for (uint8_t qos = 0; qos <= 2; qos++) {
            struct fake_node *n = fake_node_create(
                shards, SETTINGS("limits.receive_maximum=65535", "limits.inflight_max=65535"));
            fake_node_shrink_mail(n, 1024);
            struct fake_client *subs[6];
            for (unsigned i = 0; i < 6; i++) {
                char id[8];
                snprintf(id, sizeof id, "s%u", i);
                subs[i] = client_connect(n, 0, id, TERMS());
                client_subscribe(subs[i], i % 2 == 0 ? "t" : "+", qos);
            }
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            say_numbers(pub, 0, 1000, qos);
            fake_node_settle(n);
            cr_expect_gt(fake_node_count(n, METRIC_mail_overflowed), 0);
            cr_expect_gt(fake_node_count(n, METRIC_publish_stalled), 0);
            for (unsigned i = 0; i < 6; i++) {
                expect_numbers(subs[i], 0, 1000);
            }
            cr_expect_eq(fake_node_drops(n), 0);
            fake_node_destroy(n);
        }
    }
}

/* A receiver that stands still: the overflow is what one turn produced, and a little. */
Test(flow, publishers_wait_for_a_shard_that_stands_still)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    fake_node_shrink_mail(n, 1024);
    io_fake_set_chunk(n->net, 64);
    const unsigned here = fake_node_home(n, "pub");
    char id[8];
    for (unsigned i = 0;; i++) {
        snprintf(id, sizeof id, "s%u", i);
        if (fake_node_home(n, id) != here) {
            break;
        }
    }
    struct fake_client *sub = client_connect(n, 0, id, TERMS());
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    client_subscribe(sub, "t", 0);
    say_numbers(pub, 0, 5000, 0);
    for (unsigned i = 0; i < 1000; i++) {
        fake_node_step(n, here);
    }
    cr_expect_lt(message_memory(), 200 * 200);
    cr_expect_lt(fake_node_count(n, METRIC_publish_received), 100);
    expect_numbers(sub, 0, 5000);
    fake_node_destroy(n);
}

/* ---- memory */

/* The queue of one who is away, full of messages. */
static struct fake_client *fill_memory(struct fake_node *n, const char *id)
{
    struct fake_client *sleeper = client_connect(n, 0, id, TERMS(.session_expiry_s = 600));
    struct fake_client *pub = client_connect(n, 0, "filler", TERMS());
    client_subscribe(sleeper, "fill", 1);
    client_finish(sleeper);
    fake_node_settle(n);
    while (message_memory() < 1048576) {
        client_send_publish(pub, SAY(.topic = "fill", .qos = 1, .payload_len = 100000));
        fake_node_settle(n);
    }
    return pub;
}

Test(flow, without_memory_publishers_wait_and_then_are_refused)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (uint8_t qos = 1; qos <= 2; qos++) {
            struct fake_node *n = fake_node_create(
                shards, SETTINGS("limits.message_memory_max=1048576", "limits.message_stall_s=5"));
            fill_memory(n, "sleeper");
            struct fake_client *new = client_connect(n, 0, "new", TERMS());
            struct fake_client *old = client_connect(n, 0, "old", TERMS(.version = MQTT_V311));
            struct fake_client *careless = client_connect(n, 0, "careless", TERMS());
            const enum mqtt_type answer = qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
            client_say(careless, "t", "1", 0);
            client_say(new, "t", "1", qos);
            client_say(old, "t", "1", qos);
            fake_node_settle(n);
            cr_expect_eq(fake_node_count(n, METRIC_drop_message_memory), 1);
            fake_node_advance(n, 4900);
            cr_expect_null(client_take(new, answer));
            cr_expect_not(client_is_ended(old));
            fake_node_advance(n, 200);
            const struct got *g = client_take(new, answer);
            cr_assert_not_null(g);
            cr_expect_eq(g->reason, MQTT_REASON_QUOTA_EXCEEDED);
            cr_expect(client_is_ended(old));
            cr_expect_null(client_take(old, answer));
            cr_expect_eq(fake_node_count(n, METRIC_drop_refused), 2);
            cr_expect_eq(fake_node_drops(n), 3);

            /* The sleeper takes its messages: there is room again. */
            client_connect(n, 0, "sleeper", TERMS(.session_expiry_s = 600));
            fake_node_settle(n);
            client_say(new, "t", "2", qos);
            fake_node_settle(n);
            fake_node_advance(n, 100);
            g = client_take(new, answer);
            cr_assert_not_null(g);
            cr_expect_lt(g->reason, 0x80);
            fake_node_destroy(n);
        }
    }
}

/* A stall that ends in time is not noticed but for the delay. */
Test(flow, a_publisher_that_waited_goes_on_when_there_is_room)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.message_memory_max=1048576"));
    fill_memory(n, "sleeper");
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS(.keep_alive_s = 1));
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
    client_subscribe(sub, "t", 1);
    say_numbers(pub, 0, 20, 1);
    fake_node_settle(n);
    cr_expect_eq(fake_node_count(n, METRIC_publish_stalled) > 0, true);
    fake_node_advance(n, 3000); /* it is we who do not read: no keep alive time-out */
    cr_expect_not(client_is_ended(pub));
    struct fake_client *sleeper = client_connect(n, 0, "sleeper", TERMS(.session_expiry_s = 600));
    cr_expect_gt(client_heard_count(sleeper), 5);
    fake_node_advance(n, 100);
    expect_numbers(sub, 0, 20);
    cr_expect_eq(fake_node_drops(n), 0);
    fake_node_destroy(n);
}

/* Each shortage has its own time to wait: what was waited before does not count. */
Test(flow, a_publisher_may_wait_a_second_time)
{
    struct fake_node *n = fake_node_create(
        2, SETTINGS("limits.message_memory_max=1048576", "limits.message_stall_s=5"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    for (unsigned i = 0; i < 3; i++) {
        fill_memory(n, "sleeper");
        client_say(pub, "t", "1", 1);
        fake_node_settle(n);
        fake_node_advance(n, 4000);
        cr_expect_null(client_take(pub, MQTT_PUBACK));
        struct fake_client *sleeper =
            client_connect(n, 0, "sleeper", TERMS(.session_expiry_s = 600));
        cr_expect_gt(client_heard_count(sleeper), 5);
        client_finish(sleeper);
        fake_node_settle(n);
        fake_node_advance(n, 100);
        const struct got *g = client_take(pub, MQTT_PUBACK);
        cr_assert_not_null(g);
        cr_expect_lt(g->reason, 0x80, "shortage %u", i);
    }
    fake_node_destroy(n);
}

/* ---- packets that are not whole yet */

#define ANNOUNCED 900000u

/* A PUBLISH of that size begins, and so many bytes of it come, the first of them included. */
static void begin_publish(struct fake_client *c, size_t len)
{
    static const uint8_t bytes[ANNOUNCED + 4] = {0x30, 0xa0, 0xf7, 0x36, 0, 1, 't'};
    client_send_bytes(c, bytes, len);
    fake_node_settle(c->n);
}

static void go_on(struct fake_client *c, size_t len)
{
    static const uint8_t bytes[ANNOUNCED];
    client_send_bytes(c, bytes, len);
    fake_node_settle(c->n);
}

/* Of those that never end, the first begun has to go; who gets on stays, as does a single one. */
Test(flow, packets_that_never_end_make_room_for_others)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.message_memory_max=1048576"));
    struct fake_client *c[4];
    for (unsigned i = 0; i < 4; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%u", i);
        c[i] = client_connect(n, 0, id, TERMS(.version = i == 3 ? MQTT_V311 : MQTT_V5));
    }
    begin_publish(c[0], ANNOUNCED); /* alone: more than the share */
    cr_expect_eq(fake_node_count(n, METRIC_unread_refused), 0);
    go_on(c[0], 4);
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 1);
    struct shard *s = fake_node_enter(n, 0);
    cr_expect_eq(s->unread_bytes, 0);

    struct fake_client *stranger = client_open(n, 0); /* who does not even say CONNECT */
    client_send_bytes(stranger, "\x10\xff\xff\x1f", 4);
    go_on(stranger, 100000);
    begin_publish(c[1], 100000);
    cr_expect_not(client_is_ended(stranger));
    begin_publish(c[0], 100000);
    cr_expect(client_is_ended(stranger));
    cr_expect_eq(fake_node_count(n, METRIC_unread_refused), 1);
    go_on(c[0], ANNOUNCED + 4 - 100000); /* the other goes, this one is whole then */
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 2);
    const struct got *g = client_take(c[1], MQTT_DISCONNECT);
    cr_assert_not_null(g);
    cr_expect_eq(g->reason, MQTT_REASON_QUOTA_EXCEEDED);

    begin_publish(c[3], 100000);
    begin_publish(c[0], 100000);
    begin_publish(c[2], 100000);
    cr_expect(client_is_ended(c[3]));
    cr_expect_not(client_is_ended(c[0]));
    cr_expect_not(client_is_ended(c[2]));
    cr_expect_eq(fake_node_count(n, METRIC_unread_refused), 3);
    client_reset(c[0]);
    client_finish(c[2]);
    fake_node_settle(n);
    cr_expect_eq(s->unread_bytes, 0);
    cr_expect_null(s->unread.first);
    fake_node_destroy(n);
}

/* A long stream of packets is not a long packet. */
Test(flow, who_completes_packets_goes_to_the_end)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.message_memory_max=1048576"));
    struct fake_client *steady = client_connect(n, 0, "steady", TERMS());
    struct fake_client *idle = client_connect(n, 0, "idle", TERMS());
    begin_publish(steady, 100000);
    begin_publish(idle, 100000);
    static uint8_t rest_and_more[ANNOUNCED];
    const size_t rest = ANNOUNCED + 4 - 100000, more = 20000;
    fake_node_reload(n, SETTINGS("limits.message_memory_max=16777216"));
    memcpy(rest_and_more + rest, "\x30\xff\xff\x1f", 4); /* the next one begins in the same bytes */
    client_send_bytes(steady, rest_and_more, rest + more);
    fake_node_settle(n);
    fake_node_reload(n, SETTINGS("limits.message_memory_max=1048576"));
    go_on(steady, 1000);
    cr_expect(client_is_ended(idle));
    cr_expect_not(client_is_ended(steady));
    fake_node_destroy(n);
}

/* ---- packets that are much work */

/* Whose packets are much work lets others go on between them; nothing is lost or out of order, also
 * of one that has left. */
Test(flow, much_work_is_done_in_turns)
{
    enum { SUBSCRIBERS = 200, COUNT = 900 };
    for (unsigned leaves = 0; leaves < 2; leaves++) {
        struct fake_node *n = fake_node_create(1, SETTINGS());
        struct fake_client *subs[SUBSCRIBERS];
        struct fake_client *busy = client_connect(n, 0, "busy", TERMS());
        struct fake_client *other = client_connect(n, 0, "other", TERMS());
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            char id[16];
            snprintf(id, sizeof id, "s%u", i);
            subs[i] = client_connect(n, 0, id, TERMS());
            client_subscribe(subs[i], "t", 0);
        }
        static uint8_t packets[COUNT * 9];
        for (unsigned i = 0; i < COUNT; i++) {
            char packet[16];
            snprintf(packet, sizeof packet, "0%c%c%ct%c%03u", 7, 0, 1, 0, i);
            memcpy(packets + 9 * (size_t)i, packet, 9);
        }
        client_send_bytes(busy, packets, sizeof packets);
        if (leaves == 1) {
            client_finish(busy);
        }
        client_send_bytes(other, "\xc0", 2); /* PINGREQ */
        fake_node_step(n, 0);
        cr_expect_lt(fake_node_count(n, METRIC_publish_received), COUNT / 5);
        cr_expect_leq(fake_node_count(n, METRIC_input_deferred), 2);
        cr_expect_not_null(client_take(other, MQTT_PINGRESP));
        fake_node_settle(n);
        cr_expect_gt(fake_node_count(n, METRIC_input_deferred), 5);
        cr_expect_eq(fake_node_count(n, METRIC_publish_received), COUNT);
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            expect_numbers(subs[i], 0, COUNT);
        }
        cr_expect_eq(fake_node_drops(n), 0);
        fake_node_destroy(n);
    }
}

/* ---- topics that clients may not publish to */

static const struct {
    const char *topic;
    uint8_t qos;
    enum mqtt_version version;
    uint8_t reason; /* of the acknowledgement */
    bool ended;
    enum metric counted;
} forbidden[] = {
    {"$SYS/x", 0, MQTT_V5, 0, false, METRIC_drop_not_allowed},
    {"$SYS/x", 1, MQTT_V5, MQTT_REASON_NOT_AUTHORIZED, false, METRIC_drop_refused},
    {"$SYS/x", 2, MQTT_V5, MQTT_REASON_NOT_AUTHORIZED, false, METRIC_drop_refused},
    {"$SYS/x", 1, MQTT_V311, 0, false, METRIC_drop_not_allowed},
    {"$SYS/x", 2, MQTT_V311, 0, false, METRIC_drop_not_allowed},
    {"a/b/c/d", 0, MQTT_V5, 0, false, METRIC_drop_refused},
    {"a/b/c/d", 1, MQTT_V5, MQTT_REASON_TOPIC_NAME_INVALID, false, METRIC_drop_refused},
    {"a/b/c/d", 1, MQTT_V311, 0, true, METRIC_drop_refused},
};

Test(flow, what_may_not_be_published_is_refused_or_dropped)
{
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        struct fake_node *n = fake_node_create(1, SETTINGS("limits.topic_levels_max=3"));
        struct fake_client *c = client_connect(n, 0, "me", TERMS(.version = forbidden[i].version));
        client_subscribe(c, "#", 2);
        client_subscribe(c, "$SYS/#", 2);
        client_say(c, forbidden[i].topic, "1", forbidden[i].qos);
        const struct got *g = client_take(c, forbidden[i].qos == 2 ? MQTT_PUBREC : MQTT_PUBACK);
        cr_expect_eq(g != NULL, forbidden[i].qos > 0 && !forbidden[i].ended, "row %zu", i);
        cr_expect(g == NULL || g->reason == forbidden[i].reason, "row %zu", i);
        cr_expect_eq(client_is_ended(c), forbidden[i].ended, "row %zu", i);
        cr_expect_str_empty(client_heard(c));
        cr_expect_eq(fake_node_count(n, forbidden[i].counted), 1, "row %zu", i);
        cr_expect_eq(fake_node_drops(n), 1, "row %zu", i);
        fake_node_destroy(n);
    }
}

/* ---- the sum */

enum { SUBS = 12, SAID = 300 };

static void note_heard(struct fake_client *c, bool heard[SAID])
{
    for (const struct got *g; (g = client_take(c, MQTT_PUBLISH)) != NULL;) {
        const unsigned long number = strtoul(g->payload, NULL, 10);
        cr_assert_lt(number, SAID);
        cr_assert(!heard[number] || (g->dup && g->qos == 1));
        heard[number] = true;
    }
}

/* Some are away, some do not read, some take small packets only, messages expire, queues are short:
 * and for each subscriber each message is heard or counted, never both, never neither. */
Test(flow, what_is_missing_is_counted_once)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(
            shards, SETTINGS("limits.session_queue_messages_max=20", "limits.output_bytes_max=1024",
                             "limits.inflight_max=10", "limits.receive_maximum=65535"));
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *subs[SUBS];
        struct terms terms[SUBS];
        static bool heard[SUBS][SAID];
        memset(heard, 0, sizeof heard);
        char id[8], payload[8];
        for (unsigned i = 0; i < SUBS; i++) {
            snprintf(id, sizeof id, "s%u", i);
            terms[i] = (struct terms){.session_expiry_s = 600,
                                      .maximum_packet_size = i % 4 == 0 ? 120 : 0,
                                      .receive_maximum = i % 2 == 0 ? 3 : 0};
            subs[i] = client_connect(n, 0, id, &terms[i]);
            client_subscribe(subs[i], i % 2 == 0 ? "#" : "t", (uint8_t)(i % 3));
            if (i % 5 == 0) {
                client_finish(subs[i]);
            } else if (i % 5 == 1) {
                client_set_window(subs[i], 100);
            }
        }
        fake_node_settle(n);
        for (unsigned i = 0; i < SAID; i++) {
            snprintf(payload, sizeof payload, "%u ", i);
            client_send_publish(pub, SAY(.topic = "t", .payload = payload, .payload_len = 4 + i,
                                         .qos = (uint8_t)(i * 7 % 3), .has_expiry = i % 7 == 0,
                                         .expiry_s = 10));
            if (i % 20 == 0) {
                fake_node_settle(n);
                client_read(pub);
                fake_node_advance(n, 1000);
            }
            if (i % 60 == 0) {
                note_heard(subs[i / 60 * 2 % SUBS], heard[i / 60 * 2 % SUBS]);
            }
        }
        fake_node_settle(n);
        fake_node_advance(n, 20000);
        uint64_t missing = 0;
        for (unsigned i = 0; i < SUBS; i++) {
            if (i % 5 == 0) {
                snprintf(id, sizeof id, "s%u", i);
                subs[i] = client_connect(n, 0, id, &terms[i]);
            }
            client_set_window(subs[i], SIZE_MAX);
            note_heard(subs[i], heard[i]);
            for (unsigned k = 0; k < SAID; k++) {
                missing += !heard[i][k];
            }
        }
        cr_expect_eq(fake_node_drops(n), missing, "%u shards: %llu counted, %llu missing", shards,
                     (unsigned long long)fake_node_drops(n), (unsigned long long)missing);
        static const enum metric reasons[] = {
            METRIC_drop_qos0_output_full, METRIC_drop_qos0_offline, METRIC_drop_queue_full_oldest,
            METRIC_drop_expired, METRIC_drop_too_large};
        for (unsigned i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
            cr_expect_gt(fake_node_count(n, reasons[i]), 0, "%s", metrics_name(reasons[i]));
        }
        fake_node_destroy(n);
    }
}
