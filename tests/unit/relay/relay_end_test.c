/* SPDX-License-Identifier: Apache-2.0 */
/* How relayed connections end: by the client, by either node, and by what is between them. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "broker/conn/life.h"
#include "broker/drain.h"
#include "broker/relay/relay_parts.h"
#include "proto/node_hello.h"
#include "proto/reason.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/relay/relay_town.h"

/* A client of node 0 whose session is at node 2, with a will, and a reader there. */
static struct fake_client *client, *reader;

static void come_in(enum mqtt_version version)
{
    town_begin(SETTINGS());
    town_move(2);
    reader = town_come_as(2, "reader", TERMS(.clean_start = true));
    town_subscribe(reader, "will", 0);
    client = town_come_as(0, "c",
                          TERMS(.version = version, .will_topic = "will", .will_payload = "gone",
                                .session_expiry_s = version == MQTT_V5 ? 1000 : 0));
    cr_assert(town_is_in(client));
    cr_assert_eq(town_near(0), 1);
    cr_assert_eq(town_far(2), 1);
}

static void is_over(bool has_session)
{
    fake_cluster_advance(town, 1500); /* lingering */
    for (unsigned i = 0; i < TOWN_NODES; i++) {
        cr_expect_eq(town_near(i), 0);
        cr_expect_eq(town_far(i), 0);
    }
    cr_expect_eq(atomic_load(&town->nodes[0]->node->connections), 0);
    cr_expect(client_is_ended(client));
    cr_expect_eq(town_session(2, "c") != NULL, has_session);
    cr_expect(!has_session || town_session(2, "c")->conn == NULL);
}

/* ---- by the client */

Test(relay_end, it_says_goodbye)
{
    come_in(MQTT_V5);
    client_send_disconnect(client, 0);
    town_settle();
    is_over(true);
    cr_expect_str_eq(town_heard(reader), "");
    town_end();
}

Test(relay_end, it_is_cut_off)
{
    come_in(MQTT_V5);
    client_reset(client);
    town_settle();
    is_over(true);
    cr_expect_str_eq(town_heard(reader), "will=gone/0");
    town_end();
}

/* What it has sent before is dealt with. */
Test(relay_end, it_closes_its_half)
{
    come_in(MQTT_V5);
    client_say(client, "will", "last", 1);
    client_finish(client);
    town_settle();
    cr_expect_str_eq(town_heard(reader), "will=last/0 will=gone/0");
    is_over(true);
    town_end();
}

/* Also what was not sent on yet, as it is more than a window. */
Test(relay_end, it_closes_its_half_behind_much)
{
    come_in(MQTT_V5);
    io_fake_set_chunk(town->nodes[0]->net, 20000);
    client_send_publish(client,
                        SAY(.topic = "will", .payload = "x", .qos = 1, .payload_len = 200000));
    client_finish(client);
    town_settle();
    town_settle();
    const struct got *const got = client_take(reader, MQTT_PUBLISH);
    cr_assert_not_null(got);
    cr_expect_eq(got->payload_len, 200000);
    cr_expect_str_eq(town_heard(reader), "will=gone/0");
    is_over(true);
    town_end();
}

Test(relay_end, it_sends_what_it_must_not)
{
    come_in(MQTT_V5);
    client_send_bytes(client, "\xf7", 1);
    cr_expect_eq(town_told(client), MQTT_REASON_MALFORMED_PACKET);
    is_over(true);
    cr_expect_str_eq(town_heard(reader), "will=gone/0");
    town_end();
}

Test(relay_end, it_is_silent_for_too_long)
{
    town_begin(SETTINGS());
    town_move(2);
    client = town_come_as(0, "c",
                          TERMS(.version = MQTT_V5, .session_expiry_s = 100, .keep_alive_s = 10));
    fake_cluster_advance(town, 14000);
    cr_expect_not(client_is_ended(client));
    client_send_bytes(client, "\xc0", 2);
    fake_cluster_advance(town, 14000);
    cr_expect_not(client_is_ended(client));
    fake_cluster_advance(town, 2000);
    cr_expect_eq(town_told(client), MQTT_REASON_KEEP_ALIVE_TIMEOUT);
    is_over(true);
    town_end();
}

