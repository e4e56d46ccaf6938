/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suspicion: for how long a suspect has time to refute (Lifeguard, "LHA Suspicion"), and how often
 * a rumour is told. Pure; integers only, so that each machine comes to the same.
 */
#pragma once

#include <stdint.h>

struct suspicion_time {
    uint32_t least_ms, most_ms;
    uint32_t
        confirmations; /* of as many others as bring it down to least_ms; 0: it is that at once */
};

/* members: that live, this node among them. */
struct suspicion_time suspicion_time(uint32_t members, uint32_t mult, uint32_t max_mult,
                                     uint32_t probe_interval_ms);

/* Of a suspicion that so many others have confirmed. */
uint32_t suspicion_timeout_ms(const struct suspicion_time *time, uint32_t confirmed);

/* mult * ceil(log10(members + 1)) */
uint32_t suspicion_retransmits(uint32_t members, uint32_t mult);

/* log2 in 1/65536; value >= 1. */
uint32_t suspicion_log2(uint32_t value);
