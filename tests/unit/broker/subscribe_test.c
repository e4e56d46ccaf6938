/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets a message: options, overlaps, identifiers, shared subscriptions. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/route/index.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"

#define SHARDS_MAX 3u

/* ---- plain subscriptions */

static const struct {
    const char *filter, *topic;
    bool matches;
} matches[] = {
    {"a/b", "a/b", true},   {"a/b", "a/c", false},  {"+/b", "a/b", true},    {"a/+", "a/b", true},
    {"#", "a/b", true},     {"a/#", "a", true},     {"a/b/#", "a/b", true},  {"+", "a/b", false},
    {"/+", "/a", true},     {"+/+", "/a", true},    {"#", "$x/a", false},    {"+/a", "$x/a", false},
    {"$x/#", "$x/a", true}, {"a//b", "a//b", true}, {"a/+/b", "a//b", true},
};

Test(subscribe, filters_match_as_the_standard_says)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (size_t i = 0; i < sizeof matches / sizeof matches[0]; i++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            struct fake_client *c = client_connect(n, 0, "me", TERMS());
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            client_subscribe(c, matches[i].filter, 0);
            client_say(pub, matches[i].topic, "1", 1);
            cr_expect_eq(client_heard_count(c), matches[i].matches, "%s %s", matches[i].filter,
                         matches[i].topic);
            const struct got *g = client_take(pub, MQTT_PUBACK);
            cr_expect_eq(g->reason, matches[i].matches ? 0 : MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
            cr_expect_eq(fake_node_count(n, METRIC_publish_unmatched), !matches[i].matches);
            fake_node_destroy(n);
        }
    }
}

static const struct {
    const char *filter;
    enum mqtt_version version;
    uint8_t reason;
} refusals[] = {
    {"a/#/b", MQTT_V5, 0x8f},     {"a+", MQTT_V5, 0x8f},          {"$share/g", MQTT_V5, 0x8f},
    {"$share//t", MQTT_V5, 0x8f}, {"$share/+/t", MQTT_V5, 0x8f},  {"$share/g/a+", MQTT_V5, 0x8f},
    {"a/b/c/d", MQTT_V5, 0x8f},   {"$share/g/a/b/c", MQTT_V5, 1}, {"a/b/c", MQTT_V5, 1},
    {"a/#/b", MQTT_V311, 0x80},   {"a/#/b", MQTT_V31, 0},         {"$share/g/t", MQTT_V311, 1},
};

Test(subscribe, what_is_refused_is_told)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct fake_node *n = fake_node_create(2, SETTINGS("limits.topic_levels_max=3"));
        struct fake_client *c =
            client_connect(n, 0, "me", TERMS(.version = refusals[i].version, .clean_start = true));
        cr_expect_eq(client_subscribe(c, refusals[i].filter, 1), refusals[i].reason, "%s",
                     refusals[i].filter);
        cr_expect_eq(fake_node_count(n, METRIC_subscribe_refused), refusals[i].reason != 1, "%s",
                     refusals[i].filter);
        fake_node_destroy(n);
    }
}

Test(subscribe, no_local_with_a_share_is_a_protocol_error)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    client_send_subscribe(c, ASK(.filter = "$share/g/t", .no_local = true));
    cr_expect_eq(client_take(c, MQTT_DISCONNECT)->reason, MQTT_REASON_PROTOCOL_ERROR);
    fake_node_destroy(n);
}

Test(subscribe, subscriptions_have_a_maximum)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.subscriptions_per_session_max=2"));
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    cr_expect_eq(client_subscribe(c, "a", 0), 0);
    cr_expect_eq(client_subscribe(c, "$share/g/b", 0), 0);
    cr_expect_eq(client_subscribe(c, "c", 0), MQTT_REASON_QUOTA_EXCEEDED);
    cr_expect_eq(client_subscribe(c, "a", 1), 1); /* replaced */
    cr_expect_eq(client_unsubscribe(c, "a"), 0);
    cr_expect_eq(client_unsubscribe(c, "a"), MQTT_REASON_NO_SUBSCRIPTION_EXISTED);
    cr_expect_eq(client_subscribe(c, "c", 0), 0);
    fake_node_reload(n, SETTINGS("limits.subscriptions_per_session_max=3"));
    cr_expect_eq(client_subscribe(c, "d", 0), 0);
    cr_expect_eq(client_subscribe(c, "e", 0), MQTT_REASON_QUOTA_EXCEEDED);
    fake_node_destroy(n);
}

