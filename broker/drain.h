/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain: how a node sends its clients away without all of them coming back elsewhere at once.
 *
 *   NONE ── begin ──▶ WAITING ── wait_s ──▶ LEAVING ── all have gone, or longest_s ──▶ FLUSHING
 *     ▲               /readyz says no,       nobody comes in;                             │
 *     │               clients come in        some clients are told to go in each second   │
 *     └─ stop ─ from any of the three                      OVER ◀── other nodes have all ─┘
 *
 * What is over has to be ended by who began it: those who are left are told then, all at once.
 * A function of (state, what is seen, now): who has the clock and the shards is main.
 *
 * Owner: the main thread. Memory: none.
 */
#pragma once

#include <stdint.h>

struct config_drain;

#define DRAIN_TURN_MS  50u /* how often drain_turn() is to be called */
#define DRAIN_ANY      UINT64_MAX
#define DRAIN_FLUSH_MS 2000u /* FLUSHING at most */

enum drain_phase { DRAIN_NONE, DRAIN_WAITING, DRAIN_LEAVING, DRAIN_FLUSHING, DRAIN_OVER };

struct drain {
    enum drain_phase phase;
    uint64_t wait_ms, longest_ms;
    uint64_t began_ms;   /* the phase */
    uint64_t per_second; /* clients to be told; LEAVING: raised so that longest_ms is enough */
    uint64_t in_force;   /* the same, but no more than others take; LEAVING */
    uint64_t earned;     /* in LEAVING: thousandths of clients that may have been told, */
    uint64_t earned_ms;  /* up to then */
    uint64_t told;       /* in LEAVING, or allowed to be */
};

/* What the node is like at the moment. */
struct drain_sight {
    uint64_t clients;
    uint64_t
        admits; /* that other nodes take in a second; DRAIN_ANY: any number, or there are none */
    uint64_t unacked_bytes; /* for other nodes, that they have not acknowledged */
};

/* Nothing is set in motion before the first drain_turn(). per_second 0: as configured. */
void drain_begin(struct drain *d, const struct config_drain *config, uint64_t per_second,
                 uint64_t now_ms);

/* Returns how many more clients may be told to go now; of LEAVING only. */
uint64_t drain_turn(struct drain *d, const struct drain_sight *sight, uint64_t now_ms);

/* From any phase but OVER. Who has gone has gone. */
void drain_stop(struct drain *d);

/* For people: why no clients are to be sent here. Not of DRAIN_NONE. */
const char *drain_phase_text(enum drain_phase phase);
