/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter: one topic filter in the index; and a topic taken apart to be matched with filters.
 *
 * Owner: the shard that writes the part it is in; all shards read, between two of their quiescent
 * points. Memory: one allocation per filter; a match_walk is its caller's scratch and grows as
 * needed.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/route/slots.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define SHAPES_MAX 64u /* of one part, see shapes.h */

struct node;
struct shape;
struct share_group;

struct filter {
    struct slot_entry entry; /* in part.filters, unless it is in the trie */
    uint16_t len;
    _Atomic uint64_t shards;              /* bit each; release by the owner, acquire by readers */
    uint64_t id;                          /* name_hash(), and a number */
    _Atomic(struct share_group *) groups; /* NULL: none; release by the owner, acquire by readers */
    uint8_t text[];
};

/* ---- hashes: seeded, since topics are chosen by strangers */

/* Of a level and where it stands, so that the sum over the levels is a hash of them all, and the
 * sum over some is one as well. */
uint64_t level_hash(struct bytes level, size_t number, uint64_t seed);

/* Of a whole filter, for its id. */
uint32_t name_hash(struct bytes name, uint64_t seed);

/* Of both, in this order. */
static inline uint64_t hash_join(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)(a ^ b) * 0x9fb21c651e98df25u;
    return ((uint64_t)product ^ (uint64_t)(product >> 64)) + (a << 1 | 1);
}

/* ---- a topic to be matched */

struct level {
    uint32_t at; /* where in the topic */
    uint32_t len;
    uint64_t hash;
    uint64_t sum; /* of the hashes of the levels before this one */
};

/* A filter that may be in a table: if there is one of that shape with the topic's levels. */
struct guess {
    const struct slots *filters;
    uint64_t hash;
    const struct shape *shape;
    struct slot_entry *entry; /* to compare first; NULL: none in the first line */
};

struct match_walk {
    struct bytes topic;
    struct level *levels; /* and one behind the last, for its sum */
    size_t level_count, level_capacity;
    struct guess guesses[2 * (SHAPES_MAX + 1)]; /* two parts are matched at a time */
    size_t guess_count;
    const struct node **nodes[2]; /* of a trie, that match up to a level, and up to the next */
    size_t node_capacity[2];
    size_t steps; /* nodes visited so far */
    const struct filter **found;
    size_t found_count, found_capacity;
};

void match_walk_fini(struct match_walk *walk);

/* Takes the topic apart; nothing is guessed or found yet. false: out of memory. */
NODISCARD bool match_walk_begin(struct match_walk *walk, struct bytes topic, uint64_t seed);

/* Room for so many more. false: out of memory. */
NODISCARD bool match_walk_reserve_found(struct match_walk *walk, size_t more);
NODISCARD bool match_walk_reserve_nodes(struct match_walk *walk, unsigned which, size_t count);

static inline void match_walk_found(struct match_walk *walk, const struct filter *filter)
{
    if (filter != NULL) {
        __builtin_prefetch(filter); /* read once all are found */
        walk->found[walk->found_count++] = filter;
    }
}
