/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/partitions/applier.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/log/log.h"
#include "broker/route/index.h"
#include "broker/store/partition_copy.h"
#include "broker/store/records_overlay.h"
#include "broker/store/serial.h"
#include "broker/store/store.h"

#define NEVER UINT64_MAX

enum job_kind {
    JOB_BEGIN,
    JOB_ENTRY,
    JOB_NOTE,
    JOB_FLUSH,
    JOB_COPY_OUT,
    JOB_COPY_IN,
};

struct job {
    struct job *next;
    uint64_t index;               /* ENTRY, COPY_IN; FLUSH: its number */
    struct applier_copy copy;     /* COPY_OUT; COPY_IN: its part */
    struct partition_place place; /* BEGIN, COPY_IN; NOTE: `changed` */
    uint32_t generation;          /* BEGIN */
    uint16_t partition;
    uint8_t kind; /* enum job_kind */
    bool erase;   /* BEGIN */
    bool is_void; /* its partition has failed, there or before */
    size_t len;
    uint8_t bytes[]; /* ENTRY, COPY_IN */
};

struct jobs {
    struct job *first, *last;
};

/* Of one partition, as the records have it; the thread's. */
struct applying {
    struct applier applier;
    struct partition_place place, written; /* written: as of the last batch that is on disk */
    uint32_t generation, written_generation;
    bool failed;

    struct copy_in *in; /* NULL: none is under way */
    struct {
        struct copy_out *of; /* NULL: none, or all of it was given */
        struct field_writer last;
        uint64_t copy, parts, index, sealed;
        uint64_t asked_ms; /* last */
        bool is_over;
    } out;
};

struct applier_thread {
    struct applier_conf conf;

    pthread_mutex_t lock; /* of what comes next */
    pthread_cond_t wanted;
    struct jobs come;
    bool ending;
    bool is_answered; /* the batch that was submitted */
    enum checkpoint_err answer;

    /* The thread's own. */
    struct records_overlay overlay;
    struct field_writer value;
    struct applying of[SERIAL_PARTITIONS];
    struct jobs to_do, since; /* since: that are carried out, and in no batch on disk */
    uint64_t touched;         /* partitions, 1 << number, whose places are others than on disk */
    uint64_t write_ms;        /* when a batch is due; NEVER: nothing has changed */
    struct checkpoint_batch *batch; /* NULL: none is under way */
    bool is_submitted;              /* it is; else it has failed, and is submitted again: */
    uint64_t again_ms;
    bool said_trouble;
    bool finishing; /* all that has changed is due */

    pthread_t thread;
    bool has_thread;

    _Atomic(struct applier_news *) news[INDEX_SHARDS_MAX];      /* the last one first */
    _Atomic uint64_t waiting_bytes, applied, batches, failures; /* relaxed */
};

static void push(struct jobs *jobs, struct job *job)
{
    job->next = NULL;
    if (jobs->last == NULL) {
        jobs->first = job;
    } else {
        jobs->last->next = job;
    }
    jobs->last = job;
}

static struct job *pop(struct jobs *jobs)
{
    struct job *const job = jobs->first;
    if (job != NULL) {
        jobs->first = job->next;
        if (job->next == NULL) {
            jobs->last = NULL;
        }
    }
    return job;
}

static void drop_all(struct jobs *jobs)
{
    for (struct job *job; (job = pop(jobs)) != NULL;) {
        free(job);
    }
}

/* ---- news */

static struct applier_news *news_create(enum applier_news_kind kind, unsigned partition, size_t len)
{
    struct applier_news *const n = malloc(sizeof *n + len);
    if (n == NULL) {
        store_out_of_memory();
    }
    *n = (struct applier_news){.partition = (uint16_t)partition, .kind = (uint8_t)kind, .len = len};
    return n;
}

