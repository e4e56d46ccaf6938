/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/recover.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NO_MARK SIZE_MAX

struct file {
    enum segment_state state;
    struct segment_head head; /* when it has begun */
    size_t end;               /* of its last record, likewise */
};

/* A truncation. */
struct mark {
    uint64_t lowest; /* from that index on entries before it are void, by it or by a later one */
    size_t next;     /* of the same partition */
    uint16_t partition;
};

struct recovery {
    struct recovered *out;
    const struct segment_owner *owner;
    const struct recover_source *source;
    struct file *files; /* as in the source */
    uint8_t *buffer;    /* holds the largest of them */
    uint64_t next_lsn;  /* 0: nothing is known yet */
    struct mark *marks; /* in order of lsn */
    size_t marks_count, marks_capacity;
    size_t mark_of[RECORD_PARTITIONS]; /* the next one that is still to come; or NO_MARK */
};

enum recover_err recover_state_err(enum segment_state state)
{
    switch (state) {
    case SEGMENT_WRONG_FORMAT:
        return RECOVER_WRONG_FORMAT;
    case SEGMENT_WRONG_STORE:
        return RECOVER_WRONG_STORE;
    case SEGMENT_WRONG_SHARD:
        return RECOVER_WRONG_SHARD;
    case SEGMENT_WRONG_NUMBER:
        return RECOVER_WRONG_NUMBER;
    case SEGMENT_BEGUN:
    case SEGMENT_NOT_BEGUN:
    case SEGMENT_DAMAGED:
        break;
    }
    return RECOVER_OK;
}

const char *recover_err_text(enum recover_err err)
{
    switch (err) {
    case RECOVER_OK:
        return "ok";
    case RECOVER_IO:
        return "the journal cannot be read: see to the disk and the permissions";
    case RECOVER_NO_MEMORY:
        return "there is not enough memory to read the journal: a segment of it must fit";
    case RECOVER_CORRUPT:
        return "the journal is damaged where it had been written: see to the disk, then restore a "
               "backup";
    case RECOVER_MISSING:
        return "a segment of the journal is missing: bring the file back, or restore a backup";
    case RECOVER_WRONG_FORMAT:
        return "a segment of the journal is of a later version: start that version";
    case RECOVER_WRONG_STORE:
        return "a segment belongs to another node's data: move the file to where it came from";
    case RECOVER_WRONG_SHARD:
        return "a segment belongs to another shard: give the file its own name again";
    case RECOVER_WRONG_NUMBER:
        return "a segment has another one's number: give the file its own name again";
    case RECOVER_STOPPED:
        return "reading the journal was stopped";
    }
    return "?";
}

static enum recover_err blame(struct recovery *y, enum recover_err err, uint64_t segment,
                              uint64_t offset)
{
    y->out->bad_segment = segment;
    y->out->bad_offset = offset;
    return err;
}

/* ---- The parts */

bool recover_scan_next(struct recover_scan *scan, struct record *r)
{
    assert(scan->at <= scan->len);

    struct record found;
    if (scan->next_lsn >= scan->stop_lsn ||
        record_decode(&found, scan->bytes + scan->at, scan->len - scan->at, scan->seed) !=
            RECORD_OK) {
        return false;
    }
    if (found.lsn != scan->next_lsn || (found.batch != found.lsn && found.batch != scan->batch)) {
        return false;
    }
    scan->at += record_size(found.body.len);
    scan->next_lsn++;
    scan->batch = found.batch;
    *r = found;
    return true;
}

struct recover_traces recover_traces(const uint8_t *bytes, size_t len, size_t from, uint32_t seed)
{
    struct recover_traces t = {.lsn_min = UINT64_MAX, .batch_min = UINT64_MAX};
    for (size_t at = from; at < len && len - at >= RECORD_HEAD_BYTES;) {
        struct record r;
        const enum record_err err = record_decode(&r, bytes + at, len - at, seed);
        if (err == RECORD_NONE) {
            at += RECORD_ALIGNMENT;
            continue;
        }
        const size_t size = record_size(r.body.len);
        t.end = size < len - at ? at + size : len;
        t.lsn_min = r.lsn < t.lsn_min ? r.lsn : t.lsn_min;
        t.batch_min = r.batch < t.batch_min ? r.batch : t.batch_min;
        t.batch_max = r.batch > t.batch_max ? r.batch : t.batch_max;
        t.batch_begin = r.lsn == r.batch ? at : t.batch_begin;
        at += err == RECORD_OK ? size : RECORD_ALIGNMENT;
    }
    return t;
}

