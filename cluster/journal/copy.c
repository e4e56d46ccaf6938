/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/copy.h"

#include <stdbool.h>
#include <stdlib.h>

struct copying {
    struct copied *out;
    const struct segment_owner *owner;
    const struct recover_source *source;
    const struct copy_target *target;
    uint8_t *buffer; /* of the segment that is looked at */
    uint64_t
        stop_lsn; /* that the next segment in the copy begins with; UINT64_MAX: there is none */
};

/* A segment as it was when it was read. */
struct reading {
    enum segment_state state;
    struct segment_head head; /* SEGMENT_BEGUN */
    size_t end;               /* of the good records; 0: it has not begun */
    uint64_t next_lsn;        /* behind them */
    bool is_proof;            /* behind them is something that was written later */
};

static enum recover_err blame(struct copying *c, enum recover_err err, uint64_t segment,
                              uint64_t offset)
{
    c->out->bad_segment = segment;
    c->out->bad_offset = offset;
    return err;
}

static void scan(const struct copying *c, const struct recover_file *f, struct reading *r)
{
    struct recover_scan s = {.bytes = c->buffer,
                             .len = (size_t)f->bytes,
                             .at = SEGMENT_HEAD_BYTES,
                             .seed = segment_seed(c->owner, f->number),
                             .next_lsn = r->head.first_lsn,
                             .stop_lsn = c->stop_lsn};
    struct record record;
    while (recover_scan_next(&s, &record)) {
    }
    r->end = s.at;
    r->next_lsn = s.next_lsn;
}

/* Bytes that the last batch has left, whole or torn, are none; see recover.c. */
static bool is_proof(const struct copying *c, const struct recover_file *f, const struct reading *r)
{
    const bool begun = r->state == SEGMENT_BEGUN;
    const struct recover_traces t =
        recover_traces(c->buffer, (size_t)f->bytes, r->end, segment_seed(c->owner, f->number));
    return (t.end > 0 && t.batch_min < t.batch_max) ||
           t.batch_begin > (begun ? r->end : SEGMENT_HEAD_BYTES) ||
           (begun && t.batch_max > r->next_lsn);
}

/* One that never began may have a batch that failed, and was written to the next one again. */
static bool lacks_its_head(const struct copying *c, const struct recover_file *f)
{
    return recover_traces(c->buffer, (size_t)f->bytes, 0, segment_seed(c->owner, f->number))
               .lsn_min < c->stop_lsn;
}

static enum recover_err read_segment(struct copying *c, const struct recover_file *f,
                                     struct reading *r)
{
    *r = (struct reading){.state = SEGMENT_NOT_BEGUN};
    if (f->bytes < SEGMENT_HEAD_BYTES) {
        return RECOVER_OK;
    }
    const int err = c->source->read(c->source->context, f->number, 0, c->buffer, (size_t)f->bytes);
    if (err != 0) {
        c->out->sys_errno = err;
        return blame(c, RECOVER_IO, f->number, 0);
    }
    r->state = segment_head_decode(c->buffer, c->owner, f->number, &r->head);
    if (recover_state_err(r->state) != RECOVER_OK) {
        return blame(c, recover_state_err(r->state), f->number, 0);
    }
    if (r->state == SEGMENT_BEGUN) {
        scan(c, f, r);
    }
    if (c->stop_lsn == UINT64_MAX) {
        r->is_proof = is_proof(c, f, r);
    } else if (r->state != SEGMENT_BEGUN && lacks_its_head(c, f)) {
        return blame(c, RECOVER_CORRUPT, f->number, 0);
    } /* else it is void behind the place where the next one begins, whatever it is */
    return RECOVER_OK;
}

/* Ends, as each further read has come further, in a segment of so many bytes. */
static enum recover_err read_until_it_holds(struct copying *c, const struct recover_file *f,
                                            struct reading *r)
{
    enum recover_err err = read_segment(c, f, r);
    while (err == RECOVER_OK && r->is_proof) {
        const size_t before = r->end;
        err = read_segment(c, f, r);
        if (err == RECOVER_OK && r->is_proof && r->end == before) {
            return blame(c, RECOVER_CORRUPT, f->number, r->end);
        }
    }
    if (err == RECOVER_OK && r->state == SEGMENT_BEGUN && c->stop_lsn != UINT64_MAX &&
        r->next_lsn != c->stop_lsn) {
        return blame(c, RECOVER_CORRUPT, f->number, r->end);
    }
    return err;
}

static enum recover_err copy_segment(struct copying *c, const struct recover_file *f)
{
    struct reading r;
    const enum recover_err err = read_until_it_holds(c, f, &r);
    if (err != RECOVER_OK || r.state != SEGMENT_BEGUN) {
        return err;
    }
    c->stop_lsn = r.head.first_lsn;
    const int failed = c->target->write(c->target->context, f->number, c->buffer, r.end);
    if (failed != 0) {
        c->out->sys_errno = failed;
        c->out->writing = true;
        return blame(c, RECOVER_IO, f->number, 0);
    }
    c->out->segments++;
    c->out->bytes += r.end;
    return RECOVER_OK;
}

enum recover_err copy_journal(struct copied *out, const struct segment_owner *owner,
                              const struct recover_source *source, const struct copy_target *target)
{
    *out = (struct copied){0};
    uint64_t largest = SEGMENT_HEAD_BYTES;
    for (size_t i = 0; i < source->count; i++) {
        largest = source->files[i].bytes > largest ? source->files[i].bytes : largest;
    }
    struct copying c = {.out = out,
                        .owner = owner,
                        .source = source,
                        .target = target,
                        .buffer = largest > SIZE_MAX / 2 ? NULL : malloc((size_t)largest),
                        .stop_lsn = UINT64_MAX};
    enum recover_err err = c.buffer == NULL ? RECOVER_NO_MEMORY : RECOVER_OK;
    for (size_t i = source->count; err == RECOVER_OK && i-- > 0;) {
        err = copy_segment(&c, &source->files[i]);
    }
    free(c.buffer);
    return err;
}
