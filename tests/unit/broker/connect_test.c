/* SPDX-License-Identifier: Apache-2.0 */
/* How clients come, move to their session's shard, are refused, and go; on one to three shards. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "broker/transport/listener.h"
#include "proto/reason.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"

#define SHARDS_MAX 3u

static void expect_disconnect(struct fake_client *c, uint8_t reason)
{
    const struct got *g = client_take(c, MQTT_DISCONNECT);
    cr_assert_not_null(g);
    cr_expect_eq(g->reason, reason, "0x%x, not 0x%x", g->reason, reason);
    cr_expect(client_is_ended(c));
}

Test(connect, a_message_reaches_its_subscriber)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned qos = 0; qos <= 2; qos++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
            struct fake_client *pub = client_connect(n, shards - 1, "pub", TERMS());
            cr_assert_eq(client_subscribe(sub, "a/+", (uint8_t)qos), qos);
            client_say(pub, "a/b", "hello", (uint8_t)qos);
            char want[32];
            snprintf(want, sizeof want, "a/b=hello/%u", qos);
            cr_expect_str_eq(client_heard(sub), want, "%u shards", shards);
            cr_expect_eq(fake_node_count(n, METRIC_publish_sent), 1);
            fake_node_destroy(n);
        }
    }
}

Test(connect, a_client_ends_up_on_the_shard_of_its_session)
{
    struct fake_node *n = fake_node_create(3, SETTINGS());
    unsigned moved = 0, on_shard[3] = {0};
    for (unsigned i = 0; i < 60; i++) {
        char id[16];
        snprintf(id, sizeof id, "client-%u", i);
        cr_expect_eq(client_connect(n, i % 3, id, TERMS())->connack.type, MQTT_CONNACK);
        moved += fake_node_home(n, id) != i % 3;
        on_shard[fake_node_home(n, id)]++;
    }
    cr_expect_eq(fake_node_count(n, METRIC_connections_moved), moved);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(n->node->shards[i]->sessions.count, on_shard[i]);
        cr_expect_gt(on_shard[i], 0);
    }
    fake_node_destroy(n);
}

/* What follows CONNECT in the same bytes moves along, and is dealt with there. */
Test(connect, what_was_sent_behind_connect_moves_along)
{
    static const size_t chunks[] = {1, 7, SIZE_MAX};
    for (unsigned i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        for (unsigned shard = 0; shard < 3; shard++) {
            struct fake_node *n = fake_node_create(3, SETTINGS());
            io_fake_set_chunk(n->net, chunks[i]);
            struct fake_client *c = client_open(n, shard);
            client_send_connect(c, "me", TERMS());
            client_send_subscribe(c, ASK(.filter = "t", .qos = 1));
            client_say(c, "t", "self", 1);
            cr_expect_str_eq(client_heard(c), "t=self/1");
            fake_node_destroy(n);
        }
    }
}

/* [MQTT-3.1.4-3] */
Test(connect, a_second_connection_takes_the_session_over)
{
    static const enum mqtt_version versions[] = {MQTT_V31, MQTT_V311, MQTT_V5};
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned i = 0; i < 3; i++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            const struct terms *terms = TERMS(.version = versions[i], .session_expiry_s = 60);
            struct fake_client *old = client_connect(n, 0, "me", terms);
            client_subscribe(old, "t", 1);
            struct fake_client *fresh = client_connect(n, shards - 1, "me", terms);
            if (versions[i] == MQTT_V5) {
                expect_disconnect(old, MQTT_REASON_SESSION_TAKEN_OVER);
            }
            cr_expect(client_is_ended(old));
            cr_expect_eq(fresh->connack.session_present, versions[i] != MQTT_V31);
            client_say(fresh, "t", "1", 1);
            cr_expect_str_eq(client_heard(fresh), "t=1/1");
            cr_expect_eq(fake_node_count(n, METRIC_sessions_taken_over), 1);
            cr_expect_eq(fake_node_count(n, METRIC_sessions_created), 1);
            fake_node_destroy(n);
        }
    }
}

