/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture: what the checkpoint lacks of one shard, put together a little each turn, and handed to
 * the checkpoint's thread; when that has it, the journal up to the beginning is not needed any
 * more.
 *
 *   NOT_YET ─ capture_first() ─▶ SPILLING
 *   IDLE ─ time, the journal or the memory has grown ─▶ COLLECTING ─▶ SETTLING ─▶ WRITING
 *   COLLECTING ─ there is no memory for the next thing ─▶ STARVED ─ a while ─▶ COLLECTING
 *   WRITING ─ done ─▶ SPILLING ─▶ IDLE
 *          └─ error ─▶ AGAIN ─▶ WRITING
 *
 * Of a queue it takes what is there when it comes to it, so that it has an end however much comes.
 * SPILLING lets go of what waits in queues and need not be in memory any more (session/backlog.h).
 *
 * It need not be of one moment: whatever it has that is newer than its beginning is in the journal
 * too, and entries that are read twice change nothing the second time (store/recover.h). But
 * nothing of it may be newer than what the journal has on disk: that is what SETTLING waits for.
 *
 * Owner: the shard, but for `answer`. Memory: the batch, as large as what has changed; no more than
 * one is made at a time.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/store/difference.h"
#include "cluster/journal/record.h"
#include "proto/nodiscard.h"

struct checkpoint;
struct checkpoint_batch;
struct shard;

enum capture_state {
    CAPTURE_NOT_YET, /* capture_first() has not been there; shards may have turns before that */
    CAPTURE_IDLE,
    CAPTURE_COLLECTING,
    CAPTURE_STARVED,
    CAPTURE_SETTLING,
    CAPTURE_WRITING,
    CAPTURE_AGAIN,
    CAPTURE_SPILLING,
};

struct capture {
    struct shard *shard;
    struct checkpoint *checkpoint;
    enum capture_state state;
    struct changes taking;
    size_t ended_at, delivery_at; /* those before are taken */
    struct kept *at;              /* whose queue is being taken, up to `end`; NULL: nobody's */
    uint64_t end;
    bool is_starved;     /* there was no memory for the next thing: it is still to be taken */
    uint64_t queued;     /* keeping.queued_count when this was looked at last */
    struct kept **spill; /* that were taken, and have something to spill; NULL: it ended */
    size_t spill_count, spill_capacity, spill_at;
    struct checkpoint_batch *batch;
    uint64_t upto[RECORD_PARTITIONS]; /* indexes when it began */
    uint64_t position;                /* of the last entry that it may have */
    uint64_t interval_ms;
    uint64_t due_ms; /* the next one begins, or the same is tried again */
    uint64_t begun_ms;
    uint64_t begun_bytes;                  /* of the journal, when the last one began */
    struct field_writer value, part, will; /* scratch */
    _Atomic int
        answer; /* 1 + enum checkpoint_err, written by the checkpoint's thread; 0: none yet */
};

/* For the shard. NULL: no memory. */
struct capture *capture_create(struct shard *s, struct checkpoint *checkpoint,
                               uint64_t interval_ms);
void capture_destroy(struct capture *c); /* nothing is being written; NULL is fine */

void capture_turn(struct shard *s); /* a part of it */

void capture_forget(struct shard *s, struct kept *kept); /* it ends */

/* How long the loop may sleep for it; UINT64_MAX: as long as it likes. */
uint64_t capture_sleep_ms(const struct shard *s);

/*
 * At the start, before the shards run: what all of them have, in one batch. It may be newer than
 * what their journals have on disk, since nobody was told of it; but not of one shard without
 * another's, as a partition may have had another shard, or an exchange been closed for both. false:
 * it failed.
 */
NODISCARD bool capture_first(struct shard *const *shards, unsigned count);

/* After capture_all() of every shard: up to which stamp the cluster's versions are forgotten. It is
 * written at no other time, since whoever has it refuses what is older and not there: the message
 * that another shard had not written yet would be refused, and dropped by all. false: it failed. */
NODISCARD bool capture_floor(struct shard *s, uint64_t floor);

/* All of it, while nothing else runs; waits for the checkpoint's thread. false: it failed. */
NODISCARD bool capture_all(struct shard *s);
