/* SPDX-License-Identifier: Apache-2.0 */
/* What lasts between two connections of a client: its session, its messages, its will. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"

#define SHARDS_MAX 3u

static void leave(struct fake_client *c)
{
    client_send_disconnect(c, 0);
    client_finish(c);
    fake_node_settle(c->n);
}

static void drop(struct fake_client *c) /* without a goodbye */
{
    client_finish(c);
    fake_node_settle(c->n);
}

/* ---- sessions */

static const struct {
    const char *name;
    enum mqtt_version version;
    bool clean_start;
    uint32_t expiry_s;
    uint32_t away_s;
    bool kept;
} stays[] = {
    {"5.0 without expiry", MQTT_V5, false, 0, 0, false},
    {"5.0 just before", MQTT_V5, false, 10, 9, true},
    {"5.0 just after", MQTT_V5, false, 10, 10, false},
    {"5.0 clean start with expiry", MQTT_V5, true, 10, 9, true},
    {"5.0 for ever is the maximum", MQTT_V5, false, MQTT_NO_EXPIRY, 99, true},
    {"5.0 over the maximum", MQTT_V5, false, MQTT_NO_EXPIRY, 100, false},
    {"3.1.1", MQTT_V311, false, 0, 99, true},
    {"3.1.1 over the maximum", MQTT_V311, false, 0, 100, false},
    {"3.1.1 clean", MQTT_V311, true, 0, 0, false},
};

Test(lasting, sessions_last_as_long_as_agreed)
{
    for (size_t i = 0; i < sizeof stays / sizeof stays[0]; i++) {
        struct fake_node *n = fake_node_create(2, SETTINGS("limits.session_expiry_max_s=100"));
        struct fake_client *c =
            client_connect(n, 0, "me",
                           TERMS(.version = stays[i].version, .clean_start = stays[i].clean_start,
                                 .session_expiry_s = stays[i].expiry_s));
        if (stays[i].expiry_s > 100) {
            cr_expect_eq(c->connack.session_expiry_interval_s, 100);
        }
        client_subscribe(c, "t", 2);
        leave(c);
        fake_node_advance(n, stays[i].away_s * 1000);
        struct fake_client *pub = client_connect(n, 1, "pub", TERMS());
        client_say(pub, "t", "1", 1);
        client_say(pub, "t", "2", 2);
        client_say(pub, "t", "3", 0);
        fake_node_settle(n);
        c = client_connect(n, 1, "me", TERMS(.version = stays[i].version));
        cr_expect_eq(c->connack.session_present, stays[i].kept, "%s", stays[i].name);
        cr_expect_str_eq(client_heard(c), stays[i].kept ? "t=1/1 t=2/2" : "", "%s", stays[i].name);
        cr_expect_eq(fake_node_count(n, METRIC_drop_qos0_offline), stays[i].kept);
        cr_expect_eq(fake_node_drops(n), stays[i].kept);
        fake_node_destroy(n);
    }
}

/* 4,294,968 s are 704 ms more than 2^32 ms: all that counts in milliseconds has to count so far. */
Test(lasting, fifty_days_are_not_less_than_a_second)
{
    const uint32_t long_s = 4294968;
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.session_expiry_max_s=4294967295"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
    struct fake_client *c = client_connect(
        n, 0, "me", TERMS(.session_expiry_s = long_s, .will_topic = "w", .will_delay_s = long_s));
    client_subscribe(c, "t", 1);
    client_subscribe(sub, "w", 1);
    drop(c);
    client_send_publish(
        pub, SAY(.topic = "t", .payload = "1", .qos = 1, .has_expiry = true, .expiry_s = long_s));
    fake_node_settle(n);
    fake_node_advance(n, 10000);
    cr_expect_str_empty(client_heard(sub), "the will");
    c = client_connect(n, 0, "me", TERMS());
    cr_expect(c->connack.session_present, "the session");
    const struct got *g = client_take(c, MQTT_PUBLISH);
    cr_assert_not_null(g, "the message");
    cr_expect_eq(g->message_expiry_interval_s, long_s - 10);
    fake_node_destroy(n);
}

