/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk: the files of a node. What is written is seen at once; what a crash leaves of it depends:
 * what was durable stays, of the rest nothing, or any of its sectors.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define SYNC_LEAST_US 200u
#define SYNC_MOST_US  20000u

static void make_room(struct disk_file *f, size_t len)
{
    if (len <= f->room) {
        return;
    }
    const size_t room = (len * 2 + SECTOR_BYTES - 1) / SECTOR_BYTES * SECTOR_BYTES;
    f->now = realloc(f->now, room);
    f->kept = realloc(f->kept, room);
    f->sectors = reallocarray(f->sectors, room / SECTOR_BYTES, sizeof *f->sectors);
    assert(f->now != NULL);
    assert(f->kept != NULL);
    assert(f->sectors != NULL);
    memset(f->now + f->room, 0, room - f->room);
    memset(f->kept + f->room, 0, room - f->room);
    memset(f->sectors + f->room / SECTOR_BYTES, 0,
           (room - f->room) / SECTOR_BYTES * sizeof *f->sectors);
    f->room = room;
}

void sim_disk_write(struct sim_node *node, unsigned file, uint64_t offset, struct bytes bytes)
{
    assert(file < DISK_FILES);

    if (bytes.len == 0) {
        return;
    }
    struct disk_file *const f = &node->files[file];
    const size_t end = (size_t)offset + bytes.len;
    make_room(f, end);
    memcpy(f->now + offset, bytes.at, bytes.len);
    f->len = end > f->len ? end : f->len;
    node->disk_writes++;
    for (size_t s = (size_t)offset / SECTOR_BYTES; s <= (end - 1) / SECTOR_BYTES; s++) {
        f->sectors[s].first = f->sectors[s].first == 0 ? node->disk_writes : f->sectors[s].first;
        f->sectors[s].last = node->disk_writes;
    }
}

void sim_disk_truncate(struct sim_node *node, unsigned file, uint64_t len)
{
    assert(file < DISK_FILES);

    struct disk_file *const f = &node->files[file];
    if (len < f->len) {
        memset(f->now + len, 0, f->len - (size_t)len);
        f->len = (size_t)len;
        f->kept_len = f->kept_len < f->len ? f->kept_len : f->len;
    }
}

size_t sim_disk_read(const struct sim_node *node, unsigned file, uint64_t offset, void *out,
                     size_t len)
{
    assert(file < DISK_FILES);

    const struct disk_file *const f = &node->files[file];
    if (offset >= f->len) {
        return 0;
    }
    const size_t n = len < f->len - (size_t)offset ? len : f->len - (size_t)offset;
    memcpy(out, f->now + offset, n);
    return n;
}

uint64_t sim_disk_sync(struct sim_node *node, unsigned file)
{
    assert(file < DISK_FILES);

    const uint64_t operation = ++node->disk_operations;
    queue_add(&node->sim->queue,
              (struct event){.kind = EVENT_SYNCED,
                             .node = node->index,
                             .life = node->life,
                             .a = operation,
                             .b = file,
                             .c = node->disk_writes,
                             .at_us = node->sim->now_us +
                                      sim_between(node->sim, SYNC_LEAST_US, SYNC_MOST_US)});
    return operation;
}

static void keep(struct disk_file *f, size_t sector)
{
    memcpy(f->kept + sector * SECTOR_BYTES, f->now + sector * SECTOR_BYTES, SECTOR_BYTES);
    const size_t end = (sector + 1) * SECTOR_BYTES;
    const size_t len = end < f->len ? end : f->len;
    f->kept_len = len > f->kept_len ? len : f->kept_len;
}

/* What was written before the sync was asked for is durable; what was written there since may be.
 */
void disk_synced(struct sim_node *node, const struct event *e)
{
    struct sim *const sim = node->sim;
    if (!sim_is_alive(sim, node->index, e->life)) {
        return;
    }
    if (node->paused) {
        struct event again = *e;
        again.at_us = sim->now_us + 100u * US_PER_MS;
        queue_add(&sim->queue, again);
        return;
    }
    struct disk_file *const f = &node->files[e->b];
    const bool fails = !sim->calm && (sim->faults & SIM_DISK_ERROR) != 0 && sim_chance(sim, 50);
    for (size_t s = 0; !fails && s < f->room / SECTOR_BYTES; s++) {
        struct disk_sector *const sector = &f->sectors[s];
        if (sector->first != 0 && sector->first <= e->c) {
            keep(f, s);
            sector->first = sector->last > e->c ? e->c + 1 : 0;
        }
    }
    if (sim->suite->module->disk_done != NULL) {
        sim->suite->module->disk_done(node->running, e->a, fails ? EIO : 0);
    }
}

void disk_crash(struct sim_node *node)
{
    struct sim *const sim = node->sim;
    const bool torn = (sim->faults & SIM_DISK_TORN) != 0;
    const bool lost = (sim->faults & SIM_DISK_LOSS) != 0;
    for (unsigned i = 0; i < DISK_FILES; i++) {
        struct disk_file *const f = &node->files[i];
        for (size_t s = 0; s < f->room / SECTOR_BYTES; s++) {
            const bool dirty = f->sectors[s].first != 0;
            if (dirty && (torn ? sim_chance(sim, 5000) : !lost)) {
                keep(f, s);
            }
            f->sectors[s] = (struct disk_sector){0};
        }
        if (f->room > 0) {
            memset(f->kept + f->kept_len, 0, f->room - f->kept_len);
            memcpy(f->now, f->kept, f->room);
            f->len = f->kept_len;
        }
    }
}

void disk_wipe(struct sim_node *node)
{
    for (unsigned i = 0; i < DISK_FILES; i++) {
        free(node->files[i].now);
        free(node->files[i].kept);
        free(node->files[i].sectors);
        node->files[i] = (struct disk_file){0};
    }
}
