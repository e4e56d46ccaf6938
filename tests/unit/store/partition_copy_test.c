/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/partition_copy.h"

#include <criterion/criterion.h>

#include "broker/store/partition_hash.h"
#include "broker/store/session_record.h"
#include "tests/unit/store/said.h"

static struct said here, there;
static struct field_writer part;

static const struct operation exchange = {
    .origin = 1ull << 56 | 4, .number = 6, .kind = ORIGIN_EXCHANGES, .is_whole = true};

static void begin(void)
{
    said_begin(&here);
    said_begin(&there);
    said_opened(&here, SAID(1), "one");
    said_opened(&here, SAID(2), "two");
    said(&here,
         &(struct entry){.type = ENTRY_SUBSCRIBED,
                         .serial = SAID(1),
                         .subscribed = {.filter = bytes_text("$share/g/a"), .options.qos = 2}});
    said_queued(&here, SAID(1), 0, 1, NULL);
    said_queued(&here, SAID(1), 1, 2, &exchange);
    said_queued(&here, SAID(2), 0, 2, NULL);
    said(&here, &(struct entry){.type = ENTRY_RELEASED, .serial = SAID(2), .released = 0});
    said(&here, &(struct entry){.type = ENTRY_WILL_DUE,
                                .serial = SAID(2),
                                .will = {.number = 3, .message = said_message("w", "ill")}});
}

static void end(void)
{
    cr_expect_eq(here.m.miscounted, 0);
    cr_expect_eq(there.m.miscounted, 0);
    said_end(&here);
    said_end(&there);
    field_writer_fini(&part);
}

TestSuite(partition_copy, .init = begin, .fini = end);

static struct partition_hash hash_of(const struct said *s)
{
    struct partition_hash hash;
    cr_assert_eq(partition_hash(&s->m.records, SAID_PARTITION, &hash), CHECKPOINT_OK);
    return hash;
}

static enum copy_err copy_parts(size_t bytes_max, unsigned *parts)
{
    struct copy_out *const out = copy_out_create(&here.m.records, SAID_PARTITION);
    struct copy_in in;
    bool is_last = false;
    enum copy_err err = copy_in_begin(&in, &there.m.records, SAID_PARTITION);
    for (*parts = 0; err == COPY_OK && !is_last; ++*parts) {
        cr_assert_eq(copy_out_part(out, bytes_max, &part, &is_last), COPY_OK);
        err = copy_in_part(&in, field_written(&part));
    }
    cr_expect(err != COPY_OK || in.is_over);
    copy_in_end(&in);
    copy_out_destroy(out);
    return err;
}

Test(partition_copy, is_the_same)
{
    for (size_t bytes_max = 0; bytes_max < 400; bytes_max += 13) {
        unsigned parts;
        cr_assert_eq(copy_parts(bytes_max, &parts), COPY_OK);
        cr_expect(bytes_max > 0 || parts == 9, "%u", parts); /* one of each record, and the end */
        const struct partition_hash want = hash_of(&here);
        const struct partition_hash is = hash_of(&there);
        cr_expect_eq(want.deliveries, 3);
        cr_expect_eq(want.wills, 1);
        cr_expect_eq(want.origins, 1);
        cr_expect_arr_eq(&is, &want, sizeof is);
        cr_expect_eq(there.m.all.count, here.m.all.count);
        cr_expect_eq(copy_parts(bytes_max, &parts), COPY_NOT_EMPTY);
        cr_assert_eq(partition_erase(&there.m.records, SAID_PARTITION), CHECKPOINT_OK);
        cr_expect_eq(there.m.all.count, 0);
    }
}

Test(partition_copy, of_nothing)
{
    unsigned parts;
    cr_assert_eq(partition_erase(&here.m.records, SAID_PARTITION), CHECKPOINT_OK);
    cr_expect_eq(copy_parts(100, &parts), COPY_OK);
    cr_expect_eq(parts, 1);
    cr_expect_eq(there.m.all.count, 0);
}

/* Other partitions have nothing to do with it. */
Test(partition_copy, erases_one_alone)
{
    const struct record_key other = record_key_of('s', serial_make(SAID_PARTITION + 1, 1, 1));
    const struct record_key local = record_key_of('s', SAID_PARTITION);
    cr_assert_eq(records_put(&here.m.records, &other, bytes_text("x")), CHECKPOINT_OK);
    cr_assert_eq(records_put(&here.m.records, &local, bytes_text("x")), CHECKPOINT_OK);
    cr_assert_eq(partition_erase(&here.m.records, SAID_PARTITION), CHECKPOINT_OK);
    cr_expect_eq(here.m.all.count, 2);
}

