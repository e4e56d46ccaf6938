/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/dispatch/origins.h"

#include <assert.h>
#include <stdlib.h>

#include "cluster/splitmix.h"
#include "cluster/table.h"
#include "proto/little_endian.h"

struct origin {
    struct table_link by_origin;
    uint64_t origin, op;
    struct origin *older, *newer; /* by last use */
};

struct origins {
    struct table table;
    struct origin *oldest, *newest;
    uint32_t most;
};

static uint64_t hash_of(uint64_t origin)
{
    return splitmix_next(&origin);
}

static struct origin *find(struct origins *o, uint64_t origin)
{
    for (struct table_link *l = table_find(&o->table, hash_of(origin)); l != NULL;
         l = table_find_next(l)) {
        struct origin *const at = table_object(l, struct origin, by_origin);
        if (at->origin == origin) {
            return at;
        }
    }
    return NULL;
}

static void unlink_one(struct origins *o, struct origin *at)
{
    *(at->older != NULL ? &at->older->newer : &o->oldest) = at->newer;
    *(at->newer != NULL ? &at->newer->older : &o->newest) = at->older;
}

static void link_newest(struct origins *o, struct origin *at)
{
    at->older = o->newest;
    at->newer = NULL;
    *(o->newest != NULL ? &o->newest->newer : &o->oldest) = at;
    o->newest = at;
}

static void forget_oldest(struct origins *o)
{
    struct origin *const at = o->oldest;
    unlink_one(o, at);
    table_remove(&o->table, &at->by_origin);
    free(at);
}

struct origins *origins_create(uint32_t most)
{
    assert(most >= 1 && most <= ORIGINS_MAX);
    struct origins *const o = calloc(1, sizeof *o);
    if (o != NULL && table_init(&o->table) != 0) {
        free(o);
        return NULL;
    }
    if (o != NULL) {
        o->most = most;
    }
    return o;
}

void origins_destroy(struct origins *o)
{
    if (o == NULL) {
        return;
    }
    while (o->oldest != NULL) {
        forget_oldest(o);
    }
    table_fini(&o->table);
    free(o);
}

uint32_t origins_count(const struct origins *o)
{
    return (uint32_t)o->table.count;
}

uint64_t origins_highest(struct origins *o, uint64_t origin)
{
    const struct origin *const at = find(o, origin);
    return at == NULL ? 0 : at->op;
}

static enum origins_err add(struct origins *o, uint64_t origin, uint64_t op)
{
    struct origin *const at = malloc(sizeof *at);
    if (at == NULL) {
        return ORIGINS_NO_MEMORY;
    }
    if (o->table.count == o->most) {
        forget_oldest(o);
    }
    *at = (struct origin){.origin = origin, .op = op};
    table_insert(&o->table, &at->by_origin, hash_of(origin));
    link_newest(o, at);
    return ORIGINS_NEW;
}

enum origins_err origins_take(struct origins *o, uint64_t origin, uint64_t op)
{
    assert(op > 0);
    struct origin *const at = find(o, origin);
    if (at == NULL) {
        return add(o, origin, op);
    }
    unlink_one(o, at);
    link_newest(o, at);
    if (op <= at->op) {
        return ORIGINS_REPEATED;
    }
    at->op = op;
    return ORIGINS_NEW;
}

size_t origins_encode(const struct origins *o, uint8_t *out)
{
    size_t len = 0;
    for (const struct origin *at = o->oldest; at != NULL; at = at->newer) {
        if (out != NULL) {
            put_u64(out + len, at->origin);
            put_u64(out + len + sizeof(uint64_t), at->op);
        }
        len += ORIGINS_ITEM_BYTES;
    }
    return len;
}

static enum origins_err decode(struct origins *o, struct bytes bytes)
{
    if (bytes.len % ORIGINS_ITEM_BYTES != 0 || bytes.len / ORIGINS_ITEM_BYTES > o->most) {
        return ORIGINS_MALFORMED;
    }
    for (size_t at = 0; at < bytes.len; at += ORIGINS_ITEM_BYTES) {
        const uint64_t origin = get_u64(bytes.at + at);
        const uint64_t op = get_u64(bytes.at + at + sizeof origin);
        if (op == 0 || find(o, origin) != NULL) {
            return ORIGINS_MALFORMED;
        }
        if (add(o, origin, op) != ORIGINS_NEW) {
            return ORIGINS_NO_MEMORY;
        }
    }
    return ORIGINS_NEW;
}

enum origins_err origins_decode(struct origins *o, struct bytes bytes)
{
    struct origins *const made = origins_create(o->most);
    if (made == NULL) {
        return ORIGINS_NO_MEMORY;
    }
    const enum origins_err err = decode(made, bytes);
    if (err == ORIGINS_NEW) {
        const struct origins was = *o;
        *o = *made;
        *made = was;
    }
    origins_destroy(made);
    return err;
}
