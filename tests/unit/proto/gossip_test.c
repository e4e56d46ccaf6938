/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/gossip.h"

#include <criterion/criterion.h>

#include "tests/unit/route/random.h"

static const struct node_uuid ann = {{1, 2, 3}}, bob = {{9, 8, 7}};
static const struct node_address home = {.ip = {[10] = 0xff, [11] = 0xff, 10, 1, 2, 3},
                                         .port = 1884};

static struct gossip_word word_of(enum gossip_word_kind kind)
{
    return (struct gossip_word){.kind = kind,
                                .node = ann,
                                .incarnation = {0x0102030405060708u, 0x090a0b0cu},
                                .accuser = bob,
                                .address = home,
                                .name = bytes_text("ann-1"),
                                .data = bytes_text("all is well"),
                                .age_s = 77};
}

static void expect_same(const struct gossip_word *a, const struct gossip_word *b)
{
    cr_expect_eq(a->kind, b->kind);
    cr_expect_eq(a->whole, b->whole);
    cr_expect(node_uuid_equal(a->node, b->node));
    cr_expect_eq(incarnation_compare(a->incarnation, b->incarnation), 0);
    if (a->whole || a->kind == GOSSIP_ALIVE) {
        cr_expect(node_address_equal(&a->address, &b->address));
        cr_expect(bytes_equal(a->name, b->name));
        cr_expect(bytes_equal(a->data, b->data));
    } else if (a->kind != GOSSIP_LEFT) {
        cr_expect(node_uuid_equal(a->accuser, b->accuser));
    }
    cr_expect_eq(a->gone, b->gone && b->kind == GOSSIP_LEFT);
    cr_expect_eq(a->age_s, a->whole ? b->age_s : 0);
}

Test(gossip, words_are_read_as_they_were_written)
{
    for (unsigned i = 0; i < 16; i++) {
        uint8_t out[GOSSIP_MESSAGE_MAX];
        struct gossip_writer w;
        struct gossip_word word = word_of((enum gossip_word_kind)(i % 4)), again;
        word.whole = i % 8 >= 4;
        word.gone = i >= 8; /* nobody but who has left is */
        gossip_begin(&w, out, sizeof out, word.whole ? GOSSIP_STATE : GOSSIP_RUMOURS);
        cr_assert(gossip_put_word(&w, &word));
        cr_assert(gossip_put_part(&w, true, false));
        struct gossip g;
        cr_assert_eq(gossip_decode(&g, bytes_of(out, w.len)), GOSSIP_OK, "%u", i);
        cr_expect(g.wants_state && !g.last);
        cr_assert(gossip_next_word(&g.fields, &again));
        expect_same(&again, &word);
        cr_expect_not(gossip_next_word(&g.fields, &again));
    }
}

Test(gossip, a_ping_has_its_number_and_its_target)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    struct gossip g;
    gossip_begin(&w, out, sizeof out, GOSSIP_PING);
    cr_assert(gossip_put_seq(&w, 0xfeedbee5u) && gossip_put_target(&w, bob, &home));
    cr_assert_eq(gossip_decode(&g, bytes_of(out, w.len)), GOSSIP_OK);
    cr_expect_eq(g.kind, GOSSIP_PING);
    cr_expect_eq(g.seq, 0xfeedbee5u);
    cr_expect(node_uuid_equal(g.target, bob));
    cr_expect(node_address_equal(&g.target_address, &home));
}

/* Whatever is cut off, and nothing of it is read past its end (AddressSanitizer looks on). */
Test(gossip, a_beginning_is_no_message_unless_it_ends_with_a_field)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    size_t ends[4] = {0};
    gossip_begin(&w, out, sizeof out, GOSSIP_RUMOURS);
    for (unsigned i = 0; i < 4; i++) {
        const struct gossip_word word = word_of((enum gossip_word_kind)i);
        cr_assert(gossip_put_word(&w, &word));
        ends[i] = w.len;
    }
    for (size_t len = 0; len <= w.len; len++) {
        struct gossip g;
        uint8_t *cut = malloc(len > 0 ? len : 1);
        memcpy(cut, out, len);
        bool whole = len == 2;
        for (unsigned i = 0; i < 4; i++) {
            whole = whole || len == ends[i];
        }
        cr_expect_eq(gossip_decode(&g, bytes_of(cut, len)) == GOSSIP_OK, whole, "%zu", len);
        free(cut);
    }
}

