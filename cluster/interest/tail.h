/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail: the last changes of a log, as bytes, for those who have missed a few.
 *
 * Owner: the log. Memory: what tail_init() is told, allocated there. At the bound: the oldest
 * changes make room; who needs those gets a snapshot.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/node_interest.h"
#include "proto/nodiscard.h"

struct tail {
    uint64_t first, next; /* versions first..next - 1 are there */
    uint8_t *bytes;       /* [capacity], a ring of items; none goes over its end */
    size_t capacity;
    uint32_t *places; /* [ops_max], of the change of version v at v % ops_max */
    uint32_t ops_max;
    size_t begin, end; /* of the oldest item; behind the newest */
};

/* bytes_max >= NODE_INTEREST_ITEM_BYTES + NODE_INTEREST_TEXT_MAX. false: out of memory. */
NODISCARD bool tail_init(struct tail *t, uint32_t ops_max, size_t bytes_max);
void tail_fini(struct tail *t);

/* The change that makes version t->next. */
void tail_add(struct tail *t, const struct node_interest_item *item);

/* Copies changes from version `from` on, which is there or is next, as far as they fit, and
 * *count of them at most; *count is how many. The bytes that were written. */
NODISCARD size_t tail_copy(const struct tail *t, uint64_t from, uint8_t *out, size_t out_max,
                           uint32_t *count);
