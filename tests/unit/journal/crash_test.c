/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_test: a journal on a disk that fails, against a list of all that was appended. Whatever
 * crashes, and whatever part of the unsynced sectors is kept, a recovery gives all that was
 * durable, perhaps the beginning of the batch under way, and nothing else; and damage to what was
 * durable is said to be damage.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/journal/journal.h"
#include "cluster/journal/recover.h"
#include "tests/unit/journal/disk.h"
#include "tests/unit/route/random.h"

#define PARTITIONS   5u
#define RUNS         (2 * PARTITIONS)
#define RECORDS_MAX  20000u
#define BATCHES_MAX  8000u
#define BODY_MAX     900u
#define ROUNDS       60u
#define CRASHES      12u
#define STEPS_MAX    60u
#define GATHERING    4096u
#define SEGMENT      (8u * 1024)
#define SEGMENTS_MAX 40u /* above that checkpoints are taken */

static uint64_t seed;

#define MUST(condition)                                                                            \
    cr_assert(condition, "%s; TEST_SEED=%llu", #condition, (unsigned long long)seed)

struct appended {
    uint64_t index;
    uint32_t len;
    uint32_t salt; /* its body is made from that */
    uint16_t partition;
    bool truncate;
    bool group; /* a record of the partition's group */
};

/* A batch that is durable. */
struct written {
    uint64_t number, offset, len;
    uint64_t first_lsn, last_lsn;
};

struct world {
    struct random random;
    struct disk disk;
    struct journal_conf conf;
    struct journal *journal;
    struct recovered recovered;
    struct journal_step step;
    bool under_way;
    struct appended log[RECORDS_MAX + 1]; /* by lsn */
    uint64_t last;                        /* lsn */
    uint64_t under_way_last;              /* highest lsn of the step */
    struct written batches[BATCHES_MAX];  /* [batches_count], in order */
    size_t batches_count;
    uint64_t index[RUNS]; /* of the entries of each partition, then of the records of its group */
    uint64_t checkpoint[RUNS];

    uint64_t seen;     /* lsn of the last entry that was handed over */
    uint64_t seen_all; /* entries in this recovery */
    uint64_t noticed;  /* damages */
};

static void body_make(uint8_t *out, uint32_t salt, uint32_t len)
{
    struct random r = {.state = salt};
    for (uint32_t i = 0; i < len; i++) {
        out[i] = (uint8_t)random_next(&r);
    }
}

static void begin(struct world *w)
{
    w->random = random_init();
    seed = w->random.seed;
    disk_init(&w->disk, &w->random, SEGMENT);
    w->conf = (struct journal_conf){.owner = {.store_id = "a store, random", .shard = 3},
                                    .segment_bytes = SEGMENT,
                                    .gathering_bytes_max = GATHERING,
                                    .body_bytes_max = BODY_MAX,
                                    .segments_ahead = 1 + random_below(&w->random, 3)};
    w->journal = journal_create(&w->conf, NULL);
    MUST(w->journal != NULL);
}

static void end(struct world *w)
{
    journal_destroy(w->journal);
    recovered_fini(&w->recovered);
    disk_fini(&w->disk);
}

static unsigned run_of(const struct appended *a)
{
    return a->group ? PARTITIONS + a->partition : a->partition;
}

/* ---- What a shard does */

static void append(struct world *w)
{
    struct random *const r = &w->random;
    const uint16_t p = (uint16_t)random_below(r, PARTITIONS);
    uint64_t lsn = 0;
    struct appended a = {.partition = p, .salt = (uint32_t)random_next(r)};
    enum journal_err err;
    a.group = random_below(r, 3) == 0;
    const unsigned run = run_of(&a);
    if (!a.group && random_below(r, 12) == 0) {
        const uint64_t back = random_below(r, 8);
        a.truncate = true;
        a.index = w->index[run] > back ? w->index[run] + 1 - back : 1;
        if (a.index <= w->checkpoint[run]) {
            return; /* what is in a checkpoint is not taken back */
        }
        err = journal_truncate(w->journal, p, a.index, &lsn);
    } else {
        uint8_t body[BODY_MAX];
        a.len = random_below(r, 3) > 0 ? random_below(r, 100) : random_below(r, BODY_MAX + 1);
        a.index = w->index[run] + 1 + (random_below(r, 20) == 0 ? random_below(r, 5) : 0);
        body_make(body, a.salt, a.len);
        const size_t cut = random_below(r, a.len + 1);
        const struct bytes parts[2] = {bytes_of(body, cut), bytes_of(body + cut, a.len - cut)};
        err = a.group ? journal_append_group(w->journal, p, a.index, parts, 2, &lsn)
                      : journal_append(w->journal, p, a.index, parts, 2, &lsn);
    }
    if (err == JOURNAL_OK) {
        MUST(lsn == w->last + 1);
        MUST(lsn <= RECORDS_MAX);
        w->log[lsn] = a;
        w->last = lsn;
        w->index[run] =
            a.truncate ? (a.index - 1 < w->index[run] ? a.index - 1 : w->index[run]) : a.index;
    } else {
        MUST(err == JOURNAL_FULL || err == JOURNAL_FAILED);
    }
}

/* The highest index of the run that is durable, and not truncated. */
static uint64_t durable_index(const struct world *w, unsigned run)
{
    uint64_t highest = 0;
    for (uint64_t lsn = 1; lsn <= journal_durable(w->journal); lsn++) {
        const struct appended *const a = &w->log[lsn];
        if (run_of(a) == run) {
            highest = a->truncate ? (a->index - 1 < highest ? a->index - 1 : highest) : a->index;
        }
    }
    return highest;
}

static void let_go(struct world *w, unsigned run)
{
    if (run < PARTITIONS) {
        journal_checkpointed(w->journal, (uint16_t)run, w->checkpoint[run]);
    } else {
        journal_group_let_go(w->journal, (uint16_t)(run - PARTITIONS), w->checkpoint[run]);
    }
}

static void checkpoint(struct world *w, unsigned run)
{
    /* Not of what a truncation under way makes void. */
    const uint64_t durable = durable_index(w, run);
    const uint64_t to = durable < w->index[run] ? durable : w->index[run];
    if (to > w->checkpoint[run]) {
        w->checkpoint[run] += 1 + random_below(&w->random, (uint32_t)(to - w->checkpoint[run]));
        let_go(w, run);
    }
}

static bool has_unneeded(struct world *w)
{
    return w->disk.count > 0 && w->disk.list[0].number < journal_oldest_needed(w->journal);
}

static void tend_segments(struct world *w)
{
    const uint64_t wanted = journal_segment_wanted(w->journal);
    if (wanted > 0 && random_below(&w->random, 3) > 0) {
        if (disk_find(&w->disk, wanted) != NULL) {
            /* spare since a recovery */
        } else if (has_unneeded(w) && random_below(&w->random, 4) > 0) {
            disk_recycle(&w->disk, w->disk.list[0].number, wanted);
        } else {
            disk_create(&w->disk, wanted);
        }
        MUST(journal_give_segment(w->journal, wanted) == JOURNAL_OK);
    }
    if (w->disk.count > SEGMENTS_MAX) {
        for (unsigned run = 0; run < RUNS; run++) {
            const uint64_t durable = durable_index(w, run);
            w->checkpoint[run] = durable < w->index[run] ? durable : w->index[run];
            let_go(w, run);
        }
    }
    while (has_unneeded(w) &&
           (w->disk.count > SEGMENTS_MAX / 2 || random_below(&w->random, 9) == 0)) {
        disk_remove(&w->disk, w->disk.list[0].number);
    }
}

static void write_next(struct world *w)
{
    const uint64_t last = journal_last(w->journal);
    const bool again = w->under_way_last > journal_durable(w->journal);
    if (journal_next(w->journal, &w->step) == JOURNAL_WRITE) {
        w->under_way = true;
        w->under_way_last = again ? w->under_way_last : last;
        disk_write(&w->disk, w->step.number, w->step.offset, w->step.bytes, w->step.len);
    }
}

static void finish(struct world *w)
{
    const uint64_t before = journal_durable(w->journal);
    w->under_way = false;
    if (random_below(&w->random, 15) == 0) {
        disk_sync_fails(&w->disk, w->step.number);
        journal_done(w->journal, EIO);
        MUST(journal_error(w->journal) == EIO);
        MUST(journal_durable(w->journal) == before);
        if (random_below(&w->random, 4) > 0) {
            journal_retry(w->journal);
        }
        return;
    }
    disk_sync(&w->disk, w->step.number);
    journal_done(w->journal, 0);
    MUST(journal_durable(w->journal) == w->under_way_last);
    MUST(w->batches_count < BATCHES_MAX);
    w->batches[w->batches_count++] = (struct written){.number = w->step.number,
                                                      .offset = w->step.offset,
                                                      .len = w->step.len,
                                                      .first_lsn = before + 1,
                                                      .last_lsn = w->under_way_last};
}

static void live(struct world *w)
{
    for (unsigned n = 1 + random_below(&w->random, STEPS_MAX); n > 0; n--) {
        const unsigned appends = random_below(&w->random, 6);
        for (unsigned i = 0; i < appends; i++) {
            append(w);
        }
        tend_segments(w);
        if (random_below(&w->random, 5) == 0) {
            checkpoint(w, random_below(&w->random, RUNS));
        }
        if (w->under_way) {
            finish(w);
        } else {
            write_next(w);
        }
    }
}

/* ---- What a recovery must give */

static bool is_void(const struct world *w, uint64_t lsn, uint64_t last)
{
    for (uint64_t l = lsn + 1; !w->log[lsn].group && l <= last; l++) {
        if (w->log[l].truncate && w->log[l].partition == w->log[lsn].partition &&
            w->log[l].index <= w->log[lsn].index) {
            return true;
        }
    }
    return false;
}

static bool on_entry(void *context, const struct record *r)
{
    struct world *const w = context;
    MUST(r->lsn > w->seen);
    MUST(r->lsn <= w->last);
    const struct appended *const a = &w->log[r->lsn];
    uint8_t body[BODY_MAX];
    body_make(body, a->salt, a->len);
    MUST(!a->truncate && r->kind == (a->group ? RECORD_GROUP : RECORD_ENTRY));
    MUST(r->partition == a->partition);
    MUST(r->index == a->index);
    MUST(r->body.len == a->len);
    MUST(memcmp(r->body.at, body, a->len) == 0);
    /* Between the last one and this nothing is missing: before the first, only what is in a
     * checkpoint; behind it, nothing but what is void. `last` is not known yet: see all_there(). */
    w->seen = r->lsn;
    w->seen_all++;
    return true;
}

static void all_there(const struct world *w, uint64_t first, uint64_t last)
{
    uint64_t want = 0;
    uint64_t highest[RUNS] = {0};
    for (uint64_t lsn = 1; lsn <= last; lsn++) {
        const struct appended *const a = &w->log[lsn];
        if (a->truncate || is_void(w, lsn, last)) {
            continue;
        }
        if (lsn < first) {
            MUST(a->index <= w->checkpoint[run_of(a)]);
        } else {
            want++;
            highest[run_of(a)] = a->index;
        }
    }
    MUST(w->seen_all == want);
    MUST(w->recovered.entries == want);
    for (uint16_t p = 0; p < PARTITIONS; p++) {
        MUST(w->recovered.highest[record_run(RECORD_ENTRY, p)] == highest[p]);
        MUST(w->recovered.highest[record_run(RECORD_GROUP, p)] == highest[PARTITIONS + p]);
    }
}

static enum recover_err recover(struct world *w)
{
    const struct recover_source source = disk_source(&w->disk);
    const struct recover_visitor visitor = {.entry = on_entry, .context = w};
    recovered_fini(&w->recovered);
    w->seen = 0;
    w->seen_all = 0;
    return recover_journal(&w->recovered, &w->conf.owner, &source, &visitor);
}

/* Lsn of the first record that is still there. */
static uint64_t first_lsn(struct world *w)
{
    for (size_t i = 0; i < w->disk.count; i++) {
        struct segment_head head;
        if (segment_head_decode(w->disk.files[i].kept, &w->conf.owner, w->disk.list[i].number,
                                &head) == SEGMENT_BEGUN) {
            return head.first_lsn;
        }
    }
    return 1;
}

/* A recovery changes nothing, so that a crash in it does not matter. */
static void again(struct world *w)
{
    const uint64_t next = w->recovered.next_lsn;
    MUST(recover(w) == RECOVER_OK);
    MUST(w->recovered.next_lsn == next);
}

static bool has_begun(const struct recovered *r, uint64_t number)
{
    for (size_t i = 0; i < r->segments_count; i++) {
        if (r->segments[i].number == number) {
            return true;
        }
    }
    return false;
}

/* As files_recover() does, which may end at any point; and then whoever calls it. */
static void go_on(struct world *w)
{
    const struct recovered *const r = &w->recovered;
    uint64_t next = r->segment;
    for (size_t i = 0; i < w->disk.count && w->disk.list[i].number < r->segment;) {
        if (has_begun(r, w->disk.list[i].number)) {
            i++;
        } else if (random_below(&w->random, 8) == 0) {
            again(w);
            next = r->segment;
            i = 0;
        } else {
            disk_recycle(&w->disk, w->disk.list[i].number, next++);
        }
    }
    w->journal = journal_create(&w->conf, r);
    MUST(w->journal != NULL);
    for (unsigned run = 0; run < RUNS; run++) {
        const uint16_t p = (uint16_t)(run % PARTITIONS);
        const uint64_t highest =
            r->highest[record_run(run < PARTITIONS ? RECORD_ENTRY : RECORD_GROUP, p)];
        let_go(w, run);
        w->index[run] = highest > w->checkpoint[run] ? highest : w->checkpoint[run];
    }
}

static void stop(struct world *w)
{
    if (w->under_way) {
        journal_done(w->journal, EIO);
        w->under_way = false;
    }
    journal_destroy(w->journal);
    w->journal = NULL;
}

static void crash(struct world *w)
{
    static const unsigned percents[] = {0, 10, 50, 90, 100};
    const uint64_t durable = journal_durable(w->journal);
    const uint64_t last = w->under_way_last > durable ? w->under_way_last : durable;
    disk_crash(&w->disk, percents[random_below(&w->random, 5)]);
    stop(w);
    const enum recover_err err = recover(w);
    MUST(err == RECOVER_OK);
    const uint64_t now = w->recovered.next_lsn - 1;
    MUST(now >= durable);
    MUST(now <= last);
    all_there(w, first_lsn(w), now);
    if (now > durable && w->batches_count < BATCHES_MAX) { /* where it is does not matter below */
        w->batches[w->batches_count++] =
            (struct written){.first_lsn = durable + 1, .last_lsn = now};
    }
    w->last = now;
    w->under_way_last = now;
}

static struct world *world_create(void)
{
    struct world *w = calloc(1, sizeof *w);
    MUST(w != NULL);
    begin(w);
    return w;
}

Test(crash, all_that_was_durable_and_nothing_else)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct world *w = world_create();
        for (unsigned i = 0; i < CRASHES; i++) {
            live(w);
            crash(w);
            again(w);
            go_on(w);
        }
        end(w);
        free(w);
    }
}

