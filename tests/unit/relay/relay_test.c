/* SPDX-License-Identifier: Apache-2.0 */
/* Clients whose packets are dealt with by another node than has their socket: as on a node alone.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/transport/listener.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/relay/relay_town.h"

#define IDS 20u

static const char *id_of(unsigned i)
{
    static char id[16];
    snprintf(id, sizeof id, "c%u", i);
    return id;
}

/* From each node to each, by each lane, and of each shard there. */
Test(relay, a_session_is_where_its_home_is)
{
    town_begin(SETTINGS());
    for (unsigned home = 0; home < TOWN_NODES; home++) {
        town_move(home);
        for (unsigned i = 0; i < IDS; i++) {
            const unsigned at = i % TOWN_NODES;
            char id[16];
            snprintf(id, sizeof id, "%u-%u", home, i);
            struct fake_client *const c = town_come(at, id);
            cr_assert(town_is_in(c), "%u, %s", at, id);
            for (unsigned node = 0; node < TOWN_NODES; node++) {
                cr_expect_eq(town_session(node, id) != NULL, node == home, "%u %s", at, id);
            }
            client_send_disconnect(c, 0);
            town_settle();
            cr_expect(client_is_ended(c));
        }
        fake_cluster_advance(town, 2000);
        for (unsigned node = 0; node < TOWN_NODES; node++) {
            cr_expect_eq(town_near(node), 0);
            cr_expect_eq(town_far(node), 0);
            cr_expect_eq(atomic_load(&town->nodes[node]->node->connections), 0);
        }
    }
    cr_expect_gt(town_count(METRIC_relays_begun), 30);
    cr_expect_eq(town_count(METRIC_relays_begun), town_count(METRIC_relays_taken));
    town_end();
}

Test(relay, of_all_versions)
{
    town_begin(SETTINGS());
    town_move(2);
    for (unsigned version = MQTT_V31; version <= MQTT_V5; version++) {
        const struct terms terms = {.version = (enum mqtt_version)version};
        struct fake_client *const c = town_come_as(0, "a", &terms);
        cr_assert(town_is_in(c), "%u", version);
        cr_expect_eq(c->connack.session_present, version != MQTT_V31, "%u", version);
        client_send_disconnect(c, 0);
        town_settle();
    }
    cr_expect_eq(town_count(METRIC_relays_begun), 3);
    town_end();
}

/* Whose session does not last is at home where it connects. */
Test(relay, only_sessions_that_last)
{
    town_begin(SETTINGS());
    town_move(1);
    cr_expect(town_is_in(town_come_as(0, "a", TERMS(.version = MQTT_V5, .clean_start = true))));
    cr_expect(town_is_in(town_come_as(0, "b", TERMS(.version = MQTT_V311, .clean_start = true))));
    cr_expect_eq(town_near(0), 0);
    cr_expect(town_is_in(town_come_as(
        0, "c", TERMS(.version = MQTT_V5, .clean_start = true, .session_expiry_s = 1))));
    cr_expect_eq(town_near(0), 1);
    cr_expect(town_is_in(town_come_as(0, "d", TERMS(.version = MQTT_V5))));
    cr_expect_eq(town_near(0), 2);
    town_end();
}

/* By the configuration none lasts: it need not be elsewhere, unless it may be there already. */
Test(relay, not_what_the_configuration_does_not_let_last)
{
    town_begin(SETTINGS("limits.session_expiry_max_s=0"));
    town_move(1);
    cr_expect(town_is_in(town_come_as(
        0, "a", TERMS(.version = MQTT_V5, .clean_start = true, .session_expiry_s = 100))));
    cr_expect_eq(town_near(0), 0);
    town_end();
}

/* Without an identifier it gets one that has its home where it is dealt with. */
Test(relay, an_identifier_is_given_by_its_home)
{
    town_begin(SETTINGS());
    town_move(2);
    struct fake_client *const c =
        town_come_as(1, "", TERMS(.version = MQTT_V5, .session_expiry_s = 100));
    cr_assert(town_is_in(c));
    cr_expect_not_null(town_session(2, c->connack.assigned_id));
    /* Of all partitions the node has one: it is of this, and on its shard. */
    for (unsigned p = 0; p < PARTITIONS; p++) {
        relay_set_home(town->nodes[2]->node, p, p == 38 ? RELAY_HERE : RELAY_PEER + 1);
    }
    for (unsigned shard = 0; shard < 3; shard++) {
        struct fake_client *const d = fake_cluster_connect(
            town, 2, shard, "", TERMS(.version = MQTT_V5, .session_expiry_s = 100));
        cr_assert(town_is_in(d), "%u", shard);
        cr_expect_not_null(town_session(2, d->connack.assigned_id));
        cr_expect_eq(fake_node_home(town->nodes[2], d->connack.assigned_id), 38 % 3);
    }
    cr_expect_eq(town_near(2), 0);
    town_end();
}

