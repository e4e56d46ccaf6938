/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/interest/view.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct view v;
static char told[4000]; /* "+a " is there, "-a " has gone, "+a*3 " with a count */
static bool no_memory;

static void tell(char sign, const struct node_interest_item *item)
{
    const size_t at = strlen(told);
    if (item->count > 1) {
        snprintf(told + at, sizeof told - at, "%c%.*s*%u ", sign, (int)item->text.len,
                 (const char *)item->text.at, item->count);
    } else {
        snprintf(told + at, sizeof told - at, "%c%.*s ", sign, (int)item->text.len,
                 (const char *)item->text.at);
    }
}

static bool on_set(void *context, const struct node_interest_item *item)
{
    (void)context;
    if (!no_memory) {
        tell('+', item);
    }
    return !no_memory;
}

static void on_removed(void *context, const struct node_interest_item *item)
{
    (void)context;
    tell('-', item);
}

static const struct view_events events = {.set = on_set, .removed = on_removed};

static void setup(void)
{
    cr_assert(view_init(&v, 1));
}

static void teardown(void)
{
    view_fini(&v);
}

TestSuite(view, .init = setup, .fini = teardown);

static void expect_told(const char *want)
{
    cr_expect_str_eq(told, want);
    told[0] = '\0';
}

/* "a b c*3 d*0": items with counts; "9:x" is of kind 9. */
static struct bytes items_of(const char *list)
{
    static uint8_t out[4000];
    size_t len = 0;
    char copy[1000];
    cr_assert(strlen(list) < sizeof copy);
    memcpy(copy, list, strlen(list) + 1);
    char *save;
    for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        struct node_interest_item item = {.kind = NODE_INTEREST_FILTER, .count = 1};
        char *const star = strchr(word, '*');
        if (star != NULL) {
            *star = '\0';
            item.count = (uint32_t)(star[1] - '0');
        }
        if (word[1] == ':') {
            item.kind = (uint8_t)(word[0] - '0');
            word += 2;
        }
        item.text = bytes_text(word);
        len += node_interest_item_encode(out + len, &item);
    }
    return bytes_of(out, len);
}

static enum view_err part(uint64_t generation, uint64_t version, uint32_t snapshot, uint32_t number,
                          bool last, const char *list)
{
    const struct node_interest_snapshot s = {.generation = generation,
                                             .version = version,
                                             .snapshot = snapshot,
                                             .part = number,
                                             .last = last,
                                             .items = items_of(list)};
    return view_snapshot(&v, &s, &events);
}

static enum view_err delta(uint64_t generation, uint64_t first, uint32_t count, const char *list)
{
    const struct node_interest_delta d = {
        .generation = generation, .first = first, .count = count, .items = items_of(list)};
    return view_delta(&v, &d, &events);
}

static void whole(uint64_t generation, uint64_t version, const char *list)
{
    cr_assert_eq(part(generation, version, 1, 0, true, list), VIEW_OK);
    cr_assert(view_sweep(&v, 1000000, &events));
    cr_assert_eq(v.state, VIEW_WHOLE);
    told[0] = '\0';
}

Test(view, is_filled_by_parts_and_changed_between_them)
{
    cr_expect_eq(delta(1, 5, 1, "a"), VIEW_MISSING, "nothing to go on from");
    cr_assert_eq(part(1, 5, 1, 0, false, "a b"), VIEW_OK);
    cr_expect_eq(v.state, VIEW_FILLING);
    cr_assert_eq(delta(1, 6, 2, "a*0 c"), VIEW_OK);
    cr_assert_eq(part(1, 7, 1, 1, true, "d"), VIEW_OK);
    cr_expect_eq(v.state, VIEW_SWEEPING);
    cr_assert(view_sweep(&v, 1000, &events));
    cr_expect_eq(v.state, VIEW_WHOLE);
    cr_expect_eq(v.version, 7);
    expect_told("+a +b -a +c +d ");
    cr_expect_eq(v.count, 3);
}

Test(view, takes_each_change_once)
{
    whole(1, 5, "a");
    cr_expect_eq(delta(1, 4, 2, "x y"), VIEW_STALE);
    cr_expect_eq(delta(1, 5, 3, "x b c"), VIEW_OK, "the first is known");
    expect_told("+b +c ");
    cr_expect_eq(v.version, 7);
    cr_expect_eq(delta(1, 9, 1, "d"), VIEW_MISSING);
    expect_told("");
    cr_expect_eq(v.version, 7);
    cr_expect_eq(delta(1, 8, 3, "b*0 b b"), VIEW_OK);
    expect_told("-b +b ");
}

/* What a snapshot does not name has gone; until it is whole nobody is told so. */
Test(view, loses_what_a_snapshot_does_not_name)
{
    whole(1, 5, "a b c");
    cr_assert_eq(part(1, 9, 2, 0, false, "b"), VIEW_OK);
    cr_assert_eq(delta(1, 10, 1, "d"), VIEW_OK);
    expect_told("+d ");
    cr_assert_eq(part(1, 10, 2, 1, true, "e"), VIEW_OK);
    expect_told("+e ");
    cr_assert_eq(delta(1, 11, 1, "b*0"), VIEW_OK);
    expect_told("-b ");
    cr_assert(view_sweep(&v, 1000, &events));
    cr_expect(strcmp(told, "-a -c ") == 0 || strcmp(told, "-c -a ") == 0, "%s", told);
    cr_expect_eq(v.count, 2);
}

