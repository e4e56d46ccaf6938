/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/dispatch/dispatch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS (NODE_DISPATCH_PARTITIONS + DISPATCH_PEERS_MAX)

struct op;

/* That a target is to have an op: in the target's queue until it has answered. */
struct want {
    struct op *op;
    struct want *next; /* the same target's, of a later op */
    uint8_t target;
};

/* One allocation: the wants, and the message behind them. */
struct op {
    struct op *older, *newer;
    uint64_t number;
    uint64_t deadline_ms;
    size_t size, len; /* of all; of the message */
    unsigned wants;   /* [wants] */
    unsigned left;    /* of them, that are not answered */
    struct want want[];
};

/* Partition 0..63, or 64 + a peer. */
struct target {
    struct want *first, *last;
    struct want *unsent; /* of the run; NULL: all that there are were sent */
    uint64_t term;
    uint64_t sent_op;    /* the highest that was ever sent */
    uint64_t again_ms;   /* nothing is sent before; 0: it may be */
    uint32_t run, place; /* of the last that was sent; place 0: none of this run */
    uint8_t peer;        /* DISPATCH_NOBODY */
};

struct dispatch {
    struct dispatch_conf conf;
    struct target targets[TARGETS];
    bool up[DISPATCH_PEERS_MAX];
    struct op *oldest, *newest;
    uint64_t last; /* op */
    uint8_t *out;  /* [out_room]: the last frame's body */
    size_t out_room;
    struct dispatch_figures figures;
};

struct dispatch_conf dispatch_conf_defaults(void)
{
    return (struct dispatch_conf){.ops_max = 65536,
                                  .bytes_max = (size_t)64 << 20,
                                  .message_max = (size_t)8 << 20,
                                  .timeout_ms = 30000,
                                  .again_ms = 50};
}

/* ---- Runs */

/* From the first on that is not answered. */
static void begin_run(struct dispatch *d, struct target *t)
{
    t->run++;
    t->place = 0;
    t->unsent = t->first;
    d->figures.runs++;
}

struct dispatch *dispatch_create(const struct dispatch_conf *conf)
{
    assert(conf->origin > 0 && conf->origin <= NODE_ORIGIN_MAX);
    struct dispatch *const d = calloc(1, sizeof *d);
    if (d == NULL) {
        return NULL;
    }
    d->conf = *conf;
    for (unsigned i = 0; i < TARGETS; i++) {
        d->targets[i].run = 1;
        d->targets[i].peer = i < NODE_DISPATCH_PARTITIONS ? DISPATCH_NOBODY
                                                          : (uint8_t)(i - NODE_DISPATCH_PARTITIONS);
    }
    return d;
}

void dispatch_destroy(struct dispatch *d)
{
    if (d == NULL) {
        return;
    }
    while (d->oldest != NULL) {
        struct op *const o = d->oldest;
        d->oldest = o->newer;
        free(o);
    }
    free(d->out);
    free(d);
}

/* ---- Ops */

static uint8_t *message_of(struct op *o)
{
    return (uint8_t *)&o->want[o->wants];
}

static void push(struct dispatch *d, struct op *o, unsigned target)
{
    struct target *const t = &d->targets[target];
    struct want *const w = &o->want[o->left++];
    *w = (struct want){.op = o, .target = (uint8_t)target};
    *(t->first == NULL ? &t->first : &t->last->next) = w;
    t->last = w;
    if (t->unsent == NULL) {
        t->unsent = w;
    }
}

