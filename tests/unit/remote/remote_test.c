/* SPDX-License-Identifier: Apache-2.0 */
/* Whole nodes, and what their clients see of there being several. */
#include "broker/remote/remote.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/remote/clock.h"
#include "broker/replicated/replicated.h"
#include "broker/route/index.h"
#include "broker/shard/shard.h"
#include "cluster/link/link.h"
#include "proto/node_control.h"
#include "tests/unit/remote/fake_cluster.h"

static struct fake_cluster *cluster;

static void begin(unsigned count, const unsigned shards[], const char *const settings[])
{
    cluster = fake_cluster_create(count, shards, settings, NULL);
}

static void end(void)
{
    fake_cluster_destroy(cluster);
}

static const unsigned two[] = {2, 2}, three[] = {2, 1, 3}, one[] = {1, 1}, ones[] = {1, 1, 1};

static struct fake_client *come_as(unsigned at, const char *id, const struct terms *terms)
{
    return fake_cluster_connect(cluster, at, 0, id, terms);
}

static struct fake_client *come(unsigned at, const char *id)
{
    return come_as(at, id, TERMS(.version = MQTT_V5));
}

/* The reason of its SUBACK. */
static uint8_t subscribe_as(struct fake_client *c, const struct ask *ask)
{
    client_send_subscribe(c, ask);
    fake_cluster_settle(cluster);
    const struct got *const suback = client_take(c, MQTT_SUBACK);
    return suback == NULL ? 255 : suback->reason;
}

static uint8_t subscribe(struct fake_client *c, const char *filter, uint8_t qos)
{
    return subscribe_as(c, ASK(.filter = filter, .qos = qos));
}

static void say(struct fake_client *c, const char *topic, const char *payload, uint8_t qos)
{
    client_say(c, topic, payload, qos);
    fake_cluster_settle(cluster);
}

static const char *heard(struct fake_client *c)
{
    fake_cluster_settle(cluster);
    return client_heard(c);
}

/* Of its next PUBACK or PUBREC; 255: none has come. */
static uint8_t acknowledged(struct fake_client *c, enum mqtt_type type)
{
    const struct got *const ack = client_take(c, type);
    return ack == NULL ? 255 : ack->reason;
}

static uint64_t count(unsigned at, enum metric metric)
{
    return fake_cluster_count(cluster, at, metric);
}

/* What is published on one node at once after the SUBACK of another is there, whatever the QoS,
 * from and to each shard. */
Test(remote, suback_means_subscribed_on_all_nodes)
{
    begin(3, three, SETTINGS());
    struct fake_client *publishers[3];
    char id[32], topic[32], want[64];
    for (unsigned i = 0; i < 3; i++) {
        snprintf(id, sizeof id, "p%u", i);
        publishers[i] = come(i, id);
    }
    for (unsigned round = 0; round < 60; round++) {
        const unsigned at = round % 3, from = (round / 3 + 1 + at) % 3;
        const uint8_t qos = (uint8_t)(round % 3);
        snprintf(id, sizeof id, "s%u", round);
        snprintf(topic, sizeof topic, "%c/%u/x", 'a' + (char)(round % 20), round);
        struct fake_client *const s = come(at, id);
        cr_expect_eq(subscribe(s, topic, 2), 2, "%u", round);
        say(publishers[from], topic, "hello", qos);
        snprintf(want, sizeof want, "%s=hello/%u", topic, qos);
        cr_expect_str_eq(heard(s), want, "%u", round);
        if (qos == 1) {
            cr_expect_eq(acknowledged(publishers[from], MQTT_PUBACK), 0, "%u", round);
        }
    }
    cr_expect_eq(count(0, METRIC_subscribe_unheard), 0);
    end();
}

