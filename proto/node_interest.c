/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_interest.h"

#include <assert.h>

#include "proto/node_field.h"
#include "proto/topic.h"

/* ---- Items */

size_t node_interest_item_encode(uint8_t *out, const struct node_interest_item *item)
{
    assert(item->text.len <= NODE_INTEREST_TEXT_MAX);

    out[0] = item->kind;
    out[1] = 0;
    put_u16(out + 2, (uint16_t)item->text.len);
    put_u32(out + 4, item->count);
    memcpy(out + NODE_INTEREST_ITEM_BYTES, item->text.at, item->text.len);
    return NODE_INTEREST_ITEM_BYTES + item->text.len;
}

static bool item_take(struct cursor *c, struct node_interest_item *item)
{
    uint8_t nothing;
    uint16_t len;
    return cursor_u8(c, &item->kind) && cursor_u8(c, &nothing) && node_u16(c, &len) &&
           node_u32(c, &item->count) && cursor_bytes(c, len, &item->text);
}

bool node_interest_item_next(struct bytes *rest, struct node_interest_item *item)
{
    struct cursor c = node_cursor(*rest);
    if (cursor_left(&c) == 0 || !item_take(&c, item)) {
        return false;
    }
    *rest = cursor_rest(&c);
    return true;
}

static bool item_is_fair(const struct node_interest_item *item)
{
    struct bytes name, filter;
    switch (item->kind) {
    case NODE_INTEREST_FILTER:
        return item->count <= 1 && utf8_valid(item->text) && topic_filter_valid(item->text);
    case NODE_INTEREST_GROUP:
        return utf8_valid(item->text) && topic_share_parse(item->text, &name, &filter);
    default:
        return true;
    }
}

/* false: one of them is not fair. */
static bool items_check(struct bytes items, bool may_go, uint32_t *count)
{
    struct cursor c = node_cursor(items);
    *count = 0;
    while (cursor_left(&c) > 0) {
        struct node_interest_item item;
        if (!item_take(&c, &item) || !item_is_fair(&item) || (item.count == 0 && !may_go)) {
            return false;
        }
        (*count)++;
    }
    return true;
}

/* ---- Bodies */

size_t node_interest_delta_encode(uint8_t *out, const struct node_interest_delta *delta)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, 2 * sizeof(uint64_t));
    node_put_u64(&s, delta->generation);
    node_put_u64(&s, delta->first);
    node_put_head(&s, NODE_TAG_ITEMS, delta->items.len);
    assert(s.len <= NODE_INTEREST_HEAD_MAX);
    return s.len;
}

enum node_err node_interest_delta_decode(struct node_interest_delta *delta, struct bytes body)
{
    struct bytes head;
    struct node_interest_delta d;
    const enum node_err err = node_fields_head_items(&head, &d.items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_u64(&c, &d.generation) || !node_u64(&c, &d.first) || d.first == 0 ||
        !items_check(d.items, true, &d.count) || d.count == 0 || d.count > UINT64_MAX - d.first) {
        return NODE_MALFORMED;
    }
    *delta = d;
    return NODE_OK;
}

size_t node_interest_snapshot_encode(uint8_t *out, const struct node_interest_snapshot *snapshot)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, 2 * sizeof(uint64_t) + 2 * sizeof(uint32_t) + 1);
    node_put_u64(&s, snapshot->generation);
    node_put_u64(&s, snapshot->version);
    node_put_u32(&s, snapshot->snapshot);
    node_put_u32(&s, snapshot->part);
    sink_u8(&s, snapshot->last ? 1 : 0);
    node_put_head(&s, NODE_TAG_ITEMS, snapshot->items.len);
    assert(s.len <= NODE_INTEREST_HEAD_MAX);
    return s.len;
}

enum node_err node_interest_snapshot_decode(struct node_interest_snapshot *snapshot,
                                            struct bytes body)
{
    struct bytes head;
    struct node_interest_snapshot n;
    const enum node_err err = node_fields_head_items(&head, &n.items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    uint8_t last;
    uint32_t count;
    if (!node_u64(&c, &n.generation) || !node_u64(&c, &n.version) || !node_u32(&c, &n.snapshot) ||
        !node_u32(&c, &n.part) || !cursor_u8(&c, &last) || last > 1 ||
        !items_check(n.items, false, &count)) {
        return NODE_MALFORMED;
    }
    n.last = last == 1;
    *snapshot = n;
    return NODE_OK;
}

size_t node_interest_digest_encode(uint8_t *out, const struct node_interest_digest *digest)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, 2 * sizeof(uint64_t) + NODE_DIGEST_BYTES);
    node_put_u64(&s, digest->generation);
    node_put_u64(&s, digest->version);
    sink_bytes(&s, bytes_of(digest->digest, NODE_DIGEST_BYTES));
    return s.len;
}

enum node_err node_interest_digest_decode(struct node_interest_digest *digest, struct bytes body)
{
    struct bytes head, items;
    struct node_interest_digest d;
    const enum node_err err = node_fields_head_items(&head, &items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_u64(&c, &d.generation) || !node_u64(&c, &d.version) ||
        !node_copy(&c, d.digest, NODE_DIGEST_BYTES)) {
        return NODE_MALFORMED;
    }
    *digest = d;
    return NODE_OK;
}

size_t node_interest_ack_encode(uint8_t *out, const struct node_interest_ack *ack)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, 2 * sizeof(uint64_t) + 2 * sizeof(uint32_t) + 1);
    node_put_u64(&s, ack->generation);
    node_put_u64(&s, ack->version);
    node_put_u32(&s, ack->snapshot);
    node_put_u32(&s, ack->parts);
    sink_u8(&s, ack->want);
    return s.len;
}

enum node_err node_interest_ack_decode(struct node_interest_ack *ack, struct bytes body)
{
    struct bytes head, items;
    struct node_interest_ack a;
    const enum node_err err = node_fields_head_items(&head, &items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_u64(&c, &a.generation) || !node_u64(&c, &a.version) || !node_u32(&c, &a.snapshot) ||
        !node_u32(&c, &a.parts) || !cursor_u8(&c, &a.want) || a.want > NODE_WANT_SNAPSHOT) {
        return NODE_MALFORMED;
    }
    *ack = a;
    return NODE_OK;
}
