/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed: frames. What goes is made when there is room for it; what this node tells itself goes the
 * same way, without being written.
 */
#include <assert.h>
#include <string.h>

#include "cluster/claims/claims_parts.h"

/* ---- To a peer */

static size_t owner_body(struct claims *c, unsigned peer)
{
    struct node_claim_owner words = {.session = c->peers[peer].lost_round};
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        words.terms[i] = c->parts[i].term;
    }
    return node_claim_owner_encode(c->body, &words);
}

/* The items are in the body behind the place of the head, which is put in front of them. */
static struct bytes with_head(struct claims *c, const uint8_t *head, size_t head_len, size_t len)
{
    uint8_t *const at = c->body + NODE_CLAIM_HEAD_MAX - head_len;
    memcpy(at, head, head_len);
    return bytes_of(at, head_len + len);
}

static bool next_words(struct claims *c, unsigned peer, size_t room, struct bytes *body)
{
    uint8_t head[NODE_CLAIM_HEAD_MAX];
    const size_t most = room < c->conf.frame_bytes ? room : c->conf.frame_bytes;
    size_t len = 0;
    struct node_word word;
    while (len + NODE_CLAIM_WORD_BYTES + NODE_CLAIM_HEAD_MAX <= most &&
           owner_word(c, peer, &word)) {
        len += node_word_encode(c->body + NODE_CLAIM_HEAD_MAX + len, &word);
    }
    if (len == 0) {
        return false;
    }
    const size_t head_len =
        node_claim_words_encode(head, bytes_of(c->body + NODE_CLAIM_HEAD_MAX, len));
    *body = with_head(c, head, head_len, len);
    return true;
}

static size_t item_bytes(const struct node_hold *item)
{
    return NODE_CLAIM_HOLD_BYTES + item->id.len + item->will.len;
}

/* Of one partition, as much as there is room for; the length of all items so far. */
static size_t part_items(struct claims *c, struct part *part, size_t len, size_t room,
                         uint32_t frame, unsigned *steps, uint64_t now_ms)
{
    struct node_hold item;
    struct hold *hold;
    while (*steps > 0 && holder_next(c, part, steps, now_ms, &item, &hold)) {
        const size_t most = len == 0 || room < c->conf.frame_bytes ? room : c->conf.frame_bytes;
        if (NODE_CLAIM_HEAD_MAX + len + item_bytes(&item) > most) {
            *steps = 0;
            return len;
        }
        len += node_hold_encode(c->body + NODE_CLAIM_HEAD_MAX + len, &item);
        holder_told(part, hold, item.kind, frame);
        (*steps)--;
    }
    if (*steps > 0) {
        c->busy &= ~PART_BIT(part_number(c, part)); /* nothing is left */
    }
    return len;
}

/* It was the deputy of these partitions: what it has of them is no more. */
static size_t void_items(struct claims *c, struct peer *p, size_t len, size_t room)
{
    for (; p->void_due != 0; p->void_due &= p->void_due - 1) {
        if (NODE_CLAIM_HEAD_MAX + len + 2 * (size_t)NODE_CLAIM_HOLD_BYTES > room) {
            break;
        }
        const unsigned number = (unsigned)__builtin_ctzll(p->void_due);
        struct node_hold item = {.kind = NODE_HOLD_COPIES_BEGIN, .hash = (uint64_t)number << 58};
        len += node_hold_encode(c->body + NODE_CLAIM_HEAD_MAX + len, &item);
        item.kind = NODE_HOLD_COPIES_END;
        len += node_hold_encode(c->body + NODE_CLAIM_HEAD_MAX + len, &item);
        p->copies_there &= ~PART_BIT(number);
    }
    return len;
}

/* As part_items(), of those that the peer is the deputy of. */
static size_t copy_items(struct claims *c, struct part *part, size_t len, size_t room,
                         uint32_t frame, unsigned *steps, uint64_t now_ms)
{
    struct node_hold item;
    struct hold_will *will;
    while (*steps > 0 && deputy_next(c, part, now_ms, &item, &will)) {
        const size_t most = len == 0 || room < c->conf.frame_bytes ? room : c->conf.frame_bytes;
        if (NODE_CLAIM_HEAD_MAX + len + item_bytes(&item) > most) {
            *steps = 0;
            return len;
        }
        len += node_hold_encode(c->body + NODE_CLAIM_HEAD_MAX + len, &item);
        deputy_told(c, part, will, frame);
        (*steps)--;
    }
    if (*steps > 0) {
        c->copying &= ~PART_BIT(part_number(c, part));
    }
    return len;
}

