/* SPDX-License-Identifier: Apache-2.0 */
/* Whole nodes, and clients that connect to several of them by one identifier, or have wills. */
#include "broker/ownership/ownership.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "tests/unit/remote/fake_cluster.h"

#define LOST_MS 10000u /* dead, and without a connection: its clients are lost (claims.h) */
#define IDS     30u    /* so many have owners on all nodes */

static struct fake_cluster *cluster;

static const unsigned shards[] = {2, 1, 3};

static void begin(void)
{
    cluster = fake_cluster_create(3, shards, SETTINGS(), NULL);
}

static void end(void)
{
    fake_cluster_destroy(cluster);
}

static struct fake_client *come_as(unsigned at, const char *id, const struct terms *terms)
{
    return fake_cluster_connect(cluster, at, 0, id, terms);
}

static struct fake_client *come(unsigned at, const char *id)
{
    return come_as(at, id, TERMS(.version = MQTT_V5));
}

static bool is_in(const struct fake_client *c)
{
    return c->connack.type == MQTT_CONNACK && c->connack.reason == 0;
}

static struct fake_client *reader(unsigned at)
{
    struct fake_client *const c = come(at, "reader");
    client_send_subscribe(c, ASK(.filter = "will/#", .qos = 1));
    fake_cluster_settle(cluster);
    cr_assert_not_null(client_take(c, MQTT_SUBACK));
    return c;
}

static const char *heard(struct fake_client *c)
{
    fake_cluster_settle(cluster);
    return client_heard(c);
}

/* A client of node `at` with a will "will/ID=gone"; its session lasts. */
static struct fake_client *come_with_will(unsigned at, const char *id, uint32_t delay_s)
{
    char topic[64];
    snprintf(topic, sizeof topic, "will/%s", id);
    struct fake_client *const c =
        come_as(at, id,
                TERMS(.version = MQTT_V5, .will_topic = topic, .will_payload = "gone",
                      .session_expiry_s = 1000, .will_delay_s = delay_s));
    cr_assert(is_in(c));
    return c;
}

/* The others are told that it is dead; nobody has a connection to it. */
static void die(unsigned node)
{
    for (unsigned other = 0; other < 3; other++) {
        if (other != node) {
            fake_cluster_cut(cluster, node, other, true);
            fake_cluster_tell(cluster, other, node, false, false);
            fake_cluster_tell(cluster, node, other, false, false);
        }
    }
    fake_cluster_settle(cluster);
}

static uint64_t count(enum metric metric)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < 3; i++) {
        sum += fake_cluster_count(cluster, i, metric);
    }
    return sum;
}

static bool was_taken_over(struct fake_client *c)
{
    const struct got *const bye = client_take(c, MQTT_DISCONNECT);
    return bye != NULL && bye->reason == MQTT_REASON_SESSION_TAKEN_OVER && client_is_ended(c);
}

Test(ownership, one_connection_of_an_id_wherever_it_comes)
{
    begin();
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        struct fake_client *const first = come(i % 3, id);
        cr_assert(is_in(first), "%u", i);
        struct fake_client *const second = come((i + 1 + i / 3 % 2) % 3, id);
        fake_cluster_settle(cluster);
        cr_expect(is_in(second), "%u", i);
        cr_expect(was_taken_over(first), "%u", i);
        cr_expect_not(client_is_ended(second), "%u", i);
    }
    cr_expect_eq(count(METRIC_claims_kicked), IDS);
    cr_expect_eq(count(METRIC_claims_unanswered), 0);
    end();
}

Test(ownership, on_one_node_it_goes_as_without_others)
{
    begin();
    struct fake_client *const first =
        come_as(0, "a", TERMS(.version = MQTT_V5, .session_expiry_s = 100));
    struct fake_client *const second =
        come_as(0, "a", TERMS(.version = MQTT_V5, .session_expiry_s = 100));
    cr_expect(is_in(second));
    cr_expect(second->connack.session_present);
    cr_expect(was_taken_over(first));
    cr_expect_eq(count(METRIC_claims_kicked), 0);
    end();
}

/* A session is where it was made. */
Test(ownership, at_another_node_it_begins_a_new_session)
{
    begin();
    come_as(0, "a", TERMS(.version = MQTT_V5, .session_expiry_s = 100));
    struct fake_client *const there =
        come_as(1, "a", TERMS(.version = MQTT_V5, .session_expiry_s = 100));
    cr_expect_not(there->connack.session_present);
    struct fake_client *const back =
        come_as(0, "a", TERMS(.version = MQTT_V5, .session_expiry_s = 100));
    cr_expect(back->connack.session_present);
    end();
}

