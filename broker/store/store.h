/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: one shard's part in what is kept on disk: it writes the shard's journal through the
 * shard's ring, and knows how far what was said is kept.
 *
 *   store_append() ─▶ gathers ── end of the turn ─▶ one write and sync ── io ─▶ store_kept() moves
 *
 * Positions count entries: store_last() is the last one's; what hangs on it may be told when
 * store_kept() has reached it. As the operator wants it (data.durability), that is when it is on
 * disk, or at once.
 *
 * Owner: the shard. Memory: the journal's two batches, and entries
 * that found them full. While there are such, the shard's publishers wait (shard_congested()); when
 * the disk takes nothing, messages that have to be kept are refused instead (store_refuses()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/io/io.h"
#include "cluster/journal/journal.h"
#include "cluster/journal/record.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct keeper;
struct keeper_slot;
struct recovered;
struct shard;

/* The journal's bounds. A batch is what gathers while the one before is written. */
#define STORE_BATCH_BYTES   (4u << 20)
#define STORE_LAZY_MS       50u /* so long may wait what nobody waits for, or data.sync_interval_ms */
#define STORE_SEGMENTS_KEPT 4u  /* of a shard, before groups write again what is in the oldest */
#define STORE_SEGMENTS_MAX  64u /* of a shard; then it is as if the disk were full */

struct store_late { /* an entry that the journal had no room for */
    struct store_late *next;
    uint64_t index;
    uint16_t partition;
    uint8_t kind; /* enum record_kind */
    size_t len;
    uint8_t body[];
};

struct store_segment {
    uint64_t number; /* 0: none */
    int descriptor;  /* the keeper's */
};

struct store {
    struct shard *shard;
    struct journal *journal;
    struct keeper *keeper;
    struct keeper_slot *slot;
    enum config_durability durability;
    uint32_t interval_ms; /* of CONFIG_DURABILITY_INTERVAL */
    uint32_t lazy_ms;
    uint64_t segment_bytes;
    uint64_t bytes;            /* of all entries so far */
    uint64_t segments_counted; /* in node->journal_segments */
    struct store_segment segments[STORE_SEGMENTS_MAX];
    uint64_t index[RECORD_PARTITIONS];       /* of each partition's last entry */
    uint64_t group_index[RECORD_PARTITIONS]; /* likewise, of its group's last record */
    uint32_t body_bytes_max;                 /* of an entry, or a record */
    uint64_t last;        /* position of the last entry: what journal_last() is or will be */
    uint64_t last_waited; /* of the last that is waited for */
    struct store_late *late_first, *late_last;

    struct io_file_op op;
    struct iovec iov;
    size_t iov_len;         /* as it was to begin with */
    bool writing;           /* op is under way */
    bool wanted;            /* somebody waits for what has gathered */
    bool urgent;            /* … whatever data.durability says */
    int trouble;            /* errno of why nothing can be written; 0: it can */
    uint64_t retry_ms;      /* when the step that failed is tried again */
    uint64_t begun_ms;      /* the last step */
    uint64_t oldest_ms;     /* the first entry of those that gather; UINT64_MAX: there are none */
    uint64_t under_way_ms;  /* likewise, of those that are being written */
    uint64_t wanted_us;     /* the first of those that gather and are waited for; 0: none is */
    uint64_t committing_us; /* likewise, of those that are being written */
    uint64_t write_us;      /* when the write that is under way began */
};

struct store_conf {
    struct journal_conf journal;
    const struct recovered *recovered; /* NULL: it begins */
    struct keeper *keeper;
    enum config_durability durability;
    uint32_t interval_ms;
};

/* For the shard; before it runs. NULL: no memory. */
struct store *store_create(struct shard *s, const struct store_conf *conf);
void store_destroy(struct store *store); /* its io is destroyed; NULL is fine */

/* The partition's next index is above that one. */
void store_continue(struct store *store, uint16_t partition, uint64_t index);

/* One entry. `waited_for`: it is to be on disk soon; otherwise when there is something else to be
 * written, or after store_lazy_ms(). Without memory the process ends with a message, as the disk
 * would disagree with what clients were told. */
void store_append(struct shard *s, uint16_t partition, struct bytes entry, bool waited_for);

/* The last index of a group's records, also of those that are in another shard's journal. */
void store_continue_group(struct store *store, uint16_t partition, uint64_t index);

/*
 * A record of that partition's group, of at most body_bytes_max: its position, for store_durable().
 * It is written soon, whatever data.durability says, but for CONFIG_DURABILITY_MEMORY: there is no
 * disk then, and there are no groups. Memory as in store_append().
 */
uint64_t store_append_group(struct shard *s, uint16_t partition, const struct bytes parts[2]);

/* There are so many segments that groups should write their records again: those for whose sake the
 * oldest one is there. */
bool store_has_many_segments(const struct store *store);
bool store_is_held_by_group(const struct store *store, uint16_t partition);

/* The group's records up to that index are void; the last one has store->group_index. */
void store_let_go_of_group(struct store *store, uint16_t partition, uint64_t index);

/* Up to that position all is on disk. */
uint64_t store_durable(const struct store *store);

_Noreturn void store_out_of_memory(void);

static inline uint32_t store_lazy_ms(uint32_t interval_ms)
{
    return interval_ms < STORE_LAZY_MS ? interval_ms : STORE_LAZY_MS;
}

static inline uint64_t store_last(const struct store *store)
{
    return store->last;
}

static inline uint64_t store_last_waited(const struct store *store)
{
    return store->last_waited;
}

uint64_t store_kept(const struct store *store);

/* Nothing more can be taken at the moment, as the disk does not: the reason code for who asks. */
bool store_refuses(const struct shard *s, uint8_t *reason);

void store_begin_turn(struct shard *s); /* takes up what the disk and the keeper have done */
void store_end_turn(struct shard *s);   /* begins to write what has gathered */

/* How long the loop may sleep for it; UINT64_MAX: as long as it likes. */
uint64_t store_sleep_ms(const struct shard *s);

/* For the checkpoint: is all up to that position in the journal's files? Entries of that partition
 * up to the index are in the checkpoint. What was written in all, and the size of a segment. */
bool store_is_written(const struct store *store, uint64_t position);
void store_checkpointed(struct store *store, uint16_t partition, uint64_t index);
uint64_t store_bytes(const struct store *store);
uint64_t store_segment_bytes(const struct store *store);

/* All is on disk, and nothing under way? */
bool store_is_idle(const struct store *store);
