/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/dispatch/intake.h"

#include <assert.h>
#include <stdlib.h>

#include "cluster/dispatch/origins.h"

#define ROWS NODE_DISPATCH_ITEMS_MAX /* 64 partitions, and the node itself */

/* What has come of a source for one partition, in a term in which it is led here. */
struct row {
    uint64_t term;
    uint64_t proposed; /* the highest op, in that term; of the node itself: that was delivered */
    uint64_t done;     /* the highest op that the source is to be told of, or was */
    uint32_t run, place;
    bool broken; /* nothing more of the run is taken */
    /* To be told: */
    uint8_t refusal; /* of enum node_dispatched_kind; 0: none */
    bool tell_done;
    uint32_t refused_run;
    uint64_t refused_term;
};

struct source {
    struct source *next; /* of the same peer */
    uint64_t origin;
    bool news; /* there may be something to be told */
    struct row rows[ROWS];
};

struct intake {
    struct intake_conf conf;
    uint64_t terms[NODE_DISPATCH_PARTITIONS]; /* in which it is led here; 0: it is not */
    struct source *sources[INTAKE_PEERS_MAX];
    uint32_t nodes[INTAKE_PEERS_MAX]; /* 0: not known */
    uint8_t out[NODE_DISPATCH_HEAD_MAX + NODE_DISPATCHED_ITEMS_MAX * NODE_DISPATCHED_ITEM_BYTES];
    struct intake_figures figures;
};

struct intake *intake_create(const struct intake_conf *conf)
{
    struct intake *const i = calloc(1, sizeof *i);
    if (i != NULL) {
        i->conf = *conf;
    }
    return i;
}

void intake_destroy(struct intake *i)
{
    for (unsigned peer = 0; i != NULL && peer < INTAKE_PEERS_MAX; peer++) {
        intake_forget(i, peer);
    }
    free(i);
}

void intake_forget(struct intake *i, unsigned peer)
{
    assert(peer < INTAKE_PEERS_MAX);
    while (i->sources[peer] != NULL) {
        struct source *const s = i->sources[peer];
        i->sources[peer] = s->next;
        i->figures.sources--;
        free(s);
    }
    i->nodes[peer] = 0;
}

/* ---- What is to be told */

static void tell_done(struct row *r, uint64_t op)
{
    r->done = op > r->done ? op : r->done;
    r->tell_done = true;
}

static void refuse(struct row *r, enum node_dispatched_kind why, uint32_t run, uint64_t term)
{
    r->refusal = (uint8_t)why;
    r->refused_run = run;
    r->refused_term = term;
}

void intake_up(struct intake *i, unsigned peer, uint32_t node)
{
    assert(peer < INTAKE_PEERS_MAX);
    i->nodes[peer] = node;
    for (struct source *s = i->sources[peer]; s != NULL; s = s->next) {
        for (unsigned p = 0; p < ROWS; p++) {
            s->rows[p].tell_done = false;
            s->rows[p].refusal = 0;
        }
    }
}

void intake_meet(struct intake *i, unsigned peer, uint32_t node)
{
    assert(peer < INTAKE_PEERS_MAX);
    if (i->nodes[peer] == 0) {
        intake_up(i, peer, node);
    }
}

/* ---- Leading */

void intake_lead(struct intake *i, unsigned partition, uint64_t term)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    assert(term > 0);
    intake_cease(i, partition);
    i->terms[partition] = term;
}

void intake_cease(struct intake *i, unsigned partition)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    const uint64_t term = i->terms[partition];
    i->terms[partition] = 0;
    for (unsigned peer = 0; term != 0 && peer < INTAKE_PEERS_MAX; peer++) {
        for (struct source *s = i->sources[peer]; s != NULL; s = s->next) {
            struct row *const r = &s->rows[partition];
            if (r->term == term && r->run > 0) {
                refuse(r, NODE_DISPATCHED_LOST, r->run, term);
                s->news = true;
            }
        }
    }
}

static struct source *find(const struct intake *i, unsigned peer, uint64_t origin)
{
    struct source *s = i->sources[peer];
    while (s != NULL && s->origin != origin) {
        s = s->next;
    }
    return s;
}

static unsigned peer_of(const struct intake *i, uint64_t origin)
{
    unsigned peer = 0;
    while (peer < INTAKE_PEERS_MAX && i->nodes[peer] != origin_node(origin)) {
        peer++;
    }
    return peer;
}

