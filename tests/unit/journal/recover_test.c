/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "cluster/journal/crc32c.h"
#include "cluster/journal/journal.h"
#include "tests/unit/journal/disk.h"

#define RECORD  (RECORD_HEAD_BYTES + 8) /* what each takes on disk here */
#define SEGMENT (SEGMENT_HEAD_BYTES + 4 * RECORD)

static const struct journal_conf conf = {.owner = {.store_id = "a store", .shard = 1},
                                         .segment_bytes = SEGMENT,
                                         .gathering_bytes_max = 4 * RECORD,
                                         .body_bytes_max = 8,
                                         .segments_ahead = 1};
static struct random rng;
static struct disk disk;
static struct journal *j;
static struct journal_step step;
static struct recovered r;
static char seen[256]; /* partition.index=body, of each entry */
static unsigned stop_after;

static void begin(void)
{
    rng = random_init();
    disk_init(&disk, &rng, SEGMENT);
    j = journal_create(&conf, NULL);
    cr_assert_not_null(j);
}

static void end(void)
{
    journal_destroy(j);
    recovered_fini(&r);
    disk_fini(&disk);
}

TestSuite(recover, .init = begin, .fini = end);

static void append(uint16_t partition, uint64_t index, const char *text)
{
    const struct bytes body = bytes_text(text);
    uint64_t lsn;
    cr_assert_eq(journal_append(j, partition, index, &body, 1, &lsn), JOURNAL_OK);
}

static void truncate_from(uint16_t partition, uint64_t index)
{
    uint64_t lsn;
    cr_assert_eq(journal_truncate(j, partition, index, &lsn), JOURNAL_OK);
}

static void write_only(void)
{
    while (journal_next(j, &step) == JOURNAL_NEEDS_SEGMENT) {
        const uint64_t wanted = journal_segment_wanted(j);
        disk_create(&disk, wanted);
        cr_assert_eq(journal_give_segment(j, wanted), JOURNAL_OK);
    }
    disk_write(&disk, step.number, step.offset, step.bytes, step.len);
}

static void write_and_sync(void)
{
    write_only();
    disk_sync(&disk, step.number);
    journal_done(j, 0);
}

static bool on_entry(void *context, const struct record *entry)
{
    char *const to = context;
    snprintf(to + strlen(to), sizeof seen - strlen(to), "%u.%llu=%.*s ", entry->partition,
             (unsigned long long)entry->index, (int)entry->body.len, (const char *)entry->body.at);
    return stop_after == 0 || --stop_after > 0;
}

static enum recover_err recover(void)
{
    const struct recover_source source = disk_source(&disk);
    const struct recover_visitor visitor = {.entry = on_entry, .context = seen};
    recovered_fini(&r);
    seen[0] = '\0';
    return recover_journal(&r, &conf.owner, &source, &visitor);
}

static void is_bad_at(enum recover_err want, uint64_t segment, uint64_t offset)
{
    const enum recover_err err = recover();
    cr_assert_eq(err, want, "%s", recover_err_text(err));
    cr_assert_eq(r.bad_segment, segment, "%llu", (unsigned long long)r.bad_segment);
    cr_assert_eq(r.bad_offset, offset, "%llu", (unsigned long long)r.bad_offset);
    cr_assert(!r.torn);
    cr_assert_str_eq(seen, "");
}

static void flip(uint64_t number, size_t at)
{
    disk_find(&disk, number)->kept[at] ^= 1;
}

/* Segments 1 to 3, two batches of two records in each. */
static void three_segments(void)
{
    for (uint64_t i = 1; i <= 11; i += 2) {
        append(0, i, "a");
        append(0, i + 1, "b");
        write_and_sync();
    }
    cr_assert_eq(disk.count, 3);
}

Test(recover, nothing_is_a_journal_that_has_not_begun)
{
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_eq(r.segment, 1);
    cr_expect_eq(r.next_lsn, 1);
    disk_create(&disk, 1);
    disk_create(&disk, 2);
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_eq(r.segment, 3);
    cr_expect_eq(r.next_lsn, 1);
    cr_expect(!r.torn);
    cr_expect_eq(r.segments_count, 0);
}

Test(recover, gives_all_in_order)
{
    append(5, 1, "one");
    append(0, 7, "two");
    write_and_sync();
    append(5, 2, "three");
    write_and_sync();
    append(0, 8, "");
    append(5, 3, "five");
    append(5, 9, "six");
    write_and_sync();
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "5.1=one 0.7=two 5.2=three 0.8= 5.3=five 5.9=six ");
    cr_expect_eq(r.next_lsn, 7);
    cr_expect_eq(r.segment, 3);
    cr_expect_eq(r.entries, 6);
    cr_expect_eq(r.bytes, 18);
    cr_expect_eq(r.highest[5], 9);
    cr_expect_eq(r.highest[0], 8);
    cr_assert_eq(r.segments_count, 2);
    cr_expect_eq(r.segments[0].number, 1);
    cr_expect_eq(r.segments[0].highest[5], 2);
    cr_expect_eq(r.segments[1].number, 2);
    cr_expect_eq(r.segments[1].highest[0], 8);
    cr_expect(!r.torn);
}