/* ---- Files */

static enum recover_err read_file(struct recovery *y, size_t i, size_t len)
{
    const struct recover_file *const f = &y->source->files[i];
    assert(len <= f->bytes);

    if (len == 0) {
        return RECOVER_OK;
    }
    const int err = y->source->read(y->source->context, f->number, 0, y->buffer, len);
    if (err != 0) {
        y->out->sys_errno = err;
        return blame(y, RECOVER_IO, f->number, 0);
    }
    return RECOVER_OK;
}

static enum recover_err read_whole(struct recovery *y, size_t i)
{
    return read_file(y, i, (size_t)y->source->files[i].bytes);
}

static enum recover_err read_heads(struct recovery *y)
{
    for (size_t i = 0; i < y->source->count; i++) {
        const struct recover_file *const f = &y->source->files[i];
        if (f->bytes < SEGMENT_HEAD_BYTES) {
            y->files[i].state = SEGMENT_NOT_BEGUN;
            continue;
        }
        enum recover_err err = read_file(y, i, SEGMENT_HEAD_BYTES);
        if (err != RECOVER_OK) {
            return err;
        }
        y->files[i].state = segment_head_decode(y->buffer, y->owner, f->number, &y->files[i].head);
        err = recover_state_err(y->files[i].state);
        if (err != RECOVER_OK) {
            return blame(y, err, f->number, 0);
        }
    }
    return RECOVER_OK;
}

/* The first from `i` on that has begun; source->count: none has. */
static size_t next_begun(const struct recovery *y, size_t i)
{
    while (i < y->source->count && y->files[i].state != SEGMENT_BEGUN) {
        i++;
    }
    return i;
}

static struct recover_scan scan_of(const struct recovery *y, size_t i)
{
    const size_t next = next_begun(y, i + 1);
    return (struct recover_scan){.bytes = y->buffer,
                                 .len = (size_t)y->source->files[i].bytes,
                                 .at = SEGMENT_HEAD_BYTES,
                                 .seed = segment_seed(y->owner, y->source->files[i].number),
                                 .next_lsn = y->files[i].head.first_lsn,
                                 .stop_lsn = next < y->source->count ? y->files[next].head.first_lsn
                                                                     : UINT64_MAX};
}

/* Of what is in the buffer. */
static struct recover_traces traces_of(const struct recovery *y, size_t i, size_t from)
{
    const struct recover_file *const f = &y->source->files[i];
    return recover_traces(y->buffer, (size_t)f->bytes, from, segment_seed(y->owner, f->number));
}

/* ---- First pass: where the journal ends, and which truncations it has */

static enum recover_err add_mark(struct recovery *y, const struct record *r)
{
    if (y->marks_count == y->marks_capacity) {
        const size_t capacity = y->marks_capacity > 0 ? 2 * y->marks_capacity : 64;
        struct mark *marks = realloc(y->marks, capacity * sizeof *marks);
        if (marks == NULL) {
            return RECOVER_NO_MEMORY;
        }
        y->marks = marks;
        y->marks_capacity = capacity;
    }
    y->marks[y->marks_count++] = (struct mark){.lowest = r->index, .partition = r->partition};
    return RECOVER_OK;
}

/* Last to first: what a later one makes void is void by the earlier one's time, too. */
static void link_marks(struct recovery *y)
{
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        y->mark_of[p] = NO_MARK;
    }
    for (size_t i = y->marks_count; i-- > 0;) {
        struct mark *const m = &y->marks[i];
        m->next = y->mark_of[m->partition];
        if (m->next != NO_MARK && y->marks[m->next].lowest < m->lowest) {
            m->lowest = y->marks[m->next].lowest;
        }
        y->mark_of[m->partition] = i;
    }
}

/* Records are missing between file i, which is in the buffer, and file `next`, which has begun. To
 * blame is i, unless there is a segment between that had begun, too. */
static enum recover_err blame_gap(struct recovery *y, size_t i, size_t next)
{
    const struct recover_file *const files = y->source->files;
    if (y->files[next].head.previous > files[i].number &&
        traces_of(y, i, y->files[i].end).end == 0) {
        return blame(y, RECOVER_CORRUPT, files[i + 1].number, 0);
    }
    return blame(y, RECOVER_CORRUPT, files[i].number, y->files[i].end);
}

