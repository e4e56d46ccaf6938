/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake: messages of the sources (dispatch.h) as they come to the node of a partition's leader.
 * What is of that leader's term, and next in its source's order, is proposed; and the source is
 * told what the partition has applied, whoever proposed it.
 *
 *   intake_received() ─▶ events.propose(p, origin, op) ─▶ the group … applied on a majority
 *                                                                   │
 *   intake_next() ─▶ DISPATCHED: done, up to op ◀── intake_applied(p, origin, op)
 *
 *   lost     the partition is not led here, in that term: the source sends all that is not
 *            answered to the next leader
 *   repeat   a place of the run was left out, or events.propose said no. Nothing more of the run is
 *            taken: else a later op would be applied, and what was left out be a repetition
 *
 * What is at or below what the partition has applied of that origin (origins.h) is done. What was
 * proposed in this term, and is not applied yet, is not proposed again: its answer will come.
 *
 * One for the partitions of one shard: what a frame has for others is passed over, and given to
 * theirs. One of them takes what is for the node itself, too.
 *
 * Owner: the shard. events are called from within intake_received(), and may call
 * intake_applied(), and no other of these.
 * Memory: a table of 64 rows for each source, that is: each shard of each peer. Nothing that is not
 * answered is kept here: the source has it. So there is no bound but that of sources.
 * At the bound (sources_max): INTAKE_FULL; the connection is to end. Without memory likewise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_dispatch.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define INTAKE_PEERS_MAX 32u

struct intake;

enum intake_err {
    INTAKE_OK = 0,
    INTAKE_FULL,
    INTAKE_NO_MEMORY,
    INTAKE_MALFORMED, /* a frame, or not of that node, or of a start of its that is over */
};

struct intake_events {
    /* An entry for the group of a partition that is led here. Those of one partition are to be
     * applied in the order in which they were proposed, or none of those behind one that is not, as
     * long as it is led in that term. false: not now (consensus.h: CONSENSUS_BUSY). */
    bool (*propose)(void *context, unsigned partition, uint64_t origin, uint64_t op,
                    struct bytes bytes);
    /* The highest op of that origin that the partition, which is led here, has applied. */
    uint64_t (*highest)(void *context, unsigned partition, uint64_t origin);
    /* For transient subscribers, once each, in order. false: not now. */
    bool (*transient)(void *context, uint64_t origin, uint64_t op, struct bytes bytes);
    void *context;
};

struct intake_conf {
    uint64_t partitions; /* of this shard */
    bool transient;      /* what is for the node itself is for this one */
    uint32_t sources_max;
    struct intake_events events;
};

NODISCARD struct intake *intake_create(const struct intake_conf *conf); /* NULL: memory */
void intake_destroy(struct intake *i);                                  /* NULL is fine */

/* ---- Leading. Each is told as soon as it is so, before anything else is called. */

/* All that was committed before has been applied here: an entry of that term has. */
void intake_lead(struct intake *i, unsigned partition, uint64_t term);
void intake_cease(struct intake *i, unsigned partition); /* fine if it does not lead */

/* That entry was applied here, whether it was new or a repetition. */
void intake_applied(struct intake *i, unsigned partition, uint64_t origin, uint64_t op);

/* ---- The others. node: the member's number, which is in its origins. */

/* There is a new connection: what was to be answered by the last one will be asked for anew. */
void intake_up(struct intake *i, unsigned peer, uint32_t node);
/* As if by intake_up(), of a peer whose number is not known yet; else nothing. */
void intake_meet(struct intake *i, unsigned peer, uint32_t node);
/* Another node has that number. Not when it is only dead: it may be back, and repeat what transient
 * subscribers have had. */
void intake_forget(struct intake *i, unsigned peer);

/* A body of DISPATCH. Any bytes are fair input. */
NODISCARD enum intake_err intake_received(struct intake *i, unsigned peer, struct bytes body);

/* The next frame for it, of room bytes at most; *body is good until the next call. */
bool intake_next(struct intake *i, unsigned peer, size_t room, uint8_t *type, struct bytes *body);

/* Of the peer's sources, of those shards alone, 1 << shard (of the shards up to 31; a higher one
 * counts as shard % 32). */
#define INTAKE_ALL_SHARDS UINT32_MAX
bool intake_next_of(struct intake *i, unsigned peer, uint32_t shards, size_t room, uint8_t *type,
                    struct bytes *body);

struct intake_figures {
    uint32_t sources; /* now */
    uint64_t proposed, repeated, refused, lost, delivered;
};
struct intake_figures intake_figures(const struct intake *i);
