/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For ThreadSanitizer: shards that submit and read, someone who reads all of it, and a copy, while
 * the map is enlarged again and again.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/checkpoint.h"

#define SHARDS  3u
#define BATCHES 60u
#define VALUES  40u

static struct checkpoint *cp;
static atomic_uint done_batches, done_reads, ended;
static char dir[] = "/tmp/dunlin-checkpoint-XXXXXX";

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "failed: %s\n", what);
        abort();
    }
}

static void on_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    (void)context;
    check(err == CHECKPOINT_OK, checkpoint_err_text(err));
    checkpoint_batch_destroy(batch);
    atomic_fetch_add(&done_batches, 1);
}

static void on_read(struct checkpoint_read *r)
{
    check(r->err == CHECKPOINT_OK, checkpoint_err_text(r->err));
    free(r->pairs);
    free(r);
    atomic_fetch_add(&done_reads, 1);
}

static void *run_shard(void *context)
{
    const uint8_t number = *(const uint8_t *)context;
    static const uint8_t value[700];
    for (unsigned i = 0; i < BATCHES; i++) {
        struct checkpoint_batch *const b = checkpoint_batch_create();
        struct checkpoint_read *const r = calloc(1, sizeof *r);
        check(b != NULL && r != NULL, "memory");
        for (unsigned k = 0; k < VALUES; k++) {
            const uint8_t key[] = {number, (uint8_t)i, (uint8_t)k};
            checkpoint_put(b, bytes_of(key, sizeof key), bytes_of(value, sizeof value));
        }
        checkpoint_add(b, bytes_text("body"), 1, bytes_text("text"));
        checkpoint_submit(cp, b, on_done, NULL);
        *r = (struct checkpoint_read){
            .prefix = bytes_of(context, 1), .bytes_max = 100000, .done = on_read};
        checkpoint_read(cp, r);
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

static bool see(void *context, struct bytes key, struct bytes value)
{
    *(size_t *)context += key.len + value.len;
    return true;
}

static void *run_looker(void *context)
{
    (void)context;
    do {
        size_t bytes = 0;
        check(checkpoint_each(cp, bytes_text(""), see, &bytes) == CHECKPOINT_OK, "each");
        (void)checkpoint_stats(cp);
    } while (atomic_load(&ended) < SHARDS);
    return NULL;
}

int main(void)
{
    static const uint8_t numbers[SHARDS] = {1, 2, 3};
    const struct checkpoint_conf conf = {.map_bytes = 1 << 17, .map_bytes_max = 64 << 20};
    pthread_t threads[SHARDS + 1];
    int sys_errno;
    char path[128], command[160];
    check(mkdtemp(dir) != NULL, dir);
    snprintf(path, sizeof path, "%s/copy", dir);
    check(checkpoint_open(&cp, dir, &conf, &sys_errno) == CHECKPOINT_OK, "open");
    for (unsigned i = 0; i < SHARDS; i++) {
        void *const number = (void *)(uintptr_t)&numbers[i];
        check(pthread_create(&threads[i], NULL, run_shard, number) == 0, "thread");
    }
    check(pthread_create(&threads[SHARDS], NULL, run_looker, NULL) == 0, "thread");
    const int copy = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    check(copy >= 0, "file");
    check(checkpoint_copy(cp, copy, &sys_errno) == CHECKPOINT_OK, "copy");
    close(copy);
    for (unsigned i = 0; i <= SHARDS; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t count;
    struct checkpoint_batch *const last = checkpoint_batch_create();
    check(last != NULL, "memory");
    checkpoint_submit(cp, last, on_done, NULL);
    checkpoint_close(cp);
    check(checkpoint_open(&cp, dir, &conf, &sys_errno) == CHECKPOINT_OK, "open");
    check(checkpoint_count(cp, bytes_text("body"), &count) == CHECKPOINT_OK, "count");
    checkpoint_close(cp);
    check(count == SHARDS * BATCHES, "each counted once");
    check(atomic_load(&done_batches) == SHARDS * BATCHES + 1, "each told once");
    check(atomic_load(&done_reads) == SHARDS * BATCHES, "each read told once");
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) == 0 ? 0 : 1;
}