/* Those that are said to stand before others must be there, but for the very first. */
static enum recover_err check_missing(struct recovery *y)
{
    const struct recover_file *const files = y->source->files;
    const size_t first = next_begun(y, 0);
    for (size_t i = first, k = first; i < y->source->count; i = next_begun(y, i + 1)) {
        const uint64_t previous = y->files[i].head.previous;
        for (; k < i && files[k].number < previous; k++) {
        }
        if (i > first && previous > files[first].number && files[k].number != previous) {
            return blame(y, RECOVER_MISSING, previous, 0);
        }
    }
    return RECOVER_OK;
}

static enum recover_err scan_file(struct recovery *y, size_t i)
{
    enum recover_err err = read_whole(y, i);
    if (err != RECOVER_OK) {
        return err;
    }
    struct recover_scan scan = scan_of(y, i);
    struct record r;
    while (recover_scan_next(&scan, &r)) {
        if (r.kind == RECORD_TRUNCATE && (err = add_mark(y, &r)) != RECOVER_OK) {
            return err;
        }
    }
    y->files[i].end = scan.at;
    y->next_lsn = scan.next_lsn;
    const size_t next = next_begun(y, i + 1);
    if (next == y->source->count) {
        return RECOVER_OK;
    }
    if (scan.stop_lsn < y->files[i].head.first_lsn) {
        return blame(y, RECOVER_CORRUPT, y->source->files[next].number, 0);
    }
    return scan.next_lsn < scan.stop_lsn ? blame_gap(y, i, next) : RECOVER_OK;
}

/* Files below the first that has begun must not have anything that it does not supersede. */
static enum recover_err check_before(struct recovery *y, size_t first)
{
    for (size_t i = 0; first < y->source->count && i < first; i++) {
        const enum recover_err err = read_whole(y, i);
        if (err != RECOVER_OK) {
            return err;
        }
        if (traces_of(y, i, 0).lsn_min < y->files[first].head.first_lsn) {
            return blame(y, RECOVER_CORRUPT, y->source->files[i].number, 0);
        }
    }
    return RECOVER_OK;
}

static enum recover_err first_pass(struct recovery *y)
{
    const size_t first = next_begun(y, 0);
    enum recover_err err = check_missing(y);
    if (err == RECOVER_OK) {
        err = check_before(y, first);
    }
    for (size_t i = first; err == RECOVER_OK && i < y->source->count; i = next_begun(y, i + 1)) {
        err = scan_file(y, i);
    }
    link_marks(y);
    return err;
}

/* ---- What is behind the end */

static void note_torn(struct recovered *out, uint64_t segment, size_t offset, size_t end)
{
    if (!out->torn) {
        out->torn = true;
        out->bad_segment = segment;
        out->bad_offset = offset;
        out->bad_bytes = end - offset;
    }
}

/* Of what stands behind the end, which is `end` in a file that has begun. */
static bool proves_damage(const struct recovery *y, size_t i, const struct recover_traces *t)
{
    const bool begun = y->files[i].state == SEGMENT_BEGUN;
    const size_t end = begun ? y->files[i].end : SEGMENT_HEAD_BYTES;
    return t->batch_max > y->out->next_lsn || (t->end > 0 && t->batch_min < t->batch_max) ||
           t->batch_begin > end;
}

/* Torn, or corrupt? From the end of the last file that has begun on, and in those after it. */
static enum recover_err judge_end(struct recovery *y)
{
    struct recovered *const out = y->out;
    size_t last = y->source->count;
    for (size_t i = next_begun(y, 0); i < y->source->count; i = next_begun(y, i + 1)) {
        last = i;
    }
    const bool begun = last < y->source->count;
    out->next_lsn = begun ? y->next_lsn : 1;
    out->segment = y->source->count > 0 ? y->source->files[y->source->count - 1].number + 1 : 1;

    for (size_t i = begun ? last : 0; i < y->source->count; i++) {
        const enum recover_err err = read_whole(y, i);
        if (err != RECOVER_OK) {
            return err;
        }
        const size_t offset = y->files[i].state == SEGMENT_BEGUN ? y->files[i].end : 0;
        struct recover_traces t = traces_of(y, i, offset);
        if (proves_damage(y, i, &t)) { /* where it is torn already, it is not just torn */
            const bool here = !out->torn;
            out->torn = false;
            out->bad_bytes = 0;
            return here ? blame(y, RECOVER_CORRUPT, y->source->files[i].number, offset)
                        : RECOVER_CORRUPT;
        }
        if (t.end == 0 && y->files[i].state == SEGMENT_DAMAGED) {
            t.end = SEGMENT_HEAD_BYTES;
        }
        if (t.end > 0) {
            note_torn(out, y->source->files[i].number, offset, t.end);
        }
    }
    return RECOVER_OK;
}

