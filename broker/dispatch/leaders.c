/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/dispatch/leaders.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/dispatch/dispatch_parts.h"
#include "broker/ownership/ownership.h"
#include "broker/relay/relay.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"

/* A home has something to say of one of its partitions. */
struct post_led {
    struct post_head head;
    unsigned partition;
    uint64_t term; /* 0: it is led here no more */
};

struct post_leaders {
    struct post_head head;
};

#define PEER_BITS 8u

static uint64_t row_of(unsigned peer, uint64_t term)
{
    return term << PEER_BITS | peer;
}

static struct leader leader_of_row(uint64_t row)
{
    return (struct leader){.peer = (unsigned)(row & ((1u << PEER_BITS) - 1)),
                           .term = row >> PEER_BITS};
}

/* ---- any thread */

struct leader leaders_of(const struct node *node, unsigned partition)
{
    assert(partition < PARTITIONS);
    if (node->leaders == NULL) {
        return (struct leader){.peer = LEADERS_HERE, .term = 0};
    }
    return leader_of_row(
        atomic_load_explicit(&node->leaders->rows[partition], memory_order_acquire));
}

unsigned leaders_missing(const struct node *node)
{
    unsigned missing = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        missing += leaders_of(node, p).peer == LEADERS_NOBODY;
    }
    return missing;
}

/* ---- rows; shard 0 */

static void set_row(struct shard *s, unsigned p, unsigned peer, uint64_t term)
{
    struct leaders *const l = s->node->leaders;
    const uint64_t row = row_of(peer, term);
    if (atomic_load_explicit(&l->rows[p], memory_order_relaxed) == row) {
        return;
    }
    atomic_store_explicit(&l->rows[p], row, memory_order_release);
    l->changed = true;
    relay_set_home(s->node, p,
                   peer == LEADERS_HERE     ? RELAY_HERE
                   : peer == LEADERS_NOBODY ? RELAY_NOWHERE
                                            : RELAY_PEER + peer);
    if (peer != LEADERS_NOBODY) { /* else who was it is, until there is another one */
        ownership_appoint(s, p, peer);
    }
}

/* It is said that it leads. */
static void lead(struct shard *s, unsigned p, unsigned peer, uint64_t term)
{
    const struct leader known = leaders_of(s->node, p);
    if (term > known.term || (term == known.term && known.peer == LEADERS_NOBODY)) {
        set_row(s, p, peer, term);
    }
}

static void cease(struct shard *s, unsigned p, unsigned peer)
{
    const struct leader known = leaders_of(s->node, p);
    if (known.peer == peer) {
        set_row(s, p, LEADERS_NOBODY, known.term);
    }
}

static void tell_all(struct leaders *l)
{
    l->tell = l->up;
}

static void led(struct shard *s, unsigned p, uint64_t term)
{
    struct leaders *const l = s->node->leaders;
    if (l->led[p] == term) {
        return;
    }
    l->led[p] = term;
    tell_all(l);
    if (term == 0) {
        leases_cease(s, p);
        cease(s, p, LEADERS_HERE);
        atomic_fetch_and(&l->ceased, ~dispatch_partition_bit(p));
        return;
    }
    leases_lead(s, p, term);
    lead(s, p, LEADERS_HERE, term);
}

/* From a home, which may be this shard. */
static void say(struct shard *s, unsigned p, uint64_t term)
{
    if (s->id == 0) {
        led(s, p, term);
        return;
    }
    struct post_led *const post = post_reserve(s, 0, POST_LED, sizeof *post);
    post->partition = p;
    post->term = term;
    post_commit(s, 0);
}

void dispatch_on_led(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_led *const p = (const void *)record;
    (void)from;
    led(s, p->partition, p->term);
}