/* What subscriptions take is bounded too, since a filter may have 65,535 bytes. */
Test(subscribe, the_bytes_of_subscriptions_have_a_maximum)
{
    struct fake_node *n =
        fake_node_create(1, SETTINGS("limits.subscription_bytes_per_session_max=4096"));
    struct fake_client *c = client_connect(n, 0, "me", TERMS(.clean_start = true));
    const struct shard *s = fake_node_enter(n, 0);
    char filter[1001] = "a";
    uint8_t reason = 0;
    for (filter[0] = 'a'; filter[0] <= 'z' && reason == 0; filter[0]++) {
        reason = client_subscribe(c, filter, 0);
    }
    cr_expect_eq(reason, MQTT_REASON_QUOTA_EXCEEDED);
    cr_expect_eq(filter[0] - 'a' - 1, 25); /* of 161 each */
    cr_expect_eq(client_subscribe(c, "a", 1), 1, "the same again");
    cr_expect_eq(client_subscribe(client_connect(n, 0, "you", TERMS()), "z", 1), 1);
    cr_expect_eq(client_unsubscribe(c, "b"), 0);
    cr_expect_eq(client_subscribe(c, "+/+/+", 0), MQTT_REASON_QUOTA_EXCEEDED, "levels cost");
    cr_expect_eq(client_unsubscribe(c, "c"), 0);
    cr_expect_eq(client_unsubscribe(c, "e"), 0);
    cr_expect_eq(client_subscribe(c, "+/+/+", 0), 0);
    memset(filter, 'x', sizeof filter - 1);
    client_unsubscribe(c, "d");
    cr_expect_eq(client_subscribe(c, filter, 0), MQTT_REASON_QUOTA_EXCEEDED);
    client_finish(c);
    fake_node_settle(n);
    cr_expect_eq(s->subscription_bytes, 161, "what is left is yours");
    fake_node_destroy(n);
}

/* And of all sessions together: a quarter of the memory for messages. */
Test(subscribe, all_subscriptions_together_have_a_maximum)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.message_memory_max=1048576"));
    const struct shard *s = fake_node_enter(n, 0);
    struct fake_client *c[2];
    char filter[1001];
    uint8_t reason = 0;
    unsigned count = 0;
    memset(filter, 'x', sizeof filter - 1);
    filter[sizeof filter - 1] = 0;
    for (unsigned i = 0; i < 2; i++) {
        c[i] = client_connect(n, 0, i == 0 ? "c0" : "c1", TERMS());
    }
    for (; count < 1000 && reason == 0; count++) {
        memcpy(filter, (char[]){'a' + (char)(count / 26 % 26), 'a' + (char)(count % 26)}, 2);
        reason = client_subscribe(c[count % 2], filter, 0);
    }
    cr_expect_eq(reason, MQTT_REASON_QUOTA_EXCEEDED);
    cr_expect_eq(count, 262144 / 1160 + 2); /* the last that fits half, and the one refused */
    client_finish(c[0]);
    fake_node_settle(n);
    cr_expect_eq(client_subscribe(c[1], "there is room again", 0), 0);
    client_finish(c[1]);
    fake_node_settle(n);
    cr_expect_eq(s->subscription_bytes, 0);
    fake_node_destroy(n);
}

