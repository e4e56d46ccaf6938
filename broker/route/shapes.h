/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shapes: where the wildcards stand in the filters of a part. Filters come by the million, shapes
 * by the dozen: so for each shape that exists, the levels that it leaves of a topic are looked up
 * as one key (tuple space search: Srinivasan, Suri & Varghese, "Packet classification using tuple
 * space search", 1999). All keys are known at once, hence all their cache misses overlap.
 *
 * A stranger could subscribe to a new shape each time and make every match slower ("tuple space
 * explosion": Csikor et al., 2019). So a part has at most SHAPES_MAX; filters of further shapes go
 * where shapes do not matter (trie.h).
 *
 * Owner: the part's; it replaces the set by a new one, all read. Memory: 32 bytes per shape.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/route/filter.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct quiescence;

struct shape {
    uint64_t plus;   /* bit per level that is a '+' */
    uint32_t levels; /* but for a '#' */
    bool is_below;   /* ends with '#' */
    uint64_t salt;   /* tells apart the keys of different shapes */
};

struct shape_set {
    uint32_t count;
    struct shape shapes[];
};

struct shapes {
    _Atomic(struct shape_set *) set; /* NULL: none; release by the owner, acquire by readers */

    /* The owner's: how many filters there are of set->shapes[i]. */
    uint32_t filters[SHAPES_MAX];
};

void shapes_fini(struct shapes *shapes);

/* The filter's shape and, of it and the literal levels, the hash. false: it has too many levels to
 * say. */
NODISCARD bool shape_of(struct bytes topic_filter, uint64_t seed, struct shape *shape,
                        uint64_t *hash);

static inline bool shape_is_exact(const struct shape *shape)
{
    return shape->plus == 0 && !shape->is_below;
}

/* Is the shape in the set? The one without wildcards always is. */
bool shapes_has(const struct shapes *shapes, const struct shape *shape);

/* One more filter of that shape. false: the set is full, or out of memory. */
NODISCARD bool shapes_add(struct shapes *shapes, const struct shape *shape, struct quiescence *q,
                          unsigned self);
/* One less; the shape is in. */
void shapes_remove(struct shapes *shapes, const struct shape *shape, struct quiescence *q,
                   unsigned self);

/* Appends a guess for each shape that the topic could have. Any thread. */
void shapes_guess(const struct shapes *shapes, const struct slots *filters, uint64_t seed,
                  struct match_walk *walk);

/* Takes the guesses that are right for found. false: out of memory. */
NODISCARD bool shapes_confirm(struct match_walk *walk);
