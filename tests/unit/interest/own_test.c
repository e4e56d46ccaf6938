/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/interest/own.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define FILTER NODE_INTEREST_FILTER
#define GROUP  NODE_INTEREST_GROUP

static struct own o;
static uint64_t version;

static void setup(void)
{
    const struct own_conf conf = {
        .seed = 1, .settle_ms = 2000, .tail_ops_max = 1000, .tail_bytes_max = 1u << 20};
    cr_assert(own_init(&o, &conf));
}

static void teardown(void)
{
    own_fini(&o);
}

TestSuite(own, .init = setup, .fini = teardown);

static uint64_t take(uint8_t kind, const char *text, uint64_t now_ms)
{
    cr_assert(own_take(&o, kind, bytes_text(text), now_ms, &version));
    return version;
}

/* The change that made that version. */
static void expect_told(uint64_t at, const char *text, uint32_t count)
{
    static uint8_t out[1000];
    uint32_t n = 1;
    const size_t len = tail_copy(&o.tail, at, out, sizeof out, &n);
    struct bytes rest = bytes_of(out, len);
    struct node_interest_item item;
    cr_assert(n > 0, "nothing was told");
    cr_assert(node_interest_item_next(&rest, &item));
    cr_expect(bytes_equal(item.text, bytes_text(text)), "%.*s", (int)item.text.len,
              (const char *)item.text.at);
    cr_expect_eq(item.count, count);
}

Test(own, tells_the_first_at_once_and_the_others_not)
{
    cr_expect_eq(take(FILTER, "a/#", 0), 1);
    cr_expect_eq(take(FILTER, "b", 0), 2);
    cr_expect_eq(take(FILTER, "a/#", 0), 1, "the others know it since then");
    cr_expect_eq(o.version, 2);
    expect_told(1, "a/#", 1);
    own_put(&o, FILTER, bytes_text("a/#"), 10);
    own_turn(&o, 100000, 1000);
    cr_expect_eq(o.version, 2, "one is left");
}

Test(own, tells_that_it_has_gone_some_time_later)
{
    take(FILTER, "a", 0);
    own_put(&o, FILTER, bytes_text("a"), 1000);
    cr_expect_eq(own_next_ms(&o), 3000);
    own_turn(&o, 2999, 1000);
    cr_expect_eq(o.version, 1);
    own_turn(&o, 3000, 1000);
    cr_expect_eq(o.version, 2);
    expect_told(2, "a", 0);
    cr_expect_eq(o.count, 0);
    cr_expect_eq(o.bytes, 0);
    cr_expect_eq(own_next_ms(&o), UINT64_MAX);
    cr_expect_eq(take(FILTER, "a", 4000), 3, "told anew");
}

/* Who reconnects costs the others nothing. */
Test(own, tells_nothing_of_who_comes_back_in_time)
{
    take(FILTER, "a", 0);
    own_put(&o, FILTER, bytes_text("a"), 1000);
    cr_expect_eq(take(FILTER, "a", 2000), 1);
    own_turn(&o, 3000, 1000);
    cr_expect_eq(o.version, 1);
    own_put(&o, FILTER, bytes_text("a"), 3500);
    cr_expect_eq(own_next_ms(&o), 5500);
    take(FILTER, "a", 4000);
    own_put(&o, FILTER, bytes_text("a"), 5000);
    own_turn(&o, 5500, 1000);
    cr_expect_eq(o.version, 1, "it was wanted half a second ago");
    own_turn(&o, 7499, 1000);
    cr_expect_eq(o.version, 1);
    own_turn(&o, 7500, 1000);
    cr_expect_eq(o.version, 2);
}

Test(own, tells_how_many_a_group_has)
{
    cr_expect_eq(take(GROUP, "$share/g/a", 0), 1);
    cr_expect_eq(take(GROUP, "$share/g/a", 0), 1);
    cr_expect_eq(take(GROUP, "$share/g/a", 100), 1);
    cr_expect_eq(o.version, 1);
    own_turn(&o, 2000, 1000);
    cr_expect_eq(o.version, 2, "once for both");
    expect_told(2, "$share/g/a", 3);
    own_put(&o, GROUP, bytes_text("$share/g/a"), 3000);
    take(GROUP, "$share/g/a", 3000);
    own_turn(&o, 10000, 1000);
    cr_expect_eq(o.version, 2, "as many as before");
    for (unsigned i = 0; i < 3; i++) {
        own_put(&o, GROUP, bytes_text("$share/g/a"), 11000);
    }
    own_turn(&o, 13000, 1000);
    expect_told(3, "$share/g/a", 0);
    cr_expect_eq(o.count, 0);
}

