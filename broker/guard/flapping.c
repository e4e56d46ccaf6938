/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/flapping.h"

#include <assert.h>
#include <stddef.h>

#include "broker/guard/rate.h"

#define MINUTE 60u /* in seconds: a ms of rate.h's is that many here */

static const struct flapping_place *place_of(const struct flapping *f, uint64_t hash)
{
    const struct flapping_place *const set = f->places[hash % FLAPPING_SETS];
    for (unsigned i = 0; i < FLAPPING_WAYS; i++) {
        if (set[i].hash == hash) {
            return &set[i];
        }
    }
    return NULL;
}

bool flapping_is_banned(const struct flapping *f, uint64_t hash, uint64_t now_ms)
{
    const struct flapping_place *const p = place_of(f, hash);
    return p != NULL && now_ms < p->banned_until_ms;
}

/* Until when there is something to be remembered. */
static uint64_t counts_until_ms(const struct flapping_place *p)
{
    const uint64_t paid_ms = p->paid_until / RATE_MS_NS * MINUTE;
    return p->banned_until_ms > paid_ms ? p->banned_until_ms : paid_ms;
}

static struct flapping_place *place_for(struct flapping *f, uint64_t hash)
{
    struct flapping_place *const set = f->places[hash % FLAPPING_SETS];
    struct flapping_place *least = &set[0];
    for (unsigned i = 0; i < FLAPPING_WAYS; i++) {
        if (set[i].hash == hash) {
            return &set[i];
        }
        if (counts_until_ms(&set[i]) < counts_until_ms(least)) {
            least = &set[i];
        }
    }
    *least = (struct flapping_place){.hash = hash};
    return least;
}

enum flapping_verdict flapping_connect(struct flapping *f, uint64_t hash, uint32_t per_minute,
                                       uint32_t ban_s, uint64_t now_ms)
{
    assert(per_minute > 0);

    struct flapping_place *const p = place_for(f, hash);
    if (now_ms < p->banned_until_ms) {
        return FLAPPING_BANNED;
    }
    const uint64_t now = now_ms / MINUTE;
    const uint64_t cost = rate_cost_ns(1, per_minute);
    if (rate_is_over(p->paid_until, now, cost)) {
        p->banned_until_ms = now_ms + (uint64_t)ban_s * 1000;
        p->paid_until = 0; /* it begins anew then */
        return FLAPPING_BEGINS;
    }
    p->paid_until = rate_taken(p->paid_until, now, cost);
    return FLAPPING_WELCOME;
}
