/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_dispatch.h"

#include <criterion/criterion.h>
#include <string.h>

/* clang-format off */
#define U32(byte) byte, 0, 0, 0x20
#define U64(byte) byte, 0, 0, 0, 0, 0, 0, 0x40
#define ORIGIN    9, 0, 0, 0, 0, 0, 8, 0
#define ITEM(p)   p, 0, 0, 0, U32(2), U32(3), U64(4)
/* clang-format on */
#define BIG32(byte) (0x20000000u + (byte))
#define BIG64(byte) (0x4000000000000000u + (byte))
#define THE_ORIGIN  0x0008000000000009u

static const uint8_t message[] = {1, 16, ORIGIN, U64(5), 2, 40,  ITEM(7), 64, 0,
                                  0, 0,  U32(2), U32(3), 0, 0,   0,       0,  0,
                                  0, 0,  0,      3,      2, 'h', 'i'};

Test(node_dispatch, a_message_names_its_targets)
{
    uint8_t out[sizeof message], items[2 * NODE_DISPATCH_ITEM_BYTES];
    const struct node_dispatch_item one = {
        .partition = 7, .run = BIG32(2), .place = BIG32(3), .term = BIG64(4)};
    const struct node_dispatch_item two = {
        .partition = NODE_DISPATCH_NODE, .run = BIG32(2), .place = BIG32(3)};
    size_t len = node_dispatch_item_encode(items, &one);
    len += node_dispatch_item_encode(items + len, &two);
    const struct node_dispatch d = {.origin = THE_ORIGIN,
                                    .op = BIG64(5),
                                    .items = bytes_of(items, len),
                                    .bytes = bytes_text("hi")};
    cr_assert_eq(node_dispatch_encode(NULL, &d), sizeof message);
    cr_assert_eq(node_dispatch_encode(out, &d), sizeof message);
    cr_expect_arr_eq(out, message, sizeof message);
    struct node_dispatch again;
    struct node_dispatch_item item;
    cr_assert_eq(node_dispatch_decode(&again, bytes_of(message, sizeof message)), NODE_OK);
    cr_expect(again.origin == d.origin && again.op == d.op && bytes_equal(again.bytes, d.bytes));
    cr_assert(node_dispatch_item_next(&again.items, &item));
    cr_expect(item.partition == 7 && item.run == one.run && item.place == one.place &&
              item.term == one.term);
    cr_assert(node_dispatch_item_next(&again.items, &item));
    cr_expect(item.partition == NODE_DISPATCH_NODE && item.term == 0);
    cr_expect_not(node_dispatch_item_next(&again.items, &item));
}

/* One byte of it is another. */
static enum node_err with(size_t at, uint8_t byte)
{
    uint8_t in[sizeof message];
    struct node_dispatch d;
    memcpy(in, message, sizeof in);
    in[at] = byte;
    return node_dispatch_decode(&d, bytes_of(in, sizeof in));
}

Test(node_dispatch, a_message_that_is_none)
{
    struct node_dispatch d;
    for (size_t len = 0; len < sizeof message; len++) {
        const bool whole = len == sizeof message - 4; /* a message may be empty */
        cr_expect_eq(node_dispatch_decode(&d, bytes_of(message, len)),
                     whole ? NODE_OK : NODE_MALFORMED, "%zu", len);
    }
    cr_expect_eq(with(40, 7), NODE_MALFORMED, "a partition twice");
    cr_expect_eq(with(40, 65), NODE_MALFORMED, "no partition");
    cr_expect_eq(with(40, 8), NODE_MALFORMED, "a partition without a term");
    cr_expect_eq(with(20, 64), NODE_MALFORMED, "a node with one");
    cr_expect_eq(with(9, 1), NODE_MALFORMED, "an origin of more than 56 bits");
    cr_expect_eq(with(0, 0x90), NODE_UNKNOWN_CRITICAL);
}