#define SEQ  0x01, 0, 4, 1, 2, 3, 4
#define U    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
#define ZERO 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define INC  0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0
#define IP   U, 7, 7

static const struct {
    const char *name;
    uint8_t in[100];
    size_t len;
    enum gossip_err err;
} rows[] = {
    {"nothing", {0}, 0, GOSSIP_MALFORMED},
    {"no kind", {1}, 1, GOSSIP_MALFORMED},
    {"kind 0", {1, 0}, 2, GOSSIP_MALFORMED},
    {"another format", {2, GOSSIP_RUMOURS}, 2, GOSSIP_UNKNOWN_VERSION},
    {"no words", {1, GOSSIP_RUMOURS}, 2, GOSSIP_OK},
    {"a kind to come", {1, 99, SEQ}, 9, GOSSIP_OK},
    {"a field to come", {1, GOSSIP_RUMOURS, 0x7f, 0, 1, 1}, 6, GOSSIP_OK},
    {"one that must be understood", {1, GOSSIP_RUMOURS, 0xff, 0, 1, 1}, 6, GOSSIP_UNKNOWN_CRITICAL},
    {"ping without a target", {1, GOSSIP_PING, SEQ}, 9, GOSSIP_MALFORMED},
    {"ping without a number", {1, GOSSIP_PING, 2, 0, 34, U, IP}, 39, GOSSIP_MALFORMED},
    {"ping", {1, GOSSIP_PING, SEQ, 2, 0, 34, U, IP}, 46, GOSSIP_OK},
    {"ping of nobody", {1, GOSSIP_PING, SEQ, 2, 0, 34, ZERO, IP}, 46, GOSSIP_MALFORMED},
    {"ping to no port", {1, GOSSIP_PING, SEQ, 2, 0, 34, U, U, 0, 0}, 46, GOSSIP_MALFORMED},
    {"a longer number", {1, GOSSIP_ACK, 1, 0, 6, 1, 2, 3, 4, 5, 6}, 11, GOSSIP_OK},
    {"a shorter number", {1, GOSSIP_ACK, 1, 0, 3, 1, 2, 3}, 8, GOSSIP_MALFORMED},
    {"ack without one", {1, GOSSIP_ACK}, 2, GOSSIP_MALFORMED},
    {"nack without one", {1, GOSSIP_NACK}, 2, GOSSIP_MALFORMED},
    {"state without its part", {1, GOSSIP_STATE}, 2, GOSSIP_MALFORMED},
    {"an empty part", {1, GOSSIP_STATE, 3, 0, 0}, 5, GOSSIP_MALFORMED},
    {"state", {1, GOSSIP_STATE, 3, 0, 1, 0xff}, 6, GOSSIP_OK},
    {"left", {1, GOSSIP_RUMOURS, 0x13, 0, 28, U, INC}, 33, GOSSIP_OK},
    {"left, and more", {1, GOSSIP_RUMOURS, 0x13, 0, 29, U, INC, 9}, 34, GOSSIP_OK},
    {"of generation 0",
     {1, GOSSIP_RUMOURS, 0x13, 0, 28, U, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
     33,
     GOSSIP_MALFORMED},
    {"said by nobody", {1, GOSSIP_RUMOURS, 0x11, 0, 44, U, INC, ZERO}, 49, GOSSIP_MALFORMED},
    {"suspect", {1, GOSSIP_RUMOURS, 0x11, 0, 44, U, INC, U}, 49, GOSSIP_OK},
    {"alive", {1, GOSSIP_RUMOURS, 0x10, 0, 49, U, INC, IP, 1, 'n', 0}, 54, GOSSIP_OK},
};

Test(gossip, each_fault_has_its_answer)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gossip g = {.kind = 42};
        cr_expect_eq(gossip_decode(&g, bytes_of(rows[i].in, rows[i].len)), rows[i].err, "%s",
                     rows[i].name);
        cr_expect(rows[i].err == GOSSIP_OK || g.kind == 42, "%s", rows[i].name);
    }
}

