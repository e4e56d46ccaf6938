/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/files.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES 64u
#define FILL_BYTES (256u * 1024)

/* ---- Names */

static void segment_name(char name[NAME_BYTES], uint32_t shard, uint64_t number)
{
    snprintf(name, NAME_BYTES, "journal-%" PRIu32 "-%012" PRIu64 ".seg", shard, number);
}

static void new_name(char name[NAME_BYTES], uint32_t shard)
{
    snprintf(name, NAME_BYTES, "journal-%" PRIu32 ".new", shard);
}

/* The number in a name of this shard; 0: it is another file. */
static uint64_t name_number(const char *name, uint32_t shard)
{
    char again[NAME_BYTES];
    const char *const dash = strrchr(name, '-');
    if (dash == NULL) {
        return 0;
    }
    const uint64_t number = strtoull(dash + 1, NULL, 10);
    segment_name(again, shard, number);
    return strcmp(name, again) == 0 ? number : 0;
}

/* ---- The directory */

int files_open(struct files *f, const char *path, uint32_t shard, uint64_t segment_bytes)
{
    *f = (struct files){.shard = shard, .segment_bytes = segment_bytes};
    f->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return f->dir < 0 ? errno : 0;
}

void files_close(struct files *f)
{
    if (f->dir >= 0) {
        close(f->dir);
        f->dir = -1;
    }
}

static int sync_dir(const struct files *f)
{
    return fsync(f->dir) == 0 ? 0 : errno;
}

static int compare(const void *a, const void *b)
{
    const struct recover_file *const x = a, *const y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static int add(const struct files *f, const char *name, struct recover_file **list, size_t *count)
{
    const uint64_t number = name_number(name, f->shard);
    if (number == 0) {
        return 0;
    }
    struct stat st;
    if (fstatat(f->dir, name, &st, 0) != 0) {
        return errno;
    }
    struct recover_file *longer = reallocarray(*list, *count + 1, sizeof *longer);
    if (longer == NULL) {
        return ENOMEM;
    }
    longer[*count] = (struct recover_file){.number = number, .bytes = (uint64_t)st.st_size};
    *list = longer;
    ++*count;
    return 0;
}

int files_list(const struct files *f, struct recover_file **list, size_t *count)
{
    struct recover_file *found = NULL;
    size_t n = 0;
    /* A descriptor of its own, since closedir() closes it, and its place in the directory moves. */
    const int fd = openat(f->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int err = 0;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        err = errno;
        close(fd);
        return err;
    }
    for (;;) {
        errno = 0;
        const struct dirent *const entry = readdir(dir); /* this thread's alone */
        if (entry == NULL) {
            err = errno;
            break;
        }
        err = add(f, entry->d_name, &found, &n);
        if (err != 0) {
            break;
        }
    }
    closedir(dir);
    if (err != 0) {
        free(found);
        return err;
    }
    if (n > 0) {
        qsort(found, n, sizeof *found, compare);
    }
    *list = found;
    *count = n;
    return 0;
}

/* ---- Segments come and go */

static int fill(int fd, uint64_t bytes)
{
    static const uint8_t zeros[FILL_BYTES];
    while (bytes > 0) {
        const ssize_t n = write(fd, zeros, bytes < sizeof zeros ? (size_t)bytes : sizeof zeros);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        bytes -= n > 0 ? (uint64_t)n : 0;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

static int rename_to(const struct files *f, const char *from, uint64_t number)
{
    char name[NAME_BYTES];
    segment_name(name, f->shard, number);
    if (faccessat(f->dir, name, F_OK, 0) == 0) {
        return EEXIST;
    }
    if (renameat(f->dir, from, f->dir, name) != 0) {
        return errno;
    }
    return sync_dir(f);
}

int files_create(const struct files *f, uint64_t number)
{
    assert(number > 0);

    char name[NAME_BYTES];
    new_name(name, f->shard);
    const int fd = openat(f->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        return errno;
    }
    int err = fill(fd, f->segment_bytes);
    if (close(fd) != 0 && err == 0) {
        err = errno;
    }
    if (err == 0) {
        err = rename_to(f, name, number);
    }
    if (err != 0) {
        unlinkat(f->dir, name, 0); /* what was filled of it should not stay on a full disk */
    }
    return err;
}

int files_recycle(const struct files *f, uint64_t from, uint64_t to)
{
    assert(from < to);

    char name[NAME_BYTES];
    segment_name(name, f->shard, from);
    struct stat st;
    if (fstatat(f->dir, name, &st, 0) != 0) {
        return errno;
    }
    if ((uint64_t)st.st_size != f->segment_bytes) {
        return EINVAL;
    }
    return rename_to(f, name, to);
}

int files_remove(const struct files *f, uint64_t number)
{
    char name[NAME_BYTES];
    segment_name(name, f->shard, number);
    if (unlinkat(f->dir, name, 0) != 0) {
        return errno;
    }
    return sync_dir(f);
}

static const struct recover_file *find(const struct recover_file *list, size_t count,
                                       uint64_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].number == number) {
            return &list[i];
        }
    }
    return NULL;
}

/* Recycles the lowest one below `needed`, or creates one; those of another size are of no use. */
static int recycle_or_create(const struct files *f, uint64_t number, uint64_t needed,
                             const struct recover_file *list, size_t count)
{
    for (size_t i = 0; i < count && list[i].number < needed; i++) {
        if (list[i].bytes == f->segment_bytes) {
            return files_recycle(f, list[i].number, number);
        }
        const int err = files_remove(f, list[i].number);
        if (err != 0) {
            return err;
        }
    }
    return files_create(f, number);
}