/* Many filters in one packet, of all shards: one answer, in their order (3.8.4). */
Test(subscribe, one_packet_may_ask_for_many)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "me", TERMS());
        static const uint8_t filters[] = {0,   1,   'a', 0, 0,   2,   '#', 'x', 1,   0, 1,
                                          'b', 2,   0,   1, 'c', 1,   0,   1,   'a', 1, 0,
                                          1,   'd', 0,   0, 3,   '+', '/', 'e', 2};
        struct mqtt_packet packet = {.type = MQTT_SUBSCRIBE};
        packet.subscribe.packet_id = 77;
        packet.subscribe.count = 7;
        packet.subscribe.filters = bytes_of(filters, sizeof filters);
        client_send(c, &packet);
        client_say(c, "a", "1", 2);
        const struct got *g = client_take(c, MQTT_SUBACK);
        cr_assert_not_null(g);
        cr_expect_eq(g->packet_id, 77);
        cr_expect_eq(g->reason_count, 7);
        cr_expect_arr_eq(g->reasons, ((const uint8_t[]){0, 0x8f, 2, 1, 1, 0, 2}), 7);
        cr_expect_str_eq(client_heard(c), "a=1/1");
        fake_node_destroy(n);
    }
}

/* [MQTT-3.3.4-2]: one copy, at the highest QoS, with every identifier. */
Test(subscribe, overlapping_subscriptions_give_one_copy)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *a = client_connect(n, 0, "a", TERMS());
        struct fake_client *b = client_connect(n, 0, "b", TERMS(.version = MQTT_V311));
        client_subscribe_as(a, ASK(.filter = "t/x", .qos = 0, .identifier = 1));
        client_subscribe_as(a, ASK(.filter = "t/+", .qos = 1, .identifier = 268435455));
        client_subscribe_as(a, ASK(.filter = "#", .qos = 0, .identifier = 1));
        client_subscribe_as(a, ASK(.filter = "+/x", .qos = 0));
        client_subscribe(b, "t/#", 2);
        client_subscribe(b, "+/x", 0);
        client_say(pub, "t/x", "1", 2);
        const struct got *g = client_take(a, MQTT_PUBLISH);
        cr_assert_not_null(g);
        cr_expect_eq(g->qos, 1);
        cr_assert_eq(g->identifier_count, 3);
        const uint64_t sum = (uint64_t)g->identifiers[0] + g->identifiers[1] + g->identifiers[2];
        cr_expect_eq(sum, 1 + 1 + 268435455);
        cr_expect_null(client_take(a, MQTT_PUBLISH));
        cr_expect_str_eq(client_heard(b), "t/x=1/2");

        client_subscribe_as(a, ASK(.filter = "#", .qos = 0)); /* no identifier any longer */
        client_unsubscribe(a, "t/x");
        client_say(pub, "t/x", "2", 0);
        g = client_take(a, MQTT_PUBLISH);
        cr_assert_eq(g->identifier_count, 1);
        cr_expect_eq(g->identifiers[0], 268435455);
        fake_node_destroy(n);
    }
}

/* [MQTT-3.8.3-3] */
Test(subscribe, no_local_keeps_ones_own_messages_away)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *a = client_connect(n, 0, "a", TERMS());
        struct fake_client *b = client_connect(n, 0, "b", TERMS());
        client_subscribe_as(a, ASK(.filter = "t", .qos = 1, .no_local = true));
        client_subscribe_as(b, ASK(.filter = "t", .qos = 1, .no_local = true));
        client_say(a, "t", "a", 1);
        fake_node_settle(n);
        client_say(b, "t", "b", 1);
        cr_expect_str_eq(client_heard(a), "t=b/1");
        cr_expect_str_eq(client_heard(b), "t=a/1");
        client_subscribe(a, "+", 0); /* which does not mind */
        client_say(a, "t", "c", 1);
        cr_expect_str_eq(client_heard(a), "t=c/0");
        cr_expect_eq(fake_node_drops(n), 0);
        fake_node_destroy(n);
    }
}

/* What No Local keeps away does not lend its identifier to the copy that comes another way. */
Test(subscribe, no_local_keeps_its_identifier_away)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *a = client_connect(n, 0, "a", TERMS());
        client_subscribe_as(a, ASK(.filter = "t/x", .identifier = 1, .no_local = true));
        client_subscribe_as(a, ASK(.filter = "t/+", .identifier = 2));
        client_subscribe_as(a, ASK(.filter = "t/#", .identifier = 3, .no_local = true));
        client_subscribe_as(a, ASK(.filter = "t/x/#", .identifier = 4));
        client_say(a, "t/x", "1", 0);
        const struct got *g = client_take(a, MQTT_PUBLISH);
        cr_assert_not_null(g);
        cr_assert_eq(g->identifier_count, 2);
        cr_expect_eq(g->identifiers[0] + g->identifiers[1], 2 + 4);
        fake_node_destroy(n);
    }
}