Test(relay, messages_of_every_qos)
{
    town_begin(SETTINGS());
    for (unsigned home = 0; home < TOWN_NODES; home++) {
        town_move(home);
        const unsigned near = (home + 1) % TOWN_NODES, other = (home + 2) % TOWN_NODES;
        struct fake_client *const p = town_come(near, "p"), *const s = town_come(other, "s");
        cr_assert(town_is_in(p) && town_is_in(s));
        cr_expect_eq(town_subscribe(s, "t/#", 2), 2);
        for (unsigned qos = 0; qos <= 2; qos++) {
            char want[32];
            town_say(p, "t/1", "hello", (uint8_t)qos);
            snprintf(want, sizeof want, "t/1=hello/%u", qos);
            cr_expect_str_eq(town_heard(s), want, "%u", home);
            const enum mqtt_type last = qos == 1 ? MQTT_PUBACK : MQTT_PUBCOMP;
            cr_expect(qos == 0 || client_take(p, last) != NULL, "%u, %u", home, qos);
        }
    }
    town_end();
}

/* A client that comes back by another node finds its session, and what came meanwhile. */
Test(relay, a_session_is_resumed_from_any_node)
{
    town_begin(SETTINGS());
    town_move(2);
    for (unsigned i = 0; i < IDS; i++) {
        struct fake_client *c = town_come(i % TOWN_NODES, id_of(i));
        town_subscribe(c, "t", 1);
        client_reset(c);
        town_settle();
    }
    struct fake_client *const p = town_come_as(1, "p", TERMS(.clean_start = true));
    town_say(p, "t", "x", 1);
    cr_expect_not_null(client_take(p, MQTT_PUBACK));
    for (unsigned i = 0; i < IDS; i++) {
        struct fake_client *const c = town_come((i + 1) % TOWN_NODES, id_of(i));
        cr_expect(c->connack.session_present, "%u", i);
        cr_expect_str_eq(town_heard(c), "t=x/1", "%u", i);
    }
    town_end();
}

Test(relay, taken_over_from_another_node)
{
    town_begin(SETTINGS());
    town_move(2);
    for (unsigned i = 0; i < IDS; i++) {
        struct fake_client *const first = town_come(i % TOWN_NODES, id_of(i));
        struct fake_client *const second = town_come((i + 1) % TOWN_NODES, id_of(i));
        cr_expect(town_is_in(second) && second->connack.session_present, "%u", i);
        cr_expect_eq(town_told(first), MQTT_REASON_SESSION_TAKEN_OVER, "%u", i);
        cr_expect(client_is_ended(first), "%u", i);
        cr_expect_not(client_is_ended(second), "%u", i);
    }
    town_end();
}

/* ---- how much is under way */

static uint64_t unsent(unsigned node)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < town->nodes[node]->node->shard_count; i++) {
        sum += town->nodes[node]->node->shards[i]->unsent_bytes;
    }
    return sum;
}

static uint64_t unread(unsigned node)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < town->nodes[node]->node->shard_count; i++) {
        sum += town->nodes[node]->node->shards[i]->unread_bytes;
    }
    return sum;
}

/* Who does not read fills a window, and what a session may queue; not the link, which others need.
 */
Test(relay, a_client_that_does_not_read)
{
    town_begin(SETTINGS("limits.session_queue_bytes_max=10000000", "limits.inflight_max=1000"));
    town_move(2);
    struct fake_client *const slow = town_come(0, "slow"), *const quick = town_come(0, "quick");
    struct fake_client *const p = town_come(1, "p");
    town_subscribe(slow, "t", 1);
    town_subscribe(quick, "t", 1);
    client_set_window(slow, 0);
    for (unsigned i = 0; i < 100; i++) {
        client_send_publish(p, SAY(.topic = "t", .payload = "x", .qos = 1, .payload_len = 10000));
    }
    for (unsigned i = 0; i < 20; i++) {
        town_settle();
        client_read(quick);
        client_read(p);
    }
    cr_expect_eq(client_heard_count(quick), 100);
    cr_expect_leq(unsent(0), NODE_RELAY_WINDOW);
    cr_expect_gt(unsent(0), NODE_RELAY_WINDOW / 2);
    fake_cluster_advance(town, 50); /* what has come is acknowledged */
    cr_expect_lt(town_kept_bytes(2), 1000);
    client_set_window(slow, SIZE_MAX);
    unsigned count = 0;
    for (unsigned i = 0; i < 60; i++) {
        town_settle();
        count += client_heard_count(slow);
    }
    cr_expect_eq(count, 100);
    cr_expect_eq(unsent(0), 0);
    town_end();
}

