/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/histogram.h"
#include "broker/log/log.h"
#include "broker/shard/shard.h"
#include "broker/store/keeper.h"
#include "cluster/journal/recover.h"
#include "proto/reason.h"

#define NEVER    UINT64_MAX
#define RETRY_MS 1000u

static void show(struct store *store)
{
    const uint64_t oldest_ms =
        store->under_way_ms != NEVER ? store->under_way_ms : store->oldest_ms;
    atomic_store_explicit(&store->shard->unkept_since_ms, oldest_ms, memory_order_relaxed);
}

/* ---- trouble with the disk: nothing that has to be kept is taken meanwhile */

static void set_trouble(struct store *store, int error)
{
    struct node *const node = store->shard->node;
    if ((error != 0) == (store->trouble != 0)) {
        return;
    }
    if (error != 0) {
        log_event(LOG_ERROR, "disk_refuses", LOG_NUMBER("shard", store->shard->id),
                  LOG_ERRNO("error", error),
                  LOG_TEXT("meaning", "what has to be kept on disk is refused until it is well"));
        atomic_store_explicit(&node->disk_error, error, memory_order_relaxed);
        atomic_fetch_add_explicit(&node->disk_troubles, 1, memory_order_release);
    } else {
        log_event(LOG_INFO, "disk_is_well", LOG_NUMBER("shard", store->shard->id));
        atomic_fetch_sub_explicit(&node->disk_troubles, 1, memory_order_release);
    }
    store->trouble = error;
}

bool store_refuses(const struct shard *s, uint8_t *reason)
{
    if (atomic_load_explicit(&s->node->disk_troubles, memory_order_acquire) == 0) {
        return false;
    }
    const int error = atomic_load_explicit(&s->node->disk_error, memory_order_relaxed);
    *reason = error == ENOSPC || error == EDQUOT ? MQTT_REASON_QUOTA_EXCEEDED
                                                 : MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR;
    return true;
}

/* ---- entries */

void store_out_of_memory(void)
{
    fputs("dunlin: out of memory for what is to be written to disk\n", stderr);
    abort();
}

/* What is written, in parts. */
struct writing {
    enum record_kind kind;
    uint16_t partition;
    uint64_t index;
    const struct bytes *parts;
    size_t count;
};

static void wait_outside(struct store *store, const struct writing *w)
{
    size_t len = 0;
    for (size_t i = 0; i < w->count; i++) {
        len += w->parts[i].len;
    }
    struct store_late *const late = malloc(sizeof *late + len);
    if (late == NULL) {
        store_out_of_memory();
    }
    *late = (struct store_late){
        .index = w->index, .partition = w->partition, .kind = (uint8_t)w->kind, .len = len};
    uint8_t *at = late->body;
    for (size_t i = 0; i < w->count; i++) {
        if (w->parts[i].len > 0) {
            memcpy(at, w->parts[i].at, w->parts[i].len);
            at += w->parts[i].len;
        }
    }
    if (store->late_last == NULL) {
        store->late_first = late;
    } else {
        store->late_last->next = late;
    }
    store->late_last = late;
}

/* false: not now. */
static bool give_journal(struct store *store, const struct writing *w)
{
    uint64_t lsn;
    struct journal *const j = store->journal;
    switch (w->kind == RECORD_GROUP
                ? journal_append_group(j, w->partition, w->index, w->parts, w->count, &lsn)
                : journal_append(j, w->partition, w->index, w->parts, w->count, &lsn)) {
    case JOURNAL_OK:
        return true;
    case JOURNAL_FULL:
    case JOURNAL_FAILED:
    case JOURNAL_NO_MEMORY:
        return false;
    case JOURNAL_TOO_LARGE:
        break;
    }
    abort(); /* no packet is taken that is too large for an entry (node->packet_bytes_kept), and
                groups look at body_bytes_max */
}