static bool next_holds(struct claims *c, unsigned peer, size_t room, uint64_t now_ms,
                       struct bytes *body)
{
    struct peer *const p = &c->peers[peer];
    unsigned steps = c->conf.turn_steps;
    size_t len = 0;
    if (p->sent - p->acked >= c->conf.frames_max ||
        (c->busy == 0 && c->copying == 0 && p->void_due == 0)) {
        return false;
    }
    const unsigned first = c->next_part;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS && steps > 0; i++) {
        const unsigned number = (first + i) % NODE_CLAIM_PARTITIONS;
        if ((c->busy & PART_BIT(number)) != 0 && c->parts[number].owner == peer) {
            c->next_part = number;
            len = part_items(c, &c->parts[number], len, room, p->sent + 1, &steps, now_ms);
        }
    }
    len = void_items(c, p, len, room < c->conf.frame_bytes ? room : c->conf.frame_bytes);
    for (uint64_t left = c->copying; left != 0 && steps > 0; left &= left - 1) {
        struct part *const part = &c->parts[__builtin_ctzll(left)];
        if (part->deputy == peer) {
            len = copy_items(c, part, len, room, p->sent + 1, &steps, now_ms);
        }
    }
    if (len == 0) {
        return false;
    }
    uint8_t head[NODE_CLAIM_HEAD_MAX];
    const struct node_claim_holds holds = {.number = ++p->sent,
                                           .items = bytes_of(c->body + NODE_CLAIM_HEAD_MAX, len)};
    *body = with_head(c, head, node_claim_holds_encode(head, &holds), len);
    return true;
}

bool claims_next(struct claims *c, unsigned peer, size_t room, uint64_t now_ms, uint8_t *type,
                 struct bytes *body)
{
    assert(peer < CLAIMS_PEERS_MAX);

    struct peer *const p = &c->peers[peer];
    room = room < CLAIMS_BODY_MAX ? room : CLAIMS_BODY_MAX;
    if (!p->up || room < NODE_CLAIM_HEAD_MAX) {
        return false;
    }
    if (p->owner_due) { /* before all that is said under it */
        p->owner_due = false;
        *type = NODE_FRAME_CLAIM_OWNER;
        *body = bytes_of(c->body, owner_body(c, peer));
        return true;
    }
    if (p->ack_due) {
        p->ack_due = false;
        *type = NODE_FRAME_CLAIM_ACK;
        *body = bytes_of(c->body, node_claim_ack_encode(c->body, p->ack));
        return true;
    }
    if (next_words(c, peer, room, body)) {
        *type = NODE_FRAME_CLAIM_WORDS;
        return true;
    }
    *type = NODE_FRAME_CLAIM_HOLDS;
    return next_holds(c, peer, room, now_ms, body);
}

/* ---- From a peer */

static enum claims_err on_owner(struct claims *c, unsigned peer, struct bytes body)
{
    struct peer *const p = &c->peers[peer];
    if (node_claim_owner_decode(&p->words, body) != NODE_OK) {
        return CLAIMS_MALFORMED;
    }
    p->heard = true;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        if (c->parts[i].owner == peer) {
            holder_owner_is(c, &c->parts[i], p->generation, p->words.session, p->words.terms[i]);
        }
    }
    return CLAIMS_OK;
}

static enum claims_err on_holds(struct claims *c, unsigned peer, struct bytes body, uint64_t now_ms)
{
    struct peer *const p = &c->peers[peer];
    struct node_claim_holds holds;
    struct node_hold item;
    if (node_claim_holds_decode(&holds, body) != NODE_OK) {
        return CLAIMS_MALFORMED;
    }
    while (node_hold_next(&holds.items, &item)) {
        if (owner_take(c, peer, &item, now_ms) != CLAIMS_OK) {
            c->figures.no_memory++;
            return CLAIMS_NO_MEMORY;
        }
    }
    p->ack = holds.number;
    p->ack_due = true;
    return CLAIMS_OK;
}

static enum claims_err on_ack(struct claims *c, unsigned peer, struct bytes body)
{
    struct peer *const p = &c->peers[peer];
    uint32_t number;
    if (node_claim_ack_decode(&number, body) != NODE_OK || number - p->acked > p->sent - p->acked) {
        return CLAIMS_MALFORMED;
    }
    p->acked = number;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        if (c->parts[i].owner == peer) {
            holder_acked(c, &c->parts[i], number);
        }
        if (c->parts[i].deputy == peer) {
            deputy_acked(c, &c->parts[i], number);
        }
    }
    return CLAIMS_OK;
}

static enum claims_err on_words(struct claims *c, unsigned peer, struct bytes body)
{
    struct bytes items;
    struct node_word word;
    if (node_claim_words_decode(&items, body) != NODE_OK) {
        return CLAIMS_MALFORMED;
    }
    while (node_word_next(&items, &word)) {
        holder_word(c, peer, &word);
    }
    return CLAIMS_OK;
}

enum claims_err claims_received(struct claims *c, unsigned peer, const struct node_frame *frame,
                                uint64_t now_ms)
{
    assert(peer < CLAIMS_PEERS_MAX);
    assert(c->peers[peer].up);

    switch (frame->type) {
    case NODE_FRAME_CLAIM_OWNER:
        return on_owner(c, peer, frame->body);
    case NODE_FRAME_CLAIM_HOLDS:
        return on_holds(c, peer, frame->body, now_ms);
    case NODE_FRAME_CLAIM_ACK:
        return on_ack(c, peer, frame->body);
    case NODE_FRAME_CLAIM_WORDS:
        return on_words(c, peer, frame->body);
    default:
        return CLAIMS_OK;
    }
}
