/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/index.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/route/part.h"
#include "broker/route/share.h"
#include "broker/shard/quiescence.h"
#include "proto/topic.h"

#define CACHE_LINE 64u

/* Changes are counted by first level, hashed: so many that unrelated ones rarely disturb. */
#define VERSION_LINES 256u
#define WILD_LINE     VERSION_LINES

struct index_part {
    _Alignas(CACHE_LINE) struct part part;
};

struct index {
    unsigned shards;
    uint64_t seed;
    struct quiescence *quiescence;

    /* Written by the owners of parts (a line may be of several), read by all. Release: whoever
     * sees the count sees what was changed; acquire. */
    _Atomic uint64_t versions[VERSION_LINES + 1];

    struct index_part parts[]; /* one per shard; then that of "+/…" and "#", which shard 0 writes */
};

struct index *index_create(unsigned shards, uint64_t seed, struct quiescence *q)
{
    assert(shards >= 1);
    assert(shards <= INDEX_SHARDS_MAX);
    assert(q != NULL);

    const unsigned parts = shards + 1;
    struct index *index = aligned_alloc(CACHE_LINE, sizeof *index + parts * sizeof index->parts[0]);
    if (index == NULL) {
        return NULL;
    }
    memset(index, 0, sizeof *index + parts * sizeof index->parts[0]);
    index->shards = shards;
    index->seed = seed;
    index->quiescence = q;
    bool ok = true;
    for (unsigned i = 0; ok && i < parts; i++) {
        ok = part_init(&index->parts[i].part, q, i < shards ? i : 0, seed, i + 1, parts);
    }
    if (!ok) {
        index_destroy(index);
        return NULL;
    }
    return index;
}

void index_destroy(struct index *index)
{
    for (unsigned i = 0; index != NULL && i <= index->shards; i++) {
        part_fini(&index->parts[i].part);
    }
    free(index);
}

static bool begins_with_wildcard(struct bytes filter)
{
    return (filter.at[0] == '+' || filter.at[0] == '#') && (filter.len == 1 || filter.at[1] == '/');
}

static uint64_t first_level_hash(const struct index *index, struct bytes filter)
{
    bool more;
    return level_hash(topic_level_next(&filter, &more), 0, index->seed);
}

static unsigned part_number(const struct index *index, struct bytes filter)
{
    return begins_with_wildcard(filter)
               ? index->shards
               : (unsigned)(first_level_hash(index, filter) % index->shards);
}

unsigned index_owner(const struct index *index, struct bytes filter)
{
    return index->parts[part_number(index, filter)].part.owner;
}

uint32_t index_name_hash(const struct index *index, struct bytes name)
{
    return name_hash(name, index->seed);
}

/* ---- versions */

static uint32_t version_line(const struct index *index, struct bytes filter)
{
    return begins_with_wildcard(filter)
               ? WILD_LINE
               : (uint32_t)(first_level_hash(index, filter) >> 32) % VERSION_LINES;
}

static uint64_t version_of(const struct index *index, uint32_t line)
{
    return atomic_load_explicit(&index->versions[line], memory_order_acquire);
}

struct index_version index_version(const struct index *index, struct bytes topic)
{
    const uint32_t line = version_line(index, topic); /* a topic name has no wildcards */
    return (struct index_version){
        .own = version_of(index, line), .wild = version_of(index, WILD_LINE), .line = line};
}

bool index_version_holds(const struct index *index, const struct index_version *version)
{
    return version_of(index, version->line) == version->own &&
           version_of(index, WILD_LINE) == version->wild;
}

/* After the change can be read, before anything is retired. */
static void changed(struct index *index, struct bytes filter)
{
    atomic_fetch_add_explicit(&index->versions[version_line(index, filter)], 1,
                              memory_order_release);
}

/* ---- changes */

static struct part *owned_part(struct index *index, unsigned self, struct bytes filter)
{
    struct part *const part = &index->parts[part_number(index, filter)].part;
    assert(part->owner == self);
    return part;
}

static uint64_t shards_of(const struct filter *filter)
{
    return atomic_load_explicit(&filter->shards, memory_order_acquire);
}

static struct share_group *groups_of(const struct filter *filter)
{
    return atomic_load_explicit(&filter->groups, memory_order_acquire);
}

static bool is_target(const struct index *index, unsigned target)
{
    return target < index->shards || (target >= INDEX_PEER_FIRST && target < INDEX_TARGETS_MAX);
}

enum index_err index_add(struct index *index, unsigned self, struct bytes filter, unsigned target,
                         uint64_t *filter_id, const uint8_t **text)
{
    assert(is_target(index, target));
    assert(topic_filter_valid(filter));

    struct filter *const f = part_make(owned_part(index, self, filter), filter);
    if (f == NULL) {
        return INDEX_NO_MEMORY;
    }
    atomic_store_explicit(&f->shards, shards_of(f) | UINT64_C(1) << target, memory_order_release);
    changed(index, filter);
    *filter_id = f->id;
    if (text != NULL) {
        *text = f->text;
    }
    return INDEX_OK;
}

