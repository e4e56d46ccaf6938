/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_retained.h"

#include <assert.h>

#include "proto/node_field.h"
#include "proto/topic.h"

/* Of each of the four; given once and for all, as the types of frames are. */
enum tag {
    TAG_HEAD = 1,
    TAG_LIST = 2, /* what is known; sums; items */
    TAG_DROPS = 3,
};

struct fields {
    struct bytes head, list, drops;
};

static enum node_err fields_find(struct fields *f, struct bytes body)
{
    struct cursor c = node_cursor(body);
    *f = (struct fields){0};
    while (cursor_left(&c) > 0) {
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return NODE_MALFORMED;
        }
        if (field.tag == TAG_HEAD) {
            f->head = field.value;
        } else if (field.tag == TAG_LIST) {
            f->list = field.value;
        } else if (field.tag == TAG_DROPS) {
            f->drops = field.value;
        } else if (node_field_unknown(&field) != NODE_OK) {
            return NODE_UNKNOWN_CRITICAL;
        }
    }
    return NODE_OK;
}

/* ---- DIGEST */

size_t node_retained_digest_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                   const struct node_retained_digest *digest)
{
    struct sink s = node_sink(out);
    node_put_head(&s, TAG_HEAD, 3 * sizeof(uint64_t) + NODE_SUM_BYTES);
    sink_bytes(&s, bytes_of(digest->sum, NODE_SUM_BYTES));
    node_put_u64(&s, digest->high);
    node_put_u64(&s, digest->complete);
    node_put_u64(&s, digest->floor);
    assert(s.len <= NODE_RETAINED_HEAD_MAX);
    return s.len;
}

enum node_err node_retained_digest_decode(struct node_retained_digest *digest, struct bytes body)
{
    struct fields f;
    struct node_retained_digest d;
    const enum node_err err = fields_find(&f, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(f.head);
    if (!node_copy(&c, d.sum, NODE_SUM_BYTES) || !node_u64(&c, &d.high) ||
        !node_u64(&c, &d.complete) || !node_u64(&c, &d.floor)) {
        return NODE_MALFORMED;
    }
    *digest = d;
    return NODE_OK;
}

/* ---- ASK */

size_t node_retained_known_encode(uint8_t out[NODE_RETAINED_KNOWN_BYTES],
                                  const struct node_retained_known *known)
{
    put_u64(out, known->hash);
    put_u32(out + 8, known->check);
    put_u64(out + 12, known->stamp);
    put_u32(out + 20, known->writer);
    return NODE_RETAINED_KNOWN_BYTES;
}

struct node_retained_known node_retained_known_at(struct bytes list, size_t i)
{
    assert((i + 1) * NODE_RETAINED_KNOWN_BYTES <= list.len);

    const uint8_t *const at = list.at + i * NODE_RETAINED_KNOWN_BYTES;
    return (struct node_retained_known){.hash = get_u64(at),
                                        .check = get_u32(at + 8),
                                        .stamp = get_u64(at + 12),
                                        .writer = get_u32(at + 20)};
}

size_t node_retained_ask_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                const struct node_retained_ask *ask)
{
    struct sink s = node_sink(out);
    node_put_head(&s, TAG_HEAD, sizeof(uint32_t) + 2 + 2 * sizeof(uint64_t));
    node_put_u32(&s, ask->number);
    sink_u8(&s, ask->want);
    sink_u8(&s, ask->level);
    node_put_u64(&s, ask->first);
    node_put_u64(&s, ask->last);
    node_put_head(&s, TAG_LIST, ask->known.len);
    assert(s.len <= NODE_RETAINED_HEAD_MAX);
    return s.len;
}

enum node_err node_retained_ask_decode(struct node_retained_ask *ask, struct bytes body)
{
    struct fields f;
    struct node_retained_ask a;
    const enum node_err err = fields_find(&f, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(f.head);
    if (!node_u32(&c, &a.number) || !cursor_u8(&c, &a.want) || !cursor_u8(&c, &a.level) ||
        !node_u64(&c, &a.first) || !node_u64(&c, &a.last) || a.last < a.first) {
        return NODE_MALFORMED;
    }
    if ((a.want != NODE_RETAINED_SUMS && a.want != NODE_RETAINED_ITEMS) || a.level > 1) {
        return NODE_MALFORMED;
    }
    if (f.list.len % NODE_RETAINED_KNOWN_BYTES != 0 ||
        f.list.len / NODE_RETAINED_KNOWN_BYTES > NODE_RETAINED_KNOWN_MAX) {
        return NODE_MALFORMED;
    }
    a.known = f.list;
    *ask = a;
    return NODE_OK;
}

/* ---- SUMS */

size_t node_retained_sums_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                 const struct node_retained_sums *sums)
{
    struct sink s = node_sink(out);
    node_put_field_u32(&s, TAG_HEAD, sums->number);
    node_put_head(&s, TAG_LIST, (size_t)NODE_SUMS * NODE_SUM_BYTES);
    assert(s.len <= NODE_RETAINED_HEAD_MAX);
    return s.len;
}

enum node_err node_retained_sums_decode(struct node_retained_sums *sums, struct bytes body)
{
    struct fields f;
    struct node_retained_sums n;
    const enum node_err err = fields_find(&f, body);
    if (err != NODE_OK) {
        return err;
    }
    if (!node_value_u32(f.head, &n.number) || f.list.len != (size_t)NODE_SUMS * NODE_SUM_BYTES) {
        return NODE_MALFORMED;
    }
    n.sums = f.list;
    *sums = n;
    return NODE_OK;
}

