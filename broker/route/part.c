/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/part.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/route/share.h"
#include "broker/shard/quiescence.h"
#include "proto/topic.h"

#define PLUS_HASH UINT64_C(0x2b2b2b2b2b2b2b2b) /* in a path, where a literal level has its own */

/* Where a filter belongs. */
struct place {
    struct node *node;
    enum { PLACE_TAIL, PLACE_HERE, PLACE_BELOW } kind;
    struct bytes tail; /* PLACE_TAIL only */
    uint64_t hash;     /* of node and tail; PLACE_TAIL only */
};

static bool is_level(struct bytes level, char wildcard)
{
    return level.len == 1 && level.at[0] == (uint8_t)wildcard;
}

/* ---- figures */

static void publish_figures(struct part *part)
{
    atomic_store_explicit(&part->bytes, part->content_bytes + part->nodes.bytes + part->tails.bytes,
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
    publish_figures(part);
}

static void count_children(_Atomic uint32_t *children, uint32_t delta)
{
    const uint32_t count = atomic_load_explicit(children, memory_order_relaxed);
    assert(count + delta != UINT32_MAX);
    atomic_store_explicit(children, count + delta, memory_order_relaxed);
}

uint64_t part_id(struct part *part)
{
    const uint64_t id = part->id_next;
    part->id_next += part->id_step;
    return id;
}

/* ---- nodes */

static size_t node_size(size_t level_len)
{
    /* At least what the compiler pads a struct to. */
    const size_t size = offsetof(struct node, level) + level_len;
    return size < sizeof(struct node) ? sizeof(struct node) : size;
}

static struct node *node_create(struct part *part, struct node *parent, struct bytes level,
                                uint64_t hash)
{
    struct node *node = malloc(node_size(level.len));
    if (node == NULL) {
        return NULL;
    }
    *node = (struct node){.level_len = (uint16_t)level.len,
                          .is_plus = is_level(level, '+'),
                          .parent = parent,
                          .hash = hash};
    if (level.len > 0) {
        memcpy(node->level, level.at, level.len);
    }
    part->content_bytes += node_size(level.len);
    return node;
}

static void node_retire(struct part *part, struct node *node)
{
    part->content_bytes -= node_size(node->level_len);
    after_quiescent(part->quiescence, part->owner, free, node);
}

static struct node *child_find(const struct part *part, struct node *parent, struct bytes level,
                               uint64_t hash)
{
    if (is_level(level, '+')) {
        return atomic_load_explicit(&parent->plus, memory_order_relaxed);
    }
    const struct node_key key = {parent, level};
    return (struct node *)slots_find(&part->nodes, hash, node_equal, &key);
}

static struct node *child_make(struct part *part, struct node *parent, struct bytes level,
                               uint64_t hash)
{
    struct node *child = child_find(part, parent, level, hash);
    if (child != NULL) {
        return child;
    }
    child = node_create(part, parent, level, hash);
    if (child == NULL) {
        return NULL;
    }
    if (child->is_plus) {
        atomic_store_explicit(&parent->plus, child, memory_order_release);
        return child;
    }
    if (!slots_insert(&part->nodes, hash, &child->entry)) {
        part->content_bytes -= node_size(level.len);
        free(child);
        return NULL;
    }
    count_children(&parent->literals, 1);
    return child;
}

static bool is_bare(struct node *node)
{
    return atomic_load_explicit(&node->literals, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&node->tails, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&node->plus, memory_order_relaxed) == NULL &&
           atomic_load_explicit(&node->here, memory_order_relaxed) == NULL &&
           atomic_load_explicit(&node->below, memory_order_relaxed) == NULL;
}

/* Takes away the node, and those above it, as far as they lead nowhere. */
static void prune(struct part *part, struct node *node)
{
    while (node != part->root && is_bare(node)) {
        struct node *const parent = node->parent;
        if (node->is_plus) {
            atomic_store_explicit(&parent->plus, NULL, memory_order_relaxed);
        } else {
            slots_remove(&part->nodes, node->hash, &node->entry);
            count_children(&parent->literals, UINT32_MAX); /* one less */
        }
        node_retire(part, node);
        node = parent;
    }
}

/* ---- filters */

/* How many levels there are up to the last wildcard, 0: none. */
static size_t levels_to_last_wildcard(struct bytes topic_filter)
{
    size_t last = 0, i = 1;
    bool more = true;
    for (; more; i++) {
        const struct bytes level = topic_level_next(&topic_filter, &more);
        if (is_level(level, '+') || is_level(level, '#')) {
            last = i;
        }
    }
    return last;
}

/* As match_walk_begin() does it, from the last level to the first. */
static uint64_t rest_hash(struct bytes rest, uint64_t seed)
{
    uint64_t hash = seed;
    for (size_t end = rest.len, begin = end;; begin--) {
        if (begin == 0 || rest.at[begin - 1] == '/') {
            hash = hash_join(hash, level_hash(bytes_of(rest.at + begin, end - begin), seed));
            if (begin == 0) {
                return hash;
            }
            end = begin - 1;
        }
    }
}

/* Finds where the filter belongs, making what nodes it takes if `make`. false: there is no such
 * place, or no memory to make it; then nothing is left of the attempt. */
static bool place_find(struct part *part, struct bytes topic_filter,
                       struct node *(*child)(struct part *part, struct node *parent,
                                             struct bytes level, uint64_t hash),
                       struct place *place)
{
    struct node *node = part->root;
    bool more = true;
    for (size_t left = levels_to_last_wildcard(topic_filter); left > 0; left--) {
        const struct bytes level = topic_level_next(&topic_filter, &more);
        if (is_level(level, '#')) {
            *place = (struct place){.node = node, .kind = PLACE_BELOW};
            return true;
        }
        const uint64_t hash = is_level(level, '+') ? PLUS_HASH : level_hash(level, part->seed);
        struct node *const next = child(part, node, level, hash_join(node->hash, hash));
        if (next == NULL) {
            prune(part, node);
            return false;
        }
        node = next;
    }
    *place =
        more ? (struct place){.node = node,
                              .kind = PLACE_TAIL,
                              .tail = topic_filter,
                              .hash = hash_join(node->hash, rest_hash(topic_filter, part->seed))}
             : (struct place){.node = node, .kind = PLACE_HERE};
    return true;
}

static struct filter *place_filter(const struct part *part, const struct place *place)
{
    switch (place->kind) {
    case PLACE_TAIL: {
        const struct tail_key key = {place->node, place->tail};
        return (struct filter *)slots_find(&part->tails, place->hash, tail_equal, &key);
    }
    case PLACE_HERE:
        return atomic_load_explicit(&place->node->here, memory_order_relaxed);
    case PLACE_BELOW:
        return atomic_load_explicit(&place->node->below, memory_order_relaxed);
    }
    return NULL;
}

static struct node *child_look(struct part *part, struct node *parent, struct bytes level,
                               uint64_t hash)
{
    return child_find(part, parent, level, hash);
}

struct filter *part_find(const struct part *part, struct bytes topic_filter)
{
    struct place place;
    /* Looking changes nothing: no node that is in is bare. */
    return place_find((struct part *)part, topic_filter, child_look, &place)
               ? place_filter(part, &place)
               : NULL;
}

static size_t filter_size(size_t tail_len)
{
    const size_t size = offsetof(struct filter, tail) + tail_len;
    return size < sizeof(struct filter) ? sizeof(struct filter) : size;
}

static bool filter_publish(struct part *part, struct filter *filter, const struct place *place)
{
    switch (place->kind) {
    case PLACE_TAIL:
        if (!slots_insert(&part->tails, place->hash, &filter->entry)) {
            return false;
        }
        count_children(&place->node->tails, 1);
        break;
    case PLACE_HERE:
        assert(place->node->is_plus);
        atomic_store_explicit(&place->node->here, filter, memory_order_release);
        break;
    case PLACE_BELOW:
        atomic_store_explicit(&place->node->below, filter, memory_order_release);
        break;
    }
    return true;
}

struct filter *part_make(struct part *part, struct bytes topic_filter)
{
    struct place place;
    if (!place_find(part, topic_filter, child_make, &place)) {
        return NULL;
    }
    struct filter *filter = place_filter(part, &place);
    if (filter != NULL) {
        return filter;
    }
    filter = malloc(filter_size(place.tail.len));
    if (filter != NULL) {
        *filter = (struct filter){
            .tail_len = (uint16_t)place.tail.len, .node = place.node, .id = part->id_next};
        if (place.tail.len > 0) {
            memcpy(filter->tail, place.tail.at, place.tail.len);
        }
    }
    if (filter == NULL || !filter_publish(part, filter, &place)) {
        free(filter);
        prune(part, place.node);
        return NULL;
    }
    (void)part_id(part);
    part->content_bytes += filter_size(place.tail.len);
    count_filter(part, 1);
    return filter;
}

void part_drop(struct part *part, struct filter *filter)
{
    assert(atomic_load_explicit(&filter->shards, memory_order_relaxed) == 0);
    assert(atomic_load_explicit(&filter->groups, memory_order_relaxed) == NULL);

    struct node *const node = filter->node;
    if (atomic_load_explicit(&node->below, memory_order_relaxed) == filter) {
        atomic_store_explicit(&node->below, NULL, memory_order_relaxed);
    } else if (atomic_load_explicit(&node->here, memory_order_relaxed) == filter) {
        atomic_store_explicit(&node->here, NULL, memory_order_relaxed);
    } else {
        const struct bytes tail = bytes_of(filter->tail, filter->tail_len);
        slots_remove(&part->tails, hash_join(node->hash, rest_hash(tail, part->seed)),
                     &filter->entry);
        count_children(&node->tails, UINT32_MAX); /* one less */
    }
    part->content_bytes -= filter_size(filter->tail_len);
    after_quiescent(part->quiescence, part->owner, free, filter);
    prune(part, node);
    count_filter(part, UINT64_MAX); /* one less */
}

/* ---- the whole */

bool part_init(struct part *part, struct quiescence *q, unsigned owner, uint64_t seed,
               uint64_t id_first, uint64_t id_step)
{
    *part = (struct part){
        .seed = seed, .quiescence = q, .owner = owner, .id_next = id_first, .id_step = id_step};
    part->root = node_create(part, NULL, bytes_of(NULL, 0), seed);
    if (part->root == NULL || !slots_init(&part->nodes, q, owner) ||
        !slots_init(&part->tails, q, owner)) {
        slots_fini(&part->nodes);
        free(part->root);
        part->root = NULL;
        return false;
    }
    publish_figures(part);
    return true;
}

static void filter_destroy(struct filter *filter)
{
    if (filter == NULL) {
        return;
    }
    struct share_group *group = atomic_load_explicit(&filter->groups, memory_order_relaxed);
    while (group != NULL) {
        struct share_group *const next = atomic_load_explicit(&group->next, memory_order_relaxed);
        share_group_destroy(group);
        group = next;
    }
    free(filter);
}

static void on_tail(struct slot_entry *entry, void *context)
{
    (void)context;
    filter_destroy((struct filter *)entry);
}

/* With the '+' nodes that follow one another below it; literal ones come on their own. */
static void on_node(struct slot_entry *entry, void *context)
{
    (void)context;
    struct node *node = (struct node *)entry;
    while (node != NULL) {
        struct node *const plus = atomic_load_explicit(&node->plus, memory_order_relaxed);
        filter_destroy(atomic_load_explicit(&node->here, memory_order_relaxed));
        filter_destroy(atomic_load_explicit(&node->below, memory_order_relaxed));
        free(node);
        node = plus;
    }
}

void part_fini(struct part *part)
{
    if (part->root == NULL) {
        return;
    }
    slots_each(&part->tails, on_tail, NULL);
    slots_each(&part->nodes, on_node, NULL);
    on_node(&part->root->entry, NULL);
    slots_fini(&part->tails);
    slots_fini(&part->nodes);
    part->root = NULL;
}
