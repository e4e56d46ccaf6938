/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/interest/interest.h"

#include <assert.h>
#include <stdlib.h>

#include "cluster/interest/interest_parts.h"

struct interest_conf interest_conf_defaults(void)
{
    return (struct interest_conf){.settle_ms = 2000,
                                  .tail_ops_max = 65536,
                                  .tail_bytes_max = 8u << 20,
                                  .digest_ms = 1000,
                                  .wait_ms = 500,
                                  .dead_ms = 60000,
                                  .retry_ms = 1000,
                                  .waits_max = 65536,
                                  .parts_max = 32,
                                  .turn_steps = 250};
}

struct interest *interest_create(const struct interest_conf *conf)
{
    assert(conf->generation > 0);
    assert(conf->waits_max > 0);

    struct interest *i = calloc(1, sizeof *i);
    if (i == NULL) {
        return NULL;
    }
    i->conf = *conf;
    const uint64_t seed = digest_seed(conf->cluster);
    const struct own_conf own = {.seed = seed,
                                 .settle_ms = conf->settle_ms,
                                 .tail_ops_max = conf->tail_ops_max,
                                 .tail_bytes_max = conf->tail_bytes_max};
    bool whole = own_init(&i->own, &own);
    for (unsigned p = 0; p < INTEREST_PEERS_MAX; p++) {
        whole = view_init(&i->peers[p].view, seed) && whole;
        i->peers[p].retry_ms = UINT64_MAX;
    }
    i->waits = calloc(conf->waits_max, sizeof *i->waits);
    if (!whole || i->waits == NULL) {
        interest_destroy(i);
        return NULL;
    }
    return i;
}

void interest_destroy(struct interest *i)
{
    if (i == NULL) {
        return;
    }
    own_fini(&i->own);
    for (unsigned p = 0; p < INTEREST_PEERS_MAX; p++) {
        view_fini(&i->peers[p].view);
    }
    free(i->waits);
    free(i);
}

static struct peer *peer_of(struct interest *i, unsigned peer)
{
    assert(peer < INTEREST_PEERS_MAX);
    return &i->peers[peer];
}

/* ---- Who waits for whom */

/* Live peers that have not acknowledged that version. */
static uint32_t without(const struct interest *i, uint64_t version)
{
    uint32_t mask = 0;
    for (unsigned p = 0; p < INTEREST_PEERS_MAX; p++) {
        if (i->peers[p].live && i->peers[p].acked < version) {
            mask |= UINT32_C(1) << p;
        }
    }
    return mask;
}

bool interest_is_reached(const struct interest *i, uint64_t version)
{
    return without(i, version) == 0;
}

static struct wait *wait_at(const struct interest *i, size_t n)
{
    return &i->waits[(i->waits_first + n) % i->conf.waits_max];
}

enum interest_err interest_wait(struct interest *i, uint64_t version, uint64_t token,
                                uint64_t now_ms)
{
    if (i->waits_count == i->conf.waits_max) {
        i->figures.waits_refused++;
        return INTEREST_FULL;
    }
    struct wait w = {.version = version, .token = token, .due_ms = now_ms + i->conf.wait_ms};
    if (i->waits_count > 0 && wait_at(i, i->waits_count - 1)->version > version) {
        w.version = wait_at(i, i->waits_count - 1)->version;
    }
    i->waits_count++;
    *wait_at(i, i->waits_count - 1) = w;
    return INTEREST_OK;
}

static void reach_first(struct interest *i, uint32_t mask)
{
    const uint64_t token = wait_at(i, 0)->token;
    i->waits_first = (i->waits_first + 1) % i->conf.waits_max;
    i->waits_count--;
    i->figures.reached_whole += mask == 0;
    i->figures.reached_without += mask != 0;
    i->conf.events.reached(i->conf.events.context, token, mask);
}

/* Somebody has acknowledged something, or is not waited for any more. */
static void reach(struct interest *i)
{
    while (i->waits_count > 0 && interest_is_reached(i, wait_at(i, 0)->version)) {
        reach_first(i, 0);
    }
}

/* ---- This node's own */

