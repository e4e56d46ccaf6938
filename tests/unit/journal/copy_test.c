/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_test: a journal is copied while it is written, batch by batch and in pieces, between any two
 * sectors that are read of it. Whatever the copy has is whole, and has all that was durable before.
 */
#include "cluster/journal/copy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cluster/journal/journal.h"
#include "tests/unit/route/random.h"

#define SEGMENT      8192u
#define SEGMENTS_MAX 64u
#define SECTOR       512u
#define ROUNDS       300u

static uint64_t seed;

#define MUST(condition)                                                                            \
    cr_assert(condition, "%s; TEST_SEED=%llu", #condition, (unsigned long long)seed)

struct world {
    struct random random;
    struct journal_conf conf;
    struct journal *journal;
    uint8_t segments[SEGMENTS_MAX + 1][SEGMENT]; /* by number */
    uint64_t given;
    struct journal_step step;
    bool under_way;
    uint8_t written[SEGMENT / SECTOR + 2]; /* pieces of the step that are there */
    unsigned fails;                        /* of a hundred syncs */
    unsigned steps_per_sector;

    struct recover_file files[SEGMENTS_MAX];
    uint8_t copies[SEGMENTS_MAX + 1][SEGMENT];
    size_t copied[SEGMENTS_MAX + 1]; /* 0: none */
    uint64_t seen, seen_first;       /* lsn */
};

static void body_of(uint64_t index, uint8_t *out, uint32_t *len)
{
    struct random r = {.state = index * 77 + 1};
    *len = random_below(&r, 700);
    for (uint32_t i = 0; i < *len; i++) {
        out[i] = (uint8_t)random_next(&r);
    }
}

static void begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->random = random_init();
    seed = w->random.seed;
    w->conf = (struct journal_conf){.owner = {.store_id = "a store, random", .shard = 3},
                                    .segment_bytes = SEGMENT,
                                    .gathering_bytes_max = 4096,
                                    .body_bytes_max = 700,
                                    .segments_ahead = 1};
    w->journal = journal_create(&w->conf, NULL);
    MUST(w->journal != NULL);
}

/* ---- the owner */

static void append(struct world *w)
{
    uint8_t body[700];
    uint32_t len;
    uint64_t lsn;
    const uint64_t index = journal_last(w->journal) + 1;
    body_of(index, body, &len);
    const struct bytes part = bytes_of(body, len);
    const enum journal_err err = journal_append(w->journal, 7, index, &part, 1, &lsn);
    MUST(err == JOURNAL_OK || err == JOURNAL_FULL || err == JOURNAL_FAILED);
}

/* A piece of the step that is not there yet; true: all are. */
static bool write_piece(struct world *w)
{
    const size_t pieces = (w->step.len + SECTOR - 1) / SECTOR;
    const size_t first = random_below(&w->random, (uint32_t)pieces);
    for (size_t i = 0; i < pieces; i++) {
        const size_t piece = (first + i) % pieces, at = piece * SECTOR;
        if (!w->written[piece]) {
            const size_t len = w->step.len - at < SECTOR ? w->step.len - at : SECTOR;
            memcpy(w->segments[w->step.number] + w->step.offset + at, w->step.bytes + at, len);
            w->written[piece] = true;
            return false;
        }
    }
    return true;
}

static void go_on(struct world *w)
{
    append(w);
    const uint64_t wanted = journal_segment_wanted(w->journal);
    if (wanted != 0 && wanted <= SEGMENTS_MAX && random_below(&w->random, 2) == 0) {
        MUST(journal_give_segment(w->journal, wanted) == JOURNAL_OK);
        w->given = wanted;
    }
    if (!w->under_way) {
        if (journal_error(w->journal) != 0) {
            journal_retry(w->journal);
        }
        w->under_way = journal_next(w->journal, &w->step) == JOURNAL_WRITE;
        memset(w->written, 0, sizeof w->written);
    } else if (write_piece(w)) {
        w->under_way = false;
        journal_done(w->journal, random_below(&w->random, 100) < w->fails ? EIO : 0);
    }
}

static void go_far(struct world *w)
{
    for (unsigned n = random_below(&w->random, 800); n > 0; n--) {
        go_on(w);
    }
}

/* ---- whoever copies */

static int read_slowly(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len)
{
    struct world *const w = context;
    for (size_t at = 0; at < len; at += SECTOR) {
        memcpy(out + at, w->segments[number] + offset + at, len - at < SECTOR ? len - at : SECTOR);
        for (unsigned n = w->steps_per_sector; n > 0; n--) {
            go_on(w);
        }
    }
    return 0;
}

static int write_copy(void *context, uint64_t number, const uint8_t *bytes, size_t len)
{
    struct world *const w = context;
    MUST(w->copied[number] == 0 && len <= SEGMENT);
    memcpy(w->copies[number], bytes, len);
    w->copied[number] = len;
    return 0;
}