Test(connect, an_empty_identifier_gets_one)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *a = client_connect(n, 0, "", TERMS(.session_expiry_s = 60));
    struct fake_client *b = client_connect(n, 1, "", TERMS());
    cr_expect_eq(strlen(a->connack.assigned_id), 23);
    cr_expect_str_neq(a->connack.assigned_id, b->connack.assigned_id);
    cr_expect_eq(fake_node_count(n, METRIC_connections_moved), 0);

    struct fake_client *again =
        client_connect(n, 1, a->connack.assigned_id, TERMS(.session_expiry_s = 60));
    cr_expect(again->connack.session_present);
    cr_expect_str_empty(again->connack.assigned_id);

    struct fake_client *old =
        client_connect(n, 0, "", TERMS(.version = MQTT_V311, .clean_start = true));
    cr_expect_eq(old->connack.reason, 0);
    old = client_connect(n, 0, "", TERMS(.version = MQTT_V311));
    cr_expect_eq(old->connack.reason, 2); /* identifier rejected [MQTT-3.1.3-8] */
    cr_expect(client_is_ended(old));
    fake_node_destroy(n);
}

/* clang-format off */
/* Raw bytes, and what comes back. */
static const struct {
    const char *name;
    uint8_t in[24];
    size_t len;
    enum mqtt_version version; /* of the answer; UNKNOWN: none */
    uint8_t reason;
} bad_beginnings[] = {
    {"PINGREQ first", {0xc0, 0}, 2, MQTT_VERSION_UNKNOWN, 0},
    {"no packet type", {0x00, 0}, 2, MQTT_VERSION_UNKNOWN, 0},
    {"level 9", {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 9, 2, 0, 0, 0, 1, 'a'}, 15, MQTT_V311, 1},
    {"flags of 5.0", {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 3, 0, 0, 0, 0, 1, 'a'}, 16, MQTT_V5, 0x81},
    {"flags of 3.1.1", {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 3, 0, 0, 0, 1, 'a'}, 15, MQTT_VERSION_UNKNOWN, 0},
    {"an unknown method", {0x10, 18, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 4, 0x15, 0, 1, 'x', 0, 1, 'a'}, 20, MQTT_V5, 0x8c},
    {"too large", {0x10, 0xff, 0xff, 0x7f}, 4, MQTT_VERSION_UNKNOWN, 0},
};
/* clang-format on */

Test(connect, a_bad_beginning_is_the_end)
{
    for (size_t i = 0; i < sizeof bad_beginnings / sizeof bad_beginnings[0]; i++) {
        struct fake_node *n = fake_node_create(1, SETTINGS());
        struct fake_client *c = client_open(n, 0);
        client_send_bytes(c, bad_beginnings[i].in, bad_beginnings[i].len);
        c->version = bad_beginnings[i].version;
        const struct got *g = client_next(c);
        if (bad_beginnings[i].version == MQTT_VERSION_UNKNOWN) {
            cr_expect_null(g, "%s", bad_beginnings[i].name);
        } else {
            cr_assert_not_null(g, "%s", bad_beginnings[i].name);
            cr_expect_eq(g->type, MQTT_CONNACK, "%s", bad_beginnings[i].name);
            cr_expect_eq(g->reason, bad_beginnings[i].reason, "%s: 0x%x", bad_beginnings[i].name,
                         g->reason);
        }
        cr_expect(client_is_ended(c), "%s", bad_beginnings[i].name);
        cr_expect_eq(fake_node_count(n, METRIC_connect_refused), 1, "%s", bad_beginnings[i].name);
        fake_node_destroy(n);
    }
}

static const struct {
    const char *name;
    uint8_t in[8];
    size_t len;
    uint8_t reason;
} breaches[] = {
    {"a second CONNECT", {0x10, 0x00}, 2, 0x81},
    {"AUTH", {0xf0, 0x00}, 2, 0x82},
    {"a server's packet", {0xd0, 0x00}, 2, 0x82},
    {"flags of PINGREQ", {0xc1, 0x00}, 2, 0x81},
    {"a length without end", {0xc0, 0xff, 0xff, 0xff, 0xff}, 5, 0x81},
    {"QoS 3", {0x36, 0x05, 0, 1, 't', 0, 1}, 7, 0x81},
    {"a wildcard in a name", {0x30, 0x04, 0, 1, '#', 0}, 6, 0x90},
    {"an alias over the maximum", {0x30, 0x06, 0, 0, 3, 0x23, 0x7f, 0xff}, 8, 0x94},
    {"an alias never set", {0x30, 0x06, 0, 0, 3, 0x23, 0, 1}, 8, 0x82},
};

