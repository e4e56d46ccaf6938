/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/journal/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void disk_init(struct disk *d, struct random *random, uint64_t bytes)
{
    *d = (struct disk){.random = random, .bytes = bytes};
}

static void file_free(struct disk_file *f)
{
    free(f->kept);
    free(f->cached);
    free(f->dirty);
}

void disk_fini(struct disk *d)
{
    for (size_t i = 0; i < d->count; i++) {
        file_free(&d->files[i]);
    }
    d->count = 0;
}

static size_t sectors(const struct disk *d)
{
    return (size_t)(d->bytes + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES;
}

static void add(struct disk *d, uint64_t number, struct disk_file f)
{
    assert(d->count < DISK_FILES_MAX);
    size_t i = d->count++;
    for (; i > 0 && d->list[i - 1].number > number; i--) {
        d->list[i] = d->list[i - 1];
        d->files[i] = d->files[i - 1];
    }
    assert(i == 0 || d->list[i - 1].number != number);
    d->list[i] = (struct recover_file){.number = number, .bytes = d->bytes};
    d->files[i] = f;
}

void disk_create(struct disk *d, uint64_t number)
{
    const struct disk_file f = {.kept = calloc(1, (size_t)d->bytes),
                                .cached = calloc(1, (size_t)d->bytes),
                                .dirty = calloc(sectors(d), sizeof(bool))};
    assert(f.kept != NULL && f.cached != NULL && f.dirty != NULL);
    add(d, number, f);
}

static void take_out(struct disk *d, size_t i)
{
    d->count--;
    memmove(&d->list[i], &d->list[i + 1], (d->count - i) * sizeof d->list[0]);
    memmove(&d->files[i], &d->files[i + 1], (d->count - i) * sizeof d->files[0]);
}

void disk_recycle(struct disk *d, uint64_t from, uint64_t to)
{
    const struct disk_file *const file = disk_find(d, from);
    assert(file != NULL);
    const struct disk_file f = *file;
    take_out(d, (size_t)(file - d->files));
    add(d, to, f);
}

struct disk_file *disk_find(struct disk *d, uint64_t number)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->list[i].number == number) {
            return &d->files[i];
        }
    }
    return NULL;
}

void disk_remove(struct disk *d, uint64_t number)
{
    struct disk_file *const f = disk_find(d, number);
    assert(f != NULL);
    file_free(f);
    take_out(d, (size_t)(f - d->files));
}

void disk_write(struct disk *d, uint64_t number, uint64_t offset, const uint8_t *at, size_t len)
{
    struct disk_file *const f = disk_find(d, number);
    assert(f != NULL && len > 0 && len <= d->bytes && offset <= d->bytes - len);
    memcpy(f->cached + offset, at, len);
    for (size_t s = offset / DISK_SECTOR_BYTES; s <= (offset + len - 1) / DISK_SECTOR_BYTES; s++) {
        f->dirty[s] = true;
    }
}

/* All that is dirty is clean, and a part of it on disk. */
static void write_back(struct disk *d, struct disk_file *f, unsigned percent)
{
    for (size_t s = 0; s < sectors(d); s++) {
        if (f->dirty[s] && random_below(d->random, 100) < percent) {
            const size_t at = s * DISK_SECTOR_BYTES, left = (size_t)d->bytes - at;
            memcpy(f->kept + at, f->cached + at,
                   left < DISK_SECTOR_BYTES ? left : DISK_SECTOR_BYTES);
        }
        f->dirty[s] = false;
    }
}

void disk_sync(struct disk *d, uint64_t number)
{
    write_back(d, disk_find(d, number), 100);
}

void disk_sync_fails(struct disk *d, uint64_t number)
{
    write_back(d, disk_find(d, number), random_below(d->random, 101));
}

void disk_crash(struct disk *d, unsigned percent)
{
    for (size_t i = 0; i < d->count; i++) {
        struct disk_file *const f = &d->files[i];
        write_back(d, f, percent);
        memcpy(f->cached, f->kept, (size_t)d->bytes);
    }
}

static int read_kept(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len)
{
    struct disk *const d = context;
    if (number == d->unreadable) {
        return EIO;
    }
    memcpy(out, disk_find(d, number)->kept + offset, len);
    return 0;
}

struct recover_source disk_source(struct disk *d)
{
    return (struct recover_source){
        .files = d->list, .count = d->count, .read = read_kept, .context = d};
}