Test(lasting, disconnect_may_change_the_expiry)
{
    static const struct {
        uint32_t first_s, then_s, away_s;
        bool kept, breach;
    } rows[] = {
        {10, 20, 19, true, false},     {10, 5, 6, false, false},
        {10, 0, 0, false, false},      {0, 10, 0, false, true}, /* (3.14.2.2.2) */
        {10, 1000, 100, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_node *n = fake_node_create(1, SETTINGS("limits.session_expiry_max_s=100"));
        struct fake_client *c =
            client_connect(n, 0, "me", TERMS(.session_expiry_s = rows[i].first_s));
        uint8_t own[8];
        struct property_writer w = {.at = own, .size = sizeof own};
        property_put_number(&w, PROPERTY_SESSION_EXPIRY_INTERVAL, rows[i].then_s);
        struct mqtt_packet packet = {.type = MQTT_DISCONNECT};
        packet.disconnect.properties.raw = bytes_of(own, w.len);
        client_send(c, &packet);
        const struct got *g = client_take(c, MQTT_DISCONNECT);
        cr_expect_eq(g != NULL && g->reason == MQTT_REASON_PROTOCOL_ERROR, rows[i].breach);
        client_finish(c);
        fake_node_settle(n);
        fake_node_advance(n, rows[i].away_s * 1000);
        c = client_connect(n, 0, "me", TERMS());
        cr_expect_eq(c->connack.session_present, rows[i].kept, "row %zu", i);
        fake_node_destroy(n);
    }
}

Test(lasting, clean_start_ends_the_session_that_was)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60));
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        client_subscribe(c, "t", 1);
        leave(c);
        client_say(pub, "t", "1", 1);
        client_say(pub, "t", "2", 1);
        fake_node_settle(n);
        c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60, .clean_start = true));
        cr_expect_not(c->connack.session_present);
        client_say(pub, "t", "3", 1);
        cr_expect_str_empty(client_heard(c));
        cr_expect_eq(fake_node_count(n, METRIC_drop_session_ended), 2);
        cr_expect_eq(fake_node_drops(n), 2);
        fake_node_destroy(n);
    }
}

/* [MQTT-4.4.0-1], (4.6): what was sent is sent again, first and in order, under its identifiers. */
Test(lasting, what_was_not_acknowledged_comes_again)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60));
        struct fake_client *pub = client_connect(n, shards - 1, "pub", TERMS());
        c->acks = false;
        client_subscribe(c, "t", 2);
        client_say(pub, "t", "1", 1);
        client_say(pub, "t", "2", 2);
        client_say(pub, "t", "3", 2);
        client_say(pub, "t", "4", 1);
        cr_expect_str_eq(client_heard(c), "t=1/1 t=2/2 t=3/2 t=4/1");
        client_send_ack(c, MQTT_PUBACK, 1, 0);
        client_send_ack(c, MQTT_PUBREC, 2, 0);
        drop(c);
        client_say(pub, "t", "5", 1);
        fake_node_settle(n);

        c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60, .silent = true));
        static const struct {
            enum mqtt_type type;
            uint16_t packet_id;
            bool dup;
        } want[] = {{MQTT_PUBREL, 2, false},
                    {MQTT_PUBLISH, 3, true},
                    {MQTT_PUBLISH, 4, true},
                    {MQTT_PUBLISH, 5, false}};
        for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
            const struct got *g = client_next(c);
            cr_assert_not_null(g);
            cr_expect_eq(g->type, want[i].type, "%zu", i);
            cr_expect_eq(g->packet_id, want[i].packet_id, "%zu", i);
            cr_expect_eq(g->dup, want[i].dup, "%zu", i);
        }
        cr_expect_null(client_next(c));
        cr_expect_eq(fake_node_count(n, METRIC_publish_resent), 2);
        fake_node_destroy(n);
    }
}

/* QoS 2 from the client: its session remembers what it has sent (4.3.3). */
Test(lasting, a_repeated_qos_2_message_is_delivered_once)
{
    for (unsigned version = MQTT_V311; version <= MQTT_V5; version++) {
        struct fake_node *n = fake_node_create(2, SETTINGS());
        const struct terms *terms =
            TERMS(.version = (enum mqtt_version)version, .session_expiry_s = 60);
        struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
        struct fake_client *pub = client_connect(n, 0, "pub", terms);
        client_subscribe(sub, "t", 2);
        pub->acks = false;
        client_send_publish(pub, SAY(.topic = "t", .payload = "1", .qos = 2, .packet_id = 9));
        cr_expect_not_null(client_take(pub, MQTT_PUBREC));
        drop(pub);
        pub = client_connect(n, 1, "pub", terms);
        pub->acks = false;
        client_send_publish(
            pub, SAY(.topic = "t", .payload = "1", .qos = 2, .packet_id = 9, .dup = true));
        cr_expect_not_null(client_take(pub, MQTT_PUBREC));
        client_send_ack(pub, MQTT_PUBREL, 9, 0);
        cr_expect_not_null(client_take(pub, MQTT_PUBCOMP));
        client_send_publish(pub, SAY(.topic = "t", .payload = "2", .qos = 2, .packet_id = 9));
        cr_expect_str_eq(client_heard(sub), "t=1/2 t=2/2");
        cr_expect_eq(fake_node_count(n, METRIC_publish_repeated), 1);
        cr_expect_eq(fake_node_count(n, METRIC_publish_received), 2);
        client_send_ack(pub, MQTT_PUBREL, 4711, 0);
        const struct got *g = client_take(pub, MQTT_PUBCOMP);
        cr_expect_eq(g->reason, version == MQTT_V5 ? MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND : 0);
        fake_node_destroy(n);
    }
}