/* Each node's subscribers get one copy, and no node passes on what another sent. */
Test(remote, once_each_and_no_further)
{
    begin(3, three, SETTINGS());
    struct fake_client *s[3];
    static const char *const ids[] = {"a", "b", "c"};
    for (unsigned i = 0; i < 3; i++) {
        s[i] = come(i, ids[i]);
        cr_assert_eq(subscribe(s[i], "t/#", 2), 2);
        cr_assert_eq(subscribe(s[i], "t/+", 1), 1);
    }
    struct fake_client *const p = come(1, "p");
    say(p, "t/1", "x", 2);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_str_eq(heard(s[i]), "t/1=x/2");
    }
    uint64_t sent = 0;
    for (unsigned i = 0; i < 3; i++) {
        sent += count(i, METRIC_forward_sent);
    }
    cr_expect_eq(sent, 2);
    end();
}

/* What a subscriber sees of a message says nothing of where it came from. */
Test(remote, a_message_is_what_it_was)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(0, "s"), *const p = come(1, "p");
    cr_assert_eq(
        subscribe_as(s, ASK(.filter = "t", .qos = 2, .retain_as_published = true, .identifier = 7)),
        2);
    client_send_publish(p, SAY(.topic = "t", .payload = "x", .qos = 1, .retain = true,
                               .has_expiry = true, .expiry_s = 60));
    fake_cluster_settle(cluster);
    const struct got *const m = client_take(s, MQTT_PUBLISH);
    cr_assert_not_null(m);
    cr_expect(m->retain);
    cr_expect_eq(m->qos, 1);
    cr_expect_eq(m->identifiers[0], 7);
    cr_expect_eq(m->message_expiry_interval_s, 60);
    end();
}

/* Who is not subscribed any more is sent nothing, two seconds later. */
Test(remote, unsubscribing_ends_it)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(0, "s"), *const p = come(1, "p");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    client_send_unsubscribe(s, "t");
    fake_cluster_settle(cluster);
    fake_cluster_advance(cluster, 2500);
    const uint64_t before = count(1, METRIC_forward_sent);
    say(p, "t", "x", 1);
    cr_expect_eq(count(1, METRIC_forward_sent), before);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    end();
}

/* A publisher's messages come in their order, over any number of connections, each once. */
Test(remote, order_and_once_over_cut_connections)
{
    begin(2, two, SETTINGS("limits.session_queue_messages_max=1000"));
    struct fake_client *const s = come(0, "s"), *const p = come(1, "p");
    char payload[16], want[32];
    cr_assert_eq(subscribe(s, "t", 2), 2);
    unsigned next = 0;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(payload, sizeof payload, "%u", i);
        client_say(p, "t", payload, 2);
        for (unsigned turn = 0; turn < i % 3; turn++) {
            fake_node_step(cluster->nodes[1], turn % 2);
        }
        if (i % 7 == 3) {
            fake_cluster_cut(cluster, 0, 1, true);
            fake_cluster_settle(cluster);
            fake_cluster_cut(cluster, 0, 1, false);
        }
        if (i % 11 == 5) {
            fake_cluster_advance(cluster, 300);
        }
    }
    fake_cluster_advance(cluster, 6000);
    for (const struct got *m; (m = client_take(s, MQTT_PUBLISH)) != NULL; next++) {
        snprintf(want, sizeof want, "%u", next);
        cr_assert_str_eq(m->payload, want);
        client_read(s);
        fake_cluster_settle(cluster);
    }
    cr_expect_eq(next, 300);
    cr_expect_eq(count(0, METRIC_gap_disconnected), 0);
    end();
}