Test(connect, a_breach_is_told_and_ends_the_connection)
{
    for (size_t i = 0; i < sizeof breaches / sizeof breaches[0]; i++) {
        struct fake_node *n = fake_node_create(1, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS());
        struct fake_client *other = client_connect(n, 0, "other", TERMS());
        client_send_bytes(c, breaches[i].in, breaches[i].len);
        const struct got *g = client_take(c, MQTT_DISCONNECT);
        cr_assert_not_null(g, "%s", breaches[i].name);
        cr_expect_eq(g->reason, breaches[i].reason, "%s: 0x%x", breaches[i].name, g->reason);
        cr_expect(client_is_ended(c));
        cr_expect_not(client_is_ended(other));
        cr_expect_eq(fake_node_count(n, METRIC_protocol_errors), 1);
        fake_node_destroy(n);
    }
}

Test(connect, a_whole_second_connect_is_a_protocol_error)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    client_send_connect(c, "me", TERMS());
    expect_disconnect(c, MQTT_REASON_PROTOCOL_ERROR);
    fake_node_destroy(n);
}

Test(connect, a_packet_over_the_maximum_is_refused_by_its_header)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.packet_bytes_max=200"));
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    cr_expect_eq(c->connack.maximum_packet_size, 200);
    client_send_publish(c, SAY(.topic = "t", .payload_len = 180));
    cr_expect_not(client_is_ended(c));
    client_send_bytes(c, (const uint8_t[]){0x30, 0xc6, 0x01}, 3); /* 198, and 3 are 201 */
    expect_disconnect(c, MQTT_REASON_PACKET_TOO_LARGE);
    fake_node_destroy(n);
}

Test(connect, who_does_not_say_connect_in_time_is_cut_off)
{
    for (unsigned shards = 1; shards <= 2; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS("limits.connect_timeout_s=5"));
        struct fake_client *silent = client_open(n, 0);
        struct fake_client *slow = client_open(n, 0);
        struct fake_client *good = client_connect(n, 0, "me", TERMS());
        client_send_bytes(slow, (const uint8_t[]){0x10, 20, 0, 4}, 4);
        fake_node_settle(n);
        fake_node_advance(n, 4999);
        cr_expect_not(client_is_ended(silent));
        fake_node_advance(n, 1);
        cr_expect(client_is_ended(silent));
        cr_expect(client_is_ended(slow));
        cr_expect_not(client_is_ended(good));
        cr_expect_eq(fake_node_count(n, METRIC_connect_timed_out), 2);
        fake_node_destroy(n);
    }
}

/* (3.1.2.10): one and a half times. */
Test(connect, keep_alive_is_watched)
{
    static const enum mqtt_version versions[] = {MQTT_V311, MQTT_V5};
    for (unsigned i = 0; i < 2; i++) {
        struct fake_node *n = fake_node_create(2, SETTINGS());
        struct fake_client *silent =
            client_connect(n, 0, "a", TERMS(.version = versions[i], .keep_alive_s = 10));
        struct fake_client *lively =
            client_connect(n, 0, "b", TERMS(.version = versions[i], .keep_alive_s = 10));
        struct fake_client *without = client_connect(n, 0, "c", TERMS(.version = versions[i]));
        fake_node_advance(n, 14000);
        client_send(lively, &(struct mqtt_packet){.type = MQTT_PINGREQ});
        cr_assert_not_null(client_take(lively, MQTT_PINGRESP));
        fake_node_advance(n, 999);
        cr_expect_not(client_is_ended(silent));
        fake_node_advance(n, 1);
        cr_expect(client_is_ended(silent));
        if (versions[i] == MQTT_V5) {
            expect_disconnect(silent, MQTT_REASON_KEEP_ALIVE_TIMEOUT);
        }
        fake_node_advance(n, 13998);
        cr_expect_not(client_is_ended(lively));
        fake_node_advance(n, 2);
        cr_expect(client_is_ended(lively));
        cr_expect_not(client_is_ended(without));
        cr_expect_eq(fake_node_count(n, METRIC_keep_alive_timed_out), 2);
        fake_node_destroy(n);
    }
}

