/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/retained.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "broker/message.h"
#include "broker/route/message_tree.h"
#include "fault.h"
#include "proto/topic.h"
#include "random.h"

static uint8_t buffer[65535];

static struct message *message(struct bytes topic)
{
    struct message *m = message_create(topic, bytes_of(NULL, 0), bytes_of(NULL, 0));
    cr_assert_not_null(m);
    return m;
}

static bool set(struct retained *r, struct bytes topic)
{
    struct message *const m = message(topic);
    bool was_new = false;
    cr_assert_eq(retained_set(r, m, &was_new), RETAINED_OK);
    message_put(m);
    return was_new;
}

/* The next match after `after`, however often it pauses. */
static struct message *next(const struct retained *r, const char *filter, struct bytes after,
                            unsigned budget_each)
{
    for (;;) {
        struct message *found = NULL;
        unsigned budget = budget_each;
        size_t resume_len = 0;
        const enum retained_next outcome =
            retained_next(r, bytes_text(filter), after, &budget, &found, buffer, &resume_len);
        if (outcome != RETAINED_PAUSED) {
            cr_assert_eq(outcome, found != NULL ? RETAINED_FOUND : RETAINED_END);
            return found;
        }
        cr_assert_eq(budget, 0);
        after = bytes_of(buffer, resume_len);
    }
}

static size_t count(const struct retained *r, const char *filter)
{
    size_t n = 0;
    struct bytes after = bytes_of(NULL, 0);
    for (struct message *m; (m = next(r, filter, after, 1000)) != NULL; n++) {
        after = message_topic(m);
        cr_assert(topic_matches(bytes_text(filter), after));
    }
    return n;
}

Test(retained, one_message_per_topic)
{
    const uint64_t memory = message_memory();
    struct retained *r = retained_create();
    cr_expect(set(r, bytes_text("a/b")));
    cr_expect_not(set(r, bytes_text("a/b")));
    cr_expect(set(r, bytes_text("a")));
    cr_expect_eq(retained_count(r), 2);
    cr_expect(bytes_equal(message_topic(retained_get(r, bytes_text("a/b"))), bytes_text("a/b")));
    cr_expect_null(retained_get(r, bytes_text("a/")));
    cr_expect_null(retained_get(r, bytes_text("a/b/c")));
    cr_expect(retained_delete(r, bytes_text("a/b")));
    cr_expect_not(retained_delete(r, bytes_text("a/b")));
    cr_expect_null(retained_get(r, bytes_text("a/b")));
    cr_expect(retained_delete(r, bytes_text("a")));
    cr_expect_not(retained_delete(r, bytes_text("a")));
    cr_expect_eq(retained_count(r), 0);
    cr_expect_eq(message_memory(), memory, "all references are given back");
    set(r, bytes_text("a"));
    retained_destroy(r);
    cr_expect_eq(message_memory(), memory);
    retained_destroy(NULL);
}

/* '/' is the first of all characters, so what lies below a topic is in one piece. */
Test(retained, order)
{
    static const char *const topics[] = {"a",     "a/", "a//b", "a/\x01", "a/b", "a/b/c", "a/b\x01",
                                         "a\x01", "a!", "a.",   "a0",     "ab",  "b",     "\xff"};
    enum { TOPICS = sizeof topics / sizeof topics[0] };
    struct retained *r = retained_create();
    for (size_t i = TOPICS; i > 0; i--) {
        set(r, bytes_text(topics[i - 1]));
    }
    struct bytes after = bytes_of(NULL, 0);
    for (size_t i = 0; i < TOPICS; i++) {
        struct message *const m = next(r, "#", after, 1);
        cr_assert_not_null(m, "%zu", i);
        after = message_topic(m);
        cr_assert(bytes_equal(after, bytes_text(topics[i])), "%zu", i);
    }
    cr_expect_null(next(r, "#", after, 1));
    retained_destroy(r);
}

Test(retained, leading_wildcards_do_not_reach_dollar)
{
    struct retained *r = retained_create();
    static const char *const topics[] = {"$SYS/a", "$SYS/b", "$", "#a", "a/b", "/b", "%/b"};
    for (size_t i = 0; i < 7; i++) {
        set(r, bytes_text(topics[i]));
    }
    cr_expect_eq(count(r, "#"), 4);
    cr_expect_eq(count(r, "+/b"), 3);
    cr_expect_eq(count(r, "+"), 1);
    cr_expect_eq(count(r, "$SYS/#"), 2);
    cr_expect_eq(count(r, "$SYS/+"), 2);
    cr_expect_eq(count(r, "$SYS"), 0);
    retained_destroy(r);
}