/* A CONNECT that is refused there: its CONNACK comes whole. */
Test(relay_end, it_is_not_let_in)
{
    town_begin(SETTINGS("limits.sessions_max=1"));
    town_move(2);
    cr_assert(town_is_in(town_come(2, "first")));
    client = town_come(0, "c");
    cr_expect_eq(client->connack.type, MQTT_CONNACK);
    cr_expect_eq(client->connack.reason, MQTT_REASON_QUOTA_EXCEEDED);
    fake_cluster_advance(town, 1500);
    cr_expect(client_is_ended(client));
    cr_expect_eq(town_near(0) + town_far(2), 0);
    town_end();
}

/* ---- by a node */

Test(relay_end, far_tells_it_to_go)
{
    come_in(MQTT_V5);
    struct conn *const far = town_session(2, "c")->conn;
    conn_close(far, MQTT_REASON_ADMINISTRATIVE_ACTION, SESSION_WILL_PUBLISH);
    shard_self = NULL;
    cr_expect_eq(town_told(client), MQTT_REASON_ADMINISTRATIVE_ACTION);
    is_over(true);
    town_end();
}

/* A drain of the node with the socket concerns it, too. */
Test(relay_end, near_is_drained)
{
    come_in(MQTT_V5);
    struct node *const node = town->nodes[0]->node;
    signal(NODE_WAKE_SIGNAL, SIG_IGN); /* main would hear that all are gone */
    struct fake_client *const late = client_open(town->nodes[0], 0);
    town_settle();
    atomic_store(&node->drain, DRAIN_LEAVING);
    atomic_store(&node->elsewhere, true);
    atomic_store(&node->farewells, 10);
    fake_cluster_advance(town, 10);
    for (unsigned i = 0; i < 2; i++) {
        fake_node_step(town->nodes[0], i);
    }
    cr_expect_eq(town_told(client), MQTT_REASON_USE_ANOTHER_SERVER);
    cr_expect_str_eq(town_heard(reader), "will=gone/0");
    cr_expect_eq(town_count(METRIC_clients_drained), 1);
    cr_expect_eq(town_near(0) + town_far(2), 0);
    /* And nobody comes in any more. */
    client_send_connect(late, "d", TERMS(.version = MQTT_V5, .session_expiry_s = 9));
    town_settle();
    const struct got *const connack = client_take(late, MQTT_CONNACK);
    cr_assert_not_null(connack);
    cr_expect_eq(connack->reason, MQTT_REASON_SERVER_UNAVAILABLE);
    cr_expect_eq(town_count(METRIC_relays_begun), 1);
    atomic_store(&node->drain, DRAIN_NONE);
    town_end();
}

Test(relay_end, far_is_started_anew)
{
    come_in(MQTT_V5);
    fake_cluster_restart(town, 2, SETTINGS());
    cr_expect_eq(town_told(client), MQTT_REASON_USE_ANOTHER_SERVER);
    fake_cluster_advance(town, 1500);
    cr_expect(client_is_ended(client));
    cr_expect_eq(town_near(0), 0);
    cr_expect_eq(fake_cluster_count(town, 0, METRIC_relays_lost), 1);
    client = town_come(0, "c");
    cr_expect(town_is_in(client));
    town_end();
}

Test(relay_end, far_is_started_anew_3)
{
    come_in(MQTT_V311);
    fake_cluster_restart(town, 2, SETTINGS());
    fake_cluster_advance(town, 1500);
    cr_expect(client_is_ended(client));
    cr_expect_null(client_next(client));
    cr_expect_eq(town_near(0), 0);
    town_end();
}