enum dispatch_err dispatch_put(struct dispatch *d, uint64_t partitions, uint32_t nodes,
                               struct bytes bytes, uint64_t now_ms, uint64_t *op)
{
    const unsigned wants =
        (unsigned)(__builtin_popcountll(partitions) + __builtin_popcountll(nodes));
    assert(wants > 0);
    if (bytes.len > d->conf.message_max) {
        return DISPATCH_TOO_LARGE;
    }
    const size_t size = sizeof(struct op) + wants * sizeof(struct want) + bytes.len;
    if (d->figures.ops >= d->conf.ops_max || d->figures.bytes + size > d->conf.bytes_max) {
        d->figures.full++;
        return DISPATCH_FULL;
    }
    struct op *const o = malloc(size);
    if (o == NULL) {
        return DISPATCH_NO_MEMORY;
    }
    *o = (struct op){.older = d->newest,
                     .number = ++d->last,
                     .deadline_ms = now_ms + d->conf.timeout_ms,
                     .size = size,
                     .len = bytes.len,
                     .wants = wants};
    for (uint64_t left = partitions; left != 0; left &= left - 1) {
        push(d, o, (unsigned)__builtin_ctzll(left));
    }
    for (uint32_t left = nodes; left != 0; left &= left - 1) {
        push(d, o, NODE_DISPATCH_PARTITIONS + (unsigned)__builtin_ctz(left));
    }
    if (bytes.len > 0) {
        memcpy(message_of(o), bytes.at, bytes.len);
    }
    *(d->newest != NULL ? &d->newest->newer : &d->oldest) = o;
    d->newest = o;
    d->figures.ops++;
    d->figures.bytes += size;
    d->figures.put++;
    *op = o->number;
    return DISPATCH_OK;
}

static void end(struct dispatch *d, struct op *o, enum dispatch_end how)
{
    if (o->older != NULL) {
        o->older->newer = o->newer;
    } else {
        d->oldest = o->newer;
    }
    if (o->newer != NULL) {
        o->newer->older = o->older;
    } else {
        d->newest = o->older;
    }
    d->figures.ops--;
    d->figures.bytes -= o->size;
    *(how == DISPATCH_DONE ? &d->figures.done : &d->figures.unknown) += 1;
    const uint64_t number = o->number;
    free(o);
    d->conf.events.ended(d->conf.events.context, number, how);
}

/* The target's first is not waited for any more; how many its op still waits for. */
static unsigned pop(struct target *t)
{
    struct want *const w = t->first;
    if (t->unsent == w) {
        t->unsent = w->next;
    }
    t->first = w->next;
    if (t->first == NULL) {
        t->last = NULL;
    }
    return --w->op->left;
}

/* All of the target's up to that op are answered. */
static void answered(struct dispatch *d, struct target *t, uint64_t op)
{
    while (t->first != NULL && t->first->op->number <= op) {
        struct op *const o = t->first->op;
        if (pop(t) == 0) {
            end(d, o, DISPATCH_DONE);
        }
    }
}

/* The oldest of all, whose wants that are left are hence the first of their queues. */
static void give_up_oldest(struct dispatch *d)
{
    struct op *const o = d->oldest;
    assert(o->older == NULL);
    for (unsigned i = 0; i < o->wants; i++) {
        struct target *const t = &d->targets[o->want[i].target];
        if (t->first == &o->want[i]) {
            pop(t);
        }
    }
    assert(o->left == 0);
    end(d, o, DISPATCH_UNKNOWN);
}

/* ---- Leaders, peers */

void dispatch_leader(struct dispatch *d, unsigned partition, unsigned peer, uint64_t term)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    assert(peer <= DISPATCH_NOBODY);
    struct target *const t = &d->targets[partition];
    if (term < t->term || (term == t->term && peer == t->peer)) {
        return;
    }
    t->term = term;
    t->peer = (uint8_t)peer;
    t->again_ms = 0;
    begin_run(d, t);
}

void dispatch_up(struct dispatch *d, unsigned peer)
{
    assert(peer < DISPATCH_PEERS_MAX);
    d->up[peer] = true;
    for (unsigned i = 0; i < TARGETS; i++) {
        struct target *const t = &d->targets[i];
        if (t->peer == peer && t->place > 0) {
            begin_run(d, t);
        }
    }
}

void dispatch_down(struct dispatch *d, unsigned peer)
{
    assert(peer < DISPATCH_PEERS_MAX);
    d->up[peer] = false;
}

