/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/key_map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The links that lead to a place: at each height the last one before it. */
struct way {
    struct key_node **to[KEY_MAP_HEIGHT];
};

void key_map_init(struct key_map *m)
{
    *m = (struct key_map){.count = 0};
}

static size_t node_bytes(const struct key_node *node)
{
    return sizeof *node + node->height * sizeof node->next[0];
}

static void forget(struct key_node *node)
{
    free(node->value);
    free(node);
}

void key_map_clear(struct key_map *m)
{
    for (struct key_node *node = m->first[0]; node != NULL;) {
        struct key_node *const next = node->next[0];
        forget(node);
        node = next;
    }
    key_map_init(m);
}

int key_compare(struct bytes a, struct bytes b)
{
    const int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* A half of them is of height 1, a quarter of 2, and so on. */
static uint8_t height_of(struct bytes key)
{
    const uint64_t hash = XXH3_64bits(key.at, key.len) | 1ull << (KEY_MAP_HEIGHT - 1);
    return (uint8_t)(1 + __builtin_ctzll(hash));
}

static void find_way(const struct key_map *m, struct bytes key, struct way *way)
{
    struct key_node **links = (struct key_node **)(uintptr_t)m->first;
    for (unsigned level = KEY_MAP_HEIGHT; level-- > 0;) {
        while (links[level] != NULL && key_compare(record_key_bytes(&links[level]->key), key) < 0) {
            links = links[level]->next;
        }
        way->to[level] = &links[level];
    }
}

struct key_node *key_map_from(const struct key_map *m, struct bytes key)
{
    struct way way;
    find_way(m, key, &way);
    return *way.to[0];
}

struct key_node *key_map_behind(const struct key_map *m, struct bytes key)
{
    struct key_node *const node = key_map_from(m, key);
    return node != NULL && bytes_equal(record_key_bytes(&node->key), key) ? node->next[0] : node;
}

struct key_node *key_map_find(const struct key_map *m, struct bytes key)
{
    struct key_node *const node = key_map_from(m, key);
    return node != NULL && bytes_equal(record_key_bytes(&node->key), key) ? node : NULL;
}

struct key_node *key_map_add(struct key_map *m, struct bytes key)
{
    struct way way;
    assert(key.len >= 1);
    assert(key.len <= RECORD_KEY_MAX);

    find_way(m, key, &way);
    struct key_node *node = *way.to[0];
    if (node != NULL && bytes_equal(record_key_bytes(&node->key), key)) {
        return node;
    }
    const uint8_t height = height_of(key);
    node = calloc(1, sizeof *node + height * sizeof node->next[0]);
    if (node == NULL) {
        return NULL;
    }
    memcpy(node->key.at, key.at, key.len);
    node->key.len = key.len;
    node->height = height;
    for (unsigned level = 0; level < height; level++) {
        node->next[level] = *way.to[level];
        *way.to[level] = node;
    }
    m->count++;
    m->bytes += node_bytes(node);
    return node;
}

void key_map_remove(struct key_map *m, struct key_node *node)
{
    struct way way;
    find_way(m, record_key_bytes(&node->key), &way);
    for (unsigned level = 0; level < node->height; level++) {
        assert(*way.to[level] == node);
        *way.to[level] = node->next[level];
    }
    m->count--;
    m->bytes -= node_bytes(node) + node->value_len;
    forget(node);
}

bool key_map_set(struct key_map *m, struct key_node *node, struct bytes value)
{
    uint8_t *const copy = malloc(value.len + 1); /* an empty value is one, too */
    if (copy == NULL) {
        return false;
    }
    if (value.len > 0) {
        memcpy(copy, value.at, value.len);
    }
    key_map_unset(m, node);
    node->value = copy;
    node->value_len = value.len;
    m->bytes += value.len;
    return true;
}

void key_map_unset(struct key_map *m, struct key_node *node)
{
    m->bytes -= node->value_len;
    free(node->value);
    node->value = NULL;
    node->value_len = 0;
}