/* What is there goes on from the copy as it does here. */
Test(partition_copy, knows_operations_and_numbers)
{
    unsigned parts;
    cr_assert_eq(copy_parts(100, &parts), COPY_OK);
    there.index = here.index;
    said_queued(&there, SAID(1), 2, 1, &exchange);
    cr_expect(there.applied.repetition);
    said_queued(&there, SAID(1), 3, 1, NULL);
    cr_expect_str_eq(said_session(&there, SAID(1)),
                     "one c1 e10 n4 s0 x0 [ $share/g/a/2 ] [ 0 1 3 ]");
}

/* The body goes while the delivery is being read: so does the delivery, or it is released. */
static const struct records *under;
static unsigned gets_left;
static struct entry meanwhile;

static enum checkpoint_err get_and_change(void *context, struct bytes key, struct bytes *value)
{
    if (key.at[0] == 'b' && gets_left-- == 0) {
        field_writer_begin(&here.entry);
        entry_write(&here.entry, &meanwhile);
        if (meanwhile.type == ENTRY_DONE) {
            entry_write_done(&here.entry, SAID(1), 1);
        }
        cr_assert_eq(said_bytes(&here, field_written(&here.entry)), APPLY_OK);
    }
    return under->get(context, key, value);
}

static void copy_while(const struct entry *change, unsigned gets, const char *want)
{
    struct records changing = here.m.records;
    struct copy_in in;
    bool is_last;
    under = &here.m.records;
    gets_left = gets;
    meanwhile = *change;
    changing.get = get_and_change;
    struct copy_out *const out = copy_out_create(&changing, SAID_PARTITION);
    cr_assert_eq(copy_in_begin(&in, &there.m.records, SAID_PARTITION), COPY_OK);
    cr_assert_eq(copy_out_part(out, 10000, &part, &is_last), COPY_OK);
    cr_assert(is_last);
    cr_assert_eq(copy_in_part(&in, field_written(&part)), COPY_OK);
    cr_expect_str_eq(said_session(&there, SAID(1)), want);
    copy_in_end(&in);
    copy_out_destroy(out);
}

Test(partition_copy, a_body_goes_meanwhile)
{
    copy_while(&(struct entry){.type = ENTRY_DONE}, 1,
               "one c1 e10 n2 s0 x0 [ $share/g/a/2 ] [ 0 ]");
}

Test(partition_copy, a_delivery_is_released_meanwhile)
{
    copy_while(&(struct entry){.type = ENTRY_RELEASED, .serial = SAID(1), .released = 1}, 1,
               "one c1 e10 n2 s0 x0 [ $share/g/a/2 ] [ 0 1released ]");
}

Test(partition_copy, a_body_that_is_not_there_is_an_error)
{
    struct records_memory *const m = &here.m;
    bool is_last;
    const struct record_key key = record_key_of('b', serial_body_of_entry(SAID_PARTITION, 4));
    key_map_remove(&m->all, key_map_find(&m->all, record_key_bytes(&key)));
    struct copy_out *const out = copy_out_create(&m->records, SAID_PARTITION);
    cr_expect_eq(copy_out_part(out, 10000, &part, &is_last), COPY_RECORDS);
    cr_expect_eq(copy_out_err(out), CHECKPOINT_CORRUPT);
    copy_out_destroy(out);
    struct partition_hash hash;
    cr_expect_eq(partition_hash(&m->records, SAID_PARTITION, &hash), CHECKPOINT_CORRUPT);
}

/* ---- at the receiver */

static struct copy_in in;

static void begin_in(void)
{
    cr_assert_eq(copy_in_begin(&in, &there.m.records, SAID_PARTITION), COPY_OK);
    field_writer_begin(&part);
    put_number(&part, COPY_VERSION);
    put_number(&part, SAID_PARTITION);
    put_number(&part, 0);
    put_number(&part, 0);
}

static void expect_in(enum copy_err want)
{
    const enum copy_err err = copy_in_part(&in, field_written(&part));
    cr_expect_eq(err, want, "%s, not: %s", copy_err_text(err), copy_err_text(want));
    copy_in_end(&in);
    cr_assert_eq(partition_erase(&there.m.records, SAID_PARTITION), CHECKPOINT_OK);
    cr_expect_eq(there.m.all.count, 0);
}

static void put_session(uint64_t serial, const char *client_id)
{
    struct field_writer value = {.at = NULL};
    const struct session_record r = {.client_id = bytes_text(client_id), .next_number = 9};
    session_record_write(&value, &r);
    put_number(&part, 's');
    put_number(&part, serial);
    put_run(&part, field_written(&value));
    field_writer_fini(&value);
}

static void put_filter(const char *filter)
{
    struct field_writer value = {.at = NULL};
    put_run(&value, bytes_text(filter));
    stored_options_write(&value, &(struct stored_options){.qos = 1});
    put_number(&part, 'f');
    put_number(&part, SAID(1));
    put_run(&part, field_written(&value));
    field_writer_fini(&value);
}

