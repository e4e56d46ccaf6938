/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/seal.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/route/random.h"

#define SEALED_MAX (200u + SEAL_BYTES)

#define KEY_A                                                                                      \
    {                                                                                              \
        {                                                                                          \
            1, 2, 3                                                                                \
        }                                                                                          \
    }
#define KEY_B                                                                                      \
    {                                                                                              \
        {                                                                                          \
            4, 5, 6                                                                                \
        }                                                                                          \
    }
#define KEY_C                                                                                      \
    {                                                                                              \
        {                                                                                          \
            7                                                                                      \
        }                                                                                          \
    }

static const struct seal_key key_a = KEY_A, key_b = KEY_B;

static struct seal_conf conf_of(uint8_t node, uint64_t generation)
{
    return (struct seal_conf){
        .identity = {.cluster = {{0xcc}}, .node = {{node}}, .generation = generation},
        .salt = {node, (uint8_t)generation},
        .senders_max = 16};
}

static struct seal *create(uint8_t node, uint64_t generation)
{
    const struct seal_conf conf = conf_of(node, generation);
    struct seal *s = seal_create(&conf);
    cr_assert_not_null(s);
    seal_set_keys(s, &key_a, 1);
    return s;
}

static enum seal_err pass(struct seal *to, struct bytes sealed)
{
    uint8_t out[SEALED_MAX];
    size_t len = 0;
    struct seal_sender sender;
    return seal_open(to, out, &len, &sender, sealed);
}

static struct bytes make(struct seal *from, uint8_t out[SEALED_MAX], const char *message)
{
    cr_assert_eq(seal_make(from, out, bytes_text(message)), SEAL_OK);
    return bytes_of(out, strlen(message) + SEAL_BYTES);
}

Test(seal, what_was_sealed_opens_and_says_by_whom)
{
    struct seal *ann = create(1, 7), *bob = create(2, 1);
    uint8_t sealed[SEALED_MAX], out[SEALED_MAX];
    const struct bytes m = make(ann, sealed, "hello");
    struct seal_sender sender;
    size_t len;
    cr_assert_eq(seal_open(bob, out, &len, &sender, m), SEAL_OK);
    cr_expect(bytes_equal(bytes_of(out, len), bytes_text("hello")));
    cr_expect_eq(sender.node.bytes[0], 1);
    cr_expect_eq(sender.generation, 7);
    cr_expect_eq(sender.counter, 1);
    cr_expect_eq(pass(bob, make(ann, sealed, "")), SEAL_OK);
    cr_expect_eq(pass(ann, make(ann, sealed, "to myself")), SEAL_OWN);
    seal_destroy(ann);
    seal_destroy(bob);
    seal_destroy(NULL);
}

/* Any bit, of head, message, or tag; any end that is cut off. */
Test(seal, what_was_changed_does_not_open)
{
    struct seal *ann = create(1, 1), *bob = create(2, 1);
    uint8_t sealed[SEALED_MAX];
    const struct bytes m = make(ann, sealed, "hello");
    for (size_t bit = 0; bit < m.len * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const enum seal_err err = pass(bob, m);
        cr_expect(err == SEAL_FORGED || err == SEAL_MALFORMED, "bit %zu: %d", bit, err);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < m.len; len++) {
        cr_expect_neq(pass(bob, bytes_of(sealed, len)), SEAL_OK, "%zu", len);
    }
    cr_expect_eq(pass(bob, m), SEAL_OK); /* and none of that counts as heard */
    seal_destroy(ann);
    seal_destroy(bob);
}

Test(seal, another_cluster_or_key_does_not_open)
{
    struct seal_conf conf = conf_of(3, 1);
    struct seal *ann = create(1, 1), *bob = create(2, 1);
    conf.identity.cluster.bytes[15] = 1; /* an address was used again, with the very key */
    struct seal *stranger = seal_create(&conf);
    uint8_t sealed[SEALED_MAX];
    cr_expect_eq(seal_make(stranger, sealed, bytes_text("no key yet")), SEAL_NO_MEMORY);
    cr_expect_eq(pass(stranger, make(ann, sealed, "x")), SEAL_FORGED);
    seal_set_keys(stranger, &key_a, 1);
    cr_expect_eq(pass(bob, make(stranger, sealed, "x")), SEAL_FORGED);
    cr_expect_eq(pass(stranger, make(bob, sealed, "x")), SEAL_FORGED);
    seal_set_keys(ann, &key_b, 1);
    cr_expect_eq(pass(bob, make(ann, sealed, "x")), SEAL_FORGED);
    seal_destroy(ann);
    seal_destroy(bob);
    seal_destroy(stranger);
}

/* Step by step, one node after the other: at no time do two of them not understand each other. */
Test(seal, keys_rotate_without_a_pause)
{
    static const struct {
        struct seal_key keys[2];
        size_t count;
    } steps[] = {{{KEY_A}, 1},        {{KEY_A, KEY_B}, 2}, {{KEY_B, KEY_A}, 2}, {{KEY_B}, 1},
                 {{KEY_B, KEY_C}, 2}, {{KEY_C, KEY_B}, 2}, {{KEY_C}, 1}};
    struct seal *node[3] = {create(1, 1), create(2, 1), create(3, 1)};
    uint8_t sealed[SEALED_MAX], old[SEALED_MAX];
    struct bytes late = make(node[0], old, "late");
    for (size_t step = 1; step < sizeof steps / sizeof steps[0]; step++) {
        for (size_t i = 0; i < 3; i++) {
            seal_set_keys(node[i], steps[step].keys, steps[step].count);
            for (size_t from = 0; from < 3; from++) {
                for (size_t to = 0; to < 3; to++) {
                    cr_expect_eq(pass(node[to], make(node[from], sealed, "x")),
                                 from == to ? SEAL_OWN : SEAL_OK, "step %zu, %zu", step, i);
                }
            }
        }
    }
    cr_expect_eq(pass(node[1], late), SEAL_FORGED); /* the first key is no more */
    for (size_t i = 0; i < 3; i++) {
        seal_destroy(node[i]);
    }
}

