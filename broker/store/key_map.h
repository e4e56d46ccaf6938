/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_map: keys in the order of their bytes, as the checkpoint has them, with a value each, in
 * memory: a skip list (Pugh, 1990), whose heights follow from the keys, so that nothing is random.
 *
 * Owner: one thread. Memory: some 90 bytes for each key, and its value. How many there are is the
 * owner's to bound.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/store/record_key.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define KEY_MAP_HEIGHT 20u

/* Below 0, 0, above 0: by the first byte that differs; and what another one begins with is before
 * it. */
int key_compare(struct bytes a, struct bytes b);

struct key_node {
    struct record_key key;
    uint8_t *value; /* owned; NULL: it has none */
    size_t value_len;
    int64_t count; /* the owner's, and so is `mark` */
    uint8_t mark;
    uint8_t height;
    struct key_node *next[];
};

struct key_map {
    struct key_node *first[KEY_MAP_HEIGHT];
    size_t count, bytes; /* of memory, about */
};

void key_map_init(struct key_map *m);
void key_map_clear(struct key_map *m); /* all go; it is empty then */

struct key_node *key_map_find(const struct key_map *m, struct bytes key); /* or NULL */

/* That, or a new one without a value. NULL: no memory. */
struct key_node *key_map_add(struct key_map *m, struct bytes key);
void key_map_remove(struct key_map *m, struct key_node *node);

/* The first key not below that one, or above it. NULL: none. */
struct key_node *key_map_from(const struct key_map *m, struct bytes key);
struct key_node *key_map_behind(const struct key_map *m, struct bytes key);

static inline struct key_node *key_map_next(const struct key_node *node)
{
    return node->next[0];
}

NODISCARD bool key_map_set(struct key_map *m, struct key_node *node,
                           struct bytes value); /* false: no memory */
void key_map_unset(struct key_map *m, struct key_node *node);

static inline struct bytes key_node_value(const struct key_node *node)
{
    return bytes_of(node->value, node->value_len);
}

static inline bool key_begins_with(struct bytes key, struct bytes prefix)
{
    return key.len >= prefix.len && memcmp(key.at, prefix.at, prefix.len) == 0;
}
