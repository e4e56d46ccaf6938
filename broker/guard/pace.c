/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/pace.h"

#include "broker/config/config.h"
#include "broker/guard/rate.h"
#include "broker/shard/shard.h"
#include "broker/shard/wheel.h"

/* 0: there is no limit, nor a wait. */
static uint64_t wait_ms(const struct shard *s)
{
    const uint32_t per_second = s->config->limits.connections_per_second;
    const uint64_t taken = atomic_load_explicit(&s->node->arrivals, memory_order_relaxed);
    return per_second == 0 ? 0 : rate_wait_ms(taken, s->now_ms, rate_cost_ns(1, per_second));
}

static void go_on(struct shard *s)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        shard_pause(s, i, PAUSED_RATE, false);
    }
}

static void on_time(struct timer *timer, uint64_t now_ms)
{
    struct shard *const s = table_object(timer, struct shard, accept_again);
    (void)now_ms;
    shard_enter(s);
    const uint64_t ms = wait_ms(s);
    if (ms > 0) { /* others have been there before */
        wheel_set(s->wheel, timer, s->now_ms + ms);
    } else {
        go_on(s);
    }
}

void pace_init(struct shard *s)
{
    timer_init(&s->accept_again, on_time);
    s->paced = s->config->limits.connections_per_second > 0;
}

void pace_accepted(struct shard *s, unsigned listener)
{
    const uint32_t per_second = s->config->limits.connections_per_second;
    if (!s->paced) {
        return;
    }
    const bool more = per_second == 0 ||
                      rate_take_anyway(&s->node->arrivals, s->now_ms, rate_cost_ns(1, per_second));
    shard_accepted(s, listener, !more);
    if (!more) {
        shard_count(s, METRIC_connections_paced);
        if (!timer_is_set(&s->accept_again)) {
            wheel_set(s->wheel, &s->accept_again, s->now_ms + wait_ms(s));
        }
    }
}

void pace_turn(struct shard *s)
{
    const bool paced = s->config->limits.connections_per_second > 0;
    if (paced != s->paced) {
        shard_set_paced(s, paced);
        wheel_cancel(s->wheel, &s->accept_again);
        go_on(s);
    }
}
