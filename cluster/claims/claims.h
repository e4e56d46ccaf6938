/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claims: which node has the client of which id, so that one has it at most; and the wills of those
 * that are lost.
 *
 * The id space has 64 partitions. The owner of one is the first, by rendezvous hashing, of the
 * nodes that live, which is membership's word; or who is appointed (claims_appoint()), as the
 * leader of a group is. Either way each node may see it differently for a while. All CONNECTs of an
 * id are put in an order by its owner; what a node has of clients it tells whoever is the owner,
 * again and again if need be, so that nothing hangs on who that was before.
 *
 *   holder                                  owner                                 former holder
 *   claims_attach() ── WANTS ─────────────▶ claiming ── KICK ─────────────────▶ events.kicked
 *                                                                                       │
 *   events.attached ◀── GRANT ───────────── current ◀── GONE or ENDED ── claims_detach() ┘
 *                  ─── HOLDS ─────────────▶                (or 500 ms)
 *   claims_detach() ── GONE: left a will ─▶ gone ── its delay ──▶ events.will
 *                  ◀── DONE ──────────────
 *                  ─── ENDED ─────────────▶ nothing
 *
 * What it promises:
 *   - Of each id the owner has one holder; another CONNECT closes it. An ATTACH is answered when
 * the former holder says that it is closed, or kick_ms later (`unsure`).
 *   - If the owner changes, the holders tell the new one; until all that live have, an ATTACH
 * waits, settle_ms at most. Two holders of an id: the later claim stays, the other one is kicked.
 *   - If the owner cannot be reached for unreachable_ms, an ATTACH is answered without it
 *     (`degraded`), and told later. So two nodes may have a client of one id while they cannot
 * reach the same owner, and no longer: once they do, one is kicked.
 *   - A will is published once by its owner when its client is lost, or the holder is: called dead
 * by membership, and without a connection for lost_ms. After its delay, unless the client has come
 *     back; never after its holder has told that it ended cleanly. At least once: if the owner
 *     changes after it has published and before the holder has heard of that, the next one
 * publishes it again, under the same key. Where nodes cannot reach each other each side publishes
 * the wills of those whom it has lost. A holder that owns its client itself has a deputy keep a
 * copy of the will (deputy.c). It is lost if holder and owner, or deputy, die together.
 *
 * Time of a claim: a hybrid logical clock, 48 bits of wall clock (ms) and 15 of a counter, which is
 * moved by each one that is heard of; ties go by node. A wrong clock may make the wrong one of two
 * the later, never both stay.
 *
 * Owner: one thread of the node, for the clients of all shards. events are called from within
 * claims_turn() and claims_received() only, and call nothing of it.
 * Memory: of each client 64 bytes and its id here, 74 and the id at its owner, both with what its
 * will has and 8 to 24 of a table (docs/cluster.md has it measured); one frame.
 * At the bound: claims_attach() answers CLAIMS_FULL. What the owner has is bounded by what the
 * others may hold. Time: any clock that does not go back, in ms. Nothing takes long: what goes
 * through a whole table does so in steps, turn_steps in each claims_turn().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "cluster/interest/digest.h"
#include "proto/bytes.h"
#include "proto/node_claim.h"
#include "proto/node_frame.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define CLAIMS_PEERS_MAX 32u /* a peer is a number below that, which the caller gives */
#define CLAIMS_SELF      CLAIMS_PEERS_MAX /* this node, where a peer is told */

/* Of a frame's body: a hold of any size fits in. */
#define CLAIMS_BODY_MAX                                                                            \
    (NODE_CLAIM_HEAD_MAX + NODE_CLAIM_HOLD_BYTES + NODE_CLAIM_ID_MAX + NODE_CLAIM_WILL_MAX)

struct claims;

struct claims_grant {
    bool degraded; /* without the owner's word */
    bool unsure;   /* a former holder has not said yet that it is closed, or it is not known whether
                    * there is one */
    struct node_uuid former; /* who held it before, and was kicked; none: nobody is known */
    uint64_t claim;
};

