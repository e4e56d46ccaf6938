/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads and one mailbox each way: every record arrives once, whole and in order. A program of
 * its own, for ThreadSanitizer.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/shard/mailbox.h"

#define RECORDS    200000u
#define BATCH      13u
#define WORDS_MAX  30u
#define RING_BYTES 4096u

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #condition), abort()))

static unsigned words_of(uint64_t n)
{
    return (unsigned)(n * 2654435761u >> 16) % WORDS_MAX;
}

static void *produce(void *arg)
{
    struct mailbox *const m = arg;
    for (uint64_t n = 0; n < RECORDS; n++) {
        uint64_t *record;
        while ((record = mailbox_reserve(m, words_of(n) * sizeof *record)) == NULL) {
            mailbox_publish(m);
            sched_yield();
        }
        for (unsigned i = 0; i < words_of(n); i++) {
            record[i] = n + i;
        }
        mailbox_commit(m);
        if (n % BATCH == 0) {
            mailbox_publish(m);
        }
    }
    mailbox_publish(m);
    return NULL;
}

static void *consume(void *arg)
{
    struct mailbox *const m = arg;
    for (uint64_t n = 0; n < RECORDS; n++) {
        const uint64_t *record;
        size_t len;
        while ((record = mailbox_peek(m, &len)) == NULL) {
            CHECK(mailbox_is_empty(m) || mailbox_peek(m, &len) != NULL);
            sched_yield();
        }
        CHECK(len == words_of(n) * sizeof *record);
        for (unsigned i = 0; i < words_of(n); i++) {
            CHECK(record[i] == n + i);
        }
        mailbox_release(m);
    }
    CHECK(mailbox_is_empty(m));
    return NULL;
}

int main(void)
{
    struct mailbox *const m[2] = {mailbox_create(RING_BYTES), mailbox_create(RING_BYTES)};
    pthread_t threads[4];
    for (unsigned i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[2 * i], NULL, produce, m[i]) == 0);
        CHECK(pthread_create(&threads[2 * i + 1], NULL, consume, m[i]) == 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    mailbox_destroy(m[0]);
    mailbox_destroy(m[1]);
    return 0;
}
