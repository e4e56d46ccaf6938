/* SPDX-License-Identifier: Apache-2.0 */
/* Whole nodes, and the retained messages that each of them has. */
#include "broker/replicated/replicated.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/node.h"
#include "broker/shard/shard.h"
#include "tests/unit/remote/fake_cluster.h"

static struct fake_cluster *cluster;
static const unsigned three[] = {2, 1, 3}, two[] = {2, 2};

static void begin(unsigned count, const unsigned shards[], const char *const settings[])
{
    cluster = fake_cluster_create(count, shards, settings, NULL);
}

static void end(void)
{
    fake_cluster_destroy(cluster);
}

static struct fake_client *come(unsigned at, const char *id)
{
    return client_connect(cluster->nodes[at], 0, id, TERMS(.version = MQTT_V5));
}

/* The reason of its PUBACK; 255: none has come. */
static uint8_t retain(struct fake_client *c, const char *topic, const char *payload)
{
    client_send_publish(c, SAY(.topic = topic, .payload = payload, .qos = 1, .retain = true));
    fake_cluster_settle(cluster);
    const struct got *const ack = client_take(c, MQTT_PUBACK);
    return ack == NULL ? 255 : ack->reason;
}

static uint8_t is_taken(uint8_t reason)
{
    return reason == MQTT_REASON_SUCCESS || reason == MQTT_REASON_NO_MATCHING_SUBSCRIBERS;
}

/* What somebody who comes now gets. */
static const char *found(unsigned at, const char *filter)
{
    static unsigned ids;
    char id[32];
    snprintf(id, sizeof id, "found%u", ids++);
    struct fake_client *const c = come(at, id);
    client_send_subscribe(c, ASK(.filter = filter));
    fake_cluster_settle(cluster);
    const char *const heard = client_heard(c);
    client_finish(c);
    fake_cluster_settle(cluster);
    return heard;
}

static bool are_same(void)
{
    const struct node *const first = cluster->nodes[0]->node;
    bool same = true;
    for (unsigned i = 1; i < cluster->count; i++) {
        const struct node *const other = cluster->nodes[i]->node;
        same = same &&
               replicated_gauge(first, REPLICATED_SUM_LOW) ==
                   replicated_gauge(other, REPLICATED_SUM_LOW) &&
               replicated_gauge(first, REPLICATED_SUM_HIGH) ==
                   replicated_gauge(other, REPLICATED_SUM_HIGH);
    }
    return same;
}

/* Set, replaced and deleted at any node, whichever of its shards has the topic. */
Test(replicated, what_is_acknowledged_is_everywhere)
{
    begin(3, three, SETTINGS());
    struct fake_client *p[3] = {come(0, "p0"), come(1, "p1"), come(2, "p2")};
    char topic[32], want[64];
    for (unsigned i = 0; i < 24; i++) {
        snprintf(topic, sizeof topic, "%c/t", 'a' + (char)i);
        cr_expect(is_taken(retain(p[i % 3], topic, "first")), "%u", i);
        cr_expect(is_taken(retain(p[(i + 1) % 3], topic, i % 2 == 0 ? "second" : "")), "%u", i);
        snprintf(want, sizeof want, "%s=second/0r", topic);
        for (unsigned at = 0; at < 3; at++) {
            cr_expect_str_eq(found(at, topic), i % 2 == 0 ? want : "", "%u, at %u", i, at);
        }
    }
    fake_cluster_advance(cluster, 2000);
    cr_expect(are_same());
    cr_expect_eq(replicated_gauge(cluster->nodes[1]->node, REPLICATED_TOPICS), 12);
    end();
}

/* Who is there gets it once, as any message; nothing that is retained by the way. */
Test(replicated, subscribers_get_it_once)
{
    begin(2, two, SETTINGS());
    struct fake_client *const s = come(1, "s"), *const p = come(0, "p");
    client_send_subscribe(s, ASK(.filter = "#", .qos = 1, .retain_as_published = true));
    fake_cluster_settle(cluster);
    cr_expect_eq(retain(p, "a/b", "x"), 0);
    cr_expect_str_eq(client_heard(s), "a/b=x/1r");
    fake_cluster_advance(cluster, 5000);
    cr_expect_str_eq(client_heard(s), "");
    end();
}

