/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An hour in the life of a node, once for each allocation in it, with that one failing: whoever it
 * hits may be refused or cut off, and can come back; no message that was acknowledged is missing
 * without being counted; the others do not notice; and nothing leaks.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/route/index.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/route/fault.h"

#define NUMBERS_MAX 64u
#define ATTEMPTS    3u /* one may fail; the next finds the other side gone */

/* What the index replaces is freed later, and never if there was no memory to remember it by
 * (after_quiescent()). All other leaks count. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:part_make\nleak:shapes_remove\nleak:index_share_join\nleak:member_create\n";
}

struct story {
    struct fake_node *n;
    struct fake_client *sub, *pub;
    bool subscribed; /* to t/+; its session is to last from then on */
    bool accepted[NUMBERS_MAX], heard[NUMBERS_MAX];
    unsigned said;
};

static const struct terms sub_terms = {.session_expiry_s = 60,
                                       .receive_maximum = 5,
                                       .topic_alias_maximum = 4,
                                       .will_topic = "w",
                                       .will_payload = "gone",
                                       .will_qos = 1};

static void take_heard(struct story *s)
{
    for (const struct got *g; (g = client_take(s->sub, MQTT_PUBLISH)) != NULL;) {
        if (strcmp(g->topic, "t/x") == 0 || g->topic_alias != 0) {
            const unsigned long number = strtoul(g->payload, NULL, 10);
            cr_assert_lt(number, s->said, "%s=%s", g->topic, g->payload);
            s->heard[number] = true;
        }
    }
}

/* Was refused, or cut off, or was never answered? */
static bool is_gone(struct fake_client *c)
{
    return c == NULL || client_is_ended(c) || c->connack.type != MQTT_CONNACK ||
           c->connack.reason != 0;
}

/* The subscriber is there (again, if it was gone), and all that it has got so far is noted. */
static void meet(struct story *s)
{
    if (s->sub != NULL) {
        take_heard(s);
    }
    for (unsigned i = 0; is_gone(s->sub); i++) {
        cr_assert_lt(i, ATTEMPTS, "the subscriber cannot connect");
        s->sub = client_connect(s->n, i % s->n->node->shard_count, "sub", &sub_terms);
        take_heard(s);
        cr_assert(is_gone(s->sub) || s->sub->connack.session_present || !s->subscribed,
                  "its session is lost");
    }
}

static void subscribe(struct story *s, const struct ask *ask)
{
    for (unsigned i = 0;; i++) {
        cr_assert_lt(i, ATTEMPTS, "cannot subscribe to %s", ask->filter);
        meet(s);
        client_send_subscribe(s->sub, ask);
        fake_node_settle(s->n);
        const struct got *suback = client_take(s->sub, MQTT_SUBACK);
        if (suback != NULL && suback->reason <= 2) {
            return;
        }
    }
}

/* Sent, and acknowledged? */
static bool say(struct story *s, const struct say *say)
{
    for (unsigned i = 0; is_gone(s->pub); i++) {
        cr_assert_lt(i, ATTEMPTS, "the publisher cannot connect");
        s->pub = client_connect(s->n, 0, "pub", TERMS(.clean_start = true));
    }
    const uint16_t id = client_send_publish(s->pub, say);
    fake_node_settle(s->n);
    if (say->qos == 0) {
        return false;
    }
    const struct got *ack = client_take(s->pub, say->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC);
    cr_assert(ack == NULL || ack->packet_id == id, "%u, not %u", ack->packet_id, id);
    return ack != NULL && ack->reason < MQTT_REASON_UNSPECIFIED_ERROR;
}

/* The next number, to t/x. */
static void say_number(struct story *s, uint8_t qos, size_t payload_len)
{
    char payload[16];
    const unsigned number = s->said++;
    cr_assert_lt(number, NUMBERS_MAX);
    snprintf(payload, sizeof payload, "%u", number);
    s->accepted[number] = say(s, SAY(.topic = "t/x", .payload = payload, .alias = 1, .qos = qos,
                                     .payload_len = payload_len));
}

/* Whoever comes for what is retained, and leaves. */
static void visit(struct story *s)
{
    struct fake_client *b =
        client_connect(s->n, 0, "b", TERMS(.version = MQTT_V311, .clean_start = true));
    client_send_subscribe(b, ASK(.filter = "r/#", .qos = 1));
    fake_node_settle(s->n);
    client_send_unsubscribe(b, "r/#");
    fake_node_settle(s->n);
    client_finish(b);
    fake_node_settle(s->n);
}

static void tell(struct story *s)
{
    subscribe(s, ASK(.filter = "t/+", .qos = 1, .identifier = 7));
    s->subscribed = true;
    subscribe(s, ASK(.filter = "+/x", .qos = 2, .identifier = 8));
    subscribe(s, ASK(.filter = "$share/g/s", .qos = 1));
    for (uint8_t qos = 0; qos <= 2; qos++) {
        say_number(s, qos, 0);
        say_number(s, qos, 10000);
    }
    say(s, SAY(.topic = "r/1", .payload = "old", .qos = 1, .retain = true));
    say(s, SAY(.topic = "r/2", .payload = "old", .qos = 0, .retain = true));
    say(s, SAY(.topic = "s", .payload = "shared", .qos = 1));
    visit(s);

    meet(s);
    client_reset(s->sub);
    fake_node_settle(s->n);
    for (unsigned i = 0; i < 12; i++) {
        say_number(s, (uint8_t)(1 + i % 2), 0);
    }
    say(s, SAY(.topic = "s", .payload = "shared", .qos = 2));
    meet(s);
    fake_node_settle(s->n);
    take_heard(s);
}

