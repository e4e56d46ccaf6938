/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/persistence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/config/config.h"
#include "broker/groups/group_records.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/partitions/partitions.h"
#include "broker/replicated/replicated.h"
#include "broker/shard/shard.h"
#include "broker/store/capture.h"
#include "broker/store/checkpoint.h"
#include "broker/store/format.h"
#include "broker/store/keeper.h"
#include "broker/store/revive.h"
#include "broker/store/session_record.h"
#include "broker/store/store.h"
#include "cluster/journal/files.h"

#define PATH_BYTES 4352u /* data.dir and a name */

/* Room in an entry for all that is not the message. */
#define ENTRY_BESIDES (512u << 10)

/* ---- journals */

struct journals {
    struct recovered recovered[STORE_JOURNALS_MAX];
    unsigned count; /* shards of which there may be one */
};

struct reading {
    struct revival *revival;
    unsigned shard;
};

static bool on_entry(void *context, const struct record *record)
{
    const struct reading *const reading = context;
    if (record->kind == RECORD_GROUP) {
        return revive_group(reading->revival, reading->shard, record);
    }
    return revive_entry(reading->revival, reading->shard, record);
}

static bool refuse_journal(unsigned shard, enum recover_err err, const struct recovered *r,
                           const struct revival *revival)
{
    const char *const problem = revive_problem(revival);
    log_event(LOG_ERROR, "journal_refused", LOG_NUMBER("shard", shard),
              LOG_TEXT("reason",
                       err == RECOVER_STOPPED && problem != NULL ? problem : recover_err_text(err)),
              LOG_NUMBER("segment", r->bad_segment), LOG_NUMBER("offset", r->bad_offset),
              LOG_ERRNO("error", r->sys_errno));
    return false;
}

static bool read_journal(struct persistence *p, const char *dir, unsigned shard,
                         struct recovered *recovered, struct revival *revival)
{
    struct files files;
    const struct segment_owner owner = format_owner(checkpoint_id(p->checkpoint), shard);
    struct reading reading = {.revival = revival, .shard = shard};
    const struct recover_visitor visitor = {.entry = on_entry, .context = &reading};
    const int error = files_open(&files, dir, shard, 0);
    if (error != 0) {
        log_event(LOG_ERROR, "journal_refused", LOG_TEXT("dir", dir), LOG_ERRNO("error", error));
        return false;
    }
    const enum recover_err err = files_recover(recovered, &files, &owner, &visitor);
    files_close(&files);
    if (err != RECOVER_OK) {
        return refuse_journal(shard, err, recovered, revival);
    }
    if (recovered->torn) {
        log_event(
            LOG_WARNING, "journal_torn", LOG_NUMBER("shard", shard),
            LOG_NUMBER("segment", recovered->bad_segment),
            LOG_NUMBER("offset", recovered->bad_offset), LOG_NUMBER("bytes", recovered->bad_bytes),
            LOG_TEXT("meaning", "what was being written when the process or the machine ended; "
                                "nobody was told that it is kept"));
    }
    return true;
}

/* What is void is held by no journal; see group_records.h. */
static void let_go_of_groups(const struct node *node)
{
    for (uint16_t p = 0; p < RECORD_PARTITIONS; p++) {
        const uint64_t from = node->group_records->of[p].from;
        for (unsigned i = 0; from > 0 && i < node->shard_count; i++) {
            store_let_go_of_group(node->shards[i]->store, p, from - 1);
        }
    }
}

/* Does a group need it, until it has written all of it again where it is now? */
static bool is_needed(const struct node *node, unsigned shard)
{
    uint64_t journals = 0;
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        journals |= group_run_journals(&node->group_records->of[p]);
    }
    return (journals >> shard & 1) != 0;
}