/* Who is not heard far, as it does not read its answers, is not read near. */
Test(relay, a_client_that_is_not_read)
{
    town_begin(SETTINGS("limits.output_bytes_max=4096"));
    town_move(2);
    static uint8_t pings[400000];
    struct fake_client *const c = town_come(0, "c"), *const other = town_come(0, "other");
    for (unsigned i = 0; i < sizeof pings; i += 2) {
        pings[i] = 0xc0;
        pings[i + 1] = 0;
    }
    io_fake_set_chunk(town->nodes[0]->net, 16384);
    client_set_window(c, 0);
    client_send_bytes(c, pings, sizeof pings);
    town_settle();
    cr_expect_leq(unread(0), 2 * NODE_RELAY_WINDOW);
    cr_expect_leq(unread(2), 4 * NODE_RELAY_WINDOW);
    fake_cluster_advance(town, 50);
    cr_expect_lt(town_kept_bytes(0), 1000);
    client_send_bytes(other, pings, 2);
    town_settle();
    cr_expect_not_null(client_take(other, MQTT_PINGRESP));
    client_set_window(c, SIZE_MAX);
    for (unsigned i = 0; i < 40; i++) {
        town_settle();
        client_read(c);
    }
    const size_t count = c->got_count - c->got_first;
    cr_expect_eq(count, sizeof pings / 2);
    cr_expect_not(client_is_ended(c));
    town_end();
}

Test(relay, large_packets)
{
    town_begin(SETTINGS());
    town_move(2);
    static char will[200001];
    memset(will, 'w', sizeof will - 1);
    struct fake_client *const s = town_come(1, "s");
    struct fake_client *const c = client_open(town->nodes[0], 0);
    uint8_t *const packet = malloc(250000);
    /* CONNECT is larger than a window: its will is. */
    struct mqtt_packet connect = {.type = MQTT_CONNECT};
    connect.connect.version = MQTT_V5;
    connect.connect.client_id = bytes_text("c");
    connect.connect.has_will = true;
    connect.connect.will.topic = bytes_text("will");
    connect.connect.will.payload = bytes_of(will, 60000);
    size_t used;
    cr_assert_eq(mqtt_encode(&connect, MQTT_V5, packet, 250000, &used), MQTT_OK);
    client_send_bytes(c, packet, used);
    free(packet);
    town_settle();
    const struct got *const connack = client_take(c, MQTT_CONNACK);
    cr_assert(connack != NULL && connack->reason == 0);
    town_subscribe(s, "#", 2);
    for (uint8_t qos = 0; qos <= 2; qos++) {
        client_send_publish(
            c, SAY(.topic = "t", .payload = "x", .qos = qos, .payload_len = 300000u + qos));
        for (unsigned i = 0; i < 20; i++) {
            town_settle();
            client_read(s);
            client_read(c);
        }
        const struct got *const got = client_take(s, MQTT_PUBLISH);
        cr_assert(got != NULL, "%u", qos);
        cr_expect_eq(got->payload_len, 300000u + qos);
    }
    client_reset(c);
    fake_cluster_advance(town, 100);
    const struct got *const got = client_take(s, MQTT_PUBLISH);
    cr_assert_not_null(got);
    cr_expect_eq(got->payload_len, 60000);
    town_end();
}

/* ---- links */

Test(relay, what_is_said_while_the_link_is_cut_comes_later_and_once)
{
    town_begin(SETTINGS());
    town_move(2);
    struct fake_client *const p = town_come(0, "p"), *const s = town_come(0, "s");
    town_subscribe(s, "t", 2);
    for (unsigned round = 0; round < 6; round++) {
        char payload[8], want[32];
        snprintf(payload, sizeof payload, "%u", round);
        town_cut(0, 2, true);
        client_say(p, "t", payload, (uint8_t)(round % 3));
        fake_cluster_advance(town, 200);
        cr_expect_str_eq(town_heard(s), "", "%u", round);
        town_cut(0, 2, false);
        fake_cluster_advance(town, 6000);
        snprintf(want, sizeof want, "t=%u/%u", round, round % 3);
        cr_expect_str_eq(town_heard(s), want, "%u", round);
    }
    cr_expect_eq(town_count(METRIC_relays_lost), 0);
    town_end();
}

