/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store/fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char fixture_dir[] = "/tmp/dunlin-checkpoint-XXXXXX";

void fixture_begin(void)
{
    cr_assert_not_null(mkdtemp(fixture_dir));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void fixture_end(void)
{
    /* Without a program: whoever is confined starts none. */
    cr_assert_eq(nftw(fixture_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

struct checkpoint *fixture_open(const struct checkpoint_conf *conf)
{
    static const struct checkpoint_conf usual = {.map_bytes_max = (uint64_t)1 << 30};
    struct checkpoint *cp = NULL;
    int sys_errno;
    const enum checkpoint_err err =
        checkpoint_open(&cp, fixture_dir, conf != NULL ? conf : &usual, &sys_errno);
    cr_assert_eq(err, CHECKPOINT_OK, "%s (%d)", checkpoint_err_text(err), sys_errno);
    return cp;
}

enum checkpoint_err fixture_try_open(struct checkpoint **cp)
{
    const struct checkpoint_conf conf = {.map_bytes_max = (uint64_t)1 << 30};
    int sys_errno;
    *cp = NULL;
    return checkpoint_open(cp, fixture_dir, &conf, &sys_errno);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
    enum checkpoint_err err;
};

static void done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    struct waiter *const w = context;
    (void)batch;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->err = err;
    pthread_cond_signal(&w->told);
    pthread_mutex_unlock(&w->lock);
}

enum checkpoint_err fixture_try_write(struct checkpoint *cp, struct checkpoint_batch *batch)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    checkpoint_submit(cp, batch, done, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done) {
        pthread_cond_wait(&w.told, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    return w.err;
}

void fixture_write(struct checkpoint *cp, struct checkpoint_batch *batch)
{
    const enum checkpoint_err err = fixture_try_write(cp, batch);
    cr_assert_eq(err, CHECKPOINT_OK, "%s", checkpoint_err_text(err));
    checkpoint_batch_destroy(batch);
}

static char shown[1 << 16];

static bool show(void *context, struct bytes key, struct bytes value)
{
    const size_t at = strlen(shown);
    (void)context;
    if (value.len <= 20) {
        snprintf(shown + at, sizeof shown - at, "%.*s=%.*s;", (int)key.len, (const char *)key.at,
                 (int)value.len, (const char *)value.at);
    } else {
        snprintf(shown + at, sizeof shown - at, "%.*s=%zu;", (int)key.len, (const char *)key.at,
                 value.len);
    }
    return true;
}

const char *fixture_show(struct checkpoint *cp, const char *prefix)
{
    shown[0] = '\0';
    cr_assert_eq(checkpoint_each(cp, bytes_text(prefix), show, NULL), CHECKPOINT_OK);
    return shown;
}

void fixture_expect(struct checkpoint *cp, const char *prefix, const char *want)
{
    cr_expect_str_eq(fixture_show(cp, prefix), want);
}

void fixture_expect_count(struct checkpoint *cp, const char *key, uint64_t want)
{
    uint64_t count = UINT64_MAX;
    cr_assert_eq(checkpoint_count(cp, bytes_text(key), &count), CHECKPOINT_OK);
    cr_expect_eq(count, want, "%s: %lu, not %lu", key, count, want);
}

enum checkpoint_err fixture_copy(struct checkpoint *cp, const char *dir)
{
    char path[256];
    int sys_errno;
    cr_assert_eq(mkdir(dir, 0700), 0);
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/checkpoint/data.mdb", dir);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    const enum checkpoint_err err = checkpoint_copy(cp, fd, &sys_errno);
    close(fd);
    return err;
}