Test(recover, what_was_truncated_later_is_passed_over)
{
    append(0, 1, "a");
    append(0, 2, "b");
    append(1, 2, "c");
    write_and_sync();
    truncate_from(0, 2);
    append(0, 2, "d");
    append(0, 3, "e");
    write_and_sync();
    truncate_from(0, 3);
    truncate_from(0, 2);
    append(0, 2, "f");
    write_and_sync();
    truncate_from(0, 3); /* of nothing */
    append(0, 3, "g");
    write_and_sync();
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "0.1=a 1.2=c 0.2=f 0.3=g ");
    cr_expect_eq(r.entries, 4);
    cr_expect_eq(r.void_entries, 3);
    cr_expect_eq(r.highest[0], 3);
    cr_expect_eq(r.segments[0].highest[0], 1);
}

Test(recover, stops_when_the_visitor_says_so)
{
    three_segments();
    stop_after = 3;
    cr_expect_eq(recover(), RECOVER_STOPPED);
    cr_expect_str_eq(seen, "0.1=a 0.2=b 0.3=a ");
}

Test(recover, says_where_and_how_far_it_is_torn)
{
    append(0, 1, "a");
    write_and_sync();
    append(0, 2, "b");
    append(0, 3, "c");
    append(0, 4, "d");
    write_and_sync();
    const size_t second = SEGMENT_HEAD_BYTES + 2 * RECORD;
    for (size_t bit = 0; bit < 8 * RECORD; bit++) {
        uint8_t *const at = disk_find(&disk, 1)->kept + second + bit / 8;
        *at ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(recover(), RECOVER_OK);
        cr_assert_str_eq(seen, "0.1=a 0.2=b ");
        cr_assert(r.torn);
        cr_assert_eq(r.bad_segment, 1);
        cr_assert_eq(r.bad_offset, second);
        cr_assert_eq(r.bad_bytes, 2 * RECORD);
        cr_assert_eq(r.next_lsn, 3);
        cr_assert_eq(r.segment, 2);
        *at ^= (uint8_t)(1u << bit % 8);
    }
}

Test(recover, a_segment_whose_first_batch_is_torn_is_torn_from_its_start)
{
    append(0, 1, "a");
    write_and_sync();
    for (uint64_t i = 2; i <= 5; i++) {
        append(0, i, "b");
    }
    write_and_sync();
    memset(disk_find(&disk, 2)->kept, 0, SEGMENT_HEAD_BYTES + RECORD);
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "0.1=a ");
    cr_expect(r.torn);
    cr_expect_eq(r.bad_segment, 2);
    cr_expect_eq(r.bad_offset, 0);
    cr_expect_eq(r.bad_bytes, SEGMENT_HEAD_BYTES + 4 * RECORD);
    cr_expect_eq(r.segment, 3);
    memset(disk_find(&disk, 2)->kept, 0, SEGMENT);
    memset(disk_find(&disk, 2)->kept, 7, SEGMENT_HEAD_BYTES);
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect(r.torn, "a head that is none, and nothing else");
    cr_expect_eq(r.bad_bytes, SEGMENT_HEAD_BYTES);
}

Test(recover, a_batch_that_is_followed_by_another_was_durable)
{
    three_segments();
    flip(3, SEGMENT_HEAD_BYTES + RECORD + 5);
    is_bad_at(RECOVER_CORRUPT, 3, SEGMENT_HEAD_BYTES + RECORD);
    flip(3, SEGMENT_HEAD_BYTES + RECORD + 5);
    flip(3, SEGMENT_HEAD_BYTES + RECORD + 20); /* a sector: the end of a batch, and a beginning */
    flip(3, SEGMENT_HEAD_BYTES + 2 * RECORD + 20);
    is_bad_at(RECOVER_CORRUPT, 3, SEGMENT_HEAD_BYTES + RECORD);
    flip(3, SEGMENT_HEAD_BYTES + RECORD + 20);
    flip(3, SEGMENT_HEAD_BYTES + 2 * RECORD + 20);
    flip(1, SEGMENT_HEAD_BYTES + 3 * RECORD + RECORD_HEAD_BYTES);
    is_bad_at(RECOVER_CORRUPT, 1, SEGMENT_HEAD_BYTES + 3 * RECORD);
    flip(1, SEGMENT_HEAD_BYTES + 3 * RECORD + RECORD_HEAD_BYTES);
    flip(1, 3);
    is_bad_at(RECOVER_CORRUPT, 1, 0);
    flip(1, 3);
    flip(2, 3);
    is_bad_at(RECOVER_CORRUPT, 2, 0);
    flip(2, 3);
    flip(3, 3);
    is_bad_at(RECOVER_CORRUPT, 3, 0);
    flip(3, 3);
    cr_expect_eq(recover(), RECOVER_OK);
}