static void give(struct applier_thread *t, struct applier_news *n)
{
    const unsigned shard = t->conf.homes[n->partition];
    struct applier_news *last = atomic_load_explicit(&t->news[shard], memory_order_relaxed);
    do {
        n->next = last;
    } while (!atomic_compare_exchange_weak_explicit(&t->news[shard], &last, n, memory_order_release,
                                                    memory_order_relaxed));
    t->conf.wake(t->conf.context, shard);
}

static void tell(struct applier_thread *t, enum applier_news_kind kind, unsigned partition,
                 uint32_t generation, uint64_t index)
{
    struct applier_news *const n = news_create(kind, partition, 0);
    n->index = index;
    n->generation = generation;
    give(t, n);
}

struct applier_news *applier_take(struct applier_thread *t, unsigned shard)
{
    if (!applier_has_news(t, shard)) {
        return NULL;
    }
    struct applier_news *n = atomic_exchange_explicit(&t->news[shard], NULL, memory_order_acquire);
    struct applier_news *first = NULL;
    while (n != NULL) {
        struct applier_news *const before = n->next;
        n->next = first;
        first = n;
        n = before;
    }
    return first;
}

bool applier_has_news(const struct applier_thread *t, unsigned shard)
{
    return atomic_load_explicit(&t->news[shard], memory_order_relaxed) != NULL;
}

/* ---- a batch */

static bool put_places(struct applier_thread *t)
{
    for (uint64_t set = t->touched; set != 0; set &= set - 1) {
        const unsigned p = (unsigned)__builtin_ctzll(set);
        const struct record_key key = place_key(p);
        field_writer_begin(&t->value);
        place_write(&t->value, &t->of[p].place);
        if (t->value.failed ||
            records_put(&t->overlay.records, &key, field_written(&t->value)) != CHECKPOINT_OK) {
            return false;
        }
    }
    return true;
}

/* By the checkpoint's thread. */
static void on_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    struct applier_thread *const t = context;
    (void)batch;
    pthread_mutex_lock(&t->lock);
    t->is_answered = true;
    t->answer = err;
    pthread_cond_signal(&t->wanted);
    pthread_mutex_unlock(&t->lock); /* it may be gone from here on */
}

static void submit(struct applier_thread *t)
{
    t->is_submitted = true;
    t->is_answered = false; /* nobody else looks at it meanwhile */
    checkpoint_submit(t->conf.checkpoint, t->batch, on_done, t);
}

static void begin_batch(struct applier_thread *t)
{
    if (!put_places(t)) {
        store_out_of_memory();
    }
    t->batch = records_overlay_take(&t->overlay);
    if (t->batch == NULL) {
        store_out_of_memory();
    }
    t->write_ms = NEVER;
    submit(t);
}

static void tell_taken(struct applier_thread *t, const struct job *job)
{
    const struct applying *const a = &t->of[job->partition];
    const bool is_over = a->in == NULL;
    struct applier_news *const n =
        news_create(is_over ? APPLIER_COPIED : APPLIER_TAKEN, job->partition, 0);
    n->generation = a->generation;
    n->index = job->index;
    n->part = job->copy.part;
    give(t, n);
}

static void tell_written(struct applier_thread *t)
{
    for (uint64_t set = t->touched; set != 0; set &= set - 1) {
        const unsigned p = (unsigned)__builtin_ctzll(set);
        struct applying *const a = &t->of[p];
        a->written = a->place;
        a->written_generation = a->generation;
        tell(t, APPLIER_WRITTEN, p, a->generation, a->place.index);
    }
    t->touched = 0;
    for (struct job *job; (job = pop(&t->since)) != NULL; free(job)) {
        if (job->kind == JOB_FLUSH) {
            tell(t, APPLIER_FLUSHED, job->partition, t->of[job->partition].generation, job->index);
        } else if (job->kind == JOB_COPY_IN && !job->is_void) {
            tell_taken(t, job);
        }
    }
}