/* Both sides write meanwhile; the later write of each topic counts on both, a deletion as any. */
Test(replicated, apart_and_together_again)
{
    begin(2, two, SETTINGS());
    struct fake_client *const a = come(0, "a"), *const b = come(1, "b");
    cr_expect(is_taken(retain(a, "t/1", "before")));
    cr_expect(is_taken(retain(a, "t/2", "before")));
    fake_cluster_cut(cluster, 0, 1, true);
    fake_cluster_tell(cluster, 0, 1, false, false);
    fake_cluster_tell(cluster, 1, 0, false, false);
    cr_expect(is_taken(retain(a, "t/1", "")));
    cr_expect(is_taken(retain(a, "t/3", "of a")));
    cr_expect(is_taken(retain(b, "t/3", "of b")));
    cr_expect(is_taken(retain(b, "t/4", "of b")));
    cr_expect_str_eq(found(1, "t/1"), "t/1=before/0r");
    fake_cluster_cut(cluster, 0, 1, false);
    fake_cluster_tell(cluster, 0, 1, true, false);
    fake_cluster_tell(cluster, 1, 0, true, false);
    fake_cluster_advance(cluster, 10000);
    for (unsigned at = 0; at < 2; at++) {
        cr_expect_str_eq(found(at, "t/1"), "");
        cr_expect_str_eq(found(at, "t/2"), "t/2=before/0r");
        cr_expect(strstr("t/3=of a/0r t/3=of b/0r", found(at, "t/3")) != NULL);
        cr_expect_str_eq(found(at, "t/4"), "t/4=of b/0r");
    }
    char other[64];
    snprintf(other, sizeof other, "%s", found(0, "t/3"));
    cr_expect_str_eq(found(1, "t/3"), other);
    cr_expect(are_same());
    end();
}

/* What was deleted need not be known for ever: when all have it, it is forgotten, and is not back.
 */
Test(replicated, tombstones_go_when_all_know)
{
    begin(2, two, SETTINGS());
    struct fake_client *const p = come(0, "p");
    cr_expect(is_taken(retain(p, "t/1", "x")));
    cr_expect(is_taken(retain(p, "t/1", "")));
    cr_expect(is_taken(retain(p, "t/2", "x")));
    fake_cluster_advance(cluster, 2000);
    cr_expect_eq(replicated_gauge(cluster->nodes[1]->node, REPLICATED_TOMBSTONES), 1);
    fake_cluster_advance(cluster, 20000);
    for (unsigned at = 0; at < 2; at++) {
        cr_expect_eq(replicated_gauge(cluster->nodes[at]->node, REPLICATED_TOMBSTONES), 0);
        cr_expect_eq(replicated_gauge(cluster->nodes[at]->node, REPLICATED_FORGOTTEN), 1);
        cr_expect_str_eq(found(at, "t/1"), "");
        cr_expect_str_eq(found(at, "t/2"), "t/2=x/0r");
    }
    cr_expect(are_same());
    end();
}

/* A node that is started without anything has all of it, and is not ready before. */
Test(replicated, a_node_without_anything)
{
    begin(2, two, SETTINGS());
    struct fake_client *const p = come(0, "p");
    char topic[32];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(topic, sizeof topic, "%u/t/%u", i % 7, i);
        cr_expect(is_taken(retain(p, topic, "x")));
    }
    fake_cluster_stick(cluster, 0, 1, true);
    fake_cluster_restart(cluster, 1, SETTINGS());
    fake_cluster_advance(cluster, 2000);
    cr_expect_not(replicated_has_heard(cluster->nodes[1]->node));
    fake_cluster_stick(cluster, 0, 1, false);
    fake_cluster_advance(cluster, 5000);
    cr_expect(replicated_has_heard(cluster->nodes[1]->node));
    cr_expect_eq(replicated_gauge(cluster->nodes[1]->node, REPLICATED_TOPICS), 200);
    cr_expect_str_eq(found(1, "3/t/3"), "3/t/3=x/0r");
    cr_expect(are_same());
    end();
}

/* The limit is of all nodes' together, and holds where it is published. */
Test(replicated, the_limit_counts_those_of_all)
{
    begin(2, two, SETTINGS("limits.retained_messages_max=2"));
    struct fake_client *const a = come(0, "a"), *const b = come(1, "b");
    cr_expect(is_taken(retain(a, "t/1", "x")));
    cr_expect(is_taken(retain(b, "t/2", "x")));
    cr_expect_eq(retain(a, "t/3", "x"), MQTT_REASON_QUOTA_EXCEEDED);
    cr_expect_eq(retain(b, "t/3", "x"), MQTT_REASON_QUOTA_EXCEEDED);
    cr_expect(is_taken(retain(b, "t/1", "y")), "it has one");
    cr_expect(is_taken(retain(b, "t/1", "")));
    cr_expect(is_taken(retain(a, "t/3", "x")));
    cr_expect_eq(fake_cluster_count(cluster, 0, METRIC_retained_refused), 1);
    end();
}
