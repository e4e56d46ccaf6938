/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_control.h"

#include <criterion/criterion.h>
#include <string.h>

static uint8_t out[NODE_CONTROL_BYTES_MAX];

Test(node_control, close_says_why)
{
    static const uint8_t want[] = {1, 1, 18};
    enum node_close why;
    cr_assert_eq(node_close_encode(out, NODE_CLOSE_WRONG_NODE), sizeof want);
    cr_expect_arr_eq(out, want, sizeof want);
    cr_assert_eq(node_close_decode(&why, bytes_of(want, sizeof want)), NODE_OK);
    cr_expect_eq(why, NODE_CLOSE_WRONG_NODE);
    cr_expect_eq(node_close_decode(&why, bytes_of(want, 2)), NODE_MALFORMED);
    cr_expect_eq(node_close_decode(&why, bytes_of(NULL, 0)), NODE_MALFORMED, "no reason");
    cr_expect_str_eq(node_close_text(NODE_CLOSE_OTHER_CLUSTER), "it is of another cluster");
    cr_expect(node_close_is_refusal(NODE_CLOSE_OTHER_CLUSTER));
    cr_expect_not(node_close_is_refusal(NODE_CLOSE_SILENT));
}

/* A later version may have reasons of its own. */
Test(node_control, close_for_a_reason_that_is_not_known)
{
    for (unsigned number = 14; number < 256; number++) {
        cr_expect_not_null(node_close_text((enum node_close)number));
        cr_expect(number < 24 || !node_close_is_refusal((enum node_close)number));
    }
}

Test(node_control, credit_is_a_number_of_bytes)
{
    static const uint8_t want[] = {1, 8, 0, 0, 2, 0, 0, 0, 0, 0};
    uint64_t credit;
    cr_assert_eq(node_credit_encode(out, 0x20000), sizeof want);
    cr_expect_arr_eq(out, want, sizeof want);
    cr_assert_eq(node_credit_decode(&credit, bytes_of(want, sizeof want)), NODE_OK);
    cr_expect_eq(credit, 0x20000);
    cr_expect_eq(node_credit_decode(&credit, bytes_of(want, sizeof want - 1)), NODE_MALFORMED);
    const uint8_t more[] = {9, 1, 7, 1, 9, 3, 0, 0, 0, 0, 0, 0, 0, 44}; /* of a later version */
    cr_assert_eq(node_credit_decode(&credit, bytes_of(more, sizeof more)), NODE_OK);
    cr_expect_eq(credit, 3);
    const uint8_t critical[] = {0x89, 0};
    cr_expect_eq(node_credit_decode(&credit, bytes_of(critical, 2)), NODE_UNKNOWN_CRITICAL);
}

Test(node_control, gap_says_from_where_on)
{
    static const uint8_t want[] = {1, 9, 7, 0, 0, 0, 0, 0, 0, 1, 2};
    const struct node_gap_body gap = {.first = 0x0100000000000007, .why = NODE_GAP_LOST};
    struct node_gap_body again;
    cr_assert_eq(node_gap_encode(out, &gap), sizeof want);
    cr_expect_arr_eq(out, want, sizeof want);
    cr_assert_eq(node_gap_decode(&again, bytes_of(want, sizeof want)), NODE_OK);
    cr_expect_eq(again.first, gap.first);
    cr_expect_eq(again.why, NODE_GAP_LOST);
    uint8_t bad[sizeof want];
    memcpy(bad, want, sizeof want);
    for (unsigned why = 0; why < 256; why++) {
        bad[sizeof bad - 1] = (uint8_t)why;
        cr_expect_eq(node_gap_decode(&again, bytes_of(bad, sizeof bad)),
                     why == 1 || why == 2 ? NODE_OK : NODE_MALFORMED);
    }
    const uint8_t critical[] = {0x89, 0};
    cr_expect_eq(node_gap_decode(&again, bytes_of(critical, 2)), NODE_UNKNOWN_CRITICAL);
    cr_expect_eq(node_close_decode(&(enum node_close){0}, bytes_of(critical, 2)),
                 NODE_UNKNOWN_CRITICAL);
}

Test(node_control, a_clock_is_a_number_of_ms)
{
    uint64_t wall_ms;
    const size_t len = node_clock_encode(out, UINT64_C(1700000000000));
    cr_assert_eq(node_clock_decode(&wall_ms, bytes_of(out, len)), NODE_OK);
    cr_expect_eq(wall_ms, UINT64_C(1700000000000));
    cr_expect_eq(node_clock_decode(&wall_ms, bytes_of(out, len - 1)), NODE_MALFORMED);
    cr_expect_eq(node_clock_decode(&wall_ms, bytes_of(out, 0)), NODE_MALFORMED);
}
