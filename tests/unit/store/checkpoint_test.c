/* SPDX-License-Identifier: Apache-2.0 */
/* What checkpoint.h promises, on a real file system. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/privileges.h"
#include "broker/store/checkpoint_check.h"
#include "broker/store/checkpoint_env.h"
#include "broker/store/format.h"
#include "tests/unit/store/fixture.h"

TestSuite(checkpoint, .init = fixture_begin, .fini = fixture_end, .timeout = 120);

static struct bytes text(const char *s)
{
    return bytes_text(s);
}

static const struct bytes nothing = {.at = NULL};

static void put_text(struct checkpoint_batch *batch, const char *key, const char *value)
{
    checkpoint_put(batch, text(key), text(value));
}

static char *file_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/checkpoint/%s", fixture_dir, name);
    return path;
}

/* ---- changes */

Test(checkpoint, keeps_what_was_put_in_the_order_of_keys)
{
    struct checkpoint *cp = fixture_open(NULL);
    struct checkpoint_batch *b = checkpoint_batch_create();
    put_text(b, "q/2", "two");
    put_text(b, "q/1", "zero");
    put_text(b, "p", "");
    put_text(b, "q/1", "one"); /* the last counts */
    put_text(b, "r", "gone");
    checkpoint_delete(b, text("r"));
    checkpoint_delete(b, text("never there"));
    cr_expect_eq(checkpoint_batch_count(b), 7);
    cr_expect_gt(checkpoint_batch_bytes(b), 0);
    fixture_write(cp, b);
    fixture_expect(cp, "", "p=;q/1=one;q/2=two;");
    fixture_expect(cp, "q/", "q/1=one;q/2=two;");
    fixture_expect(cp, "q/3", "");
    checkpoint_close(cp);
    cp = fixture_open(NULL);
    fixture_expect(cp, "", "p=;q/1=one;q/2=two;");
    checkpoint_close(cp);
}

Test(checkpoint, deletes_by_prefix_in_the_order_of_what_was_said)
{
    struct checkpoint *cp = fixture_open(NULL);
    struct checkpoint_batch *b = checkpoint_batch_create();
    const char *const keys[] = {"a", "a/1", "a/1/x", "a/2", "a0", "b", "b/1"};
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        put_text(b, keys[i], "old");
        checkpoint_add(b, text(keys[i]), 2, nothing);
    }
    fixture_write(cp, b);
    b = checkpoint_batch_create();
    put_text(b, "a/1", "undone");
    put_text(b, "a/3", "undone");
    checkpoint_delete_prefix(b, text("a/"));
    put_text(b, "a/2", "new");
    put_text(b, "a/1/y", "undone by the longer one");
    checkpoint_delete_prefix(b, text("a/1"));
    put_text(b, "a/1/z", "new");
    checkpoint_delete_prefix(b, text("b"));
    checkpoint_delete_prefix(b, text("b/"));
    put_text(b, "b", "new");
    fixture_write(cp, b);
    fixture_expect(cp, "", "a=old;a/1/z=new;a/2=new;a0=old;b=new;");
    fixture_expect_count(cp, "a", 3);
    fixture_expect_count(cp, "a/2", 1);
    fixture_expect_count(cp, "b", 1);
    checkpoint_close(cp);
}

Test(checkpoint, counts_who_refers_to_it)
{
    struct checkpoint *cp = fixture_open(NULL);
    const struct {
        const char *what;
        int64_t deltas[4];
        bool given;
        uint64_t count;
        uint64_t miscounted; /* all so far */
    } rows[] = {
        {"came and went", {3, -1, -2}, true, 0, 0},
        {"not given", {1}, false, 0, 1},
        {"less than nothing", {-1}, true, 0, 2},
        {"new", {1}, true, 1, 2},
        {"one more", {1}, false, 2, 2},
        {"as before", {5, -5}, false, 2, 2},
        {"many more", {100000}, false, 100002, 2},
        {"down to two", {-100000}, false, 2, 2},
        {"down to one", {-1}, false, 1, 2},
        {"up again, given again", {2}, true, 3, 2},
        {"the last goes", {-3}, false, 0, 2},
        {"anew", {2}, true, 2, 2},
        {"too many go", {-3}, false, 0, 3},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct checkpoint_batch *const b = checkpoint_batch_create();
        for (unsigned k = 0; k < 4 && rows[i].deltas[k] != 0; k++) {
            checkpoint_add(b, text("body"), rows[i].deltas[k],
                           rows[i].given && k == 0 ? text("text") : nothing);
        }
        fixture_write(cp, b);
        fixture_expect_count(cp, "body", rows[i].count);
        cr_expect_str_eq(fixture_show(cp, ""), rows[i].count > 0 ? "body=text;" : "", "%s",
                         rows[i].what);
        cr_expect_eq(checkpoint_stats(cp).miscounted, rows[i].miscounted, "%s", rows[i].what);
    }
    checkpoint_close(cp);
}

