/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/journal.h"

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "cluster/journal/record.h"
#include "cluster/journal/recover.h"

#define BODY    100u                      /* bytes of each entry here */
#define RECORD  (RECORD_HEAD_BYTES + 104) /* what it takes on disk */
#define BATCH   (3 * RECORD)              /* so many gather */
#define SEGMENT (SEGMENT_HEAD_BYTES + 4 * RECORD)

static const uint8_t body[BODY] = "entry";
static const struct journal_conf conf = {.owner = {.store_id = "store", .shard = 1},
                                         .segment_bytes = SEGMENT,
                                         .gathering_bytes_max = BATCH,
                                         .body_bytes_max = BODY,
                                         .segments_ahead = 2};

static struct journal *j;
static struct journal_step step;
static uint64_t lsn;

static void begin(void)
{
    j = journal_create(&conf, NULL);
    cr_assert_not_null(j);
}

static void end(void)
{
    journal_destroy(j);
}

TestSuite(journal, .init = begin, .fini = end);

static enum journal_err append(uint16_t partition, uint64_t index)
{
    const struct bytes whole = bytes_of(body, sizeof body);
    return journal_append(j, partition, index, &whole, 1, &lsn);
}

static void appended(uint16_t partition, uint64_t index)
{
    cr_assert_eq(append(partition, index), JOURNAL_OK);
}

static void given(uint64_t number)
{
    cr_assert_eq(journal_segment_wanted(j), number);
    cr_assert_eq(journal_give_segment(j, number), JOURNAL_OK);
}

static void writes(uint64_t number, uint64_t offset, size_t records)
{
    cr_assert_eq(journal_next(j, &step), JOURNAL_WRITE);
    cr_expect_eq(step.number, number);
    cr_expect_eq(step.offset, offset);
    cr_expect_eq(step.len, records * RECORD + (offset == 0 ? SEGMENT_HEAD_BYTES : 0));
}

static void written(uint64_t number, uint64_t offset, size_t records)
{
    writes(number, offset, records);
    journal_done(j, 0);
}

/* The record at `at` of the step's bytes, which has to be good. */
static struct record record_of(size_t at)
{
    const struct segment_owner *const owner = &conf.owner;
    struct record r;
    cr_assert_eq(
        record_decode(&r, step.bytes + at, step.len - at, segment_seed(owner, step.number)),
        RECORD_OK);
    return r;
}

Test(journal, writes_nothing_when_nothing_has_come)
{
    cr_expect_eq(journal_next(j, &step), JOURNAL_IDLE);
    given(1);
    cr_expect_eq(journal_next(j, &step), JOURNAL_IDLE);
    cr_expect_eq(journal_durable(j), 0);
    cr_expect_eq(journal_last(j), 0);
}

Test(journal, needs_a_segment_and_gathers_meanwhile)
{
    appended(0, 1);
    cr_expect_eq(journal_next(j, &step), JOURNAL_NEEDS_SEGMENT);
    appended(0, 2);
    appended(0, 3);
    cr_expect_eq(append(0, 4), JOURNAL_FULL);
    cr_expect_eq(journal_gathered_bytes(j), BATCH);
    cr_expect_eq(journal_next(j, &step), JOURNAL_NEEDS_SEGMENT);
    given(1);
    written(1, 0, 3);
    cr_expect_eq(journal_durable(j), 3);
    appended(0, 4);
    cr_expect_eq(lsn, 4, "what was refused has no number");
}

Test(journal, begins_a_segment_with_its_head)
{
    given(1);
    appended(5, 9);
    writes(1, 0, 1);
    struct segment_head head;
    cr_assert_eq(segment_head_decode(step.bytes, &conf.owner, 1, &head), SEGMENT_BEGUN);
    cr_expect_eq(head.first_lsn, 1);
    cr_expect_eq(head.previous, 0);
    const struct record r = record_of(SEGMENT_HEAD_BYTES);
    cr_expect_eq(r.lsn, 1);
    cr_expect_eq(r.batch, 1);
    cr_expect_eq(r.partition, 5);
    cr_expect_eq(r.index, 9);
    cr_expect(bytes_equal(r.body, bytes_of(body, sizeof body)));
    journal_done(j, 0);
}

/* Group commit. */
Test(journal, what_gathers_during_a_step_is_the_next_one)
{
    given(1);
    appended(0, 1);
    writes(1, 0, 1);
    appended(1, 1);
    appended(0, 2);
    struct journal_step none;
    cr_expect_eq(journal_next(j, &none), JOURNAL_IDLE, "one at a time");
    cr_expect_eq(journal_durable(j), 0);
    cr_expect_eq(record_of(SEGMENT_HEAD_BYTES).lsn, 1, "the bytes stay as they are");
    journal_done(j, 0);
    cr_expect_eq(journal_durable(j), 1);
    writes(1, SEGMENT_HEAD_BYTES + RECORD, 2);
    cr_expect_eq(record_of(0).batch, 2);
    cr_expect_eq(record_of(RECORD).batch, 2);
    cr_expect_eq(record_of(RECORD).lsn, 3);
    journal_done(j, 0);
    cr_expect_eq(journal_durable(j), 3);
    cr_expect_eq(journal_next(j, &step), JOURNAL_IDLE);
}

