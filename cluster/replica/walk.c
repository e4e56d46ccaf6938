/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our way through what a peer has, from the top: where sums differ, one level down, and what is
 * newer there. What is known here is named in each ask, so that nothing comes that is not needed;
 * at most REPLICA_ASKS_MAX are open, and each answer is at most a part: that is all the flow
 * control there is. A connection's end ends it; the next one begins anew, with what has come.
 */
#include "cluster/replica/replica_parts.h"

#include <assert.h>
#include <string.h>

#define CHILD_SHIFT 56u
#define LEAF_SHIFT  48u

static bool bit(const uint8_t *bits, unsigned i)
{
    return (bits[i / 8] >> i % 8 & 1) != 0;
}

/* Which of the sums are others here. */
static void compare(uint8_t *differs, struct bytes sums, const struct digest *own)
{
    memset(differs, 0, VERSIONS_PARTS / 8);
    for (unsigned i = 0; i < VERSIONS_PARTS; i++) {
        uint8_t sum[NODE_SUM_BYTES];
        digest_encode(sum, own[i]);
        if (memcmp(sum, sums.at + (size_t)i * NODE_SUM_BYTES, sizeof sum) != 0) {
            differs[i / 8] |= (uint8_t)(1u << i % 8);
        }
    }
}

static struct slot *slot_of(struct walk *w, uint32_t number)
{
    for (unsigned i = 0; i < REPLICA_ASKS_MAX; i++) {
        if (w->slots[i].used && w->slots[i].sent && w->slots[i].number == number) {
            return &w->slots[i];
        }
    }
    return NULL;
}

static struct slot *slot_take(struct walk *w, uint8_t want, uint64_t first, uint64_t last)
{
    for (unsigned i = 0; i < REPLICA_ASKS_MAX; i++) {
        if (!w->slots[i].used) {
            w->slots[i] = (struct slot){.used = true, .want = want, .first = first, .last = last};
            return &w->slots[i];
        }
    }
    return NULL;
}

static bool has_room(const struct walk *w)
{
    for (unsigned i = 0; i < REPLICA_ASKS_MAX; i++) {
        if (!w->slots[i].used) {
            return true;
        }
    }
    return false;
}

void walk_begin(struct replica *r, struct peer *p, uint64_t high, uint64_t floor)
{
    p->walk =
        (struct walk){.state = WALK_ROOT, .high = high, .floor = floor, .leaf = VERSIONS_PARTS};
    (void)slot_take(&p->walk, NODE_RETAINED_SUMS, 0, UINT64_MAX);
    r->walks_floor = floor > r->walks_floor ? floor : r->walks_floor;
    r->figures.walks++;
}

void walk_passed(struct replica *r, uint64_t stamp, const struct walk *by)
{
    for (unsigned i = 0; i < REPLICA_PEERS_MAX; i++) {
        struct walk *const w = &r->peers[i].walk;
        if (w->state != WALK_NONE && w != by && stamp <= w->floor) {
            w->failed = true;
        }
    }
}

static void finish(struct replica *r, struct peer *p, uint64_t now_ms)
{
    struct walk *const w = &p->walk;
    if (!w->failed) {
        replica_completed(r, p, w->high, w->floor);
    }
    if (w->brought) {
        p->walk_wait_ms = 0;
    } else {
        r->figures.walks_for_nothing++;
        const uint32_t twice = p->walk_wait_ms == 0 ? r->conf.digest_ms : 2 * p->walk_wait_ms;
        p->walk_wait_ms = twice < r->conf.walk_wait_max_ms ? twice : r->conf.walk_wait_max_ms;
    }
    p->walk_ms = now_ms + p->walk_wait_ms;
    w->state = WALK_NONE;
}

/* ---- What is to be asked next */