Test(relay_end, far_dies)
{
    come_in(MQTT_V5);
    town_die(2);
    cr_expect_eq(town_told(client), MQTT_REASON_USE_ANOTHER_SERVER);
    fake_cluster_advance(town, 1500);
    cr_expect(client_is_ended(client));
    cr_expect_eq(town_near(0), 0);
    cr_expect_eq(town_far(2), 0, "it takes the other for dead as well");
    town_end();
}

/* The will is published by whoever owns its id: if that was started anew, before it has heard who
 * subscribes to it. Here is asked that it is published, and that the session is there. */
Test(relay_end, near_is_started_anew)
{
    come_in(MQTT_V5);
    fake_cluster_restart(town, 0, SETTINGS());
    fake_cluster_advance(town, 100);
    cr_expect_eq(town_far(2), 0);
    cr_assert_not_null(town_session(2, "c"));
    cr_expect_null(town_session(2, "c")->conn);
    shard_self = NULL;
    fake_cluster_advance(town, 15000); /* its owner may have been lost as well */
    cr_expect_eq(town_count(METRIC_wills_published), 1);
    town_end();
}

Test(relay_end, near_dies)
{
    come_in(MQTT_V5);
    town_die(0);
    fake_cluster_advance(town, 100);
    cr_expect_eq(town_far(2), 0);
    cr_assert_not_null(town_session(2, "c"));
    cr_expect_null(town_session(2, "c")->conn);
    shard_self = NULL;
    fake_cluster_advance(town, 15000); /* its owner may have been lost as well */
    cr_expect_str_eq(town_heard(reader), "will=gone/0");
    town_end();
}

/* By each lane, and on each shard there. */
#define CROWD 12u
static struct fake_client *crowd[CROWD];

static void come_in_crowds(void)
{
    char id[16];
    come_in(MQTT_V5);
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(id, sizeof id, "of%u", i);
        crowd[i] = town_come(0, id);
        cr_assert(town_is_in(crowd[i]));
    }
    cr_assert_eq(town_far(2), CROWD + 1);
}

static void are_over(uint8_t told)
{
    cr_expect_eq(town_near(0), 0);
    cr_expect_eq(town_far(2), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        cr_expect_eq(town_told(crowd[i]), told, "%u", i);
    }
}

Test(relay_end, a_node_that_takes_another_for_dead_ends_all)
{
    come_in_crowds();
    fake_cluster_tell(town, 2, 0, false, false); /* it alone */
    fake_cluster_advance(town, 100);
    fake_cluster_tell(town, 2, 0, true, false);
    fake_cluster_advance(town, 6000);
    are_over(255);
    for (unsigned i = 0; i < CROWD; i++) {
        cr_expect(client_is_ended(crowd[i]), "%u", i);
    }
    town_end();
}

Test(relay_end, lost_frames_end_all)
{
    come_in_crowds();
    for (unsigned lane = 0; lane < 2; lane++) {
        relay_lost(fake_node_enter(town->nodes[2], lane), 0);
        shard_self = NULL;
    }
    town_settle();
    are_over(255);
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = town_come(0, "again");
        cr_expect(town_is_in(crowd[i]));
    }
    town_end();
}

Test(relay_end, a_start_anew_ends_all)
{
    come_in_crowds();
    fake_cluster_restart(town, 0, SETTINGS());
    fake_cluster_advance(town, 100);
    cr_expect_eq(town_far(2), 0);
    town_move(2);
    client = town_come(0, "c");
    cr_expect(town_is_in(client) && client->connack.session_present);
    town_end();
}

/* In the middle of a packet nothing can be said. */
Test(relay_end, inside_of_a_packet_it_is_only_closed)
{
    come_in(MQTT_V5);
    struct fake_client *const p = town_come_as(2, "p", TERMS(.clean_start = true));
    town_subscribe(client, "t", 0);
    client_set_window(client, 0);
    client_send_publish(p, SAY(.topic = "t", .payload = "x", .payload_len = 300000));
    town_settle();
    town_die(2);
    client_set_window(client, SIZE_MAX);
    town_settle();
    cr_expect_null(client_next(client));
    cr_expect_gt(client->in_len, NODE_RELAY_WINDOW / 2);
    fake_cluster_advance(town, 1500);
    cr_expect_null(client_next(client));
    cr_expect(client_is_ended(client));
    town_end();
}

