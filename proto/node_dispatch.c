/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_dispatch.h"

#include <assert.h>

#include "proto/node_field.h"

enum {
    TAG_BYTES = 3,
};

/* ---- Items */

size_t node_dispatch_item_encode(uint8_t *out, const struct node_dispatch_item *item)
{
    struct sink s = node_sink(out);
    node_put_u32(&s, item->partition);
    node_put_u32(&s, item->run);
    node_put_u32(&s, item->place);
    node_put_u64(&s, item->term);
    assert(s.len == NODE_DISPATCH_ITEM_BYTES);
    return s.len;
}

bool node_dispatch_item_next(struct bytes *rest, struct node_dispatch_item *item)
{
    struct cursor c = node_cursor(*rest);
    struct node_dispatch_item i = {.partition = 0};
    struct bytes none;
    if (!cursor_u8(&c, &i.partition) || !cursor_bytes(&c, 3, &none) || !node_u32(&c, &i.run) ||
        !node_u32(&c, &i.place) || !node_u64(&c, &i.term)) {
        return false;
    }
    *rest = cursor_rest(&c);
    *item = i;
    return true;
}

size_t node_dispatched_item_encode(uint8_t *out, const struct node_dispatched_item *item)
{
    struct sink s = node_sink(out);
    sink_u8(&s, item->kind);
    sink_u8(&s, item->partition);
    node_put_u16(&s, 0);
    node_put_u32(&s, item->run);
    node_put_u64(&s, item->term);
    node_put_u64(&s, item->op);
    assert(s.len == NODE_DISPATCHED_ITEM_BYTES);
    return s.len;
}

bool node_dispatched_item_next(struct bytes *rest, struct node_dispatched_item *item)
{
    struct cursor c = node_cursor(*rest);
    struct node_dispatched_item i = {.kind = 0};
    uint16_t none;
    if (!cursor_u8(&c, &i.kind) || !cursor_u8(&c, &i.partition) || !node_u16(&c, &none) ||
        !node_u32(&c, &i.run) || !node_u64(&c, &i.term) || !node_u64(&c, &i.op)) {
        return false;
    }
    *rest = cursor_rest(&c);
    *item = i;
    return true;
}

size_t node_lease_item_encode(uint8_t *out, const struct node_lease_item *item)
{
    struct sink s = node_sink(out);
    node_put_u32(&s, item->partition);
    node_put_u32(&s, item->length_ms);
    node_put_u64(&s, item->term);
    assert(s.len == NODE_LEASE_ITEM_BYTES);
    return s.len;
}

bool node_lease_item_next(struct bytes *rest, struct node_lease_item *item)
{
    struct cursor c = node_cursor(*rest);
    struct node_lease_item i = {.partition = 0};
    struct bytes none;
    if (!cursor_u8(&c, &i.partition) || !cursor_bytes(&c, 3, &none) ||
        !node_u32(&c, &i.length_ms) || !node_u64(&c, &i.term)) {
        return false;
    }
    *rest = cursor_rest(&c);
    *item = i;
    return true;
}

/* ---- A message */

size_t node_dispatch_encode(uint8_t *out, const struct node_dispatch *dispatch)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, 2 * sizeof(uint64_t));
    node_put_u64(&s, dispatch->origin);
    node_put_u64(&s, dispatch->op);
    node_put_field(&s, NODE_TAG_ITEMS, dispatch->items);
    node_put_field(&s, TAG_BYTES, dispatch->bytes);
    assert(s.len <= NODE_DISPATCH_HEAD_MAX + dispatch->items.len + dispatch->bytes.len);
    return s.len;
}

static enum node_err take_fields(struct bytes *head, struct bytes *items, struct bytes *bytes,
                                 struct bytes body)
{
    struct cursor c = node_cursor(body);
    *head = *items = *bytes = bytes_of(NULL, 0);
    while (cursor_left(&c) > 0) {
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return NODE_MALFORMED;
        }
        if (field.tag == NODE_TAG_HEAD) {
            *head = field.value;
        } else if (field.tag == NODE_TAG_ITEMS) {
            *items = field.value;
        } else if (field.tag == TAG_BYTES) {
            *bytes = field.value;
        } else if (node_field_unknown(&field) != NODE_OK) {
            return NODE_UNKNOWN_CRITICAL;
        }
    }
    return NODE_OK;
}

/* Whether it is in none of *seen, [NODE_DISPATCH_ITEMS_MAX]; it is, from then on. */
static bool is_first(bool *seen, uint8_t partition)
{
    if (partition >= NODE_DISPATCH_ITEMS_MAX || seen[partition]) {
        return false;
    }
    seen[partition] = true;
    return true;
}

static bool dispatch_items_are_fair(struct bytes items)
{
    bool seen[NODE_DISPATCH_ITEMS_MAX] = {false};
    struct node_dispatch_item i;
    if (items.len == 0) {
        return false;
    }
    while (items.len > 0) {
        if (!node_dispatch_item_next(&items, &i) || !is_first(seen, i.partition) || i.run == 0 ||
            i.place == 0 || (i.term == 0) != (i.partition == NODE_DISPATCH_NODE)) {
            return false;
        }
    }
    return true;
}

static bool origin_is_fair(uint64_t origin)
{
    return origin > 0 && origin <= NODE_ORIGIN_MAX;
}

enum node_err node_dispatch_decode(struct node_dispatch *dispatch, struct bytes body)
{
    struct node_dispatch d = {.origin = 0};
    struct bytes head;
    const enum node_err err = take_fields(&head, &d.items, &d.bytes, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_u64(&c, &d.origin) || !node_u64(&c, &d.op) || !origin_is_fair(d.origin) ||
        d.op == 0 || !dispatch_items_are_fair(d.items)) {
        return NODE_MALFORMED;
    }
    *dispatch = d;
    return NODE_OK;
}

