/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally: what a shard counts apart for each listener, and for each reason code of CONNACK and
 * DISCONNECT. There are as many of both as the configuration and the standard have, whatever
 * clients do.
 *
 * Owner: the shard writes, with plain relaxed stores; any thread reads, and adds the shards up.
 * Memory: 8 KiB a shard.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "broker/config/config.h"

enum tally_listener {
#define LISTENER_COUNTER(name, what) TALLY_##name,
#include "broker/tbl/listener_metric.h"
    TALLY_LISTENER_COUNTERS,
};

enum tally_packet {
#define REASON_COUNTER(name, type, from_server, what) TALLY_##name,
#include "broker/tbl/reason_metric.h"
    TALLY_REASON_COUNTERS,
};

struct tally {
    _Atomic uint64_t listener[CONFIG_LISTENERS_MAX][TALLY_LISTENER_COUNTERS];
    _Atomic uint64_t reason[TALLY_REASON_COUNTERS][UINT8_MAX + 1];
};

static inline void tally_add(_Atomic uint64_t *counter, uint64_t n)
{
    const uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

static inline void tally_listener(struct tally *t, unsigned listener, enum tally_listener what,
                                  uint64_t n)
{
    tally_add(&t->listener[listener][what], n);
}

static inline void tally_reason(struct tally *t, enum tally_packet what, uint8_t reason)
{
    tally_add(&t->reason[what][reason], 1);
}