/* An identifier comes back as it was given, be it small or large, after whatever was there. */
Test(subscribe, identifiers_of_any_size)
{
    static const uint32_t identifiers[] = {2047, 268435455, 0, 2048, 65536, 1, 4096};
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *c = client_connect(n, 0, "c", TERMS(.clean_start = true));
        for (size_t i = 0; i < sizeof identifiers / sizeof identifiers[0]; i++) {
            client_subscribe_as(c, ASK(.filter = "t", .qos = 1, .identifier = identifiers[i]));
            client_subscribe_as(
                c, ASK(.filter = "$share/g/s", .qos = 1, .identifier = identifiers[i]));
            for (unsigned k = 0; k < 2; k++) {
                client_say(c, k == 0 ? "t" : "s", "1", 1);
                const struct got *g = client_take(c, MQTT_PUBLISH);
                cr_assert_not_null(g);
                cr_expect_eq(g->identifier_count, identifiers[i] != 0);
                cr_expect_eq(g->identifiers[0], identifiers[i]);
            }
        }
        client_finish(c);
        fake_node_settle(n);
        for (unsigned i = 0; i < shards; i++) {
            cr_expect_eq(n->node->shards[i]->subscription_bytes, 0);
        }
        fake_node_destroy(n);
    }
}

/* Each of many sessions gets its own identifiers, whatever the others' filters. */
Test(subscribe, identifiers_of_many_recipients)
{
    enum { SUBSCRIBERS = 60 };
    static const char *const filters[] = {"t/+/x", "t/y/+", "+/y/x", "t/y/x", "t/#", "#"};
    enum { FILTERS = sizeof filters / sizeof filters[0] };
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *subs[SUBSCRIBERS];
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            char id[16];
            snprintf(id, sizeof id, "s%u", i);
            subs[i] = client_connect(n, 0, id, TERMS());
            for (unsigned k = 0; k <= i % FILTERS; k++) {
                client_subscribe_as(subs[i], ASK(.filter = filters[(i + k) % FILTERS], .qos = 1,
                                                 .identifier = 1 + i * FILTERS + k));
            }
        }
        client_say(pub, "t/y/x", "1", 1);
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            const struct got *g = client_take(subs[i], MQTT_PUBLISH);
            cr_assert_not_null(g);
            cr_assert_eq(g->identifier_count, 1 + i % FILTERS);
            for (unsigned k = 0; k < g->identifier_count; k++) {
                cr_expect_eq((g->identifiers[k] - 1) / FILTERS, i);
            }
        }
        fake_node_destroy(n);
    }
}

Test(subscribe, of_many_subscribers_each_gets_it)
{
    enum { SUBSCRIBERS = 100 };
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *subs[SUBSCRIBERS];
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            char id[16];
            snprintf(id, sizeof id, "s%u", i);
            subs[i] = client_connect(n, 0, id, TERMS());
            client_subscribe(subs[i], "t", 1);
        }
        client_say(pub, "t", "1", 1);
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            cr_expect_str_eq(client_heard(subs[i]), "t=1/1");
        }
        for (unsigned i = 0; i < SUBSCRIBERS; i += 2) {
            client_unsubscribe(subs[i], "t");
        }
        client_say(pub, "t", "2", 0);
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            cr_expect_str_eq(client_heard(subs[i]), i % 2 == 0 ? "" : "t=2/0");
        }
        cr_expect_eq(index_filter_count(n->node->index), 1);
        for (unsigned i = 1; i < SUBSCRIBERS; i += 2) {
            client_finish(subs[i]);
        }
        fake_node_settle(n);
        cr_expect_eq(index_filter_count(n->node->index), 0);
        fake_node_destroy(n);
    }
}

