/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/remote/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/dispatch/dispatch_run.h"
#include "broker/groups/groups.h"
#include "broker/meta/meta_run.h"
#include "broker/node.h"
#include "broker/ownership/ownership.h"
#include "broker/relay/relay.h"
#include "broker/remote/clock.h"
#include "broker/remote/remote_parts.h"
#include "broker/replicated/replicated.h"

#define HELD_MS   10u /* until it is looked again whether there is room */
#define RESULT_MS 10u /* likewise, of a link's */

/* Frames of interest that a turn takes, of all nodes together: 250 items each, some 1.5 us an item.
 */
#define INTEREST_PER_TURN 8u

/* After its start a node is ready when it has heard what clients of the others subscribe to; or
 * when no more of that has come for FIRST_MS, or not all in FIRST_MOST_MS. */
#define FIRST_MS      10000u
#define FIRST_MOST_MS 60000u

void remote_out_of_memory(void)
{
    fputs("dunlin: out of memory for what other nodes have to know\n", stderr);
    abort();
}

void *remote_alloc(size_t bytes)
{
    void *const at = malloc(bytes);
    if (at == NULL) {
        remote_out_of_memory();
    }
    return at;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- whether it has heard them all, since its start */

static void wait_for(struct shard *s, unsigned peer)
{
    struct remote *const r = s->remote;
    if (r->first_until_ms == 0) {
        r->first_until_ms = s->now_ms + FIRST_MS;
        r->first_end_ms = s->now_ms + FIRST_MOST_MS;
    }
    if (r->first_until_ms != UINT64_MAX) {
        r->unheard |= remote_bit(peer);
        atomic_store_explicit(&s->node->unheard, r->unheard, memory_order_relaxed);
    }
}

static bool is_heard(const struct remote *r, unsigned peer)
{
    const struct interest_peer_figures f = interest_peer_figures(r->interest, peer);
    return !f.live || (f.state == VIEW_WHOLE && f.settled == f.version);
}

/* A number that changes with all that comes. */
static uint64_t heard_so_far(const struct remote *r)
{
    uint64_t sum = 0;
    for (uint32_t left = r->live; left != 0; left &= left - 1) {
        const struct interest_peer_figures f =
            interest_peer_figures(r->interest, (unsigned)__builtin_ctz(left));
        sum += f.items + f.settled;
    }
    return sum;
}

static void look_who_is_heard(struct shard *s)
{
    struct remote *const r = s->remote;
    if (r->first_until_ms == UINT64_MAX || r->first_until_ms == 0) {
        return;
    }
    for (uint32_t left = r->unheard; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        r->unheard &= is_heard(r, peer) ? ~remote_bit(peer) : UINT32_MAX;
    }
    const uint64_t so_far = heard_so_far(r);
    if (so_far != r->first_so_far) {
        r->first_so_far = so_far;
        r->first_until_ms = earlier(s->now_ms + FIRST_MS, r->first_end_ms);
    }
    if (s->now_ms >= r->first_until_ms) {
        r->first_until_ms = UINT64_MAX;
        r->unheard = 0;
    }
    atomic_store_explicit(&s->node->unheard, r->unheard, memory_order_relaxed);
}

/* ---- what links tell */

/* Lanes come one after the other, and what is put into one before it has met a start of that node
 * goes with the start before. So nobody may be found by what this start subscribes to until all
 * have met it; for as long, at most, after which something is wrong with them that is told. */
#define MEET_MS 2000u

static bool all_have_met(const struct shard *s, unsigned peer)
{
    const uint64_t generation = peers_generation(s, peer);
    const unsigned lanes = peers_lanes(s, peer);
    for (unsigned lane = 1; lane < lanes; lane++) {
        const struct remote *const r = s->node->shards[lane]->remote;
        if (atomic_load_explicit(&r->met[peer], memory_order_acquire) != generation) {
            return s->now_ms >= s->remote->up_ms[peer] + MEET_MS;
        }
    }
    return true;
}

static enum link_taken take_interest(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct remote *const r = s->remote;
    if (r->interest == NULL) {
        return LINK_BAD; /* it goes on lane 0 */
    }
    if (s->post.overflowed > 0 || r->taken >= INTEREST_PER_TURN) {
        r->held |= remote_bit(peer);
        return LINK_NOT_NOW;
    }
    if (!all_have_met(s, peer)) {
        return LINK_NOT_NOW; /* it is given again in 10 ms */
    }
    r->taken++;
    if (interest_received(r->interest, peer, frame, s->now_ms) != INTEREST_OK) {
        return LINK_BAD;
    }
    if (frame->type == NODE_FRAME_INTEREST_ACK) {
        dispatch_run_acked(s, peer);
    }
    return LINK_TAKEN;
}

static enum link_taken take_retained(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    const enum link_taken taken =
        s->id == 0 ? replicated_received(s, peer, frame) : LINK_BAD; /* it goes on lane 0 */
    s->remote->held |= taken == LINK_NOT_NOW ? remote_bit(peer) : 0;
    return taken;
}

static enum link_taken take_claims(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    const enum link_taken taken = ownership_received(s, peer, frame);
    s->remote->held |= taken == LINK_NOT_NOW ? remote_bit(peer) : 0;
    return taken;
}

static enum link_taken on_deliver(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    switch (frame->type) {
    case NODE_FRAME_PUBLISH:
        return arrive_publish(s, peer, frame);
    case NODE_FRAME_RESULT:
        return forward_answered(s, peer, frame->body);
    case NODE_FRAME_CLOCK:
        return clock_received(s, peer, frame->body);
    case NODE_FRAME_CLAIM_OWNER:
    case NODE_FRAME_CLAIM_HOLDS:
    case NODE_FRAME_CLAIM_ACK:
    case NODE_FRAME_CLAIM_WORDS:
        return take_claims(s, peer, frame);
    case NODE_FRAME_RELAY_OPEN:
    case NODE_FRAME_RELAY_DATA:
    case NODE_FRAME_RELAY_CREDIT:
    case NODE_FRAME_RELAY_END:
        return relay_received(s, peer, frame);
    case NODE_FRAME_RETAINED_DIGEST:
    case NODE_FRAME_RETAINED_ASK:
    case NODE_FRAME_RETAINED_SUMS:
    case NODE_FRAME_RETAINED_ITEMS:
        return take_retained(s, peer, frame);
    case NODE_FRAME_DISPATCH:
    case NODE_FRAME_DISPATCHED:
    case NODE_FRAME_LEADS:
    case NODE_FRAME_LEASE_ASK:
    case NODE_FRAME_LEASE:
        return dispatch_run_received(s, peer, frame);
    case NODE_FRAME_CONSENSUS:
        return groups_received(s, peer, frame);
    case NODE_FRAME_PARTITION_COPY:
        return groups_received_beside(s, peer, frame);
    case NODE_FRAME_META_MEMBER:
    case NODE_FRAME_META_STATE:
    case NODE_FRAME_META_REPORT:
    case NODE_FRAME_META_FORM:
        return meta_run_received(s, peer, frame);
    case NODE_FRAME_INTEREST_DELTA:
    case NODE_FRAME_INTEREST_SNAPSHOT:
    case NODE_FRAME_INTEREST_DIGEST:
    case NODE_FRAME_INTEREST_ACK:
        return take_interest(s, peer, frame);
    default:
        return LINK_UNKNOWN;
    }
}

static void on_up(struct shard *s, unsigned peer)
{
    struct remote *const r = s->remote;
    atomic_store_explicit(&r->met[peer], peers_generation(s, peer), memory_order_release);
    if (r->interest != NULL) {
        r->up |= remote_bit(peer);
        r->up_ms[peer] = s->now_ms;
        interest_peer_up(r->interest, peer, s->now_ms);
        replicated_up(s, peer);
    }
    ownership_up(s, peer);
    meta_run_up(s, peer);
    dispatch_run_up(s, peer);
}

static void on_down(struct shard *s, unsigned peer)
{
    struct remote *const r = s->remote;
    r->held &= ~remote_bit(peer);
    if (r->interest != NULL) {
        r->up &= ~remote_bit(peer);
        interest_peer_down(r->interest, peer, s->now_ms);
        clock_down(s, peer);
        replicated_down(s, peer);
    }
    ownership_down(s, peer);
    dispatch_run_down(s, peer);
}

void remote_set_slow(struct shard *s, unsigned peer, bool slow)
{
    struct remote *const r = s->remote;
    const uint32_t before = atomic_load_explicit(&r->slow, memory_order_relaxed);
    const uint32_t bit = remote_bit(peer);
    atomic_store_explicit(&r->slow, slow ? before | bit : before & ~bit, memory_order_relaxed);
}

void remote_hold(struct shard *s, unsigned peer)
{
    s->remote->held |= remote_bit(peer);
}

static void on_slow(struct shard *s, unsigned peer, bool slow)
{
    remote_set_slow(s, peer, slow);
    if (!slow) {
        relay_flows(s, peer);
    }
}

static void on_gap(struct shard *s, unsigned peer)
{
    gap_told(s, peer);
    relay_lost(s, peer);
}

static void on_restarted(struct shard *s, unsigned peer)
{
    arrive_forget(s, peer); /* what it asked was asked by the former start */
    forward_over(s, peer, 0);
    relay_restarted(s, peer);
}

static void on_lost(struct shard *s, unsigned peer, uint64_t first, uint64_t last,
                    enum link_loss why)
{
    forward_lost(s, peer, first, last, why);
    relay_lost(s, peer);
}

static void on_facts(struct shard *s, const struct peer_facts *facts)
{
    struct remote *const r = s->remote;
    const unsigned peer = facts->number;
    const uint32_t bit = remote_bit(peer);
    const bool live = facts->live && !facts->forgotten;
    r->nodes[peer] = facts->node;
    r->live = live ? r->live | bit : r->live & ~bit;
    views_set_live(s, peer, live);
    r->skipped = live || facts->forgotten ? r->skipped & ~bit : r->skipped;
    if (!live) {
        forward_over(s, peer, 0);
    }
    dispatch_run_facts(s, facts);
    if (facts->forgotten) {
        arrive_forget(s, peer);
        on_slow(s, peer, false);
        atomic_store_explicit(&r->met[peer], 0, memory_order_release);
    }
    if (r->interest != NULL) {
        interest_peer_live(r->interest, peer, live, s->now_ms);
        if (live) {
            wait_for(s, peer);
        }
        if (facts->forgotten) {
            interest_peer_forget(r->interest, peer);
        }
        replicated_facts(s, facts);
    }
    ownership_facts(s, facts);
    relay_facts(s, facts);
    groups_facts(s, facts);
    meta_run_facts(s, facts);
}

const struct peers_events remote_events = {
    .deliver = on_deliver,
    .up = on_up,
    .down = on_down,
    .slow = on_slow,
    .gap = on_gap,
    .restarted = on_restarted,
    .lost = on_lost,
    .facts = on_facts,
};

/* ---- what others may see of it */

#define SHOWN_MS 10u /* from one time that it is shown to the next */

static void show(struct shown_interest *to, struct node_uuid node, struct digest digest)
{
    uint64_t uuid[2];
    memcpy(uuid, node.bytes, sizeof uuid);
    atomic_store_explicit(&to->low, (uint64_t)digest.sum, memory_order_relaxed);
    atomic_store_explicit(&to->high, (uint64_t)(digest.sum >> 64), memory_order_relaxed);
    atomic_store_explicit(&to->node[0], uuid[0], memory_order_relaxed);
    atomic_store_explicit(&to->node[1], uuid[1], memory_order_relaxed);
}

static void show_all(struct shard *s)
{
    struct remote *const r = s->remote;
    if (s->now_ms < r->shown_ms + SHOWN_MS) {
        return;
    }
    r->shown_ms = s->now_ms;
    show(&r->shown[PEERS_MAX], r->self, interest_figures(r->interest).own_digest);
    for (uint32_t left = r->live; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        show(&r->shown[peer], r->nodes[peer], interest_peer_figures(r->interest, peer).digest);
    }
}

bool remote_interest_sum(const struct node *node, struct node_uuid peer, uint64_t *low,
                         uint64_t *high)
{
    const struct remote *const r = node->shards[0]->remote;
    uint64_t want[2];
    memcpy(want, peer.bytes, sizeof want);
    for (unsigned i = 0; r != NULL && i <= PEERS_MAX; i++) {
        const struct shown_interest *const shown = &r->shown[i];
        if (atomic_load_explicit(&shown->node[0], memory_order_relaxed) == want[0] &&
            atomic_load_explicit(&shown->node[1], memory_order_relaxed) == want[1]) {
            *low = atomic_load_explicit(&shown->low, memory_order_relaxed);
            *high = atomic_load_explicit(&shown->high, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

bool remote_is_slow(const struct shard *s, unsigned peer)
{
    return (atomic_load_explicit(&s->remote->slow, memory_order_relaxed) & remote_bit(peer)) != 0;
}

bool remote_has_others(const struct shard *s)
{
    return s->remote != NULL && s->remote->live != 0;
}

/* ---- a turn */

static void resume_held(struct shard *s)
{
    struct remote *const r = s->remote;
    if (r->held == 0 || shard_congested(s)) {
        return;
    }
    uint32_t peers = r->held;
    for (r->held = 0; peers != 0; peers &= peers - 1) {
        peers_resume(s, (unsigned)__builtin_ctz(peers));
    }
}

void remote_turn(struct shard *s)
{
    struct remote *const r = s->remote;
    if (r == NULL) {
        return;
    }
    r->taken = 0;
    resume_held(s);
    if (r->interest != NULL) {
        if (interest_next_ms(r->interest) <= s->now_ms) {
            interest_turn(r->interest, s->now_ms);
        }
        told_turn(s);
        replicated_turn(s);
        show_all(s);
    }
}

/* Of what shard 0 has to say. What is retained leaves room for interest, or is alone. */
static bool next_frame(struct shard *s, unsigned peer, uint8_t *type, struct bytes *body)
{
    const size_t room = peers_room(s, peer), alone = peers_room_alone(s, peer);
    const size_t left = room > INTEREST_ROOM ? room - INTEREST_ROOM : 0;
    const size_t retained = alone > 0 ? alone : left;
    return (room > NODE_FRAME_HEAD_BYTES && dispatch_run_may_tell_interest(s, peer) &&
            interest_next(s->remote->interest, peer, room - NODE_FRAME_HEAD_BYTES, s->now_ms, type,
                          body)) ||
           (retained > NODE_FRAME_HEAD_BYTES &&
            replicated_next(s, peer, retained - NODE_FRAME_HEAD_BYTES, type, body));
}

/* false: nothing more, or no room. */
static bool send_one(struct shard *s, unsigned peer)
{
    uint8_t type;
    struct bytes body;
    uint8_t *to;
    uint64_t seq;
    if (!next_frame(s, peer, &type, &body)) {
        return false;
    }
    if (peers_put(s, peer, type, false, body.len, &to, &seq) != LINK_OK) {
        peers_give_up(s, peer); /* it must not be left out: another connection begins anew */
        return false;
    }
    memcpy(to, body.at, body.len);
    return true;
}

void remote_flush(struct shard *s)
{
    struct remote *const r = s->remote;
    if (r == NULL) {
        return;
    }
    arrive_flush(s);
    if (r->interest == NULL) {
        return;
    }
    look_who_is_heard(s);
    clock_flush(s);
    for (uint32_t peers = r->up; peers != 0; peers &= peers - 1) {
        while (send_one(s, (unsigned)__builtin_ctz(peers))) {
        }
    }
}

uint64_t remote_next_ms(const struct shard *s)
{
    const struct remote *const r = s->remote;
    uint64_t next_ms = UINT64_MAX;
    if (r == NULL) {
        return next_ms;
    }
    if (r->held != 0) {
        next_ms = s->now_ms + HELD_MS;
    }
    if (r->results_failed) {
        next_ms = earlier(next_ms, s->now_ms + RESULT_MS);
    }
    if (r->unheard != 0) {
        next_ms = earlier(next_ms, r->first_until_ms);
    }
    if (r->interest != NULL) {
        next_ms = earlier(next_ms, earlier(interest_next_ms(r->interest), replicated_next_ms(s)));
        next_ms = earlier(next_ms, clock_next_ms(s));
    }
    return next_ms;
}

/* ---- beginning and end */

static bool create(struct shard *s, const struct identity *self)
{
    struct remote *const r = calloc(1, sizeof *r);
    if (r == NULL || table_init(&r->groups) != 0) {
        free(r);
        return false;
    }
    s->remote = r;
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        r->outward[peer].first = 1;
    }
    if (s->id != 0) {
        return true;
    }
    struct interest_conf conf = interest_conf_defaults();
    r->self = self->node;
    conf.cluster = self->cluster;
    conf.generation = self->generation;
    conf.events = views_events(s);
    r->interest = interest_create(&conf);
    return r->interest != NULL;
}

bool remote_create(struct node *node, const struct identity *self)
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (!create(node->shards[i], self)) {
            return false;
        }
    }
    for (unsigned i = 0; i < node->shard_count; i++) { /* what they have subscribed to already */
        if (!told_all(node->shards[i], node->shards[0]->remote->interest)) {
            return false;
        }
    }
    return replicated_create(node, self) && relay_create(node);
}

void remote_destroy(struct shard *s)
{
    struct remote *const r = s->remote;
    if (r == NULL) {
        return;
    }
    relay_destroy(s);
    told_fini(r);
    forward_fini(r);
    arrive_fini(r);
    views_fini(s);
    interest_destroy(r->interest);
    fifo_fini(&r->results);
    free(r);
    s->remote = NULL;
}