/* ---- What has become of messages */

size_t node_dispatched_encode(uint8_t *out, const struct node_dispatched *dispatched)
{
    struct sink s = node_sink(out);
    node_put_field_u64(&s, NODE_TAG_HEAD, dispatched->origin);
    node_put_field(&s, NODE_TAG_ITEMS, dispatched->items);
    return s.len;
}

static bool dispatched_item_is_fair(const struct node_dispatched_item *i)
{
    switch (i->kind) {
    case NODE_DISPATCHED_DONE:
        return i->op > 0;
    case NODE_DISPATCHED_LOST:
        return i->run > 0 && i->term > 0 && i->partition < NODE_DISPATCH_PARTITIONS;
    case NODE_DISPATCHED_REPEAT:
        return i->run > 0 && (i->term == 0) == (i->partition == NODE_DISPATCH_NODE);
    default:
        return true;
    }
}

enum node_err node_dispatched_decode(struct node_dispatched *dispatched, struct bytes body)
{
    struct node_dispatched d = {.origin = 0};
    struct node_dispatched_item i;
    struct bytes head;
    const enum node_err err = node_fields_head_items(&head, &d.items, body);
    if (err != NODE_OK) {
        return err;
    }
    if (!node_value_u64(head, &d.origin) || !origin_is_fair(d.origin)) {
        return NODE_MALFORMED;
    }
    for (struct bytes rest = d.items; rest.len > 0;) {
        if (!node_dispatched_item_next(&rest, &i) || i.partition >= NODE_DISPATCH_ITEMS_MAX ||
            !dispatched_item_is_fair(&i)) {
            return NODE_MALFORMED;
        }
    }
    *dispatched = d;
    return NODE_OK;
}

/* ---- Leases */

size_t node_lease_ask_encode(uint8_t *out, const struct node_lease_ask *ask)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, 2 * sizeof(uint64_t));
    node_put_u64(&s, ask->number);
    node_put_u64(&s, ask->version);
    return s.len;
}

enum node_err node_lease_ask_decode(struct node_lease_ask *ask, struct bytes body)
{
    struct node_lease_ask a = {.number = 0};
    struct bytes head;
    const enum node_err err = node_field_only(&head, body, NODE_TAG_HEAD);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_u64(&c, &a.number) || !node_u64(&c, &a.version) || a.number == 0) {
        return NODE_MALFORMED;
    }
    *ask = a;
    return NODE_OK;
}

size_t node_lease_encode(uint8_t *out, const struct node_lease *lease)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, 2 * sizeof(uint64_t));
    node_put_u64(&s, lease->number);
    node_put_u64(&s, lease->version);
    node_put_field(&s, NODE_TAG_ITEMS, lease->items);
    return s.len;
}

static bool lease_items_are_fair(struct bytes items)
{
    bool seen[NODE_DISPATCH_ITEMS_MAX] = {false};
    struct node_lease_item i;
    while (items.len > 0) {
        if (!node_lease_item_next(&items, &i) || i.partition >= NODE_DISPATCH_PARTITIONS ||
            !is_first(seen, i.partition) || i.term == 0 || i.length_ms == 0 ||
            i.length_ms > NODE_LEASE_MS_MAX) {
            return false;
        }
    }
    return true;
}

enum node_err node_lease_decode(struct node_lease *lease, struct bytes body)
{
    struct node_lease l = {.number = 0};
    struct bytes head;
    const enum node_err err = node_fields_head_items(&head, &l.items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_u64(&c, &l.number) || !node_u64(&c, &l.version) || l.number == 0 ||
        !lease_items_are_fair(l.items)) {
        return NODE_MALFORMED;
    }
    *lease = l;
    return NODE_OK;
}

/* ---- Who leads */

size_t node_leads_item_encode(uint8_t *out, const struct node_leads_item *item)
{
    struct sink s = node_sink(out);
    node_put_u32(&s, item->partition);
    node_put_u64(&s, item->term);
    assert(s.len == NODE_LEADS_ITEM_BYTES);
    return s.len;
}

bool node_leads_item_next(struct bytes *rest, struct node_leads_item *item)
{
    struct cursor c = node_cursor(*rest);
    struct node_leads_item i = {.partition = 0};
    struct bytes none;
    if (!cursor_u8(&c, &i.partition) || !cursor_bytes(&c, 3, &none) || !node_u64(&c, &i.term)) {
        return false;
    }
    *rest = cursor_rest(&c);
    *item = i;
    return true;
}

size_t node_leads_encode(uint8_t *out, struct bytes items)
{
    struct sink s = node_sink(out);
    node_put_field(&s, NODE_TAG_ITEMS, items);
    return s.len;
}

enum node_err node_leads_decode(struct bytes *items, struct bytes body)
{
    bool seen[NODE_DISPATCH_ITEMS_MAX] = {false};
    struct node_leads_item i;
    struct bytes head, list;
    const enum node_err err = node_fields_head_items(&head, &list, body);
    if (err != NODE_OK) {
        return err;
    }
    for (struct bytes rest = list; rest.len > 0;) {
        if (!node_leads_item_next(&rest, &i) || i.partition >= NODE_DISPATCH_PARTITIONS ||
            !is_first(seen, i.partition) || i.term == 0) {
            return NODE_MALFORMED;
        }
    }
    *items = list;
    return NODE_OK;
}