Test(checkpoint, mixes_counts_with_the_rest)
{
    struct checkpoint *cp = fixture_open(NULL);
    struct checkpoint_batch *b = checkpoint_batch_create();
    checkpoint_add(b, text("a"), 2, text("first"));
    put_text(b, "a", "second"); /* the count stays */
    checkpoint_add(b, text("a"), 1, text("third"));
    put_text(b, "b", "put");
    checkpoint_add(b, text("b"), 4, text("not new"));
    checkpoint_add(b, text("c"), 4, text("lost"));
    checkpoint_delete(b, text("c"));
    checkpoint_add(b, text("c"), 1, text("found"));
    fixture_write(cp, b);
    fixture_expect(cp, "", "a=second;b=put;c=found;");
    fixture_expect_count(cp, "a", 3);
    fixture_expect_count(cp, "b", 5);
    fixture_expect_count(cp, "c", 1);
    b = checkpoint_batch_create();
    checkpoint_delete(b, text("a"));
    put_text(b, "a", "anew");
    fixture_write(cp, b);
    fixture_expect_count(cp, "a", 1);
    checkpoint_close(cp);
}

struct lengths {
    size_t key; /* of the last one */
    size_t all; /* of values */
};

static bool add_lengths(void *context, struct bytes key, struct bytes value)
{
    struct lengths *const l = context;
    cr_expect_eq(key.len, l->key + 1);
    l->key = key.len;
    l->all += value.len;
    return true;
}

Test(checkpoint, longest_keys_and_large_values)
{
    struct checkpoint *cp = fixture_open(NULL);
    struct checkpoint_batch *b = checkpoint_batch_create();
    uint8_t key[CHECKPOINT_KEY_BYTES_MAX];
    memset(key, 'k', sizeof key);
    const size_t large = (size_t)5 << 20;
    uint8_t *const value = malloc(large);
    memset(value, 'v', large);
    for (size_t len = 1; len <= sizeof key; len++) {
        checkpoint_put(b, bytes_of(key, len), bytes_of(value, len * 20));
    }
    checkpoint_delete_prefix(b, bytes_of(key, sizeof key));
    checkpoint_put(b, bytes_of(key, sizeof key), bytes_of(value, large));
    fixture_write(cp, b);
    struct lengths l = {.key = 0};
    cr_assert_eq(checkpoint_each(cp, text(""), add_lengths, &l), CHECKPOINT_OK);
    cr_expect_eq(l.key, sizeof key);
    cr_expect_eq(l.all, large + 20 * (sizeof key - 1) * sizeof key / 2);
    free(value);
    checkpoint_close(cp);
}

/* ---- against a model */

#define KEYS         363u /* of one to five letters of three */
#define VALUE_MAX    3000u
#define MODEL_ROUNDS 150u

struct model {
    char name[6];
    uint32_t seed; /* of the value */
    size_t len;
    uint64_t count; /* 0: it is not there */
};

static struct model model[KEYS];
static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % n;
}

static void make_names(void)
{
    unsigned n = 0;
    for (unsigned len = 1; len <= 5; len++) {
        unsigned all = 1;
        for (unsigned i = 0; i < len; i++) {
            all *= 3;
        }
        for (unsigned v = 0; v < all; v++) {
            unsigned rest = v;
            for (unsigned i = len; i-- > 0; rest /= 3) {
                model[n].name[i] = (char)('a' + rest % 3);
            }
            n++;
        }
    }
    cr_assert_eq(n, KEYS);
}

static struct bytes value_of(uint8_t buffer[VALUE_MAX], uint32_t seed, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        buffer[i] = (uint8_t)(seed + i * 13);
    }
    return bytes_of(buffer, len);
}

/*
 * What is added up within a batch is summed up first, so that a count that comes to 0 and up again
 * never was 0, and the value is the former one. So half of the keys have one and the same value all
 * the time, and with the others no count comes to 0 but by being deleted.
 */
static void random_change(struct checkpoint_batch *b)
{
    uint8_t buffer[VALUE_MAX];
    struct model *const m = &model[random_below(KEYS)];
    const uint32_t own = (uint32_t)(m - model);
    const bool is_body = own % 2 == 1;
    const uint32_t seed = is_body ? own : random_below(256);
    const size_t len = is_body ? own * 7 : random_below(random_below(4) == 0 ? VALUE_MAX : 60);
    const uint32_t kind = random_below(100);
    if (kind < 40) {
        checkpoint_put(b, text(m->name), value_of(buffer, seed, len));
        m->seed = seed;
        m->len = len;
        m->count = m->count > 0 ? m->count : 1;
    } else if (kind < 55) {
        checkpoint_delete(b, text(m->name));
        m->count = 0;
    } else if (kind < 60) {
        checkpoint_delete_prefix(b, text(m->name));
        for (unsigned i = 0; i < KEYS; i++) {
            if (strncmp(model[i].name, m->name, strlen(m->name)) == 0) {
                model[i].count = 0;
            }
        }
    } else if (m->count == 0 || random_below(2) == 0) {
        const uint32_t delta = 1 + random_below(3);
        checkpoint_add(b, text(m->name), delta, value_of(buffer, own, own * 7));
        if (m->count == 0) {
            m->seed = own;
            m->len = own * 7;
        }
        m->count += delta;
    } else if (is_body || m->count > 1) {
        const uint64_t delta = 1 + random_below((uint32_t)m->count - !is_body);
        checkpoint_add(b, text(m->name), -(int64_t)delta, nothing);
        m->count -= delta;
    }
}

