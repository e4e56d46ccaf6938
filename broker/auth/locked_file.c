/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/locked_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 20u

const char *locked_file_err_text(enum locked_file_err err)
{
    switch (err) {
    case LOCKED_FILE_OK:
        return "ok";
    case LOCKED_FILE_ABSENT:
        return "there is no such file";
    case LOCKED_FILE_EXISTS:
        return "there is such a file already";
    case LOCKED_FILE_UNREACHABLE:
        return "it cannot be opened for a change";
    case LOCKED_FILE_IRREGULAR:
        return "it is not a regular file";
    case LOCKED_FILE_BUSY:
        return "somebody else has been changing it for 10 seconds: end that one, or try again";
    case LOCKED_FILE_UNREADABLE:
        return "it cannot be read";
    case LOCKED_FILE_TOO_LARGE:
        return "it is too large";
    case LOCKED_FILE_FOREIGN:
        return "it cannot be changed and stay its owner's: be its owner, or root";
    case LOCKED_FILE_UNWRITABLE:
        return "it cannot be written";
    case LOCKED_FILE_NO_MEMORY:
        return "out of memory";
    }
    return "?";
}

/* ---- names */

/* A new file: its directory without symbolic links, and its name. NULL: errno. */
static char *new_path(const char *path)
{
    const char *const slash = strrchr(path, '/');
    const char *const name = slash == NULL ? path : slash + 1;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        errno = EISDIR;
        return NULL;
    }
    char *const folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    char *const real = folder == NULL ? NULL : realpath(folder, NULL);
    const int sys_errno = errno;
    char *whole = NULL;
    free(folder);
    if (real != NULL && asprintf(&whole, "%s/%s", real, name) < 0) {
        whole = NULL;
    }
    errno = real == NULL ? sys_errno : ENOMEM;
    free(real);
    return whole;
}

static enum locked_file_err find(struct locked_file *f, const char *path, enum locked_file_how how)
{
    f->path = how == LOCKED_FILE_NEW ? new_path(path) : realpath(path, NULL);
    if (f->path == NULL) {
        return errno == ENOENT && how == LOCKED_FILE_OLD ? LOCKED_FILE_ABSENT
                                                         : LOCKED_FILE_UNREACHABLE;
    }
    char *const slash = strrchr(f->path, '/');
    assert(slash != NULL); /* it is absolute */
    f->name = slash + 1;
    if (f->name[0] == '\0') { /* the root itself */
        return LOCKED_FILE_IRREGULAR;
    }
    if (asprintf(&f->beside, ".%s.dunlin", f->name) < 0) {
        f->beside = NULL;
        return LOCKED_FILE_NO_MEMORY;
    }
    *slash = '\0';
    f->dir = open(slash == f->path ? "/" : f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return f->dir >= 0 ? LOCKED_FILE_OK : LOCKED_FILE_UNREACHABLE;
}

/* ---- the lock */

static enum locked_file_err lock(int fd)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    for (unsigned waited = 0; waited <= LOCKED_FILE_WAIT_MS; waited += LOOK_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return LOCKED_FILE_OK;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return LOCKED_FILE_UNREACHABLE;
        }
        nanosleep(&pause, NULL);
    }
    return LOCKED_FILE_BUSY;
}