/* Of shards that there are no more, once the checkpoint has it all. */
static void remove_journal(const char *dir, unsigned shard)
{
    struct files files;
    struct recover_file *list = NULL;
    size_t count = 0;
    if (files_open(&files, dir, shard, 0) != 0) {
        return;
    }
    int error = files_list(&files, &list, &count);
    for (size_t i = 0; i < count && error == 0; i++) {
        error = files_remove(&files, list[i].number);
    }
    if (error != 0) {
        log_event(LOG_WARNING, "journal_left", LOG_NUMBER("shard", shard),
                  LOG_ERRNO("error", error));
    }
    free(list);
    files_close(&files);
}

/* ---- stores */

static void wake(void *node, unsigned shard)
{
    io_wake_external(((struct node *)node)->shards[shard]->io);
}

/* The limit may have been higher when what is there was taken. */
static uint64_t entry_bytes(const struct config *config, const struct revived *revived)
{
    const uint64_t packet = config->limits.packet_bytes_max;
    return (packet > revived->message_bytes_max ? packet : revived->message_bytes_max) +
           ENTRY_BESIDES;
}

static uint64_t batch_bytes(const struct persistence *p, const struct config *config,
                            const struct revived *revived)
{
    const uint64_t least = p->batch_bytes > 0 ? p->batch_bytes : STORE_BATCH_BYTES;
    const uint64_t message = entry_bytes(config, revived);
    return message * 2 > least ? message * 2 : least;
}

static uint64_t segment_bytes(const struct persistence *p, const struct config *config,
                              const struct revived *revived)
{
    const uint64_t least = batch_bytes(p, config, revived) * 2;
    return config->data.journal_segment_bytes > least ? config->data.journal_segment_bytes : least;
}

static bool make_store(struct persistence *p, const struct config *config, unsigned shard,
                       const struct recovered *recovered, const struct revived *revived)
{
    struct shard *const s = p->node->shards[shard];
    const struct store_conf conf = {
        .journal = {.owner = format_owner(checkpoint_id(p->checkpoint), shard),
                    .segment_bytes = segment_bytes(p, config, revived),
                    .gathering_bytes_max = (uint32_t)batch_bytes(p, config, revived),
                    .body_bytes_max = (uint32_t)entry_bytes(config, revived),
                    .segments_ahead = 1},
        .recovered = recovered,
        .keeper = p->keeper,
        .durability = config->data.durability,
        .interval_ms = config->data.sync_interval_ms,
    };
    s->store = p->stores[shard] = store_create(s, &conf);
    s->capture =
        capture_create(s, p->checkpoint, (uint64_t)config->data.checkpoint_interval_s * 1000);
    if (s->store == NULL || s->capture == NULL) {
        return false;
    }
    for (unsigned i = 0; i < RECORD_PARTITIONS; i++) {
        store_continue(s->store, (uint16_t)i, revived->applied[revive_place(shard, i)]);
        store_continue_group(s->store, (uint16_t)i, p->node->group_records->of[i].highest);
    }
    return true;
}

/* A partition may have had its entries in another shard's journal: the higher index is the last. */
static void merge_highest(struct journals *j, struct revived *revived)
{
    for (unsigned shard = 0; shard < j->count; shard++) {
        for (unsigned i = 0; i < RECORD_PARTITIONS; i++) {
            uint64_t *const applied = &revived->applied[revive_place(shard, i)];
            const uint64_t highest = j->recovered[shard].highest[i];
            *applied = highest > *applied ? highest : *applied;
        }
    }
}

static bool make_stores(struct persistence *p, const struct config *config, const char *dir,
                        struct journals *j, const struct revived *read)
{
    const struct keeper_conf conf = {.dir = dir,
                                     .shards = p->node->shard_count,
                                     .segment_bytes = segment_bytes(p, config, read),
                                     .segments_max = STORE_SEGMENTS_MAX,
                                     .wake = wake,
                                     .context = p->node};
    const int error = keeper_create(&p->keeper, &conf);
    if (error != 0) {
        log_event(LOG_ERROR, "journal_refused", LOG_TEXT("dir", dir), LOG_ERRNO("error", error));
        return false;
    }
    struct revived revived = *read;
    merge_highest(j, &revived);
    for (unsigned i = 0; i < p->node->shard_count; i++) {
        if (!make_store(p, config, i, &j->recovered[i], &revived)) {
            log_event(LOG_ERROR, "journal_refused", LOG_TEXT("reason", "out of memory"));
            return false;
        }
    }
    return true;
}

