/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal_fuzz: any bytes are fair segments to recover_journal(). It has an answer, the same one
 * each time; what it hands over is in order; and a journal that goes on from there loses nothing of
 * it.
 *
 * Input: one byte of choice, then the segments, all of the same length.
 *   choice  bits 0, 1: how many segments there are, less one; bit 2: number 2 is left out;
 *           bit 3: sums, and fields that cannot be met by chance, are made right first
 */
#include <string.h>

#include "cluster/journal/journal.h"
#include "cluster/journal/recover.h"
#include "tests/fuzz/fuzz.h"

#define SEGMENTS_MAX 4u
#define GATHERING    256u

static const struct journal_conf conf = {.owner = {.store_id = "fuzz", .shard = 1},
                                         .segment_bytes = GATHERING + SEGMENT_HEAD_BYTES,
                                         .gathering_bytes_max = GATHERING,
                                         .body_bytes_max = 64,
                                         .segments_ahead = 1};

struct disk {
    struct recover_file list[SEGMENTS_MAX + 1];
    uint8_t *bytes[SEGMENTS_MAX + 1];
    size_t count;
};

/* What has been handed over. */
struct seen {
    uint64_t entries, bytes, sum, last_lsn;
    uint64_t highest[RECORD_RUNS];
};

static int read_bytes(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len)
{
    const struct disk *const d = context;
    for (size_t i = 0; i < d->count; i++) {
        if (d->list[i].number == number) {
            FUZZ_EXPECT(offset <= d->list[i].bytes && len <= d->list[i].bytes - offset);
            memcpy(out, d->bytes[i] + offset, len);
            return 0;
        }
    }
    FUZZ_EXPECT(false); /* asked for one that is not there */
    return 1;
}

static bool on_entry(void *context, const struct record *r)
{
    struct seen *const s = context;
    FUZZ_EXPECT(r->kind == RECORD_ENTRY || r->kind == RECORD_GROUP);
    FUZZ_EXPECT(r->partition < RECORD_PARTITIONS);
    FUZZ_EXPECT(r->lsn > s->last_lsn && r->batch <= r->lsn);
    s->last_lsn = r->lsn;
    s->highest[record_run(r->kind, r->partition)] = r->index;
    s->entries++;
    s->bytes += r->body.len;
    for (size_t i = 0; i < r->body.len; i++) {
        s->sum = s->sum * 31 + r->body.at[i];
    }
    return true;
}

static enum recover_err recover(struct disk *d, struct recovered *r, struct seen *s)
{
    const struct recover_source source = {
        .files = d->list, .count = d->count, .read = read_bytes, .context = d};
    const struct recover_visitor visitor = {.entry = on_entry, .context = s};
    memset(s, 0, sizeof *s);
    return recover_journal(r, &conf.owner, &source, &visitor);
}

/* ---- Making sums right */

/* Its head begins with the lsn and the previous segment that are meant, in a byte each. */
static uint64_t mend_head(uint8_t *at, uint64_t number)
{
    const struct segment_head head = {
        .number = number, .first_lsn = 1u + at[0], .previous = at[1] % number};
    segment_head_encode(at, &conf.owner, &head);
    return head.first_lsn;
}

/* Bytes of a record's head say: how long, which partition and kind, which index, and by how much
 * lsn and batch are off; the last one, whether the body is good. */
static void mend_records(uint8_t *at, size_t left, uint64_t lsn, uint32_t seed)
{
    while (left >= RECORD_HEAD_BYTES) {
        const size_t room = left - RECORD_HEAD_BYTES;
        struct record r = {.lsn = lsn + at[3] % 3 % 2,
                           .index = 1u + at[2] % 8,
                           .partition = at[1] % 4,
                           .kind = at[1] & 0x80   ? RECORD_TRUNCATE
                                   : at[1] & 0x40 ? RECORD_GROUP
                                                  : RECORD_ENTRY};
        r.batch = r.lsn > at[4] % 4 ? r.lsn - at[4] % 4 : 1;
        r.body.len = at[0] % 64 < room ? at[0] % 64 : 0;
        const bool good = at[5] < 0xe0;
        const size_t size = record_size(r.body.len);
        if (size > left) {
            return;
        }
        record_head_encode(at, &r);
        record_seal(at, seed);
        at[0] ^= good ? 0 : 1;
        lsn = r.lsn + 1;
        at += size;
        left -= size;
    }
}