enum interest_err interest_take(struct interest *i, enum node_interest_kind kind, struct bytes text,
                                uint64_t now_ms, uint64_t *version)
{
    if (!own_take(&i->own, (uint8_t)kind, text, now_ms, version)) {
        i->figures.no_memory++;
        return INTEREST_NO_MEMORY;
    }
    return INTEREST_OK;
}

void interest_put(struct interest *i, enum node_interest_kind kind, struct bytes text,
                  uint64_t now_ms)
{
    own_put(&i->own, (uint8_t)kind, text, now_ms);
}

/* ---- Peers come and go */

/* It is live or up, or is not any more. */
static void watch(struct peer *p, uint64_t now_ms)
{
    const bool gone = !p->live && !p->up;
    if (gone && !p->doomed) {
        p->gone_ms = now_ms;
    }
    p->doomed = gone;
}

void interest_peer_live(struct interest *i, unsigned peer, bool live, uint64_t now_ms)
{
    struct peer *const p = peer_of(i, peer);
    p->live = live;
    watch(p, now_ms);
    reach(i);
}

void interest_peer_keep(struct interest *i, unsigned peer, bool keep)
{
    peer_of(i, peer)->keep = keep;
}

/* More than was asked for already on this connection. */
static void ask(struct peer *p, enum node_interest_want want)
{
    if (p->up && want > p->asked) {
        p->asked = want;
        p->want = want;
        p->ack_due = true;
    }
}

void interest_peer_up(struct interest *i, unsigned peer, uint64_t now_ms)
{
    struct peer *const p = peer_of(i, peer);
    p->up = true;
    watch(p, now_ms);
    p->feed = FEED_NONE;
    p->digest_ms = now_ms + i->conf.digest_ms;
    p->asked = NODE_WANT_NOTHING;
    p->retry_ms = UINT64_MAX;
    ask(p, view_is_good(&p->view) ? NODE_WANT_TAIL : NODE_WANT_SNAPSHOT);
}

void interest_peer_down(struct interest *i, unsigned peer, uint64_t now_ms)
{
    struct peer *const p = peer_of(i, peer);
    p->up = false;
    watch(p, now_ms);
    p->feed = FEED_NONE;
    p->acked = 0; /* until it says so again: it may be started anew, or take us for dead */
    p->ack_due = false;
    p->retry_ms = UINT64_MAX;
    if (p->view.state == VIEW_FILLING) {
        p->view.state = VIEW_NONE; /* the rest of it will not come */
    }
}

struct view_context {
    const struct interest_events *events;
    unsigned peer;
};

static bool on_set(void *context, const struct node_interest_item *item)
{
    const struct view_context *const c = context;
    return c->events->set(c->events->context, c->peer, item);
}

static void on_removed(void *context, const struct node_interest_item *item)
{
    const struct view_context *const c = context;
    c->events->removed(c->events->context, c->peer, item);
}

static struct view_events events_of(struct view_context *c)
{
    return (struct view_events){.set = on_set, .removed = on_removed, .context = c};
}

void interest_peer_forget(struct interest *i, unsigned peer)
{
    struct peer *const p = peer_of(i, peer);
    struct view_context c = {&i->conf.events, peer};
    const struct view_events events = events_of(&c);
    view_drop(&p->view);
    while (!view_sweep(&p->view, i->conf.turn_steps, &events)) {
    }
    const struct view view = p->view;
    *p = (struct peer){.view = view, .retry_ms = UINT64_MAX};
    reach(i);
}

/* ---- What comes of a peer's interest */

static void settle(struct interest *i, unsigned peer)
{
    const struct view *const v = &i->peers[peer].view;
    i->conf.events.settle(i->conf.events.context, peer, v->mark, v->version);
}

void interest_settled(struct interest *i, unsigned peer, uint32_t epoch, uint64_t version)
{
    struct peer *const p = peer_of(i, peer);
    if (epoch == p->view.mark && view_is_good(&p->view) && version <= p->view.version &&
        version >= p->settled) {
        p->settled = version;
        p->ack_due = p->up;
    }
}

/* Is all here that the peer has? There may be more. */
static bool is_complete(const struct peer *p)
{
    return p->view.state == VIEW_WHOLE || (p->keep && view_is_good(&p->view));
}