struct comparing {
    struct checkpoint *cp;
    unsigned found;
};

static bool compare_one(void *context, struct bytes key, struct bytes value)
{
    struct comparing *const c = context;
    uint8_t buffer[VALUE_MAX];
    for (unsigned i = 0; i < KEYS; i++) {
        if (bytes_equal(key, text(model[i].name))) {
            cr_assert_gt(model[i].count, 0, "%s is there", model[i].name);
            cr_assert(bytes_equal(value, value_of(buffer, model[i].seed, model[i].len)), "%s",
                      model[i].name);
            c->found++;
            return true;
        }
    }
    cr_assert_fail("a key that nobody made");
    return false;
}

static void compare_all(struct checkpoint *cp)
{
    struct comparing c = {.cp = cp};
    unsigned want = 0;
    cr_assert_eq(checkpoint_each(cp, text(""), compare_one, &c), CHECKPOINT_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        want += model[i].count > 0;
        fixture_expect_count(cp, model[i].name, model[i].count);
    }
    cr_assert_eq(c.found, want);
}

Test(checkpoint, is_as_the_model)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    random_state = (uint64_t)t.tv_nsec;
    cr_log_info("seed %lu", random_state);
    const uint64_t seed = random_state;
    make_names();
    struct checkpoint *cp = fixture_open(NULL);
    for (unsigned round = 0; round < MODEL_ROUNDS; round++) {
        struct checkpoint_batch *const b = checkpoint_batch_create();
        for (uint32_t n = random_below(random_below(3) == 0 ? 1000 : 30); n > 0; n--) {
            random_change(b);
        }
        fixture_write(cp, b);
        compare_all(cp);
        if (random_below(20) == 0) {
            checkpoint_close(cp);
            cp = fixture_open(NULL);
        }
    }
    cr_expect_eq(checkpoint_stats(cp).miscounted, 0, "seed %lu", seed);
    checkpoint_close(cp);
}

/* ---- several batches, several threads */

#define THREADS        4u
#define THREAD_BATCHES 200u

static void destroy_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    cr_assert_eq(err, CHECKPOINT_OK);
    ++*(unsigned *)context; /* one thread calls */
    checkpoint_batch_destroy(batch);
}

struct submitter {
    struct checkpoint *cp;
    unsigned number;
    unsigned done;
};

static void *submit_many(void *context)
{
    struct submitter *const s = context;
    char key[16], value[16];
    for (unsigned i = 1; i <= THREAD_BATCHES; i++) {
        struct checkpoint_batch *const b = checkpoint_batch_create();
        snprintf(key, sizeof key, "%u", s->number);
        snprintf(value, sizeof value, "%u", i);
        put_text(b, key, value);
        checkpoint_add(b, text("all"), 1, text("body"));
        checkpoint_submit(s->cp, b, destroy_done, &s->done);
    }
    return NULL;
}