static void give(struct shard *s, const struct writing *w)
{
    struct store *const store = s->store;
    if (store->late_first != NULL || !give_journal(store, w)) {
        shard_count(s, METRIC_journal_late);
        wait_outside(store, w);
    }
    if (store->oldest_ms == NEVER) {
        store->oldest_ms = s->now_ms;
        show(store);
    }
}

static void is_waited_for(struct shard *s)
{
    struct store *const store = s->store;
    store->wanted = true;
    if (store->wanted_us == 0) {
        store->wanted_us = s->node->clock_us();
    }
}

void store_append(struct shard *s, uint16_t partition, struct bytes entry, bool waited_for)
{
    struct store *const store = s->store;
    ASSERT_OWNED(s);
    assert(partition < RECORD_PARTITIONS);

    store->last++;
    store->last_waited = waited_for ? store->last : store->last_waited;
    store->bytes += RECORD_HEAD_BYTES + entry.len;
    if (store->durability == CONFIG_DURABILITY_MEMORY) {
        return;
    }
    shard_count(s, METRIC_journal_entries);
    give(s, &(struct writing){.kind = RECORD_ENTRY,
                              .partition = partition,
                              .index = ++store->index[partition],
                              .parts = &entry,
                              .count = 1});
    if (waited_for) {
        is_waited_for(s);
    }
}

uint64_t store_append_group(struct shard *s, uint16_t partition, const struct bytes parts[2])
{
    struct store *const store = s->store;
    ASSERT_OWNED(s);
    assert(partition < RECORD_PARTITIONS);
    assert(store->durability != CONFIG_DURABILITY_MEMORY);
    assert(parts[0].len + parts[1].len <= store->body_bytes_max);

    store->last++;
    store->bytes += RECORD_HEAD_BYTES + parts[0].len + parts[1].len;
    shard_count(s, METRIC_journal_entries);
    give(s, &(struct writing){.kind = RECORD_GROUP,
                              .partition = partition,
                              .index = ++store->group_index[partition],
                              .parts = parts,
                              .count = 2});
    is_waited_for(s);
    store->urgent = true;
    return store->last;
}

static void give_late_ones(struct store *store)
{
    struct store_late *late;
    while ((late = store->late_first) != NULL &&
           give_journal(store, &(struct writing){.kind = (enum record_kind)late->kind,
                                                 .partition = late->partition,
                                                 .index = late->index,
                                                 .parts = &(struct bytes){late->body, late->len},
                                                 .count = 1})) {
        store->late_first = late->next;
        if (store->late_first == NULL) {
            store->late_last = NULL;
        }
        free(late);
        store->wanted = true; /* whether or not another entry ever comes */
        if (store->oldest_ms == NEVER) {
            store->oldest_ms = store->shard->now_ms;
            show(store);
        }
    }
}

uint64_t store_durable(const struct store *store)
{
    return journal_durable(store->journal);
}

uint64_t store_kept(const struct store *store)
{
    if (store->durability == CONFIG_DURABILITY_SYNC) {
        return journal_durable(store->journal);
    }
    /* What finds the journal full is not acknowledged at once: nothing would bound it. */
    return store->late_first != NULL ? journal_last(store->journal) : store->last;
}

bool store_is_written(const struct store *store, uint64_t position)
{
    return store->durability == CONFIG_DURABILITY_MEMORY ||
           journal_durable(store->journal) >= position;
}

void store_checkpointed(struct store *store, uint16_t partition, uint64_t index)
{
    if (index > 0 && store->durability != CONFIG_DURABILITY_MEMORY) {
        journal_checkpointed(store->journal, partition, index);
    }
}

bool store_is_held_by_group(const struct store *store, uint16_t partition)
{
    return journal_is_held_by_group(store->journal, partition);
}

bool store_has_many_segments(const struct store *store)
{
    return journal_segments(store->journal) > STORE_SEGMENTS_KEPT;
}

void store_let_go_of_group(struct store *store, uint16_t partition, uint64_t index)
{
    assert(index <= store->group_index[partition]);
    journal_group_let_go(store->journal, partition, index);
}

uint64_t store_bytes(const struct store *store)
{
    return store->bytes;
}

