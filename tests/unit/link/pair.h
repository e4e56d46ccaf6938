/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pair: two links and the connections between them, in memory, with a clock of their own. Side 0
 * dials. A connection takes bytes up to a bound, as a socket does, and gives them in pieces; it can
 * be cut at any byte, at one end or both, and stand still.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/link/link.h"
#include "tests/unit/route/random.h"

#define PAIR_CONNECTIONS 64u
#define PAIR_SOCKET      65536u /* bytes under way, in each direction */

struct pair_queue {
    uint8_t bytes[PAIR_SOCKET];
    size_t len;
    bool stalled; /* nothing arrives */
    bool ended;   /* no more is put in; behind the last byte the reader hears of it */
    bool closed;  /* the reader has gone */
};

struct pair_connection {
    uint64_t id; /* 0: free */
    struct pair_queue to[2];
    bool attached[2]; /* that side's link has it */
    bool greeted;     /* side 1 has read the HELLO */
};

/* What a side's events tell; all of it may be looked at and set back by the test. */
struct pair_side {
    struct link *link;
    struct identity self;
    struct link_conf conf;
    struct link_events hooks; /* deliver, gap, restarted, lost are passed on, if not NULL */
    unsigned ups, downs, gaps, restarts, slows, goes, losses;
    uint64_t lost_first, lost_last;
    enum link_loss lost_why;
    enum node_close down_why;
};

struct pair {
    struct random random;
    uint64_t now_ms;
    struct pair_side sides[2];
    struct pair_connection connections[PAIR_CONNECTIONS];
    uint64_t connections_made, streams_made;
    bool unreachable;        /* dials fail */
    bool pieces;             /* reads and writes are of any size; otherwise whole */
    enum node_close refused; /* the last reason for which side 1 took no connection */
};

/* Both wanted. `conf` (NULL: the defaults) is both sides', but for who they are. */
void pair_init(struct pair *p, const struct link_conf *conf);
void pair_fini(struct pair *p);

/* The side ends, and begins anew, with a higher generation or the same. */
void pair_restart(struct pair *p, unsigned side, uint64_t generation);

/* Reads, writes, dials, closes, until there is nothing to do at this moment (at most some
 * thousands of times). */
void pair_settle(struct pair *p);

/* The time passes, in steps of which none passes over a link_next_ms(). */
void pair_run(struct pair *p, uint64_t ms);

/* The one that both have; NULL: none. */
struct pair_connection *pair_connection(struct pair *p);

/* The bytes under way to `side` end after `len` of them, and then the connection does. */
void pair_cut(struct pair *p, struct pair_connection *c, unsigned side, size_t len);

/* A numbered frame, or one without, whose body is that number and as many zeros more. */
enum link_put pair_put(struct pair *p, unsigned side, bool numbered, uint64_t value, size_t more,
                       uint64_t *seq);
uint64_t pair_value(const struct node_frame *frame);
