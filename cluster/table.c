/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/table.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS_MIN    16u
#define MOVED_PER_CALL 4u /* twice what is needed for `old` to be empty before the next growth */

int table_init(struct table *t)
{
    *t = (struct table){.mask = BUCKETS_MIN - 1};
    t->buckets = calloc(BUCKETS_MIN, sizeof *t->buckets);
    return t->buckets == NULL ? -1 : 0;
}

void table_fini(struct table *t)
{
    free(t->buckets);
    free(t->old);
    *t = (struct table){0};
}

static void push(struct table_link **buckets, size_t mask, struct table_link *link)
{
    struct table_link **head = &buckets[link->hash & mask];
    link->next = *head;
    *head = link;
}

static void move_bucket(struct table *t, size_t bucket)
{
    struct table_link *link = t->old[bucket];
    t->old[bucket] = NULL;
    while (link != NULL) {
        struct table_link *next = link->next;
        push(t->buckets, t->mask, link);
        link = next;
    }
}

/* Goes on with the move, and brings this hash's bucket over, so that the caller need look in one
 * place. */
static void settle(struct table *t, uint64_t hash)
{
    if (t->old == NULL) {
        return;
    }
    move_bucket(t, hash & t->old_mask);
    for (unsigned i = 0; i < MOVED_PER_CALL; i++) {
        move_bucket(t, t->moved);
        if (t->moved++ == t->old_mask) {
            free(t->old);
            t->old = NULL;
            return;
        }
    }
}

/* Without memory the table stays as it is, with longer chains. */
static void grow(struct table *t)
{
    const size_t buckets = (t->mask + 1) * 2;
    struct table_link **fresh = calloc(buckets, sizeof *fresh);
    if (fresh == NULL) {
        return;
    }
    t->old = t->buckets;
    t->old_mask = t->mask;
    t->moved = 0;
    t->buckets = fresh;
    t->mask = buckets - 1;
}

void table_insert(struct table *t, struct table_link *link, uint64_t hash)
{
    if (t->old == NULL && t->count > t->mask) {
        grow(t);
    }
    settle(t, hash);
    link->hash = hash;
    push(t->buckets, t->mask, link);
    t->count++;
}

void table_remove(struct table *t, struct table_link *link)
{
    settle(t, link->hash);
    struct table_link **at = &t->buckets[link->hash & t->mask];
    while (*at != link) {
        assert(*at != NULL); /* it was never inserted */
        at = &(*at)->next;
    }
    *at = link->next;
    link->next = NULL;
    t->count--;
}

static struct table_link *same_hash(struct table_link *link, uint64_t hash)
{
    while (link != NULL && link->hash != hash) {
        link = link->next;
    }
    return link;
}

struct table_link *table_find(struct table *t, uint64_t hash)
{
    settle(t, hash);
    return same_hash(t->buckets[hash & t->mask], hash);
}

struct table_link *table_find_next(const struct table_link *link)
{
    return same_hash(link->next, link->hash);
}

/* ---- walking */

static uint64_t backwards(uint64_t x)
{
    x = __builtin_bswap64(x);
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0full) | (x & 0x0f0f0f0f0f0f0f0full) << 4;
    x = (x >> 2 & 0x3333333333333333ull) | (x & 0x3333333333333333ull) << 2;
    return (x >> 1 & 0x5555555555555555ull) | (x & 0x5555555555555555ull) << 1;
}

uint64_t table_place_after(uint64_t hash)
{
    return backwards(hash) + 1;
}

/* The one whose place is the lowest from `place` on; NULL: none. */
static struct table_link *lowest(struct table_link *link, uint64_t place)
{
    struct table_link *best = NULL;
    for (; link != NULL; link = link->next) {
        if (backwards(link->hash) >= place &&
            (best == NULL || backwards(link->hash) < backwards(best->hash))) {
            best = link;
        }
    }
    return best;
}

struct table_link *table_walk(struct table *t, uint64_t *place, unsigned *steps)
{
    for (; *steps > 0; (*steps)--) {
        settle(t, backwards(*place));
        struct table_link *const link = lowest(t->buckets[backwards(*place) & t->mask], *place);
        if (link != NULL) {
            return link;
        }
        const uint64_t bucket = UINT64_MAX / (t->mask + 1) + 1; /* places of each */
        const uint64_t next = (*place / bucket + 1) * bucket;
        if (next == 0) {
            return NULL;
        }
        *place = next;
    }
    return NULL;
}

static bool all_of(struct table_link *const *buckets, size_t mask, table_fn *fn, void *context)
{
    for (size_t i = 0; i <= mask; i++) {
        for (struct table_link *link = buckets[i]; link != NULL; link = link->next) {
            if (!fn(context, link)) {
                return false;
            }
        }
    }
    return true;
}

bool table_all(const struct table *t, table_fn *fn, void *context)
{
    return all_of(t->buckets, t->mask, fn, context) &&
           (t->old == NULL || all_of(t->old, t->old_mask, fn, context));
}

struct table_link *table_any(struct table *t, size_t *cursor)
{
    while (t->old != NULL) {
        settle(t, 0);
    }
    for (; t->count > 0; (*cursor)++) {
        struct table_link *link = t->buckets[*cursor & t->mask];
        if (link != NULL) {
            return link;
        }
    }
    return NULL;
}