uint64_t store_segment_bytes(const struct store *store)
{
    return store->segment_bytes;
}

bool store_is_idle(const struct store *store)
{
    return !store->writing && store->late_first == NULL &&
           (store->durability == CONFIG_DURABILITY_MEMORY ||
            journal_durable(store->journal) == journal_last(store->journal));
}

/* ---- segments */

void store_continue(struct store *store, uint16_t partition, uint64_t index)
{
    if (index > store->index[partition]) {
        store->index[partition] = index;
    }
}

void store_continue_group(struct store *store, uint16_t partition, uint64_t index)
{
    if (index > store->group_index[partition]) {
        store->group_index[partition] = index;
    }
}

static void take_segment(struct store *store)
{
    const uint64_t ready = atomic_load_explicit(&store->slot->ready, memory_order_acquire);
    if (ready == 0 || ready != journal_segment_wanted(store->journal) ||
        journal_give_segment(store->journal, ready) != JOURNAL_OK) {
        return;
    }
    store->segments[ready % STORE_SEGMENTS_MAX] =
        (struct store_segment){.number = ready, .descriptor = store->slot->descriptor};
}

static void count_segments(struct store *store)
{
    const uint64_t n = atomic_load_explicit(&store->slot->segments, memory_order_relaxed);
    if (n != store->segments_counted) {
        atomic_fetch_add_explicit(&store->shard->node->journal_segments,
                                  (int64_t)(n - store->segments_counted), memory_order_relaxed);
        store->segments_counted = n;
    }
}

static void ask_keeper(struct store *store)
{
    struct keeper_slot *const slot = store->slot;
    const uint64_t wanted = journal_segment_wanted(store->journal);
    const uint64_t needed = journal_oldest_needed(store->journal);
    if (wanted == atomic_load_explicit(&slot->wanted, memory_order_relaxed) &&
        needed == atomic_load_explicit(&slot->needed, memory_order_relaxed)) {
        return;
    }
    atomic_store_explicit(&slot->needed, needed, memory_order_release);
    atomic_store_explicit(&slot->wanted, wanted, memory_order_release);
    keeper_look(store->keeper);
}

/* ---- writing */

/* What was under way is on disk. */
static void measure(struct store *store)
{
    struct histograms *const h = &store->shard->histograms;
    const uint64_t now_us = store->shard->node->clock_us();
    histogram_add(h, HISTOGRAM_journal_write, now_us - store->write_us, 1);
    if (store->committing_us != 0) {
        histogram_add(h, HISTOGRAM_journal_commit, now_us - store->committing_us, 1);
    }
}

static void on_written(struct io_file_op *op, int error)
{
    struct store *const store = (struct store *)(void *)((char *)op - offsetof(struct store, op));
    struct shard *const s = store->shard;
    shard_enter(s);
    store->writing = false;
    journal_done(store->journal, error);
    if (error != 0) {
        store->retry_ms = s->now_ms + RETRY_MS;
        shard_count(s, METRIC_journal_failures);
        set_trouble(store, error);
        return;
    }
    measure(store);
    store->under_way_ms = NEVER;
    show(store);
    shard_count(s, METRIC_journal_syncs);
    metrics_add(&s->metrics, METRIC_journal_bytes, store->iov_len);
    set_trouble(store, 0);
}

static bool is_due(const struct store *store)
{
    const uint64_t now_ms = store->shard->now_ms;
    if (store->late_first != NULL || store->urgent || store->shard->ending ||
        journal_gathered_bytes(store->journal) >= STORE_BATCH_BYTES / 2) {
        return true;
    }
    return store->durability == CONFIG_DURABILITY_INTERVAL
               ? now_ms >= store->begun_ms + store->interval_ms
               : store->wanted || now_ms >= store->oldest_ms + store->lazy_ms;
}

