/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/kept_node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/session/will.h"
#include "broker/shard/shard.h"
#include "broker/store/keeper.h"
#include "broker/store/revive.h"
#include "broker/store/store.h"
#include "cluster/journal/recover.h"
#include "tests/fake/io_fake.h"

#define SEGMENT_BYTES (512u << 10)
#define BATCH_BYTES   (128u << 10)
#define BODY_BYTES    (64u << 10)

static struct segment_owner owner_of(unsigned shard)
{
    return (struct segment_owner){.store_id = "a store, random", .shard = shard};
}

static void on_wake(void *context, unsigned shard)
{
    (void)context;
    (void)shard;
}

static struct store *make_store(struct kept_node *k, unsigned shard)
{
    const struct store_conf conf = {.journal = {.owner = owner_of(shard),
                                                .segment_bytes = SEGMENT_BYTES,
                                                .gathering_bytes_max = BATCH_BYTES,
                                                .body_bytes_max = BODY_BYTES,
                                                .segments_ahead = 1},
                                    .keeper = k->keeper,
                                    .durability = CONFIG_DURABILITY_SYNC};
    struct store *const store = store_create(k->n->node->shards[shard], &conf);
    struct keeper_slot *const slot = keeper_slot_of(k->keeper, shard);
    k->files[shard] = memfd_create("journal", MFD_CLOEXEC);
    const int error = ftruncate(k->files[shard], SEGMENT_BYTES);
    assert(store != NULL && error == 0);
    slot->descriptor = k->files[shard];
    atomic_store_explicit(&slot->ready, 1, memory_order_release);
    return store;
}

void kept_node_create(struct kept_node *k, const char *const settings[])
{
    *k = (struct kept_node){.dir = "/tmp/dunlin-kept-node-XXXXXX"};
    const char *const dir = mkdtemp(k->dir);
    assert(dir != NULL);
    k->n = fake_node_create(KEPT_SHARDS, settings);
    const struct keeper_conf conf = {.dir = dir,
                                     .shards = KEPT_SHARDS,
                                     .segment_bytes = SEGMENT_BYTES,
                                     .segments_max = STORE_SEGMENTS_MAX,
                                     .wake = on_wake};
    const int error = keeper_create(&k->keeper, &conf);
    struct revival *const r = revive_begin(k->n->node);
    assert(error == 0 && r != NULL);
    for (unsigned i = 0; i < KEPT_SHARDS; i++) {
        k->stores[i] = k->n->node->shards[i]->store = make_store(k, i);
    }
    revive_end(r);
    revive_free(r);
}

void kept_node_hold(struct kept_node *k, unsigned shard, bool hold)
{
    io_fake_files_hold(k->n->node->shards[shard]->io, hold);
}

static uint8_t *read_file(int file)
{
    uint8_t *const bytes = malloc(SEGMENT_BYTES);
    const ssize_t n = bytes == NULL ? -1 : pread(file, bytes, SEGMENT_BYTES, 0);
    assert(n == SEGMENT_BYTES);
    return bytes;
}

/* It goes on without a disk, and so can end as a fake_node does. */
static void lose_disk(struct kept_node *k, unsigned shard)
{
    struct shard *const s = k->n->node->shards[shard];
    io_fake_files_lose(s->io, NULL, NULL);
    if (s->store->writing) {
        journal_done(s->store->journal, EIO);
    }
    s->store = NULL;
    shard_self = s;
    will_abandon(s);
    shard_self = NULL;
}

void kept_node_crash(struct kept_node *k, struct kept_disks *disks)
{
    for (unsigned i = 0; i < KEPT_SHARDS; i++) {
        disks->at[i] = read_file(k->files[i]);
        lose_disk(k, i);
    }
    fake_node_destroy(k->n);
    for (unsigned i = 0; i < KEPT_SHARDS; i++) {
        store_destroy(k->stores[i]);
        close(k->files[i]);
    }
    keeper_destroy(k->keeper);
    rmdir(k->dir);
}

void kept_node_destroy(struct kept_node *k)
{
    struct kept_disks disks;
    kept_node_crash(k, &disks);
    for (unsigned i = 0; i < KEPT_SHARDS; i++) {
        free(disks.at[i]);
    }
}

/* ---- the next one */

struct reading {
    const struct kept_disks *disks;
    struct revival *revival;
    unsigned shard;
};

static int read_disk(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len)
{
    const struct reading *const reading = context;
    assert(number == 1 && offset + len <= SEGMENT_BYTES);
    memcpy(out, reading->disks->at[reading->shard] + offset, len);
    return 0;
}

static bool on_entry(void *context, const struct record *record)
{
    const struct reading *const reading = context;
    return revive_entry(reading->revival, reading->shard, record);
}

static void read_journal(struct reading *reading)
{
    static const struct recover_file file = {.number = 1, .bytes = SEGMENT_BYTES};
    const struct segment_owner owner = owner_of(reading->shard);
    const struct recover_source source = {
        .files = &file, .count = 1, .read = read_disk, .context = reading};
    const struct recover_visitor visitor = {.entry = on_entry, .context = reading};
    struct recovered recovered;
    const enum recover_err err = recover_journal(&recovered, &owner, &source, &visitor);
    assert(err == RECOVER_OK);
    recovered_fini(&recovered);
}

struct fake_node *kept_node_again(struct kept_disks *disks, const char *const settings[])
{
    struct fake_node *const n = fake_node_create(KEPT_SHARDS, settings);
    struct reading reading = {.disks = disks, .revival = revive_begin(n->node)};
    assert(reading.revival != NULL);
    for (; reading.shard < KEPT_SHARDS; reading.shard++) {
        read_journal(&reading);
        free(disks->at[reading.shard]);
    }
    revive_end(reading.revival);
    revive_free(reading.revival);
    return n;
}
