/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_store: what a queue costs in the checkpoint, next to the same bytes appended to a file.
 *
 *   bench_store [DIRECTORY]       on the disk of that directory; else on that of this one
 *
 * A record is a message of 200 bytes put at the tail of a queue, and one deleted at its head. So
 * many are in a batch, and each batch is on disk before the next one begins. Processor time is that
 * of all threads, the kernel's included.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/store/checkpoint.h"

#define MESSAGE_BYTES 200u
#define KEY_BYTES     16u
#define QUEUED        10000u /* messages, in all queues together */
#define ROUND_NS      UINT64_C(1000000000)
#define FILE_BYTES    ((off_t)64 << 20)
#define BATCH_MAX     10000u

struct queues {
    struct checkpoint *cp;
    uint64_t count; /* of queues */
    uint64_t next;  /* record: in queue next % count */
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
};

struct file {
    int fd;
    off_t at;
    uint8_t *bytes;
};

static uint64_t read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void check(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

/* ---- a file */

static void append(void *context, unsigned records)
{
    struct file *const f = context;
    const size_t len = records * (size_t)(MESSAGE_BYTES + 2 * KEY_BYTES);
    if (f->at + (off_t)len > FILE_BYTES) {
        f->at = 0;
    }
    check(pwrite(f->fd, f->bytes, len, f->at) == (ssize_t)len, "pwrite");
    check(fdatasync(f->fd) == 0, "fdatasync");
    f->at += (off_t)len;
}

static void open_file(struct file *f, const char *dir)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/log", dir);
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check(f->fd >= 0, path);
    f->bytes = malloc(BATCH_MAX * (size_t)(MESSAGE_BYTES + 2 * KEY_BYTES));
    check(f->bytes != NULL, "malloc");
    memset(f->bytes, 'x', BATCH_MAX * (size_t)(MESSAGE_BYTES + 2 * KEY_BYTES));
    for (f->at = 0; f->at < FILE_BYTES; f->at += 1 << 20) {
        check(pwrite(f->fd, f->bytes, 1 << 20, f->at) == 1 << 20, "pwrite");
    }
    check(fdatasync(f->fd) == 0, "fdatasync");
    f->at = 0;
}

/* ---- the checkpoint */

static void on_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    struct queues *const q = context;
    if (err != CHECKPOINT_OK) {
        fprintf(stderr, "bench_store: %s\n", checkpoint_err_text(err));
        exit(1);
    }
    checkpoint_batch_destroy(batch);
    pthread_mutex_lock(&q->lock);
    q->done = true;
    pthread_cond_signal(&q->told);
    pthread_mutex_unlock(&q->lock);
}

static struct bytes key_of(const struct queues *q, uint64_t record, uint8_t key[KEY_BYTES])
{
    const uint64_t queue = __builtin_bswap64(record % q->count);
    const uint64_t place = __builtin_bswap64(record / q->count);
    memcpy(key, &queue, sizeof queue);
    memcpy(key + sizeof queue, &place, sizeof place);
    return bytes_of(key, KEY_BYTES);
}

static void write_and_wait(struct queues *q, struct checkpoint_batch *b)
{
    q->done = false;
    checkpoint_submit(q->cp, b, on_done, q);
    pthread_mutex_lock(&q->lock);
    while (!q->done) {
        pthread_cond_wait(&q->told, &q->lock);
    }
    pthread_mutex_unlock(&q->lock);
}

static void write_records(struct queues *q, unsigned records, bool is_first)
{
    static const uint8_t message[MESSAGE_BYTES] = {'m'};
    struct checkpoint_batch *const b = checkpoint_batch_create();
    check(b != NULL, "checkpoint_batch_create");
    uint8_t key[KEY_BYTES];
    for (unsigned i = 0; i < records; i++, q->next++) {
        checkpoint_put(b, key_of(q, q->next, key), bytes_of(message, sizeof message));
        if (!is_first) {
            checkpoint_delete(b, key_of(q, q->next - QUEUED, key));
        }
    }
    write_and_wait(q, b);
}

static void queue(void *context, unsigned records)
{
    write_records(context, records, false);
}

static void open_queues(struct queues *q, const char *dir, uint64_t count)
{
    const struct checkpoint_conf conf = {.map_bytes_max = (uint64_t)4 << 30};
    int sys_errno;
    *q = (struct queues){
        .count = count, .lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    const enum checkpoint_err err = checkpoint_open(&q->cp, dir, &conf, &sys_errno);
    if (err != CHECKPOINT_OK) {
        fprintf(stderr, "bench_store: %s\n", checkpoint_err_text(err));
        exit(1);
    }
    struct checkpoint_batch *const b = checkpoint_batch_create();
    check(b != NULL, "checkpoint_batch_create");
    checkpoint_delete_prefix(b, bytes_of("\0", 1)); /* the queues of the run before */
    write_and_wait(q, b);
    write_records(q, QUEUED, true);
}

/* ---- both */

static void measure(const char *what, void (*run)(void *context, unsigned records), void *context,
                    unsigned batch)
{
    const uint64_t cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    const uint64_t begun = read_clock(CLOCK_MONOTONIC);
    uint64_t records = 0, now = begun;
    for (; now - begun < ROUND_NS; now = read_clock(CLOCK_MONOTONIC)) {
        run(context, batch);
        records += batch;
    }
    printf("| %-17s | %6u | %9.2f us | %9.0f/s |\n", what, batch,
           (double)(read_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e3 / (double)records,
           (double)records * 1e9 / (double)(now - begun));
}

int main(int argc, char **argv)
{
    static const unsigned batches[] = {1, 10, 100, 1000, BATCH_MAX};
    char dir[4096], command[4200];
    snprintf(dir, sizeof dir, "%s/bench-store-XXXXXX", argc > 1 ? argv[1] : ".");
    check(mkdtemp(dir) != NULL, dir);
    struct file file;
    open_file(&file, dir);
    printf("| what              |  batch | processor    | records     |\n|---|---|---|---|\n");
    for (unsigned i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        struct queues q;
        measure("pwrite, fdatasync", append, &file, batches[i]);
        open_queues(&q, dir, 1);
        measure("one queue", queue, &q, batches[i]);
        checkpoint_close(q.cp);
        open_queues(&q, dir, 1000);
        measure("1,000 queues", queue, &q, batches[i]);
        checkpoint_close(q.cp);
    }
    close(file.fd);
    free(file.bytes);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : 1;
}