/* ---- wills */

enum ending {
    BY_DISCONNECT,
    BY_DISCONNECT_WITH_WILL,
    BY_END,
    BY_RESET,
    BY_BREACH,
    BY_TAKEOVER,
    BY_CLEAN_TAKEOVER
};

static const struct {
    const char *name;
    enum ending how;
    enum mqtt_version version;
    uint32_t delay_s, expiry_s;
    uint64_t after_ms; /* published not before; UINT64_MAX: never */
} wills[] = {
    {"DISCONNECT", BY_DISCONNECT, MQTT_V5, 0, 0, UINT64_MAX},
    {"DISCONNECT of 3.1.1", BY_DISCONNECT, MQTT_V311, 0, 0, UINT64_MAX},
    {"DISCONNECT 0x04", BY_DISCONNECT_WITH_WILL, MQTT_V5, 0, 0, 0},
    {"DISCONNECT 0x04, delayed", BY_DISCONNECT_WITH_WILL, MQTT_V5, 5, 60, 5000},
    {"end of stream", BY_END, MQTT_V5, 0, 60, 0},
    {"end of stream, 3.1.1", BY_END, MQTT_V311, 0, 0, 0},
    {"end of stream, delayed", BY_END, MQTT_V5, 5, 60, 5000},
    {"reset, delayed", BY_RESET, MQTT_V5, 5, 60, 5000},
    {"the session ends before the delay", BY_END, MQTT_V5, 60, 5, 5000},
    {"the session ends with the connection", BY_END, MQTT_V5, 60, 0, 0},
    {"protocol error", BY_BREACH, MQTT_V5, 0, 60, 0},
    {"protocol error, delayed", BY_BREACH, MQTT_V5, 7, 60, 7000},
    {"takeover", BY_TAKEOVER, MQTT_V5, 0, 60, 0},
    {"takeover before the delay", BY_TAKEOVER, MQTT_V5, 5, 60, UINT64_MAX},
    {"takeover that ends the session", BY_TAKEOVER, MQTT_V5, 5, 0, 0},
    {"clean takeover before the delay", BY_CLEAN_TAKEOVER, MQTT_V5, 5, 60, 0},
};

static void end_it(struct fake_client *c, enum ending how)
{
    switch (how) {
    case BY_DISCONNECT:
        leave(c);
        break;
    case BY_DISCONNECT_WITH_WILL:
        client_send_disconnect(c, MQTT_REASON_DISCONNECT_WITH_WILL);
        break;
    case BY_END:
        client_finish(c);
        break;
    case BY_RESET:
        client_reset(c);
        break;
    case BY_BREACH:
        client_send_bytes(c, (const uint8_t[]){0xf0, 0x00}, 2);
        break;
    case BY_TAKEOVER:
        client_connect(c->n, 0, "me", TERMS(.session_expiry_s = 60));
        break;
    case BY_CLEAN_TAKEOVER:
        client_connect(c->n, 0, "me", TERMS(.session_expiry_s = 60, .clean_start = true));
    }
    fake_node_settle(c->n);
}

Test(lasting, a_will_is_published_once_when_it_is_due)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (size_t i = 0; i < sizeof wills / sizeof wills[0]; i++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
            client_subscribe(sub, "w", 1);
            struct fake_client *c = client_connect(
                n, 0, "me",
                TERMS(.version = wills[i].version, .session_expiry_s = wills[i].expiry_s,
                      .will_topic = "w", .will_payload = "gone", .will_qos = 2,
                      .will_delay_s = wills[i].delay_s));
            end_it(c, wills[i].how);
            const bool never = wills[i].after_ms == UINT64_MAX;
            const bool at_once = wills[i].after_ms == 0;
            if (!never && !at_once) {
                cr_expect_str_empty(client_heard(sub), "%s", wills[i].name);
                fake_node_advance(n, wills[i].after_ms - 1);
                cr_expect_str_empty(client_heard(sub), "%s", wills[i].name);
                fake_node_advance(n, 1);
            }
            cr_expect_str_eq(client_heard(sub), never ? "" : "w=gone/1", "%s, %u shards",
                             wills[i].name, shards);
            fake_node_advance(n, 100000);
            cr_expect_str_empty(client_heard(sub), "%s", wills[i].name);
            cr_expect_eq(fake_node_count(n, METRIC_wills_published), !never);
            fake_node_destroy(n);
        }
    }
}

