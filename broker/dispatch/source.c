/* SPDX-License-Identifier: Apache-2.0 */
/* source: what this shard's clients publish, until all have it that have to. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/owed.h"
#include "broker/conn/publishable.h"
#include "broker/dispatch/dispatch_parts.h"
#include "broker/dispatch/dispatch_uses.h"
#include "broker/message.h"
#include "broker/remote/forward.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/route/local.h"
#include "broker/route/promise.h"
#include "broker/store/serial.h"
#include "cluster/dispatch/origins.h"
#include "proto/node_dispatch.h"
#include "proto/node_publish.h"
#include "proto/reason.h"

#define SELF_TARGET (INDEX_PEER_FIRST + PEERS_SELF)

/* ---- what has ended, in the order in which it was put */

static void settle(struct shard *s)
{
    struct fifo *const ops = &s->dispatching->ops;
    const struct dispatch_open *o;
    uint64_t ticket = 0;
    while ((o = fifo_first(ops)) != NULL && o->is_over) {
        ticket = o->ticket;
        fifo_pop(ops);
    }
    if (ticket != 0) {
        owed_kept(s, SELF_TARGET, ticket);
        s->dispatching->again = true;
    }
}

/* They rise; one that was refused has the number of the one before it. */
static struct dispatch_open *open_of(const struct fifo *ops, uint64_t op)
{
    uint32_t low = 0, high = ops->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (((const struct dispatch_open *)fifo_at(ops, middle))->op < op) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return fifo_at(ops, low);
}

static void on_ended(void *context, uint64_t op, enum dispatch_end end)
{
    struct shard *const s = context;
    struct dispatch_open *const o = open_of(&s->dispatching->ops, op);
    assert(o->op == op);
    o->is_over = true;
    if (end == DISPATCH_UNKNOWN) {
        owed_refused(s, o->ticket, MQTT_REASON_UNSPECIFIED_ERROR);
    }
    settle(s);
}

static void push(struct shard *s, const struct dispatch_open *o)
{
    struct fifo *const ops = &s->dispatching->ops;
    ops->item = sizeof *o;
    if (!fifo_push(ops, o)) {
        remote_out_of_memory();
    }
    if (o->is_over) {
        settle(s);
    }
}

/* ---- for whom a message is */

static uint64_t covered_by(const struct leaders *l, unsigned peer)
{
    return atomic_load(&l->covered[peer]);
}

static bool is_true_now(const struct shard *s, uint64_t changes)
{
    const struct leaders *const l = s->node->leaders;
    return (changes & 1) == 0 && s->node->clock_ms() < atomic_load(&l->until_ms);
}

struct dispatch_view dispatch_run_look(const struct shard *s)
{
    const struct leaders *const l = s->node->leaders;
    struct dispatch_view view = {.changes = atomic_load(&l->changes), .without = UINT64_MAX};
    if (is_true_now(s, view.changes)) {
        for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
            view.without &= ~covered_by(l, peer);
        }
    }
    return view;
}

/* Partitions of this node that may have subscribers for what was matched. */
static uint64_t matched_here(const struct shard *s)
{
    uint64_t partitions = 0;
    for (size_t i = 0; i < s->match.filter_count; i++) {
        const struct match_filter *const f = &s->match.filters[i];
        for (uint64_t left = f->shards & INDEX_SHARDS_MASK; left != 0; left &= left - 1) {
            const unsigned shard = (unsigned)__builtin_ctzll(left);
            if (local_keeps(s->node->shards[shard], f->filter_id)) {
                partitions |= s->node->leaders->at_home[shard];
            }
        }
    }
    return partitions;
}

