/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/partition_hash.h"

#include <criterion/criterion.h>

#include "broker/store/session_record.h"
#include "tests/unit/store/said.h"

static struct said s;
static struct session_record session;
static struct delivery_record delivery;
static struct stored_options options;
static const char *body, *filter;
static uint64_t body_id;

/* A session with a subscription and a delivery, as they say. */
static void put_all(void)
{
    const struct record_key keys[] = {
        record_key_of('s', SAID(1)), record_key_filter(SAID(1), bytes_text(filter)),
        record_key_delivery(SAID(1), delivery.delivery.number), record_key_of('b', body_id)};
    struct field_writer w = {.at = NULL};
    cr_assert_eq(records_drop_all(&s.m.records, &(struct record_key){.at = {'f'}, .len = 1}),
                 CHECKPOINT_OK);
    session_record_write(&w, &session);
    cr_assert_eq(records_put(&s.m.records, &keys[0], field_written(&w)), CHECKPOINT_OK);
    field_writer_begin(&w);
    put_run(&w, bytes_text(filter));
    stored_options_write(&w, &options);
    cr_assert_eq(records_put(&s.m.records, &keys[1], field_written(&w)), CHECKPOINT_OK);
    field_writer_begin(&w);
    delivery.body = body_id;
    delivery_record_write(&w, &delivery);
    cr_assert_eq(records_put(&s.m.records, &keys[2], field_written(&w)), CHECKPOINT_OK);
    if (body_id != 0) {
        cr_assert_eq(records_add(&s.m.records, &keys[3], said_message("t", body)), CHECKPOINT_OK);
    }
    field_writer_fini(&w);
}

static struct partition_hash hash(void)
{
    struct partition_hash h;
    cr_assert_eq(partition_hash(&s.m.records, SAID_PARTITION, &h), CHECKPOINT_OK);
    return h;
}

static void begin(void)
{
    static const uint8_t received[] = {3, 1, 2};
    said_begin(&s);
    session = (struct session_record){.client_id = bytes_text("one"),
                                      .expiry_s = 5,
                                      .ends_ms = 70,
                                      .next_number = 9,
                                      .sent_end = 3,
                                      .exchange = 6,
                                      .will_due_ms = UINT64_MAX,
                                      .received = bytes_of(received, 3)};
    delivery = (struct delivery_record){.bytes = 100, .delivery = {.number = 7, .qos = 2}};
    options = (struct stored_options){.qos = 1};
    body = "payload";
    body_id = 5;
    filter = "a/+";
    put_all();
}

static void end(void)
{
    said_end(&s);
}

TestSuite(partition_hash, .init = begin, .fini = end);

/* Since the last time something has been changed that `counts`, or does not. */
static void changed(bool counts)
{
    static uint64_t before;
    static bool has_before;
    put_all();
    const uint64_t now = hash().sessions_hash;
    cr_expect(!has_before || (now != before) == counts);
    before = now;
    has_before = true;
}

Test(partition_hash, what_counts)
{
    changed(false);
    session.client_id = bytes_text("other");
    changed(true);
    session.expiry_s++;
    changed(true);
    session.ends_ms++;
    changed(true);
    session.next_number++;
    changed(true);
    session.exchange++;
    changed(true);
    session.received.len--;
    changed(true);
    session.will = (struct stored_will){.message = said_message("w", "ill"), .delay_s = 3};
    session.will_due_ms = 50;
    changed(true);
    session.will_due_ms++;
    changed(true);
    session.will.message = bytes_of(NULL, 0);
    changed(true);
    session.sent_end = 8; /* it was sent */
    changed(true);
    options.qos = 2;
    changed(true);
    filter = "b";
    changed(true);
    delivery.delivery.retain = true;
    changed(true);
    delivery.delivery.qos = 1;
    changed(true);
    body = "another";
    body_id = 6;
    changed(true);
    session.connected = true;
    changed(true);
    delivery.delivery.qos = 2;
    changed(true);
    body_id = 0; /* released */
    delivery.bytes = 0;
    changed(true);
}

Test(partition_hash, what_does_not)
{
    static const uint8_t received[] = {1, 2, 3};
    changed(false);
    body_id = 8; /* the same, once more */
    changed(false);
    delivery.bytes++;
    changed(false);
    delivery.delivery.group = 77;
    changed(false);
    session.received = bytes_of(received, 3);
    changed(false);
    session.sent_end = 7; /* none of what is there was */
    changed(false);
    session.will_due_ms = 5; /* without a will */
    changed(false);
    session.connected = true;
    changed(true);
    session.ends_ms++;
    changed(false);
    session.sent_end = 8;
    changed(false);
    body_id = 0;
    delivery.bytes = 0;
    changed(true);
    delivery.delivery.retain = true; /* when it was not released yet */
    changed(false);
}

Test(partition_hash, of_sessions_that_are_there)
{
    const struct partition_hash before = hash();
    const struct record_key keys[] = {
        record_key_delivery(SAID(0), 1), record_key_delivery(SAID(2), 1),
        record_key_filter(SAID(0), bytes_text("a")),
        record_key_of('s', serial_make(SAID_PARTITION + 1, 1, 1)), record_key_of('s', 1)};
    cr_expect_eq(before.sessions, 1);
    cr_expect_eq(before.filters, 1);
    cr_expect_eq(before.deliveries, 1);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        cr_assert_eq(records_put(&s.m.records, &keys[i], bytes_text("?")), CHECKPOINT_OK);
    }
    const struct partition_hash after = hash();
    cr_expect_arr_eq(&before, &after, sizeof before);
}

Test(partition_hash, what_is_beside)
{
    const struct partition_hash before = hash();
    const struct operation exchange = {
        .origin = 1ull << 56 | 4, .number = 6, .kind = ORIGIN_EXCHANGES, .is_whole = true};
    said_queued(&s, SAID(9), 0, 1, &exchange);
    const struct partition_hash origin = hash();
    cr_expect_eq(origin.sessions_hash, before.sessions_hash);
    cr_expect_neq(origin.beside_hash, before.beside_hash);
    cr_expect_eq(origin.origins, 1);
    said(&s, &(struct entry){.type = ENTRY_WILL_DUE,
                             .serial = SAID(9),
                             .will = {.number = 3, .message = said_message("w", "ill")}});
    const struct partition_hash will = hash();
    cr_expect_eq(will.wills, 1);
    cr_expect_neq(will.beside_hash, origin.beside_hash);
    cr_expect_eq(will.sessions_hash, before.sessions_hash);
}

Test(partition_hash, what_cannot_be_read)
{
    struct partition_hash h;
    const struct record_key key = record_key_delivery(SAID(1), 8);
    cr_assert_eq(records_put(&s.m.records, &key, bytes_text("?")), CHECKPOINT_OK);
    cr_expect_eq(partition_hash(&s.m.records, SAID_PARTITION, &h), CHECKPOINT_CORRUPT);
}
