/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace: how many connections the node accepts in a second (limits.connections_per_second). Who
 * comes above it waits in the kernel's backlog.
 *
 * All shards take from one number, node->arrivals. With a limit they accept one connection at a
 * time (io_listen_once()), since the kernel would hand over all that wait before the first is known
 * here. A shard that takes more than there is leaves that listener alone until there is some again;
 * what it took is owed. So at a time there are no more of them than listeners and shards.
 *
 * Owner: each shard, of its own listeners.
 */
#pragma once

#include <stdbool.h>

struct shard;

/* Before the shard runs. */
void pace_init(struct shard *s);

/* After each accepted(): that listener goes on, or waits. */
void pace_accepted(struct shard *s, unsigned listener);

/* Once a turn: takes up a limit that was set, or is none any more. */
void pace_turn(struct shard *s);