/* What a frame's items have come to. */
static void judge(struct interest *i, unsigned peer, enum view_err err, uint64_t now_ms)
{
    struct peer *const p = &i->peers[peer];
    switch (err) {
    case VIEW_OK:
        if (is_complete(p)) {
            settle(i, peer);
        }
        break;
    case VIEW_STALE:
        break;
    case VIEW_MISSING:
        if (p->retry_ms == UINT64_MAX) {
            ask(p, view_is_good(&p->view) ? NODE_WANT_TAIL : NODE_WANT_SNAPSHOT);
        }
        break;
    case VIEW_NO_MEMORY:
        i->figures.no_memory++;
        p->retry_ms = now_ms + i->conf.retry_ms;
        break;
    }
}

/* The tail that was asked for is here, or there was none. */
static void tail_came(struct peer *p)
{
    if (p->asked == NODE_WANT_TAIL) {
        p->asked = NODE_WANT_NOTHING;
    }
}

static enum interest_err on_delta(struct interest *i, unsigned peer, struct bytes body,
                                  uint64_t now_ms)
{
    struct node_interest_delta delta;
    struct view_context c = {&i->conf.events, peer};
    const struct view_events events = events_of(&c);
    struct peer *const p = &i->peers[peer];
    if (node_interest_delta_decode(&delta, body) != NODE_OK) {
        return INTEREST_MALFORMED;
    }
    const enum view_err err = view_delta(&p->view, &delta, &events);
    if (err == VIEW_OK) {
        tail_came(p);
    }
    judge(i, peer, err, now_ms);
    return INTEREST_OK;
}

static enum interest_err on_snapshot(struct interest *i, unsigned peer, struct bytes body,
                                     uint64_t now_ms)
{
    struct node_interest_snapshot part;
    struct view_context c = {&i->conf.events, peer};
    const struct view_events events = events_of(&c);
    struct peer *const p = &i->peers[peer];
    if (node_interest_snapshot_decode(&part, body) != NODE_OK || part.generation == 0) {
        return INTEREST_MALFORMED;
    }
    if (part.part == 0 && part.generation >= p->view.generation) {
        p->asked = NODE_WANT_NOTHING;
        p->settled = 0;
        p->retry_ms = UINT64_MAX;
    }
    const enum view_err err = view_snapshot(&p->view, &part, &events);
    p->ack_due = true; /* the next part may come */
    judge(i, peer, err, now_ms);
    return INTEREST_OK;
}

static enum interest_err on_digest(struct interest *i, unsigned peer, struct bytes body)
{
    struct node_interest_digest digest;
    struct peer *const p = &i->peers[peer];
    const struct view *const v = &p->view;
    uint8_t here[NODE_DIGEST_BYTES];
    if (node_interest_digest_decode(&digest, body) != NODE_OK) {
        return INTEREST_MALFORMED;
    }
    if (!is_complete(p)) {
        return INTEREST_OK; /* it is being made good */
    }
    if (digest.generation != v->generation || digest.version > v->version) {
        ask(p, NODE_WANT_TAIL); /* all that is said comes in order: something is missing */
        return INTEREST_OK;
    }
    digest_encode(here, v->digest);
    if (digest.version == v->version) {
        tail_came(p);
        if (v->state == VIEW_WHOLE && memcmp(here, digest.digest, sizeof here) != 0) {
            i->figures.divergences += p->asked != NODE_WANT_SNAPSHOT;
            ask(p, NODE_WANT_SNAPSHOT);
        }
    }
    return INTEREST_OK;
}

/* ---- What a peer says of ours */

static enum interest_err on_ack(struct interest *i, unsigned peer, struct bytes body)
{
    struct node_interest_ack ack;
    struct peer *const p = &i->peers[peer];
    if (node_interest_ack_decode(&ack, body) != NODE_OK) {
        return INTEREST_MALFORMED;
    }
    const bool ours = ack.generation == i->conf.generation;
    if (ours && ack.version > i->own.version) {
        return INTEREST_MALFORMED; /* what was never said */
    }
    if (ours && ack.version > p->acked) {
        p->acked = ack.version;
    }
    if (p->feed != FEED_NONE && ack.snapshot == p->snapshot && ack.parts > p->parts_acked &&
        ack.parts <= p->parts_sent) {
        p->parts_acked = ack.parts;
    }
    if (ack.want == NODE_WANT_SNAPSHOT) {
        p->acked = 0; /* it cannot vouch for anything */
    }
    if (ack.want != NODE_WANT_NOTHING) {
        feed_begin(i, p, &ack);
    }
    reach(i);
    return INTEREST_OK;
}