/* body: its number in the copy; with the message, if there is one. */
static void put_delivery(uint64_t number, uint8_t qos, uint64_t body, const char *topic,
                         uint64_t bytes)
{
    put_number(&part, 'q');
    put_number(&part, SAID(1));
    put_number(&part, body);
    if (topic != NULL) {
        put_run(&part, said_message(topic, "x"));
    }
    put_number(&part, bytes);
    stored_delivery_write(&part, &(struct stored_delivery){.number = number, .qos = qos});
}

static void put_origin(uint64_t origin, uint64_t number, uint64_t index)
{
    put_number(&part, 'o');
    put_number(&part, ORIGIN_STREAM);
    put_number(&part, origin);
    put_number(&part, number);
    put_number(&part, 1);
    put_number(&part, index);
}

Test(partition_copy, parts_come_in_order)
{
    begin_in();
    put_session(SAID(1), "one");
    cr_expect_eq(copy_in_part(&in, field_written(&part)), COPY_OK);
    expect_in(COPY_OUT_OF_ORDER); /* again */

    begin_in();
    part.at[2] = 1; /* the second one first */
    expect_in(COPY_OUT_OF_ORDER);
    begin_in();
    part.at[3] = 1; /* one record is missing */
    expect_in(COPY_OUT_OF_ORDER);
    begin_in();
    part.at[0]++;
    expect_in(COPY_UNKNOWN);
    begin_in();
    part.at[1]++;
    expect_in(COPY_OTHER_PARTITION);
    begin_in();
    put_number(&part, 0);
    cr_expect_eq(copy_in_part(&in, field_written(&part)), COPY_OK);
    cr_expect(in.is_over);
    part.at[2] = 1;
    expect_in(COPY_OUT_OF_ORDER); /* it was over */
    begin_in();
    put_number(&part, 0);
    put_number(&part, 0);
    expect_in(COPY_UNKNOWN); /* something behind its end */
}

Test(partition_copy, records_come_in_order)
{
    begin_in();
    put_session(SAID(2), "two");
    put_session(SAID(1), "one");
    expect_in(COPY_OUT_OF_ORDER);
    begin_in();
    put_session(SAID(1), "one");
    put_session(SAID(1), "one");
    expect_in(COPY_OUT_OF_ORDER);
    begin_in();
    put_delivery(1, 1, 1, "t", 9);
    put_session(SAID(1), "one");
    expect_in(COPY_OUT_OF_ORDER);
    begin_in();
    put_session(serial_make(SAID_PARTITION + 1, 1, 1), "one");
    expect_in(COPY_OTHER_PARTITION);
    begin_in();
    put_session(1, "one");
    expect_in(COPY_OTHER_PARTITION);
}

Test(partition_copy, what_no_node_can_have)
{
    begin_in();
    put_session(SAID(1), "\xff");
    expect_in(COPY_UNFIT);
    begin_in();
    put_filter("a#");
    expect_in(COPY_UNFIT);
    begin_in();
    put_delivery(1, 1, 1, "a/+", 9);
    expect_in(COPY_UNFIT);
    begin_in();
    put_delivery(1, 1, 2, NULL, 9); /* a body that was not sent */
    expect_in(COPY_UNFIT);
    begin_in();
    put_delivery(1, 1, 0, NULL, 0); /* released, and QoS 1 */
    expect_in(COPY_UNFIT);
    begin_in();
    put_delivery(1, 2, 0, NULL, 8);
    expect_in(COPY_UNFIT);
    begin_in();
    put_delivery(1, 1, 1, "a", UINT32_MAX);
    expect_in(COPY_UNFIT);
    begin_in();
    put_origin(1, 0, 5);
    expect_in(COPY_UNFIT);
    begin_in();
    put_origin(1, 5, 0);
    expect_in(COPY_UNFIT);
    begin_in();
    put_origin(1, 5, 8);
    put_origin(2, 5, 8); /* of the same entry */
    expect_in(COPY_UNFIT);
    begin_in();
    put_number(&part, 'x');
    expect_in(COPY_UNKNOWN);
    begin_in();
    put_delivery(1, 1, 1, "a", 100);
    put_delivery(2, 2, 1, NULL, 100);
    put_delivery(3, 2, 0, NULL, 0);
    expect_in(COPY_OK);
}

/* What was there was erased, but not yet on disk. */
Test(partition_copy, a_body_of_that_number_is_there)
{
    const struct record_key key = record_key_of('b', serial_body_of_copy(SAID_PARTITION, 1));
    begin_in();
    cr_assert_eq(records_add(&there.m.records, &key, bytes_text("old")), CHECKPOINT_OK);
    put_delivery(1, 1, 1, "a", 100);
    cr_expect_eq(copy_in_part(&in, field_written(&part)), COPY_NOT_EMPTY);
    copy_in_end(&in);
}