Test(node_dispatch, numbers_begin_at_one)
{
    static const struct {
        size_t at, len;
    } rows[] = {{2, 8}, {10, 8}, {24, 4}, {28, 4}, {32, 8}, {44, 4}, {48, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t in[sizeof message];
        struct node_dispatch d;
        memcpy(in, message, sizeof in);
        memset(in + rows[i].at, 0, rows[i].len);
        cr_expect_eq(node_dispatch_decode(&d, bytes_of(in, sizeof in)), NODE_MALFORMED, "%zu",
                     rows[i].at);
    }
}

static enum node_err answer(uint8_t kind, uint8_t partition, uint32_t run, uint64_t term,
                            uint64_t op)
{
    uint8_t items[NODE_DISPATCHED_ITEM_BYTES], out[NODE_DISPATCH_HEAD_MAX + sizeof items];
    const struct node_dispatched_item item = {
        .kind = kind, .partition = partition, .run = run, .term = term, .op = op};
    struct node_dispatched again, d = {.origin = THE_ORIGIN};
    struct node_dispatched_item i;
    d.items = bytes_of(items, node_dispatched_item_encode(items, &item));
    const size_t len = node_dispatched_encode(out, &d);
    cr_assert_leq(len, sizeof out);
    const enum node_err err = node_dispatched_decode(&again, bytes_of(out, len));
    if (err == NODE_OK) {
        cr_expect_eq(again.origin, THE_ORIGIN);
        cr_assert(node_dispatched_item_next(&again.items, &i));
        cr_expect(i.kind == kind && i.partition == partition && i.run == run && i.term == term &&
                  i.op == op);
        cr_expect_not(node_dispatched_item_next(&again.items, &i));
    }
    for (size_t cut = 0; cut < len; cut++) {
        const bool whole = cut == len - 2 - sizeof items;
        cr_expect_eq(node_dispatched_decode(&again, bytes_of(out, cut)),
                     whole ? NODE_OK : NODE_MALFORMED);
    }
    return err;
}

Test(node_dispatch, answers)
{
    cr_expect_eq(answer(NODE_DISPATCHED_DONE, 7, 0, 0, BIG64(1)), NODE_OK);
    cr_expect_eq(answer(NODE_DISPATCHED_DONE, 64, 0, 0, 1), NODE_OK);
    cr_expect_eq(answer(NODE_DISPATCHED_LOST, 7, BIG32(1), BIG64(2), 0), NODE_OK);
    cr_expect_eq(answer(NODE_DISPATCHED_REPEAT, 7, BIG32(1), BIG64(2), 0), NODE_OK);
    cr_expect_eq(answer(NODE_DISPATCHED_REPEAT, 64, 1, 0, 0), NODE_OK);
    cr_expect_eq(answer(77, 64, 0, 0, 0), NODE_OK, "of a later version");
    cr_expect_eq(answer(NODE_DISPATCHED_DONE, 7, 0, 0, 0), NODE_MALFORMED);
    cr_expect_eq(answer(NODE_DISPATCHED_DONE, 65, 0, 0, 1), NODE_MALFORMED);
    cr_expect_eq(answer(NODE_DISPATCHED_LOST, 64, 1, 1, 0), NODE_MALFORMED);
    cr_expect_eq(answer(NODE_DISPATCHED_LOST, 7, 1, 0, 0), NODE_MALFORMED);
    cr_expect_eq(answer(NODE_DISPATCHED_LOST, 7, 0, 1, 0), NODE_MALFORMED);
    cr_expect_eq(answer(NODE_DISPATCHED_REPEAT, 7, 0, 1, 0), NODE_MALFORMED);
    cr_expect_eq(answer(NODE_DISPATCHED_REPEAT, 7, 1, 0, 0), NODE_MALFORMED);
    cr_expect_eq(answer(NODE_DISPATCHED_REPEAT, 64, 1, 1, 0), NODE_MALFORMED);
}

Test(node_dispatch, questions_for_a_lease)
{
    static const uint8_t wire[] = {1, 16, U64(1), U64(2)};
    const struct node_lease_ask ask = {.number = BIG64(1), .version = BIG64(2)};
    struct node_lease_ask again;
    uint8_t out[sizeof wire];
    cr_assert_eq(node_lease_ask_encode(out, &ask), sizeof wire);
    cr_expect_arr_eq(out, wire, sizeof wire);
    cr_assert_eq(node_lease_ask_decode(&again, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect(again.number == ask.number && again.version == ask.version);
    for (size_t len = 0; len < sizeof wire; len++) {
        cr_expect_eq(node_lease_ask_decode(&again, bytes_of(wire, len)), NODE_MALFORMED);
    }
    static const uint8_t none[18] = {1, 16};
    cr_expect_eq(node_lease_ask_decode(&again, bytes_of(none, sizeof none)), NODE_MALFORMED);
}

static enum node_err lease(uint8_t first, uint8_t second, uint32_t length_ms, uint64_t term)
{
    uint8_t items[2 * NODE_LEASE_ITEM_BYTES], out[NODE_DISPATCH_HEAD_MAX + sizeof items];
    struct node_lease_item item = {.partition = first, .length_ms = length_ms, .term = term};
    size_t len = node_lease_item_encode(items, &item);
    item.partition = second;
    len += node_lease_item_encode(items + len, &item);
    const struct node_lease l = {
        .number = BIG64(1), .version = BIG64(2), .items = bytes_of(items, len)};
    struct node_lease again;
    len = node_lease_encode(out, &l);
    cr_assert_leq(len, sizeof out);
    const enum node_err err = node_lease_decode(&again, bytes_of(out, len));
    if (err == NODE_OK) {
        cr_expect(again.number == l.number && again.version == l.version);
        cr_assert(node_lease_item_next(&again.items, &item));
        cr_expect(item.partition == first && item.length_ms == length_ms && item.term == term);
        cr_assert(node_lease_item_next(&again.items, &item));
        cr_expect_not(node_lease_item_next(&again.items, &item));
    }
    return err;
}

Test(node_dispatch, leases)
{
    cr_expect_eq(lease(0, 63, 3000, BIG64(3)), NODE_OK);
    cr_expect_eq(lease(0, 63, NODE_LEASE_MS_MAX, 1), NODE_OK);
    cr_expect_eq(lease(0, 0, 3000, 1), NODE_MALFORMED);
    cr_expect_eq(lease(0, 64, 3000, 1), NODE_MALFORMED);
    cr_expect_eq(lease(0, 1, 0, 1), NODE_MALFORMED);
    cr_expect_eq(lease(0, 1, NODE_LEASE_MS_MAX + 1, 1), NODE_MALFORMED);
    cr_expect_eq(lease(0, 1, 3000, 0), NODE_MALFORMED);
}

/* ---- who leads */

static const uint8_t leads[] = {2, 24, 7, 0, 0, 0, U64(4), 9, 0, 0, 0, U64(5)};

Test(node_dispatch, a_node_says_all_that_it_leads)
{
    uint8_t out[sizeof leads], items[2 * NODE_LEADS_ITEM_BYTES];
    const struct node_leads_item one = {.partition = 7, .term = BIG64(4)};
    const struct node_leads_item two = {.partition = 9, .term = BIG64(5)};
    size_t len = node_leads_item_encode(items, &one);
    len += node_leads_item_encode(items + len, &two);
    cr_assert_eq(node_leads_encode(NULL, bytes_of(items, len)), sizeof leads);
    cr_assert_eq(node_leads_encode(out, bytes_of(items, len)), sizeof leads);
    cr_expect_arr_eq(out, leads, sizeof leads);
    struct bytes rest;
    struct node_leads_item item;
    cr_assert_eq(node_leads_decode(&rest, bytes_of(leads, sizeof leads)), NODE_OK);
    cr_assert(node_leads_item_next(&rest, &item));
    cr_expect(item.partition == 7 && item.term == one.term);
    cr_assert(node_leads_item_next(&rest, &item));
    cr_expect(item.partition == 9 && item.term == two.term);
    cr_expect_not(node_leads_item_next(&rest, &item));
    cr_expect_eq(node_leads_decode(&rest, bytes_of(NULL, 0)), NODE_OK, "nothing");
    cr_expect_eq(rest.len, 0);
}

static enum node_err leads_with(size_t at, uint8_t byte)
{
    uint8_t in[sizeof leads];
    struct bytes rest;
    memcpy(in, leads, sizeof in);
    in[at] = byte;
    return node_leads_decode(&rest, bytes_of(in, sizeof in));
}

Test(node_dispatch, what_leads_nothing_is_refused)
{
    uint8_t none[sizeof leads];
    struct bytes rest;
    cr_expect_eq(leads_with(2, 64), NODE_MALFORMED, "no partition");
    cr_expect_eq(leads_with(2, 9), NODE_MALFORMED, "twice");
    cr_expect_eq(leads_with(1, 23), NODE_MALFORMED, "cut off");
    memcpy(none, leads, sizeof none);
    memset(none + 6, 0, 8);
    cr_expect_eq(node_leads_decode(&rest, bytes_of(none, sizeof none)), NODE_MALFORMED, "term 0");
}