/* Against a list of what was heard: each opens once, in any order, if it is not too late. */
Test(seal, nothing_opens_twice)
{
    enum { MESSAGES = 8 * SEAL_WINDOW };
    struct random random = random_init();
    struct seal *ann = create(1, 1), *bob = create(2, 1);
    static uint8_t sealed[MESSAGES][1 + SEAL_BYTES];
    static bool heard[MESSAGES];
    for (size_t i = 0; i < MESSAGES; i++) {
        cr_assert_eq(seal_make(ann, sealed[i], bytes_text("x")), SEAL_OK);
    }
    size_t highest = 0;
    bool any = false;
    for (size_t n = 0; n < 4 * MESSAGES; n++) {
        const size_t spread = random_below(&random, 4) == 0 ? MESSAGES : 100;
        const size_t from = highest > spread ? highest - spread : 0;
        size_t i = from + random_below(&random, (uint32_t)(highest - from + 3));
        i += random_below(&random, 3) == 0 ? random_below(&random, 6) : 0; /* the window moves on */
        i = i < MESSAGES ? i : MESSAGES - 1;
        const bool late = any && i < highest && highest - i >= SEAL_WINDOW;
        cr_assert_eq(pass(bob, bytes_of(sealed[i], sizeof sealed[i])),
                     heard[i] || late ? SEAL_REPLAYED : SEAL_OK, "%zu of %zu; TEST_SEED=%llu", i,
                     highest, (unsigned long long)random.seed);
        heard[i] = heard[i] || !late;
        highest = i > highest ? i : highest;
        any = true;
    }
    seal_destroy(ann);
    seal_destroy(bob);
}

Test(seal, a_leap_forgets_all_below_it)
{
    struct seal *ann = create(1, 1), *bob = create(2, 1);
    uint8_t first[SEALED_MAX], sealed[SEALED_MAX];
    const struct bytes m = make(ann, first, "x");
    for (unsigned i = 0; i < 10 * SEAL_WINDOW; i++) {
        (void)make(ann, sealed, "y");
    }
    cr_expect_eq(pass(bob, bytes_of(sealed, 1 + SEAL_BYTES)), SEAL_OK);
    cr_expect_eq(pass(bob, bytes_of(sealed, 1 + SEAL_BYTES)), SEAL_REPLAYED);
    cr_expect_eq(pass(bob, m), SEAL_REPLAYED);
    cr_expect_eq(pass(bob, make(ann, sealed, "z")), SEAL_OK);
    seal_destroy(ann);
    seal_destroy(bob);
}

Test(seal, a_start_ends_the_one_before_it)
{
    struct seal *before = create(1, 4), *after = create(1, 5), *bob = create(2, 1);
    uint8_t one[SEALED_MAX], two[SEALED_MAX], sealed[SEALED_MAX];
    const struct bytes early = make(before, one, "early"), recorded = make(before, two, "recorded");
    cr_expect_eq(pass(bob, early), SEAL_OK);
    cr_expect_eq(pass(bob, make(after, sealed, "x")), SEAL_OK);
    cr_expect_eq(pass(bob, recorded), SEAL_EARLIER_START);
    cr_expect_eq(pass(bob, early), SEAL_EARLIER_START);
    cr_expect_eq(pass(bob, make(after, sealed, "y")), SEAL_OK);
    seal_destroy(before);
    seal_destroy(after);
    seal_destroy(bob);
}

/* A copy of a volume was started, too: it has the generation, but not the random bytes. */
Test(seal, a_twin_is_not_heard_and_never_has_the_same_nonce)
{
    struct seal_conf conf = conf_of(1, 4);
    struct seal *ann = create(1, 4), *bob = create(2, 1);
    conf.salt[7] = 1;
    struct seal *twin = seal_create(&conf);
    seal_set_keys(twin, &key_a, 1);
    uint8_t one[SEALED_MAX], two[SEALED_MAX];
    const struct bytes a = make(ann, one, "the same text"), b = make(twin, two, "the same text");
    cr_expect_neq(memcmp(a.at + SEAL_HEAD_BYTES, b.at + SEAL_HEAD_BYTES, 13), 0);
    cr_expect_eq(pass(bob, a), SEAL_OK);
    cr_expect_eq(pass(bob, b), SEAL_TWIN);
    seal_destroy(ann);
    seal_destroy(twin);
    seal_destroy(bob);
}

/* More of them than there is room for: all are heard, and nothing else happens. */
Test(seal, senders_have_a_bound)
{
    struct seal *bob = create(255, 1);
    for (unsigned round = 0; round < 2; round++) {
        for (uint8_t i = 1; i < 200; i++) {
            struct seal *s = create(i, 1 + round);
            uint8_t sealed[SEALED_MAX];
            cr_expect_eq(pass(bob, make(s, sealed, "x")), SEAL_OK);
            cr_expect_eq(pass(bob, bytes_of(sealed, 1 + SEAL_BYTES)), SEAL_REPLAYED);
            seal_destroy(s);
        }
    }
    seal_destroy(bob);
}