/* ---- the start */

static bool make_directory(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return true;
    }
    log_event(LOG_ERROR, "data_dir_refused", LOG_TEXT("dir", path), LOG_ERRNO("error", errno));
    return false;
}

static bool open_checkpoint(struct persistence *p, const struct config *config)
{
    const struct checkpoint_conf conf = {.map_bytes_max = config->data.checkpoint_bytes_max,
                                         .reference = delivery_record_reference,
                                         .referring = 'q'};
    int sys_errno = 0;
    const enum checkpoint_err err =
        checkpoint_open(&p->checkpoint, config->data.dir, &conf, &sys_errno);
    if (err != CHECKPOINT_OK) {
        log_event(LOG_ERROR, "checkpoint_refused", LOG_TEXT("dir", config->data.dir),
                  LOG_TEXT("reason", checkpoint_err_text(err)), LOG_ERRNO("error", sys_errno));
        return false;
    }
    for (unsigned i = 0; i < p->node->shard_count; i++) {
        p->node->shards[i]->backlogs.checkpoint = p->checkpoint;
    }
    return true;
}

static bool read_checkpoint(struct persistence *p, struct revival *revival)
{
    const enum checkpoint_err err = revive_checkpoint(revival, p->checkpoint);
    if (err == CHECKPOINT_OK) {
        return true;
    }
    const char *const problem = revive_problem(revival);
    log_event(LOG_ERROR, "checkpoint_refused",
              LOG_TEXT("reason", problem != NULL ? problem : checkpoint_err_text(err)));
    return false;
}

/* What the journals had, so that those of shards that are no more can go, and partitions may have
 * other journals than before. */
static bool save_all(struct persistence *p)
{
    const uint32_t former = checkpoint_former_format(p->checkpoint);
    if (!capture_first(p->node->shards, p->node->shard_count)) {
        return false;
    }
    if (former != STORE_FORMAT) {
        log_event(LOG_INFO, "store_upgraded", LOG_NUMBER("from", former),
                  LOG_NUMBER("to", STORE_FORMAT),
                  LOG_TEXT("meaning", "the version before does not read it any more"));
    }
    return true;
}

static void log_revived(const struct revived *r, uint64_t took_ms)
{
    log_event(LOG_INFO, "revived", LOG_NUMBER("sessions", r->sessions),
              LOG_NUMBER("queued", r->deliveries), LOG_NUMBER("retained", r->retained),
              LOG_NUMBER("entries", r->entries), LOG_NUMBER("took_ms", took_ms));
}

static void log_durability(const struct config *config)
{
    switch (config->data.durability) {
    case CONFIG_DURABILITY_SYNC:
        break;
    case CONFIG_DURABILITY_INTERVAL:
        log_event(LOG_WARNING, "durability_interval",
                  LOG_NUMBER("sync_interval_ms", config->data.sync_interval_ms),
                  LOG_TEXT("meaning", "a crash loses what was acknowledged in that time"));
        break;
    case CONFIG_DURABILITY_MEMORY:
        log_event(
            LOG_WARNING, "durability_memory",
            LOG_NUMBER("checkpoint_interval_s", config->data.checkpoint_interval_s),
            LOG_TEXT("meaning", "a crash loses what was acknowledged since the last checkpoint"));
        break;
    }
}

void persistence_tell_topics(const struct persistence *p, const struct config *config)
{
    const struct store *const store = p->stores[0];
    if (store == NULL || store->durability != CONFIG_DURABILITY_SYNC) {
        return; /* nothing is kept, or a reload is ahead of data.durability */
    }
    for (uint32_t i = 0; i < config->topics_count; i++) {
        const struct config_topic *const t = &config->topics[i];
        if (t->durability == CONFIG_DURABILITY_INTERVAL) {
            log_event(
                LOG_WARNING, "topic_durability_interval", LOG_TEXT("filter", t->filter),
                LOG_NUMBER("within_ms", store->lazy_ms),
                LOG_TEXT("meaning", "a crash loses what was acknowledged at QoS 1 in that time"));
        }
    }
}

