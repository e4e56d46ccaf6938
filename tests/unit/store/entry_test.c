/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/entry.h"

#include <criterion/criterion.h>

#include "tests/unit/store/stored_same.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* QoS 1, version 1, topic of 1 byte, "t", then "hello". */
#define MESSAGE                                                                                    \
    BYTES("\x01\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0"                                                 \
          "thello")

static const struct entry rows[] = {
    {.type = ENTRY_OPENED, .serial = 7, .opened = {.client_id = BYTES("me"), .expiry_s = 60}},
    {.type = ENTRY_OPENED, .serial = UINT64_MAX, .opened = {.expiry_s = UINT32_MAX}},
    {.type = ENTRY_OPENED,
     .serial = 8,
     .opened = {.client_id = BYTES("willing"),
                .will = {.message = MESSAGE, .delay_s = 300, .has_expiry = true, .expiry_s = 9}}},
    {.type = ENTRY_OPENED, .opened = {.will = {.message = MESSAGE}}},
    {.type = ENTRY_CLOSED,
     .serial = 7,
     .closed = {.expiry_s = 5, .ends_ms = UINT64_MAX, .sent_end = 12, .will_due_ms = UINT64_MAX}},
    {.type = ENTRY_CLOSED,
     .serial = 300,
     .closed = {.ends_ms = 1700000000000, .will_due_ms = 1700000000001}},
    {.type = ENTRY_ENDED, .serial = 1ull << 40},
    {.type = ENTRY_SUBSCRIBED,
     .serial = 7,
     .subscribed = {.filter = BYTES("$share/g/#"),
                    .options = {.identifier = 268435455,
                                .qos = 2,
                                .no_local = true,
                                .retain_as_published = true}}},
    {.type = ENTRY_SUBSCRIBED, .serial = 7, .subscribed = {.filter = BYTES("+")}},
    {.type = ENTRY_UNSUBSCRIBED, .serial = 7, .subscribed = {.filter = BYTES("a/+/c")}},
    {.type = ENTRY_QUEUED, .queued = {.message = MESSAGE}},
    {.type = ENTRY_QUEUED,
     .queued = {.message = MESSAGE, .origin = 12, .exchange = 1ull << 33, .packet_id = 65535}},
    {.type = ENTRY_DONE},
    {.type = ENTRY_RELEASED, .serial = 7, .released = UINT64_MAX - 1},
    {.type = ENTRY_RECEIVED, .serial = 7, .received = {.packet_id = 1, .exchange = 99}},
    {.type = ENTRY_RECEIVED, .serial = 7, .received = {.packet_id = 65535, .exchange = 1}},
    {.type = ENTRY_FREED, .serial = 7, .received = {.packet_id = 65535}},
    {.type = ENTRY_WILL_OVER, .serial = 7},
    {.type = ENTRY_WILL_GONE, .serial = 7, .will = {.number = 1ull << 40}},
    {.type = ENTRY_RETAINED, .message = MESSAGE},
    {.type = ENTRY_UNRETAINED, .topic = BYTES("a/b")},
    {.type = ENTRY_BURIED,
     .buried = {.topic = BYTES("a/b"),
                .version = {.stamp = 1ull << 60, .origin = {{1, 2, 3}}, .generation = 9}}},
    {.type = ENTRY_WILL_DUE, .serial = 7, .will = {.number = 77, .message = MESSAGE}},
    {.type = ENTRY_WILL_RETAINED, .serial = 1ull << 40, .will = {.number = 77}},
    {.type = ENTRY_DISPATCHED,
     .queued = {.message = MESSAGE, .stream = (1ull << 56) - 1, .operation = UINT64_MAX}},
    {.type = ENTRY_DISPATCHED,
     .queued = {.message = MESSAGE,
                .stream = 1,
                .operation = 1,
                .origin = 1ull << 60,
                .exchange = 7,
                .packet_id = 9}},
    {.type = ENTRY_BEGUN, .serial = 7, .received = {.packet_id = 65535, .exchange = 1ull << 60}},
    {.type = ENTRY_SEALED, .term = 1ull << 40},
};
#define ROWS (sizeof rows / sizeof rows[0])

static const struct stored_delivery deliveries[] = {
    {.number = 0, .qos = 1},
    {.number = UINT64_MAX - 1, .qos = 2, .retain = true},
    {.number = 1, .qos = 2, .group = UINT64_MAX},
    {.number = 300, .qos = 1, .identifiers = BYTES("\x05\x80\x01")}, /* 5 and 128 */
};
#define DELIVERIES (sizeof deliveries / sizeof deliveries[0])

static struct field_writer w;

static void begin(void)
{
    w = (struct field_writer){.at = NULL};
}

static void end(void)
{
    field_writer_fini(&w);
}

TestSuite(entry, .init = begin, .fini = end);