Test(journal, a_batch_does_not_span_segments)
{
    given(1);
    given(2);
    appended(0, 1);
    appended(0, 2);
    written(1, 0, 2);
    for (uint64_t i = 3; i <= 5; i++) {
        appended(0, i); /* two of them would fit */
    }
    writes(2, 0, 3);
    struct segment_head head;
    cr_assert_eq(segment_head_decode(step.bytes, &conf.owner, 2, &head), SEGMENT_BEGUN);
    cr_expect_eq(head.first_lsn, 3);
    cr_expect_eq(head.previous, 1);
    cr_expect_eq(record_of(SEGMENT_HEAD_BYTES).lsn, 3, "sealed for the segment that it is in");
    journal_done(j, 0);
}

Test(journal, fills_a_segment_to_its_last_byte)
{
    given(1);
    given(2);
    appended(0, 1);
    appended(0, 2);
    written(1, 0, 2);
    appended(0, 3);
    appended(0, 4);
    written(1, SEGMENT_HEAD_BYTES + 2 * RECORD, 2);
    appended(0, 5);
    written(2, 0, 1);
}

Test(journal, a_body_of_parts_is_one)
{
    given(1);
    const struct bytes parts[] = {bytes_of("ab", 2), bytes_of(NULL, 0), bytes_of("cde", 3)};
    cr_assert_eq(journal_append(j, 0, 1, parts, 3, &lsn), JOURNAL_OK);
    cr_assert_eq(journal_append(j, 0, 2, NULL, 0, &lsn), JOURNAL_OK);
    cr_assert_eq(journal_next(j, &step), JOURNAL_WRITE);
    cr_expect(bytes_equal(record_of(SEGMENT_HEAD_BYTES).body, bytes_text("abcde")));
    cr_expect_eq(record_of(SEGMENT_HEAD_BYTES + RECORD_HEAD_BYTES + 8).body.len, 0);
    journal_done(j, 0);
}

Test(journal, refuses_what_is_too_large_for_good)
{
    static const uint8_t large[BODY + 1];
    const struct bytes parts[] = {bytes_of(large, BODY), bytes_of(large, 1)};
    cr_expect_eq(journal_append(j, 0, 1, parts, 2, &lsn), JOURNAL_TOO_LARGE);
    cr_expect_eq(journal_last(j), 0);
    appended(0, 1);
}

/* What the kernel may have forgotten of the first try is not asked for again. */
Test(journal, a_retry_goes_to_a_new_segment)
{
    given(1);
    given(2);
    appended(0, 1);
    written(1, 0, 1);
    appended(0, 2);
    writes(1, SEGMENT_HEAD_BYTES + RECORD, 1);
    appended(0, 3);
    journal_done(j, EIO);
    cr_expect_eq(journal_error(j), EIO);
    cr_expect_eq(journal_durable(j), 1);
    cr_expect_eq(append(0, 4), JOURNAL_FAILED);
    cr_expect_eq(journal_next(j, &step), JOURNAL_IDLE, "failed");

    journal_retry(j);
    cr_expect_eq(journal_error(j), 0);
    appended(0, 4);
    writes(2, 0, 1);
    struct segment_head head;
    cr_assert_eq(segment_head_decode(step.bytes, &conf.owner, 2, &head), SEGMENT_BEGUN);
    cr_expect_eq(head.first_lsn, 2);
    cr_expect_eq(record_of(SEGMENT_HEAD_BYTES).lsn, 2, "the same again");
    journal_done(j, 0);
    cr_expect_eq(journal_durable(j), 2);
    written(2, SEGMENT_HEAD_BYTES + RECORD, 2);
    cr_expect_eq(journal_durable(j), 4);
}

Test(journal, a_retry_waits_for_a_segment)
{
    given(1);
    appended(0, 1);
    writes(1, 0, 1);
    journal_done(j, EIO);
    journal_retry(j);
    cr_expect_eq(journal_next(j, &step), JOURNAL_NEEDS_SEGMENT);
    given(2);
    writes(2, 0, 1);
    journal_done(j, EIO);
    journal_retry(j);
    given(3);
    writes(3, 0, 1);
    struct segment_head head;
    cr_assert_eq(segment_head_decode(step.bytes, &conf.owner, 3, &head), SEGMENT_BEGUN);
    cr_expect_eq(head.previous, 0, "nothing in 1 and 2 is durable");
    journal_done(j, 0);
    cr_expect_eq(journal_oldest_needed(j), 3);
}

