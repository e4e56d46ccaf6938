/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer asks is answered from what is here at that moment; nothing of a walk is remembered
 * but the asks that are open. So a walk that breaks off costs nothing here.
 */
#include "cluster/replica/replica_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct ask *first_ask(struct peer *p)
{
    return &p->asks[p->asks_first];
}

static void ask_done(struct peer *p)
{
    free(first_ask(p)->known);
    *first_ask(p) = (struct ask){0};
    p->asks_first = (p->asks_first + 1) % REPLICA_ASKS_MAX;
    p->asks_count--;
}

void serve_end(struct peer *p)
{
    while (p->asks_count > 0) {
        ask_done(p);
    }
}

static size_t known_count(const struct node_retained_ask *ask)
{
    return ask->known.len / NODE_RETAINED_KNOWN_BYTES;
}

/* By place, and in the range. */
static bool known_is_fair(const struct node_retained_ask *ask)
{
    uint64_t place = ask->first;
    for (size_t i = 0; i < known_count(ask); i++) {
        const uint64_t at = versions_place(node_retained_known_at(ask->known, i).hash);
        if (at < place || at > ask->last) {
            return false;
        }
        place = at;
    }
    return true;
}

enum replica_err serve_asked(struct peer *p, const struct node_retained_ask *ask)
{
    if (p->asks_count == REPLICA_ASKS_MAX || !known_is_fair(ask)) {
        return REPLICA_MALFORMED;
    }
    struct ask *const a = &p->asks[(p->asks_first + p->asks_count) % REPLICA_ASKS_MAX];
    *a = (struct ask){.ask = *ask};
    if (ask->known.len > 0) {
        a->known = malloc(ask->known.len);
        if (a->known == NULL) {
            return REPLICA_MALFORMED; /* the connection's end is the only way to say no */
        }
        memcpy(a->known, ask->known.at, ask->known.len);
    }
    a->ask.known.at = a->known;
    p->asks_count++;
    return REPLICA_OK;
}

/* ---- SUMS */

static bool next_sums(struct replica *r, const struct node_retained_ask *ask, size_t room,
                      struct bytes *body)
{
    const size_t sums_bytes = (size_t)NODE_SUMS * NODE_SUM_BYTES;
    if (room < NODE_RETAINED_HEAD_MAX + sums_bytes) {
        return false;
    }
    const struct node_retained_sums sums = {.number = ask->number};
    const size_t head = node_retained_sums_encode(r->body, &sums);
    const struct digest *from = r->topics.children;
    if (ask->level == 1) {
        from = &r->topics.leaves[(size_t)(ask->first >> 56) * VERSIONS_PARTS];
    }
    for (unsigned i = 0; i < NODE_SUMS; i++) {
        digest_encode(r->body + head + (size_t)i * NODE_SUM_BYTES, from[i]);
    }
    *body = bytes_of(r->body, head + sums_bytes);
    return true;
}

/* ---- ITEMS */

/* An answer that is being made. */
struct answer {
    struct replica *r;
    const struct node_retained_ask *ask;
    size_t room;  /* of items, now */
    size_t len;   /* of items, so far */
    size_t known; /* the next of those that the peer knows */
    size_t drops_len;
    uint8_t drops[NODE_RETAINED_DROPS_MAX * NODE_RETAINED_DROP_BYTES];
};

static uint8_t *items_at(struct replica *r)
{
    return r->body + NODE_RETAINED_HEAD_MAX;
}

static struct node_retained_known known_at(const struct answer *a, size_t i)
{
    return node_retained_known_at(a->ask->known, i);
}

/* The peer has a topic that is not known here: up to the floor it was deleted. */
static void lacks(struct answer *a, const struct node_retained_known *known)
{
    if (known->stamp <= a->r->floor) {
        const struct node_retained_drop drop = {.hash = known->hash, .check = known->check};
        node_retained_drop_encode(a->drops + a->drops_len, &drop);
        a->drops_len += NODE_RETAINED_DROP_BYTES;
    }
}

/* All that the peer knows before that place, and that was not met. */
static void pass(struct answer *a, uint64_t place)
{
    for (; a->known < known_count(a->ask); a->known++) {
        const struct node_retained_known k = known_at(a, a->known);
        if (versions_place(k.hash) >= place) {
            return;
        }
        lacks(a, &k);
    }
}

static bool is_known(const struct answer *a, const struct topic_entry *e, uint32_t check)
{
    for (size_t i = a->known; i < known_count(a->ask); i++) {
        const struct node_retained_known k = known_at(a, i);
        if (k.hash != e->link.hash) {
            return false;
        }
        if (k.check == check) {
            return k.stamp > e->stamp ||
                   (k.stamp == e->stamp && k.writer == versions_writer_hash(e));
        }
    }
    return false;
}

/* There is room for so many bytes of items. */
static bool make_room(struct replica *r, size_t items)
{
    const size_t need = REPLICA_BODY_MAX(items);
    if (need <= r->body_room) {
        return true;
    }
    uint8_t *const body = realloc(r->body, need);
    if (body == NULL) {
        r->figures.no_memory++;
        return false;
    }
    r->body = body;
    r->body_room = need;
    return true;
}