static enum recover_err copy(struct world *w, struct copied *copied)
{
    for (uint64_t i = 0; i < w->given; i++) {
        w->files[i] = (struct recover_file){.number = i + 1, .bytes = SEGMENT};
    }
    const struct recover_source source = {
        .files = w->files, .count = (size_t)w->given, .read = read_slowly, .context = w};
    const struct copy_target target = {.write = write_copy, .context = w};
    return copy_journal(copied, &w->conf.owner, &source, &target);
}

/* ---- what has been copied */

static int read_copy(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len)
{
    const struct world *const w = context;
    memcpy(out, w->copies[number] + offset, len);
    return 0;
}

static bool see(void *context, const struct record *r)
{
    struct world *const w = context;
    uint8_t body[700];
    uint32_t len;
    body_of(r->index, body, &len);
    MUST(r->lsn == r->index);
    MUST(w->seen == 0 ? r->lsn == 1 : r->lsn == w->seen + 1);
    MUST(bytes_equal(r->body, bytes_of(body, len)));
    w->seen = r->lsn;
    return true;
}

static enum recover_err recover(struct world *w, struct recovered *r)
{
    size_t count = 0;
    for (uint64_t n = 1; n <= SEGMENTS_MAX; n++) {
        if (w->copied[n] > 0) {
            w->files[count++] = (struct recover_file){.number = n, .bytes = w->copied[n]};
        }
    }
    const struct recover_source source = {
        .files = w->files, .count = count, .read = read_copy, .context = w};
    const struct recover_visitor visitor = {.entry = see, .context = w};
    return recover_journal(r, &w->conf.owner, &source, &visitor);
}

static struct world w;

Test(copy, has_all_that_was_durable_and_ends_cleanly)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct copied copied;
        struct recovered recovered;
        begin(&w);
        w.fails = round % 3 == 0 ? 20 : 0;
        go_far(&w);
        const uint64_t durable = journal_durable(w.journal);
        w.steps_per_sector = round % 5;
        MUST(copy(&w, &copied) == RECOVER_OK);
        MUST(recover(&w, &recovered) == RECOVER_OK);
        MUST(!recovered.torn);
        MUST(w.seen >= durable);
        MUST(w.seen <= journal_last(w.journal));
        MUST(copied.segments == recovered.segments_count);
        recovered_fini(&recovered);
        if (w.under_way) {
            journal_done(w.journal, 0);
        }
        journal_destroy(w.journal);
    }
}

/* But for the last batch, of which nobody can tell. */
Test(copy, damage_is_not_copied)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct copied copied;
        struct recovered recovered = {0};
        begin(&w);
        while (journal_durable(w.journal) < 60) {
            go_on(&w);
        }
        const uint64_t durable = journal_durable(w.journal);
        const uint64_t number = 1 + random_below(&w.random, 2);
        const uint32_t at = random_below(&w.random, SEGMENT);
        w.segments[number][at] ^= (uint8_t)(1 + random_below(&w.random, 255));
        enum recover_err err = copy(&w, &copied);
        if (err == RECOVER_OK) {
            err = recover(&w, &recovered);
            MUST(err != RECOVER_OK || w.seen + 40 > durable); /* a batch has less */
        } else {
            MUST(copied.bad_segment <= w.given);
        }
        recovered_fini(&recovered);
        if (w.under_way) {
            journal_done(w.journal, 0);
        }
        journal_destroy(w.journal);
    }
}

static int read_nothing(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len)
{
    (void)context, (void)number, (void)offset;
    memset(out, 0, len);
    return EIO;
}

static int write_nothing(void *context, uint64_t number, const uint8_t *bytes, size_t len)
{
    (void)context, (void)number, (void)bytes, (void)len;
    return ENOSPC;
}

Test(copy, says_which_disk_it_was)
{
    struct copied copied;
    begin(&w);
    while (journal_durable(w.journal) < 10) {
        go_on(&w);
    }
    const struct recover_file file = {.number = 1, .bytes = SEGMENT};
    struct recover_source source = {.files = &file, .count = 1, .read = read_nothing};
    const struct copy_target target = {.write = write_nothing};
    cr_expect_eq(copy_journal(&copied, &w.conf.owner, &source, &target), RECOVER_IO);
    cr_expect_eq(copied.sys_errno, EIO);
    cr_expect_not(copied.writing);
    source.read = read_slowly;
    source.context = &w;
    cr_expect_eq(copy_journal(&copied, &w.conf.owner, &source, &target), RECOVER_IO);
    cr_expect_eq(copied.sys_errno, ENOSPC);
    cr_expect(copied.writing);
    cr_expect_eq(copied.bad_segment, 1);
    if (w.under_way) {
        journal_done(w.journal, 0);
    }
    journal_destroy(w.journal);
}