/* The checkpoint has answered. */
static void end_batch(struct applier_thread *t, enum checkpoint_err err)
{
    t->is_submitted = false;
    if (err != CHECKPOINT_OK) {
        atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);
        t->again_ms = t->conf.clock_ms() + APPLIER_AGAIN_MS;
        if (!t->said_trouble) {
            t->said_trouble = true;
            log_event(LOG_ERROR, "partitions_not_written",
                      LOG_TEXT("reason", checkpoint_err_text(err)),
                      LOG_TEXT("meaning", "it is tried again; what is committed is in journals"));
        }
        return;
    }
    t->said_trouble = false;
    checkpoint_batch_destroy(t->batch);
    t->batch = NULL;
    atomic_fetch_add_explicit(&t->batches, 1, memory_order_relaxed);
    tell_written(t);
}

/* ---- carrying out */

static void change(struct applier_thread *t, unsigned partition)
{
    t->touched |= UINT64_C(1) << partition;
    if (t->write_ms == NEVER) {
        t->write_ms = t->conf.clock_ms() + APPLIER_WRITE_MS;
    }
}

/* NULL: it went well. */
static const char *begin(struct applier_thread *t, const struct job *job)
{
    struct applying *const a = &t->of[job->partition];
    const uint64_t changed = a->place.changed;
    a->generation = job->generation;
    a->place = job->place;
    a->place.changed = changed > job->place.changed ? changed : job->place.changed;
    change(t, job->partition);
    const enum checkpoint_err err =
        job->erase ? partition_erase(&t->overlay.records, job->partition) : CHECKPOINT_OK;
    return err == CHECKPOINT_OK ? NULL : checkpoint_err_text(err);
}

static const char *apply(struct applier_thread *t, const struct job *job)
{
    struct applying *const a = &t->of[job->partition];
    struct applied applied;
    if (job->index <= a->place.index) {
        return NULL;
    }
    const enum apply_err err =
        apply_entry(&a->applier, job->index, bytes_of(job->bytes, job->len), &applied);
    if (err == APPLY_RECORDS && a->applier.err == CHECKPOINT_NO_MEMORY) {
        store_out_of_memory();
    }
    if (err != APPLY_OK) {
        return err == APPLY_RECORDS ? checkpoint_err_text(a->applier.err) : apply_err_text(err);
    }
    a->place.index = job->index;
    a->place.sealed = applied.sealed;
    change(t, job->partition);
    return NULL;
}

static void end_copy_in(struct applying *a)
{
    if (a->in != NULL) {
        copy_in_end(a->in);
        free(a->in);
        a->in = NULL;
    }
}

static enum copy_err begin_copy_in(struct applier_thread *t, struct applying *a, unsigned partition)
{
    end_copy_in(a);
    a->in = malloc(sizeof *a->in);
    if (a->in == NULL) {
        store_out_of_memory();
    }
    return copy_in_begin(a->in, &t->overlay.records, partition);
}

/* It is the last job of its batch: so that it is never done twice. */
static const char *copy_in(struct applier_thread *t, const struct job *job)
{
    struct applying *const a = &t->of[job->partition];
    enum copy_err err = COPY_OK;
    if (job->copy.part == 0) {
        err = begin_copy_in(t, a, job->partition);
    }
    if (a->in == NULL) {
        return copy_err_text(COPY_OUT_OF_ORDER);
    }
    if (err == COPY_OK) {
        err = copy_in_part(a->in, bytes_of(job->bytes, job->len));
    }
    if (err == COPY_RECORDS && a->in->err == CHECKPOINT_NO_MEMORY) {
        store_out_of_memory();
    }
    if (err != COPY_OK) {
        end_copy_in(a);
        return copy_err_text(err);
    }
    if (a->in->is_over) {
        a->place.index = job->index;
        a->place.sealed = job->place.sealed;
        end_copy_in(a);
    }
    change(t, job->partition);
    t->write_ms = 0;
    return NULL;
}

