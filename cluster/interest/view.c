/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/interest/view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct view_entry {
    struct table_link link;
    uint32_t count; /* >= 1 */
    uint32_t mark;
    uint16_t len;
    uint8_t kind;
    bool known : 1; /* to whom the events are */
    bool due : 1;   /* they are to be told of it, or of its count: set() failed */
    uint8_t text[];
};

bool view_init(struct view *v, uint64_t seed)
{
    *v = (struct view){.seed = seed};
    return table_init(&v->table) == 0;
}

static size_t entry_bytes(size_t len)
{
    return offsetof(struct view_entry, text) + len;
}

static struct node_interest_item item_of(const struct view_entry *e)
{
    return (struct node_interest_item){
        .kind = e->kind, .count = e->count, .text = bytes_of(e->text, e->len)};
}

static void entry_free(struct view *v, struct view_entry *e)
{
    table_remove(&v->table, &e->link);
    v->count--;
    v->bytes -= entry_bytes(e->len);
    free(e);
}

void view_fini(struct view *v)
{
    size_t cursor = 0;
    for (struct table_link *l = table_any(&v->table, &cursor); l != NULL;
         l = table_any(&v->table, &cursor)) {
        entry_free(v, table_object(l, struct view_entry, link));
    }
    table_fini(&v->table);
}

/* ---- One item */

/* A later version may have others, which are kept and not told. */
static bool is_ours(uint8_t kind)
{
    return kind == NODE_INTEREST_FILTER || kind == NODE_INTEREST_GROUP;
}

static struct view_entry *find(struct view *v, uint64_t hash, const struct node_interest_item *item)
{
    for (struct table_link *l = table_find(&v->table, hash); l != NULL; l = table_find_next(l)) {
        struct view_entry *const e = table_object(l, struct view_entry, link);
        if (e->kind == item->kind && bytes_equal(bytes_of(e->text, e->len), item->text)) {
            return e;
        }
    }
    return NULL;
}

static struct view_entry *create(struct view *v, uint64_t hash,
                                 const struct node_interest_item *item)
{
    struct view_entry *const e = calloc(1, entry_bytes(item->text.len));
    if (e != NULL) {
        e->kind = item->kind;
        e->len = (uint16_t)item->text.len;
        memcpy(e->text, item->text.at, item->text.len);
        table_insert(&v->table, &e->link, hash);
        v->count++;
        v->bytes += entry_bytes(item->text.len);
    }
    return e;
}

static void remove_entry(struct view *v, struct view_entry *e, struct item_hash hash,
                         const struct view_events *events)
{
    const struct node_interest_item item = item_of(e);
    digest_change(&v->digest, hash, e->count, 0);
    if (e->known) {
        events->removed(events->context, &item);
    }
    entry_free(v, e);
}

/* false: no memory, here or there. */
static bool set(struct view *v, const struct node_interest_item *item,
                const struct view_events *events)
{
    const struct item_hash hash = item_hash(item->kind, item->text, v->seed);
    struct view_entry *e = find(v, item_hash_short(hash), item);
    if (item->count == 0) {
        if (e != NULL) {
            remove_entry(v, e, hash, events);
        }
        return true;
    }
    if (e == NULL) {
        e = create(v, item_hash_short(hash), item);
        if (e == NULL) {
            return false;
        }
    }
    e->due = e->due || e->count != item->count;
    digest_change(&v->digest, hash, e->count, item->count);
    e->count = item->count;
    e->mark = v->mark;
    if (e->due && is_ours(e->kind)) {
        if (!events->set(events->context, item)) {
            return false;
        }
        e->known = true;
    }
    e->due = false;
    return true;
}

static enum view_err set_all(struct view *v, struct bytes items, const struct view_events *events)
{
    struct node_interest_item item;
    while (node_interest_item_next(&items, &item)) {
        if (!set(v, &item, events)) {
            v->state = VIEW_NONE; /* what is here stays, until the next snapshot */
            return VIEW_NO_MEMORY;
        }
    }
    return VIEW_OK;
}

/* ---- Frames */

static void fill_begin(struct view *v, const struct node_interest_snapshot *part)
{
    v->state = VIEW_FILLING;
    v->dropping = false;
    v->generation = part->generation;
    v->snapshot = part->snapshot;
    v->parts = 0;
    v->mark++;
}

enum view_err view_snapshot(struct view *v, const struct node_interest_snapshot *part,
                            const struct view_events *events)
{
    if (part->generation < v->generation) {
        return VIEW_STALE;
    }
    if (part->part == 0) {
        fill_begin(v, part);
    } else if (v->state != VIEW_FILLING || part->generation != v->generation ||
               part->snapshot != v->snapshot) {
        return VIEW_STALE;
    } else if (part->part != v->parts || part->version < v->version) {
        return VIEW_MISSING;
    }
    v->version = part->version;
    v->parts++;
    const enum view_err err = set_all(v, part->items, events);
    if (err == VIEW_OK && part->last) {
        v->state = VIEW_SWEEPING;
        v->place = 0;
    }
    return err;
}

/* Those of the changes that are new. */
static struct bytes news_of(const struct view *v, const struct node_interest_delta *delta)
{
    struct bytes rest = delta->items;
    struct node_interest_item item;
    for (uint64_t version = delta->first; version <= v->version; version++) {
        if (!node_interest_item_next(&rest, &item)) {
            break;
        }
    }
    return rest;
}

enum view_err view_delta(struct view *v, const struct node_interest_delta *delta,
                         const struct view_events *events)
{
    if (delta->generation < v->generation) {
        return VIEW_STALE;
    }
    if (v->state == VIEW_NONE || v->dropping || delta->generation > v->generation ||
        delta->first > v->version + 1) {
        return VIEW_MISSING;
    }
    const uint64_t last = delta->first + delta->count - 1;
    if (last <= v->version) {
        return VIEW_STALE;
    }
    const struct bytes news = news_of(v, delta);
    v->version = last;
    return set_all(v, news, events);
}

/* ---- Sweeping */

static void sweep_same(struct view *v, struct table_link *l, const struct view_events *events)
{
    while (l != NULL) {
        struct table_link *const next = table_find_next(l);
        struct view_entry *const e = table_object(l, struct view_entry, link);
        if (e->mark != v->mark) {
            remove_entry(v, e, item_hash(e->kind, bytes_of(e->text, e->len), v->seed), events);
        }
        l = next;
    }
}

static bool sweep_end(struct view *v)
{
    if (v->dropping) {
        assert(v->count == 0);
        v->state = VIEW_NONE;
        v->dropping = false;
        v->generation = 0;
        v->version = 0;
    } else {
        v->state = VIEW_WHOLE;
    }
    return true;
}

bool view_sweep(struct view *v, unsigned steps, const struct view_events *events)
{
    while (v->state == VIEW_SWEEPING && steps > 0) {
        struct table_link *const l = table_walk(&v->table, &v->place, &steps);
        if (l == NULL) {
            return steps > 0 ? sweep_end(v) : false;
        }
        v->place = table_place_after(l->hash);
        sweep_same(v, l, events);
        steps--;
        if (v->place == 0) {
            return sweep_end(v);
        }
    }
    return false;
}

void view_drop(struct view *v)
{
    v->state = VIEW_SWEEPING;
    v->dropping = true;
    v->place = 0;
    v->mark++;
}