/* In memory that ends where it does. */
static bool is_entry(const uint8_t *at, size_t len)
{
    uint8_t *const copy = malloc(len > 0 ? len : 1);
    struct entry e;
    if (len > 0) {
        memcpy(copy, at, len);
    }
    const bool is_one = entry_read(bytes_of(copy, len), &e);
    free(copy);
    return is_one;
}

Test(entry, every_type_comes_back_as_it_was)
{
    unsigned seen = 0;
    for (size_t i = 0; i < ROWS; i++) {
        struct entry got;
        field_writer_begin(&w);
        entry_write(&w, &rows[i]);
        cr_assert(entry_read(field_written(&w), &got), "row %zu", i);
        cr_expect(stored_same_entry(&rows[i], &got), "row %zu", i);
        seen |= 1u << rows[i].type;
    }
    cr_expect_eq(seen, (1u << ENTRY_TYPES) - 2, "a type has no row");
}

/* They are on disk. */
Test(entry, types_have_the_numbers_that_they_had)
{
    static const uint8_t numbers[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                      11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
    static const enum entry_type types[] = {
        ENTRY_OPENED,    ENTRY_CLOSED,   ENTRY_ENDED,      ENTRY_SUBSCRIBED, ENTRY_UNSUBSCRIBED,
        ENTRY_QUEUED,    ENTRY_DONE,     ENTRY_RELEASED,   ENTRY_RECEIVED,   ENTRY_FREED,
        ENTRY_WILL_OVER, ENTRY_RETAINED, ENTRY_UNRETAINED, ENTRY_WILL_DUE,   ENTRY_WILL_RETAINED,
        ENTRY_WILL_GONE, ENTRY_BURIED,   ENTRY_DISPATCHED, ENTRY_BEGUN,      ENTRY_SEALED};
    cr_assert_eq(sizeof numbers, ENTRY_TYPES - 1);
    for (size_t i = 0; i < sizeof numbers; i++) {
        cr_expect_eq((unsigned)types[i], numbers[i]);
    }
}

/* Without its last bytes it is none; nor with one more. Lists are apart: see below. */
Test(entry, a_part_is_refused_and_so_is_what_follows)
{
    for (size_t i = 0; i < ROWS; i++) {
        field_writer_begin(&w);
        entry_write(&w, &rows[i]);
        for (size_t len = 0; len < w.len; len++) {
            cr_expect_not(is_entry(w.at, len), "row %zu, %zu of %zu bytes", i, len, w.len);
        }
        put_number(&w, 1);
        cr_expect_not(is_entry(w.at, w.len), "row %zu and a byte", i);
    }
}

static void write_list(enum entry_type type, size_t items)
{
    const struct entry e = {.type = type, .queued = {.message = MESSAGE}};
    const struct entry done = {.type = type};
    field_writer_begin(&w);
    entry_write(&w, type == ENTRY_QUEUED ? &e : &done);
    for (size_t i = 0; i < items; i++) {
        if (type == ENTRY_QUEUED) {
            entry_write_recipient(&w, 1000 + i, &deliveries[i]);
        } else {
            entry_write_done(&w, 1000 + i, deliveries[i].number);
        }
    }
}

Test(entry, recipients_come_in_their_order)
{
    struct entry e;
    uint64_t serial = 0;
    struct stored_delivery got;
    write_list(ENTRY_QUEUED, DELIVERIES);
    cr_assert(entry_read(field_written(&w), &e));
    struct bytes rest = e.queued.recipients;
    for (size_t i = 0; i < DELIVERIES; i++) {
        cr_assert(entry_next_recipient(&rest, &serial, &got));
        cr_expect_eq(serial, 1000 + i);
        cr_expect(stored_same_delivery(&got, &deliveries[i]), "%zu", i);
    }
    cr_expect_not(entry_next_recipient(&rest, &serial, &got));
}

Test(entry, what_is_done_comes_in_its_order)
{
    struct entry e;
    uint64_t serial = 0, number = 0;
    write_list(ENTRY_DONE, DELIVERIES);
    cr_assert(entry_read(field_written(&w), &e));
    struct bytes rest = e.done;
    for (size_t i = 0; i < DELIVERIES; i++) {
        cr_assert(entry_next_done(&rest, &serial, &number));
        cr_expect_eq(serial, 1000 + i);
        cr_expect_eq(number, deliveries[i].number);
    }
    cr_expect_not(entry_next_done(&rest, &serial, &number));
}

/* A list may end behind each item, and nowhere else. */
Test(entry, a_list_ends_with_an_item)
{
    static const enum entry_type types[] = {ENTRY_QUEUED, ENTRY_DONE};
    for (unsigned t = 0; t < 2; t++) {
        size_t ends[DELIVERIES + 1];
        for (size_t items = 0; items <= DELIVERIES; items++) {
            write_list(types[t], items);
            ends[items] = w.len;
        }
        size_t at = 0;
        for (size_t len = 0; len <= w.len; len++) {
            const bool is_end = len == ends[at];
            at += is_end;
            cr_expect_eq(is_entry(w.at, len), is_end, "type %d, %zu bytes", (int)types[t], len);
        }
    }
}

static const struct stored_delivery bad_deliveries[] = {
    {.number = UINT64_MAX, .qos = 1}, /* the end of none */
    {.number = 1, .qos = 0},
    {.number = 1, .qos = 3},
    {.number = 1, .qos = 1, .identifiers = BYTES("\x80")},                 /* not whole */
    {.number = 1, .qos = 1, .identifiers = BYTES("\x80\x80\x80\x80\x10")}, /* above 32 bits */
};

Test(entry, a_delivery_that_cannot_be_is_refused)
{
    for (size_t i = 0; i < sizeof bad_deliveries / sizeof bad_deliveries[0]; i++) {
        write_list(ENTRY_QUEUED, 1);
        entry_write_recipient(&w, 1, &bad_deliveries[i]);
        cr_expect_not(is_entry(w.at, w.len), "%zu", i);
    }
}

static const uint8_t long_name[65536];

/* Written by somebody else: no session, message or subscription is like that. */
static const struct entry refused[] = {
    {.type = ENTRY_SUBSCRIBED, .serial = 7},
    {.type = ENTRY_SUBSCRIBED,
     .serial = 7,
     .subscribed = {.filter = BYTES("f"), .options = {.qos = 3}}},
    {.type = ENTRY_SUBSCRIBED, .serial = 7, .subscribed = {.filter = {long_name, 65536}}},
    {.type = ENTRY_UNSUBSCRIBED, .serial = 7},
    {.type = ENTRY_UNRETAINED},
    {.type = ENTRY_UNRETAINED, .topic = {long_name, 65536}},
    {.type = ENTRY_BURIED, .buried = {.version = {.stamp = 1}}},
    {.type = ENTRY_BURIED, .buried = {.topic = BYTES("no stamp")}},
    {.type = ENTRY_RETAINED},
    {.type = ENTRY_RETAINED, .message = BYTES("not one")},
    {.type = ENTRY_QUEUED, .queued = {.message = BYTES("not one")}},
    {.type = ENTRY_WILL_DUE, .serial = 7, .will = {.number = 1}},
    {.type = ENTRY_OPENED, .opened = {.client_id = {long_name, 65536}}},
    {.type = ENTRY_OPENED, .opened = {.will = {.message = BYTES("not one")}}},
    {.type = ENTRY_RECEIVED, .serial = 7, .received = {.packet_id = 0, .exchange = 1}},
    {.type = ENTRY_FREED, .serial = 7, .received = {.packet_id = 0}},
};

Test(entry, what_cannot_be_is_refused)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        field_writer_begin(&w);
        entry_write(&w, &refused[i]);
        cr_expect_not(is_entry(w.at, w.len), "row %zu", i);
    }
}

