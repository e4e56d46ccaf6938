/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interest: which node has subscribers for which filters: this node's own, told to the others, and
 * the others', told to this node's index. Every node's is written by that node alone, so there is
 * nothing to agree on; frames without a number carry it, on one lane of each link.
 *
 *   owner                                              the other node
 *   interest_take() ─▶ version 8 ── DELTA 8 ────────▶ view ── events.set, events.settle ──▶ index
 *   interest_wait(8) …                                                                        │
 *   events.reached ◀── ACK 8 ◀──────────────────────────────────── interest_settled(8) ◀──────┘
 *
 *   on a new connection   each says in an ACK what it holds of the other's; it goes on from there:
 *                         by the tail of the log if that reaches back so far, else by a snapshot in
 *                         parts, a few under way, with the changes that are made meanwhile between
 *                         them
 *   every digest_ms       DIGEST: at equal versions the sums have to be equal. If they are not
 *                         (which only a fault can cause), it is counted, and a snapshot is asked
 * for
 *
 * What it promises: an owner's version that is acknowledged is found by each match that begins at
 * the other node from then on. After reached() all live nodes have it, but for those that it names;
 * those did not answer in wait_ms. What a node has let go of is gone everywhere once it hears of
 * it, and is not brought back by anything that was said before. Of a node that is dead all is kept
 * for dead_ms, in case it comes back; of one that was started anew, until its new snapshot is
 * there; and in both cases longer, if the caller says so (interest_peer_keep()).
 *
 * Owner: one thread of the node. events are called from within interest_received(),
 * interest_turn() and interest_peer_…(); of all these they may call interest_settled() only.
 * Memory: own.h, view.h for each peer, the tail, waits_max waiting subscriptions, and one frame.
 * At the bound: interest_wait() answers INTEREST_FULL.
 * Time: any clock that does not go back, in ms. Nothing takes long: what goes through a whole set
 * does so in steps, one in each interest_turn() or interest_next().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/interest/digest.h"
#include "cluster/interest/view.h"
#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/node_id.h"
#include "proto/node_interest.h"
#include "proto/nodiscard.h"

#define INTEREST_PEERS_MAX 32u /* a peer is a number below that, which the caller gives */

/* Of a frame's body: two items of any size fit in. */
#define INTEREST_BODY_MAX                                                                          \
    (NODE_INTEREST_HEAD_MAX + 2 * (NODE_INTEREST_ITEM_BYTES + NODE_INTEREST_TEXT_MAX))

struct interest;

struct interest_events {
    /* The peer's: see struct view_events. */
    bool (*set)(void *context, unsigned peer, const struct node_interest_item *item);
    void (*removed)(void *context, unsigned peer, const struct node_interest_item *item);
    /* All that was told of the peer so far is to be found by each match; and when it is, now or
     * later, interest_settled() is to be called with the same. A later one makes up for an earlier.
     */
    void (*settle)(void *context, unsigned peer, uint32_t epoch, uint64_t version);
    /* Every live peer has the version, but for those whose bits are in `without`. */
    void (*reached)(void *context, uint64_t token, uint32_t without);
    void *context;
};

struct interest_conf {
    struct cluster_uuid cluster;
    uint64_t generation; /* of this node's start; >= 1 */
    struct interest_events events;

    uint32_t settle_ms;    /* what is let go of is told so much later */
    uint32_t tail_ops_max; /* changes that are kept for those who come back */
    size_t tail_bytes_max;
    uint32_t digest_ms;
    uint32_t wait_ms;  /* the longest that interest_wait() makes wait */
    uint32_t dead_ms;  /* what a dead peer had is kept for so long */
    uint32_t retry_ms; /* without memory: until it is tried again */
    uint32_t waits_max;
    unsigned parts_max;  /* of a snapshot, under way */
    unsigned turn_steps; /* items or buckets of a set that one turn looks at, or a frame has */
};

/* All but cluster, generation and events, as docs/architecture.md has them. */
struct interest_conf interest_conf_defaults(void);

