/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/dispatch/dispatch_run.h"
#include "broker/dispatch/leaders.h"
#include "broker/fifo.h"
#include "broker/shard/shard.h"
#include "cluster/dispatch/dispatch.h"
#include "cluster/dispatch/intake.h"
#include "cluster/dispatch/lease.h"

#define DISPATCH_TURN_FRAMES   256u /* to one peer that are not put into a link at once, a turn */
#define DISPATCH_CERTAIN_MS    20u  /* from one time that homes say so to the next */
#define DISPATCH_LATER_MS      10u  /* until it is looked again whether there is room */
#define DISPATCH_LANE_ROOM_MIN 65536u

#define DISPATCH_WORD_OF_WILL (UINT64_C(1) << 63) /* no partition's number has it */

static inline uint32_t dispatch_bit(unsigned peer)
{
    return UINT32_C(1) << peer;
}

static inline uint64_t dispatch_partition_bit(unsigned partition)
{
    return UINT64_C(1) << partition;
}

/* A frame on its way between shards, or to a link. On the heap; whoever has it frees it. */
struct dispatch_parcel {
    struct dispatch_parcel *next;
    struct node_uuid node; /* of the peer, so that it is not another one's by then */
    uint8_t peer;
    uint8_t type; /* DISPATCH, or DISPATCHED */
    size_t len;
    uint8_t bytes[];
};

/* The connections of a peer's lane, as the shard of the lane has them; read by all. */
struct dispatch_lane {
    _Atomic uint64_t connections; /* that have begun or ended: it is odd while there is one */
    _Atomic uint64_t start;       /* of the other end, as of the last; 0: none */
};

/* What was last seen of the lane by which this shard's source goes. */
struct dispatch_lane_seen {
    unsigned lane;
    uint64_t connections, start;
};

/* Of the source, in their order. */
struct dispatch_open {
    uint64_t op; /* of one that was refused: of the one before */
    uint64_t ticket;
    bool is_over;
};

/* Proposed, and not applied: of one partition, in their order. */
struct dispatch_begun {
    uint64_t origin;
    uint64_t op; /* with `is_entry`, of the entry; else there is none, and nothing to be waited for
                    but what is before it */
    bool is_entry;
};

struct dispatching {
    const struct dispatch_uses *uses;

    /* ---- The source (source.c) */
    struct dispatch *source; /* NULL: this node is no member yet */
    struct fifo ops;         /* struct dispatch_open */
    uint64_t last_op;
    uint8_t *words; /* [words_room]: of the message that is being put */
    size_t words_room;
    bool is_slow;
    struct dispatch_lane_seen seen[PEERS_MAX];
    uint32_t leading;  /* peers that lead something, */
    uint32_t deposed;  /* that did, without a connection or with one, and */
    uint32_t given_up; /* without one: their transient subscribers are not waited for */
    struct dispatch_figures counted;
    _Atomic uint64_t shown_ops, shown_bytes; /* written by the owner, relaxed */

    /* ---- Partitions of this shard, and its transient subscribers (homes.c) */
    struct intake *homes, *here;
    uint64_t led; /* partitions, 1 << p */
    struct fifo begun[PARTITIONS];
    struct message *taking; /* of the frame that is being taken; NULL: not looked at yet */
    bool is_bad;            /* that frame */
    struct intake_figures counted_homes;

    /* ---- The lanes of this shard (lanes.c) */
    struct dispatch_lane lanes[PEERS_MAX];
    _Atomic uint32_t ready; /* peers whose lane here takes more; read by all */
    struct {
        struct dispatch_parcel *first, **end;
    } out[PEERS_MAX];

    uint64_t certain_ms; /* when homes say again until when they are certain */
    uint32_t live;       /* peers, as last told */
    uint32_t used;       /* that have a number */
    bool again;          /* there is something for another turn, at once */
};

/* Node-wide; shard 0 writes, but for what it says of others. */
struct leaders {
    struct shard *owner;
    /* term << 8 | peer */
    _Atomic uint64_t rows[PARTITIONS];

    /* What publishers go by: of leases, partitions by whose interest tells of them. `changes` is
     * odd while they are being written. Sequentially consistent, all of them: a reader that finds
     * the same even number before and after has read what belongs together. */
    _Atomic uint64_t changes;
    _Atomic uint64_t until_ms; /* later than that nothing of it is true */
    _Atomic uint64_t covered[PEERS_MAX];
    _Atomic uint64_t ceased; /* led here no more, and `covered` does not say so yet: set by homes */

