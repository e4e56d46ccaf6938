/* SPDX-License-Identifier: Apache-2.0 */
/* What a replica is made of. Not for others; the files of this folder share it. */
#pragma once

#include "cluster/hlc.h"
#include "cluster/replica/replica.h"
#include "cluster/replica/versions.h"

/* Of a peer's, not answered yet. */
struct ask {
    struct node_retained_ask ask;
    uint8_t *known; /* a copy, which ask.known points into; NULL: empty */
};

/* Of ours: a range, or a part of it, that is open. */
struct slot {
    bool used, sent;
    uint32_t number; /* of the ask that was sent */
    uint8_t want;    /* enum node_retained_want */
    uint64_t first, last;
    uint64_t asked_last; /* sent: up to that place only */
};

enum walk_state {
    WALK_NONE = 0,
    WALK_ROOT, /* the sums of the root's children are asked for */
    WALK_CHILDREN,
};

/* Our way through a peer's sums, from where they differ at the top. */
struct walk {
    enum walk_state state;
    bool failed;                              /* something was not taken, or was passed over */
    bool brought;                             /* something was */
    uint64_t high;                            /* the peer's, when it began */
    uint64_t floor;                           /* likewise */
    uint8_t differs[VERSIONS_PARTS / 8];      /* children, a bit each */
    unsigned child;                           /* the next one to look at */
    bool splitting;                           /* the sums of child - 1's leaves are asked for */
    uint8_t leaf_differs[VERSIONS_PARTS / 8]; /* of child - 1 */
    unsigned leaf;                            /* the next one; VERSIONS_PARTS: none left */
    struct slot slots[REPLICA_ASKS_MAX];
};

struct peer {
    bool known, lost, up;
    bool said, same;
    struct node_uuid node;
    /* What it says: */
    uint64_t complete_told, floor_told;
    uint8_t sum_told[NODE_SUM_BYTES];
    /* What we have of it: */
    uint64_t complete;                 /* on disk */
    uint64_t pending, pending_changes; /* it will be, when so many changes are; 0: nothing */
    /* This connection: */
    uint64_t digest_ms;    /* when ours is due */
    uint64_t walk_ms;      /* not before */
    uint32_t walk_wait_ms; /* after the next that brings nothing */
    struct walk walk;
    struct ask asks[REPLICA_ASKS_MAX]; /* a ring */
    unsigned asks_first, asks_count;
};

struct replica {
    struct replica_conf conf;
    struct versions topics;
    struct hlc clock;
    bool ready;
    bool members_known;
    unsigned missing; /* members without a number */
    uint64_t high;    /* the highest stamp here */
    uint64_t floor;
    uint64_t walks_floor; /* the highest that a walk has had */
    uint64_t changes;     /* that are to be on disk */
    uint64_t mark, mark_high;
    uint64_t durable_high, durable_changes;
    uint32_t asks; /* number of the last ask */
    bool sweeping;
    uint64_t sweep_place, swept_floor, turn_ms;
    uint8_t *body;
    size_t body_room;
    struct peer peers[REPLICA_PEERS_MAX];
    struct replica_figures figures;
};

/* An item that a walk has brought counts, or does not: set, gone, drop. */
enum replica_err replica_take_item(struct replica *r, const struct node_retained_item *item,
                                   const struct walk *by, uint64_t wall_ms);
/* A topic is to be as never heard of. forget, drop. */
void replica_forget(struct replica *r, struct topic_entry *e);
/* What is there was deleted. gone, forget, drop. */
void replica_bury(struct replica *r, struct topic_entry *e);

/* ---- serve.c: what a peer asks */

enum replica_err serve_asked(struct peer *p, const struct node_retained_ask *ask);
bool serve_next(struct replica *r, struct peer *p, size_t room, uint8_t *type, struct bytes *body);
void serve_end(struct peer *p); /* nothing is open any more */

/* ---- walk.c: what we ask */

void walk_begin(struct replica *r, struct peer *p, uint64_t high, uint64_t floor);
enum replica_err walk_sums(struct replica *r, struct peer *p, const struct node_retained_sums *s,
                           uint64_t now_ms);
enum replica_err walk_items(struct replica *r, struct peer *p, const struct node_retained_items *n,
                            uint64_t now_ms, uint64_t wall_ms);
bool walk_next(struct replica *r, struct peer *p, size_t room, struct bytes *body);

/* A message of that stamp is here from now on, by that walk, or NULL. Another one whose floor is as
 * high may have been there before it, and cannot say that it was not deleted. */
void walk_passed(struct replica *r, uint64_t stamp, const struct walk *by);

/* The peer's content of when its `high` was said is here. */
void replica_completed(struct replica *r, struct peer *p, uint64_t high, uint64_t floor);