/* It may have been replaced, or removed, while we waited for the lock. */
static bool bears_the_name(const struct locked_file *f)
{
    struct stat named;
    return fstatat(f->dir, f->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           named.st_dev == f->was.st_dev && named.st_ino == f->was.st_ino;
}

static enum locked_file_err open_once(struct locked_file *f, enum locked_file_how how)
{
    const int flags = how == LOCKED_FILE_NEW ? O_RDWR | O_CREAT | O_EXCL : O_RDWR;
    f->fd = openat(f->dir, f->name, flags | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (f->fd < 0) {
        return errno == EEXIST                             ? LOCKED_FILE_EXISTS
               : errno == ENOENT && how == LOCKED_FILE_OLD ? LOCKED_FILE_ABSENT
               : errno == EISDIR                           ? LOCKED_FILE_IRREGULAR
                                                           : LOCKED_FILE_UNREACHABLE;
    }
    if (fstat(f->fd, &f->was) != 0) {
        return LOCKED_FILE_UNREACHABLE;
    }
    if (!S_ISREG(f->was.st_mode)) {
        return LOCKED_FILE_IRREGULAR;
    }
    const enum locked_file_err err = lock(f->fd);
    if (err != LOCKED_FILE_OK) {
        return err;
    }
    f->created = how == LOCKED_FILE_NEW;
    return fstat(f->fd, &f->was) == 0 ? LOCKED_FILE_OK : LOCKED_FILE_UNREACHABLE;
}

enum locked_file_err locked_file_open(struct locked_file *f, const char *path,
                                      enum locked_file_how how, int *sys_errno)
{
    *f = (struct locked_file){.dir = -1, .fd = -1};
    errno = 0;
    enum locked_file_err err = find(f, path, how);
    while (err == LOCKED_FILE_OK) {
        err = open_once(f, how);
        if (err != LOCKED_FILE_OK || bears_the_name(f)) {
            break;
        }
        close(f->fd);
        f->fd = -1;
        f->created = false; /* another has changed it already: it is that one's to remove */
        how = LOCKED_FILE_OLD;
    }
    *sys_errno = err == LOCKED_FILE_UNREACHABLE ? errno : 0;
    if (err != LOCKED_FILE_OK) {
        locked_file_close(f);
    }
    return err;
}

void locked_file_close(struct locked_file *f)
{
    if (f->created) {
        unlinkat(f->dir, f->name, 0);
    }
    if (f->fd >= 0) {
        close(f->fd); /* and the lock goes with it */
    }
    if (f->dir >= 0) {
        close(f->dir);
    }
    free(f->path);
    free(f->beside);
    *f = (struct locked_file){.dir = -1, .fd = -1};
}

/* ---- reading and writing */

enum locked_file_err locked_file_read(struct locked_file *f, size_t bytes_max, char **text,
                                      size_t *len, int *sys_errno)
{
    *sys_errno = 0;
    if ((uint64_t)f->was.st_size > bytes_max) {
        return LOCKED_FILE_TOO_LARGE;
    }
    const size_t size = (size_t)f->was.st_size;
    char *const buffer = malloc(size + 1);
    if (buffer == NULL) {
        return LOCKED_FILE_NO_MEMORY;
    }
    size_t done = 0;
    ssize_t n = 1;
    while (done < size && n > 0) {
        n = pread(f->fd, buffer + done, size - done, (off_t)done);
        done += n > 0 ? (size_t)n : 0;
    }
    if (done < size) { /* an error, or somebody without the lock has made it shorter */
        *sys_errno = n < 0 ? errno : 0;
        free(buffer);
        return LOCKED_FILE_UNREADABLE;
    }
    buffer[size] = '\0';
    *text = buffer;
    *len = size;
    return LOCKED_FILE_OK;
}

static bool write_all(int fd, struct bytes text)
{
    size_t done = 0;
    while (done < text.len) {
        const ssize_t n = write(fd, text.at + done, text.len - done);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The mode last: a change of the owner takes bits away. */
static enum locked_file_err fill(const struct locked_file *f, int fd, struct bytes text)
{
    if (!write_all(fd, text)) {
        return LOCKED_FILE_UNWRITABLE;
    }
    if (fchown(fd, f->was.st_uid, f->was.st_gid) != 0) {
        return LOCKED_FILE_FOREIGN;
    }
    return fchmod(fd, f->was.st_mode & 07777) == 0 && fsync(fd) == 0 ? LOCKED_FILE_OK
                                                                     : LOCKED_FILE_UNWRITABLE;
}

static enum locked_file_err write_beside(const struct locked_file *f, struct bytes text,
                                         int *sys_errno)
{
    unlinkat(f->dir, f->beside, 0);
    const int fd = openat(f->dir, f->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        *sys_errno = errno;
        return LOCKED_FILE_UNWRITABLE;
    }
    enum locked_file_err err = fill(f, fd, text);
    *sys_errno = err == LOCKED_FILE_OK ? 0 : errno;
    if (close(fd) != 0 && err == LOCKED_FILE_OK) {
        *sys_errno = errno;
        err = LOCKED_FILE_UNWRITABLE;
    }
    return err;
}

enum locked_file_err locked_file_replace(struct locked_file *f, struct bytes text, int *sys_errno)
{
    enum locked_file_err err = write_beside(f, text, sys_errno);
    if (err == LOCKED_FILE_OK && renameat(f->dir, f->beside, f->dir, f->name) != 0) {
        *sys_errno = errno;
        err = LOCKED_FILE_UNWRITABLE;
    }
    if (err != LOCKED_FILE_OK) {
        unlinkat(f->dir, f->beside, 0);
        return err;
    }
    f->created = false; /* it stays */
    if (fsync(f->dir) != 0) {
        *sys_errno = errno;
        return LOCKED_FILE_UNWRITABLE;
    }
    return LOCKED_FILE_OK;
}