/* The next leaf of the child that was split. */
static bool next_leaf(struct walk *w)
{
    while (w->leaf < VERSIONS_PARTS) {
        const unsigned leaf = w->leaf++;
        if (bit(w->leaf_differs, leaf)) {
            const uint64_t first = (uint64_t)(w->child - 1) << CHILD_SHIFT | (uint64_t)leaf
                                                                                 << LEAF_SHIFT;
            (void)slot_take(w, NODE_RETAINED_ITEMS, first,
                            first | ((UINT64_C(1) << LEAF_SHIFT) - 1));
            return true;
        }
    }
    return false;
}

/* A child of which few topics are here is asked for as a whole, another one is split. */
static bool next_child(const struct replica *r, struct walk *w)
{
    while (w->child < VERSIONS_PARTS && !w->splitting) {
        const unsigned child = w->child++;
        if (bit(w->differs, child)) {
            const uint64_t first = (uint64_t)child << CHILD_SHIFT;
            w->splitting = r->topics.counts[child] > r->conf.known_max;
            (void)slot_take(w, w->splitting ? NODE_RETAINED_SUMS : NODE_RETAINED_ITEMS, first,
                            first | ((UINT64_C(1) << CHILD_SHIFT) - 1));
            return true;
        }
    }
    return false;
}

static bool is_over(const struct walk *w)
{
    for (unsigned i = 0; i < REPLICA_ASKS_MAX; i++) {
        if (w->slots[i].used) {
            return false;
        }
    }
    return w->state == WALK_CHILDREN && w->child == VERSIONS_PARTS && w->leaf == VERSIONS_PARTS;
}

static void go_on(struct replica *r, struct peer *p, uint64_t now_ms)
{
    struct walk *const w = &p->walk;
    while (w->state == WALK_CHILDREN && has_room(w) && (next_leaf(w) || next_child(r, w))) {
    }
    if (is_over(w)) {
        finish(r, p, now_ms);
    }
}

/* ---- An ask */

/* What is known here from the slot's first place on, by place, as far as it goes into one ask. */
static size_t name_known(struct replica *r, struct slot *s, uint8_t *out)
{
    struct versions *const t = &r->topics;
    unsigned steps = r->conf.turn_steps, count = 0;
    uint64_t place = s->first;
    s->asked_last = s->last;
    for (;;) {
        struct table_link *const l = table_walk(&t->table, &place, &steps);
        if (l == NULL && steps == 0 && place <= s->last) {
            s->asked_last = place - 1;
            break;
        }
        if (l == NULL || versions_place(l->hash) > s->last) {
            break;
        }
        unsigned run = 0;
        for (const struct table_link *o = l; o != NULL; o = table_find_next(o)) {
            run++;
        }
        if (count > 0 && count + run > r->conf.known_max) {
            s->asked_last = versions_place(l->hash) - 1;
            break;
        }
        for (const struct table_link *o = l; o != NULL && count < NODE_RETAINED_KNOWN_MAX;
             o = table_find_next(o)) {
            const struct topic_entry *const e = table_object(o, const struct topic_entry, link);
            const struct node_retained_known known = {.hash = o->hash,
                                                      .check =
                                                          versions_hash(t, versions_name(e)).check,
                                                      .stamp = e->stamp,
                                                      .writer = versions_writer_hash(e)};
            out += node_retained_known_encode(out, &known);
            count++;
        }
        steps--;
        place = table_place_after(l->hash);
        if (place == 0) {
            break;
        }
    }
    return (size_t)count * NODE_RETAINED_KNOWN_BYTES;
}