/* false: it does not fit any more. */
static bool add(struct answer *a, const struct topic_entry *e)
{
    struct replica *const r = a->r;
    const struct replica_events *const events = &r->conf.events;
    const size_t head = NODE_RETAINED_ITEM_BYTES + e->len;
    struct node_retained_item item = {
        .kind = NODE_RETAINED_GONE, .version = versions_version(e), .topic = versions_name(e)};
    size_t len = e->gone ? 0 : events->body(events->context, e->handle, NULL, 0);
    if (len + e->len > r->conf.item_bytes_max) {
        r->figures.too_large++;
        return true;
    }
    /* More than a part only alone. */
    const size_t part = a->len > 0 && a->room > r->conf.part_bytes ? r->conf.part_bytes : a->room;
    if (a->len + head + len > part || !make_room(r, a->len + head + len)) {
        return false;
    }
    uint8_t *const at = items_at(r) + a->len;
    if (len > 0) {
        len = events->body(events->context, e->handle, at + head, len);
        item.kind = NODE_RETAINED_MESSAGE;
        item.body.len = len;
    }
    a->len += node_retained_item_encode(at, &item) + len;
    r->figures.items_sent++;
    return true;
}

/* All topics of one hash; false: one of them does not fit any more. */
static bool add_run(struct answer *a, struct table_link *l)
{
    const struct table_link *const run = l;
    for (; l != NULL; l = table_find_next(l)) {
        const struct topic_entry *const e = table_object(l, struct topic_entry, link);
        const uint32_t check = versions_hash(&a->r->topics, versions_name(e)).check;
        if (!is_known(a, e, check) && !add(a, e)) {
            return false;
        }
    }
    for (; a->known < known_count(a->ask) && known_at(a, a->known).hash == run->hash; a->known++) {
        const struct node_retained_known k = known_at(a, a->known);
        bool here = false;
        for (const struct table_link *o = run; o != NULL && !here; o = table_find_next(o)) {
            const struct topic_entry *const e = table_object(o, const struct topic_entry, link);
            here = versions_hash(&a->r->topics, versions_name(e)).check == k.check;
        }
        if (!here) {
            lacks(a, &k);
        }
    }
    return true;
}

/* Fills the answer. true: to the end of the range; else *next is where to go on. */
static bool fill(struct answer *a, uint64_t *next)
{
    struct replica *const r = a->r;
    unsigned steps = r->conf.turn_steps;
    uint64_t place = a->ask->first;
    for (;;) {
        struct table_link *const l = table_walk(&r->topics.table, &place, &steps);
        if (l == NULL && steps == 0 && place <= a->ask->last) {
            *next = place;
            return false;
        }
        if (l == NULL || versions_place(l->hash) > a->ask->last) {
            return true;
        }
        pass(a, versions_place(l->hash));
        if (!add_run(a, l)) {
            *next = versions_place(l->hash);
            return false;
        }
        steps--;
        place = table_place_after(l->hash);
        if (place == 0) {
            return true;
        }
    }
}

static bool next_items(struct replica *r, const struct node_retained_ask *ask, size_t room,
                       struct bytes *body)
{
    if (room < REPLICA_BODY_MAX(0)) {
        return false;
    }
    struct answer a = {.r = r, .ask = ask, .room = room - REPLICA_BODY_MAX(0)};
    struct node_retained_items items = {.number = ask->number, .floor = r->floor};
    items.whole = fill(&a, &items.next);
    if (!items.whole && items.next == ask->first) {
        return false; /* what comes first waits for more room */
    }
    pass(&a, items.whole ? UINT64_MAX : items.next);
    if (items.whole && a.known < known_count(ask)) {
        const struct node_retained_known k = known_at(&a, a.known); /* at the last place of all */
        lacks(&a, &k);
    }
    items.items = bytes_of(items_at(r), a.len);
    items.drops = bytes_of(a.drops, a.drops_len);
    uint8_t head[NODE_RETAINED_HEAD_MAX];
    const size_t head_len = node_retained_items_encode(head, &items);
    uint8_t *const begin = items_at(r) - head_len;
    memcpy(begin, head, head_len);
    uint8_t *end = items_at(r) + a.len;
    end += node_retained_drops_encode(end, &items);
    memcpy(end, a.drops, a.drops_len);
    *body = bytes_of(begin, (size_t)(end - begin) + a.drops_len);
    return true;
}

bool serve_next(struct replica *r, struct peer *p, size_t room, uint8_t *type, struct bytes *body)
{
    if (p->asks_count == 0) {
        return false;
    }
    const struct node_retained_ask *const ask = &first_ask(p)->ask;
    const bool sums = ask->want == NODE_RETAINED_SUMS;
    if (!(sums ? next_sums(r, ask, room, body) : next_items(r, ask, room, body))) {
        return false;
    }
    *type = sums ? NODE_FRAME_RETAINED_SUMS : NODE_FRAME_RETAINED_ITEMS;
    r->figures.asks_answered++;
    ask_done(p);
    return true;
}
