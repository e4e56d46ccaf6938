/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/keeper.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cluster/journal/files.h"

#define OPEN_MAX_ 1024u /* segments of a shard that are open; segments_max is less */
#define AGAIN_S   1

struct open_segment {
    uint64_t number; /* 0: the place is free */
    int descriptor;
};

struct kept_files {
    struct files files;
    struct keeper_slot slot;
    uint64_t removed_below;    /* those are gone */
    struct open_segment *open; /* [segments_max] */
};

struct keeper {
    struct keeper_conf conf;
    struct kept_files *shards; /* [conf.shards] */
    pthread_t thread;
    bool running;
    sem_t news;
    _Atomic bool ending; /* main's to write; release */

    /* Held by the keeper's thread while it looks after files; guards what follows. */
    pthread_mutex_t at_work;
    bool is_held; /* and lost() was not called yet */
    void (*lost)(void *context);
    void *lost_context;
};

/* ---- a hold on the files */

void keeper_hold(struct keeper *k, void (*lost)(void *context), void *context)
{
    pthread_mutex_lock(&k->at_work);
    assert(!k->is_held);
    k->is_held = true;
    k->lost = lost;
    k->lost_context = context;
    pthread_mutex_unlock(&k->at_work);
}

bool keeper_release(struct keeper *k)
{
    pthread_mutex_lock(&k->at_work);
    const bool was_held = k->is_held;
    k->is_held = false;
    pthread_mutex_unlock(&k->at_work);
    keeper_look(k); /* what could go meanwhile goes now */
    return was_held;
}

static void give_up_hold(struct keeper *k)
{
    k->is_held = false;
    k->lost(k->lost_context);
}

/* ---- descriptors */

static int remember(struct keeper *k, struct kept_files *f, uint64_t number, int descriptor)
{
    for (uint64_t i = 0; i < k->conf.segments_max; i++) {
        if (f->open[i].number == 0) {
            f->open[i] = (struct open_segment){.number = number, .descriptor = descriptor};
            return 0;
        }
    }
    close(descriptor);
    return ENOSPC;
}

static void close_below(struct keeper *k, struct kept_files *f, uint64_t needed)
{
    for (uint64_t i = 0; i < k->conf.segments_max; i++) {
        if (f->open[i].number != 0 && f->open[i].number < needed) {
            close(f->open[i].descriptor);
            f->open[i].number = 0;
        }
    }
}

/* ---- one shard's files */

static int count(struct kept_files *f)
{
    struct recover_file *list;
    size_t n;
    const int error = files_list(&f->files, &list, &n);
    if (error == 0) {
        atomic_store_explicit(&f->slot.segments, n, memory_order_relaxed);
        free(list);
    }
    return error;
}

/* While they are held, of no old one; unless there is no other way. */
static int make(struct keeper *k, struct kept_files *f, uint64_t number, uint64_t needed)
{
    const uint64_t there = atomic_load_explicit(&f->slot.segments, memory_order_relaxed);
    if (k->is_held && there < k->conf.segments_max) {
        const int error = files_prepare(&f->files, number, 0);
        if (error == 0) {
            return 0;
        }
    }
    if (k->is_held) {
        give_up_hold(k);
    }
    return files_prepare(&f->files, number, needed);
}

static int prepare(struct keeper *k, unsigned shard, uint64_t number)
{
    struct kept_files *const f = &k->shards[shard];
    int descriptor;
    const uint64_t needed = atomic_load_explicit(&f->slot.needed, memory_order_acquire);
    if (number >= needed + k->conf.segments_max) {
        return ENOSPC;
    }
    int error = make(k, f, number, needed);
    if (error != 0) {
        return error;
    }
    error = files_segment_open(&f->files, number, &descriptor);
    if (error == 0) {
        error = remember(k, f, number, descriptor);
    }
    if (error == 0) {
        f->slot.descriptor = descriptor;
        atomic_store_explicit(&f->slot.ready, number, memory_order_release);
    }
    return error;
}

