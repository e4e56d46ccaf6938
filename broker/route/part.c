/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/part.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/route/share.h"
#include "broker/shard/quiescence.h"

/* ---- figures */

static void publish_figures(struct part *part)
{
    atomic_store_explicit(&part->bytes,
                          part->content_bytes + part->filters.bytes + trie_bytes(&part->trie),
                          memory_order_relaxed);
}

void part_count_bytes(struct part *part, ptrdiff_t delta)
{
    part->content_bytes += (size_t)delta;
    publish_figures(part);
}

static void count_filter(struct part *part, uint64_t delta)
{
    const uint64_t count = atomic_load_explicit(&part->filter_count, memory_order_relaxed);
    atomic_store_explicit(&part->filter_count, count + delta, memory_order_relaxed);
}

uint64_t part_id(struct part *part)
{
    do {
        part->id_last += part->id_step;
    } while ((uint32_t)part->id_last == 0); /* a filter keeps the lower half only */
    return part->id_last;
}

/* ---- filters */

/* Where a filter is, or would be: in the table, if its shape is or can be in the set. */
struct place {
    bool has_shape;
    struct shape shape;
    uint64_t hash; /* in the table */
};

static struct place place_of(const struct part *part, struct bytes topic_filter)
{
    struct place place = {.has_shape = false};
    place.has_shape = shape_of(topic_filter, part->seed, &place.shape, &place.hash);
    return place;
}

static bool text_equal(const struct slot_entry *entry, const void *key)
{
    const struct filter *const filter = (const struct filter *)entry;
    return bytes_equal(bytes_of(filter->text, filter->len), *(const struct bytes *)key);
}

static struct filter *find_in_table(const struct part *part, const struct place *place,
                                    struct bytes topic_filter)
{
    return !place->has_shape ? NULL
                             : (struct filter *)slots_find(&part->filters, place->hash, text_equal,
                                                           &topic_filter);
}

/* The trie may hold filters of a shape that has come into the set since. */
static struct filter *find(struct part *part, const struct place *place, struct bytes topic_filter)
{
    struct filter *const filter = find_in_table(part, place, topic_filter);
    const bool may_be_in_trie = !place->has_shape || !shape_is_exact(&place->shape);
    return filter != NULL || !may_be_in_trie ? filter : trie_find(&part->trie, topic_filter);
}

struct filter *part_find(struct part *part, struct bytes topic_filter)
{
    const struct place place = place_of(part, topic_filter);
    return find(part, &place, topic_filter);
}

static size_t filter_size(size_t len)
{
    const size_t size = offsetof(struct filter, text) + len;
    return size < sizeof(struct filter) ? sizeof(struct filter) : size;
}

static struct filter *filter_create(struct bytes text, uint64_t id)
{
    struct filter *filter = malloc(filter_size(text.len));
    if (filter != NULL) {
        *filter = (struct filter){.len = (uint16_t)text.len, .id = id};
        memcpy(filter->text, text.at, text.len);
    }
    return filter;
}

static bool filter_link(struct part *part, struct filter *filter, const struct place *place,
                        struct bytes topic_filter)
{
    if (!place->has_shape ||
        !shapes_add(&part->shapes, &place->shape, part->quiescence, part->owner)) {
        return trie_insert(&part->trie, topic_filter, filter);
    }
    if (!slots_insert(&part->filters, place->hash, &filter->entry)) {
        shapes_remove(&part->shapes, &place->shape, part->quiescence, part->owner);
        return false;
    }
    return true;
}

struct filter *part_make(struct part *part, struct bytes topic_filter)
{
    const struct place place = place_of(part, topic_filter);
    struct filter *filter = find(part, &place, topic_filter);
    if (filter != NULL) {
        return filter;
    }
    const uint64_t id =
        (uint64_t)name_hash(topic_filter, part->seed) << 32 | (uint32_t)part_id(part);
    filter = filter_create(topic_filter, id);
    if (filter == NULL || !filter_link(part, filter, &place, topic_filter)) {
        free(filter);
        return NULL;
    }
    count_filter(part, 1);
    part_count_bytes(part, (ptrdiff_t)filter_size(topic_filter.len));
    return filter;
}

void part_drop(struct part *part, struct filter *filter)
{
    assert(atomic_load_explicit(&filter->shards, memory_order_relaxed) == 0);
    assert(atomic_load_explicit(&filter->groups, memory_order_relaxed) == NULL);

    const struct bytes text = bytes_of(filter->text, filter->len);
    const struct place place = place_of(part, text);
    if (find_in_table(part, &place, text) == filter) {
        slots_remove(&part->filters, place.hash, &filter->entry);
        shapes_remove(&part->shapes, &place.shape, part->quiescence, part->owner);
    } else {
        trie_remove(&part->trie, text);
    }
    after_quiescent(part->quiescence, part->owner, free, filter);
    count_filter(part, UINT64_MAX); /* one less */
    part_count_bytes(part, -(ptrdiff_t)filter_size(text.len));
}

/* ---- the whole */

bool part_init(struct part *part, struct quiescence *q, unsigned owner, uint64_t seed,
               uint64_t id_first, uint64_t id_step)
{
    *part = (struct part){
        .seed = seed, .quiescence = q, .owner = owner, .id_last = id_first, .id_step = id_step};
    if (!slots_init(&part->filters, q, owner) || !trie_init(&part->trie, q, owner, seed) ||
        table_init(&part->groups) != 0) {
        part_fini(part);
        return false;
    }
    publish_figures(part);
    return true;
}

static void filter_destroy(struct filter *filter)
{
    struct share_group *group = atomic_load_explicit(&filter->groups, memory_order_relaxed);
    while (group != NULL) {
        struct share_group *const next = atomic_load_explicit(&group->next, memory_order_relaxed);
        share_group_destroy(group);
        group = next;
    }
    free(filter);
}

static void on_filter(struct slot_entry *entry, void *context)
{
    (void)context;
    filter_destroy((struct filter *)entry);
}

void part_fini(struct part *part)
{
    slots_each(&part->filters, on_filter, NULL);
    slots_fini(&part->filters);
    shapes_fini(&part->shapes);
    trie_fini(&part->trie, filter_destroy);
    table_fini(&part->groups);
}