/* ---- Damage */

/* One bit of a durable batch. Either it is noticed, or nothing is lost: where a batch was written
 * twice, as the first time failed, there may be all of it in the former place. Only the last one's
 * damage may pass for a torn end. */
static void flip(struct world *w)
{
    const size_t i = random_below(&w->random, (uint32_t)w->batches_count);
    const struct written *const b = &w->batches[i];
    struct disk_file *const f = b->len > 0 ? disk_find(&w->disk, b->number) : NULL;
    struct segment_head head;
    if (f == NULL ||
        segment_head_decode(f->kept, &w->conf.owner, b->number, &head) != SEGMENT_BEGUN) {
        return; /* it is not there any more */
    }
    const uint64_t last = w->last, first = first_lsn(w);
    uint8_t *const at = f->kept + b->offset + random_below(&w->random, (uint32_t)b->len);
    const uint8_t bit = (uint8_t)(1u << random_below(&w->random, 8));
    *at ^= bit;
    w->last = RECORDS_MAX;
    const enum recover_err err = recover(w);
    w->last = last;
    *at ^= bit;
    if (err == RECOVER_OK && w->recovered.next_lsn > last) {
        all_there(w, first, w->recovered.next_lsn - 1);
    } else if (err == RECOVER_OK) {
        MUST(i + 1 == w->batches_count);
        MUST(w->recovered.next_lsn >= b->first_lsn);
    } else {
        MUST(err == RECOVER_CORRUPT);
        MUST(w->seen_all == 0);
        w->noticed++;
    }
}

Test(crash, damage_to_what_was_durable_is_never_a_torn_end)
{
    uint64_t noticed = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct world *w = world_create();
        for (unsigned i = 0; i < 3; i++) {
            live(w);
            crash(w);
            for (unsigned n = 0; n < 40 && w->batches_count > 0; n++) {
                flip(w);
            }
            MUST(recover(w) == RECOVER_OK); /* mended */
            go_on(w);
        }
        noticed += w->noticed;
        end(w);
        free(w);
    }
    MUST(noticed > ROUNDS * 40); /* of 120 a round */
}