/* ---- before CONNACK */

static void is_refused(const struct fake_client *c, enum mqtt_version version, uint8_t reason)
{
    cr_expect_eq(c->connack.type, MQTT_CONNACK);
    cr_expect_eq(c->connack.reason,
                 version == MQTT_V5 ? reason : mqtt_reason_to_return_code(reason));
}

Test(relay_end, no_home)
{
    town_begin(SETTINGS());
    town_move_to_nowhere();
    is_refused(town_come(0, "c"), MQTT_V5, MQTT_REASON_SERVER_UNAVAILABLE);
    is_refused(town_come_as(0, "c", TERMS(.version = MQTT_V311)), MQTT_V311,
               MQTT_REASON_SERVER_UNAVAILABLE);
    is_refused(town_come_as(1, "", TERMS(.version = MQTT_V5, .session_expiry_s = 9)), MQTT_V5,
               MQTT_REASON_SERVER_UNAVAILABLE);
    cr_expect(town_is_in(town_come_as(0, "t", TERMS(.clean_start = true))), "it does not last");
    cr_expect_eq(town_count(METRIC_relays_refused), 3);
    town_end();
}

Test(relay_end, the_home_is_dead)
{
    town_begin(SETTINGS());
    town_move(2);
    town_die(2);
    is_refused(town_come(0, "c"), MQTT_V5, MQTT_REASON_SERVER_UNAVAILABLE);
    cr_expect_eq(town_count(METRIC_relays_begun), 0);
    town_end();
}

/* The nodes differ about where it is: nobody sends it on. */
Test(relay_end, the_home_has_moved)
{
    town_begin(SETTINGS());
    town_move(2);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        relay_set_home(town->nodes[2]->node, p, RELAY_PEER + 1);
    }
    is_refused(town_come(0, "c"), MQTT_V5, MQTT_REASON_USE_ANOTHER_SERVER);
    is_refused(town_come_as(0, "d", TERMS(.version = MQTT_V31)), MQTT_V31,
               MQTT_REASON_USE_ANOTHER_SERVER);
    fake_cluster_advance(town, 1500);
    cr_expect_eq(town_near(0) + town_far(2) + town_near(2) + town_far(1), 0);
    town_end();
}

Test(relay_end, far_says_nothing)
{
    town_begin(SETTINGS("limits.connect_timeout_s=5"));
    town_move(2);
    fake_cluster_stick(town, 2, 0, true);
    client = client_open(town->nodes[0], 0);
    client_send_connect(client, "c", TERMS(.version = MQTT_V5, .session_expiry_s = 9));
    fake_cluster_advance(town, 4000);
    cr_expect_eq(town_near(0), 1);
    cr_expect_null(client_next(client));
    fake_cluster_stick(town, 2, 0, false);
    town_settle();
    cr_expect_not_null(client_take(client, MQTT_CONNACK));
    fake_cluster_advance(town, 10000);
    cr_expect_not(client_is_ended(client));
    town_cut(0, 2, true);
    client = client_open(town->nodes[0], 1);
    client_send_connect(client, "d", TERMS(.version = MQTT_V5, .session_expiry_s = 9));
    fake_cluster_advance(town, 6900);
    cr_expect_null(client_next(client));
    fake_cluster_advance(town, 200);
    const struct got *const connack = client_take(client, MQTT_CONNACK);
    cr_assert_not_null(connack);
    cr_expect_eq(connack->reason, MQTT_REASON_SERVER_UNAVAILABLE);
    cr_expect_eq(town_count(METRIC_relays_unanswered), 1);
    town_end();
}