Test(recover, a_length_that_is_spoilt_hides_nothing)
{
    three_segments();
    for (size_t at = 8; at < 12; at++) {
        flip(2, SEGMENT_HEAD_BYTES + at);
        is_bad_at(RECOVER_CORRUPT, 2, SEGMENT_HEAD_BYTES);
        flip(2, SEGMENT_HEAD_BYTES + at);
    }
}

Test(recover, a_segment_between_others_is_missed)
{
    three_segments();
    disk_remove(&disk, 2);
    is_bad_at(RECOVER_MISSING, 2, 0);
    disk_create(&disk, 2);
    is_bad_at(RECOVER_CORRUPT, 2, 0);
}

Test(recover, the_oldest_are_not_missed)
{
    three_segments();
    disk_remove(&disk, 1);
    cr_expect_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "0.5=a 0.6=b 0.7=a 0.8=b 0.9=a 0.10=b 0.11=a 0.12=b ");
    disk_remove(&disk, 2);
    cr_expect_eq(recover(), RECOVER_OK);
    cr_expect_eq(r.next_lsn, 13);
}

Test(recover, a_number_may_be_left_out)
{
    append(0, 1, "a");
    write_and_sync();
    cr_assert_eq(recover(), RECOVER_OK);
    r.segment = 5;
    journal_destroy(j);
    j = journal_create(&conf, &r);
    append(0, 2, "b");
    write_and_sync();
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "0.1=a 0.2=b ");
    cr_expect_eq(r.segments[1].number, 5);
}

/* Wherever the first try has got to. */
Test(recover, a_batch_that_was_written_again_is_taken_once)
{
    append(0, 1, "a");
    write_and_sync();
    append(0, 2, "b");
    append(0, 3, "c");
    write_only();
    disk_sync(&disk, 1); /* all of it, in spite of the error */
    journal_done(j, EIO);
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "0.1=a 0.2=b 0.3=c ");
    journal_retry(j);
    write_and_sync();
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "0.1=a 0.2=b 0.3=c ");
    cr_assert_eq(r.segments_count, 2);
    cr_expect_eq(r.segments[0].highest[0], 1);
    cr_expect_eq(r.segments[1].highest[0], 3);
    flip(2, SEGMENT_HEAD_BYTES + RECORD); /* the last batch: then it is torn there */
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_str_eq(seen, "0.1=a 0.2=b ");
    cr_expect(r.torn);
}

/* What an older segment has left in a recycled file is not there. */
Test(recover, old_bytes_are_no_records)
{
    three_segments();
    journal_checkpointed(j, 0, 4);
    cr_assert_eq(journal_oldest_needed(j), 2);
    disk_recycle(&disk, 1, 4);
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect(!r.torn);
    cr_expect_eq(r.entries, 8);
    cr_assert_eq(journal_segment_wanted(j), 4);
    cr_assert_eq(journal_give_segment(j, 4), JOURNAL_OK);
    append(0, 13, "n");
    write_and_sync();
    cr_expect_eq(step.number, 4);
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect(!r.torn);
    cr_expect_eq(r.entries, 9);
}

Test(recover, says_which_file_is_not_its_own)
{
    static const struct {
        size_t at;
        uint8_t value;
        enum recover_err err;
    } rows[] = {
        {8, 2, RECOVER_WRONG_FORMAT},
        {12, 2, RECOVER_WRONG_SHARD},
        {31, 1, RECOVER_WRONG_STORE},
        {32, 3, RECOVER_WRONG_NUMBER},
    };
    three_segments();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *const head = disk_find(&disk, 2)->kept;
        uint8_t before[SEGMENT_HEAD_BYTES];
        memcpy(before, head, sizeof before);
        head[rows[i].at] = rows[i].value;
        const uint32_t sum = crc32c(0, head, 60);
        memcpy(head + 60, &sum, sizeof sum);
        is_bad_at(rows[i].err, 2, 0);
        memcpy(head, before, sizeof before);
    }
    disk.unreadable = 3;
    is_bad_at(RECOVER_IO, 3, 0);
    cr_expect_eq(r.sys_errno, EIO);
}

Test(recover, each_error_has_its_words)
{
    for (int err = RECOVER_OK; err <= RECOVER_STOPPED; err++) {
        cr_expect_str_neq(recover_err_text((enum recover_err)err), "?");
    }
}

Test(recover, files_too_short_for_anything_have_not_begun)
{
    three_segments();
    disk_create(&disk, 4);
    disk.list[3].bytes = 7;
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_eq(r.entries, 12);
    disk.list[3].bytes = 0;
    cr_assert_eq(recover(), RECOVER_OK);
    cr_expect_eq(r.segment, 5);
}