Test(retained, hash_matches_its_parent)
{
    struct retained *r = retained_create();
    set(r, bytes_text("a"));
    set(r, bytes_text("a/b"));
    set(r, bytes_text("ab"));
    cr_expect_eq(count(r, "a/#"), 2);
    cr_expect_eq(count(r, "a/+"), 1);
    cr_expect_eq(count(r, "a/+/#"), 1);
    cr_expect_eq(count(r, "+/#"), 3);
    cr_expect_eq(count(r, "+/+/#"), 1);
    retained_destroy(r);
}

/* It seeks: what it looks at is in proportion to what it finds. */
Test(retained, skips_what_cannot_match)
{
    struct retained *r = retained_create();
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned j = 0; j < 300; j++) {
            char topic[32];
            snprintf(topic, sizeof topic, "a/%u/s%u", i, j);
            set(r, bytes_text(topic));
        }
    }
    cr_assert_eq(retained_count(r), 30000);
    static const struct {
        const char *filter;
        size_t found;
        unsigned looks;
    } sought[] = {
        {"a/5/s7", 1, 2},    {"a/+/s150", 100, 400}, {"a/100/+", 0, 2}, {"a/+/t", 0, 300},
        {"a/7/#", 300, 302}, {"+/+/s1/+", 0, 500},   {"b/#", 0, 1},     {"a/+", 0, 300},
    };
    for (size_t i = 0; i < sizeof sought / sizeof sought[0]; i++) {
        size_t found = 0, resume_len;
        unsigned budget = 100000;
        struct message *m;
        struct bytes after = bytes_of(NULL, 0);
        while (retained_next(r, bytes_text(sought[i].filter), after, &budget, &m, buffer,
                             &resume_len) == RETAINED_FOUND) {
            after = message_topic(m);
            found++;
        }
        cr_expect_eq(found, sought[i].found, "%s", sought[i].filter);
        cr_expect_leq(100000 - budget, sought[i].looks, "%s: %u", sought[i].filter,
                      100000 - budget);
    }
    retained_destroy(r);
}

/* No look is allowed: it pauses where it began. */
Test(retained, pauses_without_budget)
{
    struct retained *r = retained_create();
    set(r, bytes_text("a"));
    set(r, bytes_text("b"));
    struct message *m;
    unsigned budget = 0;
    size_t resume_len = 1;
    cr_expect_eq(
        retained_next(r, bytes_text("#"), bytes_of(NULL, 0), &budget, &m, buffer, &resume_len),
        RETAINED_PAUSED);
    cr_expect_eq(resume_len, 0);
    cr_expect_eq(
        retained_next(r, bytes_text("#"), bytes_text("a"), &budget, &m, buffer, &resume_len),
        RETAINED_PAUSED);
    cr_expect(bytes_equal(bytes_of(buffer, resume_len), bytes_text("a")));
    cr_expect_eq(
        retained_next(r, bytes_text("#"), bytes_text("b"), &budget, &m, buffer, &resume_len),
        RETAINED_END, "nothing is left to look at");
    retained_destroy(r);
}

/* ---- against the oracle */

#define TOPICS 3000u

struct known {
    char text[40];
    bool in;
};

static void random_text(struct random *r, char *text, bool filter)
{
    static const char *const levels[] = {"a",  "b",         "",      "cc", "$x", "c", "abcdefgh",
                                         "a!", "abcdefghi", "a\x01", "+",  "+",  "#"};
    const uint32_t n = 1 + random_below(r, 4);
    text[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t level = random_below(r, filter ? 13 : 10);
        strcat(strcat(text, i > 0 ? "/" : ""), levels[level]);
        if (level == 12) {
            break;
        }
    }
    if (text[0] == 0) {
        strcpy(text, "a");
    }
}

static int by_topic(const void *a, const void *b)
{
    return topic_order(bytes_text(((const struct known *)a)->text),
                       bytes_text(((const struct known *)b)->text));
}

static size_t make_known(struct random *r, struct known *known)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        known[i].in = false;
        random_text(r, known[i].text, false);
    }
    qsort(known, TOPICS, sizeof known[0], by_topic);
    size_t n = 0;
    for (unsigned i = 0; i < TOPICS; i++) {
        if (n == 0 || by_topic(&known[n - 1], &known[i]) != 0) {
            known[n++] = known[i];
        }
    }
    return n;
}

