/* SPDX-License-Identifier: Apache-2.0 */
/* leases: whose interest may be believed, and how long (cluster/dispatch/lease.h). On shard 0. */
#include <assert.h>
#include <string.h>

#include "broker/dispatch/dispatch_parts.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/route/local.h"

/* A subscription that may be acknowledged when nobody takes it any more that there is none. */
struct leaders_asked {
    struct subscribe_job *job;
    uint64_t version; /* of this node's interest, which has it */
    unsigned from, partition;
};

struct post_subscribed {
    struct post_head head;
    unsigned partition;
    struct subscribe_job *job; /* the asking shard's */
};

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t own_version(const struct shard *s)
{
    return interest_figures(s->remote->interest).own_version;
}

/* What is in this node's interest is in its index. */
static void know_self(struct shard *s)
{
    struct leaders *const l = s->node->leaders;
    const uint64_t version = own_version(s);
    lease_known(&l->holder, PEERS_SELF, version);
    lease_member_knows(&l->granter, PEERS_SELF, l->generation, version);
}

/* ---- what publishers go by */

void leases_refresh(struct shard *s)
{
    struct leaders *const l = s->node->leaders;
    uint64_t covered[PEERS_MAX] = {0}, until_ms = UINT64_MAX;
    const uint64_t now_ms = s->node->clock_ms();
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const unsigned peer = lease_of(&l->holder, p, now_ms);
        if (peer != LEASE_NOBODY) {
            covered[peer] |= dispatch_partition_bit(p);
            until_ms = earlier(until_ms, lease_until(&l->holder, p, now_ms));
        }
    }
    bool same = atomic_load(&l->until_ms) == until_ms;
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        same = same && atomic_load(&l->covered[i]) == covered[i];
    }
    if (same) {
        return;
    }
    atomic_fetch_add(&l->changes, 1);
    atomic_store(&l->until_ms, until_ms);
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        atomic_store(&l->covered[i], covered[i]);
    }
    atomic_fetch_add(&l->changes, 1);
}

/* ---- holding */

enum link_taken leases_granted(struct shard *s, unsigned peer, struct bytes body)
{
    return lease_granted(&s->node->leaders->holder, peer, body) ? LINK_TAKEN : LINK_BAD;
}

/* How far the others' interest is known here, and this node's there. */
static void look_at_interest(struct shard *s)
{
    struct leaders *const l = s->node->leaders;
    for (uint32_t left = s->dispatching->used; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        struct leaders_peer *const p = &l->peers[peer];
        const struct interest_peer_figures f = interest_peer_figures(s->remote->interest, peer);
        if (f.generation != p->generation && p->generation != 0) {
            lease_forget(&l->holder, peer); /* what was of the former start will be swept out */
        }
        p->generation = f.generation;
        p->version = f.generation == p->start ? f.settled : 0;
        lease_known(&l->holder, peer, p->version);
        if (p->has_acked) {
            lease_member_knows(&l->granter, peer, p->start, f.acked);
        }
    }
}

void dispatch_run_acked(struct shard *s, unsigned peer)
{
    if (s->node->leaders != NULL) {
        s->node->leaders->peers[peer].has_acked = true;
    }
}

/* ---- granting */

static size_t grant(struct shard *s, unsigned peer, const struct node_lease_ask *ask, uint8_t *out)
{
    struct leaders *const l = s->node->leaders;
    uint64_t certain_ms[NODE_DISPATCH_PARTITIONS];
    uint8_t items[NODE_DISPATCH_PARTITIONS * NODE_LEASE_ITEM_BYTES];
    struct node_lease lease;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        certain_ms[p] = atomic_load_explicit(&l->certain_ms[p], memory_order_relaxed);
    }
    return lease_grant(&l->granter, peer, l->peers[peer].start, ask, own_version(s), certain_ms,
                       s->node->clock_ms(), items, &lease)
               ? node_lease_encode(out, &lease)
               : 0;
}

enum link_taken leases_asked(struct shard *s, unsigned peer, struct bytes body)
{
    struct leaders_peer *const p = &s->node->leaders->peers[peer];
    struct node_lease_ask ask;
    if (node_lease_ask_decode(&ask, body) != NODE_OK) {
        return LINK_BAD;
    }
    if (ask.version > own_version(s) || p->start == 0) {
        return LINK_BAD; /* what was never said */
    }
    p->lease_len = grant(s, peer, &ask, p->lease);
    return LINK_TAKEN;
}

static void ask_self(struct shard *s)
{
    struct leaders *const l = s->node->leaders;
    struct leaders_peer *const p = &l->peers[PEERS_SELF];
    struct node_lease_ask ask;
    if (!lease_ask(&l->holder, PEERS_SELF, s->node->clock_ms(), &ask)) {
        return;
    }
    const size_t len = grant(s, PEERS_SELF, &ask, p->lease);
    if (len > 0) {
        const bool ok = lease_granted(&l->holder, PEERS_SELF, bytes_of(p->lease, len));
        assert(ok);
        (void)ok;
    }
}