/* While nobody answers, nobody is told that they have it; others go on. */
Test(remote, a_node_that_hangs_holds_up_its_own_alone)
{
    begin(3, ones, SETTINGS());
    struct fake_client *const s1 = come(1, "s1"), *const s2 = come(2, "s2");
    struct fake_client *const p1 = come(0, "p1"), *const p2 = come(0, "p2");
    cr_assert_eq(subscribe(s1, "one", 1), 1);
    cr_assert_eq(subscribe(s2, "two", 1), 1);
    fake_cluster_stick(cluster, 1, 0, true); /* its answers do not come */
    say(p1, "one", "x", 1);
    cr_expect_eq(acknowledged(p1, MQTT_PUBACK), 255);
    say(p2, "two", "y", 1);
    cr_expect_eq(acknowledged(p2, MQTT_PUBACK), 0);
    say(p1, "two", "z", 1);
    cr_expect_eq(acknowledged(p1, MQTT_PUBACK), 255, "the order of a connection");
    fake_cluster_stick(cluster, 1, 0, false);
    fake_cluster_settle(cluster);
    cr_expect_eq(acknowledged(p1, MQTT_PUBACK), 0);
    cr_expect_eq(acknowledged(p1, MQTT_PUBACK), 0);
    end();
}

/* A SUBACK waits for half a second for a node that lives and does not answer, and says so. */
Test(remote, suback_does_not_wait_for_ever)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(0, "s"), *const other = come(0, "other");
    fake_cluster_stick(cluster, 1, 0, true);
    cr_expect_eq(subscribe(s, "t", 1), 255);
    cr_expect_eq(subscribe(other, "t", 1), 255, "the second one, too");
    fake_cluster_advance(cluster, 600);
    cr_expect_not_null(client_take(s, MQTT_SUBACK));
    cr_expect_not_null(client_take(other, MQTT_SUBACK));
    cr_expect_geq(count(0, METRIC_subscribe_unheard), 1);
    end();
}

/* When it is known that the node is dead nobody waits for it; who is left behind on the other side
 * hears of a gap when it comes back as it was. */
Test(remote, a_dead_node_is_not_waited_for)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(1, "s"), *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    fake_cluster_cut(cluster, 0, 1, true);
    say(p, "t", "x", 1);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 255);
    fake_cluster_tell(cluster, 0, 1, false, false);
    fake_cluster_settle(cluster);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0);
    say(p, "t", "y", 1);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0);
    fake_cluster_tell(cluster, 0, 1, true, false);
    fake_cluster_cut(cluster, 0, 1, false);
    fake_cluster_advance(cluster, 10000);
    cr_expect(client_is_ended(s));
    cr_expect_eq(count(1, METRIC_gap_disconnected), 1);
    end();
}

/* Nothing was lost, but for what was not even tried while it was taken for dead. */
Test(remote, what_was_not_tried_is_a_gap_too)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(1, "s"), *const s0 = come(1, "s0"), *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    cr_assert_eq(subscribe(s0, "t", 0), 0);
    fake_cluster_tell(cluster, 0, 1, false, false);
    fake_cluster_settle(cluster);
    say(p, "t", "y", 1);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0);
    fake_cluster_tell(cluster, 0, 1, true, false);
    fake_cluster_advance(cluster, 10000);
    cr_expect(client_is_ended(s));
    cr_expect_not(client_is_ended(s0));
    end();
}

/* Nor is it known, a minute later, what it would have wanted. */
Test(remote, what_was_not_known_to_be_wanted_is_a_gap_too)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(1, "s"), *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    fake_cluster_cut(cluster, 0, 1, true);
    fake_cluster_tell(cluster, 0, 1, false, false);
    fake_cluster_advance(cluster, 61000);
    cr_expect_eq(index_filter_count(cluster->nodes[0]->node->index), 0);
    say(p, "t", "y", 1);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    fake_cluster_tell(cluster, 0, 1, true, false);
    fake_cluster_cut(cluster, 0, 1, false);
    fake_cluster_advance(cluster, 10000);
    cr_expect(client_is_ended(s));
    end();
}