static void note(struct applier_thread *t, const struct job *job)
{
    struct partition_place *const place = &t->of[job->partition].place;
    if (job->place.changed > place->changed) {
        place->changed = job->place.changed;
        change(t, job->partition);
    }
}

/* What is wrong; NULL: nothing. */
static const char *carry_out(struct applier_thread *t, const struct job *job)
{
    if (job->is_void) {
        return NULL;
    }
    switch (job->kind) {
    case JOB_BEGIN:
        return begin(t, job);
    case JOB_ENTRY:
        return apply(t, job);
    case JOB_NOTE:
        note(t, job);
        return NULL;
    case JOB_COPY_IN:
        return copy_in(t, job);
    default: /* of a flush: when its batch is there */
        t->write_ms = 0;
        return NULL;
    }
}

/* As it was when the last batch was written. */
static void go_back(struct applier_thread *t)
{
    records_overlay_drop(&t->overlay);
    t->touched = 0;
    t->write_ms = NEVER;
    for (unsigned p = 0; p < SERIAL_PARTITIONS; p++) {
        t->of[p].place = t->of[p].written;
        t->of[p].generation = t->of[p].written_generation;
    }
}

/* Nothing of it is to be written that is behind what is on disk, or behind its beginning. */
static void fail(struct applier_thread *t, struct job *job, const char *why)
{
    struct applying *const a = &t->of[job->partition];
    a->failed = job->is_void = true;
    for (struct job *other = t->since.first; other != NULL; other = other->next) {
        other->is_void =
            other->is_void || (other->partition == job->partition && other->kind == JOB_ENTRY);
    }
    log_event(LOG_ERROR, "partition_failed", LOG_NUMBER("partition", job->partition),
              LOG_NUMBER("index", job->index), LOG_TEXT("reason", why),
              LOG_TEXT("meaning", "this node does not go on with it until it is started anew"));
    tell(t, APPLIER_FAILED, job->partition, a->generation, job->index);
}

/* ---- copies, for others */

static void end_copy_out(struct applying *a)
{
    copy_out_destroy(a->out.of);
    a->out.of = NULL;
}

/* false: not that part. */
static bool make_part(struct applier_thread *t, const struct job *job)
{
    struct applying *const a = &t->of[job->partition];
    const struct applier_copy *const want = &job->copy;
    const uint64_t now_ms = t->conf.clock_ms();
    if (a->failed || a->in != NULL || a->place.incarnation != want->incarnation ||
        (want->copy != a->out.copy && now_ms < a->out.asked_ms + APPLIER_COPY_MS &&
         a->out.of != NULL)) {
        return false;
    }
    if (want->copy != a->out.copy && want->part == 0) {
        end_copy_out(a);
        a->out.of = copy_out_create(&t->overlay.records, job->partition);
        a->out.copy = want->copy;
        a->out.parts = 0;
        a->out.index = a->place.index;
        a->out.sealed = a->place.sealed;
    }
    a->out.asked_ms = now_ms;
    if (want->copy == a->out.copy && want->part + 1 == a->out.parts) {
        return true; /* once more */
    }
    if (want->copy != a->out.copy || want->part != a->out.parts || a->out.of == NULL ||
        copy_out_part(a->out.of, APPLIER_PART_BYTES, &a->out.last, &a->out.is_over) != COPY_OK) {
        end_copy_out(a);
        return false;
    }
    a->out.parts++;
    if (a->out.is_over) {
        end_copy_out(a);
    }
    return true;
}

