/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_claim.h"

#include <criterion/criterion.h>
#include <string.h>

#define U64(byte) byte, 0, 0, 0, 0, 0, 0, 0x40
#define BIG(byte) (0x4000000000000000 + (byte))

/* clang-format off */
#define HOLD_GONE 3, 1, 2, 0, 3, 0, 0, 0, U64(7), U64(8), U64(9), U64(10), U64(6), 'i', 'd', 'w', 'i', 'l'
#define WORD      1, 1, 0, 0, U64(1), U64(2), U64(3), 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5
/* clang-format on */

static struct node_hold sample(void)
{
    return (struct node_hold){.kind = NODE_HOLD_GONE,
                              .flags = NODE_HOLD_CLEAN,
                              .hash = BIG(7),
                              .serial = BIG(8),
                              .claim = BIG(9),
                              .delay_ms = BIG(10),
                              .left_ms = BIG(6),
                              .id = bytes_text("id"),
                              .will = bytes_text("wil")};
}

Test(node_claim, holds)
{
    static const uint8_t wire[] = {1, 4, 5, 0, 0, 0x80, 2, 53, HOLD_GONE};
    uint8_t out[NODE_CLAIM_HEAD_MAX], item[64];
    const struct node_hold hold = sample();
    const size_t item_len = node_hold_encode(item, &hold);
    cr_assert_eq(item_len, NODE_CLAIM_HOLD_BYTES + 5);
    const struct node_claim_holds holds = {0x80000005, bytes_of(item, item_len)};
    const size_t len = node_claim_holds_encode(out, &holds);
    cr_assert_eq(len + item_len, sizeof wire);
    cr_expect_arr_eq(out, wire, len);
    cr_expect_arr_eq(item, wire + len, item_len);
    struct node_claim_holds h;
    struct node_hold again;
    cr_assert_eq(node_claim_holds_decode(&h, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect_eq(h.number, 0x80000005);
    cr_assert(node_hold_next(&h.items, &again));
    cr_expect_eq(again.kind, hold.kind);
    cr_expect_eq(again.flags, hold.flags);
    cr_expect_eq(again.hash, hold.hash);
    cr_expect_eq(again.serial, hold.serial);
    cr_expect_eq(again.claim, hold.claim);
    cr_expect_eq(again.delay_ms, hold.delay_ms);
    cr_expect_eq(again.left_ms, hold.left_ms);
    cr_expect(bytes_equal(again.id, hold.id) && bytes_equal(again.will, hold.will));
    cr_expect_not(node_hold_next(&h.items, &again));
}

Test(node_claim, words)
{
    static const uint8_t wire[] = {2, 44, WORD};
    uint8_t out[NODE_CLAIM_HEAD_MAX], item[NODE_CLAIM_WORD_BYTES];
    struct node_word word = {.kind = NODE_WORD_GRANT,
                             .flags = NODE_WORD_UNSURE,
                             .hash = BIG(1),
                             .serial = BIG(2),
                             .claim = BIG(3)},
                     again;
    memset(word.former.bytes, 5, UUID_BYTES);
    cr_assert_eq(node_word_encode(item, &word), sizeof item);
    cr_assert_eq(node_claim_words_encode(out, bytes_of(item, sizeof item)), 2);
    cr_expect_arr_eq(out, wire, 2);
    cr_expect_arr_eq(item, wire + 2, sizeof item);
    struct bytes items;
    cr_assert_eq(node_claim_words_decode(&items, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_assert(node_word_next(&items, &again));
    cr_expect_eq(again.kind, word.kind);
    cr_expect_eq(again.flags, word.flags);
    cr_expect_eq(again.hash, word.hash);
    cr_expect_eq(again.serial, word.serial);
    cr_expect_eq(again.claim, word.claim);
    cr_expect(node_uuid_equal(again.former, word.former));
    cr_expect_not(node_word_next(&items, &again));
}

Test(node_claim, owner_and_ack)
{
    uint8_t out[NODE_CLAIM_HEAD_MAX];
    struct node_claim_owner owner = {.session = 0x01020304}, again;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        owner.terms[i] = 1000000 + i;
    }
    const size_t len = node_claim_owner_encode(out, &owner);
    cr_assert_eq(len, 3 + 4 + 4 * NODE_CLAIM_PARTITIONS);
    cr_assert_eq(node_claim_owner_decode(&again, bytes_of(out, len)), NODE_OK);
    cr_expect_eq(memcmp(&again, &owner, sizeof owner), 0);
    cr_expect_eq(node_claim_owner_decode(&again, bytes_of(out, 0)), NODE_MALFORMED);
    uint32_t number = 0;
    static const uint8_t ack[] = {1, 4, 4, 3, 2, 1};
    cr_assert_eq(node_claim_ack_encode(out, 0x01020304), sizeof ack);
    cr_expect_arr_eq(out, ack, sizeof ack);
    cr_assert_eq(node_claim_ack_decode(&number, bytes_of(ack, sizeof ack)), NODE_OK);
    cr_expect_eq(number, 0x01020304);
    cr_expect_eq(node_claim_ack_decode(&number, bytes_of(ack, 0)), NODE_MALFORMED);
}

static enum node_err judge(const struct node_hold *hold, size_t cut)
{
    uint8_t body[NODE_CLAIM_HEAD_MAX + 64], item[64];
    const size_t item_len = node_hold_encode(item, hold) - cut;
    const struct node_claim_holds holds = {1, bytes_of(item, item_len)};
    const size_t len = node_claim_holds_encode(body, &holds);
    memcpy(body + len, item, item_len);
    struct node_claim_holds h;
    return node_claim_holds_decode(&h, bytes_of(body, len + item_len));
}

/* What would be taken for something else, or could not be answered, is refused. */
Test(node_claim, holds_are_judged)
{
    struct node_hold hold = sample();
    cr_expect_eq(judge(&hold, 0), NODE_OK);
    cr_expect_eq(judge(&hold, 1), NODE_MALFORMED, "cut off");
    hold.serial = 0;
    cr_expect_eq(judge(&hold, 0), NODE_MALFORMED, "no serial");
    hold = sample();
    hold.claim = 0;
    cr_expect_eq(judge(&hold, 0), NODE_MALFORMED, "no claim");
    hold.claim = NODE_CLAIM_TIME_MAX;
    cr_expect_eq(judge(&hold, 0), NODE_MALFORMED, "a claim that nobody could surpass");
    hold = sample();
    hold.left_ms = hold.delay_ms + 1;
    cr_expect_eq(judge(&hold, 0), NODE_MALFORMED, "more is left than there was");
    hold = sample();
    hold.will = bytes_of(NULL, 0);
    cr_expect_eq(judge(&hold, 0), NODE_MALFORMED, "gone without a will");
    hold.kind = NODE_HOLD_HOLDS;
    cr_expect_eq(judge(&hold, 0), NODE_OK);
    hold.kind = 77;
    hold.serial = 0;
    cr_expect_eq(judge(&hold, 0), NODE_OK, "of a later version");
}
