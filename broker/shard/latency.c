/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/latency.h"

#include <assert.h>

#include "broker/histogram.h"
#include "broker/message.h"
#include "broker/shard/shard.h"

#define SLEEPS_MASK ((UINT64_C(1) << LATENCY_SLEEPS_BITS) - 1)

_Static_assert((int)HISTOGRAM_delivery_qos1 == (int)HISTOGRAM_delivery_qos0 + 1, "by QoS");
_Static_assert((int)HISTOGRAM_delivery_qos2 == (int)HISTOGRAM_delivery_qos0 + 2, "by QoS");

void latency_stamp(const struct shard *s, struct message *m)
{
    assert(s->began_us != 0);
    const uint32_t stamp = (uint32_t)s->began_us;
    m->came_us = stamp == 0 ? 1 : stamp;
    m->came_turns = (uint16_t)(s->began_us >> 32);
}

uint64_t latency_age_us(const struct message *m, uint64_t now_us)
{
    const uint64_t came_us = (uint64_t)m->came_turns << 32 | m->came_us;
    return m->came_us == 0 ? UINT64_MAX : (now_us - came_us) & ((UINT64_C(1) << 48) - 1);
}

static void end_run(struct shard *s, unsigned qos, uint64_t now_us)
{
    struct latency_run *const run = &s->latency.runs[qos];
    const uint32_t took_us = (uint32_t)now_us - run->came_us;
    histogram_add(&s->histograms, HISTOGRAM_delivery_qos0 + qos, took_us, run->count);
    run->count = 0;
}

void latency_delivered(struct shard *s, uint32_t came_us, uint8_t qos)
{
    assert(qos < 3);
    struct latency_run *const run = &s->latency.runs[qos];
    if (came_us == 0) {
        return;
    }
    if (run->count > 0 && run->came_us != came_us) {
        end_run(s, qos, s->node->clock_us());
    }
    run->came_us = came_us;
    run->count++;
}

void latency_sent(struct shard *s, uint64_t now_us)
{
    for (unsigned qos = 0; qos < 3; qos++) {
        if (s->latency.runs[qos].count > 0) {
            end_run(s, qos, now_us);
        }
    }
}

/* ---- wake-ups */

void latency_asleep(struct shard *s)
{
    const uint64_t sleeps = atomic_load_explicit(&s->latency.sleeps, memory_order_relaxed);
    atomic_store_explicit(&s->latency.sleeps, sleeps + 1, memory_order_relaxed);
}

void latency_awake(struct shard *s, uint64_t now_us)
{
    const uint64_t asked = atomic_load_explicit(&s->latency.asked, memory_order_relaxed);
    const uint64_t asked_us = asked >> LATENCY_SLEEPS_BITS;
    if (asked == 0) {
        return;
    }
    atomic_store_explicit(&s->latency.asked, 0, memory_order_relaxed);
    if ((asked & SLEEPS_MASK) == latency_sleep_of(s)) {
        histogram_add(&s->histograms, HISTOGRAM_wake_up, now_us > asked_us ? now_us - asked_us : 0,
                      1);
    }
}

uint64_t latency_sleep_of(const struct shard *to)
{
    return atomic_load_explicit(&to->latency.sleeps, memory_order_relaxed) & SLEEPS_MASK;
}

void latency_wake_asked(struct shard *to, uint64_t sleep, uint64_t now_us)
{
    atomic_store_explicit(&to->latency.asked, now_us << LATENCY_SLEEPS_BITS | sleep,
                          memory_order_relaxed);
}