Test(checkpoint, keeps_the_order_of_each_thread_and_writes_together)
{
    struct checkpoint *cp = fixture_open(NULL);
    struct submitter submitters[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){.cp = cp, .number = i};
        cr_assert_eq(pthread_create(&threads[i], NULL, submit_many, &submitters[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    checkpoint_close(cp); /* all of it is written first */
    for (unsigned i = 0; i < THREADS; i++) {
        cr_expect_eq(submitters[i].done, THREAD_BATCHES);
    }
    cp = fixture_open(NULL);
    fixture_expect(cp, "", "0=200;1=200;2=200;3=200;all=body;");
    fixture_expect_count(cp, "all", THREADS * THREAD_BATCHES);
    checkpoint_close(cp);
}

Test(checkpoint, counts_what_it_does)
{
    struct checkpoint *const cp = fixture_open(NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct checkpoint_batch *const b = checkpoint_batch_create();
        put_text(b, "key", "value");
        checkpoint_delete(b, text("other"));
        fixture_write(cp, b);
    }
    fixture_write(cp, checkpoint_batch_create()); /* of nothing */
    const struct checkpoint_stats s = checkpoint_stats(cp);
    cr_expect_eq(s.commits, 4);
    cr_expect_eq(s.batches, 4);
    cr_expect_eq(s.changes, 6);
    cr_expect_eq(s.bytes, 3 * 8);
    cr_expect_eq(s.failures, 0);
    cr_expect_eq(s.waiting, 0);
    cr_expect_eq(s.map_bytes, (uint64_t)1 << 30);
    cr_expect_gt(s.used_bytes, 0);
    cr_expect_gt(s.last_ns, 0);
    checkpoint_close(cp);
}

/* ---- what it says of itself */

Test(checkpoint, has_a_name_and_keeps_it)
{
    struct checkpoint *cp = fixture_open(NULL);
    uint8_t id[CHECKPOINT_ID_BYTES], *value;
    size_t len;
    memcpy(id, checkpoint_id(cp), sizeof id);
    struct checkpoint_batch *b = checkpoint_batch_create();
    checkpoint_put_meta(b, "shards", text("4"));
    checkpoint_put_meta(b, "shards", text("8"));
    fixture_write(cp, b);
    checkpoint_close(cp);
    cp = fixture_open(NULL);
    cr_expect_arr_eq(checkpoint_id(cp), id, sizeof id);
    fixture_expect(cp, "", "");
    cr_assert_eq(checkpoint_get_meta(cp, "shards", &value, &len), CHECKPOINT_OK);
    cr_assert_eq(len, 1);
    cr_expect_eq(value[0], '8');
    free(value);
    cr_assert_eq(checkpoint_get_meta(cp, "unknown", &value, &len), CHECKPOINT_OK);
    cr_expect_null(value);
    checkpoint_close(cp);
    struct stat st;
    cr_assert_eq(stat(file_path("."), &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0700);
    cr_assert_eq(stat(file_path("data.mdb"), &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
}

static void write_format(uint8_t format)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta;
    uint8_t stored[8];
    const uint8_t number[4] = {format};
    stored_encode(stored, text("format"), bytes_of(number, 4));
    MDB_val key = {.mv_size = 6, .mv_data = (void *)(uintptr_t) "format"};
    MDB_val value = {.mv_size = sizeof stored, .mv_data = stored};
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 3), 0);
    cr_assert_eq(mdb_env_open(env, file_path(""), 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "meta", 0, &meta), 0);
    cr_assert_eq(mdb_put(txn, meta, &key, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

Test(checkpoint, of_another_version)
{
    struct checkpoint *cp;
    checkpoint_close(fixture_open(NULL));
    write_format(STORE_FORMAT + 1);
    cr_expect_eq(fixture_try_open(&cp), CHECKPOINT_NEWER);
    write_format(STORE_FORMAT_OLDEST - 1);
    cr_expect_eq(fixture_try_open(&cp), CHECKPOINT_OLDER);
    for (uint8_t former = STORE_FORMAT_OLDEST; former <= STORE_FORMAT; former++) {
        write_format(former);
        cr_assert_eq(fixture_try_open(&cp), CHECKPOINT_OK);
        checkpoint_close(cp);
        cr_assert_eq(fixture_try_open(&cp), CHECKPOINT_OK);
        cr_expect_eq(checkpoint_former_format(cp), former, "to be opened has changed nothing");
        struct checkpoint_batch *const b = checkpoint_batch_create();
        cr_assert_not_null(b);
        checkpoint_put_format(b);
        fixture_write(cp, b);
        checkpoint_close(cp);
        cr_assert_eq(fixture_try_open(&cp), CHECKPOINT_OK);
        cr_expect_eq(checkpoint_former_format(cp), STORE_FORMAT, "it stays so");
        checkpoint_close(cp);
    }
}

Test(checkpoint, one_at_a_time)
{
    struct checkpoint *const cp = fixture_open(NULL);
    struct checkpoint *other;
    cr_expect_eq(fixture_try_open(&other), CHECKPOINT_IN_USE);
    const pid_t child = fork();
    if (child == 0) {
        _exit(fixture_try_open(&other) == CHECKPOINT_IN_USE ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    checkpoint_close(cp);
    checkpoint_close(fixture_open(NULL));
}

Test(checkpoint, each_error_has_a_text_of_its_own)
{
    for (int a = CHECKPOINT_OK; a <= CHECKPOINT_IO; a++) {
        for (int b = CHECKPOINT_OK; b < a; b++) {
            cr_expect_str_neq(checkpoint_err_text((enum checkpoint_err)a),
                              checkpoint_err_text((enum checkpoint_err)b));
        }
    }
}

static enum checkpoint_err open_in(const char *dir)
{
    const struct checkpoint_conf conf = {.map_bytes_max = 1 << 20};
    struct checkpoint *cp = NULL;
    int sys_errno;
    const enum checkpoint_err err = checkpoint_open(&cp, dir, &conf, &sys_errno);
    checkpoint_close(cp);
    return err;
}

Test(checkpoint, cannot_be_reached)
{
    char path[256];
    snprintf(path, sizeof path, "%s/missing", fixture_dir);
    cr_expect_eq(open_in(path), CHECKPOINT_UNREACHABLE);
    snprintf(path, sizeof path, "%s/checkpoint", fixture_dir);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_expect_eq(open_in(fixture_dir), CHECKPOINT_UNREACHABLE, "a file in its place");
}

/* ---- its size */

/* `count` values of `len` bytes that begin with `prefix`. */
static struct checkpoint_batch *batch_of(const char *prefix, unsigned count, size_t len)
{
    struct checkpoint_batch *const b = checkpoint_batch_create();
    uint8_t *const value = malloc(len);
    memset(value, 'v', len);
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s%06u", prefix, i);
        checkpoint_put(b, text(key), bytes_of(value, len));
    }
    free(value);
    return b;
}

static bool count_one(void *context, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)context;
    return true;
}

static unsigned count_all(struct checkpoint *cp, const char *prefix)
{
    unsigned count = 0;
    cr_assert_eq(checkpoint_each(cp, text(prefix), count_one, &count), CHECKPOINT_OK);
    return count;
}

/* It grows until it may not; then nothing of a batch is there, and smaller ones are taken again. */
Test(checkpoint, grows_up_to_its_bound)
{
    const struct checkpoint_conf conf = {.map_bytes = 1 << 17, .map_bytes_max = 4 << 20};
    struct checkpoint *cp = fixture_open(&conf);
    cr_expect_eq(checkpoint_stats(cp).map_bytes, 1 << 17);
    fixture_write(cp, batch_of("a", 2000, 1000));
    cr_expect_eq(checkpoint_stats(cp).map_bytes, 4 << 20);
    struct checkpoint_batch *const b = batch_of("b", 4000, 1000);
    cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_FULL);
    cr_expect_eq(checkpoint_stats(cp).failures, 1);
    cr_expect_eq(count_all(cp, "a"), 2000);
    cr_expect_eq(count_all(cp, "b"), 0);
    fixture_write(cp, batch_of("c", 100, 100));
    checkpoint_close(cp);
    cp = fixture_open(&conf); /* the file is larger than the first map */
    cr_expect_eq(count_all(cp, ""), 2100);
    checkpoint_close(cp);
    const struct checkpoint_conf more = {.map_bytes = 1 << 17, .map_bytes_max = 16 << 20};
    cp = fixture_open(&more);
    cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_OK);
    cr_expect_eq(count_all(cp, ""), 6100);
    checkpoint_batch_destroy(b);
    checkpoint_close(cp);
}

Test(checkpoint, a_large_batch)
{
    const struct checkpoint_conf conf = {.map_bytes_max = (uint64_t)4 << 30};
    struct checkpoint *const cp = fixture_open(&conf);
    struct checkpoint_batch *const b = checkpoint_batch_create();
    uint8_t value[1200] = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        const uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15); /* all over the place */
        checkpoint_put(b, bytes_of(&key, sizeof key), bytes_of(value, sizeof value));
    }
    fixture_write(cp, b);
    cr_expect_eq(count_all(cp, ""), 20000);
    checkpoint_close(cp);
}

/* A file system of 6 MiB: what does not fit is told, and what is there stays; the same batch goes
 * in as soon as there is room. Only root may mount one; checkpoint_faults_test.c has the same
 * without. */
Test(checkpoint, a_full_disk)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", fixture_dir, "tmpfs", 0, "size=6m") != 0) {
        cr_skip("no file system can be mounted");
    }
    struct checkpoint *cp = fixture_open(NULL);
    fixture_write(cp, batch_of("a", 1000, 1000));
    char ballast[256];
    snprintf(ballast, sizeof ballast, "%s/ballast", fixture_dir);
    const int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(posix_fallocate(fd, 0, 3 << 20), 0);
    struct checkpoint_batch *const b = batch_of("b", 2000, 1000);
    checkpoint_add(b, text("counted"), 2, text("body"));
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_NO_SPACE);
        cr_expect_eq(count_all(cp, ""), 1000);
    }
    cr_assert_eq(unlink(ballast), 0);
    close(fd);
    cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_OK);
    checkpoint_batch_destroy(b);
    cr_expect_eq(count_all(cp, ""), 3001);
    fixture_expect_count(cp, "counted", 2);
    checkpoint_close(cp);
    cr_assert_eq(mount(NULL, fixture_dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    cr_expect_eq(fixture_try_open(&cp), CHECKPOINT_READ_ONLY);
    cr_assert_eq(umount(fixture_dir), 0);
}

/* ---- reading by the thread */

struct reader {
    struct checkpoint_read read; /* first */
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
};

static void read_done(struct checkpoint_read *r)
{
    struct reader *const reader = (struct reader *)(void *)r;
    pthread_mutex_lock(&reader->lock);
    reader->done = true;
    pthread_cond_signal(&reader->told);
    pthread_mutex_unlock(&reader->lock);
}

static void read_and_wait(struct checkpoint *cp, struct reader *reader)
{
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->told, NULL);
    reader->done = false;
    reader->read.done = read_done;
    checkpoint_read(cp, &reader->read);
    pthread_mutex_lock(&reader->lock);
    while (!reader->done) {
        pthread_cond_wait(&reader->told, &reader->lock);
    }
    pthread_mutex_unlock(&reader->lock);
    cr_assert_eq(reader->read.err, CHECKPOINT_OK);
}

