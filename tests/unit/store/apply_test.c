/* SPDX-License-Identifier: Apache-2.0 */
/* One entry at a time; whole runs of a broker are tests/unit/broker/follower_test.c's. */
#include "broker/store/apply.h"

#include <criterion/criterion.h>
#include <string.h>

#include "broker/message.h"
#include "broker/session/outqueue.h"
#include "broker/store/partition_hash.h"
#include "broker/store/session_record.h"
#include "tests/unit/store/said.h"

static struct said s;

static void begin(void)
{
    said_begin(&s);
    said_opened(&s, SAID(1), "one");
}

static void end(void)
{
    cr_expect_eq(s.m.miscounted, 0);
    said_end(&s);
}

TestSuite(apply, .init = begin, .fini = end);

static void expect(uint64_t serial, const char *want)
{
    cr_expect_str_eq(said_session(&s, serial), want);
}

static void of_session(enum entry_type type)
{
    said(&s, &(struct entry){.type = type, .serial = SAID(1)});
}

static void done(uint64_t number)
{
    field_writer_begin(&s.entry);
    entry_write(&s.entry, &(struct entry){.type = ENTRY_DONE});
    entry_write_done(&s.entry, SAID(1), number);
    cr_assert_eq(said_bytes(&s, field_written(&s.entry)), APPLY_OK);
}

static void closed(uint64_t ends_ms, uint64_t sent_end, uint64_t will_due_ms)
{
    said(&s, &(struct entry){.type = ENTRY_CLOSED,
                             .serial = SAID(1),
                             .closed = {.expiry_s = 20,
                                        .ends_ms = ends_ms,
                                        .sent_end = sent_end,
                                        .will_due_ms = will_due_ms}});
}

Test(apply, a_session_comes_and_goes)
{
    expect(SAID(1), "one c1 e10 n0 s0 x0 [ ] [ ]");
    closed(700, 3, UINT64_MAX);
    expect(SAID(1), "one c0 e20 n0 s3 x0 ends700 [ ] [ ]");
    said_opened(&s, SAID(1), "one");
    expect(SAID(1), "one c1 e10 n0 s3 x0 [ ] [ ]");
    of_session(ENTRY_ENDED);
    expect(SAID(1), "-");
    closed(700, 3, UINT64_MAX); /* of one that is gone */
    expect(SAID(1), "-");
    cr_expect_eq(s.m.all.count, 0);
}

static void opened_with_will(void)
{
    said(&s, &(struct entry){
                 .type = ENTRY_OPENED,
                 .serial = SAID(1),
                 .opened = {.client_id = bytes_text("one"),
                            .expiry_s = 10,
                            .will = {.message = said_message("w", "ill"), .delay_s = 4}},
             });
}

Test(apply, a_will_is_due_and_on_its_way)
{
    const struct record_key key = record_key_due_will(SAID(1), 9);
    struct bytes value;
    struct due_will will;
    opened_with_will();
    expect(SAID(1), "one c1 e10 n0 s0 x0 will4 [ ] [ ]");
    closed(700, 0, 650);
    expect(SAID(1), "one c0 e20 n0 s0 x0 ends700 due650 will4 [ ] [ ]");
    said(&s, &(struct entry){.type = ENTRY_WILL_DUE,
                             .serial = SAID(1),
                             .will = {.number = 9, .message = said_message("w", "ill")}});
    expect(SAID(1), "one c0 e20 n0 s0 x0 ends700 [ ] [ ]");
    of_session(ENTRY_ENDED); /* its will is on its way all the same */
    cr_assert_eq(records_get(&s.m.records, &key, &value), CHECKPOINT_OK);
    cr_assert(due_will_read(value, &will));
    cr_expect(bytes_equal(will.message, said_message("w", "ill")));
    cr_expect_not(will.is_retained);
    const struct entry retained = {
        .type = ENTRY_WILL_RETAINED, .serial = SAID(1), .will = {.number = 9}};
    said(&s, &retained);
    cr_assert_eq(records_get(&s.m.records, &key, &value), CHECKPOINT_OK);
    cr_assert(due_will_read(value, &will));
    cr_expect(will.is_retained);
    said(&s, &(struct entry){.type = ENTRY_WILL_GONE, .serial = SAID(1), .will = {.number = 9}});
    said(&s, &retained); /* of none */
    cr_expect_eq(s.m.all.count, 0);
}