/* A reload may come, and clients leave, while the index is being asked. */
/* The first to ask sets the index's owner to work; who asks meanwhile has to wait as well (P6). */
Test(subscribe, none_is_answered_before_the_index_knows)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    const struct bytes filter = bytes_of((const uint8_t *)"far", 3);
    const unsigned owner = index_owner(n->node->index, filter), asker = 1 - owner;
    struct fake_client *c[3];
    unsigned count = 0;
    for (unsigned i = 0; count < 3; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%u", i);
        if (fake_node_home(n, id) == asker) {
            c[count++] = client_connect(n, asker, id, TERMS());
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        client_send_subscribe(c[i], ASK(.filter = "far", .qos = 1));
    }
    for (unsigned i = 0; i < 5; i++) {
        fake_node_step(n, asker);
    }
    for (unsigned i = 0; i < 3; i++) {
        client_read(c[i]);
        cr_expect_eq(c[i]->got_count, c[i]->got_first, "client %u", i);
    }
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_not_null(client_take(c[i], MQTT_SUBACK), "client %u", i);
    }
    fake_node_destroy(n);
}

Test(subscribe, who_leaves_before_the_answer_is_forgotten)
{
    for (unsigned steps = 0; steps < 12; steps++) {
        struct fake_node *n = fake_node_create(3, SETTINGS());
        struct fake_client *c[4];
        for (unsigned i = 0; i < 4; i++) {
            char id[8];
            snprintf(id, sizeof id, "c%u", i);
            c[i] = client_connect(n, 0, id, TERMS());
            for (unsigned f = 0; f < 6; f++) {
                char filter[16];
                snprintf(filter, sizeof filter, f % 2 == 0 ? "f%u" : "$share/g/f%u", f);
                client_send_subscribe(c[i], ASK(.filter = filter, .qos = 1));
            }
        }
        for (unsigned i = 0; i < steps; i++) {
            fake_node_step(n, i % 3);
        }
        client_reset(c[0]);
        client_finish(c[1]);
        client_send_connect(client_open(n, 0), "c2", TERMS(.clean_start = true));
        fake_node_settle(n);
        for (unsigned f = 0; f < 6; f++) {
            cr_expect_not_null(client_take(c[3], MQTT_SUBACK));
        }
        cr_expect_eq(client_subscribe(c[3], "last", 1), 1);
        client_say(c[3], "f1", "1", 1);
        cr_expect_str_eq(client_heard(c[3]), "f1=1/1");
        client_finish(c[3]);
        fake_node_settle(n);
        cr_expect_eq(index_filter_count(n->node->index), 0);
        fake_node_destroy(n);
    }
}

/* ---- shared subscriptions */

#define MEMBERS  4u
#define MESSAGES 40u

struct group {
    struct fake_node *n;
    struct fake_client *members[MEMBERS];
    struct fake_client *pub;
};

static struct group group_create(unsigned shards, const char *strategy, uint8_t qos)
{
    struct group g;
    char setting[64];
    snprintf(setting, sizeof setting, "shared_subscriptions.strategy=%s", strategy);
    g.n = fake_node_create(shards, SETTINGS(setting, "limits.receive_maximum=65535"));
    g.pub = client_connect(g.n, 0, "pub", TERMS());
    for (unsigned i = 0; i < MEMBERS; i++) {
        char id[8];
        snprintf(id, sizeof id, "m%u", i);
        g.members[i] = client_connect(g.n, 0, id, TERMS(.session_expiry_s = 60));
        client_subscribe(g.members[i], "$share/g/t/+", qos);
    }
    return g;
}

static void say_many(struct group *g, unsigned count, uint8_t qos)
{
    for (unsigned i = 0; i < count; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i % 8);
        client_say(g->pub, topic, "1", qos);
    }
    fake_node_settle(g->n);
}

