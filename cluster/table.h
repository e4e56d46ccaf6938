/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: a hash table of objects that carry their own link; it grows a few buckets at a time, so
 * that no insertion ever costs more than a few microseconds, whatever the size.
 *
 * Owner: one thread. Memory: two arrays of pointers; the links are the caller's. What equality is,
 * the caller says, by walking the links of one hash:
 *
 *   for (struct table_link *l = table_find(t, hash); l != NULL; l = table_find_next(l)) …
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct table_link {
    struct table_link *next;
    uint64_t hash; /* well mixed: the low bits choose the bucket */
};

struct table {
    struct table_link **buckets, **old; /* old: what is still to be moved, or NULL */
    size_t mask, old_mask;              /* number of buckets less one */
    size_t moved;                       /* buckets of `old` before it are empty */
    size_t count;
};

/* The member's object: table_object(link, struct session, by_client_id). */
#define table_object(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

NODISCARD int table_init(struct table *t); /* 0, or -1 when out of memory */
void table_fini(struct table *t); /* the objects are the caller's to free, before or after */

void table_insert(struct table *t, struct table_link *link, uint64_t hash); /* never fails */
void table_remove(struct table *t, struct table_link *link);                /* it is in */

/* NULL: none. They move buckets along, so the table is not const. */
struct table_link *table_find(struct table *t, uint64_t hash);
struct table_link *table_find_next(const struct table_link *link);

/*
 * A walk through all of them, in the order of their hashes read backwards, bit by bit: that is the
 * order of the buckets whatever their number, so that a walk may take its time while others come
 * and go and the table grows. The first one at or after *place (0 at first; what comes after an
 * object: table_place_after()), among at most *steps buckets, which are counted off. NULL: *steps
 * is 0, and *place where to go on; or the end is reached, and *steps is not. Of several with one
 * hash the first; table_find_next() has the others.
 */
struct table_link *table_walk(struct table *t, uint64_t *place, unsigned *steps);

/* 0: it is the last one that there can be. */
uint64_t table_place_after(uint64_t hash);

/* fn() for each, in no order, until it says false, which is told: then not all were asked. It
 * leaves the table as it is. For a walk that takes no pause. */
typedef bool table_fn(void *context, struct table_link *link);
bool table_all(const struct table *t, table_fn *fn, void *context);

/* Some object, NULL when the table is empty; for taking everything out. Resumes from *cursor (0 at
 * first), so that emptying a table costs its size once. */
struct table_link *table_any(struct table *t, size_t *cursor);