static void turn(struct retained *r, struct known *k, size_t *in)
{
    if (k->in) {
        cr_assert(retained_delete(r, bytes_text(k->text)));
        --*in;
    } else {
        cr_assert(set(r, bytes_text(k->text)));
        ++*in;
    }
    k->in = !k->in;
}

/* Walks one filter to the end, with changes in between if asked for: each topic that is in when the
 * walk comes by is found, in order, and nothing else. */
static void walk(struct random *random, struct retained *r, struct known *known, size_t n,
                 size_t *in, bool change)
{
    char filter[40];
    random_text(random, filter, true);
    uint8_t after_text[65535];
    struct bytes after = bytes_of(after_text, 0);
    const struct known *at = known; /* all before it is settled */
    for (bool over = false; !over;) {
        struct message *m = NULL;
        unsigned budget = random_below(random, 5);
        size_t len = 0;
        const enum retained_next outcome =
            retained_next(r, bytes_text(filter), after, &budget, &m, after_text, &len);
        for (; at < known + n; at++) {
            if (at->in && topic_matches(bytes_text(filter), bytes_text(at->text)) &&
                (outcome != RETAINED_PAUSED ||
                 topic_order(bytes_text(at->text), bytes_of(after_text, len)) <= 0)) {
                break; /* should have been found, if it is not before a pause's position */
            }
            if (outcome == RETAINED_PAUSED &&
                topic_order(bytes_text(at->text), bytes_of(after_text, len)) > 0) {
                break;
            }
        }
        if (outcome == RETAINED_FOUND) {
            cr_assert(at < known + n && bytes_equal(message_topic(m), bytes_text(at->text)),
                      "%s, seed %#lx", filter, random->seed);
            after = bytes_of(after_text, message_topic(m).len);
            memcpy(after_text, message_topic(m).at, after.len);
            at++;
        } else if (outcome == RETAINED_PAUSED) {
            cr_assert(at == known + n ||
                          topic_order(bytes_text(at->text), bytes_of(after_text, len)) > 0,
                      "%s missed %s, seed %#lx", filter, at->text, random->seed);
            after = bytes_of(after_text, len);
        } else {
            cr_assert_eq(at, known + n, "%s missed %s, seed %#lx", filter,
                         at < known + n ? at->text : "", random->seed);
            over = true;
        }
        for (uint32_t i = change ? random_below(random, 4) : 0; i > 0; i--) {
            turn(r, &known[random_below(random, (uint32_t)n)], in);
        }
    }
}

Test(retained, agrees_with_oracle)
{
    struct random random = random_init();
    static struct known known[TOPICS];
    const size_t n = make_known(&random, known);
    struct retained *r = retained_create();
    size_t in = 0;
    for (unsigned round = 0; round < 600; round++) {
        for (unsigned i = 0; i < 20; i++) {
            turn(r, &known[random_below(&random, (uint32_t)n)], &in);
        }
        struct known *const k = &known[random_below(&random, (uint32_t)n)];
        cr_assert_eq(retained_get(r, bytes_text(k->text)) != NULL, k->in);
        cr_assert_eq(retained_count(r), in);
        walk(&random, r, known, n, &in, round % 2 == 0);
    }
    retained_destroy(r);
}

/* ---- the tree itself */

static void nth_topic(char *topic, size_t size, uint64_t n)
{
    snprintf(topic, size, "site/%lu/line/%lu", n / 50, n % 50);
}

static void fill_and_empty(uint64_t n, uint64_t step)
{
    struct message_tree tree;
    message_tree_init(&tree);
    char topic[48];
    for (unsigned i = 0; i < n; i++) {
        nth_topic(topic, sizeof topic, i * step % n);
        cr_assert(message_tree_insert(&tree, message(bytes_text(topic))));
        if (i % 1000 == 0) {
            cr_assert(message_tree_check(&tree));
        }
    }
    cr_assert(message_tree_check(&tree));
    cr_expect_eq(tree.count, n);
    cr_expect_lt(tree.nodes, n / 28 + 4, "%zu nodes", tree.nodes);
    for (unsigned i = 0; i < n; i++) {
        nth_topic(topic, sizeof topic, i * step % n);
        struct message *const m = message_tree_remove(&tree, bytes_text(topic));
        cr_assert_not_null(m);
        message_put(m);
        cr_assert_lt(tree.nodes, (n - i) / 12 + 4);
        if (i % 1000 == 0) {
            cr_assert(message_tree_check(&tree), "%u", i);
        }
    }
    cr_assert(message_tree_check(&tree));
    cr_expect_eq(tree.nodes, 0);
    message_tree_fini(&tree);
}

