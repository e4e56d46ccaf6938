/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/trie.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/shard/quiescence.h"
#include "proto/topic.h"

#define PLUS_HASH UINT64_C(0x2b2b2b2b2b2b2b2b) /* in a path, where a literal level has its own */

struct node {
    struct slot_entry entry; /* in trie.nodes, unless it is the root or a '+' */
    /* Counted by the owner, read by all to spare themselves a search: relaxed, since a match that
     * must find the child began after the count. */
    _Atomic uint32_t literals;
    uint16_t level_len;
    bool is_plus;
    struct node *parent; /* NULL: the root */
    uint64_t hash;       /* of the path */
    /* Release by the owner, acquire by readers; NULL: none. */
    _Atomic(struct node *) plus;
    _Atomic(struct filter *) here;  /* the filter that ends with this level */
    _Atomic(struct filter *) below; /* the filter that goes on with '#' */
    uint8_t level[];
};

/* A key of trie.nodes. */
struct node_key {
    const struct node *parent;
    struct bytes level;
};

static bool node_equal(const struct slot_entry *entry, const void *key)
{
    const struct node *const node = (const struct node *)entry;
    const struct node_key *const want = key;
    return node->parent == want->parent &&
           bytes_equal(bytes_of(node->level, node->level_len), want->level);
}

static bool is_level(struct bytes level, char wildcard)
{
    return level.len == 1 && level.at[0] == (uint8_t)wildcard;
}

/* ---- nodes */

static size_t node_size(size_t level_len)
{
    const size_t size = offsetof(struct node, level) + level_len;
    return size < sizeof(struct node) ? sizeof(struct node) : size;
}

static struct node *node_create(struct trie *trie, struct node *parent, struct bytes level,
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
    trie->node_bytes += node_size(level.len);
    return node;
}

static void count_literals(struct node *node, uint32_t delta)
{
    const uint32_t count = atomic_load_explicit(&node->literals, memory_order_relaxed);
    assert(count + delta != UINT32_MAX);
    atomic_store_explicit(&node->literals, count + delta, memory_order_relaxed);
}

static struct node *child_find(struct trie *trie, struct node *parent, struct bytes level,
                               uint64_t hash)
{
    if (is_level(level, '+')) {
        return atomic_load_explicit(&parent->plus, memory_order_relaxed);
    }
    const struct node_key key = {parent, level};
    return (struct node *)slots_find(&trie->nodes, hash, node_equal, &key);
}

static struct node *child_make(struct trie *trie, struct node *parent, struct bytes level,
                               uint64_t hash)
{
    struct node *child = child_find(trie, parent, level, hash);
    if (child != NULL) {
        return child;
    }
    child = node_create(trie, parent, level, hash);
    if (child == NULL) {
        return NULL;
    }
    if (child->is_plus) {
        atomic_store_explicit(&parent->plus, child, memory_order_release);
        return child;
    }
    if (!slots_insert(&trie->nodes, hash, &child->entry)) {
        trie->node_bytes -= node_size(level.len);
        free(child);
        return NULL;
    }
    count_literals(parent, 1);
    return child;
}

static bool is_bare(const struct node *node)
{
    return atomic_load_explicit(&node->literals, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&node->plus, memory_order_relaxed) == NULL &&
           atomic_load_explicit(&node->here, memory_order_relaxed) == NULL &&
           atomic_load_explicit(&node->below, memory_order_relaxed) == NULL;
}

/* Takes away the node, and those above it, as far as they lead nowhere. */
static void prune(struct trie *trie, struct node *node)
{
    while (node != trie->root && is_bare(node)) {
        struct node *const parent = node->parent;
        if (node->is_plus) {
            atomic_store_explicit(&parent->plus, NULL, memory_order_relaxed);
        } else {
            slots_remove(&trie->nodes, node->hash, &node->entry);
            count_literals(parent, UINT32_MAX); /* one less */
        }
        trie->node_bytes -= node_size(node->level_len);
        after_quiescent(trie->quiescence, trie->owner, free, node);
        node = parent;
    }
}

/* ---- filters */

/* Where a filter belongs. */
struct place {
    struct node *node; /* the last on the way; NULL: there is no such place */
    _Atomic(struct filter *) *filter;
};

typedef struct node *child_fn(struct trie *trie, struct node *parent, struct bytes level,
                              uint64_t hash);

/* Goes down by child(), which may make what is missing; if that fails, nothing is left of the
 * attempt. */
static struct place place_find(struct trie *trie, struct bytes topic_filter, child_fn *child)
{
    struct node *node = trie->root;
    bool more = true;
    for (size_t number = 0; more; number++) {
        const struct bytes level = topic_level_next(&topic_filter, &more);
        if (is_level(level, '#')) {
            return (struct place){node, &node->below};
        }
        const uint64_t hash =
            is_level(level, '+') ? PLUS_HASH : level_hash(level, number, trie->seed);
        struct node *const next = child(trie, node, level, hash_join(node->hash, hash));
        if (next == NULL) {
            prune(trie, node);
            return (struct place){.node = NULL};
        }
        node = next;
    }
    return (struct place){node, &node->here};
}

struct filter *trie_find(struct trie *trie, struct bytes topic_filter)
{
    const struct place place = place_find(trie, topic_filter, child_find);
    return place.node == NULL ? NULL : atomic_load_explicit(place.filter, memory_order_relaxed);
}

