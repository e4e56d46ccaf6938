/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rebalance: whether this node has more clients than its share, and how many of them are to go, so
 * that they come back elsewhere. After a rolling restart the node that was first has most of them.
 *
 *   WATCHING ── above 1.15 times the mean for 10 s ──▶ SHEDDING ── at the mean, or so many told ──┐
 *      ▲                                               some in each second                        │
 *      └──────────────────────────────── a pause, longer when it was in vain ◀────────────────────┘
 *
 * What others say of their clients is some seconds old. So the goal of a round is set when it
 * begins, no round tells more clients to go than are too many then, and the next one waits until
 * all is told. Nodes that do so at once come to the mean from above, each by itself: none of them
 * goes below it.
 *
 * A function of (state, what is seen, now). Owner: the main thread. Memory: none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define REBALANCE_JUDGE_MS     10000u /* how long it is above before a round begins */
#define REBALANCE_PAUSE_MS     30000u /* after a round; doubled when who went came straight back, */
#define REBALANCE_PAUSE_MAX_MS 3600000u /* up to that */
#define REBALANCE_LEAST        10u      /* fewer clients too many are not worth it */

struct rebalance_conf {
    uint64_t after_ms;   /* nobody has come to live, or ceased to, for so long */
    uint64_t per_second; /* at most; 0: it is off */
};

struct rebalance_sight {
    uint64_t clients; /* this node's */
    bool leaving;     /* it drains, or ends */
    unsigned others;  /* nodes that live, and take clients */
    unsigned silent;  /* of them, those of which it is not known how many they have */
    uint64_t others_clients;
    uint64_t admits;    /* that they take in a second */
    uint64_t stable_ms; /* for how long the same nodes have lived */
};

struct rebalance {
    bool shedding;
    bool above; /* WATCHING: since above_ms */
    uint64_t above_ms;
    uint64_t goal;       /* SHEDDING: clients that it stops at */
    uint64_t left;       /* SHEDDING: how many more it may tell */
    uint64_t began_with; /* clients at the beginning of the last round; 0: there was none */
    uint64_t told;       /* in it */
    uint64_t pause_ms, paused_until_ms;
};

/* Once a second. How many clients may be told to go until the next call. */
uint64_t rebalance_turn(struct rebalance *r, const struct rebalance_conf *conf,
                        const struct rebalance_sight *sight, uint64_t now_ms);
