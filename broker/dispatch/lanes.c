/* SPDX-License-Identifier: Apache-2.0 */
/* lanes: frames into the link of this shard, and by mail to the shard of another one. */
#include <stdlib.h>
#include <string.h>

#include "broker/dispatch/dispatch_parts.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"

struct post_parcel {
    struct post_head head;
    struct dispatch_parcel *parcel; /* the receiver's */
};

static struct dispatch_parcel *parcel_create(const struct shard *s, unsigned peer, uint8_t type,
                                             struct bytes body)
{
    struct dispatch_parcel *const p = remote_alloc(sizeof *p + body.len);
    *p = (struct dispatch_parcel){
        .node = s->remote->nodes[peer], .peer = (uint8_t)peer, .type = type, .len = body.len};
    memcpy(p->bytes, body.at, body.len);
    return p;
}

void lane_pass_on(struct shard *s, unsigned to, enum post_type post, unsigned peer, uint8_t type,
                  struct bytes body)
{
    struct post_parcel *const record = post_reserve(s, to, post, sizeof *record);
    record->parcel = parcel_create(s, peer, type, body);
    post_commit(s, to);
}

/* Is it still that peer's? */
static bool is_its(const struct shard *s, const struct dispatch_parcel *p)
{
    return p->peer == PEERS_SELF || node_uuid_equal(s->remote->nodes[p->peer], p->node);
}

/* ---- out */

unsigned lane_of_shard(const struct shard *s, unsigned peer, unsigned shard)
{
    const unsigned lanes = peers_lanes(s, peer);
    return lanes == 0 ? s->id : shard % lanes;
}

bool lane_is_ready(const struct shard *s, unsigned peer, unsigned lane)
{
    const struct dispatching *const d = s->node->shards[lane]->dispatching;
    return (atomic_load_explicit(&d->ready, memory_order_acquire) & dispatch_bit(peer)) != 0;
}

static bool is_up(const struct shard *s, unsigned peer)
{
    const struct dispatching *const d = s->dispatching;
    return (atomic_load_explicit(&d->lanes[peer].connections, memory_order_relaxed) & 1) != 0;
}

/* What is interest's stays; a frame that is too large for that goes alone. */
static size_t link_room_of(const struct shard *s, unsigned peer)
{
    const size_t room = peers_room(s, peer), alone = peers_room_alone(s, peer);
    const size_t kept = INTEREST_ROOM + NODE_FRAME_HEAD_BYTES;
    const size_t left = room > kept ? room - kept : 0;
    const size_t whole = alone > NODE_FRAME_HEAD_BYTES ? alone - NODE_FRAME_HEAD_BYTES : 0;
    return left > whole ? left : whole;
}

size_t lane_room(const struct shard *s, unsigned peer)
{
    return is_up(s, peer) && s->dispatching->out[peer].first == NULL ? link_room_of(s, peer) : 0;
}

/* false: there is no room, and it is still to be sent. */
static bool put(struct shard *s, unsigned peer, uint8_t type, struct bytes body)
{
    uint8_t *to;
    uint64_t seq;
    if (link_room_of(s, peer) < body.len ||
        peers_put(s, peer, type, false, body.len, &to, &seq) != LINK_OK) {
        return false;
    }
    memcpy(to, body.at, body.len);
    return true;
}

static void queue(struct dispatching *d, struct dispatch_parcel *p)
{
    p->next = NULL;
    if (d->out[p->peer].first == NULL) {
        d->out[p->peer].end = &d->out[p->peer].first;
    }
    *d->out[p->peer].end = p;
    d->out[p->peer].end = &p->next;
}

static void drop_all(struct dispatching *d, unsigned peer)
{
    for (struct dispatch_parcel *p; (p = d->out[peer].first) != NULL;) {
        d->out[peer].first = p->next;
        free(p);
    }
}

void lane_put(struct shard *s, unsigned peer, unsigned shard, uint8_t type, struct bytes body)
{
    struct dispatching *const d = s->dispatching;
    const unsigned lane = lane_of_shard(s, peer, shard);
    if (lane != s->id) {
        lane_pass_on(s, lane, POST_DISPATCH_OUT, peer, type, body);
    } else if (is_up(s, peer) && (d->out[peer].first != NULL || !put(s, peer, type, body))) {
        queue(d, parcel_create(s, peer, type, body));
    }
}

/* Without a connection it is lost, as what was under way in the last one is: with the next one its
 * source begins anew. */
void dispatch_on_out(struct shard *s, unsigned from, const struct post_head *record)
{
    struct dispatching *const d = s->dispatching;
    struct dispatch_parcel *const p = ((const struct post_parcel *)(const void *)record)->parcel;
    const struct bytes body = bytes_of(p->bytes, p->len);
    (void)from;
    const bool is_lost = !is_its(s, p) || !is_up(s, p->peer);
    if (is_lost || (d->out[p->peer].first == NULL && put(s, p->peer, p->type, body))) {
        free(p);
    } else {
        queue(d, p);
    }
}

/* Goes on where there was no room, and says who has some now. */
void lanes_flush(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    uint32_t ready = 0;
    for (uint32_t left = d->used; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        struct dispatch_parcel *p;
        while ((p = d->out[peer].first) != NULL &&
               put(s, peer, p->type, bytes_of(p->bytes, p->len))) {
            d->out[peer].first = p->next;
            free(p);
        }
        ready |= lane_room(s, peer) >= DISPATCH_LANE_ROOM_MIN ? dispatch_bit(peer) : 0;
    }
    atomic_store_explicit(&d->ready, ready, memory_order_release);
}

static void count_connection(struct dispatch_lane *l, uint64_t start)
{
    atomic_store_explicit(&l->start, start, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->connections, 1, memory_order_release);
}

void dispatch_run_up(struct shard *s, unsigned peer)
{
    struct dispatching *const d = s->dispatching;
    if (d == NULL) {
        return;
    }
    count_connection(&d->lanes[peer], peers_generation(s, peer));
    if (s->id == 0) {
        leaders_up(s, peer);
    }
    lanes_flush(s);
}

void dispatch_run_down(struct shard *s, unsigned peer)
{
    struct dispatching *const d = s->dispatching;
    if (d == NULL) {
        return;
    }
    struct dispatch_lane *const l = &d->lanes[peer];
    count_connection(l, atomic_load_explicit(&l->start, memory_order_relaxed));
    drop_all(d, peer);
    atomic_fetch_and_explicit(&d->ready, ~dispatch_bit(peer), memory_order_release);
    if (s->id == 0) {
        leaders_down(s, peer);
    }
}

void lanes_fini(struct dispatching *d)
{
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        drop_all(d, peer);
    }
}

/* ---- in */

static enum link_taken take(struct shard *s, unsigned peer, uint8_t type, struct bytes body)
{
    if (type == NODE_FRAME_DISPATCH) {
        return homes_take(s, peer, body) ? LINK_TAKEN : LINK_BAD;
    }
    return source_received(s, peer, body);
}

void dispatch_on_in(struct shard *s, unsigned from, const struct post_head *record)
{
    struct dispatch_parcel *const p = ((const struct post_parcel *)(const void *)record)->parcel;
    (void)from;
    if (is_its(s, p)) {
        (void)take(s, p->peer, p->type, bytes_of(p->bytes, p->len)); /* it is too late to say so */
    }
    free(p);
}