Test(journal, wants_as_many_segments_ahead_as_it_is_told)
{
    given(1);
    given(2);
    cr_expect_eq(journal_segment_wanted(j), 0);
    appended(0, 1);
    written(1, 0, 1);
    cr_expect_eq(journal_segment_wanted(j), 3);
    cr_expect_eq(journal_segment_wanted(j), 3, "until it is given");
}

/* Segments 1, 2, 3 with an entry of another partition each, and one of partition 0 in all. */
static void three_segments(void)
{
    for (uint16_t n = 1; n <= 3; n++) {
        given(n);
        appended(0, 10 * n);
        appended(n, 1);
        appended(0, 10 * n + 1);
        written(n, 0, 3);
    }
}

Test(journal, a_segment_is_needed_as_long_as_something_in_it_is_not_in_a_checkpoint)
{
    three_segments();
    cr_expect_eq(journal_oldest_needed(j), 1);
    journal_checkpointed(j, 0, 11);
    cr_expect_eq(journal_oldest_needed(j), 1, "partition 1 holds it");
    journal_checkpointed(j, 1, 1);
    cr_expect_eq(journal_oldest_needed(j), 2);
    journal_checkpointed(j, 0, 100);
    cr_expect_eq(journal_oldest_needed(j), 2);
    journal_checkpointed(j, 3, 1);
    cr_expect_eq(journal_oldest_needed(j), 2, "in order");
    journal_checkpointed(j, 2, 7);
    cr_expect_eq(journal_oldest_needed(j), 3, "the last one says where the numbering stands");
    given(4);
    appended(1, 2);
    appended(1, 3);
    writes(4, 0, 2);
    cr_expect_eq(journal_oldest_needed(j), 3, "the next one is not durable yet");
    journal_done(j, 0);
    cr_expect_eq(journal_oldest_needed(j), 4);
}

Test(journal, what_is_truncated_needs_no_segment_once_that_is_durable)
{
    three_segments();
    journal_checkpointed(j, 1, 1);
    journal_checkpointed(j, 2, 1);
    journal_checkpointed(j, 0, 9);
    cr_expect_eq(journal_oldest_needed(j), 1);
    cr_assert_eq(journal_truncate(j, 0, 10, &lsn), JOURNAL_OK);
    cr_expect_eq(lsn, 10);
    appended(0, 10); /* again */
    given(4);
    cr_expect_eq(journal_oldest_needed(j), 1);
    cr_assert_eq(journal_next(j, &step), JOURNAL_WRITE);
    const struct record r = record_of(step.number == 4 ? SEGMENT_HEAD_BYTES : 0);
    cr_expect_eq(r.kind, RECORD_TRUNCATE);
    cr_expect_eq(r.index, 10);
    cr_expect_eq(r.body.len, 0);
    cr_expect_eq(journal_oldest_needed(j), 1);
    journal_done(j, 0);
    cr_expect_eq(journal_oldest_needed(j), 3, "partition 3 has one there");
    journal_checkpointed(j, 3, 1);
    cr_expect_eq(journal_oldest_needed(j), 4);
}

Test(journal, a_truncated_entry_of_the_same_batch_holds_nothing)
{
    given(1);
    appended(0, 1);
    appended(0, 2);
    cr_assert_eq(journal_truncate(j, 0, 1, &lsn), JOURNAL_OK);
    cr_assert_eq(journal_next(j, &step), JOURNAL_WRITE);
    journal_done(j, 0);
    given(2);
    appended(1, 1);
    appended(1, 2);
    appended(1, 3);
    written(2, 0, 3);
    cr_expect_eq(journal_oldest_needed(j), 2);
}

Test(journal, goes_on_where_a_recovery_says)
{
    struct recovered_segment segments[] = {{.number = 7, .highest = {3}},
                                           {.number = 9, .highest = {0, 8}}};
    const struct recovered r = {.segment = 12,
                                .next_lsn = 20,
                                .highest = {3, 8},
                                .segments = segments,
                                .segments_count = 2};
    journal_destroy(j);
    j = journal_create(&conf, &r);
    cr_assert_not_null(j);
    cr_expect_eq(journal_durable(j), 19);
    cr_expect_eq(journal_oldest_needed(j), 7);
    journal_checkpointed(j, 0, 3);
    cr_expect_eq(journal_oldest_needed(j), 9);
    journal_checkpointed(j, 1, 8);
    cr_expect_eq(journal_oldest_needed(j), 9, "it says where the numbering stands");
    given(12);
    appended(0, 4);
    cr_expect_eq(lsn, 20);
    appended(1, 9);
    writes(12, 0, 2);
    struct segment_head head;
    cr_assert_eq(segment_head_decode(step.bytes, &conf.owner, 12, &head), SEGMENT_BEGUN);
    cr_expect_eq(head.previous, 9);
    cr_expect_eq(head.first_lsn, 20);
    cr_expect_eq(journal_oldest_needed(j), 9);
    journal_done(j, 0);
    cr_expect_eq(journal_oldest_needed(j), 12);
}
