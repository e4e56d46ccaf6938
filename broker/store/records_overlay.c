/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/records_overlay.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/store/session_record.h"

/* Of a key that has changed: key_node.mark. */
enum mark {
    MARK_COUNTED, /* a body: so many references more, and its value if it is new */
    MARK_PUT,
    MARK_DROPPED,
};

/* ---- what the checkpoint has */

static bool is_dropped(const struct records_overlay *o, struct bytes key)
{
    bool is = false;
    for (size_t len = 1; o->dropped.count > 0 && !is && len <= key.len; len++) {
        is = key_map_find(&o->dropped, bytes_of(key.at, len)) != NULL;
    }
    return is;
}

/* Keys of one letter are of one length: so the first that begins with it is the key itself. */
static enum checkpoint_err read_one(struct records_overlay *o, struct bytes key,
                                    struct bytes *value)
{
    struct checkpoint_read r = {.prefix = key};
    size_t at = 0;
    struct bytes first = bytes_of(NULL, 0);
    *value = bytes_of(NULL, 0);
    free(o->got);
    o->got = NULL;
    if (is_dropped(o, key)) {
        return CHECKPOINT_OK;
    }
    checkpoint_read_now(o->checkpoint, &r);
    o->got = r.pairs;
    if (r.err == CHECKPOINT_OK && checkpoint_pairs_next(r.pairs, &at, &first, value) &&
        !bytes_equal(first, key)) {
        *value = bytes_of(NULL, 0);
    }
    return r.err;
}

static void forget_ahead(struct records_overlay *o)
{
    for (unsigned i = 0; i < RECORDS_AHEAD_LETTERS; i++) {
        free(o->ahead[i].pairs);
        o->ahead[i] = (struct records_ahead){.pairs = NULL};
    }
}

static enum checkpoint_err read_ahead(struct records_overlay *o, struct records_ahead *a,
                                      struct bytes after)
{
    struct checkpoint_read r = {.prefix = record_key_bytes(&a->prefix),
                                .from = after,
                                .after = after.len > 0,
                                .bytes_max = RECORDS_AHEAD_BYTES};
    free(a->pairs);
    a->pairs = NULL;
    a->at = 0;
    checkpoint_read_now(o->checkpoint, &r);
    a->pairs = r.pairs;
    a->more = r.more;
    return r.err;
}

/* That goes on behind that key, or one to begin there. */
static struct records_ahead *find_ahead(struct records_overlay *o, struct bytes prefix,
                                        struct bytes after)
{
    for (unsigned i = 0; i < RECORDS_AHEAD_LETTERS; i++) {
        struct records_ahead *const a = &o->ahead[i];
        if (a->pairs != NULL && bytes_equal(record_key_bytes(&a->prefix), prefix) &&
            bytes_equal(record_key_bytes(&a->last), after)) {
            return a;
        }
    }
    struct records_ahead *const a = &o->ahead[o->ahead_next++ % RECORDS_AHEAD_LETTERS];
    free(a->pairs);
    *a = (struct records_ahead){.prefix = {.len = prefix.len}};
    memcpy(a->prefix.at, prefix.at, prefix.len);
    return a;
}

/* Behind what it gave last, or, at first, behind `after`. */
static enum checkpoint_err next_ahead(struct records_overlay *o, struct records_ahead *a,
                                      struct bytes after, struct bytes *key, struct bytes *value)
{
    *key = *value = bytes_of(NULL, 0);
    a->given = a->at;
    while (a->pairs == NULL || !checkpoint_pairs_next(a->pairs, &a->at, key, value)) {
        if (a->pairs != NULL && !a->more) {
            return CHECKPOINT_OK;
        }
        const enum checkpoint_err err =
            read_ahead(o, a, a->last.len > 0 ? record_key_bytes(&a->last) : after);
        if (err != CHECKPOINT_OK) {
            return err;
        }
        a->given = a->at;
    }
    if (key->len > RECORD_KEY_MAX) {
        return CHECKPOINT_CORRUPT;
    }
    memcpy(a->last.at, key->at, key->len);
    a->last.len = key->len;
    return CHECKPOINT_OK;
}

/* The first behind `after` that is as it was; *a is where it was read ahead, NULL: nowhere. */
static enum checkpoint_err next_unchanged(struct records_overlay *o, struct bytes prefix,
                                          struct bytes after, struct records_ahead **a,
                                          struct bytes *key, struct bytes *value)
{
    enum checkpoint_err err;
    *a = NULL;
    *key = *value = bytes_of(NULL, 0);
    if (is_dropped(o, prefix)) {
        return CHECKPOINT_OK;
    }
    *a = find_ahead(o, prefix, after);
    do {
        err = next_ahead(o, *a, after, key, value);
    } while (err == CHECKPOINT_OK && key->at != NULL &&
             (is_dropped(o, *key) || key_map_find(&o->changes, *key) != NULL));
    return err;
}

/* ---- the functions */

static enum checkpoint_err get(void *context, struct bytes key, struct bytes *value)
{
    struct records_overlay *const o = context;
    const struct key_node *const node = key_map_find(&o->changes, key);
    if (node != NULL && node->mark == MARK_DROPPED) {
        *value = bytes_of(NULL, 0);
        return CHECKPOINT_OK;
    }
    if (node != NULL && node->value != NULL && (node->mark == MARK_PUT || node->count > 0)) {
        *value = key_node_value(node);
        return CHECKPOINT_OK;
    }
    return read_one(o, key, value);
}

/* The checkpoint never hears of a value that was put and went: so it is here that what it refers to
 * is counted. */
