/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backup/backup_command.h"
#include "broker/backup/check.h"
#include "broker/backup/flags.h"
#include "broker/backup/manifest.h"
#include "broker/backup/tree.h"
#include "broker/config/config_error.h"
#include "broker/data_dir.h"

#define USAGE_STATUS 2
#define BUFFER_BYTES 65536u

static const char help[] =
    "dunlin restore: a data directory, made of a backup\n"
    "\n"
    "Usage: dunlin restore --from DIR2 --data DIR\n"
    "\n"
    "  --from DIR2  A backup that dunlin backup has written. It is checked first.\n"
    "  --data DIR   The data directory to be: one that is not there yet (its parent is), or is "
    "empty.\n"
    "  --help       Print this.\n"
    "\n"
    "When it has ended, start a broker with --data DIR. What breaks off leaves a directory that "
    "no\n"
    "broker starts on; another restore into it begins anew. As root, the files are given to "
    "whoever\n"
    "owns DIR.\n"
    "\n"
    "Example:\n"
    "  dunlin restore --from /backup/dunlin-2026-11-27 --data /var/lib/dunlin\n";

struct place {
    const char *dir;
    int fd, lock_fd;
    struct stat owner;
};

static bool cannot_write(const struct place *p, int number, struct config_error *error)
{
    config_error_add(error, "%s: it cannot be written: %s", p->dir, strerror(number));
    return false;
}

/* ---- where to */