/* A node that was started anew has nothing of the former, and is told all again. */
Test(remote, a_restarted_node_begins_anew)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(0, "s"), *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    cr_assert_eq(subscribe(come(1, "gone"), "u", 1), 1);
    fake_cluster_stick(cluster, 1, 0, true);
    say(p, "u", "x", 1);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 255);
    fake_cluster_restart(cluster, 1, SETTINGS());
    fake_cluster_stick(cluster, 1, 0, false);
    fake_cluster_advance(cluster, 7000);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0);
    struct fake_client *const p1 = come(1, "p1");
    say(p1, "t", "after", 1);
    cr_expect_str_eq(heard(s), "t=after/1");
    say(p, "u", "y", 1);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    end();
}

static void restart_with_lane_0_only(void)
{
    const struct peers *const peers = cluster->nodes[0]->node->peers;
    cluster->lanes_wait = true;
    fake_cluster_restart(cluster, 1, SETTINGS());
    for (unsigned i = 0; i < 1000 && peers_gauge(peers, PEERS_LINKS_UP) == 0; i++) {
        fake_cluster_advance(cluster, 10);
    }
    cr_assert_eq(peers_gauge(peers, PEERS_LINKS_UP), 1);
}

/* What a lane has for the start before goes with that, so SUBACK waits until all have met this one:
 * whatever is published after it is there. */
Test(remote, a_start_is_subscribed_when_all_lanes_have_met_it)
{
    begin(2, two, SETTINGS());
    struct fake_client *p[8];
    for (unsigned i = 0; i < 8; i++) { /* on either shard */
        char id[8];
        snprintf(id, sizeof id, "p%u", i);
        p[i] = come(0, id);
    }
    restart_with_lane_0_only();
    struct fake_client *const s = come(1, "s");
    cr_expect_eq(subscribe(s, "t", 1), 255, "a lane has not met it yet");
    cluster->lanes_wait = false;
    fake_cluster_advance(cluster, 400);
    const struct got *const suback = client_take(s, MQTT_SUBACK);
    cr_assert_not_null(suback);
    cr_expect_eq(suback->reason, 1);
    for (unsigned i = 0; i < 8; i++) {
        say(p[i], "t", "x", 1);
        cr_expect_eq(acknowledged(p[i], MQTT_PUBACK), 0);
        cr_expect_str_eq(heard(s), "t=x/1", "%u", i);
    }
    cr_expect_eq(count(1, METRIC_subscribe_unheard), 0);
    end();
}

/* A lane that never comes does not keep the others from what they know. */
Test(remote, lanes_that_do_not_come_are_not_waited_for_for_ever)
{
    begin(2, two, SETTINGS());
    restart_with_lane_0_only();
    struct fake_client *const s = come(1, "s");
    cr_expect_eq(subscribe(s, "t", 1), 255);
    fake_cluster_advance(cluster, 3000);
    cr_expect_eq(index_filter_count(cluster->nodes[0]->node->index), 1);
    cluster->lanes_wait = false;
    fake_cluster_advance(cluster, 100);
    end();
}

/* It is not ready before it knows what is subscribed to at the others; nor does it wait for ever.
 */
Test(remote, a_start_waits_for_what_others_subscribe_to)
{
    begin(2, two, SETTINGS());
    cr_assert_eq(subscribe(come(0, "s"), "t", 1), 1);
    cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 0);
    fake_cluster_stick(cluster, 0, 1, true);
    fake_cluster_restart(cluster, 1, SETTINGS());
    fake_cluster_advance(cluster, 9000);
    cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 1);
    fake_cluster_advance(cluster, 1100);
    cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 0);
    fake_cluster_restart(cluster, 1, SETTINGS());
    cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 1);
    fake_cluster_stick(cluster, 0, 1, false);
    fake_cluster_advance(cluster, 7000);
    cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 0);
    cr_expect_eq(index_filter_count(cluster->nodes[1]->node->index), 1);
    end();
}

