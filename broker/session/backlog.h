/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backlog: the part of a kept session's queue that is only on disk. What waits for a client that is
 * away, or slow, goes from memory when a checkpoint has it, and comes back in parts as the client
 * takes it.
 *
 *      session->out            │        backlog         │          after
 *   sent │ waiting  ◀── parts ─┤ first … on disk … end  ├── what came since the last checkpoint
 *                              │ ◀── spilled, when the next one has it ──                   ▲
 *                              │                        │                    deliveries ────┘
 *
 * Numbers grow from left to right, and the disk's part has no gaps but at its left end. Deliveries
 * of shared subscriptions are not spilled, nor what comes after them: when their session ends they
 * go to other members (4.8.2), which somebody would have to read them for.
 *
 * Owner: the session's shard. Memory: 48 bytes for a session with such a part; for one whose client
 * is there, twice BACKLOG_KEEP deliveries at most, and when memory for messages presses twice
 * BACKLOG_KEEP_BYTES; or some parts of BACKLOG_PART_BYTES, and one while that memory is full. Reads
 * that are under way, of a shard: BACKLOG_READS_MAX; more wait in a list, one for each session.
 *
 * When it cannot be read the client is disconnected, and told so in the log: what is on disk stays
 * there, and is tried again when the client comes back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/session/outqueue.h"
#include "broker/store/checkpoint.h"
#include "broker/store/kept_link.h"
#include "proto/nodiscard.h"

struct session;
struct shard;

#define BACKLOG_KEEP       1024u /* deliveries that stay in memory for a client that is there, */
#define BACKLOG_KEEP_BYTES (1u << 20) /* or of so many bytes, when memory presses */
#define BACKLOG_PART_BYTES 65536u
#define BACKLOG_READS_MAX  16u

struct backlog {
    uint64_t first, end;       /* what is on disk has numbers of first .. end - 1 */
    uint64_t count, bytes;     /* of it: deliveries, and what they would take in memory */
    struct outqueue *after;    /* owned; all of it waits. NULL: there is nothing */
    struct backlog_read *read; /* of the shard's; NULL: none is wanted */
};

/* Of a shard. */
struct backlogs {
    struct checkpoint *checkpoint;       /* borrowed; NULL: nothing is kept */
    struct kept_link waiting, under_way; /* struct backlog_read: heads */
    unsigned under_way_count;
};

void backlogs_init(struct backlogs *b);
void backlogs_fini(struct backlogs *b); /* the checkpoint is closed, the sessions have ended */
void backlogs_settle(struct shard *s);  /* once a turn: takes up what has been read */
unsigned backlogs_read(const struct backlogs *b); /* so many of those under way have been */

/* ---- the queue as a whole, with what is on disk */

uint64_t backlog_waiting(const struct session *session);
uint64_t backlog_waiting_bytes(const struct session *session);

/* As outqueue_push(), outqueue_newest(), outqueue_drop_oldest() and outqueue_sent_end(). */
NODISCARD enum outqueue_err backlog_push(struct session *session, const struct delivery *delivery,
                                         const struct outqueue_limits *limits);
struct delivery *backlog_newest(struct session *session);
bool backlog_drop_oldest(struct session *session); /* it says so to session/kept.h */
uint64_t backlog_sent_end(const struct session *session);

/* ---- as time goes by */

/* The client takes what it is sent. true: there is more in session->out at once. */
bool backlog_refill(struct session *session);

/* A checkpoint has all below kept->stored_end: that need not be in memory. So many steps at most;
 * how many are left (0: there may be more to do). */
unsigned backlog_spill(struct session *session, unsigned steps);

/* Much of the memory for messages is taken: what is on disk can go from there. */
bool backlog_memory_presses(const struct shard *s);

/* Would backlog_spill() have something to do, if a checkpoint had it all? */
bool backlog_may_spill(const struct session *session);

/* The session ends: what is on disk is dropped and counted, all else is given up. Before its `kept`
 * goes. */
void backlog_end(struct session *session);

/* The session goes from memory, and nothing has become of it: it is another node's. All of it goes,
 * untold and uncounted, but session->out. */
void backlog_vanish(struct session *session);

/* ---- at the start (store/revive.c), while session->out is being put together anew */

/* The checkpoint has it, the next higher one of the session. false: no memory. */
NODISCARD bool backlog_stored(struct session *session, uint64_t number, uint64_t bytes);

/* The next higher one, which the checkpoint has, is to be in memory as well; all are below
 * session->out.next_number. Takes over its reference and `more`, when true. false: no memory. */
NODISCARD bool backlog_revive(struct session *session, const struct delivery *delivery);

/* It is the newest; takes over its reference and `more`, when true. false: no memory. */
NODISCARD bool backlog_restore(struct session *session, const struct delivery *delivery);

/* The delivery with this number is done. true: it was the first on disk, and need not be read. */
NODISCARD bool backlog_done(struct session *session, uint64_t number);

/* The delivery with this number is in session->out, and those before it, if there are such. Reads.
 * UINT64_MAX: all are. */
NODISCARD enum checkpoint_err backlog_reach(struct session *session, uint64_t number);
