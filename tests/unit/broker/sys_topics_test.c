/* SPDX-License-Identifier: Apache-2.0 */
/* What is below $SYS/broker/, when it is said, and that nothing else notices. */
#include "broker/sys_topics.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "broker/node.h"
#include "broker/route/retained.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_disk.h"

#define EVERY_10_S "mqtt.sys_interval_s=10"

/* What is retained there now; NULL: nothing. Good until the next call. */
static const char *told(struct fake_node *n, const char *name)
{
    static char text[64];
    char topic[128];
    snprintf(topic, sizeof topic, "$SYS/broker/%s", name);
    const struct shard *s = n->node->shards[index_owner(n->node->index, bytes_text(topic))];
    const struct message *m = retained_get(s->retained, bytes_text(topic));
    if (m == NULL) {
        return NULL;
    }
    snprintf(text, sizeof text, "%.*s", (int)m->payload_len, (const char *)message_payload(m).at);
    return text;
}

static size_t topics(const struct fake_node *n)
{
    size_t count = 0;
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        count += retained_count(n->node->shards[i]->retained);
    }
    return count;
}

Test(sys_topics, the_first_turns_say_all_of_it)
{
    struct fake_node *n = fake_node_create(2, SETTINGS(EVERY_10_S));
    fake_node_advance(n, 1);
    cr_expect_str_eq(told(n, "clients/connected"), "0");
    cr_expect_str_eq(told(n, "clients/maximum"), "0");
    cr_expect_str_eq(told(n, "load/messages/received/15min"), "0.00");
    cr_expect(strncmp(told(n, "version"), "dunlin version ", 15) == 0);
    cr_expect_null(told(n, "heap/current"), "not known here");
    cr_expect_eq(atomic_load(&n->node->retained), 0, "they are not the clients'");
    fake_node_destroy(n);
}

Test(sys_topics, only_what_has_changed_is_said_again)
{
    struct fake_node *n = fake_node_create(1, SETTINGS(EVERY_10_S));
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    fake_node_advance(n, 1000);
    client_subscribe(c, "$SYS/broker/clients/#", 0);
    client_subscribe(c, "$SYS/broker/uptime", 0);
    client_subscribe(c, "#", 0);
    fake_node_settle(n);
    (void)client_heard_count(c);
    client_connect(n, 0, "another", TERMS());
    fake_node_advance(n, 10000);
    unsigned clients = 0, uptimes = 0, others = 0;
    for (const struct got *got; (got = client_take(c, MQTT_PUBLISH)) != NULL;) {
        clients += strncmp(got->topic, "$SYS/broker/clients/", 20) == 0;
        uptimes += strcmp(got->topic, "$SYS/broker/uptime") == 0;
        others += got->topic[0] != '$';
        cr_expect_eq(got->qos, 0);
    }
    cr_expect_eq(clients, 4, "total, connected, active, maximum; not away, nor expired");
    cr_expect_eq(uptimes, 1);
    cr_expect_eq(others, 0);
    cr_expect_str_eq(told(n, "clients/active"), "2");
    fake_node_destroy(n);
}

/* As the kernel's load average: a counter that grows by 60 a minute for long has a load of 60. */
Test(sys_topics, a_load_is_an_average)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("mqtt.sys_interval_s=60"));
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    fake_node_advance(n, 1000);
    for (unsigned i = 0; i < 60; i++) {
        client_say(c, "t", "1", 0);
    }
    fake_node_advance(n, 60000);
    cr_expect_float_eq(atof(told(n, "load/publish/received/1min")), 60 * (1 - 0.367879), 1.0);
    cr_expect_float_eq(atof(told(n, "load/publish/received/5min")), 60 * (1 - 0.818731), 1.0);
    fake_node_advance(n, 60000);
    cr_expect_float_eq(atof(told(n, "load/publish/received/1min")), 60 * 0.632121 * 0.367879, 1.0);
    fake_node_destroy(n);
}

Test(sys_topics, the_highest_stays)
{
    struct fake_node *n = fake_node_create(1, SETTINGS(EVERY_10_S));
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    fake_node_advance(n, 10000);
    cr_expect_str_eq(told(n, "clients/connected"), "1");
    client_send_disconnect(c, 0);
    fake_node_settle(n);
    fake_node_advance(n, 10000);
    cr_expect_str_eq(told(n, "clients/connected"), "0");
    cr_expect_str_eq(told(n, "clients/maximum"), "1");
    fake_node_destroy(n);
}

/* A limit of the clients' retained messages is not for ours. */
Test(sys_topics, come_and_go_with_the_setting)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.retained_messages_max=0"));
    fake_node_advance(n, 3000);
    cr_expect_eq(topics(n), 0);
    fake_node_reload(n, SETTINGS("limits.retained_messages_max=0", EVERY_10_S));
    fake_node_advance(n, 3000);
    cr_expect_geq(topics(n), 50);
    fake_node_reload(n, SETTINGS("limits.retained_messages_max=0"));
    fake_node_advance(n, 3000);
    cr_expect_eq(topics(n), 0);
    fake_node_destroy(n);
}

/* There are those who subscribe to all of them, perhaps many: others have their turn between. */
Test(sys_topics, a_turn_says_few)
{
    struct fake_node *n = fake_node_create(1, SETTINGS(EVERY_10_S));
    fake_node_step(n, 0);
    cr_expect_gt(topics(n), 0);
    cr_expect_leq(topics(n), 4);
    cr_expect(sys_topics_are_waiting(n->node->shards[0]));
    fake_node_settle(n);
    cr_expect_not(sys_topics_are_waiting(n->node->shards[0]));
    cr_expect_geq(topics(n), 50);
    fake_node_destroy(n);
}

Test(sys_topics, nothing_of_them_goes_to_the_disk)
{
    static struct fake_disk disk;
    fake_disk_create(&disk);
    struct fake_node *n = fake_node_create(2, SETTINGS(disk.setting, EVERY_10_S));
    fake_disk_open(&disk, n);
    fake_node_advance(n, 25000);
    cr_expect_geq(topics(n), 50);
    cr_expect_eq(fake_node_count(n, METRIC_journal_entries), 0);
    fake_disk_close(&disk);
    fake_disk_check(&disk);
    fake_disk_destroy(&disk);
}

Test(sys_topics, what_is_subscribed_to_is_counted)
{
    struct fake_node *n = fake_node_create(2, SETTINGS(EVERY_10_S));
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    client_subscribe(c, "a", 0);
    client_subscribe(c, "a", 1);
    client_subscribe(c, "$share/g/a", 0);
    client_subscribe(client_connect(n, 1, "gone", TERMS()), "a", 0);
    client_unsubscribe(c, "b");
    fake_node_advance(n, 10000);
    cr_expect_str_eq(told(n, "subscriptions/count"), "3");
    cr_expect_str_eq(told(n, "shared_subscriptions/count"), "1");
    client_unsubscribe(c, "$share/g/a");
    client_send_disconnect(c, 0);
    fake_node_settle(n);
    fake_node_advance(n, 10000);
    cr_expect_str_eq(told(n, "subscriptions/count"), "1");
    cr_expect_str_eq(told(n, "shared_subscriptions/count"), "0");
    fake_node_destroy(n);
}
