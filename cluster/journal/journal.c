/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/journal.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/journal/record.h"
#include "cluster/journal/recover.h"

enum journal_state {
    READY = 0,
    UNDER_WAY,
    FAILED,
    RETRY,
};

/* Records that are written together. */
struct batch {
    uint8_t *bytes; /* room for a segment's head, then records */
    size_t len;     /* of the records */
    uint64_t first_lsn, last_lsn;
    uint64_t sealed_for;           /* number of the segment that the records have their sums for */
    uint32_t seed;                 /* of that segment */
    bool truncates;                /* a truncation is among them */
    uint64_t highest[RECORD_RUNS]; /* index of what is not void; 0: none */
};

/* A file that exists. */
struct segment {
    struct segment *next; /* the next younger one */
    uint64_t number;
    uint64_t highest[RECORD_RUNS]; /* of what is durable in it */
};

struct journal {
    struct journal_conf conf;
    enum journal_state state;
    int error;
    uint64_t lsn;     /* of the last record */
    uint64_t durable; /* <= lsn */

    struct batch batches[2];
    struct batch *gathering;
    struct batch *written; /* the other one; empty when READY */

    uint64_t number; /* of the segment that is written to; it may be given up before its end */
    uint64_t offset; /* where the next batch goes; segment_bytes: to the next segment */
    uint64_t ready;  /* the last one that is prepared; >= number */
    uint64_t begun;  /* the last one with durable records; 0: none */
    struct segment *oldest, *newest;

    uint64_t last_index[RECORD_RUNS];
    uint64_t let_go[RECORD_RUNS]; /* up to that index nothing is needed */
};

/* ---- Segments */

static struct segment *add_segment(struct journal *j, uint64_t number)
{
    struct segment *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->number = number;
    if (j->newest != NULL) {
        assert(number > j->newest->number);
        j->newest->next = s;
    } else {
        j->oldest = s;
    }
    j->newest = s;
    return s;
}

static void remove_oldest(struct journal *j)
{
    struct segment *const s = j->oldest;
    j->oldest = s->next;
    if (j->oldest == NULL) {
        j->newest = NULL;
    }
    free(s);
}

static struct segment *find_segment(const struct journal *j, uint64_t number)
{
    struct segment *s = j->oldest;
    while (s->number != number) { /* it is in the list */
        s = s->next;
    }
    return s;
}

static bool is_held(const struct journal *j, const struct segment *s)
{
    for (unsigned run = 0; run < RECORD_RUNS; run++) {
        if (s->highest[run] > j->let_go[run]) {
            return true;
        }
    }
    return false;
}

uint64_t journal_oldest_needed(struct journal *j)
{
    while (j->oldest != NULL && j->oldest->number < j->begun && !is_held(j, j->oldest)) {
        remove_oldest(j);
    }
    return j->oldest != NULL ? j->oldest->number : j->number + 1;
}

static void let_go(struct journal *j, unsigned run, uint64_t index)
{
    assert(index >= j->let_go[run]);

    j->let_go[run] = index;
}

void journal_checkpointed(struct journal *j, uint16_t partition, uint64_t index)
{
    assert(partition < RECORD_PARTITIONS);

    let_go(j, record_run(RECORD_ENTRY, partition), index);
}

void journal_group_let_go(struct journal *j, uint16_t partition, uint64_t index)
{
    assert(partition < RECORD_PARTITIONS);

    let_go(j, record_run(RECORD_GROUP, partition), index);
}

unsigned journal_segments(const struct journal *j)
{
    unsigned n = 0;
    for (const struct segment *s = j->oldest; s != NULL; s = s->next) {
        n++;
    }
    return n;
}

bool journal_is_held_by_group(const struct journal *j, uint16_t partition)
{
    const unsigned run = record_run(RECORD_GROUP, partition);
    return j->oldest != NULL && j->oldest->number < j->begun &&
           j->oldest->highest[run] > j->let_go[run];
}

uint64_t journal_segment_wanted(const struct journal *j)
{
    return j->ready - j->number < j->conf.segments_ahead ? j->ready + 1 : 0;
}

enum journal_err journal_give_segment(struct journal *j, uint64_t number)
{
    assert(number == j->ready + 1);

    if (add_segment(j, number) == NULL) {
        return JOURNAL_NO_MEMORY;
    }
    j->ready = number;
    return JOURNAL_OK;
}

/* ---- Create and destroy */

static bool go_on(struct journal *j, const struct recovered *r)
{
    for (size_t i = 0; i < r->segments_count; i++) {
        struct segment *s = add_segment(j, r->segments[i].number);
        if (s == NULL) {
            return false;
        }
        memcpy(s->highest, r->segments[i].highest, sizeof s->highest);
        j->begun = s->number;
    }
    memcpy(j->last_index, r->highest, sizeof j->last_index);
    j->lsn = r->next_lsn - 1;
    j->number = r->segment - 1; /* which is not written to */
    return true;
}