/* A great many subscriptions do not keep a shard for long at a time. */
Test(remote, what_others_subscribe_to_is_taken_over_several_turns)
{
    begin(2, one, SETTINGS());
    struct fake_client *const s = come(0, "s");
    for (unsigned i = 0; i < 5000; i++) {
        char filter[16];
        snprintf(filter, sizeof filter, "%u", i);
        client_send_subscribe(s, ASK(.filter = filter));
        if (i % 100 == 99) {
            fake_cluster_settle(cluster);
        }
    }
    fake_cluster_restart(cluster, 1, SETTINGS());
    fake_cluster_advance(cluster, 1000);
    cr_expect_eq(index_filter_count(cluster->nodes[1]->node->index), 5000);
    cr_expect_geq(count(1, METRIC_link_held), 5000 / 250 / 8);
    end();
}

/* What comes makes it wait for more, though not for ever. */
Test(remote, a_start_waits_for_longer_while_something_comes)
{
    begin(3, ones, SETTINGS());
    struct fake_client *const s = come(2, "s");
    cr_assert_eq(subscribe(come(0, "r"), "t", 1), 1);
    cr_assert_eq(subscribe(s, "u", 1), 1);
    fake_cluster_stick(cluster, 0, 1, true);
    fake_cluster_stick(cluster, 2, 1, true);
    fake_cluster_restart(cluster, 1, SETTINGS());
    fake_cluster_advance(cluster, 9000);
    cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 1 | 4);
    fake_cluster_stick(cluster, 2, 1, false);
    for (unsigned begun_s = 9; begun_s < 54; begun_s += 9) {
        fake_cluster_advance(cluster, 9000);
        cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 1, "%u s", begun_s);
        char filter[16];
        snprintf(filter, sizeof filter, "more/%u", begun_s);
        client_send_subscribe(s, ASK(.filter = filter));
        fake_cluster_settle(cluster);
    }
    fake_cluster_advance(cluster, 7000);
    cr_expect_eq(atomic_load(&cluster->nodes[1]->node->unheard), 0);
    end();
}

/* Of the others' figures nobody hears. */
Test(remote, own_topics_stay_at_home)
{
    begin(2, two, SETTINGS("mqtt.sys_interval_s=1"));
    struct fake_client *const s = come(0, "s");
    cr_assert_eq(subscribe(s, "$SYS/#", 1), 1);
    fake_cluster_advance(cluster, 3000);
    cr_expect_eq(count(1, METRIC_forward_sent), 0);
    cr_expect_gt(client_heard_count(s), 0);
    end();
}

/* The will of a client of another node. */
Test(remote, wills_go_to_all)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(0, "s");
    struct fake_client *const w = come_as(
        1, "w",
        TERMS(.version = MQTT_V5, .will_topic = "will", .will_payload = "bye", .will_qos = 1));
    cr_assert_eq(subscribe(s, "will", 1), 1);
    client_reset(w);
    fake_cluster_settle(cluster);
    cr_expect_str_eq(heard(s), "will=bye/1");
    end();
}

/* ---- at the bounds */

static struct link_conf small_links(void)
{
    struct link_conf limits = link_conf_defaults();
    limits.kept_bytes_max = 8192;
    return limits;
}

/* Who publishes to a node that takes too little is not read from; others go on, nothing is lost. */
Test(remote, a_slow_node_slows_its_publishers)
{
    const struct link_conf limits = small_links();
    cluster = fake_cluster_create(2, one, SETTINGS(), &limits);
    struct fake_client *const s = come(1, "s"), *const here = come(0, "here");
    struct fake_client *const p = come(0, "p"), *const other = come(0, "other");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    cr_assert_eq(subscribe(here, "here", 1), 1);
    fake_cluster_stick(cluster, 0, 1, true);
    for (unsigned i = 0; i < 200; i++) {
        client_send_publish(p, SAY(.topic = "t", .payload = "x", .payload_len = 100, .qos = 1));
        fake_cluster_settle(cluster);
    }
    cr_expect_gt(count(0, METRIC_publish_stalled), 0);
    cr_expect_eq(count(0, METRIC_forward_refused), 0);
    cr_expect_lt(count(0, METRIC_publish_received), 100);
    say(other, "here", "y", 1);
    cr_expect_eq(acknowledged(other, MQTT_PUBACK), 0);
    fake_cluster_stick(cluster, 0, 1, false);
    for (unsigned i = 0; i < 100; i++) { /* who was slowed is looked at every 10 ms */
        fake_cluster_advance(cluster, 10);
    }
    fake_cluster_settle(cluster);
    cr_expect_eq(client_heard_count(s), 200);
    for (unsigned i = 0; i < 200; i++) {
        cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0, "%u", i);
    }
    end();
}

