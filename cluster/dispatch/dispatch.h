/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch: messages of one source on their way to the partitions and nodes that want them, until
 * all of them have answered. A source is one shard of one start of a node.
 *
 *   dispatch_put(mask, nodes, bytes) ─▶ op ──▶ a queue for each target ──▶ dispatch_next(peer)
 *                                                                              │ DISPATCH
 *   events.ended(op) ◀── all targets have answered ◀── dispatch_received() ◀───┘ DISPATCHED
 *
 * A target is a partition, at whoever leads it (dispatch_leader()), or a node, for its transient
 * subscribers. What a peer is to have of one op goes in one frame, named by target: the run, the
 * place in it, and the term of the leader that is meant. A run begins with the first op that the
 * target has not answered; another one begins when the leader is another, the connection is, or
 * the receiver asks for it. So each target sees its ops in order, none left out, as often as it
 * takes; that each is applied once is the receiver's (intake.h, origins.h).
 *
 * What it promises:
 *   - DISPATCH_DONE: each partition has committed it, and each node has given it to its transient
 *     subscribers, or is gone
 *   - DISPATCH_UNKNOWN: in timeout_ms not all have answered. It may be in none, some or all of the
 *     queues; where it is not yet, it may still come, but not behind anything newer: once an op
 *     that was put later is done for a partition, this one will be there already, or never. It is
 *     not sent again by itself. To try once more is another dispatch_put(), of another op, which
 *     may be a second copy
 *   - DISPATCH_FULL, and the other errors of dispatch_put(): it is nowhere, and will be nowhere
 *
 * Owner: the shard. events.ended is called from within dispatch_received(), dispatch_gone() and
 * dispatch_turn(), and calls none of these functions.
 * Memory: a copy of each message until it has ended, and the last frame. At the bound (ops_max,
 * bytes_max): DISPATCH_FULL, and nothing is taken.
 * Time: any clock that does not go back, in ms.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_dispatch.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define DISPATCH_PEERS_MAX                                                                         \
    32u /* a peer is a number below that, which the caller gives; it is one                        \
         * of them itself */
#define DISPATCH_NOBODY DISPATCH_PEERS_MAX /* as a leader: it is not known */

struct dispatch;

enum dispatch_err {
    DISPATCH_OK = 0,
    DISPATCH_FULL,      /* ops_max, or bytes_max */
    DISPATCH_TOO_LARGE, /* over message_max: it will never be taken */
    DISPATCH_NO_MEMORY,
    DISPATCH_MALFORMED, /* a frame; the connection is to end */
};

enum dispatch_end {
    DISPATCH_DONE,
    DISPATCH_UNKNOWN,
};

struct dispatch_events {
    /* Once for each op, in any order: who owes a client its answers in order sees to that. */
    void (*ended)(void *context, uint64_t op, enum dispatch_end end);
    void *context;
};

struct dispatch_conf {
    uint64_t origin; /* origins.h, origin_of(): no other source has or had it */
    struct dispatch_events events;

    uint32_t ops_max;    /* that have not ended */
    size_t bytes_max;    /* of their messages, and what is kept about them */
    size_t message_max;  /* of one; a frame has to go through a link */
    uint32_t timeout_ms; /* from dispatch_put() on */
    uint32_t again_ms;   /* between what a receiver has refused, and its next run */
};

/* All but origin and events. */
struct dispatch_conf dispatch_conf_defaults(void);

NODISCARD struct dispatch *dispatch_create(const struct dispatch_conf *conf); /* NULL: memory */
/* What has not ended does not end. NULL is fine. */
void dispatch_destroy(struct dispatch *d);

/* At least one partition or node. *op: 1, 2, 3, … */
NODISCARD enum dispatch_err dispatch_put(struct dispatch *d, uint64_t partitions, uint32_t nodes,
                                         struct bytes bytes, uint64_t now_ms, uint64_t *op);

/* ---- Who leads */

/* As that leader itself has said, in that term, which is >= 1; or DISPATCH_NOBODY. Of an earlier
 * term than is known: nothing. */
void dispatch_leader(struct dispatch *d, unsigned partition, unsigned peer, uint64_t term);

/* ---- The peers. What goes to one goes by one connection, in order, or is lost with it. The node
 * itself is a peer too, and up. */

void dispatch_up(struct dispatch *d, unsigned peer);
void dispatch_down(struct dispatch *d, unsigned peer);

/* It was started anew, or was declared dead: what its transient subscribers were to get has ended
 * with them. Should it live after all, they have to be told of a gap by other means (link.h). */
void dispatch_gone(struct dispatch *d, unsigned peer);

/* The next frame for it, of room bytes at most; *body is good until the next call. false: there is
 * nothing, or no room. */
bool dispatch_next(struct dispatch *d, unsigned peer, size_t room, uint64_t now_ms, uint8_t *type,
                   struct bytes *body);

/* A body of DISPATCHED. Any bytes are fair input. */
NODISCARD enum dispatch_err dispatch_received(struct dispatch *d, unsigned peer, struct bytes body,
                                              uint64_t now_ms);

/* ---- Time */

void dispatch_turn(struct dispatch *d, uint64_t now_ms);
uint64_t
dispatch_next_ms(const struct dispatch *d); /* UINT64_MAX: never, unless something is put */

/* ---- Figures */

struct dispatch_figures {
    uint32_t ops; /* now */
    size_t bytes;
    uint64_t waiting; /* the partitions with something unanswered, as a mask */
    uint64_t put, done, unknown, full;
    uint64_t frames, repeated; /* repeated: targets in them that were sent the op before */
    uint64_t runs;             /* that began because of a leader, a connection, or a refusal */
};
struct dispatch_figures dispatch_figures(const struct dispatch *d);

/* Whether its queues are what they should be; for tests. */
bool dispatch_check(const struct dispatch *d);