struct journal *journal_create(const struct journal_conf *conf, const struct recovered *recovered)
{
    assert(conf->body_bytes_max <= RECORD_BODY_MAX);
    assert(conf->gathering_bytes_max >= record_size(conf->body_bytes_max));
    assert(conf->segment_bytes >= (uint64_t)conf->gathering_bytes_max + SEGMENT_HEAD_BYTES);
    assert(conf->segments_ahead > 0);

    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    j->conf = *conf;
    j->offset = conf->segment_bytes;
    j->gathering = &j->batches[0];
    j->written = &j->batches[1];
    for (unsigned i = 0; i < 2; i++) {
        j->batches[i].bytes = malloc(SEGMENT_HEAD_BYTES + (size_t)conf->gathering_bytes_max);
        if (j->batches[i].bytes == NULL) {
            goto no_memory;
        }
    }
    if (recovered != NULL && !go_on(j, recovered)) {
        goto no_memory;
    }
    j->durable = j->lsn;
    j->ready = j->number;
    return j;

no_memory:
    journal_destroy(j);
    return NULL;
}

void journal_destroy(struct journal *j)
{
    if (j == NULL) {
        return;
    }
    assert(j->state != UNDER_WAY);
    while (j->oldest != NULL) {
        remove_oldest(j);
    }
    free(j->batches[0].bytes);
    free(j->batches[1].bytes);
    free(j);
}

/* ---- Gathering */

/* Sums are made when a record comes, as its bytes are near then; that is for the segment that the
 * batch will most likely be in. */
static void seal_for(struct journal *j, struct batch *b, uint64_t number)
{
    b->sealed_for = number;
    b->seed = segment_seed(&j->conf.owner, number);
    uint8_t *at = b->bytes + SEGMENT_HEAD_BYTES;
    for (const uint8_t *const end = at + b->len; at < end;) {
        struct record r;
        const size_t size = record_peek(&r, at);
        record_seal(at, b->seed);
        at += size;
    }
}

static void begin_batch(struct journal *j, struct batch *b, size_t size)
{
    b->first_lsn = j->lsn + 1;
    const uint64_t number = j->offset + size > j->conf.segment_bytes ? j->number + 1 : j->number;
    if (b->sealed_for != number) {
        seal_for(j, b, number);
    }
}

/* r: all but the lsn and the batch; r->body.len is the sum of body[0..count). */
static enum journal_err add_record(struct journal *j, struct record *r, const struct bytes *body,
                                   size_t count, uint64_t *lsn)
{
    struct batch *const b = j->gathering;
    const size_t size = record_size(r->body.len);
    if (j->state == FAILED) {
        return JOURNAL_FAILED;
    }
    if (size > j->conf.gathering_bytes_max - b->len) {
        return JOURNAL_FULL;
    }
    if (b->len == 0) {
        begin_batch(j, b, size);
    }
    r->lsn = ++j->lsn;
    r->batch = b->first_lsn;

    uint8_t *const begin = b->bytes + SEGMENT_HEAD_BYTES + b->len, *at = begin;
    record_head_encode(at, r);
    at += RECORD_HEAD_BYTES;
    for (size_t i = 0; i < count; i++) {
        if (body[i].len > 0) {
            memcpy(at, body[i].at, body[i].len);
            at += body[i].len;
        }
    }
    memset(at, 0, (size_t)(begin + size - at));
    record_seal(begin, b->seed);
    b->len += size;
    b->last_lsn = r->lsn;
    *lsn = r->lsn;
    return JOURNAL_OK;
}

static enum journal_err append(struct journal *j, enum record_kind kind, uint16_t partition,
                               uint64_t index, const struct bytes *body, size_t count,
                               uint64_t *lsn)
{
    assert(partition < RECORD_PARTITIONS);
    const unsigned run = record_run((uint8_t)kind, partition);
    assert(index > j->last_index[run]);

    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (body[i].len > j->conf.body_bytes_max - len) {
            return JOURNAL_TOO_LARGE;
        }
        len += body[i].len;
    }
    struct record r = {
        .index = index, .body = bytes_of(NULL, len), .partition = partition, .kind = (uint8_t)kind};
    const enum journal_err err = add_record(j, &r, body, count, lsn);
    if (err == JOURNAL_OK) {
        j->last_index[run] = index;
        j->gathering->highest[run] = index;
    }
    return err;
}

enum journal_err journal_append(struct journal *j, uint16_t partition, uint64_t index,
                                const struct bytes *body, size_t count, uint64_t *lsn)
{
    return append(j, RECORD_ENTRY, partition, index, body, count, lsn);
}

