/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel: timers, in a hierarchical timing wheel with a resolution of a millisecond.
 *
 * Owner: one shard. Memory: the wheel's own arrays; a timer is embedded in what it belongs to, and
 * costs nothing while it is not set. Setting, moving and cancelling are O(1).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct wheel;

struct timer {
    struct timer *next, *prev; /* the wheel's; NULL while not set */
    uint64_t due_ms;
    void (*fire)(struct timer *t, uint64_t now_ms); /* set once, by timer_init() */
};

void timer_init(struct timer *t, void (*fire)(struct timer *t, uint64_t now_ms));
bool timer_is_set(const struct timer *t);

struct wheel *wheel_create(uint64_t now_ms); /* NULL when out of memory */
void wheel_destroy(struct wheel *w);         /* timers that are still set are forgotten */

/* Sets or moves the timer; a due_ms that has passed fires at the next wheel_run(). */
void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ms);
void wheel_cancel(struct wheel *w, struct timer *t); /* fine when it is not set */

/* Fires what is due at now_ms, each timer once, in order of due_ms up to the resolution, at most
 * `budget` of them; a timer may set or cancel any timer, itself too. Returns how many fired; what
 * the budget left over fires at the next run. */
unsigned wheel_run(struct wheel *w, uint64_t now_ms, unsigned budget);

/* When wheel_run() has to be called next: never later than the earliest timer; 0: at
 * once; UINT64_MAX if none. */
uint64_t wheel_next_ms(const struct wheel *w);
