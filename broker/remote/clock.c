/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/remote/clock.h"

#include <stdlib.h>
#include <string.h>

#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/remote/remote_parts.h"
#include "broker/replicated/replicated.h"
#include "proto/node_control.h"

#define CLOCK_MS 5000u /* from one time that it is said to the next */

/* The middle of all may be off by as much as what is under way takes; so it is wrong when it is far
 * beyond CLOCK_OFF_MS, and well when it is within. */
#define WELL_MS (CLOCK_OFF_MS / 2)

enum link_taken clock_received(struct shard *s, unsigned peer, struct bytes body)
{
    uint64_t theirs_ms;
    if (s->id != 0 || node_clock_decode(&theirs_ms, body) != NODE_OK) {
        return LINK_BAD;
    }
    clocks_heard(&s->remote->clocks, peer, theirs_ms, replicated_wall_ms());
    return LINK_TAKEN;
}

void clock_down(struct shard *s, unsigned peer)
{
    clocks_forget(&s->remote->clocks, peer);
}

static void say(struct shard *s, unsigned peer)
{
    uint8_t body[NODE_CONTROL_BYTES_MAX];
    const size_t len = node_clock_encode(body, replicated_wall_ms());
    uint8_t *to;
    uint64_t seq;
    if (peers_put(s, peer, NODE_FRAME_CLOCK, false, len, &to, &seq) == LINK_OK) {
        memcpy(to, body, len); /* else there is no room: the next time */
    }
}

static void look(struct shard *s)
{
    struct remote *const r = s->remote;
    int64_t ahead_ms = 0;
    if (!clocks_ahead(&r->clocks, r->live, &ahead_ms)) {
        ahead_ms = 0;
    }
    const bool was_off = r->clock_is_off;
    r->clock_is_off = llabs(ahead_ms) > (was_off ? WELL_MS : CLOCK_OFF_MS);
    atomic_store_explicit(&s->node->clock_ahead_ms, r->clock_is_off ? ahead_ms : 0,
                          memory_order_relaxed);
    if (r->clock_is_off && !was_off) {
        log_event(LOG_ERROR, "clock_off", LOG_NUMBER("ahead_ms", ahead_ms));
    } else if (was_off && !r->clock_is_off) {
        log_event(LOG_INFO, "clock_well", LOG_NUMBER("ahead_ms", ahead_ms));
    }
}

void clock_flush(struct shard *s)
{
    struct remote *const r = s->remote;
    if (s->now_ms < r->clock_ms) {
        return;
    }
    r->clock_ms = s->now_ms + CLOCK_MS;
    for (uint32_t peers = r->up; peers != 0; peers &= peers - 1) {
        say(s, (unsigned)__builtin_ctz(peers));
    }
    look(s);
}

uint64_t clock_next_ms(const struct shard *s)
{
    return s->remote->up != 0 ? s->remote->clock_ms : UINT64_MAX;
}
