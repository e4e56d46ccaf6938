/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint: two threads around an LMDB environment.
 *
 * The writing thread takes what waits, up to some size, orders it, and writes it in one
 * transaction. The reading thread has transactions of its own, which see the last commit and hold
 * nobody up. Whoever reads has `in_use` shared; the writing thread takes it for itself where the
 * map is enlarged or the environment opened anew, since LMDB can do neither with a transaction
 * open. So that it need not wait for a long reader, it enlarges a map that is half full as soon as
 * nobody reads, and waits only when it is full.
 *
 * Nothing is half-written: LMDB writes new pages, syncs them, and then a page that says which are
 * the tree's. Where that last write fails, LMDB takes it back and wants to be opened anew
 * (MDB_PANIC). Whether it had reached the disk, the number of the last transaction tells then.
 * Where the disk does not even let itself be opened, that is found out later, and batches of it
 * that are submitted again are not carried out again (`landed`).
 */
#include "broker/store/checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/store/checkpoint_batch.h"
#include "broker/store/checkpoint_env.h"
#include "broker/store/checkpoint_write.h"

#define TOGETHER_BYTES_MAX ((size_t)64 << 20) /* of batches in one transaction, but for one */
#define PAIRS_BYTES_FIRST  ((size_t)4096)

enum figure {
    COMMITS,
    BATCHES,
    CHANGES,
    BYTES,
    FAILURES,
    MISCOUNTED,
    READS,
    LAST_NS,
    MAP_BYTES,
    USED_BYTES,
    WAITING,
    FIGURES
};

struct checkpoint {
    struct checkpoint_env env;
    pthread_rwlock_t in_use; /* of env: shared by readers, for who changes it alone */

    pthread_mutex_t lock; /* of all below, to `stopping`; never held for long */
    pthread_cond_t asked, submitted;
    struct checkpoint_batch *batches, *batches_last; /* that wait */
    struct checkpoint_read *reads, *reads_last;
    bool stopping;

    /* The writing thread's */
    size_t doubtful_txn; /* the last one that failed when it was committed; 0: none */
    uint64_t failed_commits;
    uint64_t landed; /* the one of these that is in the tree all the same; 0: none */

    pthread_t writer, reader;
    bool has_writer, has_reader;

    /* Written by one of the threads each, read by any; relaxed, no order promised. WAITING is added
     * to by any. */
    _Atomic uint64_t figures[FIGURES];
};

static void count(struct checkpoint *cp, enum figure figure, uint64_t n)
{
    atomic_fetch_add_explicit(&cp->figures[figure], n, memory_order_relaxed);
}

