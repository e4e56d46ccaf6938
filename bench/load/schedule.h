/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule: when an open loop means to send. Message k is due at start + k / rate, whatever
 * happened to the ones before it; a sender that comes late finds several due, each with the time
 * that it was meant for. Latency from that time cannot be flattered by a stalled broker (no
 * coordinated omission).
 *
 * Owner: one thread. Memory: none. Time is an argument.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define SCHEDULE_NS_PER_S 1e9

struct schedule {
    uint64_t start_ns;
    double interval_ns; /* > 0 */
    uint64_t next;      /* the first message that was not taken */
};

/* rate: messages a second, > 0. */
static inline struct schedule schedule_start(uint64_t start_ns, double rate)
{
    assert(rate > 0);
    return (struct schedule){.start_ns = start_ns, .interval_ns = SCHEDULE_NS_PER_S / rate};
}

/* When message `next` is due; doubles are exact to the nanosecond for 104 days. */
static inline uint64_t schedule_next_ns(const struct schedule *s)
{
    return s->start_ns + (uint64_t)((double)s->next * s->interval_ns);
}

/* Takes the next message if it is due, and tells the time that it was meant for. */
static inline int schedule_take(struct schedule *s, uint64_t now_ns, uint64_t *intended_ns)
{
    const uint64_t due_ns = schedule_next_ns(s);
    if (due_ns > now_ns) {
        return 0;
    }
    *intended_ns = due_ns;
    s->next++;
    return 1;
}