static void copy_out(struct applier_thread *t, const struct job *job)
{
    const bool is_there = make_part(t, job);
    struct applying *const a = &t->of[job->partition];
    const struct bytes part = is_there ? field_written(&a->out.last) : bytes_of(NULL, 0);
    struct applier_news *const n =
        news_create(is_there ? APPLIER_PART : APPLIER_PART_NOT, job->partition, part.len);
    n->generation = a->generation;
    n->copy = job->copy.copy;
    n->part = job->copy.part;
    n->to = job->copy.to;
    n->index = a->out.index;
    n->sealed = a->out.sealed;
    n->is_last = is_there && a->out.is_over;
    if (part.len > 0) {
        memcpy(n->bytes, part.at, part.len);
    }
    give(t, n);
}

/* ---- the order of it all */

/* All that was carried out since the last batch once more, but for partitions that have failed. */
static void do_again(struct applier_thread *t)
{
    for (bool is_well = false; !is_well;) {
        is_well = true;
        go_back(t);
        for (struct job *job = t->since.first; job != NULL && is_well; job = job->next) {
            const char *const why = carry_out(t, job);
            if (why != NULL) {
                fail(t, job, why);
                is_well = false;
            }
        }
    }
}

static void do_one(struct applier_thread *t, struct job *job)
{
    if (job->kind == JOB_ENTRY) {
        atomic_fetch_sub_explicit(&t->waiting_bytes, job->len, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->applied, 1, memory_order_relaxed);
    }
    struct applying *const a = &t->of[job->partition];
    if (job->kind == JOB_COPY_OUT) {
        copy_out(t, job);
        free(job);
        return;
    }
    if (job->kind == JOB_BEGIN) {
        a->failed = false;
        end_copy_in(a);
        end_copy_out(a);
        a->out.copy = a->out.parts = 0;
    }
    job->is_void = a->failed && (job->kind == JOB_ENTRY || job->kind == JOB_COPY_IN);
    const char *const why = carry_out(t, job);
    push(&t->since, job);
    if (why != NULL && job->kind == JOB_COPY_IN) {
        job->is_void = true;
        log_event(LOG_WARNING, "partition_copy_failed", LOG_NUMBER("partition", job->partition),
                  LOG_TEXT("reason", why), LOG_TEXT("meaning", "it is begun anew"));
        tell(t, APPLIER_COPY_FAILED, job->partition, a->generation, 0);
        do_again(t);
    } else if (why != NULL) {
        fail(t, job, why);
        do_again(t);
    }
}

static void take_come(struct applier_thread *t)
{
    pthread_mutex_lock(&t->lock);
    struct jobs come = t->come;
    t->come = (struct jobs){NULL, NULL};
    pthread_mutex_unlock(&t->lock);
    if (come.first != NULL && t->to_do.last != NULL) {
        t->to_do.last->next = come.first;
        t->to_do.last = come.last;
    } else if (come.first != NULL) {
        t->to_do = come;
    }
}

static bool take_answer(struct applier_thread *t)
{
    pthread_mutex_lock(&t->lock);
    const bool is_answered = t->is_answered;
    const enum checkpoint_err err = t->answer;
    pthread_mutex_unlock(&t->lock);
    if (is_answered) {
        end_batch(t, err);
    }
    return is_answered;
}

static bool is_due(const struct applier_thread *t)
{
    return t->write_ms != NEVER && (records_overlay_bytes(&t->overlay) >= APPLIER_BYTES_MAX ||
                                    t->finishing || t->write_ms <= t->conf.clock_ms());
}

void applier_work(struct applier_thread *t)
{
    for (;;) {
        if (t->batch != NULL && t->is_submitted && !take_answer(t)) {
            return;
        }
        if (t->batch != NULL) { /* it has failed */
            if (t->conf.clock_ms() < t->again_ms) {
                return;
            }
            submit(t);
            continue;
        }
        take_come(t);
        while (t->to_do.first != NULL && t->write_ms != 0 &&
               records_overlay_bytes(&t->overlay) < APPLIER_BYTES_MAX) {
            do_one(t, pop(&t->to_do));
        }
        if (t->to_do.first == NULL && !is_due(t)) {
            return;
        }
        begin_batch(t);
    }
}