void leases_lead(struct shard *s, unsigned partition, uint64_t term)
{
    struct leaders *const l = s->node->leaders;
    const uint64_t now_ms = s->node->clock_ms();
    lease_lead(&l->granter, partition, term, own_version(s), now_ms);
    lease_led(&l->holder, partition, PEERS_SELF, term);
    know_self(s);
    lease_up(&l->holder, PEERS_SELF, now_ms); /* what was asked before is of no use */
    s->dispatching->again = true;
    leases_refresh(s);
}

/* Its clients have gone: who waits for an answer does so in vain. */
void leases_cease(struct shard *s, unsigned partition)
{
    struct leaders *const l = s->node->leaders;
    lease_ended(&l->holder, partition, PEERS_SELF);
    lease_cease(&l->granter, partition);
    leases_refresh(s);
    l->asked_ms = 0;
}

/* ---- subscriptions */

static void step(struct shard *s, struct subscribe_job *job)
{
    if (--job->pending == 0) {
        job->done(s, job);
    }
}

static void answer(struct shard *s, const struct leaders_asked *a)
{
    if (a->from == s->id) {
        step(s, a->job);
        return;
    }
    struct post_subscribed *const p = post_reserve(s, a->from, POST_VOUCHED, sizeof *p);
    p->partition = a->partition;
    p->job = a->job;
    post_commit(s, a->from);
}

void dispatch_on_vouched(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    step(s, ((const struct post_subscribed *)(const void *)record)->job);
}

static bool may_answer(struct shard *s, const struct leaders_asked *a, uint64_t *at_ms)
{
    struct leaders *const l = s->node->leaders;
    *at_ms = 0;
    return l->led[a->partition] == 0 || s->ending ||
           lease_answer(&l->granter, a->partition, a->version, s->node->clock_ms(), at_ms);
}

static void push(struct shard *s, const struct leaders_asked *a)
{
    struct fifo *const asked = &s->node->leaders->asked;
    asked->item = sizeof *a;
    if (!fifo_push(asked, a)) {
        remote_out_of_memory();
    }
}

/* Each of them is looked at once; those that have to wait keep their order. */
static void answer_all(struct shard *s)
{
    struct leaders *const l = s->node->leaders;
    l->asked_ms = UINT64_MAX;
    for (uint32_t left = l->asked.count; left > 0; left--) {
        const struct leaders_asked a = *(const struct leaders_asked *)fifo_first(&l->asked);
        uint64_t at_ms;
        fifo_pop(&l->asked);
        if (may_answer(s, &a, &at_ms)) {
            answer(s, &a);
        } else {
            l->asked_ms = earlier(l->asked_ms, at_ms);
            push(s, &a);
        }
    }
}

static void take(struct shard *s, unsigned from, unsigned partition, struct subscribe_job *job)
{
    const struct leaders_asked a = {
        .job = job, .version = own_version(s), .from = from, .partition = partition};
    push(s, &a);
    s->node->leaders->asked_ms = 0;
}

void dispatch_on_subscribed(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_subscribed *const p = (const void *)record;
    take(s, from, p->partition, p->job);
}

bool dispatch_run_subscribed(struct shard *s, unsigned partition, struct subscribe_job *job)
{
    if (s->dispatching == NULL || partition >= PARTITIONS) {
        return false;
    }
    job->pending++;
    if (s->id == 0) {
        take(s, 0, partition, job);
        return true;
    }
    struct post_subscribed *const p = post_reserve(s, 0, POST_SUBSCRIBED, sizeof *p);
    p->partition = partition;
    p->job = job;
    post_commit(s, 0);
    return true;
}

/* ---- a turn */

void leases_turn(struct shard *s)
{
    const struct leaders *const l = s->node->leaders;
    look_at_interest(s);
    know_self(s);
    ask_self(s);
    leases_refresh(s);
    if (l->asked.count > 0) {
        answer_all(s);
    }
}

/* What another one knows by now brings a turn itself. */
uint64_t leases_next_ms(const struct shard *s)
{
    const struct leaders *const l = s->node->leaders;
    const uint64_t later_ms = s->now_ms + DISPATCH_LATER_MS; /* what is due has had no room */
    const uint64_t due_ms = lease_next_ms(&l->holder);
    const uint64_t next_ms = due_ms < later_ms && due_ms <= s->now_ms ? later_ms : due_ms;
    return l->asked.count > 0 ? earlier(next_ms, l->asked_ms) : next_ms;
}

void leases_fini(struct leaders *l)
{
    fifo_fini(&l->asked);
}
