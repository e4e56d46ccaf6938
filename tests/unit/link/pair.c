/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/link/pair.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cluster/link/greeting.h"
#include "proto/little_endian.h"

#define ROUNDS_MAX 20000u

/* ---- Events */

static enum link_taken on_deliver(void *context, const struct node_frame *frame)
{
    const struct pair_side *const s = context;
    return s->hooks.deliver == NULL ? LINK_TAKEN : s->hooks.deliver(s->hooks.context, frame);
}

static void on_up(void *context, const struct node_hello *hello)
{
    struct pair_side *const s = context;
    cr_assert(node_uuid_equal(hello->node, s->conf.peer));
    s->ups++;
}

static void on_down(void *context, enum node_close why)
{
    struct pair_side *const s = context;
    s->downs++;
    s->down_why = why;
}

static void on_slow(void *context, bool slow)
{
    struct pair_side *const s = context;
    s->slows += slow;
    s->goes += !slow;
}

static void on_gap(void *context)
{
    struct pair_side *const s = context;
    s->gaps++;
    if (s->hooks.gap != NULL) {
        s->hooks.gap(s->hooks.context);
    }
}

static void on_restarted(void *context, uint64_t generation)
{
    struct pair_side *const s = context;
    s->restarts++;
    if (s->hooks.restarted != NULL) {
        s->hooks.restarted(s->hooks.context, generation);
    }
}

static void on_lost(void *context, uint64_t first, uint64_t last, enum link_loss why)
{
    struct pair_side *const s = context;
    s->losses++;
    s->lost_first = first;
    s->lost_last = last;
    s->lost_why = why;
    if (s->hooks.lost != NULL) {
        s->hooks.lost(s->hooks.context, first, last, why);
    }
}

/* ---- Sides */

static void side_begin(struct pair *p, unsigned side, uint64_t generation)
{
    struct pair_side *const s = &p->sides[side];
    s->self.generation = generation;
    /* The same in each start, but where one start makes its link anew. */
    s->conf.stream = s->conf.self.generation == generation ? s->conf.stream + 1 : 1;
    s->conf.seed = ++p->streams_made;
    s->conf.self = s->self;
    s->conf.events = (struct link_events){.deliver = on_deliver,
                                          .up = on_up,
                                          .down = on_down,
                                          .slow = on_slow,
                                          .gap = on_gap,
                                          .restarted = on_restarted,
                                          .lost = on_lost,
                                          .context = s};
    s->link = link_create(&s->conf);
    cr_assert_not_null(s->link);
    link_want(s->link, true, p->now_ms);
}

void pair_init(struct pair *p, const struct link_conf *conf)
{
    *p = (struct pair){.random = random_init(), .now_ms = 1000};
    for (unsigned side = 0; side < 2; side++) {
        struct pair_side *const s = &p->sides[side];
        s->conf = conf == NULL ? link_conf_defaults() : *conf;
        s->self.name_len = 1;
        s->self.name[0] = (uint8_t)('a' + side);
        memset(s->self.cluster.bytes, 0xcc, UUID_BYTES);
        memset(s->self.node.bytes, (int)side + 1, UUID_BYTES);
        memset(s->conf.peer.bytes, 2 - (int)side, UUID_BYTES);
    }
    side_begin(p, 0, 1);
    side_begin(p, 1, 1);
}

static void end_at(struct pair *p, struct pair_connection *c, unsigned side)
{
    c->attached[side] = false;
    c->to[side].closed = true;
    c->to[1 - side].ended = true;
    if (c->to[0].closed && c->to[1].closed) {
        *c = (struct pair_connection){0};
    }
    (void)p;
}

static void side_end(struct pair *p, unsigned side)
{
    struct pair_side *const s = &p->sides[side];
    for (unsigned i = 0; i < PAIR_CONNECTIONS; i++) {
        struct pair_connection *const c = &p->connections[i];
        if (c->id != 0 && !c->to[side].closed) {
            link_down(s->link, c->id, NODE_CLOSE_BROKEN, p->now_ms);
            end_at(p, c, side);
        }
    }
    link_destroy(s->link);
    s->link = NULL;
}