static bool may_stay(const char *name)
{
    static const char *const names[] = {".", "..", "lost+found", "dunlin.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Or what is in it is from a restore that broke off. */
static bool is_empty(const struct place *p, struct config_error *error)
{
    if (faccessat(p->fd, DATA_DIR_UNFINISHED_MARK, F_OK, 0) == 0) {
        return true;
    }
    DIR *const all = opendir(p->dir);
    if (all == NULL) {
        return cannot_write(p, errno, error);
    }
    const struct dirent *entry;
    bool empty = true;
    while (empty && (entry = readdir(all)) != NULL) { /* this thread's alone */
        empty = may_stay(entry->d_name);
        if (!empty) {
            config_error_add(error, "%s: it is not empty: there is %s", p->dir, entry->d_name);
        }
    }
    closedir(all);
    return empty;
}

static bool give_to_owner(const struct place *p, int fd)
{
    return geteuid() != 0 || fchown(fd, p->owner.st_uid, p->owner.st_gid) == 0;
}

static bool lock(struct place *p, struct config_error *error)
{
    p->lock_fd = openat(p->fd, "dunlin.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (p->lock_fd < 0 || !give_to_owner(p, p->lock_fd)) {
        return cannot_write(p, errno, error);
    }
    if (flock(p->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        config_error_add(error, "%s: a broker runs on it, or another restore", p->dir);
        return false;
    }
    return true;
}

/* From here on no broker starts on it. */
static bool mark(const struct place *p, struct config_error *error)
{
    const int fd = openat(p->fd, DATA_DIR_UNFINISHED_MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const bool done = fd >= 0 && give_to_owner(p, fd) && fsync(fd) == 0 && fsync(p->fd) == 0;
    const int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    return done || cannot_write(p, number, error);
}

/* Of a restore that broke off. */
static bool clear(const struct place *p, struct config_error *error)
{
    static const char *const dirs[] = {"checkpoint", "journal"};
    char path[PATH_MAX];
    if (unlinkat(p->fd, "node.id", 0) != 0 && errno != ENOENT) {
        return cannot_write(p, errno, error);
    }
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", p->dir, dirs[i]);
        const int number = faccessat(p->fd, dirs[i], F_OK, 0) == 0 ? tree_clear(path) : 0;
        if (number != 0 || (unlinkat(p->fd, dirs[i], AT_REMOVEDIR) != 0 && errno != ENOENT)) {
            return cannot_write(p, number != 0 ? number : errno, error);
        }
    }
    return true;
}

static bool make_dirs(const struct place *p, struct config_error *error)
{
    static const char *const dirs[] = {"checkpoint", "journal"};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        int fd = -1;
        if (mkdirat(p->fd, dirs[i], 0700) == 0) {
            fd = openat(p->fd, dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        const bool done = fd >= 0 && give_to_owner(p, fd);
        const int number = errno;
        if (fd >= 0) {
            close(fd);
        }
        if (!done) {
            return cannot_write(p, number, error);
        }
    }
    return true;
}

static bool place_open(struct place *p, const char *dir, struct config_error *error)
{
    *p = (struct place){.dir = dir, .fd = -1, .lock_fd = -1};
    if (mkdir(dir, 0750) != 0 && errno != EEXIST) {
        return cannot_write(p, errno, error);
    }
    p->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->fd < 0 || fstat(p->fd, &p->owner) != 0) {
        return cannot_write(p, errno, error);
    }
    /* Looked at before, so that nothing is put where it does not belong; and when it is ours. */
    return is_empty(p, error) && lock(p, error) && is_empty(p, error) && mark(p, error) &&
           clear(p, error) && make_dirs(p, error);
}

static void place_close(struct place *p)
{
    if (p->lock_fd >= 0) {
        close(p->lock_fd);
    }
    if (p->fd >= 0) {
        close(p->fd);
    }
}

/* ---- what is in it */

/* 0 or an errno. */
static int copy_bytes(int from, int to)
{
    static uint8_t buffer[BUFFER_BYTES];
    for (;;) {
        const ssize_t n = read(from, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : fsync(to) == 0 ? 0 : errno;
        }
        for (ssize_t at = 0; at < n;) {
            const ssize_t written = write(to, buffer + at, (size_t)(n - at));
            if (written < 0 && errno != EINTR) {
                return errno;
            }
            at += written > 0 ? written : 0;
        }
    }
}

static bool copy_file(const struct place *p, const char *from_dir, const char *name,
                      struct config_error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", from_dir, name);
    const mode_t mode = strcmp(name, "node.id") == 0 ? 0644 : 0600;
    const int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) {
        config_error_add(error, "%s: it cannot be read: %s", path, strerror(errno));
        return false;
    }
    const int to = openat(p->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int number = to < 0 || !give_to_owner(p, to) ? errno : copy_bytes(from, to);
    close(from);
    if (to >= 0 && close(to) != 0 && number == 0) {
        number = errno;
    }
    return number == 0 || cannot_write(p, number, error);
}

/* The mark goes when all is there. */
static bool finish(const struct place *p, struct config_error *error)
{
    int number = tree_sync(p->dir);
    if (number == 0 && (unlinkat(p->fd, DATA_DIR_UNFINISHED_MARK, 0) != 0 || fsync(p->fd) != 0)) {
        number = errno;
    }
    if (number == 0) {
        number = tree_sync_parent(p->dir);
    }
    return number == 0 || cannot_write(p, number, error);
}

static bool restore(const char *from, const char *dir, struct config_error *error)
{
    assert(from != NULL && dir != NULL);

    struct manifest m;
    struct place p = {.fd = -1, .lock_fd = -1};
    bool done = manifest_read(&m, from, error) && check_backup(&m, from, error) &&
                place_open(&p, dir, error);
    for (size_t i = 0; done && i < m.count; i++) {
        done = copy_file(&p, from, m.files[i].path, error);
    }
    /* What was good when it was checked may have been read otherwise the second time. */
    done = done && check_backup(&m, dir, error) && finish(&p, error);
    place_close(&p);
    if (done) {
        printf("%s: restored: node %s as of %s, %zu files, %.1f MiB\n", dir, m.node_id, m.taken,
               m.count, (double)manifest_bytes(&m) / (1 << 20));
    }
    manifest_fini(&m);
    return done;
}

int restore_command(int argc, char *const *argv)
{
    struct config_error error = {0};
    const char *from = NULL, *data = NULL;
    const struct flag flags[] = {{"--from", &from}, {"--data", &data}};
    const bool wants_help = flags_take(argc, argv, flags, sizeof flags / sizeof flags[0], &error);
    if (wants_help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    if (error.count == 0 && (from == NULL || data == NULL)) {
        config_error_add(&error, "give --from and --data; dunlin restore --help tells more");
    }
    if (error.count > 0) {
        fputs(error.text, stderr);
        return USAGE_STATUS;
    }
    const bool done = restore(from, data, &error);
    fputs(error.text, stderr);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
