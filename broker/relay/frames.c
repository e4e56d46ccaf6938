/* SPDX-License-Identifier: Apache-2.0 */
/* What relays say: into the link of this shard's lane, or by mail to the shard whose lane it is. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/relay/relay_parts.h"
#include "broker/remote/remote.h"

#define CREDIT_LEAST (NODE_RELAY_WINDOW / 2) /* less is not worth a frame */

void *relay_alloc(size_t bytes)
{
    void *const at = malloc(bytes);
    if (at == NULL) {
        remote_out_of_memory();
    }
    return at;
}

static uint32_t bit(unsigned peer)
{
    return UINT32_C(1) << peer;
}

/* ---- the lane of this shard */

/* true: the link has it, or it is for nobody. */
static bool put(struct shard *s, unsigned peer, uint8_t type, struct bytes body)
{
    uint8_t *to;
    uint64_t seq;
    switch (peers_put(s, peer, type, true, body.len, &to, &seq)) {
    case LINK_OK:
        memcpy(to, body.at, body.len);
        return true;
    case LINK_NO_ROOM:
        return true; /* it has no lane any more */
    case LINK_TOO_LARGE:
        peers_give_up(s, peer); /* it must not be left out: all relays by it end */
        return true;
    default:
        return false;
    }
}

static void set_full(struct relays *all, unsigned peer, bool is_full)
{
    const uint32_t before = atomic_load_explicit(&all->full, memory_order_relaxed);
    atomic_store_explicit(&all->full, is_full ? before | bit(peer) : before & ~bit(peer),
                          memory_order_relaxed);
}

static struct relay_frame *frame_of(uint8_t type, struct bytes body)
{
    struct relay_frame *const f = relay_alloc(sizeof *f + body.len);
    f->next = NULL;
    f->type = type;
    f->len = body.len;
    memcpy(f->body, body.at, body.len);
    return f;
}

/* It may have a password in it. */
static void frame_free(struct relay_frame *f)
{
    explicit_bzero(f->body, f->len);
    free(f);
}

static void say_here(struct shard *s, unsigned peer, uint8_t type, struct bytes body)
{
    struct relays *const all = relays_of(s);
    struct relay_queue *const q = &all->queues[peer];
    if (q->first == NULL && put(s, peer, type, body)) {
        return;
    }
    struct relay_frame *const f = frame_of(type, body);
    if (q->first == NULL) {
        q->first = f;
    } else {
        q->last->next = f;
    }
    q->last = f;
    set_full(all, peer, true);
}

void relay_queue_drop(struct shard *s, unsigned peer)
{
    struct relay_queue *const q = &relays_of(s)->queues[peer];
    for (struct relay_frame *f; (f = q->first) != NULL;) {
        q->first = f->next;
        frame_free(f);
    }
    set_full(relays_of(s), peer, false);
}

static void flush(struct shard *s, unsigned peer)
{
    struct relay_queue *const q = &relays_of(s)->queues[peer];
    struct relay_frame *f;
    while ((f = q->first) != NULL && put(s, peer, f->type, bytes_of(f->body, f->len))) {
        q->first = f->next;
        frame_free(f);
    }
    if (f == NULL) {
        set_full(relays_of(s), peer, false);
        relays_of(s)->stalled_ms = 0;
    }
}

void relay_queues_flush(struct shard *s)
{
    uint32_t left = atomic_load_explicit(&relays_of(s)->full, memory_order_relaxed);
    for (; left != 0; left &= left - 1) {
        flush(s, (unsigned)__builtin_ctz(left));
    }
}

bool relay_queues_wait(const struct shard *s)
{
    return atomic_load_explicit(&relays_of(s)->full, memory_order_relaxed) != 0;
}

/* ---- another shard's */

struct post_relay_out {
    struct post_head head;
    uint8_t peer;
    struct relay_frame *frame; /* the receiver's */
};

void relay_on_out(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_relay_out *const p = (const void *)record;
    (void)from;
    say_here(s, p->peer, p->frame->type, bytes_of(p->frame->body, p->frame->len));
    frame_free(p->frame);
}

void relay_say_to(struct shard *s, unsigned lane, unsigned peer, const struct node_relay *words)
{
    uint8_t body[NODE_RELAY_HEAD_MAX + NODE_RELAY_DATA_MAX];
    const size_t len = node_relay_encode(NULL, words);
    assert(len <= sizeof body);
    (void)node_relay_encode(body, words);
    if (lane == s->id) {
        say_here(s, peer, words->type, bytes_of(body, len));
        return;
    }
    struct post_relay_out *const p = post_reserve(s, lane, POST_RELAY_OUT, sizeof *p);
    p->peer = (uint8_t)peer;
    p->frame = frame_of(words->type, bytes_of(body, len));
    post_commit(s, lane);
}

/* ---- what is said */

void relay_say(struct shard *s, const struct relay *r, const struct node_relay *words)
{
    struct node_relay ours = *words;
    ours.id = r->is_far ? r->id | NODE_RELAY_OF_FAR : r->id;
    if (!r->over) {
        relay_say_to(s, r->lane, r->peer, &ours);
    }
}

void relay_say_end(struct shard *s, struct relay *r, enum node_relay_end why)
{
    const struct node_relay end = {.type = NODE_FRAME_RELAY_END, .why = (uint8_t)why};
    relay_say(s, r, &end);
    relay_is_over(s, r);
}

/* Publishers have to wait already, or something does. */
static bool may_fill(const struct shard *s, const struct relay *r)
{
    const struct shard *const lane = s->node->shards[r->lane];
    const uint32_t full = atomic_load_explicit(&lane->relays->full, memory_order_relaxed);
    return (full & bit(r->peer)) == 0 && !remote_is_slow(lane, r->peer);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t relay_say_data(struct shard *s, struct relay *r, struct bytes data, bool *stalled)
{
    size_t done = 0;
    *stalled = false;
    while (done < data.len && r->credit > 0 && !r->over) {
        if (!may_fill(s, r)) {
            *stalled = true;
            break;
        }
        const size_t len = least(least(data.len - done, r->credit), NODE_RELAY_DATA_MAX);
        const struct node_relay words = {.type = NODE_FRAME_RELAY_DATA,
                                         .data = bytes_of(data.at + done, len)};
        relay_say(s, r, &words);
        r->credit -= (uint32_t)len;
        done += len;
    }
    metrics_add(&s->metrics, METRIC_relay_bytes_sent, done);
    return done;
}

void relay_give_credit(struct shard *s, struct relay *r, size_t bytes)
{
    r->owed += (uint32_t)bytes;
    if (r->owed < CREDIT_LEAST) {
        return;
    }
    const struct node_relay words = {.type = NODE_FRAME_RELAY_CREDIT, .credit = r->owed};
    relay_say(s, r, &words);
    r->room += r->owed;
    r->owed = 0;
    assert(r->room <= NODE_RELAY_WINDOW);
}

bool relay_take_room(struct relay *r, size_t bytes)
{
    if (bytes > r->room) {
        return false;
    }
    r->room -= (uint32_t)bytes;
    return true;
}