/* Nothing of what it sends is looked at before CONNACK, and all of it afterwards. */
Test(ownership, what_it_sends_meanwhile_waits)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16], topic[32], want[64];
    unsigned waited = 0;
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        snprintf(topic, sizeof topic, "will/%u", i);
        struct fake_client *const c = client_open(cluster->nodes[0], i % 2);
        client_send_connect(c, id, TERMS(.version = MQTT_V5));
        client_say(c, topic, "x", 1);
        fake_node_settle(cluster->nodes[0]);
        const struct got *const early = client_next(c);
        waited += early == NULL;
        cr_expect(early == NULL || early->type == MQTT_CONNACK, "%u", i);
        fake_cluster_settle(cluster);
        cr_expect(early != NULL || client_next(c)->type == MQTT_CONNACK, "%u", i);
        cr_expect_not_null(client_take(c, MQTT_PUBACK), "%u", i);
        snprintf(want, sizeof want, "%s=x/1", topic);
        cr_expect_str_eq(heard(r), want, "%u", i);
    }
    cr_expect(waited > 0 && waited < IDS, "some are owned here: %u", waited);
    end();
}

Test(ownership, who_ends_while_it_waits_leaves_nothing)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        struct fake_client *const c = client_open(cluster->nodes[0], i % 2);
        client_send_connect(c, id,
                            TERMS(.version = MQTT_V5, .will_topic = "will/x", .will_payload = "x",
                                  .will_delay_s = 1));
        fake_node_step(cluster->nodes[0], 0);
        client_reset(c);
    }
    fake_cluster_settle(cluster);
    fake_cluster_advance(cluster, 3000);
    (void)heard(r); /* of those whose answer had come: they were connected */
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(atomic_load(&cluster->nodes[i]->node->clients), i == 2);
        cr_expect_eq(atomic_load(&cluster->nodes[i]->node->claims_held), i == 2);
        cr_expect_eq(atomic_load(&cluster->nodes[i]->node->claims_wills), 0);
    }
    end();
}

/* Nodes that cannot reach each other both let it in; when they can, one stays. */
Test(ownership, two_sides_of_a_cut_settle_it)
{
    begin();
    char id[16];
    struct fake_client *sides[IDS][2];
    fake_cluster_cut(cluster, 0, 1, true);
    fake_cluster_cut(cluster, 0, 2, true);
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        for (unsigned side = 0; side < 2; side++) {
            sides[i][side] = come(side, id);
        }
    }
    fake_cluster_advance(cluster, 6000);
    for (unsigned i = 0; i < IDS; i++) {
        for (unsigned side = 0; side < 2; side++) {
            const bool late = client_take(sides[i][side], MQTT_CONNACK) != NULL;
            cr_expect(late || is_in(sides[i][side]), "%u", i);
        }
    }
    cr_expect_gt(count(METRIC_claims_unanswered), 0);
    fake_cluster_cut(cluster, 0, 1, false);
    fake_cluster_cut(cluster, 0, 2, false);
    fake_cluster_advance(cluster, 20000);
    for (unsigned i = 0; i < IDS; i++) {
        const unsigned ended = client_is_ended(sides[i][0]) + client_is_ended(sides[i][1]);
        cr_expect_eq(ended, 1, "%u", i);
    }
    end();
}

Test(ownership, a_will_is_published_once)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16], want[64];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        struct fake_client *const c = come_with_will(i % 2, id, 0);
        client_reset(c);
        snprintf(want, sizeof want, "will/%s=gone/0", id);
        cr_expect_str_eq(heard(r), want);
    }
    cr_expect_eq(count(METRIC_wills_published), IDS);
    end();
}

Test(ownership, a_client_that_says_goodbye_has_none)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        struct fake_client *const c = come_with_will(i % 2, id, 0);
        client_send_disconnect(c, 0);
        client_finish(c);
    }
    cr_expect_str_eq(heard(r), "");
    end();
}

/* [MQTT-3.1.3-9]: who is back in time, wherever that is, has not left. */
Test(ownership, back_before_the_delay_is_over)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        client_reset(come_with_will(0, id, 10));
        fake_cluster_advance(cluster, 10);
        cr_assert(is_in(come(i % 3, id)));
    }
    fake_cluster_advance(cluster, 30000);
    cr_expect_str_eq(heard(r), "");
    cr_expect_eq(count(METRIC_wills_cancelled), IDS);
    end();
}