/* In order, and in an order that jumps about. */
Test(retained, tree_grows_and_shrinks)
{
    fill_and_empty(100003, 1);
    fill_and_empty(100003, 7919);
    fill_and_empty(100003, 100002);
}

static void random_topic(struct random *random, char *topic, size_t size, unsigned range)
{
    const uint32_t x = random_below(random, range);
    snprintf(topic, size, "x%s/%u", x % 3 == 0 ? "yyyyyyyyyyyyyyyyyyyyyyyy" : "", x);
}

/* More come than go, then more go than come. */
Test(retained, tree_random)
{
    struct random random = random_init();
    struct message_tree tree;
    message_tree_init(&tree);
    for (unsigned phase = 0; phase < 6; phase++) {
        for (unsigned i = 0; i < 60000; i++) {
            char topic[64];
            random_topic(&random, topic, sizeof topic, 30000);
            const bool in = message_tree_find(&tree, bytes_text(topic)) != NULL;
            if (random_below(&random, 10) < (phase % 2 == 0 ? 8u : 1u)) {
                cr_assert(in || message_tree_insert(&tree, message(bytes_text(topic))));
            } else {
                struct message *const m = message_tree_remove(&tree, bytes_text(topic));
                cr_assert_eq(m != NULL, in, "seed %#lx", random.seed);
                message_put(m);
            }
            if (i % 2000 == 0) {
                cr_assert(message_tree_check(&tree), "seed %#lx", random.seed);
            }
        }
    }
    message_tree_fini(&tree);
}

/* A whole tree, and the same messages, whichever allocation fails. */
Test(retained, no_memory)
{
    fault_at(0);
    cr_expect_null(retained_create());
    fault_at(FAULT_NEVER);
    struct retained *r = retained_create();
    size_t failures = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char topic[32];
        bool was_new;
        snprintf(topic, sizeof topic, "a/%u", i * 7919 % 20011);
        struct message *const m = message(bytes_text(topic));
        fault_at(i % 3);
        if (retained_set(r, m, &was_new) != RETAINED_OK) {
            failures++;
            fault_at(FAULT_NEVER);
            cr_assert_eq(retained_set(r, m, &was_new), RETAINED_OK);
        }
        fault_at(FAULT_NEVER);
        cr_assert(was_new);
        message_put(m);
        cr_assert_eq(retained_count(r), i + 1);
    }
    cr_expect_gt(failures, 100);
    cr_expect_eq(count(r, "a/+"), 20000);
    retained_destroy(r);
}

/* ---- expiry */

static void set_expiring(struct retained *r, unsigned i, uint64_t expires_ms)
{
    char topic[32];
    snprintf(topic, sizeof topic, "a/%u", i);
    struct message *const m = message(bytes_text(topic));
    bool was_new;
    m->has_expiry = expires_ms > 0;
    m->expires_ms = expires_ms;
    cr_assert_eq(retained_set(r, m, &was_new), RETAINED_OK);
    message_put(m);
}

static void show(void *context, struct message *m)
{
    cr_expect(m->has_expiry);
    ++*(unsigned *)context;
}

Test(retained, expiry_sweeps_a_few_steps_each_call)
{
    unsigned shown = 0;
    struct retained *r = retained_create();
    cr_expect_eq(retained_expire(r, 1000, 10, show, &shown), 0);
    for (unsigned i = 0; i < 1000; i++) {
        set_expiring(r, i, i % 2 == 0 ? 0 : i % 4 == 1 ? 500 : 1001);
    }
    unsigned dropped = 0;
    for (unsigned call = 0; call < 1000 / 7 + 2; call++) {
        const unsigned now = retained_expire(r, 500, 7, show, &shown);
        cr_assert_leq(now, 7);
        dropped += now;
    }
    cr_expect_eq(dropped, 250);
    cr_expect_eq(retained_count(r), 750);
    cr_expect_eq(retained_expire(r, 1001, 2000, show, &shown) +
                     retained_expire(r, 1001, 2000, show, &shown),
                 250);
    cr_expect_eq(retained_count(r), 500);
    cr_expect_eq(shown, 500);
    cr_expect_eq(count(r, "a/+"), 500);
    cr_expect_eq(retained_expire(r, UINT64_MAX, 2000, show, &shown), 0, "those have no expiry");
    retained_destroy(r);
}