static void set(struct checkpoint *cp, enum figure figure, uint64_t n)
{
    atomic_store_explicit(&cp->figures[figure], n, memory_order_relaxed);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- changing the environment */

static void show_size(struct checkpoint *cp)
{
    set(cp, MAP_BYTES, cp->env.map_bytes);
    set(cp, USED_BYTES, checkpoint_env_used(&cp->env));
}

static int reopen(struct checkpoint *cp)
{
    pthread_rwlock_wrlock(&cp->in_use);
    const int rc = checkpoint_env_reopen(&cp->env);
    pthread_rwlock_unlock(&cp->in_use);
    return rc;
}

static int enlarge(struct checkpoint *cp)
{
    pthread_rwlock_wrlock(&cp->in_use);
    const int rc = checkpoint_env_enlarge(&cp->env);
    pthread_rwlock_unlock(&cp->in_use);
    return rc;
}

/* While there is half of it left, and nobody is in the way. */
static void enlarge_ahead(struct checkpoint *cp)
{
    if (checkpoint_env_used(&cp->env) > cp->env.map_bytes / 2 &&
        pthread_rwlock_trywrlock(&cp->in_use) == 0) {
        (void)checkpoint_env_enlarge(&cp->env); /* or when it has to be */
        pthread_rwlock_unlock(&cp->in_use);
    }
}

/* ---- writing */

static int begin(struct checkpoint *cp, MDB_txn **txn)
{
    int rc = cp->env.env != NULL ? mdb_txn_begin(cp->env.env, NULL, 0, txn) : MDB_PANIC;
    if (rc == MDB_PANIC) {
        rc = reopen(cp);
        if (rc == 0) {
            rc = mdb_txn_begin(cp->env.env, NULL, 0, txn);
        }
    }
    if (rc == 0 && cp->doubtful_txn != 0) {
        if (mdb_txn_id(*txn) > cp->doubtful_txn) {
            cp->landed = cp->failed_commits;
        }
        cp->doubtful_txn = 0;
    }
    return rc;
}

static bool has_landed(const struct checkpoint *cp, const struct checkpoint_batch *batch)
{
    return batch->failed_commit != 0 && batch->failed_commit == cp->landed;
}

static bool make_plan(const struct checkpoint *cp, struct plan *plan,
                      const struct checkpoint_batch *batches)
{
    uint32_t capacity = 0;
    for (const struct checkpoint_batch *b = batches; b != NULL; b = b->next) {
        if (b->spoilt || __builtin_add_overflow(capacity, b->count, &capacity)) {
            return false;
        }
    }
    if (!plan_init(plan, capacity)) {
        return false;
    }
    for (const struct checkpoint_batch *b = batches; b != NULL; b = b->next) {
        if (!has_landed(cp, b)) {
            plan_add(plan, b);
        }
    }
    plan_sort(plan);
    return true;
}

static int write_changes(struct checkpoint *cp, struct checkpoint_write *w,
                         const struct checkpoint_batch *batches, const struct plan *plan)
{
    int rc = mdb_cursor_open(w->txn, cp->env.data, &w->data);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_open(w->txn, cp->env.counts, &w->counts);
    if (rc == 0) {
        rc = checkpoint_write(w, plan);
        if (rc == 0) {
            rc = checkpoint_write_let_go(w);
        }
        mdb_cursor_close(w->counts);
    }
    mdb_cursor_close(w->data);
    for (const struct checkpoint_batch *b = batches; b != NULL && rc == 0; b = b->next) {
        if (!has_landed(cp, b)) {
            rc = checkpoint_write_meta(w, b);
        }
    }
    return rc;
}

/* LMDB is opened anew at once where it has to be, so that readers can go on. */
static int commit(struct checkpoint *cp, MDB_txn *txn, struct checkpoint_batch *batches)
{
    const size_t id = mdb_txn_id(txn);
    const int rc = mdb_txn_commit(txn);
    if (rc == 0) {
        return 0;
    }
    cp->doubtful_txn = id;
    cp->failed_commits++;
    for (struct checkpoint_batch *b = batches; b != NULL; b = b->next) {
        if (!has_landed(cp, b)) {
            b->failed_commit = cp->failed_commits;
        }
    }
    if (begin(cp, &txn) == 0) {
        mdb_txn_abort(txn);
    }
    return cp->landed == cp->failed_commits ? 0 : rc;
}

/* One transaction. *w has what it did. */
static int try(struct checkpoint *cp, struct checkpoint_write *w, struct checkpoint_batch *batches)
{
    struct plan plan = {.entries = NULL};
    *w = (struct checkpoint_write){.env = &cp->env};
    int rc = begin(cp, &w->txn);
    if (rc != 0) {
        return rc;
    }
    if (!make_plan(cp, &plan, batches)) {
        rc = ENOMEM;
    }
    if (rc == 0) {
        rc = write_changes(cp, w, batches, &plan);
    }
    plan_fini(&plan);
    checkpoint_batch_destroy(w->let_go);
    w->let_go = NULL;
    if (rc == 0) {
        return commit(cp, w->txn, batches);
    }
    mdb_txn_abort(w->txn);
    return rc;
}

static enum checkpoint_err write_together(struct checkpoint *cp, struct checkpoint_batch *batches)
{
    const uint64_t begun_ns = now_ns();
    struct checkpoint_write w;
    int rc;
    do { /* ends, as the map has a bound */
        rc = try(cp, &w, batches);
    } while (rc == MDB_MAP_FULL && (rc = enlarge(cp)) == 0);
    const enum checkpoint_err err = checkpoint_err_of(rc, cp->env.path);
    if (err == CHECKPOINT_OK) {
        count(cp, COMMITS, 1);
        count(cp, BYTES, w.bytes);
        count(cp, MISCOUNTED, w.miscounted);
        enlarge_ahead(cp);
    }
    set(cp, LAST_NS, now_ns() - begun_ns);
    show_size(cp);
    return err;
}

static void tell(struct checkpoint *cp, struct checkpoint_batch *batches, enum checkpoint_err err)
{
    while (batches != NULL) {
        struct checkpoint_batch *const b = batches;
        batches = b->next;
        b->next = NULL;
        if (err == CHECKPOINT_OK) {
            count(cp, BATCHES, 1);
            count(cp, CHANGES, b->count);
            b->failed_commit = 0;
        } else {
            count(cp, FAILURES, 1);
        }
        atomic_fetch_sub_explicit(&cp->figures[WAITING], 1, memory_order_relaxed);
        b->done(b->context, b, err);
    }
}

/* What is to be written together; NULL: nothing more will come. A batch that is spoilt goes alone.
 */
static struct checkpoint_batch *next_batches(struct checkpoint *cp)
{
    pthread_mutex_lock(&cp->lock);
    while (cp->batches == NULL && !cp->stopping) {
        pthread_cond_wait(&cp->submitted, &cp->lock);
    }
    struct checkpoint_batch *const first = cp->batches, *last = first;
    if (first != NULL) {
        size_t bytes = first->bytes;
        while (!first->spoilt && last->next != NULL && !last->next->spoilt &&
               bytes + last->next->bytes <= TOGETHER_BYTES_MAX) {
            last = last->next;
            bytes += last->bytes;
        }
        cp->batches = last->next;
        last->next = NULL;
    }
    pthread_mutex_unlock(&cp->lock);
    return first;
}

static void *run_writer(void *context)
{
    struct checkpoint *const cp = context;
    for (struct checkpoint_batch *batches; (batches = next_batches(cp)) != NULL;) {
        tell(cp, batches, write_together(cp, batches));
    }
    return NULL;
}

void checkpoint_submit(struct checkpoint *cp, struct checkpoint_batch *batch,
                       checkpoint_done_fn *done, void *context)
{
    batch->next = NULL;
    batch->done = done;
    batch->context = context;
    atomic_fetch_add_explicit(&cp->figures[WAITING], 1, memory_order_relaxed);
    pthread_mutex_lock(&cp->lock);
    assert(!cp->stopping);
    if (cp->batches == NULL) {
        cp->batches = batch;
    } else {
        cp->batches_last->next = batch;
    }
    cp->batches_last = batch;
    pthread_cond_signal(&cp->submitted);
    pthread_mutex_unlock(&cp->lock);
}

/* ---- reading */

/* Until view_end(), whatever it answers. */
static int view_begin(struct checkpoint *cp, MDB_txn **txn)
{
    *txn = NULL;
    pthread_rwlock_rdlock(&cp->in_use);
    const int rc =
        cp->env.env != NULL ? mdb_txn_begin(cp->env.env, NULL, MDB_RDONLY, txn) : MDB_PANIC;
    if (rc != 0) {
        *txn = NULL;
    }
    return rc;
}

static void view_end(struct checkpoint *cp, MDB_txn *txn)
{
    if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    pthread_rwlock_unlock(&cp->in_use);
}

static bool begins_with(MDB_val key, struct bytes prefix)
{
    return key.mv_size >= prefix.len &&
           (prefix.len == 0 || memcmp(key.mv_data, prefix.at, prefix.len) == 0);
}

/* Calls fn from `from` on, until it answers false: 0, or an error. */
static int walk(MDB_txn *txn, MDB_dbi dbi, struct bytes prefix, struct bytes from,
                bool (*fn)(void *context, struct bytes key, struct bytes value), void *context)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != 0) {
        return rc;
    }
    MDB_val key = val_of(from), stored;
    rc = mdb_cursor_get(cursor, &key, &stored, from.len > 0 ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && begins_with(key, prefix)) {
        struct bytes value;
        rc = stored_decode(&value, bytes_of_val(key), stored);
        if (rc == 0 && !fn(context, bytes_of_val(key), value)) {
            break;
        }
        if (rc == 0) {
            rc = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

enum checkpoint_err checkpoint_each(struct checkpoint *cp, struct bytes prefix,
                                    bool (*fn)(void *context, struct bytes key, struct bytes value),
                                    void *context)
{
    MDB_txn *txn;
    int rc = view_begin(cp, &txn);
    if (rc == 0) {
        rc = walk(txn, cp->env.data, prefix, prefix, fn, context);
    }
    view_end(cp, txn);
    return checkpoint_err_of(rc, NULL);
}

static int count_of(struct checkpoint *cp, MDB_txn *txn, struct bytes key, uint64_t *n)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, cp->env.counts, &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_count_above_one(cursor, key, n);
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        MDB_val k = val_of(key), stored;
        rc = mdb_get(txn, cp->env.data, &k, &stored);
        *n = rc == 0;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

enum checkpoint_err checkpoint_count(struct checkpoint *cp, struct bytes key, uint64_t *n)
{
    MDB_txn *txn;
    int rc = view_begin(cp, &txn);
    if (rc == 0) {
        rc = count_of(cp, txn, key, n);
    }
    view_end(cp, txn);
    return checkpoint_err_of(rc, NULL);
}

static int copy_meta(struct checkpoint *cp, MDB_txn *txn, struct bytes name, uint8_t **value,
                     size_t *len)
{
    MDB_val key = val_of(name), stored;
    struct bytes found;
    int rc = mdb_get(txn, cp->env.meta, &key, &stored);
    if (rc == 0) {
        rc = stored_decode(&found, name, stored);
    }
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    *value = malloc(found.len + 1);
    if (*value == NULL) {
        return ENOMEM;
    }
    memcpy(*value, found.at, found.len);
    *len = found.len;
    return 0;
}

enum checkpoint_err checkpoint_get_meta(struct checkpoint *cp, const char *name, uint8_t **value,
                                        size_t *len)
{
    MDB_txn *txn;
    *value = NULL;
    *len = 0;
    int rc = view_begin(cp, &txn);
    if (rc == 0) {
        rc = copy_meta(cp, txn, bytes_text(name), value, len);
    }
    view_end(cp, txn);
    return checkpoint_err_of(rc, NULL);
}

/* ---- reading by the thread: each pair is two lengths (u32), key, value */

#define PAIR_EXTRA (2 * sizeof(uint32_t))

bool checkpoint_pairs_next(const struct checkpoint_pairs *pairs, size_t *at, struct bytes *key,
                           struct bytes *value)
{
    uint32_t lens[2];
    if (*at == pairs->len) {
        return false;
    }
    const uint8_t *const p = pairs->bytes + *at;
    memcpy(lens, p, sizeof lens);
    *key = bytes_of(p + PAIR_EXTRA, lens[0]);
    *value = bytes_of(p + PAIR_EXTRA + lens[0], lens[1]);
    *at += PAIR_EXTRA + lens[0] + lens[1];
    return true;
}

struct collecting {
    const struct checkpoint_env *env;
    MDB_txn *txn;
    struct checkpoint_read *r;
    size_t capacity; /* of bytes of the pairs */
    size_t bytes;    /* of keys and values */
    int rc;          /* what went wrong */
};

static bool make_room(struct collecting *c, size_t bytes)
{
    struct checkpoint_pairs *pairs = c->r->pairs;
    const size_t len = pairs != NULL ? pairs->len : 0;
    if (pairs != NULL && c->capacity - len >= bytes) {
        return true;
    }
    size_t capacity = c->capacity > 0 ? 2 * c->capacity : PAIRS_BYTES_FIRST;
    capacity = capacity < len + bytes ? len + bytes : capacity;
    pairs = realloc(pairs, sizeof *pairs + capacity);
    if (pairs == NULL) {
        return false;
    }
    if (c->r->pairs == NULL) {
        *pairs = (struct checkpoint_pairs){.count = 0};
    }
    c->r->pairs = pairs;
    c->capacity = capacity;
    return true;
}

/* There is room. */
static void add_pair(struct collecting *c, struct bytes key, struct bytes value)
{
    struct checkpoint_pairs *const pairs = c->r->pairs;
    const uint32_t lens[2] = {(uint32_t)key.len, (uint32_t)value.len};
    uint8_t *const p = pairs->bytes + pairs->len;
    memcpy(p, lens, sizeof lens);
    memcpy(p + PAIR_EXTRA, key.at, key.len);
    memcpy(p + PAIR_EXTRA + key.len, value.at, value.len);
    pairs->len += PAIR_EXTRA + key.len + value.len;
    pairs->count++;
    c->bytes += key.len + value.len;
}

/* What the pair refers to: 0, MDB_NOTFOUND, or an error. */
static int look_up(struct collecting *c, struct bytes referred, struct bytes *value)
{
    MDB_val k = val_of(referred), stored;
    const int rc = mdb_get(c->txn, c->env->data, &k, &stored);
    return rc != 0 ? rc : stored_decode(value, referred, stored);
}

static bool collect(void *context, struct bytes key, struct bytes value)
{
    struct collecting *const c = context;
    struct checkpoint_read *const r = c->r;
    uint8_t scratch[CHECKPOINT_KEY_BYTES_MAX];
    struct bytes referred = bytes_of(NULL, 0), body = referred;
    if (r->after && bytes_equal(key, r->from)) {
        return true;
    }
    if (r->follow && checkpoint_may_refer(c->env, key)) {
        referred = c->env->reference(value, scratch);
    }
    if (referred.len > 0) {
        c->rc = look_up(c, referred, &body);
        referred.len = c->rc == MDB_NOTFOUND ? 0 : referred.len;
        c->rc = c->rc == MDB_NOTFOUND ? 0 : c->rc;
    }
    const size_t bytes = key.len + value.len + referred.len + body.len;
    r->more = c->rc == 0 && c->bytes > 0 && c->bytes + bytes > r->bytes_max;
    if (r->more || c->rc != 0) {
        return false;
    }
    if (!make_room(c, 2 * PAIR_EXTRA + bytes)) {
        c->rc = ENOMEM;
        return false;
    }
    add_pair(c, key, value);
    if (referred.len > 0) {
        add_pair(c, referred, body);
    }
    return true;
}

static void read_range(struct checkpoint *cp, struct checkpoint_read *r)
{
    struct collecting c = {.env = &cp->env, .r = r};
    r->pairs = NULL;
    r->more = false;
    int rc = view_begin(cp, &c.txn);
    if (rc == 0 && !make_room(&c, 0)) {
        rc = ENOMEM;
    }
    if (rc == 0) {
        rc = walk(c.txn, cp->env.data, r->prefix, r->from.len > 0 ? r->from : r->prefix, collect,
                  &c);
    }
    view_end(cp, c.txn);
    r->err = checkpoint_err_of(rc != 0 ? rc : c.rc, NULL);
    if (r->err != CHECKPOINT_OK) {
        free(r->pairs);
        r->pairs = NULL;
        r->more = false;
    }
    count(cp, READS, 1);
}

static struct checkpoint_read *next_read(struct checkpoint *cp)
{
    pthread_mutex_lock(&cp->lock);
    while (cp->reads == NULL && !cp->stopping) {
        pthread_cond_wait(&cp->asked, &cp->lock);
    }
    struct checkpoint_read *const r = cp->reads;
    if (r != NULL) {
        cp->reads = r->next;
    }
    pthread_mutex_unlock(&cp->lock);
    return r;
}

static void *run_reader(void *context)
{
    struct checkpoint *const cp = context;
    for (struct checkpoint_read *r; (r = next_read(cp)) != NULL;) {
        read_range(cp, r);
        r->done(r);
    }
    return NULL;
}

void checkpoint_read(struct checkpoint *cp, struct checkpoint_read *r)
{
    assert(r->from.len <= CHECKPOINT_KEY_BYTES_MAX);
    assert(r->from.len == 0 || begins_with(val_of(r->from), r->prefix));

    r->next = NULL;
    pthread_mutex_lock(&cp->lock);
    assert(!cp->stopping);
    if (cp->reads == NULL) {
        cp->reads = r;
    } else {
        cp->reads_last->next = r;
    }
    cp->reads_last = r;
    pthread_cond_signal(&cp->asked);
    pthread_mutex_unlock(&cp->lock);
}

void checkpoint_read_now(struct checkpoint *cp, struct checkpoint_read *r)
{
    read_range(cp, r);
}

/* ---- a copy */

enum checkpoint_err checkpoint_copy(struct checkpoint *cp, int fd, int *sys_errno)
{
    int rc = MDB_PANIC;
    pthread_rwlock_rdlock(&cp->in_use);
    if (cp->env.env != NULL) {
        rc = mdb_env_copyfd2(cp->env.env, fd, MDB_CP_COMPACT);
    }
    pthread_rwlock_unlock(&cp->in_use);
    *sys_errno = rc;
    return checkpoint_err_of(rc, NULL);
}

/* ---- beginning and end */

/* Signals are for the other threads. */
static bool start(struct checkpoint *cp)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    cp->has_writer = pthread_create(&cp->writer, NULL, run_writer, cp) == 0;
    cp->has_reader = pthread_create(&cp->reader, NULL, run_reader, cp) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (cp->has_writer) {
        pthread_setname_np(cp->writer, "checkpoint");
    }
    if (cp->has_reader) {
        pthread_setname_np(cp->reader, "checkpoint-read");
    }
    return cp->has_writer && cp->has_reader;
}

static void stop(struct checkpoint *cp)
{
    pthread_mutex_lock(&cp->lock);
    cp->stopping = true;
    pthread_cond_broadcast(&cp->submitted);
    pthread_cond_broadcast(&cp->asked);
    pthread_mutex_unlock(&cp->lock);
    if (cp->has_writer) {
        pthread_join(cp->writer, NULL);
    }
    if (cp->has_reader) {
        pthread_join(cp->reader, NULL);
    }
}

static void init_locks(struct checkpoint *cp)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&cp->in_use, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&cp->lock, NULL);
    pthread_cond_init(&cp->asked, NULL);
    pthread_cond_init(&cp->submitted, NULL);
}