Test(apply, a_will_is_not_published)
{
    opened_with_will();
    of_session(ENTRY_WILL_OVER);
    expect(SAID(1), "one c1 e10 n0 s0 x0 [ ] [ ]");
    opened_with_will();
    closed(700, 0, UINT64_MAX);
    expect(SAID(1), "one c0 e20 n0 s0 x0 ends700 [ ] [ ]");
}

static void subscribed(enum entry_type type, uint64_t serial, const char *filter, uint8_t qos)
{
    said(&s, &(struct entry){.type = type,
                             .serial = serial,
                             .subscribed = {.filter = bytes_text(filter), .options.qos = qos}});
}

Test(apply, subscriptions)
{
    subscribed(ENTRY_SUBSCRIBED, SAID(1), "a/+", 1);
    subscribed(ENTRY_SUBSCRIBED, SAID(1), "a/+", 2);
    expect(SAID(1), "one c1 e10 n0 s0 x0 [ a/+/2 ] [ ]");
    subscribed(ENTRY_UNSUBSCRIBED, SAID(1), "b", 0);
    subscribed(ENTRY_SUBSCRIBED, SAID(2), "a/+", 2); /* which is not there */
    expect(SAID(1), "one c1 e10 n0 s0 x0 [ a/+/2 ] [ ]");
    cr_expect_eq(s.m.all.count, 2);
    subscribed(ENTRY_UNSUBSCRIBED, SAID(1), "a/+", 0);
    expect(SAID(1), "one c1 e10 n0 s0 x0 [ ] [ ]");
}

Test(apply, deliveries)
{
    said_queued(&s, SAID(1), 0, 1, NULL);
    said_queued(&s, SAID(1), 1, 2, NULL);
    said_queued(&s, SAID(1), 4, 2, NULL);
    said_queued(&s, SAID(7), 0, 1, NULL); /* which is not there */
    expect(SAID(1), "one c1 e10 n5 s0 x0 [ ] [ 0 1 4 ]");
    done(0);
    done(0);
    const struct entry released = {.type = ENTRY_RELEASED, .serial = SAID(1), .released = 1};
    said(&s, &released);
    said(&s, &released);
    expect(SAID(1), "one c1 e10 n5 s0 x0 [ ] [ 1released 4 ]");
    cr_expect_eq(s.m.all.count, 4);       /* with one body */
    said_queued(&s, SAID(1), 0, 1, NULL); /* the records have it already, and that it is done */
    expect(SAID(1), "one c1 e10 n5 s0 x0 [ ] [ 1released 4 ]");
    of_session(ENTRY_ENDED);
    cr_expect_eq(s.m.all.count, 0);
}

Test(apply, what_is_at_qos_1_is_not_released)
{
    said_queued(&s, SAID(1), 0, 1, NULL);
    said(&s, &(struct entry){.type = ENTRY_RELEASED, .serial = SAID(1), .released = 0});
    said(&s, &(struct entry){.type = ENTRY_RELEASED, .serial = SAID(1), .released = 9});
    expect(SAID(1), "one c1 e10 n1 s0 x0 [ ] [ 0 ]");
}