/* Whose will that is: the same key is the same will, also of another owner. */
struct claims_key {
    struct node_uuid node;
    uint64_t generation;
    uint64_t serial;
};

struct claims_events {
    /* The client is connected. */
    void (*attached)(void *context, uint64_t hash, uint64_t serial,
                     const struct claims_grant *grant);
    /* It is to be closed (0x8E), attached or not, and then detached as lost. Once. */
    void (*kicked)(void *context, uint64_t hash, uint64_t serial, struct bytes id);
    /* Another node has the client now, which has asked for a clean start: what there is of an
     * earlier session of it at its owner, this node, is over. NULL: nothing is kept here. */
    void (*cleared)(void *context, uint64_t hash, struct bytes id);
    /* To be published now. */
    void (*will)(void *context, const struct claims_key *whose, struct bytes id, struct bytes will);
    void *context;
};

struct claims_conf {
    struct cluster_uuid cluster;
    struct node_uuid self;
    uint64_t generation; /* of this node's start; >= 1 */
    struct claims_events events;

    uint32_t kick_ms;        /* for a former holder to close */
    uint32_t settle_ms;      /* for the holders to tell a new owner */
    uint32_t unreachable_ms; /* without an owner: answered without it */
    uint32_t answer_ms;      /* with one that does not answer: likewise; >= unreachable_ms */
    uint32_t lost_ms;        /* dead, and without a connection: its clients are lost */
    uint32_t retry_ms;       /* without memory: until it is tried again */
    size_t holds_max;        /* clients of this node, and what has ended and is not told yet */
    size_t asks_max;         /* ATTACHes of the last unreachable_ms or answer_ms */
    unsigned frames_max;     /* of holds, to one peer, under way */
    size_t frame_bytes;      /* of holds; one that is larger goes alone */
    unsigned turn_steps;     /* holds, records or buckets that one turn looks at */
};

/* All but cluster, self, generation and events, as docs/cluster.md has them. */
struct claims_conf claims_conf_defaults(void);

NODISCARD struct claims *claims_create(const struct claims_conf *conf); /* NULL: no memory */
void claims_destroy(struct claims *c); /* nobody is told; NULL is fine */

/* The hash of a client id that all nodes of the cluster have to use; the cluster's UUID, which
 * clients do not know, seeds it. */
static inline uint64_t claims_hash(struct cluster_uuid cluster, struct bytes id)
{
    return XXH3_64bits_withSeed(id.at, id.len, digest_seed(cluster));
}

enum claims_err {
    CLAIMS_OK = 0,
    CLAIMS_NO_MEMORY, /* of claims_received(): give it once more, later */
    CLAIMS_FULL,      /* holds_max, or asks_max */
    CLAIMS_MALFORMED, /* the connection is over */
};

/* ---- This node's clients */

struct claims_attach {
    uint64_t hash;     /* claims_hash() of the id */
    uint64_t serial;   /* names it: no other of this start has had it; >= 1 */
    struct bytes id;   /* 1 .. NODE_CLAIM_ID_MAX bytes */
    bool clean;        /* it begins a new session: a former will that waits is due */
    struct bytes will; /* 0: none; .. NODE_CLAIM_WILL_MAX, the caller's own words */
    uint64_t delay_ms; /* of the will; the session ends no earlier */
};

/* A client has come, and is there until it is detached, whether events.attached comes or not. */
NODISCARD enum claims_err claims_attach(struct claims *c, const struct claims_attach *attach,
                                        uint64_t now_ms);

enum claims_end {
    CLAIMS_CLEAN, /* its will is not to be published */
    CLAIMS_LOST,  /* it is, after its delay; so also after a kick */
};

/* The delay of its will is another one: what has become of its session says so. Before it is
 * detached. */
void claims_set_delay(struct claims *c, uint64_t hash, uint64_t serial, uint64_t delay_ms);

