/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain: how a node sends its clients away without all of them coming back elsewhere at once.
 *
 *   NONE ── begin ──▶ WAITING ── wait_s ──▶ LEAVING ── all have gone, or longest_s ──▶ OVER
 *                     /readyz says no,       nobody comes in;
 *                     clients come in        some clients are told to go in each second
 *
 * What is over has to be ended by who began it: those who are left are told then, all at once.
 * A function of (state, clients, now): who has the clock and the shards is main.
 *
 * Owner: the main thread. Memory: none.
 */
#pragma once

#include <stdint.h>

struct config_drain;

#define DRAIN_TURN_MS 50u /* how often drain_turn() is to be called */

enum drain_phase { DRAIN_NONE, DRAIN_WAITING, DRAIN_LEAVING, DRAIN_OVER };

struct drain {
    enum drain_phase phase;
    uint64_t wait_ms, longest_ms;
    uint64_t began_ms;   /* the phase */
    uint64_t per_second; /* clients to be told; LEAVING: raised so that longest_ms is enough */
    uint64_t told;       /* in LEAVING, or allowed to be */
};

/* Nothing is set in motion before the first drain_turn(). */
void drain_begin(struct drain *d, const struct config_drain *config, uint64_t now_ms);

/* `clients`: how many there are. Returns how many more of them may be told to go now; of LEAVING
 * only. */
uint64_t drain_turn(struct drain *d, uint64_t clients, uint64_t now_ms);

/* For people: why no clients are to be sent here. Not of DRAIN_NONE. */
const char *drain_phase_text(enum drain_phase phase);