    /* By partition, when its home last said so: until then nobody else leads it. By homes, relaxed.
     */
    _Atomic uint64_t certain_ms[PARTITIONS];

    uint64_t at_home[INDEX_SHARDS_MAX]; /* partitions, by shard */

    /* ---- Shard 0's (leaders.c, leases.c) */
    uint64_t generation;
    uint64_t led[PARTITIONS]; /* the term in which it is led here, as the others are told; 0 */
    bool changed;             /* rows, since the shards were told */
    uint32_t up;              /* peers with a connection on lane 0 */
    uint32_t tell;            /* of them, those who have yet to be told who leads what */
    struct lease_holder holder;
    struct lease_granter granter;
    struct leaders_peer {
        uint64_t start;   /* as of the last connection */
        uint64_t version; /* its interest is known here up to there, of: */
        uint64_t generation;
        bool has_acked; /* it has said on this connection what it has of ours */
        size_t lease_len;
        uint8_t lease[NODE_DISPATCH_HEAD_MAX +
                      NODE_DISPATCH_PARTITIONS * NODE_LEASE_ITEM_BYTES]; /* to be sent */
    } peers[PEERS_MAX];
    struct fifo asked; /* struct leaders_asked: subscriptions that wait to be acknowledged */
    uint64_t asked_ms; /* when they are looked at again */
};

/* ---- leaders.c; shard 0 */
struct leaders *leaders_create(struct node *node, const struct identity *self);
enum link_taken leaders_received(struct shard *s, unsigned peer, struct bytes body);
void leaders_up(struct shard *s, unsigned peer);
void leaders_down(struct shard *s, unsigned peer);
void leaders_facts(struct shard *s, const struct peer_facts *facts);
void leaders_turn(struct shard *s);
void leaders_flush(struct shard *s);
uint64_t leaders_next_ms(const struct shard *s);

/* ---- leases.c; shard 0 */
enum link_taken leases_asked(struct shard *s, unsigned peer, struct bytes body);
enum link_taken leases_granted(struct shard *s, unsigned peer, struct bytes body);
void leases_lead(struct shard *s, unsigned partition, uint64_t term);
void leases_cease(struct shard *s, unsigned partition);
void leases_refresh(struct shard *s); /* what publishers go by; at once when something is true no
                                         more */
void leases_turn(struct shard *s);
uint64_t leases_next_ms(const struct shard *s);
void leases_fini(struct leaders *l);

/* ---- source.c */
void source_turn(struct shard *s);    /* leaders, lanes, what has come to its time; frames out */
void source_leaders(struct shard *s); /* rows have changed */
enum link_taken source_received(struct shard *s, unsigned peer, struct bytes body);
void source_gone(struct shard *s, unsigned peer);
void source_fini(struct dispatching *d);
uint64_t source_next_ms(const struct shard *s);

/* ---- homes.c */
bool homes_create(struct shard *s);
/* A body of DISPATCH: what is for this shard's partitions is taken, and passed on what is for
 * others'; false: it is malformed. */
bool homes_take_all(struct shard *s, unsigned peer, struct bytes body);
bool homes_take(struct shard *s, unsigned peer, struct bytes body); /* passed on by another shard */
void homes_answer(struct shard *s);                                 /* what has become of it */
void homes_forget(struct shard *s, unsigned peer);
void homes_fini(struct dispatching *d);

/* ---- lanes.c */
/* For a frame without a number by the lane of this shard; 0: it takes none now. */
size_t lane_room(const struct shard *s, unsigned peer);
/* The frame goes to the peer by the lane that belongs to a source of that shard. */
void lane_put(struct shard *s, unsigned peer, unsigned shard, uint8_t type, struct bytes body);
/* By mail, to a shard of this node. */
void lane_pass_on(struct shard *s, unsigned to, enum post_type post, unsigned peer, uint8_t type,
                  struct bytes body);
unsigned lane_of_shard(const struct shard *s, unsigned peer, unsigned shard);
bool lane_is_ready(const struct shard *s, unsigned peer, unsigned lane);
void lanes_flush(struct shard *s);
void lanes_fini(struct dispatching *d);
