/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deputy: copies of wills. If a node owns the ids of its own clients, nobody else would know of
 * their wills when it dies. So it tells the deputy of the partition, who would be its next owner;
 * who keeps them, and publishes those of a node that is lost.
 *
 *   holder, who is the owner                     deputy
 *   COPIES_BEGIN, a COPY of each, COPIES_END ──▶ what was not named is no more
 *   a client has come, is lost ─── COPY ───────▶ copy
 *   its will is over ───────────── COPY_ENDED ─▶ nothing
 *
 * A will lies in one list of its partition as long as its hold has it: to be told, told, known.
 * Nothing is answered but that the frame was taken.
 */
#include <stdlib.h>

#include "cluster/claims/claims_parts.h"

/* ---- The holder */

static void free_will(struct claims *c, struct hold_will *w)
{
    list_remove(&w->list);
    c->figures.bytes -= offsetof(struct hold_will, bytes) + w->len;
    free(w);
}

static void touch(struct claims *c, struct part *part, struct hold_will *w)
{
    list_append(&part->copies_due, &w->list);
    c->copying |= part->deputy == NOBODY ? 0 : PART_BIT(part_number(c, part));
}

void deputy_part_init(struct part *part)
{
    part->deputy = NOBODY;
    part->copies_told = 1;
    list_init(&part->copies_due);
    list_init(&part->copies_sent);
    list_init(&part->copies);
}

void deputy_part_fini(struct part *part)
{
    struct list *next;
    list_prepend_all(&part->copies_due, &part->copies_sent);
    for (struct list *l = part->copies_due.next; l != &part->copies_due; l = next) {
        next = l->next;
        free(list_object(l, struct hold_will, list)); /* of holds that are no more */
    }
}

void deputy_will(struct claims *c, struct part *part, struct hold *h)
{
    if (h->will != NULL) {
        touch(c, part, h->will);
    }
}

void deputy_will_over(struct claims *c, struct part *part, struct hold *h)
{
    struct hold_will *const w = h->will;
    h->will = NULL;
    if (part->deputy == NOBODY || w->told != part->copies_told) {
        free_will(c, w);
        return;
    }
    w->hold = NULL; /* the deputy has to hear of it */
    w->hash = h->link.hash;
    w->serial = h->serial;
    w->claim = h->claim;
    touch(c, part, w);
}

/* All is to be told anew, if there is a deputy. */
static void tell_all(struct claims *c, struct part *part)
{
    list_prepend_all(&part->copies_due, &part->copies_sent);
    list_prepend_all(&part->copies_due, &part->copies);
    part->copies_told++; /* what was told before counts no more */
    part->copies_sync = COPIES_NEEDED;
    c->copying |= part->deputy == NOBODY ? 0 : PART_BIT(part_number(c, part));
}

void deputy_set(struct claims *c, struct part *part, unsigned deputy)
{
    if (part->deputy == deputy) {
        return;
    }
    if (part->deputy != NOBODY) {
        struct peer *const former = &c->peers[part->deputy];
        former->void_due |= former->copies_there & PART_BIT(part_number(c, part));
    }
    part->deputy = (uint8_t)deputy;
    c->copying &= ~PART_BIT(part_number(c, part));
    tell_all(c, part);
}

void deputy_up(struct claims *c, unsigned peer)
{
    struct peer *const p = &c->peers[peer];
    p->void_due = p->copies_there;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        if (c->parts[i].deputy == peer) {
            p->void_due &= ~PART_BIT(i);
            tell_all(c, &c->parts[i]);
        }
    }
}

static void marker(const struct claims *c, const struct part *part, enum node_hold_kind kind,
                   struct node_hold *item)
{
    *item = (struct node_hold){.kind = (uint8_t)kind, .hash = (uint64_t)part_number(c, part) << 58};
}

static void ended(const struct hold_will *w, struct node_hold *item)
{
    *item = (struct node_hold){
        .kind = NODE_HOLD_COPY_ENDED, .hash = w->hash, .serial = w->serial, .claim = w->claim};
}

static void copy(const struct hold_will *w, uint64_t now_ms, struct node_hold *item)
{
    holder_item(w->hold, now_ms, item);
    item->flags |= item->kind == NODE_HOLD_GONE ? NODE_HOLD_LOST : 0;
    item->kind = NODE_HOLD_COPY;
}

bool deputy_next(struct claims *c, struct part *part, uint64_t now_ms, struct node_hold *item,
                 struct hold_will **will)
{
    *will = NULL;
    if (part->copies_sync == COPIES_NEEDED) {
        marker(c, part, NODE_HOLD_COPIES_BEGIN, item);
        return true;
    }
    struct list *next;
    for (struct list *l = part->copies_due.next; l != &part->copies_due; l = next) {
        struct hold_will *const w = list_object(l, struct hold_will, list);
        next = l->next;
        if (w->hold != NULL) {
            copy(w, now_ms, item);
        } else if (w->told == part->copies_told) {
            ended(w, item);
        } else {
            free_will(c, w); /* this deputy has never heard of it */
            continue;
        }
        *will = w;
        return true;
    }
    if (part->copies_sync == COPIES_TELLING) {
        marker(c, part, NODE_HOLD_COPIES_END, item);
        return true;
    }
    return false;
}