/* In parts of any size: all of it, once, in order, and no part is larger than asked for. */
Test(checkpoint, reads_a_range_in_parts)
{
    struct checkpoint *const cp = fixture_open(NULL);
    fixture_write(cp, batch_of("q", 500, 93));
    fixture_write(cp, batch_of("p", 3, 10));
    fixture_write(cp, batch_of("r", 3, 10));
    const size_t sizes[] = {0, 1, 100, 250, 1000, 100000};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct reader reader = {.read = {.prefix = text("q"), .bytes_max = sizes[i]}};
        char last[32] = "";
        unsigned found = 0, parts = 0;
        do {
            read_and_wait(cp, &reader);
            struct bytes key, value;
            size_t at = 0, bytes = 0;
            unsigned in_part = 0;
            while (checkpoint_pairs_next(reader.read.pairs, &at, &key, &value)) {
                char want[32];
                snprintf(want, sizeof want, "q%06u", found++);
                cr_assert(bytes_equal(key, text(want)));
                cr_assert_eq(value.len, 93);
                bytes += key.len + value.len;
                in_part++;
                memcpy(last, want, sizeof last);
            }
            cr_expect_eq(reader.read.pairs->count, in_part);
            cr_expect(in_part == 1 || bytes <= sizes[i]);
            cr_expect(reader.read.more == (found < 500));
            free(reader.read.pairs);
            reader.read.from = text(last);
            reader.read.after = true;
            parts++;
        } while (reader.read.more);
        cr_expect_eq(found, 500);
        cr_expect_eq(parts, sizes[i] < 200 ? 500 : (500 + sizes[i] / 100 - 1) / (sizes[i] / 100));
    }
    checkpoint_close(cp);
}