void intake_applied(struct intake *i, unsigned partition, uint64_t origin, uint64_t op)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    const uint64_t term = i->terms[partition];
    if (term == 0 || origin == 0 || origin > NODE_ORIGIN_MAX) {
        return;
    }
    const unsigned peer = peer_of(i, origin);
    struct source *const s = peer < INTAKE_PEERS_MAX ? find(i, peer, origin) : NULL;
    if (s != NULL && s->rows[partition].term == term && op > s->rows[partition].done) {
        tell_done(&s->rows[partition], op);
        s->news = true;
    }
}

/* ---- Frames in */

/* Whether it is what comes next in its run; if not, it is refused. */
static bool is_next(struct intake *i, struct row *r, const struct node_dispatch_item *item)
{
    if (item->run < r->run) {
        return false; /* there is a later one, which has all that this one had */
    }
    if (item->run > r->run) {
        r->run = item->run;
        r->place = 0;
        r->broken = false;
    }
    if (!r->broken && item->place == r->place + 1) {
        r->place++;
        return true;
    }
    r->broken = true;
    refuse(r, NODE_DISPATCHED_REPEAT, r->run, item->term);
    i->figures.refused++;
    return false;
}

/* It has no room where it goes: nothing behind it may go there before it does. */
static void hold(struct intake *i, struct row *r, const struct node_dispatch_item *item)
{
    r->broken = true;
    refuse(r, NODE_DISPATCHED_REPEAT, r->run, item->term);
    i->figures.refused++;
}

static void take_transient(struct intake *i, struct row *r, const struct node_dispatch *frame,
                           const struct node_dispatch_item *item)
{
    const struct intake_events *const e = &i->conf.events;
    if (!is_next(i, r, item)) {
        return;
    }
    if (frame->op > r->proposed) {
        if (!e->transient(e->context, frame->origin, frame->op, frame->bytes)) {
            hold(i, r, item);
            return;
        }
        r->proposed = frame->op;
        i->figures.delivered++;
    } else {
        i->figures.repeated++;
    }
    tell_done(r, r->proposed);
}

static void propose(struct intake *i, struct row *r, const struct node_dispatch *frame,
                    const struct node_dispatch_item *item)
{
    const struct intake_events *const e = &i->conf.events;
    const uint64_t before = r->proposed;
    r->proposed = frame->op; /* it may be applied at once */
    if (!e->propose(e->context, item->partition, frame->origin, frame->op, frame->bytes)) {
        r->proposed = before;
        hold(i, r, item);
        return;
    }
    i->figures.proposed++;
}

static void take_for_partition(struct intake *i, struct row *r, const struct node_dispatch *frame,
                               const struct node_dispatch_item *item)
{
    const struct intake_events *const e = &i->conf.events;
    const uint64_t term = i->terms[item->partition];
    if (term != item->term) {
        refuse(r, NODE_DISPATCHED_LOST, item->run, item->term);
        i->figures.lost++;
        return;
    }
    if (r->term != term) {
        const uint64_t done = r->done;
        *r = (struct row){.term = term, .done = done};
    }
    if (!is_next(i, r, item)) {
        return;
    }
    const uint64_t highest = e->highest(e->context, item->partition, frame->origin);
    if (frame->op <= highest) {
        tell_done(r, highest);
        i->figures.repeated++;
    } else if (frame->op <= r->proposed) {
        i->figures.repeated++; /* under way */
    } else {
        propose(i, r, frame, item);
    }
}

/* Starts are counted, by how many bits of a longer number an origin has room for. */
static bool is_before(uint64_t a, uint64_t b)
{
    return (int32_t)(origin_start(a) - origin_start(b)) < 0;
}

/* A start of the node that is later than those that are known ends what they had. */
static void forget_before(struct intake *i, unsigned peer, uint64_t origin)
{
    for (struct source **at = &i->sources[peer]; *at != NULL;) {
        struct source *const s = *at;
        if (is_before(s->origin, origin)) {
            *at = s->next;
            i->figures.sources--;
            free(s);
        } else {
            at = &s->next;
        }
    }
}

