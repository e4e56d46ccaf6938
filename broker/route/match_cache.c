/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/match_cache.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES     2048u /* a power of two */
#define TOPIC_MAX   72u
#define FILTERS_MAX 4u
#define GROUPS_MAX  2u

/* Three cache lines. Groups are valid while the version holds: they are retired after it has been
 * counted up, so that one who still sees the old version has not passed a quiescent point since. */
struct entry {
    uint64_t topic_hash;
    struct index_version version;
    uint16_t topic_len; /* 0: the entry is empty */
    uint8_t filter_count, group_count;
    struct match_filter filters[FILTERS_MAX];
    const struct share_group *groups[GROUPS_MAX];
    uint8_t topic[TOPIC_MAX];
};

struct match_cache {
    struct entry entries[ENTRIES];
};

_Static_assert(sizeof(struct entry) == 192, "three cache lines");

struct match_cache *match_cache_create(void)
{
    return calloc(1, sizeof(struct match_cache));
}

void match_cache_destroy(struct match_cache *cache)
{
    free(cache);
}

static bool is_of(const struct entry *e, struct bytes topic, uint64_t topic_hash)
{
    return e->topic_hash == topic_hash && e->topic_len == topic.len &&
           memcmp(e->topic, topic.at, topic.len) == 0;
}

static void keep(struct entry *e, const struct index_version *version, struct bytes topic,
                 uint64_t topic_hash, const struct match *m)
{
    if (m->filter_count > FILTERS_MAX || m->group_count > GROUPS_MAX) {
        return;
    }
    e->topic_hash = topic_hash;
    e->version = *version;
    e->topic_len = (uint16_t)topic.len;
    e->filter_count = (uint8_t)m->filter_count;
    e->group_count = (uint8_t)m->group_count;
    memcpy(e->topic, topic.at, topic.len);
    for (size_t i = 0; i < m->filter_count; i++) {
        e->filters[i] = m->filters[i];
    }
    for (size_t i = 0; i < m->group_count; i++) {
        e->groups[i] = m->groups[i];
    }
}

enum index_err match_cached(struct match_cache *cache, const struct index *index,
                            struct bytes topic, uint64_t topic_hash, struct match *m)
{
    if (topic.len > TOPIC_MAX) {
        return index_match(index, topic, m);
    }
    struct entry *const e = &cache->entries[topic_hash % ENTRIES];
    if (is_of(e, topic, topic_hash) && index_version_holds(index, &e->version)) {
        return match_set(m, e->filters, e->filter_count, e->groups, e->group_count);
    }
    const struct index_version version = index_version(index, topic);
    const enum index_err err = index_match(index, topic, m);
    if (err == INDEX_OK) {
        keep(e, &version, topic, topic_hash, m);
    }
    return err;
}