static void drop_if_unused(struct part *part, struct filter *f)
{
    if (shards_of(f) == 0 && groups_of(f) == NULL) {
        part_drop(part, f);
    }
}

void index_remove(struct index *index, unsigned self, struct bytes filter, unsigned target)
{
    assert(is_target(index, target));

    struct part *const part = owned_part(index, self, filter);
    struct filter *const f = part_find(part, filter);
    if (f != NULL) {
        atomic_store_explicit(&f->shards, shards_of(f) & ~(UINT64_C(1) << target),
                              memory_order_release);
        changed(index, filter);
        drop_if_unused(part, f);
    }
}

static uint64_t group_hash(const struct part *part, const struct filter *f, struct bytes name)
{
    return XXH3_64bits_withSeed(name.at, name.len, part->seed + f->id * 0x9e3779b97f4a7c15u);
}

/* The filter's group of that name; NULL: there is none. */
static struct share_group *group_find(struct part *part, const struct filter *f, struct bytes name)
{
    struct table_link *link = table_find(&part->groups, group_hash(part, f, name));
    for (; link != NULL; link = table_find_next(link)) {
        struct share_group *const group = table_object(link, struct share_group, by_name);
        if (group->filter == f && bytes_equal(bytes_of(group->name, group->name_len), name)) {
            return group;
        }
    }
    return NULL;
}

/* Before the others, so that whoever reads it reads them as well. */
static void group_link(struct part *part, struct filter *f, struct share_group *group)
{
    struct share_group *const first = groups_of(f);
    const struct bytes name = bytes_of(group->name, group->name_len);
    group->filter = f;
    group->previous = NULL;
    if (first != NULL) {
        first->previous = group;
    }
    table_insert(&part->groups, &group->by_name, group_hash(part, f, name));
    atomic_init(&group->next, first);
    atomic_store_explicit(&f->groups, group, memory_order_release);
}

static void on_group_released(void *group)
{
    share_group_destroy(group);
}

/* It keeps its way to the next one, for those who are in it. */
static void group_unlink(struct part *part, struct filter *f, struct share_group *group)
{
    struct share_group *const next = atomic_load_explicit(&group->next, memory_order_relaxed);
    _Atomic(struct share_group *) *const link =
        group->previous == NULL ? &f->groups : &group->previous->next;
    assert(atomic_load_explicit(link, memory_order_relaxed) == group);
    atomic_store_explicit(link, next, memory_order_release);
    if (next != NULL) {
        next->previous = group->previous;
    }
    table_remove(&part->groups, &group->by_name);
}

/* The filter's group of that name, made if there is none. A new one can be read when it has a
 * member, and is linked then. */
enum index_err index_share_join(struct index *index, unsigned self, struct bytes share_name,
                                struct bytes filter, struct share_member *member,
                                uint64_t *group_id)
{
    assert(is_target(index, member->shard));
    assert(topic_filter_valid(filter));

    struct part *const part = owned_part(index, self, filter);
    struct filter *const f = part_make(part, filter);
    if (f == NULL) {
        return INDEX_NO_MEMORY;
    }
    struct share_group *const present = group_find(part, f, share_name);
    struct share_group *const group =
        present != NULL ? present : share_group_create(share_name, part_id(part), index->shards);
    const size_t bytes = present != NULL ? share_group_bytes(present) : 0;
    if (group == NULL || !share_group_join(group, member, index->quiescence, self)) {
        if (group != NULL && present == NULL) {
            share_group_destroy(group);
        }
        drop_if_unused(part, f);
        return INDEX_NO_MEMORY;
    }
    if (present == NULL) {
        group_link(part, f, group);
        changed(index, filter);
    }
    part_count_bytes(part, (ptrdiff_t)(share_group_bytes(group) - bytes));
    *group_id = group->id;
    return INDEX_OK;
}

void index_share_leave(struct index *index, unsigned self, struct share_member *member)
{
    struct share_group *const group = member->group;
    if (group == NULL) {
        free(member); /* nobody has seen it */
        return;
    }
    struct filter *const f = group->filter;
    const struct bytes filter = bytes_of(f->text, f->len);
    struct part *const part = owned_part(index, self, filter);
    const size_t bytes = share_group_bytes(group);
    const uint32_t left = share_group_leave(group, member, index->quiescence, self);
    part_count_bytes(part, (ptrdiff_t)(share_group_bytes(group) - bytes));
    if (left == 0) {
        part_count_bytes(part, -(ptrdiff_t)share_group_bytes(group));
        group_unlink(part, f, group);
        changed(index, filter);
        after_quiescent(index->quiescence, self, on_group_released, group);
        drop_if_unused(part, f);
    }
}

