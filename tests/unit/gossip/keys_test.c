/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/keys.h"

#include <criterion/criterion.h>
#include <string.h>

#define A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define B "//////////////////////////////////////////8="

static const char *parse(struct key_ring *ring, const char *text)
{
    return keys_parse(ring, bytes_text(text));
}

Test(keys, one_line_or_two)
{
    struct key_ring ring = {.count = 0};
    cr_assert_null(parse(&ring, A "\n"));
    cr_expect_eq(ring.count, 1);
    for (uint8_t i = 0; i < SEAL_KEY_BYTES; i++) {
        cr_expect_eq(ring.at[0].bytes[i], i);
    }
    cr_assert_null(parse(&ring, A "\r\n\n" B));
    cr_expect_eq(ring.count, 2);
    cr_expect_eq(ring.at[1].bytes[0], 0xff);
}

Test(keys, anything_else_is_refused_and_leaves_the_ring)
{
    static const char *const wrong[] = {
        "",
        "\n\n",
        A "\n" B "\n" A "\n",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n", /* 31 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIQ==\n",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n", /* not padded */
        " " A "\n",
        A "\nsecret\n",
        "# a comment\n" A "\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct key_ring ring = {.count = 7};
        cr_expect_not_null(parse(&ring, wrong[i]), "'%s'", wrong[i]);
        cr_expect_eq(ring.count, 7);
    }
    struct key_ring ring = {.count = 7};
    cr_expect_not_null(keys_parse(&ring, bytes_of(NULL, 0)));
}

Test(keys, a_name_makes_one_cluster_and_another_name_another)
{
    struct cluster_uuid one, again, other;
    struct key_ring a = {.count = 0}, b = {.count = 0};
    char text[UUID_TEXT_BYTES];
    cr_assert(keys_cluster_of(&one, "dunlin") && keys_cluster_of(&again, "dunlin") &&
              keys_cluster_of(&other, "dunlin2"));
    cr_expect(cluster_uuid_equal(one, again));
    cr_expect_not(cluster_uuid_equal(one, other));
    uuid_print(text, one.bytes); /* nodes of other versions make the same of it */
    cr_expect_str_eq(text, "ab157656-2548-4eb9-8786-714878c94f0a");
    cr_assert(keys_of_name(&a, "dunlin") && keys_of_name(&b, "dunlin2"));
    cr_expect_eq(a.count, 1);
    cr_expect_neq(memcmp(a.at[0].bytes, b.at[0].bytes, SEAL_KEY_BYTES), 0);
    cr_expect_neq(memcmp(a.at[0].bytes, one.bytes, UUID_BYTES), 0,
                  "the UUID, which is no secret, is not the key");
}