static void let_go(struct records_overlay *o, const struct key_node *node)
{
    uint8_t scratch[CHECKPOINT_KEY_BYTES_MAX];
    if (node->mark != MARK_PUT || node->value == NULL || node->key.at[0] != 'q') {
        return;
    }
    const struct bytes body = delivery_record_reference(key_node_value(node), scratch);
    struct key_node *const counted = body.len == 0 ? NULL : key_map_find(&o->changes, body);
    if (counted != NULL) { /* it was added with the value */
        counted->count--;
    }
}

static enum checkpoint_err put(void *context, struct bytes key, struct bytes value)
{
    struct records_overlay *const o = context;
    struct key_node *const node = key_map_add(&o->changes, key);
    if (node == NULL) {
        return CHECKPOINT_NO_MEMORY;
    }
    let_go(o, node);
    node->mark = MARK_PUT;
    return key_map_set(&o->changes, node, value) ? CHECKPOINT_OK : CHECKPOINT_NO_MEMORY;
}

static enum checkpoint_err add(void *context, struct bytes key, struct bytes if_new)
{
    struct records_overlay *const o = context;
    struct key_node *const node = key_map_add(&o->changes, key);
    if (node == NULL ||
        (node->value == NULL && if_new.at != NULL && !key_map_set(&o->changes, node, if_new))) {
        return CHECKPOINT_NO_MEMORY;
    }
    node->mark = MARK_COUNTED;
    node->count++;
    return CHECKPOINT_OK;
}

static enum checkpoint_err drop(void *context, struct bytes key)
{
    struct records_overlay *const o = context;
    struct key_node *const node = key_map_add(&o->changes, key);
    if (node == NULL) {
        return CHECKPOINT_NO_MEMORY;
    }
    let_go(o, node);
    node->mark = MARK_DROPPED;
    key_map_unset(&o->changes, node);
    return CHECKPOINT_OK;
}

static enum checkpoint_err drop_all(void *context, struct bytes prefix)
{
    struct records_overlay *const o = context;
    if (key_map_add(&o->dropped, prefix) == NULL) {
        return CHECKPOINT_NO_MEMORY;
    }
    struct key_node *node = key_map_from(&o->changes, prefix);
    while (node != NULL && key_begins_with(record_key_bytes(&node->key), prefix)) {
        struct key_node *const following = key_map_next(node);
        let_go(o, node); /* which is not one of these: no prefix is of bodies and deliveries */
        key_map_remove(&o->changes, node);
        node = following;
    }
    return CHECKPOINT_OK;
}

static enum checkpoint_err next(void *context, struct bytes prefix, struct bytes after,
                                struct bytes *key, struct bytes *value)
{
    struct records_overlay *const o = context;
    struct records_ahead *a;
    const struct key_node *node =
        after.len == 0 ? key_map_from(&o->changes, prefix) : key_map_behind(&o->changes, after);
    while (node != NULL && node->mark != MARK_PUT) {
        node = key_map_next(node);
    }
    const enum checkpoint_err err = next_unchanged(o, prefix, after, &a, key, value);
    if (err != CHECKPOINT_OK || node == NULL ||
        !key_begins_with(record_key_bytes(&node->key), prefix) ||
        (key->at != NULL && key_compare(*key, record_key_bytes(&node->key)) < 0)) {
        return err;
    }
    if (a != NULL) { /* what was read ahead comes behind this one */
        a->at = a->given;
        a->last = node->key;
    }
    *key = record_key_bytes(&node->key);
    *value = key_node_value(node);
    return CHECKPOINT_OK;
}

/* ---- beginning, and what it comes to */

void records_overlay_init(struct records_overlay *o, struct checkpoint *checkpoint)
{
    *o = (struct records_overlay){.records = {.context = o,
                                              .get = get,
                                              .put = put,
                                              .add = add,
                                              .drop = drop,
                                              .drop_all = drop_all,
                                              .next = next},
                                  .checkpoint = checkpoint};
    key_map_init(&o->changes);
    key_map_init(&o->dropped);
}

void records_overlay_drop(struct records_overlay *o)
{
    key_map_clear(&o->changes);
    key_map_clear(&o->dropped);
    forget_ahead(o);
    free(o->got);
    o->got = NULL;
}

void records_overlay_fini(struct records_overlay *o)
{
    records_overlay_drop(o);
}

size_t records_overlay_bytes(const struct records_overlay *o)
{
    return o->changes.bytes + o->dropped.bytes;
}

static void put_changes(struct checkpoint_batch *batch, const struct key_map *changes)
{
    for (const struct key_node *node = changes->first[0]; node != NULL; node = key_map_next(node)) {
        const struct bytes key = record_key_bytes(&node->key);
        switch ((enum mark)node->mark) {
        case MARK_COUNTED:
            if (node->count != 0) {
                checkpoint_add(batch, key, node->count, key_node_value(node));
            }
            break;
        case MARK_PUT:
            checkpoint_put(batch, key, key_node_value(node));
            break;
        case MARK_DROPPED:
            checkpoint_delete(batch, key);
            break;
        }
    }
}

struct checkpoint_batch *records_overlay_take(struct records_overlay *o)
{
    const size_t changes = o->changes.count + o->dropped.count;
    struct checkpoint_batch *const batch = checkpoint_batch_create();
    if (batch == NULL || changes > UINT32_MAX ||
        !checkpoint_reserve(batch, (uint32_t)changes, records_overlay_bytes(o))) {
        checkpoint_batch_destroy(batch);
        return NULL;
    }
    for (const struct key_node *node = o->dropped.first[0]; node != NULL;
         node = key_map_next(node)) {
        checkpoint_delete_prefix(batch, record_key_bytes(&node->key));
    }
    put_changes(batch, &o->changes);
    records_overlay_drop(o);
    return batch;
}
