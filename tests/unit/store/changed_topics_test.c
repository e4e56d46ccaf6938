/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/changed_topics.h"

#include <stdio.h>

#include <criterion/criterion.h>

static struct changed_topics c;

static void begin(void)
{
    cr_assert(changed_topics_init(&c));
}

static void end(void)
{
    changed_topics_fini(&c);
}

TestSuite(changed_topics, .init = begin, .fini = end);

static void add(const char *topic, uint64_t hash)
{
    cr_assert(changed_topics_add(&c, bytes_text(topic), hash));
}

static void first_is(const char *topic)
{
    const struct changed_topic *const first = changed_topics_first(&c);
    cr_assert_not_null(first);
    cr_expect(bytes_equal(changed_topic_name(first), bytes_text(topic)));
    changed_topics_drop(&c);
}

Test(changed_topics, each_is_there_once_and_in_order)
{
    add("b", 1);
    add("a", 2);
    add("b", 1);
    add("c", 1); /* the same hash, another topic */
    add("a", 2);
    cr_expect_eq(changed_topics_count(&c), 3);
    first_is("b");
    add("b", 1); /* again, after it was taken: at the end */
    first_is("a");
    first_is("c");
    first_is("b");
    cr_expect_null(changed_topics_first(&c));
    cr_expect_eq(changed_topics_count(&c), 0);
    cr_expect_eq(changed_topics_bytes(&c), 0);
    add("after all were gone", 9);
    first_is("after all were gone");
}

Test(changed_topics, bytes_are_those_of_what_is_in)
{
    char topic[16];
    size_t before = 0;
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(topic, sizeof topic, "t/%u", i);
        add(topic, i % 100);
        cr_assert_gt(changed_topics_bytes(&c), before + strlen(topic));
        before = changed_topics_bytes(&c);
        add(topic, i % 100);
        cr_assert_eq(changed_topics_bytes(&c), before);
    }
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(topic, sizeof topic, "t/%u", i);
        first_is(topic);
    }
    cr_expect_eq(changed_topics_count(&c), 1500);
    cr_expect_lt(changed_topics_bytes(&c), before); /* the rest goes with it */
}

Test(changed_topics, a_name_may_be_as_long_as_on_the_wire)
{
    static uint8_t name[65535];
    cr_assert(changed_topics_add(&c, bytes_of(name, sizeof name), 5));
    cr_expect_eq(changed_topic_name(changed_topics_first(&c)).len, sizeof name);
}
