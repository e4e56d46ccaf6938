/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/drain.h"

#include <assert.h>

#include "broker/config/config.h"

void drain_begin(struct drain *d, const struct config_drain *config, uint64_t per_second,
                 uint64_t now_ms)
{
    assert(d->phase == DRAIN_NONE);
    *d = (struct drain){.phase = DRAIN_WAITING,
                        .wait_ms = config->wait_s * 1000ull,
                        .longest_ms = config->longest_s * 1000ull,
                        .began_ms = now_ms,
                        .per_second = per_second > 0 ? per_second : config->clients_per_second};
}

void drain_stop(struct drain *d)
{
    assert(d->phase != DRAIN_OVER);
    *d = (struct drain){.phase = DRAIN_NONE};
}

/* Others that are full take one at least, so that it is seen whether they still are. */
static void set_rate(struct drain *d, uint64_t admits)
{
    d->in_force = admits < d->per_second ? admits : d->per_second;
    d->in_force = d->in_force > 0 ? d->in_force : 1;
}

/* At the beginning what a turn makes, and one at least, then by the clock. */
static void begin_leaving(struct drain *d, const struct drain_sight *sight, uint64_t now_ms)
{
    const uint64_t needed = (sight->clients * 1000 + d->longest_ms - 1) / d->longest_ms;
    d->phase = DRAIN_LEAVING;
    d->began_ms = now_ms;
    d->per_second = needed > d->per_second ? needed : d->per_second;
    set_rate(d, sight->admits);
    d->earned =
        d->in_force * DRAIN_TURN_MS > 1000 ? d->in_force * DRAIN_TURN_MS / 1000 * 1000 : 1000;
    d->earned_ms = now_ms;
}

static uint64_t leave(struct drain *d, const struct drain_sight *sight, uint64_t now_ms)
{
    set_rate(d, sight->admits);
    d->earned += d->in_force * (now_ms - d->earned_ms);
    d->earned_ms = now_ms;
    const uint64_t more = d->earned / 1000 - d->told;
    d->told += more;
    return more;
}

uint64_t drain_turn(struct drain *d, const struct drain_sight *sight, uint64_t now_ms)
{
    assert(now_ms >= d->began_ms);
    if (d->phase == DRAIN_WAITING && now_ms - d->began_ms >= d->wait_ms) {
        begin_leaving(d, sight, now_ms);
    }
    if (d->phase == DRAIN_LEAVING &&
        (sight->clients == 0 || now_ms - d->began_ms >= d->longest_ms)) {
        d->phase = DRAIN_FLUSHING;
        d->began_ms = now_ms;
    }
    if (d->phase == DRAIN_FLUSHING &&
        (sight->unacked_bytes == 0 || now_ms - d->began_ms >= DRAIN_FLUSH_MS)) {
        d->phase = DRAIN_OVER;
    }
    return d->phase == DRAIN_LEAVING ? leave(d, sight, now_ms) : 0;
}

const char *drain_phase_text(enum drain_phase phase)
{
    switch (phase) {
    case DRAIN_WAITING:
        return "draining: clients are to go elsewhere, and soon nobody is let in";
    case DRAIN_LEAVING:
        return "draining: nobody is let in, and clients are sent away";
    case DRAIN_FLUSHING:
        return "draining: other nodes are given what is still for them";
    default:
        assert(phase == DRAIN_OVER);
        return "the broker is ending";
    }
}