void pair_fini(struct pair *p)
{
    side_end(p, 0);
    side_end(p, 1);
}

void pair_restart(struct pair *p, unsigned side, uint64_t generation)
{
    side_end(p, side);
    side_begin(p, side, generation);
}

/* ---- Connections */

static struct pair_connection *connection_of(struct pair *p, uint64_t id)
{
    for (unsigned i = 0; i < PAIR_CONNECTIONS; i++) {
        if (p->connections[i].id == id) {
            return &p->connections[i];
        }
    }
    return NULL;
}

struct pair_connection *pair_connection(struct pair *p)
{
    const uint64_t id = link_connection(p->sides[0].link);
    struct pair_connection *const c = id == 0 ? NULL : connection_of(p, id);
    return c != NULL && c->attached[0] && c->attached[1] ? c : NULL;
}

void pair_cut(struct pair *p, struct pair_connection *c, unsigned side, size_t len)
{
    struct pair_queue *const q = &c->to[side];
    q->len = len < q->len ? len : q->len;
    q->ended = true;
    (void)p;
}

static void dial(struct pair *p)
{
    struct pair_connection *const c = p->unreachable ? NULL : connection_of(p, 0);
    if (c == NULL) {
        link_dial_failed(p->sides[0].link, p->now_ms);
        return;
    }
    *c = (struct pair_connection){.id = ++p->connections_made, .attached = {true, false}};
    link_dialed(p->sides[0].link, c->id, p->now_ms);
}

static size_t piece(struct pair *p, size_t len)
{
    return p->pieces && len > 0 ? 1 + random_below(&p->random, (uint32_t)len) : len;
}

/* What the socket takes now, of the link's output. */
static bool write_some(struct pair *p, unsigned side, struct pair_connection *c)
{
    struct pair_queue *const q = &c->to[1 - side];
    struct bytes runs[LINK_RUNS];
    const size_t count = link_output(p->sides[side].link, runs, p->now_ms);
    size_t sent = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t room = PAIR_SOCKET - q->len;
        size_t len = runs[i].len < room ? runs[i].len : room;
        len = piece(p, len);
        if (!q->ended && !q->closed) {
            memcpy(q->bytes + q->len, runs[i].at, len);
            q->len += len;
        } /* else nobody reads it, which nobody has said yet */
        sent += len;
        if (len < runs[i].len) {
            break;
        }
    }
    link_sent(p->sides[side].link, c->id, sent, p->now_ms);
    return sent > 0;
}

static void close_at(struct pair *p, unsigned side, struct pair_connection *c)
{
    const uint64_t id = c->id;
    while (write_some(p, side, c)) {
    }
    end_at(p, c, side);
    link_down(p->sides[side].link, id, NODE_CLOSE_BROKEN, p->now_ms);
}

static void take(struct pair_queue *q, size_t len)
{
    memmove(q->bytes, q->bytes + len, q->len - len);
    q->len -= len;
}

/* Side 1, of a connection that is nobody's yet. */
static bool greet(struct pair *p, struct pair_connection *c)
{
    struct pair_queue *const q = &c->to[1];
    struct link *const l = p->sides[1].link;
    struct greeting g;
    enum node_close why;
    switch (greeting_read(&p->sides[1].self, q->bytes, q->len, &g, &why)) {
    case GREETING_NEED_MORE:
        if (q->ended) {
            end_at(p, c, 1);
            return true;
        }
        return false;
    case GREETING_OK:
        if (link_connection(l) != 0) {
            struct pair_connection *const former = connection_of(p, link_connection(l));
            link_down(l, former->id, NODE_CLOSE_REPLACED, p->now_ms);
            end_at(p, former, 1);
        }
        why = link_accept(l, c->id, &g.hello, p->now_ms);
        if (why == NODE_CLOSE_NONE) {
            take(q, g.used);
            c->greeted = true;
            c->attached[1] = true;
            return true;
        }
        break;
    default:
        break;
    }
    p->refused = why;
    c->to[0].len = greeting_farewell(c->to[0].bytes, why);
    end_at(p, c, 1);
    return true;
}