/* ---- matching */

void match_init(struct match *m)
{
    *m = (struct match){.filter_count = 0};
}

void match_fini(struct match *m)
{
    free(m->filters);
    free(m->groups);
    if (m->walk != NULL) {
        match_walk_fini(m->walk);
    }
    free(m->walk);
    match_init(m);
}

static bool groups_reserve(struct match *m)
{
    if (m->group_count < m->group_capacity) {
        return true;
    }
    const size_t capacity = m->group_capacity * 2 + 8;
    const struct share_group **const groups = realloc(m->groups, capacity * sizeof *groups);
    if (groups == NULL) {
        return false;
    }
    m->groups = groups;
    m->group_capacity = capacity;
    return true;
}

static bool filters_reserve(struct match *m, size_t count)
{
    if (count <= m->filter_capacity) {
        return true;
    }
    const size_t capacity = count * 2;
    struct match_filter *const filters = realloc(m->filters, capacity * sizeof *filters);
    if (filters == NULL) {
        return false;
    }
    m->filters = filters;
    m->filter_capacity = capacity;
    return true;
}

enum index_err match_set(struct match *m, const struct match_filter *filters, size_t filter_count,
                         const struct share_group *const *groups, size_t group_count)
{
    m->filter_count = 0;
    m->group_count = 0;
    m->steps = filter_count + group_count;
    if (!filters_reserve(m, filter_count)) {
        return INDEX_NO_MEMORY;
    }
    for (size_t i = 0; i < filter_count; i++) {
        m->filters[m->filter_count++] = filters[i];
    }
    for (size_t i = 0; i < group_count; i++) {
        if (!groups_reserve(m)) {
            return INDEX_NO_MEMORY;
        }
        m->groups[m->group_count++] = groups[i];
    }
    return INDEX_OK;
}

/* What the filters found say now; a filter may have lost its last shard since it was found. */
static enum index_err gather(struct match *m, const struct match_walk *walk)
{
    if (!filters_reserve(m, walk->found_count)) {
        return INDEX_NO_MEMORY;
    }
    for (size_t i = 0; i < walk->found_count; i++) {
        const struct filter *const f = walk->found[i];
        const uint64_t shards = shards_of(f);
        if (shards != 0) {
            m->filters[m->filter_count++] =
                (struct match_filter){.filter_id = f->id, .shards = shards};
        }
        for (const struct share_group *group = groups_of(f); group != NULL;
             group = atomic_load_explicit(&group->next, memory_order_acquire)) {
            if (!groups_reserve(m)) {
                return INDEX_NO_MEMORY;
            }
            m->groups[m->group_count++] = group;
        }
    }
    return INDEX_OK;
}

enum index_err index_match(const struct index *index, struct bytes topic, struct match *m)
{
    assert(topic.len > 0);
    assert(topic.len <= UINT16_MAX);

    m->filter_count = 0;
    m->group_count = 0;
    m->steps = 0;
    if (m->walk == NULL && (m->walk = calloc(1, sizeof *m->walk)) == NULL) {
        return INDEX_NO_MEMORY;
    }
    struct match_walk *const walk = m->walk;
    if (!match_walk_begin(walk, topic, index->seed)) {
        return INDEX_NO_MEMORY;
    }
    /* A filter that begins with a wildcard does not match a topic that begins with '$'
     * [MQTT-4.7.2-1]; all such filters are in the last part, and no others. */
    const struct part *const parts[] = {
        &index->parts[walk->levels[0].hash % index->shards].part,
        &index->parts[index->shards].part,
    };
    const size_t part_count = topic.at[0] == '$' ? 1 : 2;
    for (size_t i = 0; i < part_count; i++) {
        shapes_guess(&parts[i]->shapes, &parts[i]->filters, index->seed, walk);
    }
    if (!shapes_confirm(walk)) {
        return INDEX_NO_MEMORY;
    }
    for (size_t i = 0; i < part_count; i++) {
        if (!trie_match(&parts[i]->trie, walk)) {
            return INDEX_NO_MEMORY;
        }
    }
    const enum index_err err = gather(m, walk);
    m->steps = walk->steps + walk->found_count + m->group_count;
    return err;
}

/* ---- figures */

uint64_t index_filter_count(const struct index *index)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= index->shards; i++) {
        sum += atomic_load_explicit(&index->parts[i].part.filter_count, memory_order_relaxed);
    }
    return sum;
}

uint64_t index_bytes(const struct index *index)
{
    uint64_t sum = sizeof *index + (index->shards + 1) * sizeof index->parts[0];
    for (unsigned i = 0; i <= index->shards; i++) {
        sum += atomic_load_explicit(&index->parts[i].part.bytes, memory_order_relaxed);
    }
    return sum;
}
