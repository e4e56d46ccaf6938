/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/interest/tail.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/route/random.h"

#define BYTES (NODE_INTEREST_ITEM_BYTES + NODE_INTEREST_TEXT_MAX)

static uint8_t text[NODE_INTEREST_TEXT_MAX];

static void add(struct tail *t, size_t len)
{
    const struct node_interest_item item = {
        .kind = NODE_INTEREST_FILTER, .count = (uint32_t)t->next, .text = bytes_of(text, len)};
    tail_add(t, &item);
}

Test(tail, gives_what_was_added)
{
    struct tail t;
    uint8_t out[1000];
    uint32_t count = 10;
    cr_assert(tail_init(&t, 4, BYTES));
    cr_expect_eq(tail_copy(&t, 1, out, sizeof out, &count), 0);
    cr_expect_eq(count, 0);
    add(&t, 1);
    add(&t, 2);
    add(&t, 3);
    count = 10;
    cr_expect_eq(tail_copy(&t, 2, out, sizeof out, &count), 10 + 11);
    cr_expect_eq(count, 2);
    struct bytes rest = bytes_of(out, 21);
    struct node_interest_item item;
    cr_assert(node_interest_item_next(&rest, &item));
    cr_expect_eq(item.count, 2);
    cr_expect_eq(item.text.len, 2);
    cr_expect_eq(tail_copy(&t, 1, out, 9 + 9, &count), 9, "as far as they fit");
    cr_expect_eq(count, 1);
    count = 2;
    cr_expect_eq(tail_copy(&t, 1, out, sizeof out, &count), 9 + 10, "so many at most");
    cr_expect_eq(count, 2);
    cr_expect_eq(tail_copy(&t, 4, out, sizeof out, &count), 0);
    tail_fini(&t);
}

Test(tail, forgets_the_oldest)
{
    struct tail t;
    cr_assert(tail_init(&t, 4, BYTES));
    for (unsigned i = 0; i < 6; i++) {
        add(&t, 1);
    }
    cr_expect_eq(t.first, 3, "four changes");
    cr_expect_eq(t.next, 7);
    add(&t, NODE_INTEREST_TEXT_MAX);
    cr_expect_eq(t.first, 7, "one needs all the room");
    tail_fini(&t);
}

/* Whatever the sizes: what is there is what was added, and there is as much as fits. */
Test(tail, is_the_end_of_a_list)
{
    struct random r = random_init();
    static uint8_t out[2 * BYTES];
    static size_t lens[20001];
    struct tail t;
    cr_assert(tail_init(&t, 100, BYTES));
    for (uint64_t v = 1; v <= 20000; v++) {
        lens[v] = random_below(&r, 20) == 0 ? random_below(&r, 60000) : random_below(&r, 1000);
        add(&t, lens[v]);
        cr_assert_eq(t.next, v + 1);
        cr_assert(t.first < t.next);
        uint32_t count = UINT32_MAX;
        const size_t len = tail_copy(&t, t.first, out, sizeof out, &count);
        cr_assert_eq(count, t.next - t.first, "seed %lu", r.seed);
        struct bytes rest = bytes_of(out, len);
        struct node_interest_item item;
        for (uint64_t i = t.first; i < t.next; i++) {
            cr_assert(node_interest_item_next(&rest, &item), "seed %lu", r.seed);
            cr_assert_eq(item.count, (uint32_t)i, "seed %lu", r.seed);
            cr_assert_eq(item.text.len, lens[i], "seed %lu", r.seed);
        }
        cr_assert_eq(rest.len, 0);
    }
    tail_fini(&t);
}
