/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: one shard's life: it waits, does what there is to do, sends what came of it, and waits
 * again.
 *
 *   io_turn ─▶ packets ─▶ mail ─▶ timers ─▶ what could not go on ─▶ sends ─▶ mail out ─▶ quiescent
 *      ▲                                                                                    │
 *      └────────────────────────────────────────────────────────────────────────────────────┘
 *
 * Owner: the shard's thread, which is whoever calls; loop_work() and io_turn() by turns also run a
 * shard in a test, with a clock and a kernel of the test's own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct shard;

#define LOOP_FOREVER UINT64_MAX

/* One turn's work after io_turn(); returns how long the next io_turn() may wait, in nanoseconds. */
uint64_t loop_work(struct shard *s);

/* Runs until node->ending, and then until all connections of all shards have ended. */
void loop_run(struct shard *s);

/* Every connection has been told to go (node->ending) and has gone. */
bool loop_is_finished(const struct shard *s);