void dispatch_run_lead(struct shard *s, unsigned p, uint64_t term)
{
    struct dispatching *const d = s->dispatching;
    ASSERT_OWNED(s);
    assert(s->node->partition_shard[p] == s->id);
    assert(term > 0 && term < UINT64_C(1) << (64 - PEER_BITS));
    if (d == NULL) {
        return;
    }
    if ((d->led & dispatch_partition_bit(p)) != 0) {
        dispatch_run_cease(s, p);
    }
    d->led |= dispatch_partition_bit(p);
    d->certain_ms = 0;
    intake_lead(d->homes, p, term);
    say(s, p, term);
}

/* Publishers look at `ceased` when they have looked into the index: who finds nothing there of what
 * is about to be taken out, finds this. */
void dispatch_run_cease(struct shard *s, unsigned p)
{
    struct dispatching *const d = s->dispatching;
    ASSERT_OWNED(s);
    if (d == NULL || (d->led & dispatch_partition_bit(p)) == 0) {
        return;
    }
    struct leaders *const l = s->node->leaders;
    d->led &= ~dispatch_partition_bit(p);
    atomic_fetch_or(&l->ceased, dispatch_partition_bit(p));
    atomic_store_explicit(&l->certain_ms[p], 0, memory_order_relaxed);
    intake_cease(d->homes, p);
    fifo_fini(&d->begun[p]);
    say(s, p, 0);
}

/* ---- to the shards */

static void tell_shards(struct shard *s)
{
    struct leaders *const l = s->node->leaders;
    if (!l->changed) {
        return;
    }
    l->changed = false;
    for (unsigned to = 1; to < s->node->shard_count; to++) {
        (void)post_reserve(s, to, POST_LEADERS, sizeof(struct post_leaders));
        post_commit(s, to);
    }
    source_leaders(s);
}

void dispatch_on_leaders(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    (void)record;
    source_leaders(s);
}

/* ---- other nodes */

enum link_taken leaders_received(struct shard *s, unsigned peer, struct bytes body)
{
    struct leaders *const l = s->node->leaders;
    struct node_leads_item item;
    struct bytes items;
    uint64_t terms[PARTITIONS] = {0};
    if (node_leads_decode(&items, body) != NODE_OK) {
        return LINK_BAD;
    }
    while (node_leads_item_next(&items, &item)) {
        if (item.term >= UINT64_C(1) << (64 - PEER_BITS)) {
            return LINK_BAD;
        }
        terms[item.partition] = item.term;
    }
    for (unsigned p = 0; p < PARTITIONS; p++) {
        if (terms[p] == 0) {
            lease_ended(&l->holder, p, peer);
        } else {
            lease_led(&l->holder, p, peer, terms[p]);
        }
    }
    leases_refresh(s);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        if (terms[p] == 0) {
            cease(s, p, peer);
        } else {
            lead(s, p, peer, terms[p]);
        }
    }
    if ((l->up & dispatch_bit(peer)) != 0) {
        lease_up(&l->holder, peer, s->now_ms); /* it is asked now for what it leads */
    }
    return LINK_TAKEN;
}

void leaders_up(struct shard *s, unsigned peer)
{
    struct leaders *const l = s->node->leaders;
    struct leaders_peer *const p = &l->peers[peer];
    const uint64_t start = peers_generation(s, peer);
    if (p->start != start) { /* what the former one had will go */
        lease_forget(&l->holder, peer);
        leases_refresh(s);
        p->version = 0;
    }
    p->start = start;
    p->has_acked = false;
    p->lease_len = 0;
    l->up |= dispatch_bit(peer);
    l->tell |= dispatch_bit(peer);
    lease_up(&l->holder, peer, s->now_ms);
}

void leaders_down(struct shard *s, unsigned peer)
{
    struct leaders *const l = s->node->leaders;
    l->up &= ~dispatch_bit(peer);
    l->tell &= ~dispatch_bit(peer);
    lease_down(&l->holder, peer);
}

/* Before interest lets go of what it had. */
void leaders_facts(struct shard *s, const struct peer_facts *facts)
{
    struct leaders *const l = s->node->leaders;
    if (!facts->forgotten) {
        return;
    }
    leaders_down(s, facts->number);
    lease_forget(&l->holder, facts->number);
    leases_refresh(s);
    l->peers[facts->number] = (struct leaders_peer){.start = 0};
    for (unsigned p = 0; p < PARTITIONS; p++) {
        cease(s, p, facts->number);
    }
}

