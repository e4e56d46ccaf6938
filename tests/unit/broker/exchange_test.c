/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges of AUTH on a whole node: what may come when, what it costs, and the end of each. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/auth/gate.h"
#include "broker/auth/password_file.h"
#include "broker/auth/scram.h"
#include "broker/shard/shard.h"
#include "proto/property.h"
#include "tests/unit/auth/scram_client.h"
#include "tests/unit/broker/fake_client.h"

#define METHOD "SCRAM-SHA-256"

/* alice, with the password "pencil". */
#define USERS                                                                                      \
    "alice:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                           \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"

static void never(void *context, struct gate_request *r)
{
    (void)context;
    (void)r;
    cr_assert_fail("nobody asks the gate");
}

static struct fake_node *node_of(unsigned shards, const char *const settings[])
{
    struct fake_node *n = fake_node_create(shards, settings);
    struct password_file *users = NULL;
    struct config_error error = {0};
    cr_assert_eq(password_file_parse(&users, "test", bytes_text(USERS), 1, &error),
                 PASSWORD_FILE_OK);
    const struct gate_conf conf = {
        .threads = 1, .seed = 1, .clock_ms = n->node->clock_ms, .answer = never};
    n->node->gate = gate_start(&conf, users);
    n->node->scram = scram_server_create();
    cr_assert(n->node->gate != NULL && n->node->scram != NULL);
    atomic_store(&n->node->users, users);
    return n;
}

static void leave(struct fake_node *n)
{
    struct gate *const gate = n->node->gate;
    struct scram_server *const server = n->node->scram;
    struct password_file *const users = atomic_load(&n->node->users);
    fake_node_destroy(n);
    gate_stop(gate);
    gate_destroy(gate);
    scram_server_destroy(server);
    password_file_destroy(users);
}

/* CONNECT or AUTH with the method, and these data (NULL: none). */
static void send_with_method(struct fake_client *c, enum mqtt_type type, uint8_t reason,
                             const char *id, struct bytes data)
{
    uint8_t properties[2048];
    struct property_writer w = {.at = properties, .size = sizeof properties};
    property_put_string(&w, PROPERTY_AUTHENTICATION_METHOD, bytes_text(METHOD));
    if (data.at != NULL) {
        property_put_string(&w, PROPERTY_AUTHENTICATION_DATA, data);
    }
    struct mqtt_packet packet = {.type = type};
    if (type == MQTT_CONNECT) {
        packet.connect.client_id = bytes_text(id);
        packet.connect.properties.raw = bytes_of(properties, w.len);
    } else {
        packet.auth.reason = reason;
        packet.auth.properties.raw = bytes_of(properties, w.len);
    }
    client_send(c, &packet);
}

static void auth(struct fake_client *c, uint8_t reason, struct bytes data)
{
    send_with_method(c, MQTT_AUTH, reason, NULL, data);
}

/* client-first, in CONNECT (`id`) or AUTH. */
static void say_first(struct fake_client *c, struct scram_client *client, const char *id)
{
    char first[SCRAM_CLIENT_TEXT];
    send_with_method(c, id != NULL ? MQTT_CONNECT : MQTT_AUTH, MQTT_REASON_REAUTHENTICATE, id,
                     scram_client_first(client, "alice", first));
}

/* server-first, and client-final. */
static void say_final(struct fake_client *c, struct scram_client *client)
{
    const struct got *g = client_next(c);
    cr_assert_not_null(g);
    cr_assert_eq(g->type, MQTT_AUTH);
    cr_assert_eq(g->reason, MQTT_REASON_CONTINUE_AUTHENTICATION);
    auth(c, MQTT_REASON_CONTINUE_AUTHENTICATION,
         scram_client_final(client, "pencil", bytes_text(g->authentication_data)));
}

static void expect_next(struct fake_client *c, enum mqtt_type type, uint8_t reason)
{
    const struct got *g = client_next(c);
    cr_assert_not_null(g);
    cr_expect_eq(g->type, type, "%d, not %d", g->type, type);
    cr_expect_eq(g->reason, reason, "0x%x, not 0x%x", g->reason, reason);
}

static struct fake_client *begin(struct fake_node *n, unsigned shard, const char *id)
{
    struct scram_client client;
    struct fake_client *c = client_open(n, shard);
    c->version = MQTT_V5;
    say_first(c, &client, id);
    expect_next(c, MQTT_AUTH, MQTT_REASON_CONTINUE_AUTHENTICATION);
    return c;
}

static uint64_t unread(const struct fake_node *n)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        bytes += n->node->shards[i]->unread_bytes;
    }
    return bytes;
}

static void expect_refused(struct fake_client *c, uint8_t reason)
{
    const struct got *g = client_next(c);
    cr_assert_not_null(g);
    cr_expect_eq(g->type, MQTT_CONNACK);
    cr_expect_eq(g->reason, reason, "0x%x, not 0x%x", g->reason, reason);
    cr_expect(client_is_ended(c));
}

/* From any shard: it begins where the session lives, and what is set aside is counted. */
Test(exchange, connect_is_counted_while_it_is_aside)
{
    struct fake_node *n = node_of(3, SETTINGS());
    for (unsigned shard = 0; shard < 3; shard++) {
        struct fake_client *c = begin(n, shard, "client");
        cr_expect_gt(unread(n), 0);
        auth(c, MQTT_REASON_CONTINUE_AUTHENTICATION, bytes_text("c=biws,r=x,p=AAAA"));
        expect_refused(c, MQTT_REASON_NOT_AUTHORIZED);
        cr_expect_eq(unread(n), 0);
    }
    cr_expect_eq(fake_node_count(n, METRIC_exchanges_begun), 3);
    cr_expect_eq(fake_node_count(n, METRIC_logins_refused), 3);
    leave(n);
}

