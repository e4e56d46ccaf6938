/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trie: filters of whatever shape, by their levels; for those that shapes.h turns away.
 *
 *   site/+/x    root ── site ── + ── x   here
 *   site/3/#    root ── site ── 3        below
 *
 * A '+' is a pointer in its parent, a literal level is found by hash, keyed (parent, level).
 * A match goes down level by level, with all nodes that match the topic so far side by side, so
 * that their cache misses overlap. It visits a node at most once, and only nodes whose whole path
 * matches the topic's beginning: a '+' costs no more than the prefixes that exist with it.
 *
 * Owner: the part's; all read. A node is built, then published with one release store (of a pointer
 * or a slot), which pairs with the reader's acquire; a branch that leads nowhere is unlinked and
 * retired. Memory: 64 bytes and more per node, and a slot for those by hash. The filters are the
 * caller's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/route/filter.h"
#include "broker/route/slots.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct quiescence;

struct node;

struct trie {
    struct slots nodes; /* by literal level */
    struct node *root;  /* stands for no level */
    uint64_t seed;

    /* The owner's. */
    struct quiescence *quiescence;
    unsigned owner;
    size_t node_bytes;
};

NODISCARD bool trie_init(struct trie *trie, struct quiescence *q, unsigned owner, uint64_t seed);
void trie_fini(struct trie *trie, void (*release)(struct filter *filter));

struct filter *trie_find(struct trie *trie, struct bytes topic_filter); /* NULL: there is none */
/* There is none yet. false: out of memory, nothing has changed. */
NODISCARD bool trie_insert(struct trie *trie, struct bytes topic_filter, struct filter *filter);
void trie_remove(struct trie *trie, struct bytes topic_filter); /* it is in; does not retire it */

size_t trie_bytes(const struct trie *trie);

/* Appends what matches to walk->found. Any thread. false: out of memory. */
NODISCARD bool trie_match(const struct trie *trie, struct match_walk *walk);
