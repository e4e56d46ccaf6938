/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own: the filters, and shared-subscription groups, that this node has subscribers for, as a log of
 * changes: each has one version, and only this node makes them.
 *
 *   own_take() ── the first for that text ──▶ told at once (it has to be, before SUBACK)
 *   own_put()  ── none left ──▶ settle_ms later, if there still is none: told that it has gone
 *   a group whose members have changed in number ──▶ told settle_ms later, once for all of them
 *
 * Why a deletion waits: who reconnects unsubscribes and subscribes to the same, and each change
 * goes to every node. Interest that is there too long costs bytes, never a message.
 *
 * Owner: interest. Memory: for each text 36 bytes and itself, rounded up by the allocator, and 8 to
 * 24 of the table's; 16 for each that waits to be told; the tail. What bounds the number of texts
 * is the bound of subscriptions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/interest/digest.h"
#include "cluster/interest/tail.h"
#include "cluster/table.h"
#include "proto/node_interest.h"
#include "proto/nodiscard.h"

struct own_entry;

struct own_wait {
    struct own_entry *entry;
    uint64_t due_ms;
};

/* To be read by others: version, digest, count, tail. */
struct own {
    uint64_t version; /* 0: nothing has ever been told */
    struct digest digest;
    size_t count; /* of items that the others are told of */
    struct tail tail;

    struct table table;
    uint64_t seed;
    uint32_t settle_ms;
    struct own_wait *waits; /* [waits_capacity], a ring, by due_ms; an entry stands in it once */
    size_t waits_capacity, waits_first, waits_count;
    size_t bytes; /* of the entries, as asked of the allocator */
};

struct own_conf {
    uint64_t seed; /* digest_seed() */
    uint32_t settle_ms;
    uint32_t tail_ops_max;
    size_t tail_bytes_max;
};

NODISCARD bool own_init(struct own *o, const struct own_conf *conf); /* false: out of memory */
void own_fini(struct own *o);

/* One more of that text. *version: from which on others know of it. false: out of memory. */
NODISCARD bool own_take(struct own *o, uint8_t kind, struct bytes text, uint64_t now_ms,
                        uint64_t *version);
/* One less; it was taken. */
void own_put(struct own *o, uint8_t kind, struct bytes text, uint64_t now_ms);

/* Tells what is due, at most `steps` of it. */
void own_turn(struct own *o, uint64_t now_ms, unsigned steps);
uint64_t own_next_ms(const struct own *o); /* UINT64_MAX: nothing waits */

/*
 * Items, from *place on (0 at first), as far as they fit; the bytes that were written. *place is
 * where to go on. *end: there are no more. `steps` items or empty buckets are
 * looked at, at most. Two items of any size fit into out_max, so that each call gets on. A walk may
 * take its time, while there are changes: what is there from its begin to its end is given.
 */
NODISCARD size_t own_walk(struct own *o, uint64_t *place, uint8_t *out, size_t out_max,
                          unsigned steps, bool *end);