/* Where nothing is left, who is new is refused; nobody is told that it has arrived. */
Test(remote, a_full_link_refuses)
{
    const struct link_conf limits = small_links();
    cluster = fake_cluster_create(2, one, SETTINGS(), &limits);
    struct fake_client *const s = come(1, "s");
    cr_assert_eq(subscribe(s, "t", 2), 2);
    struct fake_client *p[100];
    char id[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "p%u", i);
        p[i] = come(0, id);
    }
    struct fake_client *const old = come_as(0, "old", TERMS(.version = MQTT_V311));
    fake_cluster_stick(cluster, 0, 1, true);
    unsigned refused = 0;
    for (unsigned i = 0; i < 100; i++) {
        const uint8_t qos = 1 + i % 2;
        client_send_publish(p[i],
                            SAY(.topic = "t", .payload = "x", .payload_len = 100, .qos = qos));
        fake_node_settle(cluster->nodes[0]);
        const uint8_t reason = acknowledged(p[i], qos == 1 ? MQTT_PUBACK : MQTT_PUBREC);
        cr_expect(reason == 255 || reason == MQTT_REASON_QUOTA_EXCEEDED, "%u", reason);
        refused += reason == MQTT_REASON_QUOTA_EXCEEDED;
    }
    cr_expect_gt(refused, 10);
    client_send_publish(old, SAY(.topic = "t", .payload = "x", .payload_len = 100, .qos = 1));
    fake_node_settle(cluster->nodes[0]);
    cr_expect(client_is_ended(old));
    fake_cluster_stick(cluster, 0, 1, false);
    fake_cluster_settle(cluster);
    cr_expect_eq(client_heard_count(s), 100 - refused);
    end();
}

/* QoS 0 has no place to wait in. */
Test(remote, qos0_is_dropped_and_counted)
{
    const struct link_conf limits = small_links();
    cluster = fake_cluster_create(2, one, SETTINGS(), &limits);
    struct fake_client *const s = come(1, "s"), *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "t", 2), 2);
    fake_cluster_cut(cluster, 0, 1, true);
    fake_cluster_settle(cluster);
    say(p, "t", "x", 0);
    cr_expect_eq(count(0, METRIC_drop_forward_full), 1);
    end();
}

/* A node that takes nothing for ten seconds hears of a gap; its publishers are answered. */
Test(remote, who_stands_still_hears_of_a_gap)
{
    struct link_conf limits = small_links();
    limits.silence_ms = 60000; /* the connection itself is not at fault */
    cluster = fake_cluster_create(2, one, SETTINGS(), &limits);
    struct fake_client *const s = come(1, "s"), *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    fake_cluster_stick(cluster, 0, 1, true);
    for (unsigned i = 0; i < 100; i++) {
        client_send_publish(p, SAY(.topic = "t", .payload = "x", .payload_len = 100, .qos = 1));
    }
    fake_cluster_settle(cluster);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 255);
    fake_cluster_advance(cluster, 11000);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0);
    fake_cluster_stick(cluster, 0, 1, false);
    fake_cluster_advance(cluster, 10000);
    cr_expect(client_is_ended(s));
    cr_expect_gt(count(0, METRIC_forward_ended), 0);
    end();
}