/* Bytes stay near while the link is full of them, and are not lost. */
Test(relay, a_link_that_takes_nothing)
{
    town_begin(SETTINGS());
    town_move(2);
    struct fake_client *clients[60];
    unsigned count = 0;
    for (unsigned i = 0; i < 60; i++) {
        clients[i] = town_come(0, id_of(i));
        cr_assert(town_is_in(clients[i]));
    }
    fake_cluster_stick(town, 0, 2, true);
    for (unsigned i = 0; i < 60; i++) {
        client_send_publish(clients[i],
                            SAY(.topic = "t", .payload = "x", .qos = 1, .payload_len = 900000));
    }
    town_settle();
    cr_expect_leq(town_kept_bytes(0), 60u * (NODE_RELAY_WINDOW + 1000));
    fake_cluster_stick(town, 0, 2, false);
    for (unsigned i = 0; i < 60; i++) {
        town_settle();
    }
    fake_cluster_advance(town, 100);
    for (unsigned i = 0; i < 60; i++) {
        count += client_take(clients[i], MQTT_PUBACK) != NULL;
    }
    cr_expect_eq(count, 60);
    town_end();
}

/* ---- what far knows of the client */

Test(relay, far_knows_where_the_client_is)
{
    town_begin(SETTINGS());
    town_move(2);
    struct fake_client *const c = town_come(0, "c");
    cr_assert(town_is_in(c));
    struct conn *const far = town_session(2, "c")->conn;
    cr_expect(far->far);
    cr_expect(bytes_equal(relay_node_name(far), bytes_text("n0")));
    cr_expect_not(conn_peer_has_gone(far));
    cr_expect_eq(atomic_load(&town->nodes[2]->node->clients), 1);
    cr_expect_eq(atomic_load(&town->nodes[0]->node->clients), 0);
    cr_expect_eq(atomic_load(&town->nodes[2]->node->connections), 1);
    town_end();
}

static void open_at(unsigned node, unsigned peer, struct node_relay *words, struct bytes then)
{
    uint8_t body[NODE_RELAY_BODY_MAX];
    struct node_frame frame = {.type = words->type};
    struct shard *const s = fake_node_enter(town->nodes[node], 0);
    frame.body = bytes_of(body, node_relay_encode(body, words));
    cr_assert_eq(relay_received(s, peer, &frame), LINK_TAKEN);
    const struct node_relay data = {.type = NODE_FRAME_RELAY_DATA, .id = words->id, .data = then};
    frame.type = data.type;
    frame.body = bytes_of(body, node_relay_encode(body, &data));
    cr_assert_eq(relay_received(s, peer, &frame), LINK_TAKEN);
    shard_self = NULL;
    town_settle();
}

/* The names of its certificate come with it: here its client identifier is taken from one. */
Test(relay, names_of_a_certificate)
{
    static uint8_t connect[] = {0x10, 18, 0, 4,  'M', 'Q', 'T', 'T', 5, 0,
                                0,    0,  5, 17, 0,   0,   0,   100, 0, 0};
    static const struct {
        enum config_name_from from;
        const char *name;
    } rows[] = {{CONFIG_FROM_COMMON_NAME, "cn"},
                {CONFIG_FROM_SAN_DNS, "dns.example"},
                {CONFIG_FROM_SAN_URI, "urn:uri"},
                {CONFIG_FROM_SAN_EMAIL, "a@example"}};
    town_begin(SETTINGS());
    for (unsigned i = 0; i < 4; i++) {
        uint8_t copy[sizeof connect];
        memcpy(copy, connect, sizeof copy);
        town->nodes[1]->node->listeners[0].settings.client_id_from = rows[i].from;
        struct node_relay open = {.type = NODE_FRAME_RELAY_OPEN, .id = 640 + 64 * i};
        for (unsigned k = 0; k < 4; k++) {
            open.names[k] = bytes_text(rows[k].name);
        }
        open_at(1, 0, &open, bytes_of(copy, sizeof copy));
        struct session *const session = town_session(1, rows[i].name);
        cr_assert_not_null(session, "%u", i);
        cr_expect(
            bytes_equal(relay_client_name(session->conn, CONFIG_FROM_NONE), bytes_of(NULL, 0)));
    }
    town->nodes[1]->node->listeners[0].settings.client_id_from = CONFIG_FROM_NONE;
    town_end();
}