Test(subscribe, a_group_gets_each_message_once)
{
    static const char *const strategies[] = {"round_robin", "random", "sticky", "hash_client",
                                             "hash_topic"};
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned s = 0; s < 5; s++) {
            for (uint8_t qos = 0; qos <= 2; qos++) {
                struct group g = group_create(shards, strategies[s], qos);
                say_many(&g, MESSAGES, qos);
                unsigned sum = 0, busy = 0, most = 0;
                for (unsigned i = 0; i < MEMBERS; i++) {
                    const unsigned count = client_heard_count(g.members[i]);
                    sum += count;
                    busy += count > 0;
                    most = count > most ? count : most;
                }
                cr_expect_eq(sum, MESSAGES, "%s", strategies[s]);
                const bool one = s == 2 || s == 3;
                cr_expect_eq(busy == 1, one, "%s: %u busy", strategies[s], busy);
                cr_expect(s != 0 || most == MESSAGES / MEMBERS, "%s", strategies[s]);
                fake_node_destroy(g.n);
            }
        }
    }
}

/* The connected ones are preferred; when nobody is there it waits for one of them. */
Test(subscribe, a_group_waits_when_nobody_is_there)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct group g = group_create(shards, "round_robin", 1);
        for (unsigned i = 1; i < MEMBERS; i++) {
            client_finish(g.members[i]);
        }
        fake_node_settle(g.n);
        say_many(&g, MESSAGES, 1);
        cr_expect_eq(client_heard_count(g.members[0]), MESSAGES);
        client_finish(g.members[0]);
        fake_node_settle(g.n);
        say_many(&g, MESSAGES, 1);
        unsigned sum = 0;
        for (unsigned i = 0; i < MEMBERS; i++) {
            char id[8];
            snprintf(id, sizeof id, "m%u", i);
            sum += client_heard_count(client_connect(g.n, 0, id, TERMS(.session_expiry_s = 60)));
        }
        cr_expect_eq(sum, MESSAGES);
        cr_expect_eq(fake_node_drops(g.n), 0);
        fake_node_destroy(g.n);
    }
}

/* (4.8.2): what a member had not acknowledged goes to others when its session ends; but QoS 2 that
 * was sent stays with it. */
Test(subscribe, what_a_lost_member_leaves_goes_to_the_others)
{
    static const struct {
        uint8_t qos;
        uint16_t window;
        unsigned lost;
    } rows[] = {{1, 3, 0}, {2, 3, 3}};
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned i = 0; i < 2; i++) {
            const uint8_t qos = rows[i].qos;
            struct fake_node *n =
                fake_node_create(shards, SETTINGS("shared_subscriptions.strategy=sticky"));
            struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
            struct fake_client *a =
                client_connect(n, 0, "a", TERMS(.receive_maximum = rows[i].window, .silent = true));
            client_subscribe(a, "$share/g/t", qos);
            for (unsigned k = 0; k < 10; k++) {
                client_say(pub, "t", "1", qos);
            }
            fake_node_settle(n);
            struct fake_client *b = client_connect(n, 0, "b", TERMS());
            client_subscribe(b, "$share/g/t", qos);
            client_reset(a);
            fake_node_settle(n);
            cr_expect_eq(client_heard_count(b), 10 - rows[i].lost, "%u shards, QoS %u", shards,
                         qos);
            cr_expect_eq(fake_node_count(n, METRIC_shared_redispatched), 10 - rows[i].lost);
            cr_expect_eq(fake_node_count(n, METRIC_drop_session_ended), rows[i].lost);
            cr_expect_eq(fake_node_drops(n), rows[i].lost);
            fake_node_destroy(n);
        }
    }
}

Test(subscribe, without_another_member_it_is_dropped_and_counted)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *a =
            client_connect(n, 0, "a", TERMS(.receive_maximum = 1, .silent = true));
        client_subscribe(a, "$share/g/t", 1);
        for (unsigned k = 0; k < 5; k++) {
            client_say(pub, "t", "1", 1);
        }
        fake_node_settle(n);
        client_reset(a);
        fake_node_settle(n);
        cr_expect_eq(fake_node_count(n, METRIC_drop_shared_no_member), 5, "%u shards", shards);
        cr_expect_eq(fake_node_drops(n), 5);
        client_say(pub, "t", "1", 1);
        fake_node_settle(n);
        cr_expect_eq(fake_node_count(n, METRIC_publish_unmatched), 1); /* there is no group */
        fake_node_destroy(n);
    }
}