Test(checkpoint, reads_from_a_key_on)
{
    struct checkpoint *const cp = fixture_open(NULL);
    struct checkpoint_batch *const b = checkpoint_batch_create();
    put_text(b, "a/1", "1");
    put_text(b, "a/3", "3");
    put_text(b, "b/1", "x");
    fixture_write(cp, b);
    const struct {
        const char *prefix, *from;
        bool after;
        unsigned count;
    } rows[] = {
        {"", "", false, 3},     {"a/", "a/1", false, 2}, {"a/", "a/1", true, 1},
        {"a/", "a/2", true, 1}, {"a/", "a/3", true, 0},  {"c", "", false, 0},
        {"", "a/3", true, 1},   {"b/1", "", false, 1},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reader reader = {.read = {.prefix = text(rows[i].prefix),
                                         .from = text(rows[i].from),
                                         .after = rows[i].after,
                                         .bytes_max = 1000}};
        read_and_wait(cp, &reader);
        cr_expect_eq(reader.read.pairs->count, rows[i].count, "row %u", i);
        cr_expect_not(reader.read.more);
        free(reader.read.pairs);
    }
    cr_expect_eq(checkpoint_stats(cp).reads, sizeof rows / sizeof rows[0]);
    checkpoint_close(cp);
}

/* The map is enlarged under readers who never pause. */
static void *read_for_ever(void *context)
{
    struct submitter *const s = context;
    while (__atomic_load_n(&s->number, __ATOMIC_RELAXED) == 0) {
        (void)count_all(s->cp, "");
    }
    return NULL;
}

Test(checkpoint, grows_while_it_is_read)
{
    const struct checkpoint_conf conf = {.map_bytes = 1 << 17, .map_bytes_max = 32 << 20};
    struct submitter s = {.cp = fixture_open(&conf)};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, read_for_ever, &s), 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        char prefix[8];
        snprintf(prefix, sizeof prefix, "%02u/", i);
        fixture_write(s.cp, batch_of(prefix, 500, 1000));
    }
    __atomic_store_n(&s.number, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect_eq(count_all(s.cp, ""), 10000);
    checkpoint_close(s.cp);
}

/* ---- a copy */

static struct checkpoint *open_copy(const char *dir)
{
    const struct checkpoint_conf conf = {.map_bytes_max = (uint64_t)1 << 30};
    struct checkpoint *cp = NULL;
    int sys_errno;
    cr_assert_eq(checkpoint_open(&cp, dir, &conf, &sys_errno), CHECKPOINT_OK);
    return cp;
}

Test(checkpoint, copied_while_it_runs)
{
    struct checkpoint *cp = fixture_open(NULL);
    uint8_t id[CHECKPOINT_ID_BYTES];
    char copy[128];
    struct checkpoint_facts facts;
    int sys_errno;
    struct submitter s = {.cp = cp};
    memcpy(id, checkpoint_id(cp), sizeof id);
    fixture_write(cp, batch_of("a", 1000, 100));
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, submit_many, &s), 0);
    snprintf(copy, sizeof copy, "%s/copy", fixture_dir);
    cr_expect_eq(fixture_copy(cp, copy), CHECKPOINT_OK);
    pthread_join(thread, NULL);
    checkpoint_close(cp);
    cr_expect_eq(checkpoint_check(&facts, copy, &sys_errno), CHECKPOINT_OK);
    cr_expect_arr_eq(facts.id, id, sizeof id);
    cr_expect_eq(facts.format, STORE_FORMAT);
    cr_expect_geq(facts.keys, 1000);
    cp = open_copy(copy);
    cr_expect_arr_eq(checkpoint_id(cp), id, sizeof id);
    cr_expect_eq(count_all(cp, "a0"), 1000);
    checkpoint_close(cp);
}

