/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/shapes.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/shard/quiescence.h"
#include "proto/topic.h"

#define PLUS_LEVELS_MAX 64u /* bits in shape.plus */

static bool is_level(struct bytes level, char wildcard)
{
    return level.len == 1 && level.at[0] == (uint8_t)wildcard;
}

static uint64_t salt_of(const struct shape *shape, uint64_t seed)
{
    return hash_join(hash_join(seed, shape->plus),
                     (uint64_t)shape->levels << 1 | (uint64_t)shape->is_below);
}

/* All filters without wildcards, of whatever length, are of one shape: their lengths tell them
 * apart. */
static const struct shape exact = {.levels = 0};

bool shape_of(struct bytes topic_filter, uint64_t seed, struct shape *shape, uint64_t *hash)
{
    struct shape s = {.plus = 0};
    uint64_t sum = 0;
    bool more = true;
    while (more) {
        const struct bytes level = topic_level_next(&topic_filter, &more);
        if (is_level(level, '#')) {
            s.is_below = true;
            break;
        }
        if (!is_level(level, '+')) {
            sum += level_hash(level, s.levels, seed);
        } else if (s.levels < PLUS_LEVELS_MAX) {
            s.plus |= UINT64_C(1) << s.levels;
        } else {
            return false;
        }
        s.levels++;
    }
    if (shape_is_exact(&s)) {
        s = exact;
    }
    s.salt = salt_of(&s, seed);
    *shape = s;
    *hash = sum + s.salt;
    return true;
}

/* ---- the set */

static struct shape_set *set_of(const struct shapes *shapes)
{
    return atomic_load_explicit(&shapes->set, memory_order_acquire);
}

static uint32_t count_of(const struct shape_set *set)
{
    return set == NULL ? 0 : set->count;
}

void shapes_fini(struct shapes *shapes)
{
    free(set_of(shapes));
}

static bool shape_same(const struct shape *a, const struct shape *b)
{
    return a->plus == b->plus && a->levels == b->levels && a->is_below == b->is_below;
}

/* Where it is, or the count. */
static uint32_t find(const struct shapes *shapes, const struct shape *shape)
{
    const struct shape_set *const set = set_of(shapes);
    uint32_t i = 0;
    while (i < count_of(set) && !shape_same(&set->shapes[i], shape)) {
        i++;
    }
    return i;
}

bool shapes_has(const struct shapes *shapes, const struct shape *shape)
{
    return shape_is_exact(shape) || find(shapes, shape) < count_of(set_of(shapes));
}

static void publish(struct shapes *shapes, struct shape_set *set, struct quiescence *q,
                    unsigned self)
{
    struct shape_set *const old = set_of(shapes);
    atomic_store_explicit(&shapes->set, set, memory_order_release);
    if (old != NULL) {
        after_quiescent(q, self, free, old);
    }
}

static struct shape_set *set_create(uint32_t count)
{
    struct shape_set *set = malloc(sizeof *set + count * sizeof set->shapes[0]);
    if (set != NULL) {
        set->count = count;
    }
    return set;
}

bool shapes_add(struct shapes *shapes, const struct shape *shape, struct quiescence *q,
                unsigned self)
{
    if (shape_is_exact(shape)) {
        return true;
    }
    const struct shape_set *const old = set_of(shapes);
    const uint32_t count = count_of(old), i = find(shapes, shape);
    if (i == count) {
        struct shape_set *const set = count < SHAPES_MAX ? set_create(count + 1) : NULL;
        if (set == NULL) {
            return false;
        }
        if (old != NULL) {
            memcpy(set->shapes, old->shapes, count * sizeof set->shapes[0]);
        }
        set->shapes[count] = *shape;
        shapes->filters[count] = 0;
        publish(shapes, set, q, self);
    }
    shapes->filters[i]++;
    return true;
}

void shapes_remove(struct shapes *shapes, const struct shape *shape, struct quiescence *q,
                   unsigned self)
{
    if (shape_is_exact(shape)) {
        return;
    }
    const struct shape_set *const old = set_of(shapes);
    const uint32_t i = find(shapes, shape);
    assert(i < count_of(old));
    assert(shapes->filters[i] > 0);
    if (--shapes->filters[i] > 0) {
        return;
    }
    const uint32_t left = old->count - 1;
    struct shape_set *const set = left > 0 ? set_create(left) : NULL;
    if (left > 0 && set == NULL) {
        return; /* no memory: it stays, and is of use again if such a filter comes */
    }
    for (uint32_t to = i; to < left; to++) {
        shapes->filters[to] = shapes->filters[to + 1];
    }
    for (uint32_t to = 0; to < left; to++) {
        set->shapes[to] = old->shapes[to < i ? to : to + 1];
    }
    publish(shapes, set, q, self);
}