/* The will is due first, and the timer that the two share has to be set again for the end. */
Test(lasting, a_session_whose_will_was_published_still_ends)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *c = client_connect(
        n, 0, "me", TERMS(.session_expiry_s = 60, .will_topic = "w", .will_delay_s = 5));
    drop(c);
    fake_node_advance(n, 6000);
    cr_expect_eq(fake_node_count(n, METRIC_wills_published), 1);
    cr_expect_eq(fake_node_count(n, METRIC_sessions_expired), 0);
    fake_node_advance(n, 60000);
    cr_expect_eq(fake_node_count(n, METRIC_sessions_expired), 1);
    c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60));
    cr_expect_not(c->connack.session_present);
    fake_node_destroy(n);
}

/* [MQTT-3.1.3-9] */
Test(lasting, who_comes_back_in_time_takes_the_will_back)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
    client_subscribe(sub, "w", 1);
    const struct terms *terms = TERMS(.session_expiry_s = 60, .will_topic = "w", .will_delay_s = 5);
    struct fake_client *c = client_connect(n, 0, "me", terms);
    drop(c);
    fake_node_advance(n, 4999);
    c = client_connect(n, 1, "me", TERMS(.session_expiry_s = 60));
    fake_node_advance(n, 10000);
    cr_expect_str_empty(client_heard(sub));
    drop(c);
    fake_node_advance(n, 10000);
    cr_expect_str_empty(client_heard(sub));

    c = client_connect(n, 0, "me", terms);
    drop(c);
    fake_node_advance(n, 4000);
    client_connect(n, 1, "me", TERMS(.clean_start = true)); /* the session ends: it is due */
    cr_expect_str_eq(client_heard(sub), "w=/0");
    fake_node_destroy(n);
}

Test(lasting, a_will_may_be_retained_and_expires_from_its_publication)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        for (unsigned i = 0; i < 8; i++) { /* topics of all shards */
            char topic[8];
            snprintf(topic, sizeof topic, "w%u", i);
            struct fake_client *c = client_connect(
                n, 0, "me",
                TERMS(.session_expiry_s = 60, .will_topic = topic, .will_payload = "gone",
                      .will_qos = 1, .will_retain = true, .will_delay_s = 10, .will_expiry_s = 20));
            drop(c);
            fake_node_advance(n, 10000);
            struct fake_client *sub = client_connect(n, 0, "sub", TERMS(.clean_start = true));
            fake_node_advance(n, 15000);
            client_subscribe(sub, topic, 1);
            const struct got *g = client_take(sub, MQTT_PUBLISH);
            cr_assert_not_null(g, "%s, %u shards", topic, shards);
            cr_expect(g->retain);
            cr_expect_eq(g->message_expiry_interval_s, 5);
            cr_expect_not(g->present >> PROPERTY_WILL_DELAY_INTERVAL & 1);
            fake_node_advance(n, 5001);
            sub = client_connect(n, 0, "sub", TERMS(.clean_start = true));
            client_subscribe(sub, topic, 1);
            cr_expect_str_empty(client_heard(sub));
        }
        cr_expect_eq(fake_node_count(n, METRIC_wills_published), 8);
        fake_node_destroy(n);
    }
}

/* $SYS and too many levels are refused at CONNECT already. */
Test(lasting, a_will_must_be_publishable)
{
    static const struct {
        const char *topic;
        uint8_t reason;
    } rows[] = {{"$SYS/x", MQTT_REASON_NOT_AUTHORIZED},
                {"a/b/c/d", MQTT_REASON_TOPIC_NAME_INVALID},
                {"a/b/c", 0},
                {"$SYSTEM", 0}};
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.topic_levels_max=3"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_client *c = client_connect(n, 0, "me", TERMS(.will_topic = rows[i].topic));
        cr_expect_eq(c->connack.reason, rows[i].reason, "%s: 0x%x", rows[i].topic,
                     c->connack.reason);
        leave(c);
    }
    fake_node_destroy(n);
}

Test(lasting, wills_that_are_due_at_the_end_are_counted)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *a = client_connect(
        n, 0, "a", TERMS(.will_topic = "w", .session_expiry_s = 60, .will_delay_s = 30));
    client_connect(n, 0, "b", TERMS(.will_topic = "w"));
    drop(a);
    atomic_store(&n->node->ending, true);
    for (unsigned i = 0; i < 2; i++) {
        fake_node_step(n, i);
    }
    fake_node_settle(n);
    cr_expect_eq(fake_node_count(n, METRIC_drop_will_shutdown), 1);
    fake_node_destroy(n);
}