/* No byte that belongs to something is changed unseen. */
Test(checkpoint, a_copy_is_checked_as_a_whole)
{
    struct checkpoint *cp = fixture_open(NULL);
    struct checkpoint_facts facts;
    char copy[128], path[160];
    int sys_errno;
    fixture_write(cp, batch_of("a", 100, 100));
    snprintf(copy, sizeof copy, "%s/copy", fixture_dir);
    cr_expect_eq(checkpoint_check(&facts, copy, &sys_errno), CHECKPOINT_UNREACHABLE);
    cr_expect_eq(fixture_copy(cp, copy), CHECKPOINT_OK);
    checkpoint_close(cp);
    cr_expect_eq(checkpoint_check(&facts, copy, &sys_errno), CHECKPOINT_OK);
    cr_expect_eq(facts.keys, 100);
    snprintf(path, sizeof path, "%s/checkpoint/data.mdb", copy);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t bytes[65536];
    const ssize_t len = pread(fd, bytes, sizeof bytes, 0);
    uint8_t *const at = memmem(bytes, (size_t)len, "a000042", 7);
    cr_assert_not_null(at);
    at[20] ^= 1;
    cr_assert_eq(pwrite(fd, bytes, (size_t)len, 0), len);
    cr_expect_eq(checkpoint_check(&facts, copy, &sys_errno), CHECKPOINT_CORRUPT);
    at[20] ^= 1;
    cr_assert_eq(pwrite(fd, bytes, (size_t)len, 0), len);
    cr_assert_eq(ftruncate(fd, len - 4096), 0);
    cr_expect_eq(checkpoint_check(&facts, copy, &sys_errno), CHECKPOINT_CORRUPT);
    cr_assert_eq(ftruncate(fd, 10), 0);
    cr_expect_neq(checkpoint_check(&facts, copy, &sys_errno), CHECKPOINT_OK);
    close(fd);
}

/* ---- what goes wrong */

#define KILLS 30u

/* Writes n = 1, 2 … under two keys far apart and in a count, and tells what is confirmed. */
static void tell_confirmed(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    const int fd = *(int *)context;
    if (err != CHECKPOINT_OK || write(fd, "x", 1) != 1) {
        _exit(1);
    }
    checkpoint_batch_destroy(batch);
}

static void write_until_killed(int fd, uint64_t begin)
{
    struct checkpoint *const cp = fixture_open(NULL);
    for (uint64_t n = begin;; n++) {
        struct checkpoint_batch *const b = batch_of("fill", (unsigned)(n % 20), n % 3000);
        checkpoint_put(b, text("a"), bytes_of(&n, sizeof n));
        checkpoint_put(b, text("z"), bytes_of(&n, sizeof n));
        checkpoint_add(b, text("m"), 1, text("body"));
        checkpoint_submit(cp, b, tell_confirmed, &fd);
        while (checkpoint_stats(cp).waiting > 3) {
            sched_yield();
        }
    }
}

struct progress {
    uint64_t a, z;
};

static bool look(void *context, struct bytes key, struct bytes value)
{
    struct progress *const p = context;
    if (bytes_equal(key, text("a"))) {
        memcpy(&p->a, value.at, sizeof p->a);
    } else if (bytes_equal(key, text("z"))) {
        memcpy(&p->z, value.at, sizeof p->z);
    }
    return true;
}

/* After a kill at any moment what was confirmed is there, and each batch wholly or not at all. */
Test(checkpoint, survives_kill_9)
{
    uint64_t confirmed = 0;
    random_state = (uint64_t)getpid();
    for (unsigned i = 0; i < KILLS; i++) {
        int fds[2];
        cr_assert_eq(pipe(fds), 0);
        const pid_t child = fork();
        if (child == 0) {
            close(fds[0]);
            write_until_killed(fds[1], confirmed + 1);
        }
        close(fds[1]);
        char byte;
        cr_assert_eq(read(fds[0], &byte, 1), 1); /* it has begun */
        confirmed++;
        nanosleep(&(struct timespec){.tv_nsec = random_below(20000000)}, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(fds[0], &byte, 1) == 1) {
            confirmed++;
        }
        close(fds[0]);
        struct checkpoint *const cp = fixture_open(NULL);
        struct progress p = {0, 0};
        cr_assert_eq(checkpoint_each(cp, text(""), look, &p), CHECKPOINT_OK);
        cr_expect_geq(p.a, confirmed);
        cr_expect_eq(p.a, p.z);
        fixture_expect_count(cp, "m", p.a);
        confirmed = p.a; /* what was written and not told any more */
        checkpoint_close(cp);
    }
}