/* What a node refuses, its publisher is told. */
Test(remote, a_refusal_is_told)
{
    begin(2, two, SETTINGS("limits.message_memory_max=1048576", "limits.message_stall_s=0"));
    struct fake_client *const s =
        come_as(1, "s", TERMS(.version = MQTT_V5, .silent = true, .receive_maximum = 1));
    struct fake_client *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "#", 1), 1);
    unsigned refused = 0, taken = 0;
    for (unsigned i = 0; i < 60; i++) {
        client_send_publish(p, SAY(.topic = "t", .payload = "x", .payload_len = 60000, .qos = 1));
        fake_cluster_settle(cluster);
        const uint8_t reason = acknowledged(p, MQTT_PUBACK);
        refused += reason == MQTT_REASON_QUOTA_EXCEEDED;
        taken += reason == 0;
    }
    cr_expect_gt(refused, 0);
    cr_expect_gt(taken, 0);
    cr_expect_eq(refused + taken, 60);
    end();
}

/* ---- groups */

/* Each message goes to one member, wherever it is, and each node has its share. */
Test(remote, a_group_over_nodes_gets_each_message_once)
{
    begin(3, three, SETTINGS());
    struct fake_client *s[4];
    static const char *const ids[] = {"a", "b", "c", "d"};
    char payload[16];
    unsigned got[4] = {0}, sum = 0;
    for (unsigned i = 0; i < 4; i++) {
        s[i] = come(i % 3, ids[i]);
        cr_assert_eq(subscribe(s[i], "$share/g/t", 1), 1);
    }
    struct fake_client *const p = come(1, "p");
    for (unsigned i = 0; i < 80; i++) {
        snprintf(payload, sizeof payload, "%u", i);
        say(p, "t", payload, 1);
        cr_assert_eq(acknowledged(p, MQTT_PUBACK), 0, "%u", i);
    }
    fake_cluster_settle(cluster);
    for (unsigned i = 0; i < 4; i++) {
        got[i] = client_heard_count(s[i]);
        sum += got[i];
        cr_expect_geq(got[i], 10, "%s got %u", ids[i], got[i]);
    }
    cr_expect_eq(sum, 80);
    end();
}

/* A node that says that it has members, and has none, is passed over. */
Test(remote, a_group_without_a_member_there_is_given_to_another)
{
    begin(2, one, SETTINGS());
    struct fake_client *const there = come(1, "there"), *const here = come(0, "here");
    struct fake_client *const p = come(0, "p");
    cr_assert_eq(subscribe(there, "$share/g/t", 1), 1);
    cr_assert_eq(subscribe(here, "$share/g/t", 1), 1);
    client_send_unsubscribe(there, "$share/g/t"); /* the others hear of it in two seconds */
    fake_cluster_settle(cluster);
    for (unsigned i = 0; i < 10; i++) {
        say(p, "t", "x", 1);
    }
    fake_cluster_settle(cluster);
    cr_expect_eq(client_heard_count(here), 10);
    cr_expect_eq(client_heard_count(there), 0);
    end();
}

/* What a node had that died is given to who is left. */
Test(remote, a_group_outlives_a_node)
{
    begin(2, one, SETTINGS());
    struct fake_client *const there = come(1, "there"), *const here = come(0, "here");
    struct fake_client *const p = come(0, "p");
    cr_assert_eq(subscribe(there, "$share/g/t", 1), 1);
    cr_assert_eq(subscribe(here, "$share/g/t", 1), 1);
    fake_cluster_cut(cluster, 0, 1, true);
    for (unsigned i = 0; i < 10; i++) {
        say(p, "t", "x", 1);
    }
    fake_cluster_tell(cluster, 0, 1, false, false);
    fake_cluster_settle(cluster);
    for (unsigned i = 0; i < 10; i++) {
        say(p, "t", "x", 1);
    }
    fake_cluster_settle(cluster);
    cr_expect_eq(client_heard_count(here), 20);
    for (unsigned i = 0; i < 20; i++) {
        cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0, "%u", i);
    }
    end();
}

