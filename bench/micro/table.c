/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "bench/micro/micro.h"
#include "cluster/table.h"

#include <xxhash.h>

#define STRIDE 7919u /* a prime: from one object to the next, everywhere but nearby */

struct objects {
    struct table table;
    struct table_link *links;
    uint64_t *hashes; /* in the order they are asked for */
    size_t count;
    struct table_link another;
};

static void *create(size_t count)
{
    struct objects *o = calloc(1, sizeof *o);
    assert(o != NULL);
    o->count = count;
    o->links = calloc(count, sizeof *o->links);
    o->hashes = calloc(count, sizeof *o->hashes);
    assert(o->links != NULL && o->hashes != NULL);
    if (table_init(&o->table) != 0) {
        abort();
    }
    for (uint64_t i = 0; i < count; i++) {
        table_insert(&o->table, &o->links[i], XXH3_64bits(&i, sizeof i));
    }
    for (size_t i = 0; i < count; i++) {
        o->hashes[i] = o->links[i * STRIDE % count].hash;
    }
    return o;
}

static void *thousand(void)
{
    return create(1000);
}

static void *hundred_thousand(void)
{
    return create(100000);
}

static void destroy(void *state)
{
    struct objects *o = state;
    table_fini(&o->table);
    free(o->links);
    free(o->hashes);
    free(o);
}

static void find(void *state, uint64_t count)
{
    struct objects *o = state;
    for (size_t i = 0, at = 0; i < count; i++, at = at + 1 < o->count ? at + 1 : 0) {
        const struct table_link *found = table_find(&o->table, o->hashes[at]);
        assert(found != NULL);
        micro_use((uint64_t)(uintptr_t)found);
    }
}

static void insert_remove(void *state, uint64_t count)
{
    struct objects *o = state;
    for (size_t i = 0, at = 0; i < count; i++, at = at + 1 < o->count ? at + 1 : 0) {
        table_insert(&o->table, &o->another, ~o->hashes[at]);
        table_remove(&o->table, &o->another);
    }
}

const struct micro micro_table[] = {
    {"table_find_1e3", thousand, find, destroy},
    {"table_find_1e5", hundred_thousand, find, destroy},
    {"table_insert_remove_1e3", thousand, insert_remove, destroy},
    {"table_insert_remove_1e5", hundred_thousand, insert_remove, destroy},
    {.name = NULL},
};
