/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal: the durable log of one shard, the entries of its partitions one after the other. It
 * decides what is to be written where, and when what has been written is kept; the disk itself is
 * the caller's (the shard's ring in production, an array in tests).
 *
 *   append ─▶ gathering batch ──▶ journal_next(): write this there, then sync ──▶ journal_done()
 *                  ▲                                   │                               │
 *                  └────── others gather meanwhile ────┘              journal_durable() moves on
 *
 * One step is under way at a time; whatever gathered meanwhile is the next one (group commit). A
 * batch is in one segment: when the rest of a segment does not hold it, the next segment begins,
 * and the rest stays unused.
 *
 *   READY ── journal_next() ──▶ UNDER_WAY ── journal_done(0) ──▶ READY
 *                                   └─ journal_done(error) ──▶ FAILED ── journal_retry() ──▶ RETRY
 *                  RETRY ── journal_next(), in a new segment ──▶ UNDER_WAY
 *
 * Why a retry goes to a new segment: after a failed sync the kernel may hold pages as clean that
 * never reached the disk. A second sync of them would succeed and mean nothing. So the batch is
 * written once more, to where no such page is; its first lsn in the new segment's head makes void
 * what the old one may have of it. Nothing that was durable is written again.
 *
 * Owner: one thread. Nothing here blocks.
 * Memory: two buffers of gathering_bytes_max, allocated in journal_create() and touched as far as
 * they are used; and 1 KiB for each segment that exists, with the highest index of each run of
 * records (record.h). At the bound: journal_append() answers JOURNAL_FULL when the gathering batch
 * is full.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cluster/journal/segment.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct journal;
struct recovered;

struct journal_conf {
    struct segment_owner owner;
    uint64_t segment_bytes;       /* of each file; >= gathering_bytes_max + SEGMENT_HEAD_BYTES */
    uint32_t gathering_bytes_max; /* of a batch; >= record_size(body_bytes_max) */
    uint32_t body_bytes_max;      /* of one entry; <= RECORD_BODY_MAX */
    uint32_t segments_ahead;      /* to be kept prepared; >= 1 */
};

enum journal_err {
    JOURNAL_OK = 0,
    JOURNAL_FULL,      /* the gathering batch does not hold it: once more after a journal_next() */
    JOURNAL_TOO_LARGE, /* larger than body_bytes_max: never */
    JOURNAL_FAILED,    /* a step failed and was not retried: nothing becomes durable any more */
    JOURNAL_NO_MEMORY,
};

enum journal_todo {
    JOURNAL_IDLE = 0,      /* nothing: a step is under way, or has failed, or nothing gathered */
    JOURNAL_WRITE,         /* *step */
    JOURNAL_NEEDS_SEGMENT, /* something gathered; journal_give_segment() first */
};

/* Write bytes[0..len) at `offset` of segment `number`, all of them; then sync its data. The bytes
 * are the journal's, and stay as they are until journal_done(). */
struct journal_step {
    uint64_t number;
    uint64_t offset;
    const uint8_t *bytes;
    size_t len;
};

/* Going on from `recovered`, which is not kept; NULL: there are no segments yet. NULL when out of
 * memory. What conf says of its fields holds. */
struct journal *journal_create(const struct journal_conf *conf, const struct recovered *recovered);
void journal_destroy(struct journal *j); /* not while a step is under way; NULL is fine */

/*
 * Adds an entry, whose body is body[0..count) one after the other, copied. The index is above
 * those that the partition has in the journal (after a truncation: has left); it need not be the
 * next one.
 * JOURNAL_OK: *lsn is its number. Any other: nothing was appended.
 */
NODISCARD enum journal_err journal_append(struct journal *j, uint16_t partition, uint64_t index,
                                          const struct bytes *body, size_t count, uint64_t *lsn);

/* The same, of the records of the partition's Raft group, which have indexes of their own. */
NODISCARD enum journal_err journal_append_group(struct journal *j, uint16_t partition,
                                                uint64_t index, const struct bytes *body,
                                                size_t count, uint64_t *lsn);

/* Entries of the partition with an index >= from_index > 0 that were appended before are void. */
NODISCARD enum journal_err journal_truncate(struct journal *j, uint16_t partition,
                                            uint64_t from_index, uint64_t *lsn);

/* What the disk should do now. JOURNAL_WRITE: *step is under way from now on. */
NODISCARD enum journal_todo journal_next(struct journal *j, struct journal_step *step);

/* The step is over. 0: it was written and synced. Otherwise the errno of the write or of the sync;
 * the journal has failed, see journal_retry(). */
void journal_done(struct journal *j, int error);

/* The journal has failed: the next step is the one that did, in a new segment. */
void journal_retry(struct journal *j);

uint64_t journal_durable(const struct journal *j);      /* highest lsn that is kept; 0: none */
uint64_t journal_last(const struct journal *j);         /* highest lsn that was given; 0: none */
int journal_error(const struct journal *j);             /* of the step that failed; 0: none has */
size_t journal_gathered_bytes(const struct journal *j); /* of gathering_bytes_max */

/* ---- Segments */

/* The number of the segment to prepare now (files.h); 0: as many are prepared as should be. It
 * stays the same until that one is given. */
uint64_t journal_segment_wanted(const struct journal *j);

/* A file of segment_bytes stands ready: the one after the last that was given, or that exists.
 * Bytes of an older segment may be in it. JOURNAL_OK or JOURNAL_NO_MEMORY. */
NODISCARD enum journal_err journal_give_segment(struct journal *j, uint64_t number);

/* All entries of the partition up to that index are kept elsewhere, and stay so. */
void journal_checkpointed(struct journal *j, uint16_t partition, uint64_t index);

/* Segments that exist, as far as it knows; and is the oldest needed for that group's sake, so that
 * its records should be written again? */
unsigned journal_segments(const struct journal *j);
bool journal_is_held_by_group(const struct journal *j, uint16_t partition);

/* Records of the partition's group up to that index are void, as later ones say all of it. */
void journal_group_let_go(struct journal *j, uint16_t partition, uint64_t index);

/*
 * Segments below that number are not needed any more, lowest first: a recovery must not find an
 * older one where a younger one is missing. The newest with durable records always is needed, as it
 * says where the numbering stands.
 */
uint64_t journal_oldest_needed(struct journal *j);
