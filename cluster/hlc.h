/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hlc: a hybrid logical clock (Kulkarni et al., 2014): times that are close to the wall clock's,
 * and never go back, nor behind anything that has been heard of. So of two writes one of which
 * knew of the other, that one has the higher stamp, whatever the clocks of their nodes say.
 *
 *   63                      16 15        0
 *   milliseconds since 1970   | counter        a count over 65,535 goes on in the milliseconds
 *
 * A stamp that is further ahead of this node's wall clock than ahead_max_ms is not listened to:
 * otherwise one clock that is a year ahead would set all of them, and what is written by it could
 * not be written over for a year. Who refuses one may take it later: when the clock has come near.
 *
 * Pure; no memory. Owner: whoever has the struct.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

#define HLC_COUNTER_BITS 16u
#define HLC_MS_MAX       (UINT64_MAX >> HLC_COUNTER_BITS)

struct hlc {
    uint64_t last;         /* the highest stamp that was given or heard */
    uint32_t ahead_max_ms; /* that is listened to */
};

static inline uint64_t hlc_ms(uint64_t stamp)
{
    return stamp >> HLC_COUNTER_BITS;
}

/* A new stamp, higher than all before. */
NODISCARD uint64_t hlc_next(struct hlc *c, uint64_t wall_ms);

/* Is it one that is listened to? */
bool hlc_is_fair(const struct hlc *c, uint64_t stamp, uint64_t wall_ms);

/* What this node gives from now on is higher. */
void hlc_merge(struct hlc *c, uint64_t stamp);
