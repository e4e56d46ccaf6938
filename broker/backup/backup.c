/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backup/check.h"
#include "broker/backup/manifest.h"
#include "broker/backup/source.h"
#include "broker/backup/tree.h"
#include "broker/config/config_error.h"
#include "broker/store/checkpoint_check.h"

#define PARTIAL BACKUP_PARTIAL

struct target {
    const char *path;
    char partial[PATH_MAX];
    int fd; /* of the partial one, locked */
    bool made;
};

/* ---- the target */

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 || errno != ENOENT;
}

static bool cannot_write(const char *path, int number, struct config_error *error)
{
    config_error_add(error, "%s: the backup cannot be written: %s", path, strerror(number));
    return false;
}

/* One that was left there is locked by nobody. */
static bool target_open(struct target *t, const char *path, struct config_error *error)
{
    *t = (struct target){.path = path, .fd = -1};
    if (is_there(path)) {
        config_error_add(error, "%s: it is there already: choose another name", path);
        return false;
    }
    if (snprintf(t->partial, sizeof t->partial, "%s" PARTIAL, path) >=
        (int)sizeof t->partial - 64) {
        return cannot_write(path, ENAMETOOLONG, error);
    }
    if (mkdir(t->partial, 0700) != 0 && errno != EEXIST) {
        return cannot_write(t->partial, errno, error);
    }
    t->fd = open(t->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->fd < 0) {
        return cannot_write(t->partial, errno, error);
    }
    if (flock(t->fd, LOCK_EX | LOCK_NB) != 0) {
        config_error_add(error, "%s: another backup is being written there", t->partial);
        return false;
    }
    t->made = true;
    const int number = tree_clear(t->partial);
    if (number != 0 || mkdirat(t->fd, "checkpoint", 0700) != 0 ||
        mkdirat(t->fd, "journal", 0700) != 0) {
        return cannot_write(t->partial, number != 0 ? number : errno, error);
    }
    return true;
}

/* Its name is there after a loss of power, too. */
static bool target_publish(const struct target *t, struct config_error *error)
{
    int number = tree_sync(t->partial);
    if (number == 0 && renameat2(AT_FDCWD, t->partial, AT_FDCWD, t->path, RENAME_NOREPLACE) != 0) {
        number = errno;
    }
    if (number == 0) {
        number = tree_sync_parent(t->path);
    }
    return number == 0 || cannot_write(t->path, number, error);
}

static void target_close(struct target *t, bool is_whole)
{
    if (t->made && !is_whole && tree_clear(t->partial) == 0) {
        (void)rmdir(t->partial);
    }
    if (t->fd >= 0) {
        close(t->fd);
    }
}

/* ---- writing */

static bool write_checkpoint(struct source *s, const struct target *t, struct config_error *error)
{
    const int fd =
        openat(t->fd, "checkpoint/data.mdb", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return cannot_write(t->partial, errno, error);
    }
    bool done = source_checkpoint(s, fd, error);
    if (done && fsync(fd) != 0) {
        done = cannot_write(t->partial, errno, error);
    }
    close(fd);
    return done;
}

static bool write_journals(struct source *s, const struct target *t, struct config_error *error)
{
    char path[PATH_MAX];
    struct checkpoint_facts facts;
    int number = 0;
    const enum checkpoint_err err = checkpoint_facts_read(&facts, t->partial, &number);
    if (err != CHECKPOINT_OK) {
        config_error_add(error, "%s: %s", s->dir, checkpoint_err_text(err));
        return false;
    }
    snprintf(path, sizeof path, "%.4000s/journal", t->partial);
    return source_journals(s, path, facts.id, error);
}

static bool write_id(const struct source *s, const struct target *t, struct config_error *error)
{
    const int fd = openat(t->fd, "node.id", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return cannot_write(t->partial, errno, error);
    }
    const bool written = dprintf(fd, "%s\n", s->node_id) == NODE_ID_TEXT && fsync(fd) == 0;
    const int number = errno;
    close(fd);
    return written || cannot_write(t->partial, number, error);
}

/* *m is the caller's when it is true. */
static bool finish(const struct target *t, struct manifest *m, struct config_error *error)
{
    const bool done = manifest_take(m, t->partial, error) && check_backup(m, t->partial, error) &&
                      manifest_write(m, t->partial, error) && target_publish(t, error);
    if (!done) {
        manifest_fini(m);
    }
    return done;
}

bool backup_take(const char *data, const char *to, struct manifest *taken,
                 struct config_error *error)
{
    struct source s = {.dir_fd = -1, .lock_fd = -1, .control_fd = -1};
    struct target t;
    bool done = target_open(&t, to, error) && source_open(&s, data, error) &&
                write_checkpoint(&s, &t, error) && write_journals(&s, &t, error) &&
                write_id(&s, &t, error) && source_held(&s, error);
    source_close(&s); /* what is held, and locked, is not needed any more */
    done = done && finish(&t, taken, error);
    target_close(&t, done);
    return done;
}
