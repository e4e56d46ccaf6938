/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/drain.h"

#include <assert.h>

#include "broker/config/config.h"

void drain_begin(struct drain *d, const struct config_drain *config, uint64_t now_ms)
{
    assert(d->phase == DRAIN_NONE);
    *d = (struct drain){.phase = DRAIN_WAITING,
                        .wait_ms = config->wait_s * 1000ull,
                        .longest_ms = config->longest_s * 1000ull,
                        .began_ms = now_ms,
                        .per_second = config->clients_per_second};
}

static void begin_leaving(struct drain *d, uint64_t clients, uint64_t now_ms)
{
    const uint64_t needed = (clients * 1000 + d->longest_ms - 1) / d->longest_ms;
    d->phase = DRAIN_LEAVING;
    d->began_ms = now_ms;
    d->per_second = needed > d->per_second ? needed : d->per_second;
}

/* At the beginning what a turn makes, and one at least, then by the clock. */
static uint64_t allowed(const struct drain *d, uint64_t now_ms)
{
    const uint64_t first = d->per_second * DRAIN_TURN_MS / 1000;
    return (first > 0 ? first : 1) + d->per_second * (now_ms - d->began_ms) / 1000;
}

uint64_t drain_turn(struct drain *d, uint64_t clients, uint64_t now_ms)
{
    assert(now_ms >= d->began_ms);
    if (d->phase == DRAIN_WAITING && now_ms - d->began_ms >= d->wait_ms) {
        begin_leaving(d, clients, now_ms);
    }
    if (d->phase == DRAIN_LEAVING && (clients == 0 || now_ms - d->began_ms >= d->longest_ms)) {
        d->phase = DRAIN_OVER;
    }
    if (d->phase != DRAIN_LEAVING) {
        return 0;
    }
    const uint64_t more = allowed(d, now_ms) - d->told;
    d->told += more;
    return more;
}

const char *drain_phase_text(enum drain_phase phase)
{
    switch (phase) {
    case DRAIN_WAITING:
        return "draining: clients are to go elsewhere, and soon nobody is let in";
    case DRAIN_LEAVING:
        return "draining: nobody is let in, and clients are sent away";
    default:
        assert(phase == DRAIN_OVER);
        return "the broker is ending";
    }
}