/* A member leaves while messages for it are under way: another gets them. */
Test(subscribe, a_member_may_leave_at_any_moment)
{
    for (unsigned steps = 0; steps < 15; steps++) {
        for (unsigned shards = 2; shards <= SHARDS_MAX; shards++) {
            struct group g = group_create(shards, "round_robin", 1);
            for (unsigned i = 0; i < MESSAGES; i++) {
                client_say(g.pub, "t/1", "1", 1);
            }
            client_send_unsubscribe(g.members[1], "$share/g/t/+");
            client_send_unsubscribe(g.members[2], "$share/g/t/+");
            for (unsigned i = 0; i < steps; i++) {
                fake_node_step(g.n, (i * 5 + steps) % shards);
            }
            unsigned sum = 0;
            for (unsigned i = 0; i < MEMBERS; i++) {
                sum += client_heard_count(g.members[i]);
            }
            cr_expect_eq(sum, MESSAGES, "%u shards, %u steps", shards, steps);
            cr_expect_eq(fake_node_drops(g.n), 0);
            fake_node_destroy(g.n);
        }
    }
}

/* [MQTT-4.8.2-6] */
Test(subscribe, a_member_that_refuses_ends_it)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        struct fake_node *n = fake_node_create(2, SETTINGS());
        struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
        struct fake_client *a = client_connect(n, 0, "a", TERMS(.silent = true));
        struct fake_client *b = client_connect(n, 0, "b", TERMS());
        client_subscribe(a, "$share/g/t", qos);
        client_say(pub, "t", "1", qos);
        const struct got *g = client_take(a, MQTT_PUBLISH);
        cr_assert_not_null(g);
        client_subscribe(b, "$share/g/t", qos);
        client_send_ack(a, qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, g->packet_id, 0x80);
        fake_node_settle(n);
        client_reset(a);
        cr_expect_str_empty(client_heard(b));
        cr_expect_eq(fake_node_count(n, METRIC_drop_shared_refused), 1);
        cr_expect_eq(fake_node_drops(n), 1);
        fake_node_destroy(n);
    }
}

/* Members that are there come first; one that was away is there again when it has come back. */
Test(subscribe, a_member_that_came_back_gets_its_turn)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *stays = client_connect(n, 0, "stays", TERMS());
    struct fake_client *back = client_connect(n, 0, "back", TERMS(.session_expiry_s = 60));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    client_subscribe(stays, "$share/g/t", 1);
    client_subscribe(back, "$share/g/t", 1);
    client_finish(back);
    fake_node_settle(n);
    client_say(pub, "t", "x", 1);
    client_say(pub, "t", "x", 1);
    fake_node_settle(n);
    cr_expect_eq(client_heard_count(stays), 2);
    back = client_connect(n, 0, "back", TERMS(.session_expiry_s = 60));
    for (unsigned i = 0; i < 4; i++) {
        client_say(pub, "t", "x", 1);
    }
    fake_node_settle(n);
    cr_expect_eq(client_heard_count(stays), 2);
    cr_expect_eq(client_heard_count(back), 2);
    fake_node_destroy(n);
}

Test(subscribe, groups_and_plain_subscriptions_do_not_mind_each_other)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct fake_node *n = fake_node_create(shards, SETTINGS());
        struct fake_client *a = client_connect(n, 0, "a", TERMS());
        client_subscribe_as(a, ASK(.filter = "$share/g/t", .qos = 1, .identifier = 5));
        client_subscribe_as(a, ASK(.filter = "$share/h/t", .qos = 1));
        client_subscribe_as(a, ASK(.filter = "$share/g/#", .qos = 0, .identifier = 6));
        client_subscribe(a, "t", 2);
        client_subscribe_as(a, ASK(.filter = "$share/g/t", .qos = 0, .identifier = 7));
        client_say(a, "t", "1", 2);
        unsigned count = 0, identifiers = 0;
        for (const struct got *g; (g = client_take(a, MQTT_PUBLISH)) != NULL; count++) {
            identifiers += g->identifier_count > 0 ? g->identifiers[0] : 0;
        }
        cr_expect_eq(count, 4);
        cr_expect_eq(identifiers, 6 + 7);
        fake_node_destroy(n);
    }
}