bool walk_next(struct replica *r, struct peer *p, size_t room, struct bytes *body)
{
    struct slot *s = NULL;
    for (unsigned i = 0; i < REPLICA_ASKS_MAX && p->walk.state != WALK_NONE && s == NULL; i++) {
        if (p->walk.slots[i].used && !p->walk.slots[i].sent) {
            s = &p->walk.slots[i];
        }
    }
    const size_t known_max = (size_t)NODE_RETAINED_KNOWN_MAX * NODE_RETAINED_KNOWN_BYTES;
    uint8_t known[NODE_RETAINED_KNOWN_MAX * NODE_RETAINED_KNOWN_BYTES];
    if (s == NULL || room < NODE_RETAINED_HEAD_MAX + known_max) {
        return false;
    }
    struct node_retained_ask ask = {
        .number = ++r->asks, .want = s->want, .first = s->first, .last = s->last};
    if (s->want == NODE_RETAINED_ITEMS) {
        ask.known = bytes_of(known, name_known(r, s, known));
        ask.last = s->asked_last;
    } else {
        ask.level = p->walk.state == WALK_ROOT ? 0 : 1;
    }
    s->number = ask.number;
    s->sent = true;
    const size_t head = node_retained_ask_encode(r->body, &ask);
    memcpy(r->body + head, known, ask.known.len);
    *body = bytes_of(r->body, head + ask.known.len);
    r->figures.asks_sent++;
    return true;
}

/* ---- Answers. To what was asked in another walk: nothing is done. */

enum replica_err walk_sums(struct replica *r, struct peer *p, const struct node_retained_sums *s,
                           uint64_t now_ms)
{
    struct walk *const w = &p->walk;
    struct slot *const slot = slot_of(w, s->number);
    if (w->state == WALK_NONE || slot == NULL || slot->want != NODE_RETAINED_SUMS) {
        return REPLICA_OK;
    }
    if (w->state == WALK_ROOT) {
        compare(w->differs, s->sums, r->topics.children);
        w->state = WALK_CHILDREN;
    } else {
        const struct digest *const own =
            &r->topics.leaves[(size_t)(slot->first >> CHILD_SHIFT) * VERSIONS_PARTS];
        compare(w->leaf_differs, s->sums, own);
        w->leaf = 0;
        w->splitting = false;
    }
    *slot = (struct slot){0};
    go_on(r, p, now_ms);
    return REPLICA_OK;
}

/* The peer has passed over these, so they were deleted. */
static void drop(struct replica *r, const struct node_retained_items *n)
{
    struct bytes rest = n->drops;
    struct node_retained_drop d;
    while (node_retained_drop_next(&rest, &d)) {
        struct table_link *l = table_find(&r->topics.table, d.hash);
        while (l != NULL) {
            struct topic_entry *const e = table_object(l, struct topic_entry, link);
            l = table_find_next(l);
            if (e->stamp <= n->floor &&
                versions_hash(&r->topics, versions_name(e)).check == d.check) {
                replica_bury(r, e);
            }
        }
    }
}

static enum replica_err take(struct replica *r, struct walk *w, const struct node_retained_items *n,
                             uint64_t wall_ms)
{
    struct bytes rest = n->items;
    struct node_retained_item item;
    while (node_retained_item_next(&rest, &item)) {
        const enum replica_err err = replica_take_item(r, &item, w, wall_ms);
        if (err == REPLICA_MALFORMED) {
            return err;
        }
        w->brought = w->brought || err == REPLICA_OK;
        w->failed = w->failed || err == REPLICA_AHEAD || err == REPLICA_NO_MEMORY;
        r->figures.items_taken += err == REPLICA_OK;
        r->figures.items_old += err == REPLICA_OLD;
    }
    return REPLICA_OK;
}

enum replica_err walk_items(struct replica *r, struct peer *p, const struct node_retained_items *n,
                            uint64_t now_ms, uint64_t wall_ms)
{
    struct walk *const w = &p->walk;
    struct slot *const s = slot_of(w, n->number);
    if (w->state == WALK_NONE || s == NULL || s->want != NODE_RETAINED_ITEMS) {
        return REPLICA_OK;
    }
    if (!n->whole && (n->next <= s->first || n->next > s->asked_last)) {
        return REPLICA_MALFORMED; /* it would never end */
    }
    const enum replica_err err = take(r, w, n, wall_ms);
    if (err != REPLICA_OK) {
        return err;
    }
    drop(r, n);
    if (n->whole && s->asked_last == s->last) {
        *s = (struct slot){0};
    } else {
        s->first = n->whole ? s->asked_last + 1 : n->next;
        s->sent = false;
    }
    go_on(r, p, now_ms);
    return REPLICA_OK;
}
