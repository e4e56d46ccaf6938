/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interest_parts: what the files of interest have in common: interest.c, who is there, who waits,
 * and what comes; feed.c, what goes to a peer of this node's own. Not a public header.
 */
#pragma once

#include "cluster/interest/interest.h"
#include "cluster/interest/own.h"

/* What is under way to a peer of our own interest, on this connection. */
enum feed {
    FEED_NONE = 0, /* it has not said yet what it has */
    FEED_TAIL,     /* changes */
    FEED_SNAPSHOT, /* parts, and changes between them */
};

struct peer {
    bool live, up;
    bool keep;        /* nothing of what is here is to go */
    bool doomed;      /* neither, and what is here is to go dead_ms later */
    uint64_t gone_ms; /* since when */

    /* Ours, there. */
    enum feed feed;
    uint64_t acked;    /* version that it is known to have */
    uint64_t sent;     /* version, of a feed */
    uint32_t snapshot; /* FEED_SNAPSHOT, and behind it: its number */
    uint32_t parts_sent, parts_acked;
    uint64_t place; /* own_walk() */
    uint64_t digest_ms;

    /* Its, here. */
    struct view view;
    uint64_t settled; /* version, of this epoch of the view */
    bool ack_due;
    enum node_interest_want want;  /* of the ACK that is due */
    enum node_interest_want asked; /* for that, on this connection, and it has not come */
    uint64_t retry_ms;             /* when to ask again; UINT64_MAX: no need */
};

struct wait {
    uint64_t version, token, due_ms;
};

struct interest {
    struct interest_conf conf;
    struct own own;
    struct peer peers[INTEREST_PEERS_MAX];
    uint32_t snapshots; /* numbers given */

    struct wait *waits; /* [waits_max], a ring, by due_ms and version */
    size_t waits_first, waits_count;

    struct interest_figures figures;
    uint8_t body[INTEREST_BODY_MAX]; /* of the last interest_next() */
};

/* Can what is here be gone on from? */
static inline bool view_is_good(const struct view *v)
{
    return v->state == VIEW_WHOLE || (v->state == VIEW_SWEEPING && !v->dropping);
}

/* What the peer asked for in an ACK is begun. */
void feed_begin(struct interest *i, struct peer *p, const struct node_interest_ack *ack);
