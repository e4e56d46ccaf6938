/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/hlc.h"

uint64_t hlc_next(struct hlc *c, uint64_t wall_ms)
{
    const uint64_t wall = (wall_ms < HLC_MS_MAX ? wall_ms : HLC_MS_MAX) << HLC_COUNTER_BITS;
    c->last = wall > c->last ? wall : c->last + 1;
    return c->last;
}

bool hlc_is_fair(const struct hlc *c, uint64_t stamp, uint64_t wall_ms)
{
    return hlc_ms(stamp) <= wall_ms || hlc_ms(stamp) - wall_ms <= c->ahead_max_ms;
}

void hlc_merge(struct hlc *c, uint64_t stamp)
{
    c->last = stamp > c->last ? stamp : c->last;
}