static void remove_old(struct keeper *k, struct kept_files *f)
{
    const uint64_t needed = atomic_load_explicit(&f->slot.needed, memory_order_acquire);
    struct recover_file *list;
    size_t n;
    close_below(k, f, needed);
    if (k->is_held || needed <= f->removed_below || files_list(&f->files, &list, &n) != 0) {
        return;
    }
    bool all = true;
    for (size_t i = 0; i < n && list[i].number < needed; i++) {
        all = all && files_remove(&f->files, list[i].number) == 0;
    }
    free(list);
    if (all) {
        f->removed_below = needed;
    }
}

/* true: something is to be tried again. */
static bool look_after(struct keeper *k, unsigned shard)
{
    struct kept_files *const f = &k->shards[shard];
    const uint64_t wanted = atomic_load_explicit(&f->slot.wanted, memory_order_acquire);
    int error = 0;
    if (wanted > atomic_load_explicit(&f->slot.ready, memory_order_relaxed)) {
        error = prepare(k, shard, wanted); /* of an old one, where there is one: so first */
    }
    remove_old(k, f);
    const int counted = count(f);
    error = error != 0 ? error : counted;
    const bool news =
        wanted != 0 || error != atomic_load_explicit(&f->slot.error, memory_order_relaxed);
    atomic_store_explicit(&f->slot.error, error, memory_order_release);
    if (news) {
        k->conf.wake(k->conf.context, shard);
    }
    return error != 0;
}

/* ---- the thread */

static void wait_for_news(struct keeper *k, bool again)
{
    if (!again) {
        while (sem_wait(&k->news) != 0) {
        }
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += AGAIN_S;
    while (sem_timedwait(&k->news, &until) != 0 && errno == EINTR) {
    }
}

static void *run(void *context)
{
    struct keeper *const k = context;
    bool again = false;
    while (!atomic_load_explicit(&k->ending, memory_order_acquire)) {
        wait_for_news(k, again);
        while (sem_trywait(&k->news) == 0) { /* one look is for all that was said before it */
        }
        again = false;
        pthread_mutex_lock(&k->at_work);
        for (unsigned i = 0; i < k->conf.shards; i++) {
            again = look_after(k, i) || again;
        }
        pthread_mutex_unlock(&k->at_work);
    }
    return NULL;
}

int keeper_create(struct keeper **out, const struct keeper_conf *conf)
{
    assert(conf->segments_max >= 4 && conf->segments_max < OPEN_MAX_);

    struct keeper *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return ENOMEM;
    }
    k->conf = *conf;
    sem_init(&k->news, 0, 0);
    pthread_mutex_init(&k->at_work, NULL);
    k->shards = calloc(conf->shards, sizeof *k->shards);
    int error = k->shards == NULL ? ENOMEM : 0;
    for (unsigned i = 0; i < conf->shards && error == 0; i++) {
        struct kept_files *const f = &k->shards[i];
        f->files.dir = -1;
        f->open = calloc(conf->segments_max, sizeof *f->open);
        error = f->open == NULL ? ENOMEM : files_open(&f->files, conf->dir, i, conf->segment_bytes);
    }
    if (error != 0) {
        keeper_destroy(k);
        return error;
    }
    *out = k;
    return 0;
}

struct keeper_slot *keeper_slot_of(struct keeper *k, unsigned shard)
{
    return &k->shards[shard].slot;
}

int keeper_start(struct keeper *k)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&k->thread, NULL, run, k);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    k->running = error == 0;
    if (k->running) {
        pthread_setname_np(k->thread, "journal-files");
    }
    return error;
}

void keeper_look(struct keeper *k)
{
    sem_post(&k->news);
}

void keeper_stop(struct keeper *k)
{
    if (k != NULL && k->running) {
        atomic_store_explicit(&k->ending, true, memory_order_release);
        keeper_look(k);
        pthread_join(k->thread, NULL);
        k->running = false;
    }
}

void keeper_destroy(struct keeper *k)
{
    if (k == NULL) {
        return;
    }
    assert(!k->running);
    for (unsigned i = 0; k->shards != NULL && i < k->conf.shards; i++) {
        struct kept_files *const f = &k->shards[i];
        if (f->open != NULL) {
            close_below(k, f, UINT64_MAX);
        }
        free(f->open);
        if (f->files.dir >= 0) {
            files_close(&f->files);
        }
    }
    free(k->shards);
    sem_destroy(&k->news);
    pthread_mutex_destroy(&k->at_work);
    free(k);
}
