/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replicated/graves.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static uint64_t hash_of(struct bytes topic)
{
    return XXH3_64bits(topic.at, topic.len);
}

void graves_fini(struct graves *g)
{
    size_t cursor = 0;
    for (struct grave *grave; (grave = graves_take(g, &cursor)) != NULL;) {
        free(grave);
    }
    if (g->table.buckets != NULL) {
        table_fini(&g->table);
    }
    *g = (struct graves){.floor = 0};
}

struct grave *graves_find(struct graves *g, struct bytes topic)
{
    struct table_link *l = g->table.buckets == NULL ? NULL : table_find(&g->table, hash_of(topic));
    for (; l != NULL; l = table_find_next(l)) {
        struct grave *const grave = table_object(l, struct grave, link);
        if (bytes_equal(grave_topic(grave), topic)) {
            return grave;
        }
    }
    return NULL;
}

bool graves_bury(struct graves *g, struct bytes topic, const struct retained_version *version)
{
    assert(topic.len > 0 && topic.len <= UINT16_MAX);

    struct grave *grave = graves_find(g, topic);
    if (grave != NULL) {
        if (retained_version_compare(version, &grave->version) > 0) {
            grave->version = *version;
        }
        return true;
    }
    if (g->table.buckets == NULL && table_init(&g->table) != 0) {
        return false;
    }
    grave = malloc(sizeof *grave + topic.len);
    if (grave == NULL) {
        return false;
    }
    grave->version = *version;
    grave->len = (uint16_t)topic.len;
    memcpy(grave->topic, topic.at, topic.len);
    table_insert(&g->table, &grave->link, hash_of(topic));
    return true;
}

struct grave *graves_take(struct graves *g, size_t *cursor)
{
    struct table_link *const l = g->table.buckets == NULL ? NULL : table_any(&g->table, cursor);
    if (l == NULL) {
        return NULL;
    }
    table_remove(&g->table, l);
    return table_object(l, struct grave, link);
}
