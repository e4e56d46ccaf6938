/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fifo: a queue of small items of one size, in one array that grows. Owner: one thread. Memory:
 * twice what was ever in it at a time; the bound is the caller's.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/nodiscard.h"

struct fifo {
    uint8_t *at;                    /* [capacity] items, as a ring */
    size_t item;                    /* bytes of one */
    uint32_t head, count, capacity; /* capacity: a power of two, or 0 */
};

static inline void fifo_fini(struct fifo *f)
{
    free(f->at);
    *f = (struct fifo){.item = f->item};
}

/* The item `i` places behind the first; there is one. */
static inline void *fifo_at(const struct fifo *f, uint32_t i)
{
    assert(i < f->count);
    return f->at + ((f->head + i) & (f->capacity - 1)) * f->item;
}

static inline void *fifo_first(const struct fifo *f)
{
    return f->count == 0 ? NULL : fifo_at(f, 0);
}

/* The last one; there is one. */
static inline void *fifo_last(const struct fifo *f)
{
    return fifo_at(f, f->count - 1);
}

/* false: no memory. */
NODISCARD static inline bool fifo_push(struct fifo *f, const void *item)
{
    if (f->count == f->capacity) {
        const uint32_t capacity = f->capacity == 0 ? 16 : f->capacity * 2;
        uint8_t *const at = malloc(capacity * f->item);
        if (at == NULL) {
            return false;
        }
        for (uint32_t i = 0; i < f->count; i++) {
            memcpy(at + i * f->item, fifo_at(f, i), f->item);
        }
        free(f->at);
        f->at = at;
        f->head = 0;
        f->capacity = capacity;
    }
    f->count++;
    memcpy(fifo_last(f), item, f->item);
    return true;
}

static inline void fifo_pop(struct fifo *f)
{
    assert(f->count > 0);
    f->head = (f->head + 1) & (f->capacity - 1);
    f->count--;
}