static enum intake_err source_of(struct intake *i, unsigned peer, uint64_t origin,
                                 struct source **found)
{
    struct source *s = find(i, peer, origin);
    if (s == NULL) {
        for (s = i->sources[peer]; s != NULL; s = s->next) {
            if (is_before(origin, s->origin)) {
                return INTAKE_MALFORMED;
            }
        }
        forget_before(i, peer, origin);
        if (i->figures.sources >= i->conf.sources_max) {
            return INTAKE_FULL;
        }
        s = calloc(1, sizeof *s);
        if (s == NULL) {
            return INTAKE_NO_MEMORY;
        }
        *s = (struct source){.next = i->sources[peer], .origin = origin};
        i->sources[peer] = s;
        i->figures.sources++;
    }
    *found = s;
    return INTAKE_OK;
}

static bool is_ours(const struct intake *i, unsigned partition)
{
    return partition == NODE_DISPATCH_NODE ? i->conf.transient
                                           : (i->conf.partitions >> partition & 1) != 0;
}

enum intake_err intake_received(struct intake *i, unsigned peer, struct bytes body)
{
    struct node_dispatch frame;
    struct node_dispatch_item item;
    struct source *s;
    assert(peer < INTAKE_PEERS_MAX);
    if (node_dispatch_decode(&frame, body) != NODE_OK || i->nodes[peer] == 0 ||
        origin_node(frame.origin) != i->nodes[peer]) {
        return INTAKE_MALFORMED;
    }
    const enum intake_err err = source_of(i, peer, frame.origin, &s);
    if (err != INTAKE_OK) {
        return err;
    }
    s->news = true;
    while (node_dispatch_item_next(&frame.items, &item)) {
        struct row *const r = &s->rows[item.partition];
        if (!is_ours(i, item.partition)) {
            continue;
        }
        if (item.partition == NODE_DISPATCH_NODE) {
            take_transient(i, r, &frame, &item);
        } else {
            take_for_partition(i, r, &frame, &item);
        }
    }
    return INTAKE_OK;
}

/* ---- Answers */

static size_t put_item(uint8_t *out, struct row *r, uint8_t partition)
{
    size_t len = 0;
    if (r->tell_done) {
        const struct node_dispatched_item done = {
            .kind = NODE_DISPATCHED_DONE, .partition = partition, .op = r->done};
        len += node_dispatched_item_encode(out, &done);
    }
    if (r->refusal != 0) {
        const struct node_dispatched_item refusal = {.kind = r->refusal,
                                                     .partition = partition,
                                                     .run = r->refused_run,
                                                     .term = r->refused_term};
        len += node_dispatched_item_encode(out + len, &refusal);
    }
    r->tell_done = false;
    r->refusal = 0;
    return len;
}

/* As much as there is room for; 0: there is nothing to tell. */
static size_t items_of(struct source *s, size_t room, uint8_t *out)
{
    size_t len = 0;
    unsigned p = 0;
    for (; p < ROWS && len + 2 * NODE_DISPATCHED_ITEM_BYTES <= room; p++) {
        len += put_item(out + len, &s->rows[p], (uint8_t)p);
    }
    s->news = p < ROWS;
    return len;
}

bool intake_next(struct intake *i, unsigned peer, size_t room, uint8_t *type, struct bytes *body)
{
    return intake_next_of(i, peer, INTAKE_ALL_SHARDS, room, type, body);
}

bool intake_next_of(struct intake *i, unsigned peer, uint32_t shards, size_t room, uint8_t *type,
                    struct bytes *body)
{
    uint8_t items[NODE_DISPATCHED_ITEMS_MAX * NODE_DISPATCHED_ITEM_BYTES];
    assert(peer < INTAKE_PEERS_MAX);
    if (room < NODE_DISPATCH_HEAD_MAX) {
        return false;
    }
    room -= NODE_DISPATCH_HEAD_MAX;
    room = room < sizeof items ? room : sizeof items;
    for (struct source *s = i->sources[peer]; s != NULL; s = s->next) {
        const bool is_asked = (shards >> origin_shard(s->origin) % 32 & 1) != 0;
        const size_t len = s->news && is_asked ? items_of(s, room, items) : 0;
        if (len > 0) {
            const struct node_dispatched frame = {.origin = s->origin,
                                                  .items = bytes_of(items, len)};
            *body = bytes_of(i->out, node_dispatched_encode(i->out, &frame));
            *type = NODE_FRAME_DISPATCHED;
            return true;
        }
    }
    return false;
}

struct intake_figures intake_figures(const struct intake *i)
{
    return i->figures;
}
