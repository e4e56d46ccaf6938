/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/alias.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/message.h"
#include "tests/unit/route/random.h"

#define SAME(bytes, text) bytes_equal((bytes), bytes_text(text))

/* ---- the client's (3.3.2.3.4) */

Test(alias, names_what_the_client_said_it_does)
{
    static const struct {
        uint16_t alias;
        const char *topic; /* as sent */
        const char *means; /* NULL: refused */
        enum mqtt_reason reason;
    } rows[] = {
        {1, "", NULL, MQTT_REASON_PROTOCOL_ERROR},
        {0, "a", NULL, MQTT_REASON_TOPIC_ALIAS_INVALID},
        {4, "a", NULL, MQTT_REASON_TOPIC_ALIAS_INVALID},
        {3, "a/b", "a/b", MQTT_REASON_SUCCESS},
        {3, "", "a/b", MQTT_REASON_SUCCESS},
        {1, "", NULL, MQTT_REASON_PROTOCOL_ERROR},
        {1, "x", "x", MQTT_REASON_SUCCESS},
        {3, "c", "c", MQTT_REASON_SUCCESS},
        {3, "", "c", MQTT_REASON_SUCCESS},
        {1, "", "x", MQTT_REASON_SUCCESS},
    };
    struct conn c = {.server_topic_alias_maximum = 3};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes topic = bytes_text(rows[i].topic);
        cr_expect_eq(alias_in_resolve(&c, rows[i].alias, &topic), rows[i].reason, "row %zu", i);
        cr_expect(rows[i].means == NULL || SAME(topic, rows[i].means), "row %zu", i);
    }
    alias_fini(&c);
    alias_fini(&c);
}

Test(alias, none_are_allowed_where_the_maximum_is_0)
{
    struct conn c = {0};
    struct bytes topic = bytes_text("t");
    cr_expect_eq(alias_in_resolve(&c, 1, &topic), MQTT_REASON_TOPIC_ALIAS_INVALID);
    alias_fini(&c);
}

/* ---- ours */

static struct message *message_on(const char *topic)
{
    return message_create(bytes_text(topic), bytes_of(NULL, 0), bytes_of(NULL, 0));
}

/* Unnamed, named, then by its name alone. */
Test(alias, a_topic_is_named_when_it_comes_again)
{
    struct conn c = {.topic_alias_maximum = 1};
    struct message *m = message_on("some/topic"), *other = message_on("other/topic");
    struct bytes topic = message_topic(m);
    cr_expect_eq(alias_out_use(&c, m, &topic), 0);
    cr_expect(SAME(topic, "some/topic"));
    cr_expect_eq(alias_out_use(&c, m, &topic), 1);
    cr_expect(SAME(topic, "some/topic"));
    cr_expect_eq(alias_out_use(&c, m, &topic), 1);
    cr_expect_eq(topic.len, 0);

    topic = message_topic(other); /* takes the slot over, in its turn */
    cr_expect_eq(alias_out_use(&c, other, &topic), 0);
    cr_expect_eq(alias_out_use(&c, other, &topic), 1);
    cr_expect(SAME(topic, "other/topic"));
    topic = message_topic(m);
    cr_expect_eq(alias_out_use(&c, m, &topic), 0);
    message_put(m);
    message_put(other);
    alias_fini(&c);
}

/* What was not sent taught the client nothing. */
Test(alias, what_was_not_sent_is_forgotten)
{
    struct conn c = {.topic_alias_maximum = 3};
    struct message *m = message_on("some/topic");
    alias_out_forget(&c, m);
    struct bytes topic = message_topic(m);
    alias_out_use(&c, m, &topic);
    cr_expect_neq(alias_out_use(&c, m, &topic), 0);
    alias_out_forget(&c, m);
    cr_expect_eq(alias_out_use(&c, m, &topic), 0);
    cr_expect(SAME(topic, "some/topic"));
    message_put(m);
    alias_fini(&c);
}

Test(alias, short_topics_and_no_room_get_none)
{
    struct conn without = {0}, with = {.topic_alias_maximum = 5};
    struct message *m = message_on("abc"), *long_one = message_on("some/topic");
    for (unsigned i = 0; i < 3; i++) {
        struct bytes topic = message_topic(m);
        cr_expect_eq(alias_out_use(&with, m, &topic), 0);
        topic = message_topic(long_one);
        cr_expect_eq(alias_out_use(&without, long_one, &topic), 0);
    }
    message_put(m);
    message_put(long_one);
    alias_fini(&with);
}

/* Whatever comes, a client that does as it is told knows every topic. */
Test(alias, a_client_always_knows_what_is_meant)
{
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    for (uint16_t maximum = 1; maximum < 20; maximum++) {
        struct conn c = {.topic_alias_maximum = maximum};
        char known[20][16] = {{0}};
        for (unsigned i = 0; i < 5000; i++) {
            char name[16];
            snprintf(name, sizeof name, "topic/%u", random_below(&random, 30));
            struct message *m = message_on(name);
            struct bytes topic = message_topic(m);
            const uint16_t alias = alias_out_use(&c, m, &topic);
            const bool is_sent = random_below(&random, 5) > 0;
            cr_assert_leq(alias, maximum);
            if (topic.len == 0) {
                cr_assert_str_eq(known[alias], name);
            } else if (alias > 0 && is_sent) {
                strcpy(known[alias], name);
            }
            if (!is_sent) {
                alias_out_forget(&c, m);
            }
            message_put(m);
        }
        alias_fini(&c);
    }
}
