/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flapping: clients that connect over and over, and are banned for a while.
 *
 * Each has a place by its hash, of a client id and the address that it comes from: so nobody can
 * have another's client id banned. It may connect so many times a minute, as many of them at once.
 *
 * Owner: a shard; a client id belongs to one. Memory: itself, 384 KiB. At the bound: of the four
 * places that a hash may have, the one is forgotten that would be soonest anyway. No clock:
 * `now_ms` is passed in, and never goes back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

#define FLAPPING_SETS 4096u
#define FLAPPING_WAYS 4u

struct flapping {
    struct flapping_place {
        uint64_t hash;
        uint64_t paid_until; /* as in rate.h, of minutes for seconds */
        uint64_t banned_until_ms;
    } places[FLAPPING_SETS][FLAPPING_WAYS];
};

bool flapping_is_banned(const struct flapping *f, uint64_t hash, uint64_t now_ms);

enum flapping_verdict {
    FLAPPING_WELCOME, /* it counts as one time more */
    FLAPPING_BEGINS,  /* that is once too often: from now on it is banned */
    FLAPPING_BANNED,  /* it was before */
};

/* It wants to connect. per_minute > 0. */
NODISCARD enum flapping_verdict flapping_connect(struct flapping *f, uint64_t hash,
                                                 uint32_t per_minute, uint32_t ban_s,
                                                 uint64_t now_ms);
