/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint_batch: the changes of one or several batches, in the order of their keys. Internal to
 * the checkpoint.
 *
 * Owner: a batch is its maker's, then the checkpoint's thread's; so is a plan. Memory: a batch is
 * chunks of 64 KiB, or as large as one change; a plan has 24 bytes for each change, and points into
 * batches.
 */
#pragma once

#include "broker/store/checkpoint.h"

enum change_kind {
    CHANGE_DELETE_PREFIX, /* first, so that it is the first of its key */
    CHANGE_PUT,
    CHANGE_DELETE,
    CHANGE_ADD,
    CHANGE_META, /* in no plan */
};

/* In a chunk, one after the other, at addresses that 8 divides. */
struct change {
    int64_t delta; /* CHANGE_ADD */
    uint32_t value_len;
    uint16_t key_len;
    uint8_t kind;
    bool has_value;
    uint8_t bytes[]; /* key, value */
};

struct checkpoint_batch {
    struct checkpoint_batch *next; /* that waits */
    checkpoint_done_fn *done;
    void *context;
    struct change_chunk *first, *last;
    size_t bytes;
    uint32_t count;
    bool spoilt;            /* there was no memory */
    uint64_t failed_commit; /* which of them it was in last; 0: none */
};

static inline struct bytes change_key(const struct change *c)
{
    return bytes_of(c->bytes, c->key_len);
}

static inline struct bytes change_value(const struct change *c)
{
    return bytes_of(c->bytes + c->key_len, c->value_len);
}

/* The one after `c`, in the order in which they were made; NULL at first, and at the end. */
struct change_place {
    const struct change_chunk *chunk;
    size_t at;
};
struct change_place checkpoint_batch_begin(const struct checkpoint_batch *batch);
const struct change *checkpoint_batch_next(struct change_place *place);

struct plan_entry {
    uint64_t head; /* of the key: its first 8 bytes, as a number; missing ones are 0 */
    const struct change *change;
    uint32_t order; /* in which they were made */
};

/* By key, then what deletes all with that prefix, then in the order in which they were made. */
struct plan {
    struct plan_entry *entries;
    uint32_t count;
};

NODISCARD bool plan_init(struct plan *plan, uint32_t capacity);         /* false: no memory */
void plan_add(struct plan *plan, const struct checkpoint_batch *batch); /* but CHANGE_META */
void plan_sort(struct plan *plan);
void plan_fini(struct plan *plan);