/* Its body has the number of its entry, and tells how large it is in memory. */
Test(apply, a_body_for_all_who_have_it)
{
    said_opened(&s, SAID(2), "two");
    field_writer_begin(&s.entry);
    entry_write(&s.entry,
                &(struct entry){.type = ENTRY_QUEUED, .queued.message = said_message("t", "x")});
    uint8_t identifiers[] = {3, 4};
    const struct stored_delivery d = {
        .number = 0, .qos = 1, .group = 77, .identifiers = bytes_of(identifiers, 2)};
    entry_write_recipient(&s.entry, SAID(1), &d);
    entry_write_recipient(&s.entry, SAID(2), &(struct stored_delivery){.number = 0, .qos = 2});
    cr_assert_eq(said_bytes(&s, field_written(&s.entry)), APPLY_OK);
    cr_expect_eq(s.applied.deliveries, 2);
    const uint64_t body = serial_body_of_entry(SAID_PARTITION, s.index);
    cr_expect_eq(records_memory_references(&s.m, body), 2);
    const struct record_key key = record_key_delivery(SAID(1), 0);
    struct bytes value;
    struct delivery_record r;
    cr_assert_eq(records_get(&s.m.records, &key, &value), CHECKPOINT_OK);
    cr_assert(delivery_record_read(value, &r));
    cr_expect_eq(r.body, body);
    cr_expect_eq(r.delivery.group, 77);
    cr_expect_eq(r.bytes,
                 sizeof(struct message) + 2 + sizeof(struct delivery_more) + 2 * sizeof(uint32_t));
    of_session(ENTRY_ENDED);
    cr_expect_eq(records_memory_references(&s.m, body), 1);
}

Test(apply, what_was_received)
{
    struct entry e = {
        .type = ENTRY_RECEIVED, .serial = SAID(1), .received = {.packet_id = 300, .exchange = 8}};
    said(&s, &e);
    e.received.packet_id = 65535;
    e.received.exchange = 7;
    said(&s, &e);
    e.received.packet_id = 2;
    said(&s, &e);
    said(&s, &e);
    expect(SAID(1), "one c1 e10 n0 s0 x8 r2 r300 r65535 [ ] [ ]");
    e.type = ENTRY_FREED;
    e.received.packet_id = 300;
    said(&s, &e);
    said(&s, &e);
    expect(SAID(1), "one c1 e10 n0 s0 x8 r2 r65535 [ ] [ ]");
}

Test(apply, what_was_begun)
{
    struct entry e = {
        .type = ENTRY_BEGUN, .serial = SAID(1), .received = {.packet_id = 300, .exchange = 8}};
    said(&s, &e);
    e.received.packet_id = 2;
    e.received.exchange = 9;
    said(&s, &e);
    said(&s, &e);
    expect(SAID(1), "one c1 e10 n0 s0 x0 b300:8 b2:9 [ ] [ ]");
    e.received.exchange = 10; /* the client has not meant the former one */
    said(&s, &e);
    expect(SAID(1), "one c1 e10 n0 s0 x0 b300:8 b2:10 [ ] [ ]");
    e.type = ENTRY_RECEIVED;
    e.received = (typeof(e.received)){.packet_id = 300, .exchange = 8};
    said(&s, &e);
    said(&s, &e);
    expect(SAID(1), "one c1 e10 n0 s0 x8 b2:10 r300 [ ] [ ]");
}

/* ---- operations */

static const struct operation exchange = {
    .origin = 1ull << 56 | 4, .number = 6, .kind = ORIGIN_EXCHANGES, .is_whole = true};

Test(apply, an_operation_is_applied_once)
{
    said_queued(&s, SAID(1), 0, 1, &exchange);
    cr_expect_not(s.applied.repetition);
    said_queued(&s, SAID(1), 1, 1, &exchange); /* another entry */
    cr_expect(s.applied.repetition);
    cr_expect_eq(s.applied.deliveries, 0);
    expect(SAID(1), "one c1 e10 n2 s0 x0 [ ] [ 0 ]");
    struct operation next = exchange;
    next.number = 5; /* out of order */
    said_queued(&s, SAID(1), 2, 1, &next);
    cr_expect(s.applied.repetition);
    next.number = 7;
    said_queued(&s, SAID(1), 3, 1, &next);
    cr_expect_not(s.applied.repetition);
    expect(SAID(1), "one c1 e10 n4 s0 x0 [ ] [ 0 3 ]");
}