Test(remote, members_here_are_preferred_where_that_is_asked_for)
{
    begin(2, one, SETTINGS("shared_subscriptions.prefer_local=true"));
    struct fake_client *const there = come(1, "there"), *const here = come(0, "here");
    struct fake_client *const p = come(0, "p");
    cr_assert_eq(subscribe(there, "$share/g/t", 1), 1);
    cr_assert_eq(subscribe(here, "$share/g/t", 1), 1);
    for (unsigned i = 0; i < 10; i++) {
        say(p, "t", "x", 1);
    }
    cr_expect_eq(client_heard_count(here), 10);
    client_send_disconnect(here, 0);
    fake_cluster_settle(cluster);
    say(p, "t", "x", 1);
    fake_cluster_settle(cluster);
    cr_expect_eq(client_heard_count(there), 1);
    end();
}

/* ---- a number becomes another node's */

Test(remote, who_is_forgotten_leaves_nothing)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(1, "s"), *const p = come(0, "p");
    cr_assert_eq(subscribe(s, "t", 1), 1);
    cr_assert_eq(subscribe(s, "$share/g/u", 1), 1);
    fake_cluster_stick(cluster, 1, 0, true);
    say(p, "t", "x", 1);
    fake_cluster_tell(cluster, 0, 1, false, true);
    fake_cluster_settle(cluster);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), 0);
    cr_expect_eq(index_filter_count(cluster->nodes[0]->node->index), 0);
    say(p, "t", "y", 1);
    cr_expect_eq(acknowledged(p, MQTT_PUBACK), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    end();
}

/* ---- Clocks */

/* As if that node had said so: its clock is 5 s ahead. */
static void say_time(unsigned at, unsigned peer)
{
    uint8_t body[NODE_CONTROL_BYTES_MAX];
    const size_t len = node_clock_encode(body, replicated_wall_ms() + 5000);
    cr_assert_eq(clock_received(cluster->nodes[at]->node->shards[0], peer, bytes_of(body, len)),
                 LINK_TAKEN);
}

static int64_t clock_ahead_ms(unsigned at)
{
    return atomic_load(&cluster->nodes[at]->node->clock_ahead_ms);
}

Test(remote, a_clock_that_is_wrong_is_seen_and_that_it_is_well_again)
{
    begin(3, ones, SETTINGS());
    fake_cluster_advance(cluster, 11000);
    cr_expect_eq(clock_ahead_ms(0), 0);
    say_time(0, 1);
    fake_cluster_advance(cluster, 5000);
    cr_expect_eq(clock_ahead_ms(0), 0, "it is that node's clock");
    say_time(0, 1);
    say_time(0, 2);
    fake_cluster_advance(cluster, 5000);
    cr_expect_lt(clock_ahead_ms(0), -2000, "two say so");
    cr_expect_eq(clock_ahead_ms(1), 0);
    fake_cluster_advance(cluster, 35000);
    cr_expect_eq(clock_ahead_ms(0), 0, "they have said other things since");

    say_time(0, 1);
    say_time(0, 2);
    fake_cluster_cut(cluster, 0, 1, true);
    fake_cluster_cut(cluster, 0, 2, true);
    fake_cluster_advance(cluster, 5000);
    cr_expect_eq(clock_ahead_ms(0), 0, "who may be started anew has said nothing");
    end();
}

Test(remote, what_is_no_time_ends_the_connection)
{
    static const uint8_t bytes[] = {1, 2, 0, 0};
    begin(2, one, SETTINGS());
    struct shard *const s = cluster->nodes[0]->node->shards[0];
    cr_expect_eq(clock_received(s, 1, bytes_of(bytes, sizeof bytes)), LINK_BAD);
    end();
}