/* Two who know nothing of it. */
static void others_are_served(struct fake_node *n)
{
    struct fake_client *a = client_connect(n, 0, "other a", TERMS());
    struct fake_client *b = client_connect(n, n->node->shard_count - 1, "other b", TERMS());
    cr_assert_eq(client_subscribe(a, "other/#", 2), 2);
    client_say(b, "other/1", "1", 2);
    cr_expect_str_eq(client_heard(a), "other/1=1/2");
}

static void check_missing(const struct story *s)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < s->said; i++) {
        missing += s->accepted[i] && !s->heard[i];
    }
    cr_assert_leq(missing, fake_node_drops(s->n), "%u are missing", missing);
}

/* false: there is no such allocation. */
static bool survive(unsigned shards, unsigned allocation)
{
    struct story s = {.n = fake_node_create(shards, SETTINGS())};
    fault_at(allocation);
    tell(&s);
    const bool happened = fault_happened();
    fault_at(FAULT_NEVER);

    meet(&s); /* what it is still owed comes now */
    fake_node_settle(s.n);
    take_heard(&s);
    check_missing(&s);
    others_are_served(s.n);
    cr_assert(happened || fake_node_drops(s.n) <= 2, "QoS 0 while nobody is there");
    fake_node_destroy(s.n);
    return happened;
}

Test(fault, any_allocation_may_fail_once, .timeout = 250)
{
    for (unsigned shards = 1; shards <= 3; shards++) {
        unsigned allocations = 0;
        while (survive(shards, allocations)) {
            allocations++;
        }
        fprintf(stderr, "%u shards: %u allocations\n", shards, allocations);
        cr_expect_gt(allocations, 100);
    }
}

/* Granted means that messages come: also where it is the other shard that has no memory. */
static bool grant(unsigned allocation)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    const struct bytes filter = bytes_of((const uint8_t *)"far", 3);
    const unsigned asker = 1 - index_owner(n->node->index, filter);
    char id[8] = "a";
    for (unsigned i = 0; fake_node_home(n, id) != asker; i++) {
        snprintf(id, sizeof id, "a%u", i);
    }
    struct fake_client *sub = client_connect(n, 0, id, TERMS());

    fault_at(allocation);
    client_send_subscribe(sub, ASK(.filter = "far", .qos = 1));
    fake_node_settle(n);
    const bool happened = fault_happened();
    fault_at(FAULT_NEVER);

    const struct got *suback = client_take(sub, MQTT_SUBACK);
    const bool granted = suback != NULL && suback->reason <= 2;
    client_say(c, "far", "1", 1);
    cr_assert_str_eq(client_heard(sub), granted ? "far=1/1" : "", "allocation %u", allocation);
    fake_node_destroy(n);
    return happened;
}

Test(fault, what_is_granted_is_delivered)
{
    unsigned allocations = 0;
    while (grant(allocations)) {
        allocations++;
    }
    cr_expect_gt(allocations, 3);
}

/* 3.1.1 has no way to be refused but the end of the connection; then the message comes again, and
 * must not be taken for one that was accepted. */
static bool repeat(unsigned allocation)
{
    const struct terms *terms = TERMS(.version = MQTT_V311, .silent = true);
    const struct say message = {
        .topic = "t", .payload = "1", .qos = 2, .retain = true, .packet_id = 9};
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
    cr_assert_eq(client_subscribe(sub, "#", 2), 2);
    struct fake_client *pub = client_connect(n, 0, "pub", terms);

    fault_at(allocation);
    client_send_publish(pub, &message);
    fake_node_settle(n);
    const bool happened = fault_happened();
    fault_at(FAULT_NEVER);

    if (client_take(pub, MQTT_PUBREC) == NULL) {
        cr_assert(client_is_ended(pub));
        pub = client_connect(n, 0, "pub", terms);
        struct say again = message;
        again.dup = true;
        client_send_publish(pub, &again);
        cr_assert_not_null(client_take(pub, MQTT_PUBREC));
    }
    client_send_ack(pub, MQTT_PUBREL, 9, 0);
    cr_assert_not_null(client_take(pub, MQTT_PUBCOMP));
    const uint64_t lost_later = fake_node_drops(n) - fake_node_count(n, METRIC_drop_refused);
    const unsigned heard = client_heard_count(sub);
    cr_assert(is_gone(sub) || heard + lost_later == 1, "allocation %u: %u heard", allocation,
              heard);
    fake_node_destroy(n);
    return happened;
}

Test(fault, what_was_refused_may_come_again)
{
    unsigned allocations = 0;
    while (repeat(allocations)) {
        allocations++;
    }
    cr_expect_gt(allocations, 3);
}