/* A filter and a group are two things, whatever they are called. */
Test(own, knows_kinds_apart)
{
    cr_expect_eq(take(FILTER, "a", 0), 1);
    cr_expect_eq(take(GROUP, "a", 0), 2);
    own_put(&o, GROUP, bytes_text("a"), 0);
    own_turn(&o, 2000, 1000);
    cr_expect_eq(o.count, 1);
}

/* The order in which it came about does not matter; each item and each count does. */
Test(own, has_a_digest_of_what_there_is)
{
    const struct digest none = o.digest;
    take(FILTER, "a", 0);
    const struct digest a = o.digest;
    take(FILTER, "b", 0);
    const struct digest ab = o.digest;
    own_put(&o, FILTER, bytes_text("a"), 0);
    own_turn(&o, 2000, 1000);
    const struct digest b = o.digest;
    own_put(&o, FILTER, bytes_text("b"), 2000);
    own_turn(&o, 4000, 1000);
    cr_expect(o.digest.sum == none.sum);
    take(FILTER, "b", 5000);
    cr_expect(o.digest.sum == b.sum);
    take(FILTER, "a", 5000);
    cr_expect(o.digest.sum == ab.sum);
    cr_expect(a.sum != b.sum && a.sum != ab.sum && a.sum != none.sum);
    take(GROUP, "$share/g/a", 5000);
    const struct digest one = o.digest;
    take(GROUP, "$share/g/a", 5000);
    own_turn(&o, 7000, 1000);
    cr_expect(o.digest.sum != one.sum, "two members are not one");
}

/* Each item once, in parts, whatever comes and goes meanwhile; and no more steps than are allowed.
 */
Test(own, is_walked_in_parts)
{
    static uint8_t part[1000];
    static unsigned seen[5000];
    char text[16];
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "t/%u", i);
        take(FILTER, text, 0);
    }
    uint64_t place = 0;
    bool end = false;
    unsigned parts = 0;
    for (; !end; parts++) {
        struct bytes rest = bytes_of(part, own_walk(&o, &place, part, sizeof part, 50, &end));
        struct node_interest_item item;
        while (node_interest_item_next(&rest, &item)) {
            char copy[16] = "";
            unsigned i;
            memcpy(copy, item.text.at, item.text.len);
            if (sscanf(copy, "t/%u", &i) == 1) {
                seen[i]++;
            }
        }
        snprintf(text, sizeof text, "new/%u", parts);
        take(FILTER, text, 0);
    }
    for (unsigned i = 0; i < 5000; i++) {
        cr_assert_eq(seen[i], 1, "%u", i);
    }
    cr_expect_gt(parts, 50);
}

Test(own, gives_two_of_any_size_in_a_part)
{
    static uint8_t part[2 * (NODE_INTEREST_ITEM_BYTES + NODE_INTEREST_TEXT_MAX)];
    static char large[3][NODE_INTEREST_TEXT_MAX + 1];
    for (unsigned i = 0; i < 3; i++) {
        memset(large[i], (int)('a' + i), NODE_INTEREST_TEXT_MAX);
        take(FILTER, large[i], 0);
    }
    uint64_t place = 0;
    bool end = false;
    size_t sum = 0;
    while (!end) {
        sum += own_walk(&o, &place, part, sizeof part, 100, &end);
    }
    cr_expect_eq(sum, 3 * (NODE_INTEREST_ITEM_BYTES + NODE_INTEREST_TEXT_MAX));
}

Test(own, settles_so_many_at_a_time)
{
    char text[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%u", i);
        take(FILTER, text, 0);
        own_put(&o, FILTER, bytes_text(text), 0);
    }
    own_turn(&o, 2000, 30);
    cr_expect_eq(o.count, 70);
    own_turn(&o, 2000, 30);
    own_turn(&o, 2000, 30);
    own_turn(&o, 2000, 30);
    cr_expect_eq(o.count, 0);
}