Test(view, sweeps_so_many_at_a_time)
{
    char list[1000] = "";
    for (unsigned i = 0; i < 100; i++) {
        snprintf(list + strlen(list), sizeof list - strlen(list), "t%u ", i);
    }
    whole(1, 1, list);
    cr_assert_eq(part(1, 1, 2, 0, true, "only"), VIEW_OK);
    unsigned turns = 1;
    while (!view_sweep(&v, 20, &events)) {
        turns++;
    }
    cr_expect_eq(v.count, 1);
    cr_expect_gt(turns, 4);
}

Test(view, of_a_later_start_takes_the_place_of_an_earlier)
{
    whole(3, 5, "a b");
    cr_expect_eq(part(2, 9, 7, 0, true, "x"), VIEW_STALE);
    cr_expect_eq(delta(2, 6, 1, "x"), VIEW_STALE);
    cr_expect_eq(delta(4, 6, 1, "x"), VIEW_MISSING);
    expect_told("");
    cr_assert_eq(part(4, 1, 1, 0, true, "b c"), VIEW_OK);
    cr_assert(view_sweep(&v, 1000, &events));
    expect_told("+c -a ");
    cr_expect_eq(v.generation, 4);
    cr_expect_eq(v.version, 1);
}

Test(view, minds_the_order_of_parts)
{
    cr_expect_eq(part(1, 5, 1, 1, false, "a"), VIEW_STALE, "of a snapshot that has not begun");
    cr_assert_eq(part(1, 5, 1, 0, false, "a"), VIEW_OK);
    cr_expect_eq(part(1, 5, 1, 2, true, "c"), VIEW_MISSING);
    cr_expect_eq(part(1, 5, 2, 1, true, "c"), VIEW_STALE, "of another");
    cr_expect_eq(part(1, 4, 1, 1, true, "c"), VIEW_MISSING, "versions do not go back");
    cr_assert_eq(part(1, 5, 1, 1, true, "b"), VIEW_OK);
    cr_expect_eq(part(1, 5, 1, 2, true, "c"), VIEW_STALE, "it is over");
    expect_told("+a +b ");
}

/* An item of a later version's kind is kept for the digest, and told nobody. */
Test(view, keeps_what_it_does_not_know)
{
    whole(1, 1, "a 9:x");
    const struct digest with = v.digest;
    cr_expect_eq(v.count, 2);
    cr_assert_eq(delta(1, 2, 1, "9:x*5"), VIEW_OK);
    cr_expect(v.digest.sum != with.sum);
    cr_assert_eq(delta(1, 3, 1, "9:x*0"), VIEW_OK);
    cr_expect_eq(v.count, 1);
    expect_told("");
}

Test(view, tells_a_count_when_it_has_changed)
{
    whole(1, 1, "2:g*3");
    cr_assert_eq(delta(1, 2, 1, "2:g*3"), VIEW_OK);
    expect_told("");
    cr_assert_eq(delta(1, 3, 1, "2:g*4"), VIEW_OK);
    expect_told("+g*4 ");
    cr_assert_eq(delta(1, 4, 1, "2:g*0"), VIEW_OK);
    expect_told("-g*4 ");
}

/* Who could not take an item is not told that it has gone; the next snapshot makes good. */
Test(view, begins_anew_when_there_was_no_memory)
{
    whole(1, 1, "a");
    no_memory = true;
    cr_expect_eq(delta(1, 2, 2, "b c"), VIEW_NO_MEMORY);
    cr_expect_eq(v.state, VIEW_NONE);
    no_memory = false;
    cr_expect_eq(delta(1, 4, 1, "d"), VIEW_MISSING);
    cr_assert_eq(part(1, 4, 2, 0, false, "c"), VIEW_OK);
    cr_assert_eq(part(1, 4, 2, 1, true, "d"), VIEW_OK);
    cr_assert(view_sweep(&v, 1000, &events));
    expect_told("+c +d -a ");
    cr_expect_eq(v.count, 2);
}

/* A count that could not be told is told by the next snapshot, though it is the same there. */
Test(view, tells_a_count_that_could_not_be_told)
{
    whole(1, 1, "2:g*3");
    no_memory = true;
    cr_expect_eq(delta(1, 2, 1, "2:g*4"), VIEW_NO_MEMORY);
    no_memory = false;
    cr_assert_eq(part(1, 2, 2, 0, true, "2:g*4"), VIEW_OK);
    expect_told("+g*4 ");
}

Test(view, drops_all)
{
    whole(5, 1, "a b");
    const struct digest none = {0};
    view_drop(&v);
    cr_expect_eq(delta(5, 2, 1, "c"), VIEW_MISSING);
    while (!view_sweep(&v, 3, &events)) {
    }
    cr_expect(strcmp(told, "-a -b ") == 0 || strcmp(told, "-b -a ") == 0, "%s", told);
    cr_expect_eq(v.state, VIEW_NONE);
    cr_expect_eq(v.count, 0);
    cr_expect_eq(v.bytes, 0);
    cr_expect(v.digest.sum == none.sum);
    whole(5, 1, "a");
}

/* It is told again what it lacks, and nothing that it has. */
Test(view, is_made_good_while_it_is_dropped)
{
    whole(1, 1, "a b");
    view_drop(&v);
    cr_assert_eq(part(1, 2, 2, 0, true, "a b c"), VIEW_OK);
    cr_assert(view_sweep(&v, 1000, &events));
    expect_told("+c ");
    cr_expect_eq(v.state, VIEW_WHOLE);
}