int files_prepare(const struct files *f, uint64_t number, uint64_t needed)
{
    assert(needed <= number);

    struct recover_file *list = NULL;
    size_t count = 0;
    int err = files_list(f, &list, &count);
    if (err != 0) {
        return err;
    }
    const struct recover_file *const there = find(list, count, number);
    if (there != NULL && there->bytes == f->segment_bytes) {
        err = sync_dir(f);
    } else {
        err = there == NULL ? 0 : files_remove(f, number);
        err = err != 0 ? err : recycle_or_create(f, number, needed, list, count);
    }
    free(list);
    return err;
}

static int open_segment(const struct files *f, uint64_t number, int flags, int *fd)
{
    char name[NAME_BYTES];
    segment_name(name, f->shard, number);
    const int opened = openat(f->dir, name, flags | O_CLOEXEC);
    if (opened < 0) {
        return errno;
    }
    *fd = opened;
    return 0;
}

int files_segment_open(const struct files *f, uint64_t number, int *fd)
{
    return open_segment(f, number, O_RDWR, fd);
}

/* ---- Recovery */

static int read_segment(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len)
{
    int fd = -1;
    int err = open_segment((const struct files *)context, number, O_RDONLY, &fd);
    if (err != 0) {
        return err;
    }
    while (err == 0 && len > 0) {
        const ssize_t n = pread(fd, out, len, (off_t)offset);
        if (n > 0) {
            out += n;
            offset += (uint64_t)n;
            len -= (size_t)n;
        } else if (n == 0) {
            err = ENODATA; /* it has become shorter meanwhile */
        } else if (errno != EINTR) {
            err = errno;
        }
    }
    close(fd);
    return err;
}

struct recover_source files_source(const struct files *f, const struct recover_file *list,
                                   size_t count)
{
    return (struct recover_source){.files = list,
                                   .count = count,
                                   .read = read_segment,
                                   .context = (void *)(uintptr_t)f}; /* it does not write there */
}

static int settle(const struct files *f, uint64_t number)
{
    int fd = -1;
    int err = open_segment(f, number, O_RDONLY, &fd);
    if (err != 0) {
        return err;
    }
    if (fdatasync(fd) != 0) {
        err = errno;
    } else {
        err = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    close(fd);
    return err;
}

static bool has_begun(const struct recovered *r, uint64_t number)
{
    for (size_t i = 0; i < r->segments_count; i++) {
        if (r->segments[i].number == number) {
            return true;
        }
    }
    return false;
}

/* What may be in segments that never began, of a batch that is torn, counts for nothing under a new
 * number. It is done while the segments that say where the numbering stands are there: alone, such
 * a segment would look like damage. */
static int renumber_spares(const struct files *f, const struct recovered *r,
                           const struct recover_file *list, size_t count)
{
    int err = 0;
    uint64_t next = r->segment;
    for (size_t i = 0; err == 0 && i < count; i++) {
        if (has_begun(r, list[i].number)) {
            continue;
        }
        if (list[i].bytes == f->segment_bytes) {
            err = files_recycle(f, list[i].number, next++);
        } else {
            err = files_remove(f, list[i].number);
        }
    }
    return err;
}

enum recover_err files_recover(struct recovered *recovered, const struct files *f,
                               const struct segment_owner *owner,
                               const struct recover_visitor *visitor)
{
    assert(owner->shard == f->shard);

    *recovered = (struct recovered){.next_lsn = 1};
    struct recover_file *list = NULL;
    size_t count = 0;
    uint64_t bad = 0;
    enum recover_err result = RECOVER_IO;
    int err = files_list(f, &list, &count);
    for (size_t i = 0; err == 0 && i < count; i++) {
        bad = list[i].number;
        err = settle(f, bad);
    }
    if (err == 0) {
        const struct recover_source source = files_source(f, list, count);
        result = recover_journal(recovered, owner, &source, visitor);
        bad = recovered->bad_segment;
        err = recovered->sys_errno;
    }
    if (result == RECOVER_OK) {
        err = renumber_spares(f, recovered, list, count);
        result = err == 0 ? RECOVER_OK : RECOVER_IO;
    }
    recovered->sys_errno = err;
    recovered->bad_segment = bad;
    free(list);
    return result;
}

/* ---- A copy */

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

static int write_segment(void *context, uint64_t number, const uint8_t *bytes, size_t len)
{
    const struct files *const to = context;
    char name[NAME_BYTES];
    segment_name(name, to->shard, number);
    const int fd = openat(to->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) {
        return errno;
    }
    const int err = write_all(fd, bytes, len);
    return close(fd) != 0 && err == 0 ? errno : err;
}

enum recover_err files_copy(struct copied *out, const struct files *from, const struct files *to,
                            const struct segment_owner *owner)
{
    assert(owner->shard == from->shard);

    struct recover_file *list = NULL;
    size_t count = 0;
    const int err = files_list(from, &list, &count);
    if (err != 0) {
        *out = (struct copied){.sys_errno = err};
        return RECOVER_IO;
    }
    const struct recover_source source = files_source(from, list, count);
    struct files target = *to;
    target.shard = from->shard;
    const struct copy_target write = {.write = write_segment, .context = &target};
    const enum recover_err result = copy_journal(out, owner, &source, &write);
    free(list);
    return result;
}