static void change_file(const char *unique, bool head)
{
    const int fd = open(file_path("data.mdb"), O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    const off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *const all = malloc((size_t)size);
    cr_assert_eq(pread(fd, all, (size_t)size, 0), size);
    if (head) {
        memset(all, 0x55, 8192);
        cr_assert_eq(pwrite(fd, all, 8192, 0), 8192);
    }
    unsigned found = 0;
    for (uint8_t *p = all; unique != NULL; p++) {
        p = memmem(p, (size_t)(all + size - p), unique, strlen(unique));
        if (p == NULL) {
            break;
        }
        *p ^= 0x04;
        cr_assert_eq(pwrite(fd, p, 1, p - all), 1);
        found++;
    }
    cr_expect(unique == NULL || found > 0);
    free(all);
    close(fd);
}

static enum checkpoint_err look_at_all(void)
{
    struct checkpoint *cp;
    unsigned count = 0;
    enum checkpoint_err err = fixture_try_open(&cp);
    if (err == CHECKPOINT_OK) {
        err = checkpoint_each(cp, text(""), count_one, &count);
        struct reader reader = {.read = {.prefix = text(""), .bytes_max = SIZE_MAX}};
        pthread_mutex_init(&reader.lock, NULL);
        pthread_cond_init(&reader.told, NULL);
        reader.read.done = read_done;
        checkpoint_read(cp, &reader.read);
        checkpoint_close(cp); /* it is answered first */
        cr_expect_eq(reader.read.err, err);
        free(reader.read.pairs);
    }
    return err;
}

static void make_some(void)
{
    struct checkpoint *const cp = fixture_open(NULL);
    struct checkpoint_batch *const b = batch_of("a", 1000, 300);
    put_text(b, "damaged", "unmistakable");
    checkpoint_add(b, text("large"), 1, bytes_of((uint8_t[20000]){1}, 20000));
    fixture_write(cp, b);
    checkpoint_close(cp);
}

Test(checkpoint, tells_a_changed_byte)
{
    make_some();
    cr_expect_eq(look_at_all(), CHECKPOINT_OK);
    change_file("unmistakable", false);
    cr_expect_eq(look_at_all(), CHECKPOINT_CORRUPT);
}

Test(checkpoint, tells_a_file_of_another_kind)
{
    make_some();
    change_file(NULL, true);
    cr_expect_eq(look_at_all(), CHECKPOINT_CORRUPT);
}

/* Wherever it ends: it is told, and nobody dies of a page that is not there. */
Test(checkpoint, tells_a_file_that_was_cut)
{
    make_some();
    struct stat st;
    char command[512];
    cr_assert_eq(stat(file_path("data.mdb"), &st), 0);
    snprintf(command, sizeof command, "cp %s %s/whole", file_path("data.mdb"), fixture_dir);
    cr_assert_eq(system(command), 0);
    for (off_t size = 4096 * 2; size < st.st_size; size += 4096 * 3 - 1000) {
        snprintf(command, sizeof command, "cp %s/whole %s", fixture_dir, file_path("data.mdb"));
        cr_assert_eq(system(command), 0);
        cr_assert_eq(truncate(file_path("data.mdb"), size), 0);
        const enum checkpoint_err err = look_at_all();
        cr_expect_eq(err, CHECKPOINT_CORRUPT, "at %ld of %ld: %s", (long)size, (long)st.st_size,
                     checkpoint_err_text(err));
    }
}

/* ---- its place in the process */

static void expect_thread(const char *name)
{
    DIR *const tasks = opendir("/proc/self/task");
    bool found = false;
    for (struct dirent *d; (d = readdir(tasks)) != NULL;) {
        char path[300], line[128], of[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/status", d->d_name);
        FILE *const f = fopen(path, "r");
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            unsigned long long blocked;
            sscanf(line, "Name: %31s", of);
            if (strcmp(of, name) == 0 && sscanf(line, "SigBlk: %llx", &blocked) == 1) {
                found = true;
                cr_expect(blocked & 1ull << (SIGTERM - 1));
                cr_expect(blocked & 1ull << (SIGHUP - 1));
            }
        }
        if (f != NULL) {
            fclose(f);
        }
    }
    closedir(tasks);
    cr_expect(found, "no thread is called %s", name);
}

Test(checkpoint, its_threads_are_told_apart_and_take_no_signals)
{
    struct checkpoint *const cp = fixture_open(NULL);
    expect_thread("checkpoint");
    expect_thread("checkpoint-read");
    checkpoint_close(cp);
}

/* Nothing that it does is among the calls that no broker makes. */
Test(checkpoint, works_when_confined)
{
    const struct config_process config = {.user = "", .seccomp = true};
    const struct checkpoint_conf conf = {.map_bytes = 1 << 17, .map_bytes_max = 32 << 20};
    struct checkpoint *const before = fixture_open(&conf);
    cr_assert(privileges_confine(&config, false));
    fixture_write(before, batch_of("a", 1000, 1000));
    checkpoint_close(before);
    struct checkpoint *const cp = fixture_open(&conf);
    struct reader reader = {.read = {.prefix = text("a"), .bytes_max = SIZE_MAX}};
    char copy[128];
    fixture_write(cp, batch_of("b", 1000, 1000));
    read_and_wait(cp, &reader);
    cr_expect_eq(reader.read.pairs->count, 1000);
    free(reader.read.pairs);
    snprintf(copy, sizeof copy, "%s/copy", fixture_dir);
    cr_expect_eq(fixture_copy(cp, copy), CHECKPOINT_OK);
    checkpoint_close(cp);
}