static uint64_t partitions_for(const struct shard *s, const struct dispatch_view *before,
                               uint64_t targets)
{
    const struct leaders *const l = s->node->leaders;
    uint64_t partitions = before->without | (covered_by(l, PEERS_SELF) & matched_here(s));
    for (uint64_t left = targets >> INDEX_PEER_FIRST; left != 0; left &= left - 1) {
        partitions |= covered_by(l, (unsigned)__builtin_ctzll(left));
    }
    partitions |= atomic_load(&l->ceased);
    const bool same = atomic_load(&l->changes) == before->changes;
    return same && is_true_now(s, before->changes) ? partitions : UINT64_MAX;
}

/* Other nodes with subscribers, which may be transient ones, and that live. */
static uint32_t nodes_for(struct shard *s, const struct message *m, uint64_t targets)
{
    uint32_t nodes = 0;
    for (uint64_t left = targets >> INDEX_PEER_FIRST; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctzll(left);
        nodes |= forward_lives(s, peer, m) ? dispatch_bit(peer) & ~s->dispatching->given_up : 0;
    }
    return nodes;
}

/* ---- what is put */

bool dispatch_run_takes(const struct shard *s, const struct message *m)
{
    return s->dispatching != NULL && m->qos > 0 && !publishable_is_own(message_topic(m));
}

/* Of which exchange, or will, of the publisher it is (store/serial.h): in the place of an op, since
 * it has none. */
static uint64_t exchange_word(const struct message *m)
{
    return m->exchange | (message_is_will(m) ? DISPATCH_WORD_OF_WILL : 0);
}

/* The words of a message on its way to another node (node_publish.h), that nobody is to answer. */
static struct bytes words_of(struct shard *s, const struct message *m)
{
    struct dispatching *const d = s->dispatching;
    const struct node_publish words = {
        .op = serial_is_local(m->publisher) ? 0 : exchange_word(m),
        .publisher = serial_is_local(m->publisher) ? 0 : m->publisher,
        .published_ms = s->now_ms + (uint64_t)s->node->wall_offset_ms,
        .expiry_ms = forward_expiry_left(s, m),
        .qos = m->qos,
        .retain = m->retain,
        .topic = message_topic(m),
        .properties = message_properties(m),
        .payload = message_payload(m),
    };
    const size_t len = node_publish_encode(NULL, &words);
    if (len > d->words_room) {
        free(d->words);
        d->words = remote_alloc(len);
        d->words_room = len;
    }
    (void)node_publish_encode(d->words, &words);
    return bytes_of(d->words, len);
}

void dispatch_run_put(struct shard *s, struct message *m, const struct dispatch_view *before,
                      uint64_t targets)
{
    struct dispatching *const d = s->dispatching;
    ASSERT_OWNED(s);
    const uint64_t partitions = partitions_for(s, before, targets);
    const uint32_t nodes = nodes_for(s, m, targets);
    if (partitions == 0 && nodes == 0) {
        return;
    }
    struct dispatch_open o = {.op = d->last_op, .ticket = promise_wait_for(s, SELF_TARGET)};
    if (d->source == NULL || dispatch_put(d->source, partitions, nodes, words_of(s, m), s->now_ms,
                                          &o.op) != DISPATCH_OK) {
        shard_count(s, METRIC_dispatch_refused);
        owed_refused(s, o.ticket, MQTT_REASON_QUOTA_EXCEEDED);
        o.is_over = true;
    }
    d->last_op = o.op;
    push(s, &o);
}

/* ---- frames out */

static void send_by_lane(struct shard *s, unsigned peer)
{
    struct dispatch *const source = s->dispatching->source;
    struct bytes body;
    uint8_t type;
    size_t room;
    while ((room = lane_room(s, peer)) > 0 &&
           dispatch_next(source, peer, room, s->now_ms, &type, &body)) {
        lane_put(s, peer, s->id, type, body);
    }
}

static void send_by_mail(struct shard *s, unsigned peer, unsigned lane)
{
    struct dispatch *const source = s->dispatching->source;
    struct bytes body;
    uint8_t type;
    for (unsigned n = 0;
         n < DISPATCH_TURN_FRAMES && s->post.overflowed == 0 && lane_is_ready(s, peer, lane) &&
         dispatch_next(source, peer, SIZE_MAX, s->now_ms, &type, &body);
         n++) {
        lane_put(s, peer, s->id, type, body);
    }
}