/* ---- ITEMS */

size_t node_retained_item_encode(uint8_t *out, const struct node_retained_item *item)
{
    assert(item->topic.len > 0);
    assert(item->topic.len <= NODE_RETAINED_TOPIC_MAX);
    assert(item->body.len <= UINT32_MAX);

    out[0] = item->kind;
    out[1] = 0;
    put_u16(out + 2, (uint16_t)item->topic.len);
    put_u32(out + 4, (uint32_t)item->body.len);
    put_u64(out + 8, item->version.stamp);
    memcpy(out + 16, item->version.origin.bytes, UUID_BYTES);
    put_u64(out + 32, item->version.generation);
    memcpy(out + NODE_RETAINED_ITEM_BYTES, item->topic.at, item->topic.len);
    return NODE_RETAINED_ITEM_BYTES + item->topic.len;
}

static bool item_take(struct cursor *c, struct node_retained_item *item)
{
    uint8_t nothing;
    uint16_t topic_len;
    uint32_t body_len;
    return cursor_u8(c, &item->kind) && cursor_u8(c, &nothing) && node_u16(c, &topic_len) &&
           node_u32(c, &body_len) && node_u64(c, &item->version.stamp) &&
           node_copy(c, item->version.origin.bytes, UUID_BYTES) &&
           node_u64(c, &item->version.generation) && cursor_bytes(c, topic_len, &item->topic) &&
           cursor_bytes(c, body_len, &item->body);
}

bool node_retained_item_next(struct bytes *rest, struct node_retained_item *item)
{
    struct cursor c = node_cursor(*rest);
    if (cursor_left(&c) == 0 || !item_take(&c, item)) {
        return false;
    }
    *rest = cursor_rest(&c);
    return true;
}

/* Kinds that are not known are not fair: what cannot be kept would be a difference for ever. */
static bool item_is_fair(const struct node_retained_item *item)
{
    const bool is_message = item->kind == NODE_RETAINED_MESSAGE;
    return (is_message || (item->kind == NODE_RETAINED_GONE && item->body.len == 0)) &&
           item->version.stamp > 0 && utf8_valid(item->topic) && topic_name_valid(item->topic);
}

static bool items_check(struct bytes items)
{
    struct cursor c = node_cursor(items);
    while (cursor_left(&c) > 0) {
        struct node_retained_item item;
        if (!item_take(&c, &item) || !item_is_fair(&item)) {
            return false;
        }
    }
    return true;
}

void node_retained_drop_encode(uint8_t out[NODE_RETAINED_DROP_BYTES],
                               const struct node_retained_drop *drop)
{
    put_u64(out, drop->hash);
    put_u32(out + 8, drop->check);
}

bool node_retained_drop_next(struct bytes *rest, struct node_retained_drop *drop)
{
    if (rest->len == 0) {
        return false;
    }
    assert(rest->len >= NODE_RETAINED_DROP_BYTES); /* the decoder checked it */
    *drop = (struct node_retained_drop){.hash = get_u64(rest->at), .check = get_u32(rest->at + 8)};
    *rest = bytes_of(rest->at + NODE_RETAINED_DROP_BYTES, rest->len - NODE_RETAINED_DROP_BYTES);
    return true;
}

size_t node_retained_items_encode(uint8_t out[NODE_RETAINED_HEAD_MAX],
                                  const struct node_retained_items *items)
{
    struct sink s = node_sink(out);
    node_put_head(&s, TAG_HEAD, sizeof(uint32_t) + 1 + 2 * sizeof(uint64_t));
    node_put_u32(&s, items->number);
    sink_u8(&s, items->whole ? 1 : 0);
    node_put_u64(&s, items->next);
    node_put_u64(&s, items->floor);
    node_put_head(&s, TAG_LIST, items->items.len);
    assert(s.len <= NODE_RETAINED_HEAD_MAX);
    return s.len;
}

size_t node_retained_drops_encode(uint8_t out[NODE_RETAINED_DROPS_HEAD_MAX],
                                  const struct node_retained_items *items)
{
    struct sink s = node_sink(out);
    if (items->drops.len > 0) {
        node_put_head(&s, TAG_DROPS, items->drops.len);
    }
    assert(s.len <= NODE_RETAINED_DROPS_HEAD_MAX);
    return s.len;
}

enum node_err node_retained_items_decode(struct node_retained_items *items, struct bytes body)
{
    struct fields f;
    struct node_retained_items n;
    uint8_t whole;
    const enum node_err err = fields_find(&f, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(f.head);
    if (!node_u32(&c, &n.number) || !cursor_u8(&c, &whole) || whole > 1 || !node_u64(&c, &n.next) ||
        !node_u64(&c, &n.floor)) {
        return NODE_MALFORMED;
    }
    if (!items_check(f.list) || f.drops.len % NODE_RETAINED_DROP_BYTES != 0 ||
        f.drops.len / NODE_RETAINED_DROP_BYTES > NODE_RETAINED_DROPS_MAX) {
        return NODE_MALFORMED;
    }
    n.whole = whole == 1;
    n.items = f.list;
    n.drops = f.drops;
    *items = n;
    return NODE_OK;
}