static bool read_some(struct pair *p, unsigned side, struct pair_connection *c)
{
    struct pair_queue *const q = &c->to[side];
    struct link *const l = p->sides[side].link;
    if (q->stalled || q->closed) {
        return false;
    }
    if (side == 1 && !c->greeted) {
        return (q->len > 0 || q->ended) && greet(p, c);
    }
    if (q->len > 0) {
        size_t used;
        const size_t len = piece(p, q->len);
        /* In a block of its own, so that ASan sees the byte behind it. */
        uint8_t *const exact = malloc(len);
        cr_assert_not_null(exact);
        memcpy(exact, q->bytes, len);
        link_received(l, c->id, exact, len, p->now_ms, &used);
        free(exact);
        cr_assert(used <= len);
        cr_assert(used == len || link_is_held(l));
        take(q, used);
        return used > 0;
    }
    if (link_is_held(l)) {
        size_t used;
        link_received(l, c->id, NULL, 0, p->now_ms, &used);
        return !link_is_held(l);
    }
    if (q->ended) {
        const uint64_t id = c->id;
        end_at(p, c, side);
        link_down(l, id, NODE_CLOSE_BROKEN, p->now_ms);
        return true;
    }
    return false;
}

static bool side_step(struct pair *p, unsigned side)
{
    struct link *const l = p->sides[side].link;
    link_turn(l, p->now_ms);
    const enum link_todo todo = link_todo(l);
    if (todo == LINK_DIAL) {
        dial(p);
        return true;
    }
    struct pair_connection *c =
        link_connection(l) == 0 ? NULL : connection_of(p, link_connection(l));
    if (todo == LINK_CLOSE) {
        close_at(p, side, c);
        return true;
    }
    bool moved = c != NULL && write_some(p, side, c);
    for (unsigned i = 0; i < PAIR_CONNECTIONS; i++) {
        c = &p->connections[i];
        const bool pending = side == 1 && c->id != 0 && !c->greeted;
        if (c->id != 0 && (c->attached[side] || pending)) {
            moved = read_some(p, side, c) || moved;
        }
    }
    return moved;
}

void pair_settle(struct pair *p)
{
    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        const bool moved = side_step(p, 0);
        if (!side_step(p, 1) && !moved) {
            return;
        }
    }
}

void pair_run(struct pair *p, uint64_t ms)
{
    const uint64_t end_ms = p->now_ms + ms;
    for (;;) {
        pair_settle(p);
        if (p->now_ms >= end_ms) {
            return;
        }
        const uint64_t a = link_next_ms(p->sides[0].link), b = link_next_ms(p->sides[1].link);
        uint64_t next = a < b ? a : b;
        next = next <= p->now_ms ? p->now_ms + 1 : next;
        p->now_ms = next < end_ms ? next : end_ms;
    }
}

/* ---- Frames */

enum link_put pair_put(struct pair *p, unsigned side, bool numbered, uint64_t value, size_t more,
                       uint64_t *seq)
{
    uint8_t *body;
    uint64_t none;
    const enum link_put put =
        link_put(p->sides[side].link, NODE_FRAME_PUBLISH, numbered, sizeof value + more, &body,
                 seq == NULL ? &none : seq, p->now_ms);
    if (put == LINK_OK) {
        put_u64(body, value);
        memset(body + sizeof value, 0, more);
    }
    return put;
}

uint64_t pair_value(const struct node_frame *frame)
{
    cr_assert(frame->body.len >= sizeof(uint64_t));
    return get_u64(frame->body.at);
}
