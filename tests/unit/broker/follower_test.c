/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a broker says of its sessions, applied by apply.h, comes to what it puts into its checkpoint
 * itself: from the first entry on, from any checkpoint that was made meanwhile, twice, and through
 * a copy. Clients are a crowd (crowd.h); the same runs each time, and FOLLOWER_ROUNDS asks for so
 * many others. TEST_SEED repeats one.
 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/apply.h"
#include "broker/store/capture.h"
#include "broker/store/partition_copy.h"
#include "broker/store/partition_hash.h"
#include "broker/store/records_overlay.h"
#include "broker/store/session_record.h"
#include "broker/store/store.h"
#include "tests/unit/broker/crowd_parts.h"
#include "tests/unit/broker/crowd_random.h"
#include "tests/unit/broker/fake_disk.h"
#include "tests/unit/broker/followed.h"

#define ROUNDS         12u
#define ACTIONS        1500u
#define FIRST_SEED     0x666f6c6cu
#define SNAPSHOTS_MAX  24u
#define PARTITIONS_ALL SERIAL_PARTITIONS

/* What the checkpoint had at some moment. */
struct snapshot {
    struct fake_disk disk;
    bool
        is_exact; /* it was all that there was, and these are the last entries; else of no moment */
    uint64_t last[PARTITIONS_ALL];
};

struct follower_run {
    struct chooser base;
    struct random_chooser random;
    struct random own; /* for what the crowd does not choose */
    struct crowd *crowd;
    struct followed heard;
    struct snapshot snapshots[SNAPSHOTS_MAX];
    unsigned snapshots_count;
};

static struct follower_run *running;

struct run_figures {
    uint64_t entries, exact, fuzzy, deliveries, origins;
};

/* ---- what the shards say */

void __real_store_append(struct shard *s, uint16_t partition, struct bytes entry, bool waited_for);
void __wrap_store_append(struct shard *s, uint16_t partition, struct bytes entry, bool waited_for);

void __wrap_store_append(struct shard *s, uint16_t partition, struct bytes entry, bool waited_for)
{
    __real_store_append(s, partition, entry, waited_for);
    if (running != NULL && partition < PARTITIONS_ALL) {
        followed_add(&running->heard, partition, s->store->index[partition], entry);
    }
}

/* Not through the entry: that does not say it. */
void __real_kept_queued(struct session *session, const struct delivery *d);
void __wrap_kept_queued(struct session *session, const struct delivery *d);

void __wrap_kept_queued(struct session *session, const struct delivery *d)
{
    if (running != NULL && d->replayed) {
        followed_add_replayed(&running->heard, session->serial, d->number);
    }
    __real_kept_queued(session, d);
}

/* ---- snapshots */