/* ---- matching */

static void guess(struct match_walk *walk, const struct slots *filters, const struct shape *shape,
                  uint64_t hash)
{
    assert(walk->guess_count < sizeof walk->guesses / sizeof walk->guesses[0]);

    slots_prefetch(filters, hash);
    walk->guesses[walk->guess_count++] =
        (struct guess){.filters = filters, .hash = hash, .shape = shape};
}

void shapes_guess(const struct shapes *shapes, const struct slots *filters, uint64_t seed,
                  struct match_walk *walk)
{
    const struct level *const levels = walk->levels;
    guess(walk, filters, &exact, levels[walk->level_count].sum + salt_of(&exact, seed));
    const struct shape_set *const set = set_of(shapes);
    for (uint32_t i = 0; i < count_of(set); i++) {
        const struct shape *const shape = &set->shapes[i];
        if (shape->is_below ? shape->levels > walk->level_count
                            : shape->levels != walk->level_count) {
            continue;
        }
        uint64_t hash = levels[shape->levels].sum + shape->salt;
        for (uint64_t plus = shape->plus; plus != 0; plus &= plus - 1) {
            hash -= levels[__builtin_ctzll(plus)].hash;
        }
        guess(walk, filters, shape, hash);
    }
}

struct shape_key {
    const struct match_walk *walk;
    const struct shape *shape;
};

/* Is what comes next in the filter the topic from `from` to `to`? */
static bool run_equal(const struct filter *filter, size_t at, const struct match_walk *walk,
                      size_t from, size_t to)
{
    return filter->len - at >= to - from &&
           memcmp(filter->text + at, walk->topic.at + from, to - from) == 0;
}

/* Is the filter the topic's levels, with the shape's wildcards? Literal levels of a topic hold no
 * wildcard, so the texts agree only if the shapes do. */
static bool shape_equal(const struct slot_entry *entry, const void *key)
{
    const struct filter *const filter = (const struct filter *)entry;
    const struct match_walk *const walk = ((const struct shape_key *)key)->walk;
    const struct shape *const shape = ((const struct shape_key *)key)->shape;
    size_t at = 0, from = 0; /* how far the filter, and the topic, are compared */
    for (uint64_t plus = shape->plus; plus != 0; plus &= plus - 1) {
        const struct level *const level = &walk->levels[__builtin_ctzll(plus)];
        if (!run_equal(filter, at, walk, from, level->at)) {
            return false;
        }
        at += level->at - from;
        if (at == filter->len || filter->text[at] != '+') {
            return false;
        }
        at++;
        from = level->at + level->len;
    }
    if (shape_is_exact(shape)) {
        return filter->len == walk->topic.len && run_equal(filter, 0, walk, 0, walk->topic.len);
    }
    /* levels[n].at is one past the '/' after the n-th level, also behind the last. */
    const size_t to = shape->levels == 0 ? 0 : walk->levels[shape->levels].at - 1;
    if (!run_equal(filter, at, walk, from, to)) {
        return false;
    }
    at += to - from;
    const struct bytes rest = bytes_of(filter->text + at, filter->len - at);
    return bytes_equal(rest, bytes_text(!shape->is_below ? "" : shape->levels == 0 ? "#" : "/#"));
}

/* Looks at the lines, which have been on their way; keeps those guesses that may be right, and lets
 * their entries come. */
static void narrow(struct match_walk *walk)
{
    size_t left = 0;
    for (size_t i = 0; i < walk->guess_count; i++) {
        struct guess g = walk->guesses[i];
        g.entry = NULL;
        if (slots_look(g.filters, g.hash, &g.entry) != SLOTS_NONE) {
            walk->guesses[left++] = g;
        }
    }
    walk->guess_count = left;
}

bool shapes_confirm(struct match_walk *walk)
{
    narrow(walk);
    if (!match_walk_reserve_found(walk, walk->guess_count)) {
        return false;
    }
    for (size_t i = 0; i < walk->guess_count; i++) {
        const struct guess *const g = &walk->guesses[i];
        const struct shape_key key = {walk, g->shape};
        const struct slot_entry *entry = g->entry;
        if (entry == NULL || !shape_equal(entry, &key)) { /* seldom */
            entry = slots_find(g->filters, g->hash, shape_equal, &key);
        }
        if (entry != NULL) {
            walk->found[walk->found_count++] = (const struct filter *)entry;
        }
    }
    return true;
}