static void send_to_self(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    struct bytes body;
    uint8_t type;
    unsigned n = 0;
    while (n < DISPATCH_TURN_FRAMES && s->post.overflowed == 0 &&
           dispatch_next(d->source, PEERS_SELF, SIZE_MAX, s->now_ms, &type, &body)) {
        if (!homes_take_all(s, PEERS_SELF, body)) {
            remote_out_of_memory(); /* what it says is fair */
        }
        n++;
    }
    d->again = d->again || n == DISPATCH_TURN_FRAMES;
}

/* ---- leaders, and lanes */

void source_leaders(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    uint32_t leading = 0;
    for (unsigned p = 0; d->source != NULL && p < PARTITIONS; p++) {
        const struct leader l = leaders_of(s->node, p);
        if (l.term > 0) {
            dispatch_leader(d->source, p, l.peer, l.term);
        }
        leading |= l.peer < PEERS_SELF ? dispatch_bit(l.peer) : 0;
    }
    d->deposed = (d->deposed | (d->leading & ~leading)) & ~leading;
    d->leading = leading;
}

/*
 * A peer without a connection, in whose place others have been elected by majorities that did not
 * hear of it, is not waited for until membership says that it is dead, some seconds later: that
 * would hold up all who publish what its clients had subscribed to. Should it live after all, it
 * hears of a gap, as who was taken for dead does.
 */
static void look_at_deposed(struct shard *s, unsigned peer)
{
    struct dispatching *const d = s->dispatching;
    const uint32_t bit = dispatch_bit(peer);
    const bool is_up = (d->seen[peer].connections & 1) != 0;
    if (is_up && ((d->deposed | d->given_up) & bit) != 0) {
        s->remote->skipped &= (d->given_up & bit) != 0 ? ~bit : UINT32_MAX;
        d->deposed &= ~bit;
        d->given_up &= ~bit;
    } else if (!is_up && (d->deposed & ~d->given_up & bit) != 0) {
        d->given_up |= bit;
        forward_missed(s, peer);
        dispatch_gone(d->source, peer);
    }
}

_Static_assert(LEADERS_NOBODY == DISPATCH_NOBODY, "nobody is nobody");
_Static_assert(PEERS_MAX == DISPATCH_PEERS_MAX, "peers are the same here,");
_Static_assert(PEERS_MAX == INTAKE_PEERS_MAX, "there,");
_Static_assert(PEERS_MAX == LEASE_PEERS_MAX, "and everywhere");
_Static_assert(PARTITIONS == NODE_DISPATCH_PARTITIONS, "so are partitions");

/* Has the lane another connection, or none, or one to another start? */
static void look_at_lane(struct shard *s, unsigned peer)
{
    struct dispatching *const d = s->dispatching;
    struct dispatch_lane_seen *const seen = &d->seen[peer];
    const unsigned lane = lane_of_shard(s, peer, s->id);
    const struct dispatch_lane *const l = &s->node->shards[lane]->dispatching->lanes[peer];
    const struct dispatch_lane_seen now = {
        .lane = lane,
        .connections = atomic_load_explicit(&l->connections, memory_order_acquire),
        .start = atomic_load_explicit(&l->start, memory_order_relaxed),
    };
    if (now.lane == seen->lane && now.connections == seen->connections) {
        return;
    }
    if ((seen->connections & 1) != 0) {
        dispatch_down(d->source, peer);
    }
    if (now.start != seen->start && seen->start != 0) {
        dispatch_gone(d->source, peer);
    }
    if ((now.connections & 1) != 0) {
        dispatch_up(d->source, peer);
    }
    *seen = now;
}

