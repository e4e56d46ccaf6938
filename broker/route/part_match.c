/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/part.h"

#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t level_hash(struct bytes level, uint64_t seed)
{
    return XXH3_64bits_withSeed(level.at, level.len, seed);
}

/* Room for `need` elements of `size`; NULL: out of memory, the array is as it was. */
static void *reserve(void *array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) {
        return array;
    }
    const size_t wanted = need < 2 * *capacity ? 2 * *capacity : need + 16;
    void *const grown = realloc(array, wanted * size);
    if (grown != NULL) {
        *capacity = wanted;
    }
    return grown;
}

/* The statement that reserve() is for: an array and its capacity in a struct. */
#define RESERVE(array, capacity, need)                                                             \
    __extension__({                                                                                \
        void *const grown_ = reserve((array), &(capacity), (need), sizeof *(array));               \
        if (grown_ != NULL) {                                                                      \
            (array) = grown_;                                                                      \
        }                                                                                          \
        grown_ != NULL;                                                                            \
    })

void match_walk_fini(struct match_walk *walk)
{
    free(walk->levels);
    free(walk->nodes[0]);
    free(walk->nodes[1]);
    free(walk->tails);
    free(walk->found);
}

bool match_walk_begin(struct match_walk *walk, struct bytes topic, uint64_t seed)
{
    walk->topic = topic;
    walk->level_count = 0;
    walk->found_count = 0;

    uint32_t begin = 0;
    for (uint32_t i = 0; i <= topic.len; i++) {
        if (i == topic.len || topic.at[i] == '/') {
            if (!RESERVE(walk->levels, walk->level_capacity, walk->level_count + 1)) {
                return false;
            }
            walk->levels[walk->level_count++] =
                (struct level){.at = begin,
                               .len = i - begin,
                               .hash = level_hash(bytes_of(topic.at + begin, i - begin), seed)};
            begin = i + 1;
        }
    }
    uint64_t hash = seed;
    for (size_t i = walk->level_count; i > 0; i--) {
        hash = hash_join(hash, walk->levels[i - 1].hash);
        walk->levels[i - 1].rest_hash = hash;
    }
    return true;
}

/* Room for what one level of `count` nodes may add. */
static bool walk_reserve(struct match_walk *walk, size_t count, unsigned next)
{
    return RESERVE(walk->nodes[next], walk->node_capacity[next], 2 * count) &&
           RESERVE(walk->tails, walk->tail_capacity, walk->tail_count + count) &&
           RESERVE(walk->found, walk->found_capacity, walk->found_count + 2 * count);
}

static void walk_found(struct match_walk *walk, const struct filter *filter)
{
    if (filter != NULL) {
        __builtin_prefetch(filter); /* read once all are found */
        walk->found[walk->found_count++] = filter;
    }
}

static struct bytes level_bytes(const struct match_walk *walk, size_t level)
{
    return bytes_of(walk->topic.at + walk->levels[level].at, walk->levels[level].len);
}

/* Starts to fetch what the next step will read for this node, and notes its tail for the end. */
static void prepare(const struct part *part, struct match_walk *walk, size_t level,
                    const struct node *node)
{
    if (atomic_load_explicit(&node->tails, memory_order_relaxed) > 0) {
        const uint64_t hash = hash_join(node->hash, walk->levels[level].rest_hash);
        slots_prefetch(&part->tails, hash);
        walk->tails[walk->tail_count++] =
            (struct walk_tail){.node = node, .hash = hash, .level = (uint32_t)level};
    }
    if (atomic_load_explicit(&node->literals, memory_order_relaxed) > 0) {
        slots_prefetch(&part->nodes, hash_join(node->hash, walk->levels[level].hash));
    }
}

/* From the nodes that match up to the level to those that match with it; returns how many. */
static size_t step(const struct part *part, struct match_walk *walk, size_t level,
                   const struct node *const *nodes, size_t count, const struct node **next)
{
    for (size_t i = 0; i < count; i++) {
        prepare(part, walk, level, nodes[i]);
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct node *const node = nodes[i];
        walk_found(walk, atomic_load_explicit(&node->below, memory_order_acquire));
        const struct node *const plus = atomic_load_explicit(&node->plus, memory_order_acquire);
        if (plus != NULL) {
            __builtin_prefetch(plus);
            next[n++] = plus;
        }
        if (atomic_load_explicit(&node->literals, memory_order_relaxed) > 0) {
            const struct node_key key = {node, level_bytes(walk, level)};
            const struct slot_entry *const child = slots_find(
                &part->nodes, hash_join(node->hash, walk->levels[level].hash), node_equal, &key);
            if (child != NULL) {
                next[n++] = (const struct node *)child;
            }
        }
    }
    return n;
}

static bool find_tails(const struct part *part, struct match_walk *walk)
{
    if (!RESERVE(walk->found, walk->found_capacity, walk->found_count + walk->tail_count)) {
        return false;
    }
    for (size_t i = 0; i < walk->tail_count; i++) {
        slots_prefetch_entry(&part->tails, walk->tails[i].hash);
    }
    for (size_t i = 0; i < walk->tail_count; i++) {
        const size_t at = walk->levels[walk->tails[i].level].at;
        const struct tail_key key = {walk->tails[i].node,
                                     bytes_of(walk->topic.at + at, walk->topic.len - at)};
        const struct slot_entry *const filter =
            slots_find(&part->tails, walk->tails[i].hash, tail_equal, &key);
        if (filter != NULL) {
            walk->found[walk->found_count++] = (const struct filter *)filter;
        }
    }
    return true;
}

bool part_match(const struct part *part, struct match_walk *walk)
{
    walk->tail_count = 0;
    unsigned now = 0;
    size_t count = 1;
    if (!RESERVE(walk->nodes[now], walk->node_capacity[now], count)) {
        return false;
    }
    walk->nodes[now][0] = part->root;
    for (size_t level = 0; level < walk->level_count && count > 0; level++) {
        if (!walk_reserve(walk, count, 1 - now)) {
            return false;
        }
        count = step(part, walk, level, walk->nodes[now], count, walk->nodes[1 - now]);
        now = 1 - now;
    }
    if (!walk_reserve(walk, count, 1 - now)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) { /* the topic ends here; "a/#" matches "a" */
        const struct node *const node = walk->nodes[now][i];
        walk_found(walk, atomic_load_explicit(&node->here, memory_order_acquire));
        walk_found(walk, atomic_load_explicit(&node->below, memory_order_acquire));
    }
    return find_tails(part, walk);
}
