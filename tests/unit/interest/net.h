/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: some nodes' interest, and streams of frames between each two of them, in memory, with a
 * clock of their own. Beside each node stands what its index would have been told: it takes what is
 * set and removed late, if the test wants so, and then says that it has settled.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/interest/interest.h"
#include "tests/unit/route/random.h"

#define NET_NODES  4u
#define NET_TEXTS  64u
#define NET_FRAMES 4096u /* under way from one to another */
#define NET_STEPS  65536u

struct net_frame {
    uint8_t type;
    size_t len;
    uint8_t *body;
};

/* From one to another. A connection has two, and is up at each end on its own. */
struct net_stream {
    struct net_frame frames[NET_FRAMES];
    size_t first, count;
};

/* What an index has still to do. */
struct net_step {
    enum net_what { NET_SET, NET_REMOVED, NET_SETTLE } what;
    unsigned peer, text; /* text: of SET and REMOVED */
    uint32_t count;      /* of SET */
    uint32_t epoch;      /* of SETTLE */
    uint64_t version;
};

struct net_node {
    struct interest *interest;
    uint64_t generation;
    bool up[NET_NODES];      /* its end of the connection */
    uint32_t own[NET_TEXTS]; /* how often it has taken each */
    /* Its index: the count of each text at each peer; 0: it is not there. */
    uint32_t index[NET_NODES][NET_TEXTS];
    struct net_step *steps; /* [NET_STEPS], a ring */
    size_t steps_first, steps_count;
    bool no_memory; /* set() is refused */
    /* The last reached(), and how many. */
    uint64_t reached_token;
    uint32_t reached_without;
    unsigned reached_count;
};

struct net {
    struct random random;
    uint64_t now_ms;
    struct interest_conf conf;
    unsigned count; /* of nodes */
    struct net_node nodes[NET_NODES];
    struct net_stream streams[NET_NODES][NET_NODES]; /* [from][to] */
    bool late;                                       /* indices wait for net_index() */
    bool mute[NET_NODES];                            /* what it says does not arrive for now */
    uint64_t bytes, frames;                          /* that were sent */
    size_t room;                                     /* of interest_next() */
    void (*on_reached)(struct net *n, unsigned node, uint64_t token, uint32_t without);
};

/* All live and up. conf may be NULL: the defaults. */
struct net *net_create(unsigned count, const struct interest_conf *conf);
void net_destroy(struct net *n);

/* The text of that number: a filter, or, of each fourth, a group. */
struct bytes net_text(unsigned text, enum node_interest_kind *kind);

uint64_t net_take(struct net *n, unsigned node, unsigned text); /* the version */
void net_put(struct net *n, unsigned node, unsigned text);

/* Both ends; or one, while the other does not know yet. Frames under way are lost. */
void net_up(struct net *n, unsigned a, unsigned b);
void net_down(struct net *n, unsigned a, unsigned b);
void net_live(struct net *n, unsigned at, unsigned peer, bool live);

/* Ends, and begins anew with a higher generation and without anything; all are live to it, none is
 * up. */
void net_restart(struct net *n, unsigned which);

/* All do what there is to do at this moment: turns, frames, indices if they are not late. */
void net_settle(struct net *n);
void net_run(struct net *n, uint64_t ms);

/* One frame from one to another; false: none is under way. */
bool net_deliver(struct net *n, unsigned from, unsigned to);
void net_pump(struct net *n, unsigned from, unsigned to); /* what it has to say goes under way */
void net_index(struct net *n, unsigned which, size_t steps);

/* Does that node's index have of the peer just what the peer has taken, now that all is told? */
bool net_is_equal(const struct net *n, unsigned node, unsigned peer);
