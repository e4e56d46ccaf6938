/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_claim.h"

#include <assert.h>

#include "proto/node_field.h"

/* ---- Items */

size_t node_hold_encode(uint8_t *out, const struct node_hold *hold)
{
    assert(hold->id.len <= NODE_CLAIM_ID_MAX);
    assert(hold->will.len <= NODE_CLAIM_WILL_MAX);

    struct sink s = node_sink(out);
    sink_u8(&s, hold->kind);
    sink_u8(&s, hold->flags);
    node_put_u16(&s, (uint16_t)hold->id.len);
    node_put_u32(&s, (uint32_t)hold->will.len);
    node_put_u64(&s, hold->hash);
    node_put_u64(&s, hold->serial);
    node_put_u64(&s, hold->claim);
    node_put_u64(&s, hold->delay_ms);
    node_put_u64(&s, hold->left_ms);
    sink_bytes(&s, hold->id);
    sink_bytes(&s, hold->will);
    return s.len;
}

static bool hold_take(struct cursor *c, struct node_hold *hold)
{
    uint16_t id_len;
    uint32_t will_len;
    return cursor_u8(c, &hold->kind) && cursor_u8(c, &hold->flags) && node_u16(c, &id_len) &&
           node_u32(c, &will_len) && node_u64(c, &hold->hash) && node_u64(c, &hold->serial) &&
           node_u64(c, &hold->claim) && node_u64(c, &hold->delay_ms) &&
           node_u64(c, &hold->left_ms) && cursor_bytes(c, id_len, &hold->id) &&
           cursor_bytes(c, will_len, &hold->will);
}

bool node_hold_next(struct bytes *rest, struct node_hold *hold)
{
    struct cursor c = node_cursor(*rest);
    if (cursor_left(&c) == 0 || !hold_take(&c, hold)) {
        return false;
    }
    *rest = cursor_rest(&c);
    return true;
}

static bool hold_is_fair(const struct node_hold *hold)
{
    const bool named = hold->serial > 0 && hold->claim > 0 && hold->claim < NODE_CLAIM_TIME_MAX;
    if (hold->will.len > NODE_CLAIM_WILL_MAX) {
        return false;
    }
    switch (hold->kind) {
    case NODE_HOLD_WANTS:
    case NODE_HOLD_HOLDS:
    case NODE_HOLD_ENDED:
    case NODE_HOLD_COPY_ENDED:
        return named;
    case NODE_HOLD_COPY:
    case NODE_HOLD_GONE:
        return named && hold->will.len > 0 && hold->left_ms <= hold->delay_ms;
    default:
        return true;
    }
}

size_t node_word_encode(uint8_t *out, const struct node_word *word)
{
    struct sink s = node_sink(out);
    sink_u8(&s, word->kind);
    sink_u8(&s, word->flags);
    node_put_u16(&s, 0);
    node_put_u64(&s, word->hash);
    node_put_u64(&s, word->serial);
    node_put_u64(&s, word->claim);
    sink_bytes(&s, bytes_of(word->former.bytes, UUID_BYTES));
    return s.len;
}

static bool word_take(struct cursor *c, struct node_word *word)
{
    uint16_t nothing;
    return cursor_u8(c, &word->kind) && cursor_u8(c, &word->flags) && node_u16(c, &nothing) &&
           node_u64(c, &word->hash) && node_u64(c, &word->serial) && node_u64(c, &word->claim) &&
           node_copy(c, word->former.bytes, UUID_BYTES);
}

bool node_word_next(struct bytes *rest, struct node_word *word)
{
    struct cursor c = node_cursor(*rest);
    if (cursor_left(&c) == 0 || !word_take(&c, word)) {
        return false;
    }
    *rest = cursor_rest(&c);
    return true;
}

/* ---- Bodies */

size_t node_claim_owner_encode(uint8_t *out, const struct node_claim_owner *owner)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, sizeof(uint32_t) * (1 + NODE_CLAIM_PARTITIONS));
    node_put_u32(&s, owner->session);
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        node_put_u32(&s, owner->terms[i]);
    }
    return s.len;
}

enum node_err node_claim_owner_decode(struct node_claim_owner *owner, struct bytes body)
{
    struct bytes head;
    struct node_claim_owner o;
    const enum node_err err = node_field_only(&head, body, NODE_TAG_HEAD);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_u32(&c, &o.session)) {
        return NODE_MALFORMED;
    }
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        if (!node_u32(&c, &o.terms[i])) {
            return NODE_MALFORMED;
        }
    }
    *owner = o;
    return NODE_OK;
}

size_t node_claim_holds_encode(uint8_t *out, const struct node_claim_holds *holds)
{
    struct sink s = node_sink(out);
    node_put_field_u32(&s, NODE_TAG_HEAD, holds->number);
    node_put_head(&s, NODE_TAG_ITEMS, holds->items.len);
    return s.len;
}

enum node_err node_claim_holds_decode(struct node_claim_holds *holds, struct bytes body)
{
    struct bytes head;
    struct node_claim_holds h;
    const enum node_err err = node_fields_head_items(&head, &h.items, body);
    if (err != NODE_OK) {
        return err;
    }
    if (!node_value_u32(head, &h.number)) {
        return NODE_MALFORMED;
    }
    struct cursor c = node_cursor(h.items);
    while (cursor_left(&c) > 0) {
        struct node_hold hold;
        if (!hold_take(&c, &hold) || !hold_is_fair(&hold)) {
            return NODE_MALFORMED;
        }
    }
    *holds = h;
    return NODE_OK;
}

size_t node_claim_ack_encode(uint8_t *out, uint32_t number)
{
    struct sink s = node_sink(out);
    node_put_field_u32(&s, NODE_TAG_HEAD, number);
    return s.len;
}

enum node_err node_claim_ack_decode(uint32_t *number, struct bytes body)
{
    struct bytes head;
    const enum node_err err = node_field_only(&head, body, NODE_TAG_HEAD);
    if (err != NODE_OK) {
        return err;
    }
    return node_value_u32(head, number) ? NODE_OK : NODE_MALFORMED;
}

size_t node_claim_words_encode(uint8_t *out, struct bytes items)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_ITEMS, items.len);
    return s.len;
}

enum node_err node_claim_words_decode(struct bytes *items, struct bytes body)
{
    struct bytes list;
    const enum node_err err = node_field_only(&list, body, NODE_TAG_ITEMS);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(list);
    while (cursor_left(&c) > 0) {
        struct node_word word;
        if (!word_take(&c, &word) || word.serial == 0 || word.claim >= NODE_CLAIM_TIME_MAX) {
            return NODE_MALFORMED;
        }
    }
    *items = list;
    return NODE_OK;
}
