/* SPDX-License-Identifier: Apache-2.0 */
/* remote_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/fifo.h"
#include "broker/peers/peers.h"
#include "broker/shard/shard.h"
#include "cluster/clocks.h"
#include "cluster/interest/interest.h"
#include "cluster/table.h"

/* Of what links have for frames without a number: left to interest by all others. */
#define INTEREST_ROOM (2 * INTEREST_BODY_MAX)

struct arrival;
struct message;
struct node_publish;
struct telling;

/* What the others' interest has come to is being asked of all shards (views.c); shard 0's. */
struct settling {
    unsigned left; /* shards that have not answered; 0: nothing is asked */
    uint32_t epoch;
    uint64_t version;
    bool again; /* and then for these: */
    uint32_t next_epoch;
    uint64_t next_version;
};

/* What goes to one peer by the lane that this shard has. */
struct outward {
    uint64_t first;      /* the number, for RESULT, of the oldest that is not answered; from 1 on */
    struct fifo entries; /* struct forwarded, of first, first + 1, … */
};

struct remote {
    /* As last told, a bit for each peer. */
    uint32_t live;
    uint32_t skipped; /* it is not live, and is to hear of a gap should it come back */
    struct node_uuid self, nodes[PEERS_MAX]; /* self: shard 0's */

    struct outward outward[PEERS_MAX];
    /* The start that the lane here was connected to last; 0: none. Written by the owner, release;
     * read by shard 0, acquire. */
    _Atomic uint64_t met[PEERS_MAX];
    _Atomic uint32_t slow; /* whose lane here is; written by the owner, read by all, relaxed */

    uint32_t held;    /* it was said LINK_NOT_NOW */
    uint64_t full_ms; /* since when, as memory is full; 0: it is not */
    /* arrive.c's: a retained message that is being stored, and what came behind it; [peer] */
    struct arrivals {
        struct arrival *first, *last;
        unsigned count;
    } arrivals[PEERS_MAX];
    struct fifo results; /* struct result: of messages that came by this lane, in their order */
    bool results_failed; /* a link had no room for some of them */

    struct table groups; /* views.c's: members of the others, of groups that this shard writes */

    /* Shard 0's. */
    struct interest *interest; /* NULL: another shard */
    uint32_t up;               /* whose lane 0 is connected */
    uint64_t up_ms[PEERS_MAX]; /* since when */
    struct clocks clocks;      /* clock.c's */
    uint64_t clock_ms;         /* when it is said again what time it is */
    bool clock_is_off;
    unsigned taken;          /* frames of interest, since remote_turn() */
    uint32_t unheard;        /* node->unheard: while it begins, whose interest is to come */
    uint64_t first_until_ms; /* so long it begins; 0: it has yet to; UINT64_MAX: that is over */
    uint64_t first_end_ms;   /* at the latest, however much comes */
    uint64_t first_so_far;   /* heard_so_far() */
    struct settling settling[PEERS_MAX];
    uint64_t shown_ms;
    /* Written by shard 0, read by any thread, relaxed; [PEERS_MAX]: this node's own. */
    struct shown_interest {
        _Atomic uint64_t node[2]; /* UUID; zeros: nobody */
        _Atomic uint64_t low, high;
    } shown[PEERS_MAX + 1];
    struct telling *answers, **answers_end; /* told; to be answered */
    struct telling *waiting, **waiting_end; /* interest_wait(), in that order */
    struct telling *late, **late_end;       /* for want of a place among those */
};

static inline uint32_t remote_bit(unsigned peer)
{
    return UINT32_C(1) << peer;
}

/* A copy of something that mail refers to. */
void *remote_alloc(size_t bytes);

/* ---- remote.c */
void remote_hold(struct shard *s, unsigned peer); /* it was said LINK_NOT_NOW: again in a while */
/* Whoever publishes to it waits. PEERS_SELF: what this shard itself has put is too much. */
void remote_set_slow(struct shard *s, unsigned peer, bool slow);

/* ---- told.c */
void told_reached(struct shard *s, uint32_t without); /* interest_events.reached */
void told_turn(struct shard *s);
NODISCARD bool told_all(struct shard *s, struct interest *interest); /* before the shards run */
void told_fini(struct remote *r);

/* ---- views.c */
struct interest_events views_events(struct shard *s);
void views_set_live(struct shard *s, unsigned peer, bool live);
void views_fini(struct shard *s);

/* ---- forward.c */
void forward_over(struct shard *s, unsigned peer,
                  uint8_t reason); /* none of it is answered any more */
void forward_lost(struct shard *s, unsigned peer, uint64_t first, uint64_t last,
                  enum link_loss why);
void forward_leave_gap(struct shard *s, unsigned peer); /* on lane 0: it has missed something */
enum link_taken forward_answered(struct shard *s, unsigned peer, struct bytes body);
void forward_fini(struct remote *r);

/* ---- arrive.c */
enum link_taken arrive_publish(struct shard *s, unsigned peer, const struct node_frame *frame);
void arrive_flush(struct shard *s);
/* What another node has sent, as a message of this one; its publisher is nobody's. NULL: no memory.
 */
struct message *arrive_message(struct shard *s, const struct node_publish *p);
void arrive_fini(struct remote *r);
/* A body of DISPATCH: it waits behind retained messages that are being stored, if there are any. */
enum arrive_behind {
    ARRIVE_NOTHING, /* there are none */
    ARRIVE_QUEUED,  /* dispatch_run_arrived() is called for it, later */
    ARRIVE_NOT_NOW, /* as many as may wait do */
};
enum arrive_behind arrive_behind(struct shard *s, unsigned peer, struct bytes body);
void arrive_forget(struct shard *s, unsigned peer); /* it was started anew, or is nobody's number */

/* ---- gap.c */
void gap_told(struct shard *s, unsigned peer);