Test(exchange, it_ends_at_the_time_of_connect)
{
    struct fake_node *n = node_of(1, SETTINGS("limits.connect_timeout_s=10"));
    struct fake_client *c = begin(n, 0, "client");
    fake_node_advance(n, 9900);
    cr_expect_not(client_is_ended(c));
    fake_node_advance(n, 200);
    cr_expect(client_is_ended(c));
    cr_expect_null(client_next(c));
    cr_expect_eq(fake_node_count(n, METRIC_connect_timed_out), 1);
    cr_expect_eq(unread(n), 0);
    leave(n);
}

/* Again, while connected: it has as long as CONNECT has; and who has finished is left alone. */
Test(exchange, it_ends_too_while_connected)
{
    struct fake_node *n = node_of(1, SETTINGS("limits.connect_timeout_s=10"));
    struct scram_client client;
    struct fake_client *c = client_open(n, 0);
    c->version = MQTT_V5;
    say_first(c, &client, "client");
    say_final(c, &client);
    expect_next(c, MQTT_CONNACK, MQTT_REASON_SUCCESS);
    say_first(c, &client, NULL);
    say_final(c, &client);
    expect_next(c, MQTT_AUTH, MQTT_REASON_SUCCESS);
    fake_node_advance(n, 20000);
    cr_expect_not(client_is_ended(c));

    say_first(c, &client, NULL);
    fake_node_settle(n);
    expect_next(c, MQTT_AUTH, MQTT_REASON_CONTINUE_AUTHENTICATION);
    fake_node_advance(n, 9900);
    cr_expect_not(client_is_ended(c));
    fake_node_advance(n, 200);
    expect_next(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);
    cr_expect(client_is_ended(c));
    cr_expect_eq(fake_node_count(n, METRIC_logins_renewed), 1);
    cr_expect_eq(fake_node_count(n, METRIC_logins_not_renewed), 1);
    leave(n);
}

Test(exchange, a_client_may_go_in_its_midst)
{
    struct fake_node *n = node_of(2, SETTINGS());
    struct fake_client *c = begin(n, 0, "a");
    client_finish(c);
    fake_node_settle(n);
    c = begin(n, 1, "b");
    client_reset(c);
    fake_node_settle(n);
    c = begin(n, 0, "c");
    client_send_disconnect(c, MQTT_REASON_SUCCESS);
    cr_expect_null(client_next(c));
    cr_expect(client_is_ended(c));
    cr_expect_eq(unread(n), 0);
    leave(n);
}

Test(exchange, only_auth_with_0x18_goes_on_before_connack)
{
    struct fake_node *n = node_of(1, SETTINGS());
    struct fake_client *c = begin(n, 0, "client");
    auth(c, MQTT_REASON_REAUTHENTICATE, bytes_text("x"));
    expect_refused(c, MQTT_REASON_PROTOCOL_ERROR);

    c = begin(n, 0, "client");
    const struct mqtt_packet ping = {.type = MQTT_PINGREQ};
    client_send(c, &ping);
    expect_refused(c, MQTT_REASON_PROTOCOL_ERROR);

    c = begin(n, 0, "client");
    client_send_bytes(c, "\xf1\0", 2); /* malformed */
    expect_refused(c, MQTT_REASON_MALFORMED_PACKET);
    cr_expect_eq(fake_node_count(n, METRIC_protocol_errors), 3);
    leave(n);
}

/* Who has been silent for longest with a large CONNECT goes; no one else. */
Test(exchange, what_is_aside_is_bounded)
{
    struct fake_node *n =
        node_of(1, SETTINGS("limits.message_memory_max=1048576", "limits.packet_bytes_max=65536"));
    struct fake_client *first = begin(n, 0, "small"), *large[12];
    static uint8_t will[40000], bytes[41000];
    for (unsigned i = 0; i < 12; i++) {
        uint8_t properties[128];
        char id[16];
        struct property_writer w = {.at = properties, .size = sizeof properties};
        property_put_string(&w, PROPERTY_AUTHENTICATION_METHOD, bytes_text(METHOD));
        snprintf(id, sizeof id, "large-%u", i);
        struct mqtt_packet packet = {.type = MQTT_CONNECT};
        packet.connect.client_id = bytes_text(id);
        packet.connect.properties.raw = bytes_of(properties, w.len);
        packet.connect.has_will = true;
        packet.connect.will.topic = bytes_text("t");
        packet.connect.will.payload = bytes_of(will, sizeof will);
        large[i] = client_open(n, 0);
        large[i]->version = MQTT_V5;
        size_t used;
        cr_assert_eq(mqtt_encode(&packet, MQTT_V5, bytes, sizeof bytes, &used), MQTT_OK);
        client_send_bytes(large[i], bytes, used);
        fake_node_settle(n);
        cr_expect_leq(unread(n), n->node->shards[0]->memory_share + sizeof will + 1024);
    }
    cr_expect_gt(fake_node_count(n, METRIC_unread_refused), 0);
    cr_expect(client_is_ended(large[0]));
    cr_expect_not(client_is_ended(large[11]));
    cr_expect_not(client_is_ended(first));
    leave(n);
}