Test(connect, keep_alive_has_a_maximum)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.keep_alive_max_s=10"));
    static const struct {
        uint16_t asked, told;
    } rows[] = {{5, 0}, {10, 0}, {11, 10}, {0, 10}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_client *c = client_connect(n, 0, "me", TERMS(.keep_alive_s = rows[i].asked));
        cr_expect_eq(c->connack.server_keep_alive_s, rows[i].told, "%u", rows[i].asked);
    }
    struct fake_client *old = client_connect(n, 0, "old", TERMS(.version = MQTT_V311));
    fake_node_advance(n, 14999);
    cr_expect_not(client_is_ended(old));
    fake_node_advance(n, 1);
    cr_expect(client_is_ended(old));
    fake_node_destroy(n);
}

/* ---- limits */

Test(connect, connections_have_a_maximum)
{
    static const struct {
        enum mqtt_version version;
        uint8_t reason;
    } rows[] = {{MQTT_V5, 0x97}, {MQTT_V311, 3}, {MQTT_V31, 3}};
    for (unsigned i = 0; i < 3; i++) {
        struct fake_node *n = fake_node_create(2, SETTINGS("limits.connections_max=2"));
        client_connect(n, 0, "a", TERMS());
        struct fake_client *b = client_connect(n, 1, "b", TERMS());
        struct fake_client *c = client_connect(n, 0, "c", TERMS(.version = rows[i].version));
        cr_expect_eq(c->connack.reason, rows[i].reason);
        cr_expect(client_is_ended(c));
        cr_expect_eq(fake_node_count(n, METRIC_connect_refused), 1);
        client_send_disconnect(b, 0);
        client_finish(b);
        c = client_connect(n, 0, "c", TERMS(.version = rows[i].version));
        cr_expect_eq(c->connack.reason, 0);
        fake_node_destroy(n);
    }
}

/* A hundred more are let in to be told so, and no others. */
Test(connect, a_crowd_at_the_door_is_not_let_in)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.connections_max=1"));
    for (unsigned i = 0; i < 110; i++) {
        client_open(n, 0);
    }
    fake_node_settle(n);
    cr_expect_eq(fake_node_count(n, METRIC_connections_refused), 9);
    cr_expect_eq(atomic_load(&n->node->connections), 101);
    fake_node_destroy(n);
}

Test(connect, sessions_have_a_maximum)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.sessions_max=1"));
    struct fake_client *a = client_connect(n, 0, "a", TERMS(.session_expiry_s = 60));
    client_finish(a);
    struct fake_client *b = client_connect(n, 0, "b", TERMS());
    cr_expect_eq(b->connack.reason, MQTT_REASON_QUOTA_EXCEEDED);
    cr_expect_eq(fake_node_count(n, METRIC_sessions_refused), 1);
    a = client_connect(n, 1, "a", TERMS(.session_expiry_s = 60));
    cr_expect_eq(a->connack.reason, 0);
    cr_expect(a->connack.session_present);
    fake_node_destroy(n);
}

Test(connect, a_reload_changes_limits_for_who_comes_later)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.receive_maximum=7"));
    struct fake_client *before = client_connect(n, 0, "before", TERMS());
    cr_expect_eq(before->connack.receive_maximum, 7);
    fake_node_reload(n, SETTINGS("limits.receive_maximum=3", "limits.connections_max=2",
                                 "limits.packet_bytes_max=1000", "mqtt.response_information=re/"));
    struct fake_client *after =
        client_connect(n, 1, "after", TERMS(.request_response_information = true));
    cr_expect_eq(after->connack.receive_maximum, 3);
    cr_expect_eq(after->connack.maximum_packet_size, 1000);
    cr_expect_str_eq(after->connack.response_information, "re/");
    struct fake_client *third = client_connect(n, 1, "third", TERMS());
    cr_expect_eq(third->connack.reason, MQTT_REASON_QUOTA_EXCEEDED);
    client_send_publish(before, SAY(.topic = "t", .payload_len = 5000, .qos = 1));
    cr_expect_not_null(client_take(before, MQTT_PUBACK)); /* it was told another limit */
    fake_node_destroy(n);
}

