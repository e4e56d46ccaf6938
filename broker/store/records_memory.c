/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/records_memory.h"

#include <stdlib.h>

#include "broker/store/session_record.h"

static struct bytes body_of(struct bytes key, struct bytes value, uint8_t *scratch)
{
    return key.at[0] == 'q' ? delivery_record_reference(value, scratch) : bytes_of(NULL, 0);
}

/* What referred to it is gone; without bytes: it referred to none. */
static void let_go(struct records_memory *m, struct bytes body)
{
    struct key_node *const node = body.len == 0 ? NULL : key_map_find(&m->all, body);
    if (node == NULL) {
        m->miscounted += body.len != 0;
    } else if (--node->count == 0) {
        key_map_remove(&m->all, node);
    }
}

static enum checkpoint_err get(void *context, struct bytes key, struct bytes *value)
{
    const struct records_memory *const m = context;
    const struct key_node *const node = key_map_find(&m->all, key);
    *value = node == NULL ? bytes_of(NULL, 0) : key_node_value(node);
    return CHECKPOINT_OK;
}

static enum checkpoint_err put(void *context, struct bytes key, struct bytes value)
{
    struct records_memory *const m = context;
    uint8_t scratch[CHECKPOINT_KEY_BYTES_MAX];
    struct key_node *const node = key_map_add(&m->all, key);
    if (node == NULL) {
        return CHECKPOINT_NO_MEMORY;
    }
    const struct bytes before =
        node->value == NULL ? bytes_of(NULL, 0) : body_of(key, key_node_value(node), scratch);
    if (!key_map_set(&m->all, node, value)) {
        return CHECKPOINT_NO_MEMORY;
    }
    let_go(m, before);
    return CHECKPOINT_OK;
}

static enum checkpoint_err add(void *context, struct bytes key, struct bytes if_new)
{
    struct records_memory *const m = context;
    struct key_node *node = key_map_find(&m->all, key);
    if (node == NULL && if_new.at == NULL) {
        m->miscounted++;
        return CHECKPOINT_OK;
    }
    if (node == NULL) {
        node = key_map_add(&m->all, key);
        if (node == NULL || !key_map_set(&m->all, node, if_new)) {
            return CHECKPOINT_NO_MEMORY;
        }
    }
    node->count++;
    return CHECKPOINT_OK;
}

static void drop_node(struct records_memory *m, struct key_node *node)
{
    uint8_t scratch[CHECKPOINT_KEY_BYTES_MAX];
    const struct bytes body = body_of(record_key_bytes(&node->key), key_node_value(node), scratch);
    key_map_remove(&m->all, node);
    let_go(m, body);
}

static enum checkpoint_err drop(void *context, struct bytes key)
{
    struct records_memory *const m = context;
    struct key_node *const node = key_map_find(&m->all, key);
    if (node != NULL) {
        drop_node(m, node);
    }
    return CHECKPOINT_OK;
}

static enum checkpoint_err drop_all(void *context, struct bytes prefix)
{
    struct records_memory *const m = context;
    struct key_node *node = key_map_from(&m->all, prefix);
    while (node != NULL && key_begins_with(record_key_bytes(&node->key), prefix)) {
        const struct record_key key = node->key;
        drop_node(m, node);
        node = key_map_behind(&m->all, record_key_bytes(&key));
    }
    return CHECKPOINT_OK;
}

static enum checkpoint_err next(void *context, struct bytes prefix, struct bytes after,
                                struct bytes *key, struct bytes *value)
{
    const struct records_memory *const m = context;
    const struct key_node *const node =
        after.len == 0 ? key_map_from(&m->all, prefix) : key_map_behind(&m->all, after);
    *key = *value = bytes_of(NULL, 0);
    if (node != NULL && key_begins_with(record_key_bytes(&node->key), prefix)) {
        *key = record_key_bytes(&node->key);
        *value = key_node_value(node);
    }
    return CHECKPOINT_OK;
}

void records_memory_init(struct records_memory *m)
{
    *m = (struct records_memory){.records = {.context = m,
                                             .get = get,
                                             .put = put,
                                             .add = add,
                                             .drop = drop,
                                             .drop_all = drop_all,
                                             .next = next}};
    key_map_init(&m->all);
}

void records_memory_fini(struct records_memory *m)
{
    key_map_clear(&m->all);
}

uint64_t records_memory_references(const struct records_memory *m, uint64_t body)
{
    const struct record_key key = record_key_of('b', body);
    const struct key_node *const node = key_map_find(&m->all, record_key_bytes(&key));
    return node == NULL ? 0 : (uint64_t)node->count;
}