/* ---- a turn */

void leaders_turn(struct shard *s)
{
    leases_turn(s);
    tell_shards(s);
}

/* false: there is no room. */
static bool put(struct shard *s, unsigned peer, uint8_t type, struct bytes body)
{
    uint8_t *to;
    uint64_t seq;
    if (peers_room(s, peer) < NODE_FRAME_HEAD_BYTES + body.len ||
        peers_put(s, peer, type, false, body.len, &to, &seq) != LINK_OK) {
        return false;
    }
    memcpy(to, body.at, body.len);
    return true;
}

static bool tell(struct shard *s, unsigned peer)
{
    const struct leaders *const l = s->node->leaders;
    uint8_t items[PARTITIONS * NODE_LEADS_ITEM_BYTES];
    uint8_t body[sizeof items + NODE_DISPATCH_HEAD_MAX];
    size_t len = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct node_leads_item item = {.partition = (uint8_t)p, .term = l->led[p]};
        len += item.term == 0 ? 0 : node_leads_item_encode(items + len, &item);
    }
    return put(s, peer, NODE_FRAME_LEADS,
               bytes_of(body, node_leads_encode(body, bytes_of(items, len))));
}

static void flush_to(struct shard *s, unsigned peer)
{
    struct leaders *const l = s->node->leaders;
    struct leaders_peer *const p = &l->peers[peer];
    uint8_t body[NODE_DISPATCH_HEAD_MAX];
    struct node_lease_ask ask;
    if ((l->tell & dispatch_bit(peer)) != 0) {
        if (!tell(s, peer)) {
            return;
        }
        l->tell &= ~dispatch_bit(peer);
    }
    if (p->lease_len > 0 && put(s, peer, NODE_FRAME_LEASE, bytes_of(p->lease, p->lease_len))) {
        p->lease_len = 0;
    }
    if (peers_room(s, peer) >= NODE_FRAME_HEAD_BYTES + sizeof body &&
        lease_ask(&l->holder, peer, s->now_ms, &ask)) {
        (void)put(s, peer, NODE_FRAME_LEASE_ASK, bytes_of(body, node_lease_ask_encode(body, &ask)));
    }
}

void leaders_flush(struct shard *s)
{
    const struct leaders *const l = s->node->leaders;
    tell_shards(s);
    for (uint32_t left = l->up; left != 0; left &= left - 1) {
        flush_to(s, (unsigned)__builtin_ctz(left));
    }
}

/* What this node leads no more it takes out of its interest: who is told of that has to know that
 * before. */
bool dispatch_run_may_tell_interest(const struct shard *s, unsigned peer)
{
    const struct leaders *const l = s->node->leaders;
    return l == NULL || (l->tell & dispatch_bit(peer)) == 0;
}

uint64_t leaders_next_ms(const struct shard *s)
{
    const struct leaders *const l = s->node->leaders;
    const uint64_t later_ms = s->now_ms + DISPATCH_LATER_MS; /* there was no room */
    const uint64_t leases_ms = leases_next_ms(s);
    return l->tell != 0 && later_ms < leases_ms ? later_ms : leases_ms;
}

/* ---- beginning and end */

struct leaders *leaders_create(struct node *node, const struct identity *self)
{
    struct leaders *const l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->owner = node->shards[0];
    l->generation = self->generation;
    lease_holder_init(&l->holder);
    lease_granter_init(&l->granter);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        atomic_init(&l->rows[p], row_of(LEADERS_NOBODY, 0));
        l->at_home[node->partition_shard[p]] |= dispatch_partition_bit(p);
        relay_set_home(node, p, RELAY_NOWHERE);
    }
    l->peers[PEERS_SELF].start = self->generation;
    return l;
}

void leaders_destroy(struct node *node)
{
    if (node->leaders != NULL) {
        leases_fini(node->leaders);
        free(node->leaders);
        node->leaders = NULL;
    }
}
