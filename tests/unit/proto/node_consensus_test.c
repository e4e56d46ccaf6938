/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_consensus.h"

#include <criterion/criterion.h>
#include <string.h>

#define U64(byte) byte, 0, 0, 0, 0, 0, 0, 0x40
#define BIG(byte) (0x4000000000000000 + (byte))

/* clang-format off */
#define ENTRY  U64(9), 1, 0, 0, 0, 2, 0, 0, 0, 'a', 'b'
#define SERVER U64(3), 1
/* clang-format on */

static struct node_consensus sample(uint8_t kind)
{
    return (struct node_consensus){.kind = kind,
                                   .flags = NODE_CONSENSUS_GRANTED,
                                   .group = BIG(1),
                                   .term = BIG(2),
                                   .index = BIG(4),
                                   .index_term = BIG(5),
                                   .other = BIG(6),
                                   .sent_ms = BIG(7)};
}

static void expect_same(const struct node_consensus *a, const struct node_consensus *b)
{
    cr_expect_eq(a->kind, b->kind);
    cr_expect_eq(a->flags, b->flags);
    cr_expect_eq(a->group, b->group);
    cr_expect_eq(a->term, b->term);
    cr_expect_eq(a->index, b->index);
    cr_expect_eq(a->index_term, b->index_term);
    cr_expect_eq(a->other, b->other);
    cr_expect_eq(a->sent_ms, b->sent_ms);
    cr_expect(bytes_equal(a->configuration, b->configuration));
    cr_expect(bytes_equal(a->data, b->data));
}

Test(node_consensus, entries_go_with_an_append)
{
    static const uint8_t wire[] = {1,      50,     1,      4, U64(1), U64(2), U64(4),
                                   U64(5), U64(6), U64(7), 2, 36,     ENTRY,  ENTRY};
    static const uint8_t two[] = {ENTRY, ENTRY};
    uint8_t out[sizeof wire], item[32];
    struct node_consensus m = sample(NODE_APPEND), again;
    struct node_entry entry = {.term = BIG(9), .type = 1, .data = bytes_text("ab")};
    cr_assert_eq(node_entry_encode(item, &entry), sizeof two / 2);
    cr_expect_arr_eq(item, two, sizeof two / 2);
    m.data = bytes_of(two, sizeof two);
    cr_assert_eq(node_consensus_encode(NULL, &m), sizeof wire);
    cr_assert_eq(node_consensus_encode(out, &m), sizeof wire);
    cr_expect_arr_eq(out, wire, sizeof wire);
    cr_assert_eq(node_consensus_decode(&again, bytes_of(wire, sizeof wire)), NODE_OK);
    expect_same(&m, &again);
    cr_assert(node_entry_next(&again.data, &entry));
    cr_assert(node_entry_next(&again.data, &entry));
    cr_expect(entry.term == BIG(9) && entry.type == 1 && bytes_equal(entry.data, bytes_text("ab")));
    cr_expect_not(node_entry_next(&again.data, &entry));
    cr_expect_eq(again.data.len, 0);
}

Test(node_consensus, a_snapshot_goes_with_its_configuration)
{
    static const uint8_t servers[] = {SERVER};
    static const uint8_t wire[] = {1,  50, 5, 4, U64(1), U64(2), U64(4), U64(5), U64(6), U64(7), 2,
                                   17, 9,  0, 0, 0,      SERVER, 's',    'n',    'a',    'p'};
    uint8_t out[sizeof wire];
    struct node_consensus m = sample(NODE_INSTALL), again;
    struct node_server server;
    m.configuration = bytes_of(servers, sizeof servers);
    m.data = bytes_text("snap");
    cr_assert_eq(node_consensus_encode(out, &m), sizeof wire);
    cr_expect_arr_eq(out, wire, sizeof wire);
    cr_assert_eq(node_consensus_decode(&again, bytes_of(wire, sizeof wire)), NODE_OK);
    expect_same(&m, &again);
    cr_assert(node_server_next(&again.configuration, &server));
    cr_expect(server.id == BIG(3) && server.role == 1);
}

Test(node_consensus, the_others_are_a_head)
{
    for (unsigned kind = NODE_APPENDED; kind <= NODE_TIMEOUT_NOW; kind++) {
        uint8_t out[NODE_CONSENSUS_HEAD_MAX];
        struct node_consensus m = sample((uint8_t)kind), again;
        if (kind != NODE_INSTALL) {
            const size_t len = node_consensus_encode(out, &m);
            cr_assert_eq(node_consensus_decode(&again, bytes_of(out, len)), NODE_OK);
            expect_same(&m, &again);
        }
    }
}

static enum node_err decoded(struct node_consensus m)
{
    uint8_t out[256];
    struct node_consensus again;
    cr_assert_leq(node_consensus_encode(NULL, &m), sizeof out);
    return node_consensus_decode(&again, bytes_of(out, node_consensus_encode(out, &m)));
}

Test(node_consensus, what_is_not_fair_is_refused)
{
    static const uint8_t twice[] = {SERVER, SERVER}, cut[] = {U64(9), 1, 0, 0, 0, 3, 0, 0, 0, 'a'};
    static const uint8_t no_term[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t no_type[] = {U64(9), 4, 0, 0, 0, 0, 0, 0, 0};
    struct node_consensus m = sample(0);
    cr_expect_eq(decoded(m), NODE_MALFORMED);
    m = sample(NODE_TIMEOUT_NOW + 1);
    cr_expect_eq(decoded(m), NODE_MALFORMED);
    m = sample(NODE_VOTE);
    m.term = 0;
    cr_expect_eq(decoded(m), NODE_MALFORMED);
    m = sample(NODE_VOTE);
    m.data = bytes_text("x");
    cr_expect_eq(decoded(m), NODE_MALFORMED);
    m = sample(NODE_APPEND);
    m.data = bytes_of(cut, sizeof cut);
    cr_expect_eq(decoded(m), NODE_MALFORMED);
    m.data = bytes_of(no_term, sizeof no_term);
    cr_expect_eq(decoded(m), NODE_MALFORMED);
    m.data = bytes_of(no_type, sizeof no_type);
    cr_expect_eq(decoded(m), NODE_MALFORMED);
    m = sample(NODE_INSTALL);
    cr_expect_eq(decoded(m), NODE_MALFORMED, "nobody is in it");
    m.configuration = bytes_of(twice, sizeof twice);
    cr_expect_eq(decoded(m), NODE_MALFORMED, "one is in it twice");
    m.configuration = bytes_of(twice, sizeof twice / 2);
    cr_expect_eq(decoded(m), NODE_OK);
    m.index = 0;
    cr_expect_eq(decoded(m), NODE_MALFORMED, "a snapshot of nothing");
}