/* A member has a number, which is in the name of its streams. */
static void begin(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    const uint32_t member = atomic_load_explicit(&s->node->member, memory_order_relaxed);
    if (member == 0 || member >= ORIGIN_NODES) {
        return;
    }
    /* A node's generation is the one before and one more, and may be of any size. */
    const uint32_t start = (uint32_t)(s->node->leaders->generation % UINT32_MAX) + 1;
    struct dispatch_conf conf = dispatch_conf_defaults();
    conf.origin = origin_of(member, start, (uint8_t)s->id);
    conf.events = (struct dispatch_events){.ended = on_ended, .context = s};
    d->source = dispatch_create(&conf);
    if (d->source == NULL) {
        remote_out_of_memory();
    }
    dispatch_up(d->source, PEERS_SELF);
    intake_meet(d->homes, PEERS_SELF, member);
    source_leaders(s);
}

/* ---- a turn */

static void show(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    const struct dispatch_figures f = dispatch_figures(d->source);
    const struct dispatch_conf conf = dispatch_conf_defaults();
    metrics_add(&s->metrics, METRIC_dispatch_put, f.put - d->counted.put);
    metrics_add(&s->metrics, METRIC_dispatch_unknown, f.unknown - d->counted.unknown);
    metrics_add(&s->metrics, METRIC_dispatch_repeated, f.repeated - d->counted.repeated);
    d->counted = f;
    atomic_store_explicit(&d->shown_ops, f.ops, memory_order_relaxed);
    atomic_store_explicit(&d->shown_bytes, f.bytes, memory_order_relaxed);
    const bool many = f.ops > conf.ops_max / 2 || f.bytes > conf.bytes_max / 2;
    const bool few = f.ops < conf.ops_max / 4 && f.bytes < conf.bytes_max / 4;
    if (many != d->is_slow && (many || few)) {
        d->is_slow = many;
        remote_set_slow(s, PEERS_SELF, many);
    }
}

void source_turn(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    if (d->source == NULL) {
        begin(s);
    }
    if (d->source == NULL) {
        return;
    }
    for (uint32_t left = d->used; left != 0; left &= left - 1) {
        look_at_lane(s, (unsigned)__builtin_ctz(left));
        look_at_deposed(s, (unsigned)__builtin_ctz(left));
    }
    if (dispatch_next_ms(d->source) <= s->now_ms) {
        dispatch_turn(d->source, s->now_ms);
    }
    send_to_self(s);
    for (uint32_t left = d->used; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        const unsigned lane = lane_of_shard(s, peer, s->id);
        if (lane == s->id) {
            send_by_lane(s, peer);
        } else {
            send_by_mail(s, peer, lane);
        }
    }
    show(s);
}

enum link_taken source_received(struct shard *s, unsigned peer, struct bytes body)
{
    struct dispatching *const d = s->dispatching;
    if (d->source == NULL) {
        return LINK_TAKEN; /* for a former start */
    }
    return dispatch_received(d->source, peer, body, s->now_ms) == DISPATCH_OK ? LINK_TAKEN
                                                                              : LINK_BAD;
}

void source_gone(struct shard *s, unsigned peer)
{
    struct dispatching *const d = s->dispatching;
    if (d->source != NULL) {
        dispatch_gone(d->source, peer);
    }
}

/* What waits for room in a lane of another shard is looked after by and by. */
uint64_t source_next_ms(const struct shard *s)
{
    const struct dispatching *const d = s->dispatching;
    if (d->source == NULL || dispatch_figures(d->source).ops == 0) {
        return UINT64_MAX;
    }
    const uint64_t next_ms = dispatch_next_ms(d->source);
    const uint64_t later_ms = s->now_ms + DISPATCH_LATER_MS;
    return next_ms < later_ms ? next_ms : later_ms;
}

void source_fini(struct dispatching *d)
{
    dispatch_destroy(d->source);
    fifo_fini(&d->ops);
    free(d->words);
}
