/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate: so much a second, in one number: the time up to which what has been taken is paid for. What
 * is taken puts it off by its cost; nobody may owe more than a second.
 *
 *   paid ──────────── now ═══════ owed ═══════▶ at most now + 1 s
 *
 * So a second's worth may be taken at once, and silence is no credit beyond that. What costs more
 * than a second may be taken by who owes nothing, and has to be waited for afterwards.
 *
 * Owner: whoever has the number; 0 is a fresh one. Time: any clock in ms that starts above 0.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RATE_SECOND_NS 1000000000u
#define RATE_MS_NS     1000000u

/* What `units` cost, up to 2^32 of them; per_second > 0. */
static inline uint64_t rate_cost_ns(uint64_t units, uint64_t per_second)
{
    return units * RATE_SECOND_NS / per_second;
}

static inline uint64_t rate_owed_ns(uint64_t paid_until_ns, uint64_t now_ms)
{
    const uint64_t now_ns = now_ms * RATE_MS_NS;
    return paid_until_ns > now_ns ? paid_until_ns - now_ns : 0;
}

/* How much who wants to take that may owe. */
static inline uint64_t rate_room_ns(uint64_t cost_ns)
{
    return cost_ns < RATE_SECOND_NS ? RATE_SECOND_NS - cost_ns : 0;
}

/* Is it too much to be taken now? */
static inline bool rate_is_over(uint64_t paid_until_ns, uint64_t now_ms, uint64_t cost_ns)
{
    return rate_owed_ns(paid_until_ns, now_ms) > rate_room_ns(cost_ns);
}

/* How long one has to wait until it is not, in whole ms. */
static inline uint64_t rate_wait_ms(uint64_t paid_until_ns, uint64_t now_ms, uint64_t cost_ns)
{
    const uint64_t owed_ns = rate_owed_ns(paid_until_ns, now_ms);
    const uint64_t room_ns = rate_room_ns(cost_ns);
    return owed_ns > room_ns ? (owed_ns - room_ns + RATE_MS_NS - 1) / RATE_MS_NS : 0;
}

/* What the number is when it has been taken. */
static inline uint64_t rate_taken(uint64_t paid_until_ns, uint64_t now_ms, uint64_t cost_ns)
{
    const uint64_t now_ns = now_ms * RATE_MS_NS;
    return (paid_until_ns > now_ns ? paid_until_ns : now_ns) + cost_ns;
}

/* ---- one number for several threads, without a lock: relaxed, as nothing else hangs on it. Their
 * clocks may be some ms apart. */

/* Takes it in any case; false: for a further one there is no more. */
static inline bool rate_take_anyway(_Atomic uint64_t *paid_until_ns, uint64_t now_ms,
                                    uint64_t cost_ns)
{
    uint64_t before = atomic_load_explicit(paid_until_ns, memory_order_relaxed);
    uint64_t after;
    do {
        after = rate_taken(before, now_ms, cost_ns);
    } while (!atomic_compare_exchange_weak_explicit(paid_until_ns, &before, after,
                                                    memory_order_relaxed, memory_order_relaxed));
    return !rate_is_over(after, now_ms, cost_ns);
}

/* Takes it if there is; false: it is over the rate, and nothing was taken. */
static inline bool rate_take(_Atomic uint64_t *paid_until_ns, uint64_t now_ms, uint64_t cost_ns)
{
    uint64_t before = atomic_load_explicit(paid_until_ns, memory_order_relaxed);
    do {
        if (rate_is_over(before, now_ms, cost_ns)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(paid_until_ns, &before,
                                                    rate_taken(before, now_ms, cost_ns),
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}