bool trie_insert(struct trie *trie, struct bytes topic_filter, struct filter *filter)
{
    const struct place place = place_find(trie, topic_filter, child_make);
    if (place.node == NULL) {
        return false;
    }
    assert(atomic_load_explicit(place.filter, memory_order_relaxed) == NULL);
    atomic_store_explicit(place.filter, filter, memory_order_release);
    return true;
}

void trie_remove(struct trie *trie, struct bytes topic_filter)
{
    const struct place place = place_find(trie, topic_filter, child_find);
    assert(place.node != NULL);
    assert(atomic_load_explicit(place.filter, memory_order_relaxed) != NULL);
    atomic_store_explicit(place.filter, NULL, memory_order_relaxed);
    prune(trie, place.node);
}

/* ---- the whole */

bool trie_init(struct trie *trie, struct quiescence *q, unsigned owner, uint64_t seed)
{
    *trie = (struct trie){.seed = seed, .quiescence = q, .owner = owner};
    trie->root = node_create(trie, NULL, bytes_of(NULL, 0), seed);
    if (trie->root == NULL || !slots_init(&trie->nodes, q, owner)) {
        free(trie->root);
        trie->root = NULL;
        return false;
    }
    return true;
}

static void release_filter(struct node *node, void (*release)(struct filter *filter))
{
    struct filter *const here = atomic_load_explicit(&node->here, memory_order_relaxed);
    struct filter *const below = atomic_load_explicit(&node->below, memory_order_relaxed);
    if (here != NULL) {
        release(here);
    }
    if (below != NULL) {
        release(below);
    }
}

struct fini {
    void (*release)(struct filter *filter);
};

/* With the '+' nodes that follow one another below it; literal ones come on their own. */
static void on_node(struct slot_entry *entry, void *context)
{
    const struct fini *const fini = context;
    struct node *node = (struct node *)entry;
    while (node != NULL) {
        struct node *const plus = atomic_load_explicit(&node->plus, memory_order_relaxed);
        release_filter(node, fini->release);
        free(node);
        node = plus;
    }
}

void trie_fini(struct trie *trie, void (*release)(struct filter *filter))
{
    if (trie->root == NULL) {
        return;
    }
    struct fini fini = {release};
    slots_each(&trie->nodes, on_node, &fini);
    on_node(&trie->root->entry, &fini);
    slots_fini(&trie->nodes);
    trie->root = NULL;
}

size_t trie_bytes(const struct trie *trie)
{
    return trie->node_bytes + trie->nodes.bytes;
}

/* ---- matching */

static uint64_t child_hash(const struct match_walk *walk, size_t level, const struct node *node)
{
    return hash_join(node->hash, walk->levels[level].hash);
}

/* The child whose level is the topic's. */
static const struct node *child_match(const struct trie *trie, const struct match_walk *walk,
                                      size_t level, const struct node *node)
{
    const struct level *const l = &walk->levels[level];
    const struct node_key key = {node, bytes_of(walk->topic.at + l->at, l->len)};
    return (const struct node *)slots_find(&trie->nodes, child_hash(walk, level, node), node_equal,
                                           &key);
}

/* From the nodes that match up to the level to those that match with it; returns how many. */
static size_t step(const struct trie *trie, struct match_walk *walk, size_t level,
                   const struct node *const *nodes, size_t count, const struct node **next)
{
    for (size_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&nodes[i]->literals, memory_order_relaxed) > 0) {
            slots_prefetch(&trie->nodes, child_hash(walk, level, nodes[i]));
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct node *const node = nodes[i];
        match_walk_found(walk, atomic_load_explicit(&node->below, memory_order_acquire));
        const struct node *const plus = atomic_load_explicit(&node->plus, memory_order_acquire);
        if (plus != NULL) {
            __builtin_prefetch(plus);
            next[n++] = plus;
        }
        const struct node *const child =
            atomic_load_explicit(&node->literals, memory_order_relaxed) > 0
                ? child_match(trie, walk, level, node)
                : NULL;
        if (child != NULL) {
            next[n++] = child;
        }
    }
    return n;
}

bool trie_match(const struct trie *trie, struct match_walk *walk)
{
    if (is_bare(trie->root)) {
        return true;
    }
    unsigned now = 0;
    size_t count = 1;
    if (!match_walk_reserve_nodes(walk, now, count)) {
        return false;
    }
    walk->nodes[now][0] = trie->root;
    for (size_t level = 0; level < walk->level_count && count > 0; level++) {
        if (!match_walk_reserve_nodes(walk, 1 - now, 2 * count) ||
            !match_walk_reserve_found(walk, count)) {
            return false;
        }
        count = step(trie, walk, level, walk->nodes[now], count, walk->nodes[1 - now]);
        now = 1 - now;
        walk->steps += count;
    }
    if (!match_walk_reserve_found(walk, 2 * count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) { /* the topic ends here; "a/#" matches "a" */
        const struct node *const node = walk->nodes[now][i];
        match_walk_found(walk, atomic_load_explicit(&node->here, memory_order_acquire));
        match_walk_found(walk, atomic_load_explicit(&node->below, memory_order_acquire));
    }
    return true;
}