/* A takeover closes the former connection: its will is published unless it has a delay, in which
 * the client is there. */
Test(ownership, a_takeover_is_an_end_of_a_connection)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16], want[64];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        const bool delayed = i % 2 == 1;
        come_with_will(0, id, delayed ? 10 : 0);
        cr_assert(is_in(come(i % 3, id)));
        snprintf(want, sizeof want, "will/%s=gone/0", id);
        cr_expect_str_eq(heard(r), delayed ? "" : want, "%u", i);
    }
    fake_cluster_advance(cluster, 30000);
    cr_expect_str_eq(heard(r), "");
    end();
}

/* The session's end is the end of the delay. */
Test(ownership, the_delay_ends_with_the_session)
{
    begin();
    struct fake_client *const r = reader(2);
    struct fake_client *const c =
        come_as(0, "a",
                TERMS(.version = MQTT_V5, .will_topic = "will/a", .will_payload = "x",
                      .session_expiry_s = 5, .will_delay_s = 1000));
    client_reset(c);
    fake_cluster_advance(cluster, 4000);
    cr_expect_str_eq(heard(r), "");
    fake_cluster_advance(cluster, 2000);
    cr_expect_str_eq(heard(r), "will/a=x/0");
    end();
}

static void leave(struct fake_client *c)
{
    client_send_disconnect(c, 0);
    client_finish(c);
    fake_cluster_settle(cluster);
}

/* Whoever owned its clients, itself among them: each will once, but of those who said goodbye. */
Test(ownership, a_node_that_dies_leaves_its_wills)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        come_with_will(0, id, i % 2 == 1 ? 5 : 0);
        snprintf(id, sizeof id, "bye%u", i);
        leave(come_with_will(0, id, 0));
    }
    fake_cluster_advance(cluster, 1000);
    die(0);
    fake_cluster_advance(cluster, LOST_MS - 1000);
    cr_expect_str_eq(heard(r), "", "it may be back");
    fake_cluster_advance(cluster, 2000);
    cr_expect_eq(client_heard_count(r), IDS / 2);
    fake_cluster_advance(cluster, 6000);
    cr_expect_eq(client_heard_count(r), IDS / 2);
    fake_cluster_advance(cluster, 60000);
    cr_expect_str_eq(heard(r), "", "once each");
    end();
}

/* The node that has the copies is another one after a death; it knows all of them as well. */
Test(ownership, the_next_deputy_has_the_copies)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        come_with_will(0, id, 0);
    }
    die(1);
    fake_cluster_advance(cluster, LOST_MS + 1000);
    cr_expect_str_eq(heard(r), "");
    die(0);
    fake_cluster_advance(cluster, LOST_MS + 1000);
    cr_expect_eq(client_heard_count(r), IDS);
    end();
}

/* The node is back before it is lost: at once, those without a delay; the others' clients may come
 * back to it. */
Test(ownership, a_node_that_is_started_again_has_left_wills)
{
    begin();
    struct fake_client *const r = reader(2);
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        come_with_will(0, id, i % 2 == 1 ? 30 : 0);
    }
    fake_cluster_restart(cluster, 0, SETTINGS());
    fake_cluster_advance(cluster, 1000);
    cr_expect_eq(client_heard_count(r), IDS / 2);
    for (unsigned i = 1; i < IDS; i += 2) {
        snprintf(id, sizeof id, "c%u", i);
        come_with_will(0, id, 30);
    }
    fake_cluster_advance(cluster, 100000);
    cr_expect_str_eq(heard(r), "");
    end();
}

/* It owns ids as soon as it is back; who subscribes at other nodes it hears a little later. */
Test(ownership, a_start_publishes_wills_when_it_has_heard_for_whom)
{
    begin();
    struct fake_client *const r = reader(1);
    char id[16];
    struct fake_client *clients[IDS];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "c%u", i);
        clients[i] = come_with_will(0, id, 0);
    }
    fake_cluster_stick(cluster, 1, 2, true);
    fake_cluster_restart(cluster, 2, SETTINGS());
    fake_cluster_settle(cluster);
    for (unsigned i = 0; i < IDS; i++) {
        client_finish(clients[i]);
    }
    fake_cluster_settle(cluster);
    const size_t before = client_heard_count(r);
    cr_expect_lt(before, IDS, "the third node owns some");
    fake_cluster_stick(cluster, 1, 2, false);
    fake_cluster_advance(cluster, 3000);
    cr_expect_eq(before + client_heard_count(r), IDS);
    end();
}
