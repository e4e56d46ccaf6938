/* SPDX-License-Identifier: Apache-2.0 */
/* Values that refer to others: "q…" = "NAME,…" to the key NAME. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/checkpoint.h"
#include "tests/unit/route/random.h"
#include "tests/unit/store/fixture.h"

TestSuite(checkpoint_references, .init = fixture_begin, .fini = fixture_end, .timeout = 120);

static struct bytes before_the_comma(struct bytes value, uint8_t *scratch)
{
    const uint8_t *const comma = value.len == 0 ? NULL : memchr(value.at, ',', value.len);
    if (comma == NULL) {
        return bytes_of(NULL, 0);
    }
    memcpy(scratch, value.at, (size_t)(comma - value.at));
    return bytes_of(scratch, (size_t)(comma - value.at));
}

static struct checkpoint *open(void)
{
    const struct checkpoint_conf conf = {
        .map_bytes_max = (uint64_t)1 << 30, .reference = before_the_comma, .referring = 'q'};
    return fixture_open(&conf);
}

static struct bytes text(const char *s)
{
    return bytes_text(s);
}

static const struct bytes nothing = {NULL, 0};

/* A delivery of the body. */
static void refer(struct checkpoint_batch *b, const char *key, const char *name, const char *value)
{
    checkpoint_put(b, text(key), text(value));
    checkpoint_add(b, text(name), 1, text("body"));
}

Test(checkpoint_references, what_goes_takes_its_reference_with_it)
{
    struct checkpoint *const cp = open();
    struct checkpoint_batch *b = checkpoint_batch_create();
    refer(b, "q1", "b1", "b1,a");
    refer(b, "q2", "b1", "b1,b");
    refer(b, "q3", "b2", "b2,");
    refer(b, "q/1", "b3", "b3,");
    refer(b, "q/2", "b3", "b3,");
    refer(b, "q/3", "b1", "b1,");
    checkpoint_put(b, text("p1"), text("b1,does not refer"));
    fixture_write(cp, b);
    fixture_expect_count(cp, "b1", 3);
    fixture_expect_count(cp, "b3", 2);

    b = checkpoint_batch_create();
    checkpoint_delete(b, text("q1"));
    checkpoint_delete(b, text("q never there"));
    checkpoint_delete(b, text("p1"));
    checkpoint_put(b, text("q3"), text("refers to none"));
    checkpoint_delete_prefix(b, text("q/"));
    checkpoint_delete(b, text("q/1")); /* once */
    fixture_write(cp, b);
    fixture_expect(cp, "", "b1=body;q2=b1,b;q3=refers to none;");
    fixture_expect_count(cp, "b1", 1);
    cr_expect_eq(checkpoint_stats(cp).miscounted, 0);
    checkpoint_close(cp);
}

/* The new one is counted before the old one goes. */
Test(checkpoint_references, one_for_another_in_the_same_batch)
{
    struct checkpoint *const cp = open();
    struct checkpoint_batch *b = checkpoint_batch_create();
    refer(b, "q1", "b1", "b1,");
    fixture_write(cp, b);
    b = checkpoint_batch_create();
    checkpoint_delete(b, text("q1"));
    checkpoint_put(b, text("q2"), text("b1,"));
    checkpoint_add(b, text("b1"), 1, nothing); /* it is certain to be there */
    fixture_write(cp, b);
    fixture_expect(cp, "", "b1=body;q2=b1,;");
    fixture_expect_count(cp, "b1", 1);
    b = checkpoint_batch_create();
    checkpoint_put(b, text("q2"), text("b1,again"));
    checkpoint_add(b, text("b1"), 1, nothing);
    fixture_write(cp, b);
    fixture_expect_count(cp, "b1", 1);
    cr_expect_eq(checkpoint_stats(cp).miscounted, 0);
    checkpoint_close(cp);
}

static struct bytes numbered(char *at, size_t size, const char *format, unsigned number)
{
    snprintf(at, size, format, number);
    return bytes_text(at);
}

/* Counted by hand: nothing is left behind, and nothing goes that somebody refers to. */
Test(checkpoint_references, are_as_counted_by_hand)
{
    enum { KEYS = 60, BODIES = 12, ROUNDS = 300, CHANGES = 20 };
    struct checkpoint *const cp = open();
    struct random random = random_init();
    unsigned refers[KEYS] = {0}; /* 1 + body; 0: to none */
    char key[16], value[16], name[16];
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct checkpoint_batch *const b = checkpoint_batch_create();
        bool touched[KEYS] = {false};
        for (unsigned i = 0; i < CHANGES; i++) {
            const unsigned k = random_below(&random, KEYS);
            const unsigned body = random_below(&random, BODIES);
            const struct bytes at = numbered(key, sizeof key, "q%02u", k);
            if (touched[k]) {
                continue;
            }
            touched[k] = true;
            if (random_below(&random, 2) == 0) {
                checkpoint_delete(b, at);
                refers[k] = 0;
            } else {
                checkpoint_put(b, at, numbered(value, sizeof value, "b%02u,", body));
                checkpoint_add(b, numbered(name, sizeof name, "b%02u", body), 1, text("x"));
                refers[k] = 1 + body;
            }
        }
        fixture_write(cp, b);
        for (unsigned body = 0; body < BODIES; body++) {
            unsigned want = 0;
            for (unsigned k = 0; k < KEYS; k++) {
                want += refers[k] == 1 + body;
            }
            snprintf(name, sizeof name, "b%02u", body);
            fixture_expect_count(cp, name, want);
        }
    }
    cr_expect_eq(checkpoint_stats(cp).miscounted, 0);
    checkpoint_close(cp);
}

/* ---- reading */

Test(checkpoint_references, are_followed_by_who_reads)
{
    struct checkpoint *const cp = open();
    struct checkpoint_batch *const b = checkpoint_batch_create();
    static const char *const want[] = {"q1", "b1", "q2", "b2", "q3", "q4", "q5", "b1"};
    refer(b, "q1", "b1", "b1,");
    refer(b, "q2", "b2", "b2,");
    checkpoint_put(b, text("q3"), text("to none"));
    checkpoint_put(b, text("q4"), text("not there,"));
    refer(b, "q5", "b1", "b1,");
    fixture_write(cp, b);

    struct checkpoint_read r = {.prefix = text("q"), .follow = true, .bytes_max = 1000};
    checkpoint_read_now(cp, &r);
    cr_assert_eq(r.err, CHECKPOINT_OK);
    cr_expect_not(r.more);
    cr_assert_eq(r.pairs->count, sizeof want / sizeof want[0]);
    size_t at = 0;
    struct bytes key, value;
    for (unsigned i = 0; checkpoint_pairs_next(r.pairs, &at, &key, &value); i++) {
        cr_expect(bytes_equal(key, text(want[i])), "%u", i);
        cr_expect(key.at[0] == 'q' || bytes_equal(value, text("body")), "%u", i);
    }
    free(r.pairs);

    r = (struct checkpoint_read){.prefix = text("q"), .follow = true, .bytes_max = 12};
    checkpoint_read_now(cp, &r); /* one with its body has 11 */
    cr_assert_eq(r.err, CHECKPOINT_OK);
    cr_expect(r.more);
    cr_expect_eq(r.pairs->count, 2);
    free(r.pairs);
    checkpoint_close(cp);
}