enum journal_err journal_append_group(struct journal *j, uint16_t partition, uint64_t index,
                                      const struct bytes *body, size_t count, uint64_t *lsn)
{
    return append(j, RECORD_GROUP, partition, index, body, count, lsn);
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

enum journal_err journal_truncate(struct journal *j, uint16_t partition, uint64_t from_index,
                                  uint64_t *lsn)
{
    assert(partition < RECORD_PARTITIONS);
    assert(from_index > 0);

    struct record r = {.index = from_index, .partition = partition, .kind = RECORD_TRUNCATE};
    const enum journal_err err = add_record(j, &r, NULL, 0, lsn);
    if (err == JOURNAL_OK) {
        uint64_t *const last = &j->last_index[partition];
        uint64_t *const highest = &j->gathering->highest[partition];
        *last = lower(*last, from_index - 1);
        *highest = lower(*highest, from_index - 1);
        j->gathering->truncates = true;
    }
    return err;
}

/* ---- Writing */

/* False: the batch needs a segment that is not there yet. */
static bool place(struct journal *j, const struct batch *b)
{
    if (j->state != RETRY && b->len <= j->conf.segment_bytes - j->offset) {
        return true;
    }
    if (j->ready == j->number) {
        return false;
    }
    j->number++;
    j->offset = 0;
    return true;
}

static void fill_step(struct journal *j, struct batch *b, struct journal_step *step)
{
    if (b->sealed_for != j->number) {
        seal_for(j, b, j->number);
    }
    size_t head = 0;
    if (j->offset == 0) {
        head = SEGMENT_HEAD_BYTES;
        segment_head_encode(b->bytes, &j->conf.owner,
                            &(struct segment_head){.number = j->number,
                                                   .first_lsn = b->first_lsn,
                                                   .previous = j->begun});
    }
    *step = (struct journal_step){.number = j->number,
                                  .offset = j->offset,
                                  .bytes = b->bytes + SEGMENT_HEAD_BYTES - head,
                                  .len = head + b->len};
    j->offset += step->len;
    assert(j->offset <= j->conf.segment_bytes);
}

enum journal_todo journal_next(struct journal *j, struct journal_step *step)
{
    struct batch *const b = j->state == RETRY ? j->written : j->gathering;
    if (j->state == UNDER_WAY || j->state == FAILED || b->len == 0) {
        return JOURNAL_IDLE;
    }
    if (!place(j, b)) {
        return JOURNAL_NEEDS_SEGMENT;
    }
    if (j->state == READY) {
        assert(j->written->len == 0);
        j->gathering = j->written;
        j->written = b;
    }
    fill_step(j, b, step);
    j->state = UNDER_WAY;
    return JOURNAL_WRITE;
}

/* What the durable truncations of a batch make void holds no segment any more. Not before they are
 * durable: until then a crash brings those entries back, and there must be no gap in them. */
static void let_go_of_void(struct journal *j, const struct batch *b)
{
    const uint8_t *at = b->bytes + SEGMENT_HEAD_BYTES;
    for (const uint8_t *const end = at + b->len; at < end;) {
        struct record r;
        at += record_peek(&r, at);
        for (struct segment *s = j->oldest; r.kind == RECORD_TRUNCATE && s != NULL; s = s->next) {
            s->highest[r.partition] = lower(s->highest[r.partition], r.index - 1);
        }
    }
}

static void keep(struct journal *j, struct batch *b)
{
    if (b->truncates) {
        let_go_of_void(j, b);
    }
    struct segment *const s = find_segment(j, j->number);
    for (unsigned run = 0; run < RECORD_RUNS; run++) {
        s->highest[run] = higher(s->highest[run], b->highest[run]);
    }
    assert(b->first_lsn == j->durable + 1);
    j->durable = b->last_lsn;
    j->begun = j->number;
    b->len = 0;
    b->truncates = false;
    memset(b->highest, 0, sizeof b->highest);
}

void journal_done(struct journal *j, int error)
{
    assert(j->state == UNDER_WAY);

    j->error = error;
    if (error != 0) {
        j->state = FAILED;
        return;
    }
    keep(j, j->written);
    j->state = READY;
}

void journal_retry(struct journal *j)
{
    assert(j->state == FAILED);

    j->state = RETRY;
    j->error = 0;
}

uint64_t journal_durable(const struct journal *j)
{
    return j->durable;
}

uint64_t journal_last(const struct journal *j)
{
    return j->lsn;
}

int journal_error(const struct journal *j)
{
    return j->error;
}

size_t journal_gathered_bytes(const struct journal *j)
{
    return j->gathering->len;
}