/* With the lock. */
static uint64_t next_ms(const struct applier_thread *t)
{
    if (t->batch != NULL && t->is_submitted) {
        return t->is_answered ? 0 : NEVER;
    }
    if (t->batch != NULL) {
        return t->again_ms;
    }
    return t->come.first != NULL ? 0 : t->write_ms;
}

bool applier_is_writing(struct applier_thread *t)
{
    pthread_mutex_lock(&t->lock);
    const bool is_writing = t->batch != NULL && t->is_submitted && !t->is_answered;
    pthread_mutex_unlock(&t->lock);
    return is_writing;
}

uint64_t applier_next_ms(struct applier_thread *t)
{
    pthread_mutex_lock(&t->lock);
    const uint64_t ms = next_ms(t);
    pthread_mutex_unlock(&t->lock);
    return ms;
}

/* ---- the thread */

static void wait_until(struct applier_thread *t, uint64_t ms)
{
    const uint64_t now_ms = t->conf.clock_ms();
    if (ms == NEVER) {
        pthread_cond_wait(&t->wanted, &t->lock);
        return;
    }
    if (ms <= now_ms) {
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const uint64_t ns = (uint64_t)until.tv_nsec + (ms - now_ms) * 1000000;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    (void)pthread_cond_timedwait(&t->wanted, &t->lock, &until);
}

static void *run(void *context)
{
    struct applier_thread *const t = context;
    bool ending = false;
    while (!ending) {
        applier_work(t);
        pthread_mutex_lock(&t->lock);
        if (!t->ending) {
            wait_until(t, next_ms(t));
        }
        ending = t->ending;
        pthread_mutex_unlock(&t->lock);
    }
    return NULL;
}

/* Once, without trying again: what is not on disk now is in the journals. */
static void write_rest(struct applier_thread *t)
{
    t->finishing = true;
    do {
        pthread_mutex_lock(&t->lock);
        while (t->batch != NULL && t->is_submitted && !t->is_answered) {
            pthread_cond_wait(&t->wanted, &t->lock);
        }
        pthread_mutex_unlock(&t->lock);
        applier_work(t);
    } while (t->batch != NULL && t->is_submitted);
    if (t->batch != NULL) {
        log_event(LOG_WARNING, "checkpoint_missed",
                  LOG_TEXT("meaning", "nothing is lost; the next start reads the journal"));
    }
}

void applier_end(struct applier_thread *t)
{
    if (t->has_thread) {
        pthread_mutex_lock(&t->lock);
        t->ending = true;
        pthread_cond_signal(&t->wanted);
        pthread_mutex_unlock(&t->lock);
        pthread_join(t->thread, NULL);
        t->has_thread = false;
    }
    write_rest(t);
}

static bool start(struct applier_thread *t)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    t->has_thread = pthread_create(&t->thread, NULL, run, t) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (t->has_thread) {
        pthread_setname_np(t->thread, "applier");
    }
    return t->has_thread;
}

struct applier_thread *applier_create(const struct applier_conf *conf)
{
    struct applier_thread *const t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    t->conf = *conf;
    t->write_ms = NEVER;
    records_overlay_init(&t->overlay, conf->checkpoint);
    for (unsigned p = 0; p < SERIAL_PARTITIONS; p++) {
        applier_init(&t->of[p].applier, &t->overlay.records, p);
        t->of[p].place = t->of[p].written = conf->places[p];
    }
    pthread_condattr_t by_monotonic;
    pthread_condattr_init(&by_monotonic);
    pthread_condattr_setclock(&by_monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wanted, &by_monotonic);
    pthread_condattr_destroy(&by_monotonic);
    pthread_mutex_init(&t->lock, NULL);
    if (!conf->by_hand && !start(t)) {
        applier_destroy(t);
        return NULL;
    }
    return t;
}

