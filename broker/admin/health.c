/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "broker/drain.h"
#include "broker/io/io.h"
#include "broker/metrics.h"
#include "broker/node.h"
#include "broker/replicated/replicated.h"
#include "broker/shard/shard.h"

static uint64_t turns(const struct shard *s)
{
    return metrics_read(&s->metrics, METRIC_turns);
}

/* Until the shard has turned since it was woken; false: the time is over. */
static bool turns_until(const struct node *node, const struct shard *s, uint64_t before,
                        uint64_t end_ms)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    while (turns(s) == before) {
        if (node->clock_ms() >= end_ms) {
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

bool health_lives(const struct node *node, uint64_t within_ms, char text[HEALTH_TEXT_BYTES])
{
    const uint64_t end_ms = node->clock_ms() + within_ms;
    if (!atomic_load_explicit(&node->serving, memory_order_acquire)) {
        snprintf(text, HEALTH_TEXT_BYTES, "starting\n");
        return true;
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        const struct shard *const s = node->shards[i];
        const uint64_t before = turns(s);
        io_wake_external(s->io);
        if (!turns_until(node, s, before, end_ms)) {
            snprintf(text, HEALTH_TEXT_BYTES, "shard %u has not turned for %llu ms\n", i,
                     (unsigned long long)within_ms);
            return false;
        }
    }
    snprintf(text, HEALTH_TEXT_BYTES, "every shard turns\n");
    return true;
}

bool health_is_ready(const struct node *node, char text[HEALTH_TEXT_BYTES])
{
    /* Before that what is asked below is being made. */
    const bool serving = atomic_load_explicit(&node->serving, memory_order_acquire);
    const bool ending = atomic_load_explicit(&node->ending, memory_order_relaxed);
    const int drain = atomic_load_explicit(&node->drain, memory_order_relaxed);
    const bool joining = atomic_load_explicit(&node->joining, memory_order_relaxed);
    const bool fetching = serving && !replicated_has_heard(node);
    const bool hearing =
        fetching || atomic_load_explicit(&node->unheard, memory_order_relaxed) != 0;
    const int64_t ahead_ms = atomic_load_explicit(&node->clock_ahead_ms, memory_order_relaxed);
    char off[HEALTH_TEXT_BYTES / 2];
    snprintf(off, sizeof off, "the clock is %lld ms %s the other nodes'",
             (long long)llabs(ahead_ms), ahead_ms > 0 ? "ahead of" : "behind");
    snprintf(text, HEALTH_TEXT_BYTES, "%s\n",
             ending                ? "the broker is ending"
             : drain != DRAIN_NONE ? drain_phase_text((enum drain_phase)drain)
             : joining             ? "joining the cluster"
             : fetching            ? "fetching retained messages of other nodes"
             : hearing             ? "hearing what clients of other nodes subscribe to"
             : ahead_ms != 0       ? off
             : serving             ? "ready"
                                   : "what is on disk is being read");
    return serving && !joining && !hearing && ahead_ms == 0 && !ending && drain == DRAIN_NONE;
}
