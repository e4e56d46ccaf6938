/* SPDX-License-Identifier: Apache-2.0 */
/*
 * part: one part of the index: a set of topic filters that one shard writes and all shards match.
 *
 *   filters    a hash table: those without wildcards, and those of a shape that is in `shapes`
 *   trie       the others; mostly there are none
 *
 * A filter is in one of the two. Hashes say where to look, the text decides.
 *
 * Owner: the shard `owner` changes; all read, between two of their quiescent points. What can be
 * read is complete, and what has been unlinked is freed after_quiescent(). Memory: a filter is one
 * allocation of 32 bytes and its text, and 11 to 21 bytes in the table.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/route/filter.h"
#include "broker/route/shapes.h"
#include "broker/route/slots.h"
#include "broker/route/trie.h"
#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct quiescence;

struct part {
    struct slots filters;
    struct shapes shapes;
    struct trie trie;
    uint64_t seed;

    /* The owner's. */
    struct quiescence *quiescence;
    unsigned owner;
    uint64_t id_last, id_step; /* so that ids differ between parts */
    size_t content_bytes;      /* in filters, and what hangs on them */
    struct table groups;       /* struct share_group, by filter and name */

    /* Written by the owner, read by all, relaxed. */
    _Atomic uint64_t filter_count;
    _Atomic uint64_t bytes;
};

/* Ids are id_first + id_step, id_first + 2 * id_step, and so on. false: out of memory. */
NODISCARD bool part_init(struct part *part, struct quiescence *q, unsigned owner, uint64_t seed,
                         uint64_t id_first, uint64_t id_step);
void part_fini(struct part *part); /* no reader is left; frees filters, groups, and members */

uint64_t part_id(struct part *part); /* one that is fresh */

/* NULL: there is none. */
struct filter *part_find(struct part *part, struct bytes topic_filter);
/* Finds or adds. NULL: out of memory. */
struct filter *part_make(struct part *part, struct bytes topic_filter);
/* Unlinks and retires the filter, which has neither shards nor groups. */
void part_drop(struct part *part, struct filter *filter);

void part_count_bytes(struct part *part, ptrdiff_t delta); /* what hangs on filters: groups */