/* It is no more; one that was never attached has no will. */
void claims_detach(struct claims *c, uint64_t hash, uint64_t serial, enum claims_end end,
                   uint64_t now_ms);

/* What the wall clock says, in ms since 1970: it goes into claims. Once a second will do. */
void claims_set_wall(struct claims *c, uint64_t wall_ms);

/* ---- Peers. None is used, live, or up at first. */

/* The number is that node's; it was not used, or forgotten. */
void claims_peer_begin(struct claims *c, unsigned peer, struct node_uuid uuid, uint64_t now_ms);
/* The number will be another node's: what it had is lost now. */
void claims_peer_forget(struct claims *c, unsigned peer, uint64_t now_ms);

/* Membership's word. */
void claims_peer_live(struct claims *c, unsigned peer, bool live, uint64_t now_ms);

#define CLAIMS_BY_HASH (CLAIMS_PEERS_MAX + 1u)

/* From now on the partition's owner is that peer, which is used, or CLAIMS_SELF, whether it lives
 * or not; CLAIMS_BY_HASH: as it is at first, and after the peer was forgotten. */
void claims_appoint(struct claims *c, unsigned partition, unsigned owner, uint64_t now_ms);

/* Its link has a connection, to that start of it, or has none any more. */
void claims_peer_up(struct claims *c, unsigned peer, uint64_t generation, uint64_t now_ms);
void claims_peer_down(struct claims *c, unsigned peer, uint64_t now_ms);

/* A frame of one of the four types has come from it, on the connection that is up. Any body is fair
 * input. */
NODISCARD enum claims_err claims_received(struct claims *c, unsigned peer,
                                          const struct node_frame *frame, uint64_t now_ms);

/*
 * The next frame for it, without a number, whose body is at most `room` bytes; false: none, or none
 * that fits (CLAIMS_BODY_MAX always does). It must be sent, after those before it, or the
 * connection closed. *body is good until the next call.
 */
NODISCARD bool claims_next(struct claims *c, unsigned peer, size_t room, uint64_t now_ms,
                           uint8_t *type, struct bytes *body);

/* ---- Time */

void claims_turn(struct claims *c, uint64_t now_ms);

/* When claims_turn() is due; 0: at once, UINT64_MAX: never, unless something happens. After a call
 * that is given the time claims_next() may have something. */
uint64_t claims_next_ms(const struct claims *c);

/* ---- Figures */

struct claims_figures {
    uint64_t holds, records;   /* now: this node's clients; those that it owns */
    uint64_t wills;            /* now: of those that it owns, and copies */
    uint64_t copies;           /* now, among the records: wills of clients whose holder owns them */
    uint64_t bytes;            /* of both, as asked of the allocator; tables left out */
    uint64_t attached, unsure; /* by an owner's word; of them, those that were not sure */
    uint64_t degraded;         /* without */
    uint64_t kicked;           /* this node's clients */
    uint64_t conflicts;        /* two holders, of which one told a new owner later */
    uint64_t wills_published;
    uint64_t wills_cancelled;   /* the client came back */
    uint64_t wills_left_behind; /* the owner changed while the holder was away: published here after
                                 * it is lost, whether the client has come back or not */
    uint64_t peers_lost;
    uint64_t refused; /* attaches: CLAIMS_FULL */
    uint64_t no_memory;
    unsigned partitions; /* that it owns */
};

struct claims_figures claims_figures(const struct claims *c);

/* Who owns that id, as this node sees it: a peer, or CLAIMS_SELF. */
unsigned claims_owner(const struct claims *c, uint64_t hash);

/* The holder of that id, if this node is the owner, and there is one. *peer may be CLAIMS_SELF. */
bool claims_holder(struct claims *c, uint64_t hash, struct bytes id, unsigned *peer,
                   uint64_t *serial);

/* What must hold between its parts, for tests; false: it does not. Takes long. */
bool claims_check(struct claims *c);
