/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/dispatch/dispatch_run.h"

#include <stdlib.h>

#include "broker/dispatch/dispatch_parts.h"
#include "broker/dispatch/dispatch_uses.h"
#include "broker/remote/forward.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "cluster/dispatch/origins.h"
#include "proto/node_dispatch.h"

/* ---- links */

/* Behind a retained message that is being stored, as it is to be found by who subscribes meanwhile.
 */
static enum link_taken take_dispatch(struct shard *s, unsigned peer, struct bytes body)
{
    if (shard_congested(s)) {
        remote_hold(s, peer);
        return LINK_NOT_NOW;
    }
    switch (arrive_behind(s, peer, body)) {
    case ARRIVE_QUEUED:
        return LINK_TAKEN;
    case ARRIVE_NOT_NOW:
        remote_hold(s, peer);
        return LINK_NOT_NOW;
    default:
        return dispatch_run_arrived(s, peer, body) ? LINK_TAKEN : LINK_BAD;
    }
}

bool dispatch_run_arrived(struct shard *s, unsigned peer, struct bytes body)
{
    return s->dispatching != NULL && homes_take_all(s, peer, body);
}

static enum link_taken take_dispatched(struct shard *s, unsigned peer, struct bytes body)
{
    struct node_dispatched frame;
    if (node_dispatched_decode(&frame, body) != NODE_OK ||
        origin_shard(frame.origin) >= s->node->shard_count) {
        return LINK_BAD;
    }
    const unsigned to = origin_shard(frame.origin);
    if (to == s->id) {
        return source_received(s, peer, body);
    }
    lane_pass_on(s, to, POST_DISPATCH_IN, peer, NODE_FRAME_DISPATCHED, body);
    return LINK_TAKEN;
}

/* On lane 0. */
static enum link_taken take_word(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    if (s->id != 0) {
        return LINK_BAD;
    }
    switch (frame->type) {
    case NODE_FRAME_LEADS:
        return leaders_received(s, peer, frame->body);
    case NODE_FRAME_LEASE_ASK:
        return leases_asked(s, peer, frame->body);
    default:
        return leases_granted(s, peer, frame->body);
    }
}

enum link_taken dispatch_run_received(struct shard *s, unsigned peer,
                                      const struct node_frame *frame)
{
    if (s->dispatching == NULL) {
        return LINK_UNKNOWN;
    }
    switch (frame->type) {
    case NODE_FRAME_DISPATCH:
        return take_dispatch(s, peer, frame->body);
    case NODE_FRAME_DISPATCHED:
        return take_dispatched(s, peer, frame->body);
    default:
        return take_word(s, peer, frame);
    }
}

/* Should it live after all, its transient subscribers have missed what it had not answered. */
static void died(struct shard *s, unsigned peer)
{
    struct dispatching *const d = s->dispatching;
    if (d->source != NULL && dispatch_figures(d->source).ops > 0) {
        forward_missed(s, peer);
    }
    source_gone(s, peer);
}

void dispatch_run_facts(struct shard *s, const struct peer_facts *facts)
{
    struct dispatching *const d = s->dispatching;
    const unsigned peer = facts->number;
    if (d == NULL) {
        return;
    }
    const bool live = facts->live && !facts->forgotten;
    if (!live && !facts->forgotten && (d->live & dispatch_bit(peer)) != 0) {
        died(s, peer);
    }
    d->live = live ? d->live | dispatch_bit(peer) : d->live & ~dispatch_bit(peer);
    if (s->id == 0) {
        leaders_facts(s, facts);
    }
    if (facts->forgotten) {
        source_gone(s, peer);
        homes_forget(s, peer);
        d->used &= ~dispatch_bit(peer);
    } else {
        d->used |= dispatch_bit(peer);
    }
}

/* ---- a turn */

/* By partition, until when nobody else leads it. */
static void say_certain(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    if (s->now_ms < d->certain_ms) {
        return;
    }
    d->certain_ms = s->now_ms + DISPATCH_CERTAIN_MS;
    for (uint64_t left = d->led; left != 0; left &= left - 1) {
        const unsigned p = (unsigned)__builtin_ctzll(left);
        atomic_store_explicit(&s->node->leaders->certain_ms[p], d->uses->certain_ms(s, p),
                              memory_order_relaxed);
    }
}

void dispatch_run_turn(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    if (d == NULL) {
        return;
    }
    d->again = false;
    say_certain(s);
    if (s->id == 0) {
        leaders_turn(s);
    }
    source_turn(s);
}

void dispatch_run_flush(struct shard *s)
{
    const struct dispatching *const d = s->dispatching;
    if (d == NULL) {
        return;
    }
    say_certain(s);
    if (s->id == 0) {
        leaders_flush(s);
    }
    homes_answer(s);
    lanes_flush(s);
}

uint64_t dispatch_run_next_ms(const struct shard *s)
{
    const struct dispatching *const d = s->dispatching;
    if (d == NULL) {
        return UINT64_MAX;
    }
    if (d->again) {
        return 0;
    }
    const uint64_t source_ms = source_next_ms(s);
    const uint64_t leaders_ms = s->id == 0 ? leaders_next_ms(s) : UINT64_MAX;
    return source_ms < leaders_ms ? source_ms : leaders_ms;
}

/* ---- beginning and end */

static bool create(struct shard *s, const struct dispatch_uses *uses)
{
    struct dispatching *const d = calloc(1, sizeof *d);
    if (d == NULL) {
        return false;
    }
    s->dispatching = d;
    d->uses = uses;
    return homes_create(s);
}

bool dispatch_run_create(struct node *node, const struct identity *self,
                         const struct dispatch_uses *uses)
{
    node->leaders = leaders_create(node, self);
    if (node->leaders == NULL) {
        return false;
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (!create(node->shards[i], uses)) {
            return false;
        }
    }
    return true;
}

void dispatch_run_destroy(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    if (d == NULL) {
        return;
    }
    source_fini(d);
    homes_fini(d);
    lanes_fini(d);
    free(d);
    s->dispatching = NULL;
}

/* ---- figures */

uint64_t dispatch_run_gauge(const struct node *node, enum dispatch_gauge gauge)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        const struct dispatching *const d = node->shards[i]->dispatching;
        if (d != NULL) {
            sum += atomic_load_explicit(gauge == DISPATCH_OPS ? &d->shown_ops : &d->shown_bytes,
                                        memory_order_relaxed);
        }
    }
    return sum;
}