void dispatch_gone(struct dispatch *d, unsigned peer)
{
    assert(peer < DISPATCH_PEERS_MAX);
    struct target *const t = &d->targets[NODE_DISPATCH_PARTITIONS + peer];
    answered(d, t, UINT64_MAX);
    begin_run(d, t);
}

/* ---- Frames out */

static bool may_send(const struct target *t, unsigned peer, uint64_t now_ms)
{
    return t->peer == peer && t->unsent != NULL && t->again_ms <= now_ms;
}

/* The oldest that one of the peer's targets is to be sent; NULL: none. */
static struct op *next_op(const struct dispatch *d, unsigned peer, uint64_t now_ms)
{
    struct op *next = NULL;
    for (unsigned i = 0; i < TARGETS; i++) {
        const struct target *const t = &d->targets[i];
        if (may_send(t, peer, now_ms) && (next == NULL || t->unsent->op->number < next->number)) {
            next = t->unsent->op;
        }
    }
    return next;
}

static bool reserve(struct dispatch *d, size_t len)
{
    if (len <= d->out_room) {
        return true;
    }
    uint8_t *const out = realloc(d->out, len);
    if (out == NULL) {
        return false; /* later */
    }
    d->out = out;
    d->out_room = len;
    return true;
}

/* The items of the peer's targets that are to be sent it now; their length. */
static size_t items_of(const struct dispatch *d, const struct op *o, unsigned peer, uint64_t now_ms,
                       uint8_t out[])
{
    size_t len = 0;
    for (unsigned i = 0; i < TARGETS; i++) {
        const struct target *const t = &d->targets[i];
        if (may_send(t, peer, now_ms) && t->unsent->op == o) {
            const struct node_dispatch_item item = {
                .partition = i < NODE_DISPATCH_PARTITIONS ? (uint8_t)i : NODE_DISPATCH_NODE,
                .run = t->run,
                .place = t->place + 1,
                .term = t->term};
            len += node_dispatch_item_encode(out + len, &item);
        }
    }
    return len;
}

static void sent(struct dispatch *d, const struct op *o, unsigned peer, uint64_t now_ms)
{
    for (unsigned i = 0; i < TARGETS; i++) {
        struct target *const t = &d->targets[i];
        if (may_send(t, peer, now_ms) && t->unsent->op == o) {
            t->unsent = t->unsent->next;
            t->place++;
            d->figures.repeated += o->number <= t->sent_op;
            t->sent_op = o->number > t->sent_op ? o->number : t->sent_op;
        }
    }
    d->figures.frames++;
}

bool dispatch_next(struct dispatch *d, unsigned peer, size_t room, uint64_t now_ms, uint8_t *type,
                   struct bytes *body)
{
    uint8_t items[NODE_DISPATCH_ITEMS_MAX * NODE_DISPATCH_ITEM_BYTES];
    assert(peer < DISPATCH_PEERS_MAX);
    struct op *const o = d->up[peer] ? next_op(d, peer, now_ms) : NULL;
    if (o == NULL) {
        return false;
    }
    const struct node_dispatch frame = {.origin = d->conf.origin,
                                        .op = o->number,
                                        .items =
                                            bytes_of(items, items_of(d, o, peer, now_ms, items)),
                                        .bytes = bytes_of(message_of(o), o->len)};
    const size_t len = node_dispatch_encode(NULL, &frame);
    if (len > room || !reserve(d, len)) {
        return false;
    }
    *body = bytes_of(d->out, node_dispatch_encode(d->out, &frame));
    *type = NODE_FRAME_DISPATCH;
    sent(d, o, peer, now_ms);
    return true;
}

/* ---- Answers */

static struct target *target_of(struct dispatch *d, unsigned peer, unsigned partition)
{
    return &d->targets[partition < NODE_DISPATCH_PARTITIONS ? partition
                                                            : NODE_DISPATCH_PARTITIONS + peer];
}

