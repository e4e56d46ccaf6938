/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_interest.h"

#include <criterion/criterion.h>
#include <string.h>

/* clang-format off */
#define ITEM_FILTER 1, 0, 3, 0, 1, 0, 0, 0, 'a', '/', '#'
#define ITEM_GONE   1, 0, 1, 0, 0, 0, 0, 0, '+'
#define ITEM_GROUP  2, 0, 10, 0, 4, 3, 2, 1, '$', 's', 'h', 'a', 'r', 'e', '/', 'g', '/', 'b'
#define ITEM_LATER  9, 0, 1, 0, 7, 0, 0, 0, 0xff
#define U64(byte)   byte, 0, 0, 0, 0, 0, 0, 0x80
#define BIG(byte)   (0x8000000000000000 + (byte))
/* clang-format on */

static const uint8_t items[] = {ITEM_FILTER, ITEM_GONE, ITEM_GROUP, ITEM_LATER};

Test(node_interest, items_are_written_byte_for_byte)
{
    const struct node_interest_item list[] = {
        {NODE_INTEREST_FILTER, 1, bytes_text("a/#")},
        {NODE_INTEREST_FILTER, 0, bytes_text("+")},
        {NODE_INTEREST_GROUP, 0x01020304, bytes_text("$share/g/b")},
        {9, 7, bytes_text("\xff")}};
    uint8_t out[sizeof items];
    size_t len = 0;
    for (size_t i = 0; i < 4; i++) {
        len += node_interest_item_encode(out + len, &list[i]);
    }
    cr_assert_eq(len, sizeof items);
    cr_expect_arr_eq(out, items, len);
    struct bytes rest = bytes_of(out, len);
    struct node_interest_item item;
    for (size_t i = 0; i < 4; i++) {
        cr_assert(node_interest_item_next(&rest, &item));
        cr_expect_eq(item.kind, list[i].kind);
        cr_expect_eq(item.count, list[i].count);
        cr_expect(bytes_equal(item.text, list[i].text));
    }
    cr_expect_not(node_interest_item_next(&rest, &item));
}

Test(node_interest, delta)
{
    static const uint8_t wire[] = {1,           16,        U64(3),     U64(4),    2, sizeof items,
                                   ITEM_FILTER, ITEM_GONE, ITEM_GROUP, ITEM_LATER};
    uint8_t head[NODE_INTEREST_HEAD_MAX];
    const struct node_interest_delta delta = {
        .generation = BIG(3), .first = BIG(4), .items = bytes_of(items, sizeof items)};
    const size_t len = node_interest_delta_encode(head, &delta);
    cr_assert_eq(len, sizeof wire - sizeof items);
    cr_expect_arr_eq(head, wire, len);
    struct node_interest_delta d;
    cr_assert_eq(node_interest_delta_decode(&d, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect_eq(d.generation, BIG(3));
    cr_expect_eq(d.first, BIG(4));
    cr_expect_eq(d.count, 4);
    cr_expect(bytes_equal(d.items, delta.items));
}

static enum node_err delta_of(const uint8_t *in, size_t len, uint64_t first)
{
    uint8_t body[NODE_INTEREST_HEAD_MAX + 64];
    const struct node_interest_delta delta = {
        .generation = 1, .first = first, .items = bytes_of(in, len)};
    const size_t head = node_interest_delta_encode(body, &delta);
    if (len > 0) {
        memcpy(body + head, in, len);
    }
    struct node_interest_delta d;
    return node_interest_delta_decode(&d, bytes_of(body, head + len));
}

/* clang-format off */
static const struct {
    const char *name;
    uint8_t in[24];
    size_t len;
    enum node_err delta, snapshot;
} rows[] = {
#define ROW(name, delta, snapshot, ...)                                                            \
    {name, {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}), NODE_##delta, NODE_##snapshot}
    ROW("a filter", OK, OK, ITEM_FILTER),
    ROW("a group", OK, OK, ITEM_GROUP),
    ROW("of a later kind", OK, OK, ITEM_LATER),
    ROW("gone", OK, MALFORMED, ITEM_GONE),
    ROW("a filter that is none", MALFORMED, MALFORMED, 1, 0, 2, 0, 1, 0, 0, 0, '#', '/'),
    ROW("an empty filter", MALFORMED, MALFORMED, 1, 0, 0, 0, 1, 0, 0, 0),
    ROW("not UTF-8", MALFORMED, MALFORMED, 1, 0, 1, 0, 1, 0, 0, 0, 0xff),
    ROW("twice the same filter", MALFORMED, MALFORMED, 1, 0, 1, 0, 2, 0, 0, 0, 'a'),
    ROW("a group that is none", MALFORMED, MALFORMED, 2, 0, 1, 0, 1, 0, 0, 0, 'a'),
    ROW("cut off", MALFORMED, MALFORMED, 1, 0, 2, 0, 1, 0, 0, 0, 'a'),
    ROW("not even a head", MALFORMED, MALFORMED, 1, 0, 1, 0, 1, 0, 0),
#undef ROW
};
/* clang-format on */

static enum node_err snapshot_of(const uint8_t *in, size_t len)
{
    uint8_t body[NODE_INTEREST_HEAD_MAX + 64];
    const struct node_interest_snapshot snapshot = {.generation = 1, .items = bytes_of(in, len)};
    const size_t head = node_interest_snapshot_encode(body, &snapshot);
    if (len > 0) {
        memcpy(body + head, in, len);
    }
    struct node_interest_snapshot s;
    return node_interest_snapshot_decode(&s, bytes_of(body, head + len));
}

Test(node_interest, items_are_judged)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(delta_of(rows[i].in, rows[i].len, 1), rows[i].delta, "%s", rows[i].name);
        cr_expect_eq(snapshot_of(rows[i].in, rows[i].len), rows[i].snapshot, "%s", rows[i].name);
    }
    cr_expect_eq(delta_of(NULL, 0, 1), NODE_MALFORMED, "no change");
    cr_expect_eq(snapshot_of(NULL, 0), NODE_OK, "nobody is interested in anything");
    cr_expect_eq(delta_of(rows[0].in, rows[0].len, 0), NODE_MALFORMED, "versions begin with 1");
    cr_expect_eq(delta_of(rows[0].in, rows[0].len, UINT64_MAX), NODE_MALFORMED, "and end");
}

