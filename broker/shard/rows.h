/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows: what an errand brings back: structs of one kind, each with its texts behind it.
 *
 * Owner: the errand's. Memory: ROWS_BYTES, which hold one row of two texts of 65,535 bytes at
 * least. At the bound: rows_add() answers NULL; the page ends there.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define ROWS_BYTES (256u << 10)

/* Begins each row. */
struct row {
    uint32_t bytes;        /* to the next one */
    uint32_t a_len, b_len; /* of its texts, which lie behind it, one after the other */
    uint32_t size;         /* of the struct */
};

struct rows {
    uint8_t *at; /* [ROWS_BYTES] */
    size_t len;
    uint32_t count, max;
};

NODISCARD static inline bool rows_init(struct rows *rows, uint32_t max)
{
    *rows = (struct rows){.at = malloc(ROWS_BYTES), .max = max};
    return rows->at != NULL;
}

static inline void rows_fini(struct rows *rows)
{
    free(rows->at);
}

static inline bool rows_are_full(const struct rows *rows)
{
    return rows->count >= rows->max;
}

/* A struct of that size, which begins with a struct row; zeros but for that. */
static inline void *rows_add(struct rows *rows, size_t size, struct bytes a, struct bytes b)
{
    const size_t bytes = (size + a.len + b.len + 7) / 8 * 8;
    assert(size + 2 * UINT16_MAX + 8 <= ROWS_BYTES);
    if (ROWS_BYTES - rows->len < bytes) {
        return NULL;
    }
    uint8_t *const at = rows->at + rows->len;
    memset(at, 0, size);
    *(struct row *)(void *)at = (struct row){.bytes = (uint32_t)bytes,
                                             .a_len = (uint32_t)a.len,
                                             .b_len = (uint32_t)b.len,
                                             .size = (uint32_t)size};
    if (a.len > 0) {
        memcpy(at + size, a.at, a.len);
    }
    if (b.len > 0) {
        memcpy(at + size + a.len, b.at, b.len);
    }
    rows->len += bytes;
    rows->count++;
    return at;
}

/* at: 0 first. NULL: there are no more. */
static inline const void *rows_next(const struct rows *rows, size_t *at)
{
    if (*at == rows->len) {
        return NULL;
    }
    const struct row *const row = (const void *)(rows->at + *at);
    *at += row->bytes;
    return row;
}

static inline struct bytes row_a(const struct row *row)
{
    return bytes_of((const uint8_t *)row + row->size, row->a_len);
}

static inline struct bytes row_b(const struct row *row)
{
    return bytes_of((const uint8_t *)row + row->size + row->a_len, row->b_len);
}
