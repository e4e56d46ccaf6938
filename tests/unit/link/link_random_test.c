/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_random_test: two links in a bad world, against a list of all that was put. Whatever is cut,
 * stalled, held up, started anew or given up: a numbered frame is delivered once and in order; over
 * one that is left out nobody goes without a word; what is acknowledged was delivered, or was told
 * to be lost; nothing takes more room than it may; and when the faults end, all that is left
 * arrives.
 */
#include "cluster/link/link.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/link/pair.h"

#define WORLDS     150u
#define STEPS      1500u
#define FRAMES_MAX 60000u
#define KEPT_MAX   40000u
#define BODY_MAX   3000u

static uint64_t seed;

#define MUST(condition)                                                                            \
    cr_assert(condition, "%s; TEST_SEED=%llu", #condition, (unsigned long long)seed)

/* What a side has put, by number; and what the other has been delivered of it. */
struct stream {
    bool delivered[FRAMES_MAX]; /* [number], to any start of the other side */
    bool lost[FRAMES_MAX];
    uint64_t last; /* number that was put */
    uint64_t acked;
    unsigned start; /* which life of the side it is of: part of each value */
};

struct world {
    struct pair pair;
    struct stream out[2]; /* by sender */
    /* By receiver. */
    uint64_t next[2];     /* number that it has to be delivered next; 0: it knows of none */
    unsigned of_start[2]; /* of which life of the sender */
    bool told[2];         /* of a gap, since the last delivery */
    uint64_t passing_last[2];
    uint64_t passing_put[2];
    unsigned reluctant; /* one in so many deliveries is not taken at once; 0: all are */
    uint64_t deliveries, gaps;
};

struct ear {
    struct world *w;
    unsigned side;
};

/* ---- What a receiver is delivered */

static void on_numbered(struct world *w, unsigned side, uint64_t number, unsigned start)
{
    struct stream *const from = &w->out[1 - side];
    MUST(start == from->start || start < from->start);
    if (start != w->of_start[side]) {
        MUST(start > w->of_start[side]);
        w->of_start[side] = start;
        w->next[side] = 0;
    }
    MUST(w->next[side] == 0 || number >= w->next[side]);                  /* once, and in order */
    MUST(w->next[side] == 0 || number == w->next[side] || w->told[side]); /* no silent gap */
    w->next[side] = number + 1;
    w->told[side] = false;
    w->deliveries++;
    if (start == from->start) {
        MUST(number <= from->last);
        from->delivered[number] = true;
    }
}

static enum link_taken on_deliver(void *context, const struct node_frame *frame)
{
    const struct ear *const ear = context;
    struct world *const w = ear->w;
    if (w->reluctant > 0 && random_below(&w->pair.random, w->reluctant) == 0) {
        return LINK_NOT_NOW;
    }
    const uint64_t value = pair_value(frame);
    const uint64_t number = value & 0xffffffff;
    const unsigned start = (unsigned)(value >> 32);
    if (frame->seq > 0) {
        MUST(frame->seq == number);
        on_numbered(w, ear->side, number, start);
    } else if (start == w->out[1 - ear->side].start) {
        MUST(number > w->passing_last[ear->side]); /* once, and in order */
        w->passing_last[ear->side] = number;
    }
    return LINK_TAKEN;
}

static void on_gap(void *context)
{
    const struct ear *const ear = context;
    ear->w->told[ear->side] = true;
    ear->w->gaps++;
}

static void on_lost(void *context, uint64_t first, uint64_t last, enum link_loss why)
{
    const struct ear *const ear = context;
    struct stream *const out = &ear->w->out[ear->side];
    (void)why;
    MUST(first <= last && last <= out->last);
    for (uint64_t i = first; i <= last; i++) {
        out->lost[i] = true;
    }
}

/* ---- What must hold at all times */

static void check(struct world *w)
{
    for (unsigned side = 0; side < 2; side++) {
        struct stream *const out = &w->out[side];
        const struct link_figures f = link_figures(w->pair.sides[side].link);
        MUST(f.last_seq == out->last);
        for (; out->acked < f.acked_seq; out->acked++) {
            MUST(out->delivered[out->acked + 1] || out->lost[out->acked + 1]);
        }
        MUST(f.kept_bytes <= KEPT_MAX || f.kept_frames == 1);
        MUST(f.passing_bytes <= w->pair.sides[side].conf.passing_bytes_max ||
             f.passing_bytes <= BODY_MAX + 100);
        MUST(f.slow == (w->pair.sides[side].slows > w->pair.sides[side].goes));
    }
}

/* ---- What happens */

static void put(struct world *w, unsigned side)
{
    struct stream *const out = &w->out[side];
    struct random *const r = &w->pair.random;
    const size_t more = random_below(r, 10) == 0 ? random_below(r, BODY_MAX) : random_below(r, 100);
    if (random_below(r, 4) == 0) {
        const uint64_t value = (uint64_t)out->start << 32 | ++w->passing_put[side];
        const enum link_put put = pair_put(&w->pair, side, false, value, more, NULL);
        MUST(put == LINK_OK || put == LINK_NO_ROOM);
        return;
    }
    /* Mostly it minds that it is to be slow. */
    if (out->last + 1 == FRAMES_MAX ||
        (w->pair.sides[side].slows > w->pair.sides[side].goes && random_below(r, 3) > 0)) {
        return;
    }
    uint64_t seq = 0;
    const uint64_t value = (uint64_t)out->start << 32 | (out->last + 1);
    const enum link_put put = pair_put(&w->pair, side, true, value, more, &seq);
    MUST(put == LINK_OK || put == LINK_FULL);
    if (put == LINK_OK) {
        MUST(seq == out->last + 1);
        out->last = seq;
    }
}

static void restart(struct world *w, unsigned side)
{
    struct pair_side *const s = &w->pair.sides[side];
    /* Now and then the same start makes its link anew. */
    const bool anew = random_below(&w->pair.random, 4) > 0;
    const unsigned start = w->out[side].start + 1;
    s->slows = 0;
    s->goes = 0;
    w->out[side] = (struct stream){.start = start};
    w->passing_put[side] = 0;
    w->passing_last[1 - side] = 0;
    w->next[side] = 0; /* it knows of nothing that it was delivered */
    w->told[side] = false;
    pair_restart(&w->pair, side, s->self.generation + anew);
}

static struct pair_connection *some_connection(struct world *w)
{
    struct pair_connection *const c =
        &w->pair.connections[random_below(&w->pair.random, PAIR_CONNECTIONS)];
    return c->id == 0 ? pair_connection(&w->pair) : c;
}

/* One end hears of the end, the other does not, or both, or none; at any byte. */
static void cut(struct world *w)
{
    struct random *const r = &w->pair.random;
    struct pair_connection *const c = some_connection(w);
    if (c == NULL) {
        return;
    }
    const unsigned which = random_below(r, 3);
    for (unsigned side = 0; side < 2; side++) {
        if (which == side || which == 2) {
            pair_cut(&w->pair, c, side, random_below(r, (uint32_t)c->to[side].len + 1));
        }
    }
}

/* Side 0 thinks that its connection is over; side 1 does not, and what is under way still comes. */
static void leave(struct world *w)
{
    struct link *const l = w->pair.sides[0].link;
    const uint64_t id = link_connection(l);
    struct pair_connection *const c = pair_connection(&w->pair);
    if (c != NULL) {
        link_down(l, id, NODE_CLOSE_BROKEN, w->pair.now_ms);
        c->attached[0] = false;
        c->to[0].closed = true;
    }
}

static void stall(struct world *w)
{
    struct pair_connection *const c = some_connection(w);
    if (c != NULL) {
        bool *const stalled = &c->to[random_below(&w->pair.random, 2)].stalled;
        *stalled = random_below(&w->pair.random, 3) == 0;
    }
}

static void fault(struct world *w)
{
    struct random *const r = &w->pair.random;
    switch (random_below(r, 16)) {
    case 0:
    case 1:
    case 2:
        cut(w);
        break;
    case 3:
        leave(w);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        stall(w);
        break;
    case 8:
        if (random_below(r, 3) == 0) {
            restart(w, random_below(r, 2));
        }
        break;
    case 9:
        if (random_below(r, 3) == 0) {
            link_give_up(w->pair.sides[random_below(r, 2)].link, w->pair.now_ms);
        }
        break;
    case 10:
        w->pair.unreachable = random_below(r, 4) == 0;
        break;
    case 11:
        link_set_credit(w->pair.sides[random_below(r, 2)].link,
                        random_below(r, 3) > 0 ? UINT64_MAX : random_below(r, 5000));
        break;
    case 12:
        link_want(w->pair.sides[random_below(r, 2)].link, random_below(r, 4) > 0, w->pair.now_ms);
        break;
    case 13:
        w->reluctant = random_below(r, 2) == 0 ? 0 : 2 + random_below(r, 20);
        break;
    default:
        break;
    }
}

static void live(struct world *w)
{
    struct random *const r = &w->pair.random;
    for (unsigned step = 0; step < STEPS; step++) {
        for (unsigned n = random_below(r, 6); n > 0; n--) {
            put(w, random_below(r, 2));
        }
        if (random_below(r, 15) == 0) {
            fault(w);
            check(w);
        }
        pair_run(&w->pair, random_below(r, 60) == 0 ? random_below(r, 12000) : random_below(r, 30));
        check(w);
    }
}

static void heal(struct world *w)
{
    w->pair.unreachable = false;
    w->reluctant = 0;
    for (unsigned i = 0; i < PAIR_CONNECTIONS; i++) {
        w->pair.connections[i].to[0].stalled = false;
        w->pair.connections[i].to[1].stalled = false;
    }
    for (unsigned side = 0; side < 2; side++) {
        link_want(w->pair.sides[side].link, true, w->pair.now_ms);
        link_set_credit(w->pair.sides[side].link, UINT64_MAX);
    }
}

static struct ear ears[2];

Test(link_random, nothing_is_lost_without_a_word, .timeout = 300)
{
    uint64_t deliveries = 0, gaps = 0;
    for (unsigned i = 0; i < WORLDS; i++) {
        struct world *const w = calloc(1, sizeof *w);
        struct link_conf conf = link_conf_defaults();
        cr_assert_not_null(w);
        conf.kept_bytes_max = KEPT_MAX;
        conf.passing_bytes_max = 10000;
        pair_init(&w->pair, &conf);
        w->pair.random.state += i;
        w->pair.pieces = true;
        seed = w->pair.random.seed;
        for (unsigned side = 0; side < 2; side++) {
            ears[side] = (struct ear){w, side};
            w->out[side].start = 1;
            w->pair.sides[side].hooks = (struct link_events){
                .deliver = on_deliver, .gap = on_gap, .lost = on_lost, .context = &ears[side]};
        }
        live(w);
        heal(w);
        pair_run(&w->pair, 40000);
        check(w);
        for (unsigned side = 0; side < 2; side++) {
            const struct link_figures f = link_figures(w->pair.sides[side].link);
            MUST(link_is_up(w->pair.sides[side].link));
            MUST(f.kept_frames == 0);
            MUST(f.acked_seq == w->out[side].last);
        }
        deliveries += w->deliveries;
        gaps += w->gaps;
        pair_fini(&w->pair);
        free(w);
    }
    cr_expect_gt(deliveries, 100u * WORLDS, "%lu", deliveries);
    cr_expect_gt(gaps, WORLDS / 4, "%lu", gaps);
}