enum interest_err interest_received(struct interest *i, unsigned peer,
                                    const struct node_frame *frame, uint64_t now_ms)
{
    if (!peer_of(i, peer)->up) {
        return INTEREST_OK;
    }
    switch (frame->type) {
    case NODE_FRAME_INTEREST_DELTA:
        return on_delta(i, peer, frame->body, now_ms);
    case NODE_FRAME_INTEREST_SNAPSHOT:
        return on_snapshot(i, peer, frame->body, now_ms);
    case NODE_FRAME_INTEREST_DIGEST:
        return on_digest(i, peer, frame->body);
    case NODE_FRAME_INTEREST_ACK:
        return on_ack(i, peer, frame->body);
    default:
        return INTEREST_MALFORMED;
    }
}

/* ---- Time */

static bool sweeps(const struct peer *p)
{
    return p->view.state == VIEW_SWEEPING && (!p->keep || p->view.dropping);
}

static void peer_turn(struct interest *i, unsigned peer, uint64_t now_ms)
{
    struct peer *const p = &i->peers[peer];
    struct view_context c = {&i->conf.events, peer};
    const struct view_events events = events_of(&c);
    if (p->doomed && !p->keep && p->view.generation != 0 && !p->view.dropping &&
        now_ms - p->gone_ms >= i->conf.dead_ms) {
        p->settled = 0;
        view_drop(&p->view);
    }
    const bool drops = p->view.dropping;
    if (sweeps(p) && view_sweep(&p->view, i->conf.turn_steps, &events) && !drops) {
        i->figures.snapshots_received++;
        settle(i, peer);
    }
    if (now_ms >= p->retry_ms) {
        p->retry_ms = UINT64_MAX;
        p->asked = NODE_WANT_NOTHING;
        ask(p, NODE_WANT_SNAPSHOT);
    }
}

void interest_turn(struct interest *i, uint64_t now_ms)
{
    own_turn(&i->own, now_ms, i->conf.turn_steps);
    for (unsigned p = 0; p < INTEREST_PEERS_MAX; p++) {
        peer_turn(i, p, now_ms);
    }
    while (i->waits_count > 0 && wait_at(i, 0)->due_ms <= now_ms) {
        reach_first(i, without(i, wait_at(i, 0)->version));
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t peer_next_ms(const struct interest *i, const struct peer *p)
{
    if (sweeps(p)) {
        return 0; /* at once */
    }
    uint64_t next = p->retry_ms;
    if (p->doomed && !p->keep && p->view.generation != 0) {
        next = earlier(next, p->gone_ms + i->conf.dead_ms);
    }
    return p->up && p->feed == FEED_TAIL ? earlier(next, p->digest_ms) : next;
}

uint64_t interest_next_ms(const struct interest *i)
{
    uint64_t next = own_next_ms(&i->own);
    for (unsigned p = 0; p < INTEREST_PEERS_MAX; p++) {
        next = earlier(next, peer_next_ms(i, &i->peers[p]));
    }
    return i->waits_count == 0 ? next : earlier(next, wait_at(i, 0)->due_ms);
}

/* ---- Figures */

struct interest_figures interest_figures(const struct interest *i)
{
    struct interest_figures f = i->figures;
    f.own_items = i->own.count;
    f.own_version = i->own.version;
    f.own_bytes = i->own.bytes;
    f.own_digest = i->own.digest;
    f.waiting = i->waits_count;
    return f;
}

struct interest_peer_figures interest_peer_figures(const struct interest *i, unsigned peer)
{
    assert(peer < INTEREST_PEERS_MAX);

    const struct peer *const p = &i->peers[peer];
    return (struct interest_peer_figures){.state = p->view.state,
                                          .generation = p->view.generation,
                                          .version = p->view.version,
                                          .settled = p->settled,
                                          .items = p->view.count,
                                          .bytes = p->view.bytes,
                                          .digest = p->view.digest,
                                          .acked = p->acked,
                                          .live = p->live,
                                          .up = p->up};
}