Test(node_interest, snapshot)
{
    static const uint8_t wire[] = {1, 25, U64(3), U64(4), 5, 0, 0,  0x80,
                                   6, 0,  0,      0x80,   1, 2, 11, ITEM_FILTER};
    uint8_t head[NODE_INTEREST_HEAD_MAX];
    const struct node_interest_snapshot snapshot = {.generation = BIG(3),
                                                    .version = BIG(4),
                                                    .snapshot = 0x80000005,
                                                    .part = 0x80000006,
                                                    .last = true,
                                                    .items = bytes_of(items, 11)};
    const size_t len = node_interest_snapshot_encode(head, &snapshot);
    cr_assert_eq(len, sizeof wire - 11);
    cr_expect_arr_eq(head, wire, len);
    struct node_interest_snapshot s;
    cr_assert_eq(node_interest_snapshot_decode(&s, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect_eq(s.generation, BIG(3));
    cr_expect_eq(s.version, BIG(4));
    cr_expect_eq(s.snapshot, 0x80000005);
    cr_expect_eq(s.part, 0x80000006);
    cr_expect(s.last);
    cr_expect(bytes_equal(s.items, snapshot.items));
    uint8_t bad[sizeof wire];
    memcpy(bad, wire, sizeof wire);
    bad[26] = 2;
    cr_expect_eq(node_interest_snapshot_decode(&s, bytes_of(bad, sizeof bad)), NODE_MALFORMED);
}

Test(node_interest, digest)
{
    static const uint8_t wire[] = {1, 32, U64(3), U64(4), 1,  2,  3,  4,  5,  6,
                                   7, 8,  9,      10,     11, 12, 13, 14, 15, 16};
    uint8_t out[NODE_INTEREST_HEAD_MAX];
    struct node_interest_digest digest = {.generation = BIG(3), .version = BIG(4)};
    for (unsigned i = 0; i < NODE_DIGEST_BYTES; i++) {
        digest.digest[i] = (uint8_t)(i + 1);
    }
    cr_assert_eq(node_interest_digest_encode(out, &digest), sizeof wire);
    cr_expect_arr_eq(out, wire, sizeof wire);
    struct node_interest_digest d;
    cr_assert_eq(node_interest_digest_decode(&d, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect_eq(d.generation, BIG(3));
    cr_expect_eq(d.version, BIG(4));
    cr_expect_arr_eq(d.digest, digest.digest, NODE_DIGEST_BYTES);
    cr_expect_eq(node_interest_digest_decode(&d, bytes_of(wire, sizeof wire - 1)), NODE_MALFORMED);
    cr_expect_eq(node_interest_digest_decode(&d, bytes_of(NULL, 0)), NODE_MALFORMED);
}

Test(node_interest, ack)
{
    static const uint8_t wire[] = {1, 25, U64(3), U64(4), 5, 0, 0, 0x80, 6, 0, 0, 0x80, 2};
    uint8_t out[NODE_INTEREST_HEAD_MAX];
    const struct node_interest_ack ack = {.generation = BIG(3),
                                          .version = BIG(4),
                                          .snapshot = 0x80000005,
                                          .parts = 0x80000006,
                                          .want = NODE_WANT_SNAPSHOT};
    cr_assert_eq(node_interest_ack_encode(out, &ack), sizeof wire);
    cr_expect_arr_eq(out, wire, sizeof wire);
    struct node_interest_ack a;
    cr_assert_eq(node_interest_ack_decode(&a, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect_eq(a.generation, BIG(3));
    cr_expect_eq(a.version, BIG(4));
    cr_expect_eq(a.snapshot, 0x80000005);
    cr_expect_eq(a.parts, 0x80000006);
    cr_expect_eq(a.want, NODE_WANT_SNAPSHOT);
    uint8_t bad[sizeof wire + 2];
    memcpy(bad, wire, sizeof wire);
    bad[sizeof wire - 1] = 3;
    cr_expect_eq(node_interest_ack_decode(&a, bytes_of(bad, sizeof wire)), NODE_MALFORMED);
    bad[sizeof wire - 1] = 2;
    bad[sizeof wire] = 0xff; /* a field that must be understood */
    bad[sizeof wire + 1] = 0;
    cr_expect_eq(node_interest_ack_decode(&a, bytes_of(bad, sizeof bad)), NODE_UNKNOWN_CRITICAL);
}