/* ---- Second pass: the entries */

static bool is_void(const struct recovery *y, const struct record *entry)
{
    const size_t mark = y->mark_of[entry->partition];
    return mark != NO_MARK && y->marks[mark].lowest <= entry->index;
}

static enum recover_err visit(struct recovery *y, struct recovered_segment *s,
                              const struct record *r, const struct recover_visitor *visitor)
{
    if (r->kind == RECORD_TRUNCATE) {
        const size_t mark = y->mark_of[r->partition];
        y->mark_of[r->partition] = mark != NO_MARK ? y->marks[mark].next : NO_MARK;
        return RECOVER_OK;
    }
    if (r->kind == RECORD_ENTRY && is_void(y, r)) {
        y->out->void_entries++;
        return RECOVER_OK;
    }
    if (!visitor->entry(visitor->context, r)) {
        return RECOVER_STOPPED;
    }
    y->out->entries++;
    y->out->bytes += r->body.len;
    s->highest[record_run(r->kind, r->partition)] = r->index;
    y->out->highest[record_run(r->kind, r->partition)] = r->index;
    return RECOVER_OK;
}

static enum recover_err visit_file(struct recovery *y, size_t i, struct recovered_segment *s,
                                   const struct recover_visitor *visitor)
{
    enum recover_err err = read_whole(y, i);
    struct recover_scan scan = scan_of(y, i);
    struct record r;
    while (err == RECOVER_OK && scan.at < y->files[i].end) {
        if (!recover_scan_next(&scan, &r)) {
            return blame(y, RECOVER_IO, s->number, scan.at); /* it was there the first time */
        }
        r.entries_format = y->files[i].head.entries_format;
        err = visit(y, s, &r, visitor);
    }
    return err;
}

static enum recover_err second_pass(struct recovery *y, const struct recover_visitor *visitor)
{
    struct recovered *const out = y->out;
    out->segments = calloc(y->source->count + 1, sizeof out->segments[0]);
    if (out->segments == NULL) {
        return RECOVER_NO_MEMORY;
    }
    enum recover_err err = RECOVER_OK;
    for (size_t i = next_begun(y, 0); err == RECOVER_OK && i < y->source->count;
         i = next_begun(y, i + 1)) {
        struct recovered_segment *const s = &out->segments[out->segments_count++];
        s->number = y->source->files[i].number;
        err = visit_file(y, i, s, visitor);
    }
    return err;
}

/* ---- All of it */

static enum recover_err allocate(struct recovery *y)
{
    size_t largest = SEGMENT_HEAD_BYTES;
    for (size_t i = 0; i < y->source->count; i++) {
        const struct recover_file *const f = &y->source->files[i];
        assert(f->number > (i > 0 ? y->source->files[i - 1].number : 0));
        if (f->bytes > SIZE_MAX / 2) {
            return RECOVER_NO_MEMORY;
        }
        largest = f->bytes > largest ? (size_t)f->bytes : largest;
    }
    y->files = calloc(y->source->count + 1, sizeof y->files[0]);
    y->buffer = malloc(largest);
    return y->files != NULL && y->buffer != NULL ? RECOVER_OK : RECOVER_NO_MEMORY;
}

enum recover_err recover_journal(struct recovered *out, const struct segment_owner *owner,
                                 const struct recover_source *source,
                                 const struct recover_visitor *visitor)
{
    *out = (struct recovered){.next_lsn = 1};
    struct recovery y = {.out = out, .owner = owner, .source = source};
    enum recover_err err = allocate(&y);
    if (err == RECOVER_OK) {
        err = read_heads(&y);
    }
    if (err == RECOVER_OK) {
        err = first_pass(&y);
    }
    if (err == RECOVER_OK) {
        err = judge_end(&y);
    }
    if (err == RECOVER_OK) {
        err = second_pass(&y, visitor);
    }
    free(y.marks);
    free(y.buffer);
    free(y.files);
    return err;
}

void recovered_fini(struct recovered *r)
{
    free(r->segments);
    r->segments = NULL;
    r->segments_count = 0;
}