static void write_next(struct store *store)
{
    struct journal_step step;
    switch (journal_next(store->journal, &step)) {
    case JOURNAL_IDLE:
        return;
    case JOURNAL_NEEDS_SEGMENT:
        set_trouble(store, atomic_load_explicit(&store->slot->error, memory_order_acquire));
        return;
    case JOURNAL_WRITE:
        break;
    }
    const struct store_segment *const segment = &store->segments[step.number % STORE_SEGMENTS_MAX];
    assert(segment->number == step.number);
    store->writing = true;
    store->begun_ms = store->shard->now_ms;
    if (store->under_way_ms == NEVER) { /* else it is what has failed: others gather still */
        store->wanted = store->urgent = false;
        store->under_way_ms = store->oldest_ms;
        store->oldest_ms = NEVER;
        store->committing_us = store->wanted_us;
        store->wanted_us = 0;
    }
    store->write_us = store->shard->node->clock_us();
    show(store);
    store->iov_len = step.len;
    store->iov = (struct iovec){.iov_base = (void *)(uintptr_t)step.bytes, .iov_len = step.len};
    store->op.done = on_written;
    io_write_and_sync(store->shard->io, &store->op, segment->descriptor, &store->iov, 1,
                      step.offset);
}

void store_begin_turn(struct shard *s)
{
    struct store *const store = s->store;
    if (store == NULL || store->durability == CONFIG_DURABILITY_MEMORY) {
        return;
    }
    take_segment(store);
    count_segments(store);
    if (journal_error(store->journal) != 0 && s->now_ms >= store->retry_ms) {
        journal_retry(store->journal);
    }
}

void store_end_turn(struct shard *s)
{
    struct store *const store = s->store;
    if (store == NULL || store->durability == CONFIG_DURABILITY_MEMORY) {
        return;
    }
    give_late_ones(store);
    const bool is_congested = store->late_first != NULL && store->trouble == 0;
    atomic_store_explicit(&s->disk_congested, is_congested, memory_order_relaxed);
    const bool again = store->under_way_ms != NEVER; /* what has failed */
    if (!store->writing && (again || (store->oldest_ms != NEVER && is_due(store)))) {
        write_next(store);
    }
    ask_keeper(store);
}

uint64_t store_sleep_ms(const struct shard *s)
{
    const struct store *const store = s->store;
    if (store == NULL || store->writing || store->durability == CONFIG_DURABILITY_MEMORY) {
        return NEVER;
    }
    uint64_t due_ms = NEVER;
    if (journal_error(store->journal) != 0) {
        due_ms = store->retry_ms;
    } else if (store->oldest_ms != NEVER && store->trouble == 0) {
        due_ms = store->durability == CONFIG_DURABILITY_INTERVAL
                     ? store->begun_ms + store->interval_ms
                     : store->oldest_ms + store->lazy_ms;
    } /* else the keeper wakes us */
    return due_ms == NEVER ? NEVER : due_ms <= s->now_ms ? 0 : due_ms - s->now_ms;
}

/* ---- beginning and end */

struct store *store_create(struct shard *s, const struct store_conf *conf)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    *store = (struct store){
        .shard = s,
        .journal = journal_create(&conf->journal, conf->recovered),
        .keeper = conf->keeper,
        .slot = keeper_slot_of(conf->keeper, s->id),
        .durability = conf->durability,
        .interval_ms = conf->interval_ms,
        .lazy_ms = store_lazy_ms(conf->interval_ms),
        .segment_bytes = conf->journal.segment_bytes,
        .body_bytes_max = conf->journal.body_bytes_max,
        .oldest_ms = NEVER,
        .under_way_ms = NEVER,
    };
    if (store->journal == NULL) {
        free(store);
        return NULL;
    }
    store->last = store->last_waited = journal_last(store->journal);
    if (conf->recovered != NULL) {
        memcpy(store->index, conf->recovered->highest, sizeof store->index);
    }
    show(store);
    return store;
}

void store_destroy(struct store *store)
{
    if (store == NULL) {
        return;
    }
    while (store->late_first != NULL) {
        struct store_late *const late = store->late_first;
        store->late_first = late->next;
        free(late);
    }
    journal_destroy(store->journal);
    free(store);
}