/* It is about what was sent last, and to that one. */
static bool is_current(const struct target *t, unsigned peer, const struct node_dispatched_item *i)
{
    return t->peer == peer && t->term == i->term && t->run == i->run;
}

static void answer(struct dispatch *d, unsigned peer, const struct node_dispatched_item *i,
                   uint64_t now_ms)
{
    struct target *const t = target_of(d, peer, i->partition);
    switch (i->kind) {
    case NODE_DISPATCHED_DONE:
        /* Committed is for good, whoever says it, and whether it leads still. What was never sent
         * nobody can have. */
        answered(d, t, i->op < t->sent_op ? i->op : t->sent_op);
        break;
    case NODE_DISPATCHED_LOST:
        if (is_current(t, peer, i)) {
            t->peer = DISPATCH_NOBODY;
        }
        break;
    case NODE_DISPATCHED_REPEAT:
        if (is_current(t, peer, i)) {
            t->again_ms = now_ms + d->conf.again_ms;
            begin_run(d, t);
        }
        break;
    default:
        break; /* of a later version */
    }
}

enum dispatch_err dispatch_received(struct dispatch *d, unsigned peer, struct bytes body,
                                    uint64_t now_ms)
{
    struct node_dispatched frame;
    struct node_dispatched_item item;
    assert(peer < DISPATCH_PEERS_MAX);
    if (node_dispatched_decode(&frame, body) != NODE_OK) {
        return DISPATCH_MALFORMED;
    }
    if (frame.origin != d->conf.origin) {
        return DISPATCH_OK; /* for a former start */
    }
    while (node_dispatched_item_next(&frame.items, &item)) {
        answer(d, peer, &item, now_ms);
    }
    return DISPATCH_OK;
}

/* ---- Time */

void dispatch_turn(struct dispatch *d, uint64_t now_ms)
{
    while (d->oldest != NULL && d->oldest->deadline_ms <= now_ms) {
        give_up_oldest(d);
    }
    for (unsigned i = 0; i < TARGETS; i++) {
        struct target *const t = &d->targets[i];
        t->again_ms = t->again_ms <= now_ms ? 0 : t->again_ms;
    }
}

uint64_t dispatch_next_ms(const struct dispatch *d)
{
    if (d->oldest == NULL) {
        return UINT64_MAX;
    }
    uint64_t next = d->oldest->deadline_ms;
    for (unsigned i = 0; i < TARGETS; i++) {
        const struct target *const t = &d->targets[i];
        if (t->unsent != NULL && t->again_ms != 0 && t->again_ms < next) {
            next = t->again_ms;
        }
    }
    return next;
}

/* ---- Figures */

struct dispatch_figures dispatch_figures(const struct dispatch *d)
{
    struct dispatch_figures f = d->figures;
    for (unsigned i = 0; i < NODE_DISPATCH_PARTITIONS; i++) {
        f.waiting |= d->targets[i].first != NULL ? UINT64_C(1) << i : 0;
    }
    return f;
}

static bool target_check(const struct target *t, unsigned *wants)
{
    uint64_t last = 0;
    bool found = t->unsent == NULL;
    for (const struct want *w = t->first; w != NULL; w = w->next) {
        if (w->op->number <= last || (w->next == NULL && w != t->last)) {
            return false;
        }
        last = w->op->number;
        found = found || w == t->unsent;
        (*wants)++;
    }
    return found && (t->first != NULL || t->last == NULL);
}

bool dispatch_check(const struct dispatch *d)
{
    unsigned wants = 0, left = 0, ops = 0;
    size_t bytes = 0;
    for (unsigned i = 0; i < TARGETS; i++) {
        if (!target_check(&d->targets[i], &wants)) {
            return false;
        }
    }
    for (const struct op *o = d->oldest; o != NULL; o = o->newer) {
        left += o->left;
        bytes += o->size;
        ops++;
        if (o->left == 0 || (o->newer != NULL && o->newer->number <= o->number)) {
            return false;
        }
    }
    return wants == left && ops == d->figures.ops && bytes == d->figures.bytes;
}
