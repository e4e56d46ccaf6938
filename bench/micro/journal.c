/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/journal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "cluster/journal/crc32c.h"
#include "cluster/journal/record.h"
#include "cluster/journal/recover.h"

#define BODY    200u
#define RECORDS 1024u /* of a batch, and of a segment */
#define BLOCK   4096u

static const struct journal_conf conf = {
    .owner = {.store_id = "bench"},
    .segment_bytes = SEGMENT_HEAD_BYTES + RECORDS * (uint64_t)(RECORD_HEAD_BYTES + BODY),
    .gathering_bytes_max = RECORDS * (RECORD_HEAD_BYTES + BODY),
    .body_bytes_max = BODY,
    .segments_ahead = 1};

struct writer {
    struct journal *journal;
    uint64_t index;
    uint8_t body[BODY];
};

static void *writer_create(void)
{
    struct writer *w = calloc(1, sizeof *w);
    assert(w != NULL);
    w->journal = journal_create(&conf, NULL);
    assert(w->journal != NULL);
    return w;
}

static void writer_destroy(void *state)
{
    struct writer *w = state;
    journal_destroy(w->journal);
    free(w);
}

/* What is gathered is durable, and not needed any more. */
static void empty(struct writer *w, struct journal_step *step)
{
    if (journal_give_segment(w->journal, journal_segment_wanted(w->journal)) != JOURNAL_OK ||
        journal_next(w->journal, step) != JOURNAL_WRITE) {
        abort();
    }
    journal_done(w->journal, 0);
    journal_checkpointed(w->journal, 0, w->index);
    micro_use(journal_oldest_needed(w->journal));
}

static void append(void *state, uint64_t count)
{
    struct writer *w = state;
    const struct bytes body = bytes_of(w->body, BODY);
    while (count > 0) {
        uint64_t lsn;
        if (journal_append(w->journal, 0, w->index + 1, &body, 1, &lsn) == JOURNAL_OK) {
            w->index++;
            count--;
        } else {
            struct journal_step step;
            empty(w, &step);
        }
    }
}

/* A whole segment, to be read again. */
struct reader {
    uint8_t *bytes;
    size_t len;
};

static void *reader_create(void)
{
    struct writer *w = writer_create();
    append(w, RECORDS);
    struct journal_step step;
    empty(w, &step);
    struct reader *r = malloc(sizeof *r);
    assert(r != NULL);
    *r = (struct reader){.bytes = malloc(step.len), .len = step.len};
    assert(r->bytes != NULL);
    memcpy(r->bytes, step.bytes, step.len);
    writer_destroy(w);
    return r;
}

static void reader_destroy(void *state)
{
    struct reader *r = state;
    free(r->bytes);
    free(r);
}

static void scan(void *state, uint64_t count)
{
    const struct reader *const r = state;
    while (count > 0) {
        struct recover_scan s = {.bytes = r->bytes,
                                 .len = r->len,
                                 .at = SEGMENT_HEAD_BYTES,
                                 .seed = segment_seed(&conf.owner, 1),
                                 .next_lsn = 1,
                                 .stop_lsn = UINT64_MAX};
        struct record record;
        while (count > 0 && recover_scan_next(&s, &record)) {
            micro_use(record.index);
            count--;
        }
    }
}

static void *block_create(void)
{
    return calloc(1, BLOCK);
}

static void sum(void *state, uint64_t count)
{
    uint32_t crc = 0;
    for (; count > 0; count--) {
        crc = crc32c(crc, state, BLOCK);
    }
    micro_use(crc);
}

const struct micro micro_journal[] = {
    {"journal_append_200", writer_create, append, writer_destroy},
    {"journal_scan_200", reader_create, scan, reader_destroy},
    {"journal_crc32c_4k", block_create, sum, free},
    {.name = NULL},
};
