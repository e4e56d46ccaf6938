/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_journal: records of 200 bytes in batches, each synced: by the journal, and by nothing but
 * pwrite() and fdatasync() of as many bytes, in turns, into files of the same making.
 *
 *   bench_journal [FOLDER]       on the file system of FOLDER; as a rule the working directory
 *
 * Wall time, medians of nine rounds; and the processor's time.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/timing.h"
#include "cluster/journal/files.h"
#include "cluster/journal/journal.h"
#include "cluster/journal/record.h"

#define BODY          200u
#define RECORD        (RECORD_HEAD_BYTES + BODY)
#define SEGMENT_BYTES (16u * 1024 * 1024)
#define BATCH_MAX     1000u
#define SYNCS         100u /* a round */
#define FILES         4u   /* the raw one, and those that the journal has in turn */

static const struct journal_conf conf = {.owner = {.store_id = "bench"},
                                         .segment_bytes = SEGMENT_BYTES,
                                         .gathering_bytes_max = BATCH_MAX * RECORD,
                                         .body_bytes_max = BODY,
                                         .segments_ahead = 1};

struct bench {
    struct files files;
    int fds[FILES];
    uint64_t raw_at;
    struct journal *journal;
    uint64_t index;
    unsigned batch; /* records */
    uint8_t bytes[BATCH_MAX * RECORD];
};

static void must(int err, const char *what)
{
    if (err != 0) {
        fprintf(stderr, "bench_journal: %s: %s\n", what, strerror(err));
        exit(1);
    }
}

static void write_synced(int fd, const uint8_t *at, size_t len, uint64_t offset)
{
    const ssize_t n = pwrite(fd, at, len, (off_t)offset);
    must(n == (ssize_t)len ? 0 : n < 0 ? errno : EIO, "write");
    must(fdatasync(fd) == 0 ? 0 : errno, "sync");
}

static void raw_round(struct bench *b)
{
    const size_t len = b->batch * (size_t)RECORD;
    for (unsigned i = 0; i < SYNCS; i++) {
        if (b->raw_at + len > SEGMENT_BYTES) {
            b->raw_at = 0;
        }
        write_synced(b->fds[0], b->bytes, len, b->raw_at);
        b->raw_at += len;
    }
}

/* A file is another segment as soon as the journal is told so: nothing is renamed here. */
static void give_segments(struct bench *b)
{
    const uint64_t wanted = journal_segment_wanted(b->journal);
    if (wanted > 0) {
        journal_checkpointed(b->journal, 0, b->index);
        must(journal_oldest_needed(b->journal) + FILES - 1 > wanted ? 0 : EBUSY, "segments");
        must(journal_give_segment(b->journal, wanted) == JOURNAL_OK ? 0 : ENOMEM, "memory");
    }
}

static void journal_round(struct bench *b)
{
    const struct bytes body = bytes_of(b->bytes, BODY);
    for (unsigned i = 0; i < SYNCS; i++) {
        for (unsigned k = 0; k < b->batch; k++) {
            uint64_t lsn;
            must(journal_append(b->journal, 0, ++b->index, &body, 1, &lsn), "append");
        }
        struct journal_step step;
        must(journal_next(b->journal, &step) == JOURNAL_WRITE ? 0 : EIO, "step");
        write_synced(b->fds[1 + step.number % (FILES - 1)], step.bytes, step.len, step.offset);
        journal_done(b->journal, 0);
        give_segments(b);
    }
}

struct figures {
    double wall_ns[TIMING_ROUNDS], cpu_ns[TIMING_ROUNDS]; /* of a record */
};

static uint64_t wall_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void measure(struct bench *b, void (*round)(struct bench *), struct figures *f, unsigned i)
{
    const double records = SYNCS * (double)b->batch;
    const uint64_t wall = wall_now_ns(), cpu = timing_now_ns();
    round(b);
    f->cpu_ns[i] = (double)(timing_now_ns() - cpu) / records;
    f->wall_ns[i] = (double)(wall_now_ns() - wall) / records;
}

static double print(const char *name, unsigned batch, struct figures *f)
{
    const double wall = timing_median(f->wall_ns);
    printf("%-8s %6u %12.0f %12.0f %12.1f\n", name, batch, wall, timing_median(f->cpu_ns),
           RECORD * 1e9 / wall / 1e6);
    return wall;
}

static void compare(struct bench *b, unsigned batch)
{
    static struct figures raw, journal;
    b->batch = batch;
    for (unsigned i = 0; i < TIMING_ROUNDS; i++) {
        measure(b, raw_round, &raw, i);
        measure(b, journal_round, &journal, i);
    }
    const double bare = print("raw", batch, &raw);
    printf("%41s%.2f times the raw one\n", "", print("journal", batch, &journal) / bare);
}

static void begin(struct bench *b, const char *folder)
{
    must(files_open(&b->files, folder, 0, SEGMENT_BYTES), folder);
    for (unsigned i = 0; i < FILES; i++) {
        must(files_create(&b->files, 1 + i), "create");
        must(files_segment_open(&b->files, 1 + i, &b->fds[i]), "open");
    }
    b->journal = journal_create(&conf, NULL);
    must(b->journal != NULL ? 0 : ENOMEM, "memory");
    give_segments(b);
}

static void end(struct bench *b)
{
    journal_destroy(b->journal);
    for (unsigned i = 0; i < FILES; i++) {
        close(b->fds[i]);
        must(files_remove(&b->files, 1 + i), "remove");
    }
    files_close(&b->files);
}

int main(int argc, char **argv)
{
    static const unsigned batches[] = {1, 10, 100, BATCH_MAX};
    static struct bench b;
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/bench_journal.XXXXXX", argc > 1 ? argv[1] : ".");
    if (argc > 2 || mkdtemp(folder) == NULL) {
        fprintf(stderr, "usage: bench_journal [FOLDER]; it has to be one that can be written to\n");
        return 2;
    }
    begin(&b, folder);
    printf("%-8s %6s %12s %12s %12s\n", "", "batch", "ns a record", "of them cpu", "MB/s");
    for (unsigned i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        compare(&b, batches[i]);
    }
    end(&b);
    return rmdir(folder) == 0 ? 0 : 1;
}