bool persistence_open(struct persistence *p, struct node *node, const struct config *config)
{
    char dir[PATH_BYTES];
    struct journals journals = {.count = STORE_JOURNALS_MAX};
    const uint64_t begun_ms = node->clock_ms();
    bool is_open = false;
    snprintf(dir, sizeof dir, "%s/journal", config->data.dir);
    p->node = node;
    node->packet_bytes_kept = config->limits.packet_bytes_max; /* a reload may raise the limit */
    struct revival *const revival = revive_begin(node);
    if (revival == NULL || !make_directory(dir) || !open_checkpoint(p, config) ||
        !read_checkpoint(p, revival)) {
        goto out;
    }
    for (unsigned i = 0; i < journals.count; i++) {
        if (!read_journal(p, dir, i, &journals.recovered[i], revival)) {
            goto out;
        }
    }
    if (!make_stores(p, config, dir, &journals, revive_result(revival))) {
        goto out;
    }
    log_durability(config);
    persistence_tell_topics(p, config);
    log_revived(revive_result(revival), node->clock_ms() - begun_ms);
    revive_end(revival);
    if (!save_all(p)) {
        log_event(LOG_ERROR, "checkpoint_refused",
                  LOG_TEXT("reason", "what the journals have could not be written to it"));
        goto out;
    }
    for (unsigned i = node->shard_count; i < journals.count; i++) {
        if (!is_needed(node, i)) {
            remove_journal(dir, i);
        }
    }
    let_go_of_groups(node);
    const int error = keeper_start(p->keeper);
    if (error != 0) {
        log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "data.dir"),
                  LOG_ERRNO("error", error));
        goto out;
    }
    backup_server_start(&p->backups, config->data.dir, p->checkpoint, p->keeper);
    is_open = true;
out:
    for (unsigned i = 0; i < journals.count; i++) {
        recovered_fini(&journals.recovered[i]);
    }
    revive_free(revival);
    return is_open;
}

/* ---- the end */

void persistence_save(struct persistence *p)
{
    if (p->node == NULL) {
        return;
    }
    bool is_all = true;
    backup_server_stop(&p->backups);
    for (unsigned i = 0; i < p->node->shard_count; i++) {
        struct shard *const s = p->node->shards[i];
        shard_self = s;
        shard_enter(s);
        const bool is_idle = s->store != NULL && s->capture != NULL && store_is_idle(s->store);
        const bool is_saved = is_idle && capture_all(s);
        is_all = is_all && is_saved;
        if (is_idle && !is_saved) {
            log_event(LOG_WARNING, "checkpoint_missed", LOG_NUMBER("shard", i),
                      LOG_TEXT("meaning", "nothing is lost; the next start reads the journal"));
        }
    }
    shard_self = p->node->shards[0];
    if (is_all && replicated_floor(p->node) > 0 &&
        !capture_floor(shard_self, replicated_floor(p->node))) {
        log_event(LOG_WARNING, "checkpoint_missed", LOG_NUMBER("shard", 0),
                  LOG_TEXT("meaning", "deletions of retained messages are looked through again"));
    }
    shard_self = NULL;
    keeper_stop(p->keeper);
    partitions_end(p->node);
    checkpoint_close(p->checkpoint);
    p->checkpoint = NULL;
    for (unsigned i = 0; i < p->node->shard_count; i++) {
        struct shard *const s = p->node->shards[i];
        capture_destroy(s->capture);
        s->capture = NULL;
        s->backlogs.checkpoint = NULL;
        s->store = NULL; /* what ends from now on, ends with the process only */
    }
    p->node = NULL;
}

void persistence_close(struct persistence *p)
{
    for (unsigned i = 0; i < INDEX_SHARDS_MAX; i++) {
        store_destroy(p->stores[i]);
    }
    keeper_destroy(p->keeper);
    *p = (struct persistence){.node = NULL};
}
