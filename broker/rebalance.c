/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/rebalance.h"

#include <assert.h>

#define ABOVE_PERCENT 115u

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool may_judge(const struct rebalance_conf *conf, const struct rebalance_sight *sight)
{
    return conf->per_second > 0 && !sight->leaving && sight->others > 0 && sight->silent == 0 &&
           sight->stable_ms >= conf->after_ms;
}

/* Rounded up: the clients that do not divide stay where they are. */
static uint64_t mean(const struct rebalance_sight *sight)
{
    const uint64_t nodes = (uint64_t)sight->others + 1;
    return (sight->clients + sight->others_clients + nodes - 1) / nodes;
}

static bool is_above(const struct rebalance_sight *sight)
{
    const uint64_t share = mean(sight);
    return sight->clients >= share + REBALANCE_LEAST &&
           sight->clients * 100 > share * ABOVE_PERCENT;
}

static void end_round(struct rebalance *r, uint64_t now_ms)
{
    r->shedding = false;
    r->above = false;
    r->paused_until_ms = now_ms + r->pause_ms;
}

/* Less than a quarter of those who were told are elsewhere now: it helps nobody to go on. */
static bool was_in_vain(const struct rebalance *r, const struct rebalance_sight *sight)
{
    return r->told > 0 && sight->clients + r->told / 4 > r->began_with;
}

static void begin_round(struct rebalance *r, const struct rebalance_sight *sight)
{
    const uint64_t pause_ms = r->pause_ms * 2;
    r->pause_ms =
        was_in_vain(r, sight) ? least(pause_ms, REBALANCE_PAUSE_MAX_MS) : REBALANCE_PAUSE_MS;
    r->shedding = true;
    r->goal = mean(sight);
    r->left = sight->clients - r->goal;
    r->began_with = sight->clients;
    r->told = 0;
}

static void watch(struct rebalance *r, const struct rebalance_sight *sight, uint64_t now_ms)
{
    if (now_ms < r->paused_until_ms || !is_above(sight)) {
        r->above = false;
        return;
    }
    if (!r->above) {
        r->above = true;
        r->above_ms = now_ms;
    }
    if (now_ms - r->above_ms >= REBALANCE_JUDGE_MS) {
        begin_round(r, sight);
    }
}

uint64_t rebalance_turn(struct rebalance *r, const struct rebalance_conf *conf,
                        const struct rebalance_sight *sight, uint64_t now_ms)
{
    if (!may_judge(conf, sight)) {
        if (r->shedding) {
            end_round(r, now_ms);
        }
        r->above = false;
        return 0;
    }
    if (!r->shedding) {
        watch(r, sight, now_ms);
    }
    if (!r->shedding) {
        return 0;
    }
    if (r->left == 0 || sight->clients <= r->goal) {
        end_round(r, now_ms);
        return 0;
    }
    const uint64_t rate = least(conf->per_second, sight->admits);
    const uint64_t now = least(least(rate, r->left), sight->clients - r->goal);
    r->left -= now;
    r->told += now;
    return now;
}
