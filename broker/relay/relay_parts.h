/* SPDX-License-Identifier: Apache-2.0 */
/* relay_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/relay/boundary.h"
#include "broker/relay/relay.h"
#include "broker/shard/shard.h"
#include "cluster/table.h"
#include "proto/node_relay.h"

/* One of a shard's lists; a relay is in one at most, and in `all`. */
enum relay_list {
    RELAY_DUE,     /* bytes of it may go */
    RELAY_STALLED, /* they may not, as its link is slow or full */
    RELAY_EVENTS,  /* far: ended() or closed() is to be told */
    RELAY_LISTS,
    RELAY_NONE = RELAY_LISTS,
};

struct relay_links {
    struct relay *next, *previous;
};

struct relay {
    struct table_link by_id; /* in relays->near or far; until it is over */
    struct relay_links in_all, in_list;
    struct conn *conn;
    uint64_t id;
    uint32_t credit; /* bytes that may be sent to the other node; <= NODE_RELAY_WINDOW, as are: */
    uint32_t room;   /* bytes that it may send still, and */
    uint32_t owed;   /* that were taken in, and it was not told */
    uint8_t peer, lane;
    uint8_t list; /* enum relay_list */
    bool is_far;
    bool over; /* the one or the other has said END: nothing more is said, and nothing heard */

    /* near */
    bool left;                /* the client sends no more, */
    bool left_said;           /* and the other node knows */
    struct boundary boundary; /* of what has come from there */

    /* far */
    bool reading; /* receive_start(); or once: */
    bool reading_once;
    bool sending;                       /* sent() is owed */
    bool ended_due, closed_due, closed; /* of the handlers */

    /* near: the client identifier; far: the names, one behind the other */
    uint32_t text_len;
    uint8_t name_len[NODE_RELAY_NAMES];
    uint8_t text[];
};

/* A frame that its link has no room for. */
struct relay_frame {
    struct relay_frame *next;
    uint8_t type;
    size_t len;
    uint8_t body[];
};

struct relay_queue {
    struct relay_frame *first, *last;
};

struct relays {
    struct table near, far; /* of this shard's connections */
    struct relay *all;
    struct relay *lists[RELAY_LISTS], *lasts[RELAY_LISTS];
    uint64_t next_id;               /* without the partition; begins anywhere */
    uint64_t stalled_ms;            /* when those are looked at again */
    uint64_t generation[PEERS_MAX]; /* as last told; 0: never */
    uint8_t lanes[PEERS_MAX];
    uint32_t live;                        /* 1 << peer */
    struct relay_queue queues[PEERS_MAX]; /* of this shard's lane */
    _Atomic uint32_t full; /* 1 << peer: there is something in them; the owner's to write, read by
                              all shards, relaxed */
};

static inline struct relays *relays_of(const struct shard *s)
{
    return s->relays;
}

/* ---- relay.c */

/* NULL: no memory. It is in the table, and in `all`. */
struct relay *relay_make(struct shard *s, bool is_far, unsigned peer, unsigned lane, uint64_t id,
                         size_t text_len);
struct relay *relay_find(struct shard *s, bool is_far, unsigned peer, uint64_t id); /* NULL: none */
/* Nothing more is said or heard of it. */
void relay_is_over(struct shard *s, struct relay *r);
void relay_free(struct shard *s, struct relay *r);

void relay_list_add(struct shard *s, struct relay *r, enum relay_list list); /* to it alone */
void relay_unlist(struct shard *s, struct relay *r);
struct relay *relay_list_take(struct shard *s, enum relay_list list); /* NULL: it is empty */

/* ---- frames.c: what is said, by the lane or by mail to its shard */

void *relay_alloc(size_t bytes); /* as losing what is said would leave nodes disagreeing */
void relay_say(struct shard *s, const struct relay *r, const struct node_relay *words);
void relay_say_end(struct shard *s, struct relay *r, enum node_relay_end why); /* it is over then */
void relay_say_to(struct shard *s, unsigned lane, unsigned peer, const struct node_relay *words);

/* Of data[0..len), as much as credit and link allow, in frames: its length. *stalled: the link does
 * not allow more. */
NODISCARD size_t relay_say_data(struct shard *s, struct relay *r, struct bytes data, bool *stalled);
/* So many bytes of the other node's were taken in. */
void relay_give_credit(struct shard *s, struct relay *r, size_t bytes);
/* … were sent by it; false: more than it may. */
NODISCARD bool relay_take_room(struct relay *r, size_t bytes);

void relay_queues_flush(struct shard *s);
bool relay_queues_wait(const struct shard *s);
void relay_queue_drop(struct shard *s, unsigned peer);

/* ---- near.c */

void near_heard(struct shard *s, struct relay *r, const struct node_relay *words);
void near_lost(struct shard *s, struct relay *r);
void near_go_on(struct shard *s, struct relay *r);

/* ---- far.c */

void far_open(struct shard *s, unsigned peer, unsigned lane, const struct node_relay *open);
void far_heard(struct shard *s, struct relay *r, const struct node_relay *words);
void far_lost(struct shard *s, struct relay *r);
void far_go_on(struct shard *s, struct relay *r);
void far_tell(struct shard *s, struct relay *r); /* ended(), closed(); it may be freed then */