/* ---- the end */

Test(connect, at_the_end_everybody_is_told)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *a = client_connect(n, 0, "a", TERMS());
        struct fake_client *b = client_connect(n, 0, "b", TERMS(.version = MQTT_V311));
        struct fake_client *silent = client_open(n, 0);
        atomic_store(&n->node->ending, true);
        for (unsigned i = 0; i < shards; i++) {
            fake_node_step(n, i);
        }
        expect_disconnect(a, MQTT_REASON_SERVER_SHUTTING_DOWN);
        cr_expect(client_is_ended(b));
        cr_expect_null(client_next(silent));
        client_finish(a);
        client_finish(b);
        client_finish(silent);
        fake_node_settle(n);
        cr_expect_eq(atomic_load(&n->node->connections), 0);
        fake_node_destroy(n);
    }
}

Test(connect, an_accept_that_fails_is_survived)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    io_fake_fail_accept(n->node->shards[0]->io, 0, EMFILE);
    fake_node_step(n, 0);
    cr_expect_eq(client_connect(n, 0, "a", TERMS())->connack.type, MQTT_CONNACK);
    fake_node_destroy(n);
}

/* A reset while something is being sent, a half-closed stream, an end in the middle of a packet. */
Test(connect, connections_may_end_in_any_way)
{
    for (unsigned how = 0; how < 4; how++) {
        struct fake_node *n = fake_node_create(2, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60));
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        client_subscribe(c, "t", 1);
        client_set_window(c, 10);
        client_send_publish(pub, SAY(.topic = "t", .qos = 1, .payload_len = 20000));
        fake_node_settle(n);
        if (how == 0) {
            client_reset(c);
        } else if (how == 1) {
            client_finish(c);
        } else if (how == 2) {
            client_send_bytes(c, (const uint8_t[]){0x30, 0x20, 0}, 3);
            client_finish(c);
        } else {
            client_send_disconnect(c, 0);
        }
        fake_node_settle(n);
        fake_node_advance(n, 1100);
        cr_expect(io_fake_client_sees_close(n->net, c->fd), "%u", how);
        c = client_connect(n, 1, "me", TERMS(.session_expiry_s = 60));
        cr_expect(c->connack.session_present);
        const struct got *g = client_take(c, MQTT_PUBLISH);
        cr_assert_not_null(g);
        cr_expect(g->dup);
        cr_expect_eq(g->payload_len, 20000);
        cr_expect_eq(fake_node_drops(n), 0);
        fake_node_destroy(n);
    }
}

/* It was opened since its clients would be asked, and is no other when a reload says not to ask. */
Test(connect, listener_with_named_users_has_no_others)
{
    static const char *const methods[] = {"auth.methods=certificate,password",
                                          "auth.methods=password"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct fake_node *n = fake_node_create(1, SETTINGS());
        n->node->listeners[0].settings.user_from = CONFIG_FROM_COMMON_NAME;
        fake_node_configure(n, SETTINGS(methods[i]));
        struct fake_client *c = client_connect(n, 0, "c", TERMS());
        cr_expect_eq(c->connack.reason, MQTT_REASON_NOT_AUTHORIZED, "%s", methods[i]);
        cr_expect(client_is_ended(c));
        fake_node_destroy(n);
    }
}

/* Nobody's certificate, nobody's identifier: it could be any client's session. */
Test(connect, client_without_a_name_is_refused_where_they_are_clients_names)
{
    static const char *const ids[] = {"c", ""};
    for (size_t i = 0; i < 2; i++) {
        struct fake_node *n = fake_node_create(1, SETTINGS());
        n->node->listeners[0].settings.client_id_from = CONFIG_FROM_COMMON_NAME;
        struct fake_client *c = client_connect(n, 0, ids[i], TERMS());
        cr_expect_eq(c->connack.reason, MQTT_REASON_CLIENT_IDENTIFIER_NOT_VALID);
        cr_expect(client_is_ended(c));
        fake_node_destroy(n);
    }
}