Test(relay_end, lost_before_it_was_answered)
{
    town_begin(SETTINGS());
    town_move(2);
    town_cut(0, 2, true);
    client = client_open(town->nodes[0], 0);
    client_send_connect(client, "c", TERMS(.version = MQTT_V5, .session_expiry_s = 9));
    town_settle();
    cr_expect_eq(town_near(0), 1);
    town_die(2);
    const struct got *const connack = client_take(client, MQTT_CONNACK);
    cr_assert_not_null(connack);
    cr_expect_eq(connack->reason, MQTT_REASON_USE_ANOTHER_SERVER);
    town_end();
}

/* ---- frames that must not come */

static enum link_taken hear(unsigned node, unsigned shard, unsigned peer,
                            const struct node_relay *words)
{
    uint8_t body[NODE_RELAY_BODY_MAX];
    const struct node_frame frame = {.type = words->type,
                                     .body = bytes_of(body, node_relay_encode(body, words))};
    struct shard *const s = fake_node_enter(town->nodes[node], shard);
    const enum link_taken taken = relay_received(s, peer, &frame);
    shard_self = NULL;
    town_settle();
    return taken;
}

static uint64_t id_of_the_client(void)
{
    const struct conn *const far = town_session(2, "c")->conn;
    const uint64_t id = far->relay->id;
    shard_self = NULL;
    return id;
}

Test(relay_end, malformed)
{
    static const uint8_t body[] = {1, 3, 0, 0, 0};
    come_in(MQTT_V5);
    for (unsigned type = NODE_FRAME_RELAY_OPEN; type <= NODE_FRAME_RELAY_END; type++) {
        const struct node_frame frame = {.type = (uint8_t)type,
                                         .body = bytes_of(body, sizeof body)};
        struct shard *const s = fake_node_enter(town->nodes[2], 0);
        cr_expect_eq(relay_received(s, 0, &frame), LINK_BAD);
        shard_self = NULL;
    }
    cr_expect_eq(town_far(2), 1);
    town_end();
}

Test(relay_end, of_no_relay_that_there_is)
{
    come_in(MQTT_V5);
    for (unsigned peer = 0; peer < 2; peer++) {
        struct node_relay words = {.id = 77 * 64, .why = NODE_RELAY_GONE, .credit = 1};
        words.data = bytes_text("\xc0");
        words.type = NODE_FRAME_RELAY_DATA;
        cr_expect_eq(hear(2, 0, peer, &words), LINK_TAKEN);
        words.type = NODE_FRAME_RELAY_CREDIT;
        cr_expect_eq(hear(2, 0, peer, &words), LINK_TAKEN);
        words.type = NODE_FRAME_RELAY_END;
        cr_expect_eq(hear(2, 0, peer, &words), LINK_TAKEN);
        words.id |= NODE_RELAY_OF_FAR;
        cr_expect_eq(hear(0, 0, 2, &words), LINK_TAKEN);
    }
    /* Of that id, but of another node. */
    const struct node_relay end = {
        .type = NODE_FRAME_RELAY_END, .id = id_of_the_client(), .why = NODE_RELAY_GONE};
    cr_expect_eq(hear(2, 0, 1, &end), LINK_TAKEN);
    cr_expect_eq(town_far(2), 1);
    cr_expect_not(client_is_ended(client));
    town_end();
}

static unsigned lane_of(uint64_t id)
{
    return node_relay_partition(id) % 2;
}

Test(relay_end, opened_twice)
{
    come_in(MQTT_V5);
    const uint64_t id = id_of_the_client();
    const struct node_relay open = {.type = NODE_FRAME_RELAY_OPEN, .id = id};
    cr_expect_eq(hear(2, lane_of(id), 0, &open), LINK_TAKEN);
    cr_expect_eq(fake_cluster_count(town, 2, METRIC_relays_broken), 1);
    is_over(true);
    town_end();
}

Test(relay_end, by_a_listener_that_is_not_there)
{
    come_in(MQTT_V5);
    const struct node_relay open = {.type = NODE_FRAME_RELAY_OPEN, .id = 64 * 5, .listener = 9};
    cr_expect_eq(hear(2, 0, 0, &open), LINK_TAKEN);
    cr_expect_eq(town_far(2), 1);
    town_end();
}