void deputy_told(struct claims *c, struct part *part, struct hold_will *will, uint32_t frame)
{
    if (will != NULL) {
        list_append(&part->copies_sent, &will->list);
        will->told = part->copies_told;
        will->frame = frame;
    } else if (part->copies_sync == COPIES_NEEDED) {
        part->copies_sync = COPIES_TELLING;
        c->peers[part->deputy].copies_there |= PART_BIT(part_number(c, part));
    } else {
        part->copies_sync = COPIES_DONE;
    }
}

void deputy_acked(struct claims *c, struct part *part, uint32_t frame)
{
    struct list *next;
    for (struct list *l = part->copies_sent.next; l != &part->copies_sent; l = next) {
        struct hold_will *const w = list_object(l, struct hold_will, list);
        next = l->next;
        if (w->frame > frame) {
            return;
        }
        if (w->hold == NULL) {
            free_will(c, w);
        } else {
            list_append(&part->copies, &w->list);
        }
    }
}

/* ---- The deputy */

/* Who has the id by a later claim than the copy's; NULL: nobody that is known. */
static const struct record *successor(struct claims *c, struct part *part, const struct record *r)
{
    const struct bytes id = bytes_of(r->id, r->id_len);
    for (const struct record *o = registry_next(part, r->link.hash, id, NULL); o != NULL;
         o = registry_next(part, r->link.hash, id, o)) {
        if (o != r && o->claim > r->claim && owner_has_id(c, part, o)) {
            return o;
        }
    }
    return NULL;
}

bool deputy_lose(struct claims *c, struct part *part, struct record *r, uint64_t now_ms)
{
    const uint64_t due_ms = r->will->gone_due_ms;
    const uint64_t left_ms = due_ms == 0       ? r->will->delay_ms
                             : due_ms > now_ms ? due_ms - now_ms
                                               : 0;
    const struct record *const by = successor(c, part, r);
    c->figures.copies--;
    owner_gone(c, r, left_ms, now_ms);
    if (by != NULL) {
        owner_will_over(c, part, r, by->clean || r->will->delay_ms == 0);
        return false;
    }
    return true;
}

bool deputy_is_missing(const struct claims *c, const struct part *part, const struct record *r)
{
    return r->round < c->peers[r->peer].copies_floor[part_number(c, part)];
}

void deputy_remove(struct claims *c, struct part *part, struct record *r)
{
    c->figures.copies--;
    registry_remove(c, part, r);
}

/* The client is back: wills of it that wait for their time are over. */
static void come_back(struct claims *c, struct part *part, const struct record *by)
{
    const struct bytes id = bytes_of(by->id, by->id_len);
    struct record *next = registry_next(part, by->link.hash, id, NULL);
    while (next != NULL) {
        struct record *const r = next;
        next = registry_next(part, by->link.hash, id, r);
        if (r->state == RECORD_GONE && r->claim <= by->claim) {
            owner_supersede(c, part, r, by);
        }
    }
}

static enum claims_err take_copy(struct claims *c, struct part *part, unsigned peer,
                                 const struct node_hold *item, uint64_t now_ms)
{
    struct record *r = registry_find(c, part, peer, item);
    if (r != NULL && r->state != RECORD_COPY) {
        return CLAIMS_OK; /* it has been told as to the owner */
    }
    if (r == NULL) {
        r = registry_add(c, part, peer, item);
        if (r == NULL) {
            return CLAIMS_NO_MEMORY;
        }
        r->state = RECORD_COPY;
        c->figures.copies++;
        come_back(c, part, r);
    }
    r->round = c->peers[peer].round;
    r->will->delay_ms = item->delay_ms;
    r->will->gone_due_ms = (item->flags & NODE_HOLD_LOST) != 0 ? now_ms + item->left_ms : 0;
    return CLAIMS_OK;
}

enum claims_err deputy_take(struct claims *c, unsigned peer, const struct node_hold *item,
                            uint64_t now_ms)
{
    struct part *const part = part_of(c, item->hash);
    struct peer *const p = &c->peers[peer];
    const unsigned number = part_number(c, part);
    struct record *r;
    switch (item->kind) {
    case NODE_HOLD_COPIES_BEGIN:
        p->copies_begun[number] = ++p->round;
        return CLAIMS_OK;
    case NODE_HOLD_COPIES_END:
        p->copies_floor[number] = p->copies_begun[number];
        owner_sweep(c, part);
        return CLAIMS_OK;
    case NODE_HOLD_COPY:
        claims_heard(c, item->claim);
        return take_copy(c, part, peer, item, now_ms);
    default:
        r = registry_find(c, part, peer, item);
        if (r != NULL && r->state == RECORD_COPY) {
            deputy_remove(c, part, r);
        }
        return CLAIMS_OK;
    }
}