NODISCARD struct interest *interest_create(const struct interest_conf *conf); /* NULL: no memory */
void interest_destroy(struct interest *i); /* nobody is told; NULL is fine */

enum interest_err {
    INTEREST_OK = 0,
    INTEREST_NO_MEMORY,
    INTEREST_FULL,      /* waits_max wait already */
    INTEREST_MALFORMED, /* the connection is over */
};

/* ---- This node's own */

/* One more of this node's shards, or members of a group, wants that. *version: what the others have
 * to have. */
NODISCARD enum interest_err interest_take(struct interest *i, enum node_interest_kind kind,
                                          struct bytes text, uint64_t now_ms, uint64_t *version);
/* One less; it was taken. */
void interest_put(struct interest *i, enum node_interest_kind kind, struct bytes text,
                  uint64_t now_ms);

/* Has every live peer that version? */
bool interest_is_reached(const struct interest *i, uint64_t version);

/* It has not: events.reached(token) is called once it has, or wait_ms from now. In the order of
 * these calls; so a version may wait for a higher one that was waited for before. */
NODISCARD enum interest_err interest_wait(struct interest *i, uint64_t version, uint64_t token,
                                          uint64_t now_ms);

/* ---- Peers. All are down, not live, and nothing is known of them, at first. */

/* Membership's word. Not live: nobody waits for it; and when it is neither live nor up for dead_ms,
 * what it had is removed. */
void interest_peer_live(struct interest *i, unsigned peer, bool live, uint64_t now_ms);

/* Somebody may still have to be found by what it had: nothing of that is removed until this is
 * taken back, whether it is dead for dead_ms or has been started anew; what the new start has is
 * there as well. What it takes back itself goes as ever. false at first. */
void interest_peer_keep(struct interest *i, unsigned peer, bool keep);

/* Its link has a connection, or has none any more. */
void interest_peer_up(struct interest *i, unsigned peer, uint64_t now_ms);
void interest_peer_down(struct interest *i, unsigned peer, uint64_t now_ms);

/* The number will be another node's: all is forgotten. Its items are removed at once, however many
 * they are. */
void interest_peer_forget(struct interest *i, unsigned peer);

/* A frame of one of the four types has come from it, on the connection that is up. Any body is fair
 * input. */
NODISCARD enum interest_err interest_received(struct interest *i, unsigned peer,
                                              const struct node_frame *frame, uint64_t now_ms);

/*
 * The next frame for it, whose body is at most `room` bytes; false: none, or none that fits
 * (INTEREST_BODY_MAX always does). It must be sent, after those before it, or the connection
 * closed. *body is good until the next call.
 */
NODISCARD bool interest_next(struct interest *i, unsigned peer, size_t room, uint64_t now_ms,
                             uint8_t *type, struct bytes *body);

/* See events.settle. */
void interest_settled(struct interest *i, unsigned peer, uint32_t epoch, uint64_t version);

/* ---- Time */

void interest_turn(struct interest *i, uint64_t now_ms);

/* When interest_turn() is due, or interest_next() has something; UINT64_MAX: never, unless
 * something happens. */
uint64_t interest_next_ms(const struct interest *i);

/* ---- Figures */

struct interest_figures {
    uint64_t own_items, own_version;
    uint64_t own_bytes; /* of the items, as asked of the allocator */
    struct digest own_digest;
    uint64_t waiting;                        /* interest_wait()s, now */
    uint64_t reached_whole, reached_without; /* of those that are over: with all, or not */
    uint64_t waits_refused;
    uint64_t divergences;                        /* digests that differed at equal versions */
    uint64_t snapshots_sent, snapshots_received; /* begun; whole */
    uint64_t tails_sent;                         /* connections that went on without a snapshot */
    uint64_t no_memory;
};

struct interest_figures interest_figures(const struct interest *i);

struct interest_peer_figures {
    enum view_state state;
    uint64_t generation, version, settled; /* of its interest, here */
    uint64_t items, bytes;
    struct digest digest;
    uint64_t acked; /* version of ours that it has */
    bool live, up;
};

struct interest_peer_figures interest_peer_figures(const struct interest *i, unsigned peer);