static void copy_checkpoint(struct fake_disk *to, struct checkpoint *cp)
{
    char path[128];
    int sys_errno;
    fake_disk_create(to);
    snprintf(path, sizeof path, "%s/checkpoint", to->dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/checkpoint/data.mdb", to->dir);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    cr_assert_eq(checkpoint_copy(cp, fd, &sys_errno), CHECKPOINT_OK);
    close(fd);
}

/* All is in the checkpoint; false: it cannot be, as something is under way. */
static bool capture_now(struct follower_run *run)
{
    struct fake_node *const n = run->crowd->n;
    bool all = true;
    fake_disk_hold(n->disk, false);
    fake_node_advance(n, 100);
    for (unsigned i = 0; i < n->node->shard_count && all; i++) {
        all = capture_all(fake_node_enter(n, i));
    }
    return all;
}

static void take_snapshot(struct follower_run *run, bool exact)
{
    struct fake_node *const n = run->crowd->n;
    struct snapshot *const snapshot = &run->snapshots[run->snapshots_count];
    if (run->snapshots_count == SNAPSHOTS_MAX) {
        return;
    }
    snapshot->is_exact = exact && capture_now(run);
    for (unsigned i = 0; i < PARTITIONS_ALL; i++) {
        snapshot->last[i] = run->heard.partitions[i].count;
    }
    copy_checkpoint(&snapshot->disk, n->disk->persistence.checkpoint);
    run->snapshots_count++;
}

static uint32_t follower_below(struct chooser *chooser, uint32_t bound)
{
    struct follower_run *const run = (struct follower_run *)chooser;
    return run->random.base.below(&run->random.base, bound);
}

static bool follower_has_more(const struct chooser *chooser)
{
    struct follower_run *const run = (struct follower_run *)(uintptr_t)chooser;
    if (run->crowd->n != NULL && random_below(&run->own, 120) == 0) {
        take_snapshot(run, random_below(&run->own, 2) == 0);
    }
    return run->random.base.has_more(&run->random.base);
}

static struct checkpoint *open_snapshot(const struct fake_disk *disk)
{
    const struct checkpoint_conf conf = {
        .map_bytes_max = 1u << 30, .reference = delivery_record_reference, .referring = 'q'};
    struct checkpoint *cp = NULL;
    int sys_errno;
    cr_assert_eq(checkpoint_open(&cp, disk->dir, &conf, &sys_errno), CHECKPOINT_OK);
    return cp;
}

static void load(const struct follower_run *run, const struct snapshot *snapshot,
                 struct records_memory *m, uint64_t applied[PARTITIONS_ALL])
{
    struct checkpoint *const cp = open_snapshot(&snapshot->disk);
    followed_load(&run->heard, cp, m, applied);
    checkpoint_close(cp);
}

/* ---- the follower */

static struct partition_hash hash_of(const struct records *records, unsigned partition)
{
    struct partition_hash hash;
    cr_assert_eq(partition_hash(records, partition, &hash), CHECKPOINT_OK);
    return hash;
}

static bool same_hash(const struct partition_hash *a, const struct partition_hash *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Entries from .. to of the partition. */
static void apply_run(const struct follower_run *run, const struct records *records,
                      unsigned partition, uint64_t from, uint64_t to, bool is_first_time)
{
    struct applier a;
    applier_init(&a, records, partition);
    for (uint64_t index = from; index <= to; index++) {
        struct applied applied;
        const enum apply_err err =
            apply_entry(&a, index, followed_entry(&run->heard, partition, index), &applied);
        cr_assert_eq(err, APPLY_OK, "%s: partition %u, entry %llu", apply_err_text(err), partition,
                     (unsigned long long)index);
        cr_assert(!applied.repetition || !is_first_time, "partition %u, entry %llu", partition,
                  (unsigned long long)index);
    }
    applier_fini(&a);
}

/* What the checkpoint had is what the entries come to. */
static void compare_exact(const struct follower_run *run, const struct snapshot *snapshot,
                          const struct records_memory *m)
{
    struct records_memory had;
    uint64_t applied[PARTITIONS_ALL];
    records_memory_init(&had);
    load(run, snapshot, &had, applied);
    for (unsigned i = 0; i < PARTITIONS_ALL; i++) {
        const struct partition_hash want = hash_of(&had.records, i);
        const struct partition_hash is = hash_of(&m->records, i);
        cr_assert_eq(is.sessions, want.sessions, "partition %u", i);
        cr_assert_eq(is.filters, want.filters, "partition %u", i);
        cr_assert_eq(is.deliveries, want.deliveries, "partition %u", i);
        cr_assert_eq(is.sessions_hash, want.sessions_hash, "partition %u", i);
    }
    records_memory_fini(&had);
}

/* Some of the last entries once more. */
static void apply_twice(struct follower_run *run, const struct records_memory *m,
                        const uint64_t last[PARTITIONS_ALL])
{
    struct records_memory again;
    records_memory_init(&again);
    followed_clone(&again, m);
    for (unsigned i = 0; i < PARTITIONS_ALL; i++) {
        const struct partition_hash before = hash_of(&m->records, i);
        const uint64_t from = 1 + random_below(&run->own, (uint32_t)last[i] + 1);
        apply_run(run, &again.records, i, from, last[i], false);
        const struct partition_hash after = hash_of(&again.records, i);
        cr_assert(same_hash(&before, &after), "partition %u, from %llu of %llu", i,
                  (unsigned long long)from, (unsigned long long)last[i]);
    }
    followed_check(&again);
    records_memory_fini(&again);
}

/* What was captured while all went on, and what came since, and some of what came before. */
static void apply_to_fuzzy(struct follower_run *run, const struct snapshot *snapshot,
                           const struct records_memory *end)
{
    struct records_memory m;
    uint64_t applied[PARTITIONS_ALL];
    records_memory_init(&m);
    load(run, snapshot, &m, applied);
    for (unsigned i = 0; i < PARTITIONS_ALL; i++) {
        const uint64_t count = run->heard.partitions[i].count;
        const uint64_t from = random_below(&run->own, 2) == 0
                                  ? applied[i] + 1
                                  : 1 + random_below(&run->own, (uint32_t)applied[i] + 1);
        apply_run(run, &m.records, i, from, count, false);
        const struct partition_hash want = hash_of(&end->records, i);
        const struct partition_hash is = hash_of(&m.records, i);
        cr_assert_eq(is.deliveries, want.deliveries, "partition %u", i);
        cr_assert_eq(is.sessions_hash, want.sessions_hash, "partition %u, from %llu of %llu", i,
                     (unsigned long long)from, (unsigned long long)count);
    }
    followed_check(&m);
    records_memory_fini(&m);
}

/* The sessions that the next process makes of the records are those that it makes of its own. */
static uint64_t state_of(struct fake_disk *disk)
{
    struct fake_node *const n = fake_disk_again(
        disk, 2,
        SETTINGS("limits.session_expiry_max_s=4294967295", "limits.inflight_max=64",
                 "limits.packet_bytes_max=65536", "data.journal_segment_bytes=1MiB"));
    const uint64_t state = fake_disk_state(n, NULL, NULL);
    for (unsigned i = 0; i < n->node->shard_count; i++) { /* its own counter is as it was */
        cr_assert(serial_is_local(shard_serial(n->node->shards[i])));
    }
    fake_disk_close(disk);
    fake_disk_check(disk);
    return state;
}

static void revive(struct snapshot *snapshot, const struct records_memory *m)
{
    struct fake_disk other;
    struct checkpoint *cp = open_snapshot(&snapshot->disk);
    copy_checkpoint(&other, cp);
    checkpoint_close(cp);
    cp = open_snapshot(&other);
    followed_store(m, cp);
    checkpoint_close(cp);
    const uint64_t now_ms = fake_node_now_ms();
    const uint64_t want = state_of(&snapshot->disk);
    fake_node_set_now(now_ms);
    cr_assert_eq(state_of(&other), want);
    fake_disk_destroy(&other);
}

/* Part by part, while more is applied; all that is not in it is applied there. */
static void copy(struct follower_run *run, unsigned partition, uint64_t from)
{
    const uint64_t count = run->heard.partitions[partition].count;
    struct records_memory here, there;
    struct field_writer part = {.at = NULL};
    struct copy_in in;
    bool is_last = false;
    uint64_t last = from;
    records_memory_init(&here);
    records_memory_init(&there);
    apply_run(run, &here.records, partition, 1, from, true);
    struct copy_out *const out = copy_out_create(&here.records, partition);
    cr_assert_eq(copy_in_begin(&in, &there.records, partition), COPY_OK);
    while (!is_last) {
        cr_assert_eq(copy_out_part(out, random_below(&run->own, 2000), &part, &is_last), COPY_OK);
        cr_assert_eq(copy_in_part(&in, field_written(&part)), COPY_OK);
        cr_assert_eq(in.is_over, is_last);
        const uint64_t more = random_below(&run->own, 3) == 0 ? random_below(&run->own, 20) : 0;
        const uint64_t to = last + more < count ? last + more : count;
        apply_run(run, &here.records, partition, last + 1, to, true);
        last = to;
    }
    copy_in_end(&in);
    copy_out_destroy(out);
    apply_run(run, &there.records, partition, from + 1, last, false);
    const struct partition_hash want = hash_of(&here.records, partition);
    const struct partition_hash is = hash_of(&there.records, partition);
    cr_assert(same_hash(&is, &want), "partition %u, from %llu to %llu", partition,
              (unsigned long long)from, (unsigned long long)last);
    followed_check(&there);
    cr_assert_eq(partition_erase(&there.records, partition), CHECKPOINT_OK);
    cr_assert_eq(there.all.count, 0);
    field_writer_fini(&part);
    records_memory_fini(&here);
    records_memory_fini(&there);
}

/* ---- on a disk */

static void on_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    checkpoint_batch_destroy(batch);
    __atomic_store_n((int *)context, 1 + (int)err, __ATOMIC_RELEASE);
}

static void write_batch(struct records_overlay *o, struct checkpoint *cp, int *answer)
{
    struct checkpoint_batch *const batch = records_overlay_take(o);
    cr_assert_not_null(batch);
    *answer = 0;
    checkpoint_submit(cp, batch, on_done, answer);
    while (__atomic_load_n(answer, __ATOMIC_ACQUIRE) == 0) {
        usleep(50);
    }
    cr_assert_eq(*answer, 1 + CHECKPOINT_OK);
}

/* As in memory, in batches that end anywhere. */
static void apply_on_disk(struct follower_run *run, const struct records_memory *end)
{
    struct fake_disk disk;
    struct records_overlay o;
    int answer;
    fake_disk_create(&disk);
    struct checkpoint *const cp = open_snapshot(&disk);
    records_overlay_init(&o, cp);
    for (unsigned i = 0; i < PARTITIONS_ALL; i++) {
        const uint64_t count = run->heard.partitions[i].count;
        for (uint64_t from = 1; from <= count;) {
            const uint64_t to = from + random_below(&run->own, 400);
            apply_run(run, &o.records, i, from, to < count ? to : count, true);
            if (random_below(&run->own, 3) > 0) {
                write_batch(&o, cp, &answer);
            }
            from = to + 1;
        }
        const struct partition_hash want = hash_of(&end->records, i);
        struct partition_hash is = hash_of(&o.records, i);
        cr_assert(same_hash(&is, &want), "partition %u", i);
        write_batch(&o, cp, &answer);
        is = hash_of(&o.records, i);
        cr_assert(same_hash(&is, &want), "partition %u, on disk", i);
    }
    cr_assert_eq(checkpoint_stats(cp).miscounted, 0);
    records_overlay_fini(&o);
    checkpoint_close(cp);
    fake_disk_check(&disk);
    fake_disk_destroy(&disk);
}

/* ---- a run */

static void make_history(struct follower_run *run)
{
    struct fake_disk disk;
    run->crowd = calloc(1, sizeof *run->crowd);
    cr_assert_not_null(run->crowd);
    fake_disk_create(&disk);
    run->crowd->processes.disk = &disk;
    run->crowd->processes.is_one = true;
    running = run;
    crowd_run_on(run->crowd, &run->base);
    take_snapshot(run, true);
    running = NULL;
    fake_disk_close(&disk);
    fake_disk_destroy(&disk);
    ledger_destroy(run->crowd->ledger);
    free(run->crowd);
    followed_renumber(&run->heard);
}

static void follow(struct follower_run *run, struct run_figures *sum)
{
    struct records_memory m;
    uint64_t last[PARTITIONS_ALL] = {0};
    const unsigned revived = random_below(&run->own, run->snapshots_count);
    records_memory_init(&m);
    for (unsigned n = 0; n < run->snapshots_count; n++) {
        struct snapshot *const snapshot = &run->snapshots[n];
        if (!snapshot->is_exact) {
            continue;
        }
        for (unsigned i = 0; i < PARTITIONS_ALL; i++) {
            apply_run(run, &m.records, i, last[i] + 1, snapshot->last[i], true);
            last[i] = snapshot->last[i];
            sum->deliveries += hash_of(&m.records, i).deliveries;
        }
        followed_check(&m);
        compare_exact(run, snapshot, &m);
        apply_twice(run, &m, last);
        if (n >= revived) {
            revive(snapshot, &m);
        }
        sum->exact++;
    }
    for (unsigned i = 0; i < PARTITIONS_ALL; i++) {
        const uint64_t count = run->heard.partitions[i].count;
        apply_run(run, &m.records, i, last[i] + 1, count, true);
        sum->origins += hash_of(&m.records, i).origins;
        sum->entries += count;
        if (count > 0) {
            copy(run, i, random_below(&run->own, (uint32_t)count + 1));
        }
    }
    for (unsigned n = 0; n < run->snapshots_count; n++) {
        if (!run->snapshots[n].is_exact) {
            apply_to_fuzzy(run, &run->snapshots[n], &m);
            sum->fuzzy++;
        }
    }
    apply_on_disk(run, &m);
    records_memory_fini(&m);
}

static void run_one(uint64_t seed, struct run_figures *sum)
{
    struct follower_run *const run = calloc(1, sizeof *run);
    cr_assert_not_null(run);
    *run = (struct follower_run){
        .base = {.below = follower_below, .has_more = follower_has_more},
        .random = random_chooser_of(seed, 200 + (unsigned)(seed % ACTIONS)),
        .own = {.seed = seed, .state = ~seed},
    };
    fprintf(stderr, "TEST_SEED=%#llx\n", (unsigned long long)seed);
    make_history(run);
    follow(run, sum);
    for (unsigned n = 0; n < run->snapshots_count; n++) {
        fake_disk_destroy(&run->snapshots[n].disk);
    }
    followed_fini(&run->heard);
    free(run);
}

Test(follower, comes_to_what_the_leader_keeps)
{
    const char *const asked = getenv("FOLLOWER_ROUNDS");
    const unsigned long rounds = asked == NULL ? ROUNDS : strtoul(asked, NULL, 10);
    struct random seeds = random_init();
    if (asked == NULL && getenv("TEST_SEED") == NULL) {
        seeds = (struct random){.seed = FIRST_SEED, .state = FIRST_SEED};
    }
    struct run_figures sum = {0};
    for (unsigned long round = 0; round < rounds; round++) {
        run_one(round == 0 ? seeds.seed : random_next(&seeds), &sum);
    }
    cr_log_info("%llu entries, %llu exact checkpoints with %llu deliveries, %llu of no moment, "
                "%llu origins",
                (unsigned long long)sum.entries, (unsigned long long)sum.exact,
                (unsigned long long)sum.deliveries, (unsigned long long)sum.fuzzy,
                (unsigned long long)sum.origins);
    cr_expect_gt(sum.exact, rounds);
    cr_expect_gt(sum.fuzzy, rounds);
    cr_expect_gt(sum.deliveries, 10 * rounds);
    cr_expect_gt(sum.origins, rounds);
}