/* Both have the same origin, and numbers that do not grow together. */
Test(apply, a_will_and_an_exchange_are_two_kinds)
{
    struct operation will = exchange;
    said_queued(&s, SAID(1), 0, 1, &exchange);
    will.kind = ORIGIN_WILLS;
    will.number = 2;
    said_queued(&s, SAID(1), 1, 1, &will);
    cr_expect_not(s.applied.repetition);
    said_queued(&s, SAID(1), 2, 1, &will);
    cr_expect(s.applied.repetition);
    const struct operation stream = {
        .origin = 4, .number = 1, .kind = ORIGIN_STREAM, .is_whole = true};
    said_queued(&s, SAID(1), 3, 1, &stream);
    cr_expect_not(s.applied.repetition);
    expect(SAID(1), "one c1 e10 n4 s0 x0 [ ] [ 0 1 3 ]");
}

Test(apply, an_operation_in_several_entries)
{
    struct operation part = exchange;
    said_opened(&s, SAID(2), "two");
    part.is_whole = false;
    said_queued(&s, SAID(1), 0, 1, &part);
    said_queued(&s, SAID(2), 0, 1, &part);
    cr_expect_not(s.applied.repetition);
    part.is_whole = true;
    said_queued(&s, SAID(1), 1, 1, &part);
    cr_expect_not(s.applied.repetition);
    said_queued(&s, SAID(1), 2, 1, &part);
    cr_expect(s.applied.repetition);
    expect(SAID(1), "one c1 e10 n3 s0 x0 [ ] [ 0 1 ]");
}

/* Its leader has written down how far sources have come before it captured its sessions. */
Test(apply, what_is_noted_already_is_no_repetition)
{
    static const struct operation first = {
        .origin = 9, .number = 1, .kind = ORIGIN_STREAM, .is_whole = true};
    struct said leader;
    said_begin(&leader);
    said_opened(&leader, SAID(1), "one");
    struct operation second = first;
    second.number = 2;
    said_queued(&leader, SAID(1), 0, 1, &first);
    said_queued(&leader, SAID(1), 1, 1, &second);
    const struct bytes entry = field_written(&leader.entry);
    cr_assert_eq(apply_beside(&s.a, 3, entry, &s.applied), APPLY_OK);
    said_queued(&s, SAID(1), 0, 1, &first);
    cr_expect_not(s.applied.repetition);
    said_queued(&s, SAID(1), 1, 1, &second);
    cr_expect_not(s.applied.repetition);
    expect(SAID(1), "one c1 e10 n2 s0 x0 [ ] [ 0 1 ]");
    struct partition_hash want, is;
    cr_assert_eq(partition_hash(&leader.m.records, SAID_PARTITION, &want), CHECKPOINT_OK);
    cr_assert_eq(partition_hash(&s.m.records, SAID_PARTITION, &is), CHECKPOINT_OK);
    cr_expect_arr_eq(&is, &want, sizeof is);
    said_end(&leader);
}

/* A repetition that is applied once more is one still, and so is what it came to. */
Test(apply, a_repetition_twice)
{
    struct partition_hash before, after;
    said_queued(&s, SAID(1), 0, 1, &exchange);
    said_queued(&s, SAID(1), 1, 1, &exchange);
    cr_assert_eq(partition_hash(&s.m.records, SAID_PARTITION, &before), CHECKPOINT_OK);
    s.index -= 2;
    said_queued(&s, SAID(1), 0, 1, &exchange);
    said_queued(&s, SAID(1), 1, 1, &exchange);
    cr_assert_eq(partition_hash(&s.m.records, SAID_PARTITION, &after), CHECKPOINT_OK);
    cr_expect_arr_eq(&before, &after, sizeof before);
}

/* ---- what is none */

static void refused(const struct entry *e, enum apply_err want)
{
    struct partition_hash before, after;
    cr_assert_eq(partition_hash(&s.m.records, SAID_PARTITION, &before), CHECKPOINT_OK);
    field_writer_begin(&s.entry);
    entry_write(&s.entry, e);
    const enum apply_err err = said_bytes(&s, field_written(&s.entry));
    cr_expect_eq(err, want, "%s, not: %s", apply_err_text(err), apply_err_text(want));
    cr_assert_eq(partition_hash(&s.m.records, SAID_PARTITION, &after), CHECKPOINT_OK);
    cr_expect_arr_eq(&before, &after, sizeof before);
}

