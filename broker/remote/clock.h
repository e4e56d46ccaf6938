/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock: what the clocks on the walls of the other nodes show, and whether this node's is wrong: it
 * is not ready then (admin/health.h), and says so in the log.
 *
 * Owner: shard 0, on whose lane 0 it goes. Memory: some bytes for each peer.
 */
#pragma once

#include <stdint.h>

#include "broker/peers/peers.h"

struct shard;

/* So far may a clock be from the middle of all. */
#define CLOCK_OFF_MS 2000

enum link_taken clock_received(struct shard *s, unsigned peer, struct bytes body);
void clock_down(struct shard *s, unsigned peer); /* its connection is over */
void clock_flush(struct shard *s);               /* says what time it is, and looks at the others */
uint64_t clock_next_ms(const struct shard *s);