Test(entry, a_type_of_a_later_version_is_refused)
{
    static const uint64_t types[] = {0, ENTRY_TYPES, ENTRY_TYPES + 1, 127, 128, UINT64_MAX};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        field_writer_begin(&w);
        put_number(&w, types[i]);
        cr_expect_not(is_entry(w.at, w.len));
        put_number(&w, 7);
        cr_expect_not(is_entry(w.at, w.len));
    }
    cr_expect_not(is_entry(NULL, 0));
}

/* A number above its field's type is not cut down to it. */
Test(entry, a_number_that_is_too_large_is_refused)
{
    field_writer_begin(&w);
    put_number(&w, ENTRY_RECEIVED);
    put_number(&w, 7);
    put_number(&w, 65537);
    put_number(&w, 1);
    cr_expect_not(is_entry(w.at, w.len));

    field_writer_begin(&w);
    put_number(&w, ENTRY_CLOSED);
    put_number(&w, 7);
    put_number(&w, 1ull << 32);
    for (unsigned i = 0; i < 3; i++) {
        put_number(&w, 1);
    }
    cr_expect_not(is_entry(w.at, w.len));
}

/* Any bytes have an answer, and a sound one can be written again; see also tests/fuzz. */
Test(entry, garbage_has_an_answer)
{
    uint64_t random = 88172645463325252u;
    unsigned sound = 0;
    for (unsigned round = 0; round < 200000; round++) {
        uint8_t in[24];
        for (size_t i = 0; i < sizeof in; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            in[i] = (uint8_t)(random >> 32) & (random & 1 ? 0x0f : 0xff);
        }
        in[0] %= ENTRY_TYPES + 1;
        struct entry e, again;
        if (!entry_read(bytes_of(in, 1 + random % sizeof in), &e)) {
            continue;
        }
        sound++;
        field_writer_begin(&w);
        entry_write(&w, &e);
        cr_assert(entry_read(field_written(&w), &again));
        cr_assert(stored_same_entry(&e, &again));
    }
    cr_expect_gt(sound, 1000);
}