Test(apply, refuses_what_it_cannot_read)
{
    uint8_t bad[] = {200};
    cr_expect_eq(said_bytes(&s, bytes_of(bad, 1)), APPLY_UNKNOWN);
    s.index = UINT64_MAX;
    cr_expect_eq(said_bytes(&s, bytes_of(bad, 1)), APPLY_NO_INDEX);
    s.index = SERIAL_INDEX_MAX;
    cr_expect_eq(said_bytes(&s, bytes_of(bad, 1)), APPLY_NO_INDEX);
}

Test(apply, refuses_what_is_not_of_the_partition)
{
    const struct bytes other = said_message("topic", "body");
    refused(&(struct entry){.type = ENTRY_RETAINED, .message = other}, APPLY_NOT_OF_SESSIONS);
    refused(&(struct entry){.type = ENTRY_UNRETAINED, .topic = bytes_text("t")},
            APPLY_NOT_OF_SESSIONS);
    refused(&(struct entry){.type = ENTRY_ENDED, .serial = serial_make(6, 1, 1)},
            APPLY_OTHER_PARTITION);
    refused(&(struct entry){.type = ENTRY_ENDED, .serial = 64}, APPLY_OTHER_PARTITION);
    field_writer_begin(&s.entry);
    entry_write(&s.entry, &(struct entry){.type = ENTRY_DONE});
    entry_write_done(&s.entry, SAID(1), 1);
    entry_write_done(&s.entry, serial_make(4, 1, 1), 1);
    cr_expect_eq(said_bytes(&s, field_written(&s.entry)), APPLY_OTHER_PARTITION);
    field_writer_begin(&s.entry);
    entry_write(&s.entry, &(struct entry){.type = ENTRY_QUEUED, .queued.message = other});
    entry_write_recipient(&s.entry, serial_make(4, 1, 1), &(struct stored_delivery){.qos = 1});
    cr_expect_eq(said_bytes(&s, field_written(&s.entry)), APPLY_OTHER_PARTITION);
}

Test(apply, refuses_what_no_client_can_have_said)
{
    struct entry e = {.type = ENTRY_SUBSCRIBED, .serial = SAID(1)};
    static const char *const filters[] = {"a#", "$share/g", "$share//a", "a/\xff"};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        e.subscribed.filter = bytes_text(filters[i]);
        refused(&e, APPLY_UNFIT);
    }
    refused(&(struct entry){.type = ENTRY_OPENED,
                            .serial = SAID(2),
                            .opened.client_id = bytes_text("\xff")},
            APPLY_UNFIT);
    refused(&(struct entry){.type = ENTRY_QUEUED, .queued.message = said_message("a/+", "x")},
            APPLY_UNFIT);
    refused(&(struct entry){.type = ENTRY_QUEUED,
                            .queued = {.message = said_message("a", "x"), .origin = 3}},
            APPLY_UNFIT);
    refused(&(struct entry){.type = ENTRY_WILL_DUE,
                            .serial = SAID(1),
                            .will = {.number = 1, .message = said_message("#", "x")}},
            APPLY_UNFIT);
}

Test(apply, a_record_that_cannot_be_read_is_an_error)
{
    const struct record_key key = record_key_of('s', SAID(1));
    cr_assert_eq(records_put(&s.m.records, &key, bytes_text("?")), CHECKPOINT_OK);
    field_writer_begin(&s.entry);
    entry_write(&s.entry, &(struct entry){.type = ENTRY_WILL_OVER, .serial = SAID(1)});
    cr_expect_eq(said_bytes(&s, field_written(&s.entry)), APPLY_RECORDS);
    cr_expect_eq(s.a.err, CHECKPOINT_CORRUPT);
}