static void mend(struct disk *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const uint64_t number = d->list[i].number;
        if (d->list[i].bytes >= SEGMENT_HEAD_BYTES) {
            const uint64_t first = mend_head(d->bytes[i], number);
            mend_records(d->bytes[i] + SEGMENT_HEAD_BYTES,
                         (size_t)d->list[i].bytes - SEGMENT_HEAD_BYTES, first,
                         segment_seed(&conf.owner, number));
        }
    }
}

/* ---- */

/* One more entry, in the segment that the recovery said. */
static void go_on(struct disk *d, const struct recovered *r)
{
    struct journal *j = journal_create(&conf, r);
    FUZZ_EXPECT(j != NULL);
    FUZZ_EXPECT(journal_segment_wanted(j) == r->segment);
    FUZZ_EXPECT(journal_give_segment(j, r->segment) == JOURNAL_OK);
    const struct bytes body = bytes_text("one more");
    uint64_t lsn = 0;
    FUZZ_EXPECT(journal_append(j, 0, r->highest[0] + 1, &body, 1, &lsn) == JOURNAL_OK);
    FUZZ_EXPECT(lsn == r->next_lsn);
    struct journal_step step;
    FUZZ_EXPECT(journal_next(j, &step) == JOURNAL_WRITE);
    FUZZ_EXPECT(step.number == r->segment && step.offset == 0);
    const size_t i = d->count++;
    d->list[i] = (struct recover_file){.number = step.number, .bytes = conf.segment_bytes};
    d->bytes[i] = calloc(1, (size_t)conf.segment_bytes);
    FUZZ_EXPECT(d->bytes[i] != NULL);
    memcpy(d->bytes[i], step.bytes, step.len);
    journal_done(j, 0);
    journal_destroy(j);
}

static void judge(struct disk *d)
{
    struct recovered r, again;
    struct seen seen, seen_again;
    const enum recover_err err = recover(d, &r, &seen);
    FUZZ_EXPECT(recover(d, &again, &seen_again) == err);
    FUZZ_EXPECT(memcmp(&seen, &seen_again, sizeof seen) == 0);
    FUZZ_EXPECT(r.next_lsn == again.next_lsn && r.bad_offset == again.bad_offset);
    recovered_fini(&again);
    if (err != RECOVER_OK) {
        FUZZ_EXPECT(seen.entries == 0 && !r.torn && r.bad_segment > 0);
        recovered_fini(&r);
        return;
    }
    FUZZ_EXPECT(seen.entries == r.entries && seen.bytes == r.bytes);
    FUZZ_EXPECT(seen.last_lsn < r.next_lsn);
    FUZZ_EXPECT(memcmp(seen.highest, r.highest, sizeof r.highest) == 0);
    FUZZ_EXPECT(r.segment > d->list[d->count - 1].number);
    if (r.highest[0] < UINT64_MAX && r.next_lsn < UINT64_MAX) {
        go_on(d, &r);
        FUZZ_EXPECT(recover(d, &again, &seen_again) == RECOVER_OK);
        FUZZ_EXPECT(!again.torn);
        FUZZ_EXPECT(again.next_lsn == r.next_lsn + 1);
        FUZZ_EXPECT(again.entries == r.entries + 1 && again.bytes == r.bytes + 8);
        FUZZ_EXPECT(again.void_entries == r.void_entries);
        FUZZ_EXPECT(again.segments_count == r.segments_count + 1);
        recovered_fini(&again);
    }
    recovered_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct disk d = {.count = 1u + (data[0] & 3)};
    const size_t each = (size - 1) / d.count;
    for (size_t i = 0; i < d.count; i++) {
        const uint64_t gap = i > 0 && (data[0] & 4) != 0;
        d.list[i] = (struct recover_file){.number = 1 + i + gap, .bytes = each};
        d.bytes[i] = malloc(each > 0 ? each : 1);
        FUZZ_EXPECT(d.bytes[i] != NULL);
        memcpy(d.bytes[i], data + 1 + i * each, each);
    }
    if ((data[0] & 8) != 0) {
        mend(&d);
    }
    judge(&d);
    for (size_t i = 0; i < d.count; i++) {
        free(d.bytes[i]);
    }
    return 0;
}