static enum gossip_err decode_with(struct bytes name, struct bytes data, uint8_t state)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    struct gossip g;
    struct gossip_word word = word_of(GOSSIP_ALIVE);
    word.whole = true;
    word.name = name;
    word.data = data;
    gossip_begin(&w, out, sizeof out, GOSSIP_RUMOURS);
    cr_assert(gossip_put_word(&w, &word));
    out[5] = state; /* the first byte of the only field's value */
    return gossip_decode(&g, bytes_of(out, w.len));
}

Test(gossip, names_states_and_data_have_their_bounds)
{
    static const uint8_t much[GOSSIP_DATA_MAX + 1];
    cr_expect_eq(decode_with(bytes_text("n"), bytes_of(much, GOSSIP_DATA_MAX), 3), GOSSIP_OK);
    cr_expect_eq(decode_with(bytes_text("n"), bytes_of(NULL, 0), 4), GOSSIP_MALFORMED);
    cr_expect_eq(decode_with(bytes_text(""), bytes_of(NULL, 0), 0), GOSSIP_MALFORMED);
    cr_expect_eq(decode_with(bytes_text("a b"), bytes_of(NULL, 0), 0), GOSSIP_MALFORMED);

    /* One byte of data more than there may be, in a field that is as much longer. */
    uint8_t in[2 + 3 + 28 + 18 + 2 + 1 + GOSSIP_DATA_MAX + 1] = {
        1,   GOSSIP_RUMOURS,     0x10, 0, 28 + 18 + 2 + 1 + GOSSIP_DATA_MAX + 1, U, INC, IP, 1,
        'n', GOSSIP_DATA_MAX + 1};
    struct gossip g;
    cr_expect_eq(gossip_decode(&g, bytes_of(in, sizeof in)), GOSSIP_MALFORMED);
    in[4]--;
    in[2 + 3 + 28 + 18 + 2]--;
    cr_expect_eq(gossip_decode(&g, bytes_of(in, sizeof in - 1)), GOSSIP_OK);
}

Test(gossip, a_message_is_as_long_as_a_datagram_at_most)
{
    static uint8_t in[GOSSIP_MESSAGE_MAX + 1] = {
        1, GOSSIP_RUMOURS, 0x7f, (GOSSIP_MESSAGE_MAX - 5) >> 8, (GOSSIP_MESSAGE_MAX - 5) & 0xff};
    struct gossip g;
    cr_expect_eq(gossip_decode(&g, bytes_of(in, sizeof in - 1)), GOSSIP_OK);
    cr_expect_eq(gossip_decode(&g, bytes_of(in, sizeof in)), GOSSIP_TOO_LARGE);
}

Test(gossip, what_does_not_fit_is_not_begun)
{
    uint8_t out[2 + GOSSIP_WORD_MAX];
    static const uint8_t longest[NODE_NAME_MAX] =
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    struct gossip_word word = word_of(GOSSIP_LEFT);
    word.whole = true;
    word.gone = true;
    word.name = bytes_of(longest, sizeof longest);
    word.data = bytes_of(longest, GOSSIP_DATA_MAX);
    for (size_t max = 2; max <= sizeof out; max++) {
        struct gossip_writer w;
        gossip_begin(&w, out, max, GOSSIP_RUMOURS);
        cr_expect_eq(gossip_put_word(&w, &word), max == sizeof out, "%zu", max);
        cr_expect_eq(w.len, max == sizeof out ? max : 2);
    }
    struct gossip_writer w;
    gossip_begin(&w, out, 8, GOSSIP_ACK);
    cr_expect_not(gossip_put_seq(&w, 1));
    cr_expect_not(gossip_put_target(&w, ann, &home));
    gossip_begin(&w, out, 5, GOSSIP_STATE);
    cr_expect_not(gossip_put_part(&w, true, true));
}