void applier_destroy(struct applier_thread *t)
{
    if (t == NULL) {
        return;
    }
    assert(!t->has_thread);
    drop_all(&t->come);
    drop_all(&t->to_do);
    drop_all(&t->since);
    checkpoint_batch_destroy(t->batch);
    for (unsigned i = 0; i < t->conf.shards; i++) {
        for (struct applier_news *n = applier_take(t, i); n != NULL;) {
            struct applier_news *const next = n->next;
            free(n);
            n = next;
        }
    }
    for (unsigned p = 0; p < SERIAL_PARTITIONS; p++) {
        applier_fini(&t->of[p].applier);
        end_copy_in(&t->of[p]);
        end_copy_out(&t->of[p]);
        field_writer_fini(&t->of[p].out.last);
    }
    records_overlay_fini(&t->overlay);
    field_writer_fini(&t->value);
    pthread_cond_destroy(&t->wanted);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- jobs */

static struct job *job_create(enum job_kind kind, unsigned partition, size_t len)
{
    struct job *const job = malloc(sizeof *job + len);
    if (job == NULL) {
        store_out_of_memory();
    }
    *job = (struct job){.kind = (uint8_t)kind, .partition = (uint16_t)partition, .len = len};
    return job;
}

static void hand_over(struct applier_thread *t, struct job *job)
{
    assert(job->partition < SERIAL_PARTITIONS);
    pthread_mutex_lock(&t->lock);
    const bool was_empty = t->come.first == NULL;
    push(&t->come, job);
    if (was_empty) {
        pthread_cond_signal(&t->wanted);
    }
    pthread_mutex_unlock(&t->lock);
}

void applier_begin(struct applier_thread *t, unsigned partition, uint32_t generation,
                   const struct partition_place *place, bool erase)
{
    struct job *const job = job_create(JOB_BEGIN, partition, 0);
    job->generation = generation;
    job->place = *place;
    job->erase = erase;
    hand_over(t, job);
}

void applier_entry(struct applier_thread *t, unsigned partition, uint64_t index, struct bytes entry)
{
    struct job *const job = job_create(JOB_ENTRY, partition, entry.len);
    job->index = index;
    memcpy(job->bytes, entry.at, entry.len);
    atomic_fetch_add_explicit(&t->waiting_bytes, entry.len, memory_order_relaxed);
    hand_over(t, job);
}

void applier_note(struct applier_thread *t, unsigned partition, uint64_t changed)
{
    struct job *const job = job_create(JOB_NOTE, partition, 0);
    job->place.changed = changed;
    hand_over(t, job);
}

void applier_flush(struct applier_thread *t, unsigned partition, uint64_t number)
{
    struct job *const job = job_create(JOB_FLUSH, partition, 0);
    job->index = number;
    hand_over(t, job);
}

void applier_copy_out(struct applier_thread *t, unsigned partition,
                      const struct applier_copy *wanted)
{
    struct job *const job = job_create(JOB_COPY_OUT, partition, 0);
    job->copy = *wanted;
    hand_over(t, job);
}

void applier_copy_in(struct applier_thread *t, unsigned partition, uint64_t part,
                     const struct partition_place *of, struct bytes bytes)
{
    struct job *const job = job_create(JOB_COPY_IN, partition, bytes.len);
    job->copy.part = part;
    job->place = *of;
    job->index = of->index;
    memcpy(job->bytes, bytes.at, bytes.len);
    hand_over(t, job);
}

/* ---- figures */

struct applier_figures applier_figures(const struct applier_thread *t)
{
    return (struct applier_figures){
        .waiting_bytes = atomic_load_explicit(&t->waiting_bytes, memory_order_relaxed),
        .applied = atomic_load_explicit(&t->applied, memory_order_relaxed),
        .batches = atomic_load_explicit(&t->batches, memory_order_relaxed),
        .failures = atomic_load_explicit(&t->failures, memory_order_relaxed),
    };
}