static void destroy(struct checkpoint *cp)
{
    checkpoint_env_close(&cp->env);
    pthread_rwlock_destroy(&cp->in_use);
    pthread_mutex_destroy(&cp->lock);
    pthread_cond_destroy(&cp->asked);
    pthread_cond_destroy(&cp->submitted);
    free(cp);
}

enum checkpoint_err checkpoint_open(struct checkpoint **out, const char *dir,
                                    const struct checkpoint_conf *conf, int *sys_errno)
{
    struct checkpoint *const cp = calloc(1, sizeof *cp);
    if (cp == NULL) {
        *sys_errno = ENOMEM;
        return CHECKPOINT_NO_MEMORY;
    }
    init_locks(cp);
    enum checkpoint_err err = checkpoint_env_open(&cp->env, dir, conf, sys_errno);
    if (err == CHECKPOINT_OK && !start(cp)) {
        stop(cp);
        *sys_errno = EAGAIN;
        err = CHECKPOINT_NO_MEMORY;
    }
    if (err != CHECKPOINT_OK) {
        destroy(cp);
        return err;
    }
    show_size(cp);
    *out = cp;
    return CHECKPOINT_OK;
}

void checkpoint_close(struct checkpoint *cp)
{
    if (cp != NULL) {
        stop(cp);
        destroy(cp);
    }
}

const uint8_t *checkpoint_id(const struct checkpoint *cp)
{
    return cp->env.id;
}

uint32_t checkpoint_former_format(const struct checkpoint *cp)
{
    return cp->env.former_format;
}

struct checkpoint_stats checkpoint_stats(const struct checkpoint *cp)
{
    uint64_t n[FIGURES];
    for (unsigned i = 0; i < FIGURES; i++) {
        n[i] = atomic_load_explicit(&cp->figures[i], memory_order_relaxed);
    }
    return (struct checkpoint_stats){
        .commits = n[COMMITS],
        .batches = n[BATCHES],
        .changes = n[CHANGES],
        .bytes = n[BYTES],
        .failures = n[FAILURES],
        .miscounted = n[MISCOUNTED],
        .reads = n[READS],
        .last_ns = n[LAST_NS],
        .map_bytes = n[MAP_BYTES],
        .used_bytes = n[USED_BYTES],
        .waiting = n[WAITING],
    };
}
