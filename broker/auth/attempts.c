/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/attempts.h"

#include <xxhash.h>

#define MINUTE_MS 60000.0

static double wrong_by_now(const struct attempts_place *p, uint32_t per_minute, uint64_t now_ms)
{
    const double forgiven = (double)(now_ms - p->at_ms) * per_minute / MINUTE_MS;
    return p->wrong > forgiven ? p->wrong - forgiven : 0;
}

bool attempts_allowed(const struct attempts *a, uint64_t hash, uint32_t per_minute, uint64_t now_ms)
{
    const struct attempts_place *const p = &a->places[hash % ATTEMPT_PLACES];
    return per_minute == 0 || wrong_by_now(p, per_minute, now_ms) + 1 <= per_minute;
}

void attempts_failed(struct attempts *a, uint64_t hash, uint32_t per_minute, uint64_t now_ms)
{
    struct attempts_place *const p = &a->places[hash % ATTEMPT_PLACES];
    *p = (struct attempts_place){.at_ms = now_ms, .wrong = wrong_by_now(p, per_minute, now_ms) + 1};
}

uint64_t attempts_hash(uint64_t seed, struct bytes user_name)
{
    return XXH3_64bits_withSeed(user_name.at, user_name.len, seed);
}

uint64_t attempts_hash_address(uint64_t seed, const struct in6_addr *address)
{
    const bool v4 = IN6_IS_ADDR_V4MAPPED(address);
    return IN6_IS_ADDR_UNSPECIFIED(address)
               ? 0
               : XXH3_64bits_withSeed(address, v4 ? sizeof *address : sizeof *address / 2, ~seed);
}