/* Far is not read, so that it gives no room: what is beyond it, it must not be sent. */
Test(relay_end, more_than_there_is_room_for_far)
{
    come_in(MQTT_V5);
    static uint8_t bytes[NODE_RELAY_DATA_MAX];
    const uint64_t id = id_of_the_client();
    struct conn *const far = town_session(2, "c")->conn;
    far->blocked |= BLOCKED_RATE;
    shard_self = NULL;
    const struct node_relay data = {
        .type = NODE_FRAME_RELAY_DATA, .id = id, .data = bytes_of(bytes, sizeof bytes)};
    for (unsigned i = 0; i < NODE_RELAY_WINDOW / NODE_RELAY_DATA_MAX - 1; i++) {
        cr_expect_eq(hear(2, lane_of(id), 0, &data), LINK_TAKEN);
    }
    cr_expect_eq(town_far(2), 1);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(hear(2, lane_of(id), 0, &data), LINK_TAKEN);
    }
    cr_expect_eq(fake_cluster_count(town, 2, METRIC_relays_broken), 1);
    is_over(true);
    town_end();
}

Test(relay_end, more_than_there_is_room_for_near)
{
    come_in(MQTT_V5);
    static uint8_t bytes[NODE_RELAY_DATA_MAX];
    const uint64_t id = id_of_the_client();
    for (size_t i = 0; i < sizeof bytes; i += 2) {
        bytes[i] = 0xd0;
    }
    const struct node_relay data = {.type = NODE_FRAME_RELAY_DATA,
                                    .id = id | NODE_RELAY_OF_FAR,
                                    .data = bytes_of(bytes, sizeof bytes)};
    client_set_window(client, 0);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(hear(0, lane_of(id), 2, &data), LINK_TAKEN);
    }
    cr_expect_eq(fake_cluster_count(town, 0, METRIC_relays_broken), 1);
    client_set_window(client, SIZE_MAX);
    is_over(true);
    town_end();
}

Test(relay_end, more_credit_than_a_window)
{
    come_in(MQTT_V5);
    const uint64_t id = id_of_the_client();
    struct node_relay credit = {
        .type = NODE_FRAME_RELAY_CREDIT, .id = id, .credit = NODE_RELAY_WINDOW};
    cr_expect_eq(hear(2, lane_of(id), 0, &credit), LINK_TAKEN);
    cr_expect_eq(fake_cluster_count(town, 2, METRIC_relays_broken), 1);
    is_over(true);
    client = town_come(0, "c");
    cr_assert(town_is_in(client));
    credit.id = id_of_the_client() | NODE_RELAY_OF_FAR;
    cr_expect_eq(hear(0, lane_of(id), 2, &credit), LINK_TAKEN);
    cr_expect_eq(fake_cluster_count(town, 0, METRIC_relays_broken), 1);
    is_over(true);
    town_end();
}

/* Frames are lost, without a restart: GAP, at the one side, and what was lost at the other. */
Test(relay_end, what_is_given_up_ends_it)
{
    come_in(MQTT_V5);
    fake_cluster_stick(town, 0, 2, true);
    fake_cluster_stick(town, 2, 0, true);
    client_say(client, "t", "x", 1);
    town_settle();
    for (unsigned shard = 0; shard < 2; shard++) {
        struct shard *const s = fake_node_enter(town->nodes[0], shard);
        peers_give_up(s, 2);
    }
    shard_self = NULL;
    town_settle();
    cr_expect_eq(town_near(0), 0);
    cr_expect_eq(town_far(2), 1, "it has yet to hear");
    cr_expect_eq(town_told(client), MQTT_REASON_USE_ANOTHER_SERVER);
    fake_cluster_stick(town, 0, 2, false);
    fake_cluster_stick(town, 2, 0, false);
    fake_cluster_advance(town, 6000);
    is_over(true);
    cr_expect_str_eq(town_heard(reader), "will=gone/0");
    town_end();
}
