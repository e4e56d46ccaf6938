/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/attempts.h"

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
