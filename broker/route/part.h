/* SPDX-License-Identifier: Apache-2.0 */
/*
 * part: one part of the index: a set of topic filters that one shard writes and all shards match.
 *
 * A filter is kept as its levels up to the last wildcard, and the literal rest:
 *
 *   site/+/line/7/temp    root ── site ── + ┈┈ "line/7/temp"
 *   site/3/+              root ── site ── 3 ── +   here
 *   site/3/#              root ── site ── 3        below
 *   site/3/line/7         root ┈┈ "site/3/line/7"
 *
 *   ── nodes: '+' by a pointer, a literal level by hash, keyed (node, level)
 *   ┈┈ tails: by hash, keyed (node, all that follows)
 *
 * So a filter without wildcards is one look-up however deep, and a filter with wildcards shares its
 * nodes with its like. Hashes say where to look, the key decides; they are seeded, since topics are
 * chosen by strangers, and made level by level, since a topic may have 65,535 of them.
 *
 * A match goes down level by level, with all nodes that match the topic so far side by side, so
 * that their cache misses overlap. It visits a node at most once, and only nodes whose whole path
 * matches the topic's beginning: a '+' costs no more than the prefixes that exist with it.
 *
 * Owner: the shard `owner` changes; all read, between two of their quiescent points. What can be
 * read is complete: it is built, then published with one release store (of a pointer or a slot),
 * which pairs with the reader's acquire. What has been unlinked is freed after_quiescent(). Memory:
 * filters and nodes one allocation each, and 11 to 21 bytes for each in a table (slots.h).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/route/slots.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct quiescence;
struct share_group;

struct node;

/* One filter; with a shard or a group, or on its way in or out. */
struct filter {
    struct slot_entry entry; /* in part.tails, if it has a tail */
    uint16_t tail_len;
    struct node *node;                    /* where the tail begins, or what it is here or below */
    _Atomic uint64_t shards;              /* by the owner, release; read with acquire */
    uint64_t id;                          /* never reused */
    _Atomic(struct share_group *) groups; /* by the owner, release; read with acquire; NULL: none */
    uint8_t tail[];
};

/* The levels of one or more filters up to here. The root stands for none. */
struct node {
    struct slot_entry entry; /* in part.nodes, unless it is the root or a '+' */
    /* Counted by the owner, read by all to spare themselves a search: relaxed, since a match that
     * must find the child began after the count. */
    _Atomic uint32_t literals; /* nodes below, by a literal level */
    _Atomic uint32_t tails;    /* filters whose tail begins here */
    uint16_t level_len;
    bool is_plus;
    struct node *parent; /* NULL: the root */
    uint64_t hash;       /* of the path */
    /* Release by the owner, acquire by readers; NULL: none. */
    _Atomic(struct node *) plus;
    _Atomic(struct filter *) here;  /* the filter that ends with this '+' */
    _Atomic(struct filter *) below; /* the filter that goes on with '#' */
    uint8_t level[];
};

struct part {
    struct slots nodes;
    struct slots tails;
    struct node *root;
    uint64_t seed;

    /* The owner's. */
    struct quiescence *quiescence;
    unsigned owner;
    uint64_t id_next, id_step; /* so that ids differ between parts */
    size_t content_bytes;      /* in nodes and filters */

    /* Written by the owner, read by all, relaxed. */
    _Atomic uint64_t filter_count;
    _Atomic uint64_t bytes;
};

/* Ids are id_first, id_first + id_step, and so on. false: out of memory. */
NODISCARD bool part_init(struct part *part, struct quiescence *q, unsigned owner, uint64_t seed,
                         uint64_t id_first, uint64_t id_step);
void part_fini(struct part *part); /* no reader is left; frees filters, groups, and members */

uint64_t part_id(struct part *part); /* one that is fresh */

struct filter *part_find(const struct part *part,
                         struct bytes topic_filter); /* NULL: there is none */
/* Finds or adds. NULL: out of memory. */
struct filter *part_make(struct part *part, struct bytes topic_filter);
/* Unlinks and retires the filter, and what of its path leads nowhere else. It has no shard, no
 * group. */
void part_drop(struct part *part, struct filter *filter);

void part_count_bytes(struct part *part, ptrdiff_t delta); /* what hangs on filters: groups */

/* ---- matching; any thread */

struct level {
    uint32_t at; /* where in the topic */
    uint32_t len;
    uint64_t hash;
    uint64_t rest_hash; /* of this level and all that follow */
};

struct walk_tail {
    const struct node *node;
    uint64_t hash;
    uint32_t level;
};

/* A topic taken apart, and how far it is matched. Grows as needed, up to the number of levels, and
 * of nodes and filters that match at a time. */
struct match_walk {
    struct bytes topic;
    struct level *levels;
    size_t level_count, level_capacity;
    const struct node **nodes[2]; /* that match up to a level, and up to the next */
    size_t node_capacity[2];
    struct walk_tail *tails; /* to look up at the end */
    size_t tail_count, tail_capacity;
    const struct filter **found;
    size_t found_count, found_capacity;
};

void match_walk_fini(struct match_walk *walk);

/* Takes the topic apart; nothing is found yet. false: out of memory. */
NODISCARD bool match_walk_begin(struct match_walk *walk, struct bytes topic, uint64_t seed);

/* Appends to walk->found. false: out of memory. */
NODISCARD bool part_match(const struct part *part, struct match_walk *walk);

uint64_t level_hash(struct bytes level, uint64_t seed);

/* The hash of what is keyed by `b` under `a`; also folds a path or a rest together. Both halves of
 * the product count, so one that knows neither value cannot steer the result. */
static inline uint64_t hash_join(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)(a ^ b) * 0x9fb21c651e98df25u;
    return ((uint64_t)product ^ (uint64_t)(product >> 64)) + (a << 1 | 1);
}

/* Does the filter's tail follow the node? A key of part.tails. */
struct tail_key {
    const struct node *node;
    struct bytes tail;
};

/* A key of part.nodes. */
struct node_key {
    const struct node *parent;
    struct bytes level;
};

static inline bool tail_equal(const struct slot_entry *entry, const void *key)
{
    const struct filter *const filter = (const struct filter *)entry;
    const struct tail_key *const want = key;
    return filter->node == want->node && filter->tail_len == want->tail.len &&
           memcmp(filter->tail, want->tail.at, want->tail.len) == 0;
}

static inline bool node_equal(const struct slot_entry *entry, const void *key)
{
    const struct node *const node = (const struct node *)entry;
    const struct node_key *const want = key;
    return node->parent == want->parent && node->level_len == want->level.len &&
           memcmp(node->level, want->level.at, want->level.len) == 0;
}
