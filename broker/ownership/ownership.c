/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/ownership/ownership.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/message.h"
#include "broker/ownership/ownership_parts.h"
#include "broker/ownership/will_words.h"
#include "broker/remote/remote.h"
#include "broker/replicated/replicated.h"
#include "broker/shard/shard.h"
#include "proto/node_hello.h"

#define WALL_MS 1000u /* until claims is told the time again */

/* A partition has another leader as the last one was lost, mostly, who is taken for living for some
 * seconds more: it is not waited for. Sessions are the leader's; what others may have is transient
 * clients of the same identifiers, which they tell of at once. */
#define LED_SETTLE_MS 500u

static uint32_t bit(unsigned peer)
{
    return UINT32_C(1) << peer;
}

/* ---- what claims says: kept until it is done, as who hears it may call it */

static void say(struct shard *s, uint64_t hash, uint64_t serial, enum verdict_kind kind)
{
    const struct verdict verdict = {.hash = hash, .serial = serial, .kind = (uint8_t)kind};
    s->ownership->verdicts.item = sizeof verdict;
    if (!fifo_push(&s->ownership->verdicts, &verdict)) {
        remote_out_of_memory();
    }
}

static void on_attached(void *context, uint64_t hash, uint64_t serial,
                        const struct claims_grant *grant)
{
    say(context, hash, serial,
        grant->degraded ? VERDICT_UNANSWERED
        : grant->unsure ? VERDICT_UNSURE
                        : VERDICT_GRANTED);
}

static void on_kicked(void *context, uint64_t hash, uint64_t serial, struct bytes id)
{
    (void)id;
    say(context, hash, serial, VERDICT_KICKED);
}

/* Only where several nodes have sessions: else it is the node's own, whoever owns the id. */
static void on_cleared(void *context, uint64_t hash, struct bytes id)
{
    struct shard *const s = context;
    struct ownership *const o = s->ownership;
    (void)hash;
    if (s->node->replicas == 0) {
        return;
    }
    struct cleared *const cleared = malloc(sizeof *cleared + id.len);
    if (cleared == NULL) {
        remote_out_of_memory();
    }
    *cleared = (struct cleared){.id_len = id.len};
    memcpy(cleared->id, id.at, id.len);
    if (o->cleared_last == NULL) {
        o->cleared_first = cleared;
    } else {
        o->cleared_last->next = cleared;
    }
    o->cleared_last = cleared;
}

static struct cleared *take_cleared(struct ownership *o)
{
    struct cleared *const cleared = o->cleared_first;
    if (cleared != NULL) {
        o->cleared_first = cleared->next;
        o->cleared_last = cleared->next == NULL ? NULL : o->cleared_last;
    }
    return cleared;
}

static void clear_sessions(struct shard *s)
{
    for (struct cleared *c; (c = take_cleared(s->ownership)) != NULL;) {
        tenure_clear(s, c);
    }
}

/* A node that was started anew may own the id of a client that is lost before it has heard who
 * subscribes at other nodes. */
static bool may_publish(const struct shard *s)
{
    return atomic_load_explicit(&s->node->unheard, memory_order_relaxed) == 0;
}

static void on_will(void *context, const struct claims_key *whose, struct bytes id,
                    struct bytes words)
{
    struct shard *const s = context;
    struct fifo *const wills = &s->ownership->wills;
    const struct owned_will will = {.message = will_words_read(s, words),
                                    .publisher_hash = XXH3_64bits(id.at, id.len)};
    (void)whose;
    if (will.message == NULL) {
        return;
    }
    wills->item = sizeof will;
    shard_count(s, METRIC_wills_published);
    if (!fifo_push(wills, &will)) {
        remote_out_of_memory();
    }
}

static void publish_wills(struct shard *s)
{
    struct fifo *const wills = &s->ownership->wills;
    while (wills->count > 0 && may_publish(s)) {
        const struct owned_will will = *(const struct owned_will *)fifo_first(wills);
        fifo_pop(wills);
        shard_due(s, will.message, 0, 0, will.publisher_hash);
    }
}

static void tell_verdicts(struct shard *s)
{
    struct fifo *const verdicts = &s->ownership->verdicts;
    while (verdicts->count > 0) {
        const struct verdict verdict = *(const struct verdict *)fifo_first(verdicts);
        fifo_pop(verdicts);
        tenure_tell(s, &verdict);
    }
}

/* ---- what connections say */

/* Before each claim that is made: the shard may have slept for long. */
static void tell_time(struct shard *s)
{
    struct ownership *const o = s->ownership;
    if (s->now_ms < o->wall_ms) {
        return;
    }
    o->wall_ms = s->now_ms + WALL_MS;
    claims_set_wall(o->claims, replicated_wall_ms());
}

void ownership_take(struct shard *s, struct coming *coming)
{
    struct ownership *const o = s->ownership;
    ASSERT_OWNED(s);
    tell_time(s);
    if (claims_attach(o->claims, &coming->attach, s->now_ms) != CLAIMS_OK) {
        say(s, coming->attach.hash, coming->attach.serial, VERDICT_REFUSED);
    }
    free(coming);
}

void ownership_let_go(struct shard *s, const struct going *going)
{
    struct claims *const c = s->ownership->claims;
    ASSERT_OWNED(s);
    claims_set_delay(c, going->hash, going->serial, going->delay_ms);
    claims_detach(c, going->hash, going->serial, going->is_lost ? CLAIMS_LOST : CLAIMS_CLEAN,
                  s->now_ms);
}

/* ---- links */

enum link_taken ownership_received(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct ownership *const o = s->ownership;
    if (o->claims == NULL || (o->up & bit(peer)) == 0) {
        return LINK_BAD; /* it goes on lane 0 */
    }
    tell_time(s);
    switch (claims_received(o->claims, peer, frame, s->now_ms)) {
    case CLAIMS_OK:
        return LINK_TAKEN;
    case CLAIMS_NO_MEMORY:
        return LINK_NOT_NOW;
    default:
        return LINK_BAD;
    }
}

/* A node of a version that does not know of ids is nobody's owner: it would never answer. */
static void tell_live(struct shard *s, unsigned peer)
{
    const struct ownership *const o = s->ownership;
    claims_peer_live(o->claims, peer, (o->live & ~o->older & bit(peer)) != 0, s->now_ms);
}

void ownership_up(struct shard *s, unsigned peer)
{
    struct ownership *const o = s->ownership;
    if (o->claims == NULL || (o->used & bit(peer)) == 0) {
        return;
    }
    const bool is_older = (peers_features(s, peer) & NODE_FEATURE_CLAIMS) == 0;
    o->older = is_older ? o->older | bit(peer) : o->older & ~bit(peer);
    tell_live(s, peer);
    if (!is_older) {
        o->up |= bit(peer);
        claims_peer_up(o->claims, peer, peers_generation(s, peer), s->now_ms);
    }
}

void ownership_down(struct shard *s, unsigned peer)
{
    struct ownership *const o = s->ownership;
    if (o->claims != NULL && (o->up & bit(peer)) != 0) {
        o->up &= ~bit(peer);
        claims_peer_down(o->claims, peer, s->now_ms);
    }
}

void ownership_facts(struct shard *s, const struct peer_facts *facts)
{
    struct ownership *const o = s->ownership;
    const unsigned peer = facts->number;
    if (o->claims == NULL) {
        return;
    }
    if ((o->used & bit(peer)) == 0) {
        o->used |= bit(peer);
        claims_peer_begin(o->claims, peer, facts->node, s->now_ms);
    }
    const bool is_live = facts->live && !facts->forgotten;
    o->live = is_live ? o->live | bit(peer) : o->live & ~bit(peer);
    tell_live(s, peer);
    if (facts->forgotten) {
        o->up &= ~bit(peer);
        o->used &= ~bit(peer);
        o->older &= ~bit(peer);
        claims_peer_forget(o->claims, peer, s->now_ms);
    }
}

void ownership_appoint(struct shard *s, unsigned partition, unsigned peer)
{
    const struct ownership *const o = s->ownership;
    if (peer == PEERS_SELF) {
        claims_appoint(o->claims, partition, CLAIMS_SELF, s->now_ms);
    } else if ((o->used & bit(peer)) != 0) {
        claims_appoint(o->claims, partition, peer, s->now_ms);
    }
}

/* ---- a turn */

void ownership_turn(struct shard *s)
{
    struct ownership *const o = s->ownership;
    if (o == NULL || o->claims == NULL) {
        return;
    }
    if (claims_next_ms(o->claims) <= s->now_ms) {
        claims_turn(o->claims, s->now_ms);
    }
    tell_verdicts(s);
    clear_sessions(s);
    publish_wills(s);
}

/* false: nothing more, or no room. */
static bool send_claims(struct shard *s, unsigned peer)
{
    const size_t room = peers_room(s, peer);
    uint8_t type;
    struct bytes body;
    uint8_t *to;
    uint64_t seq;
    if (room <= NODE_FRAME_HEAD_BYTES ||
        !claims_next(s->ownership->claims, peer, room - NODE_FRAME_HEAD_BYTES, s->now_ms, &type,
                     &body)) {
        return false;
    }
    if (peers_put(s, peer, type, false, body.len, &to, &seq) != LINK_OK) {
        peers_give_up(s, peer); /* it must not be left out: another connection begins anew */
        return false;
    }
    memcpy(to, body.at, body.len);
    return true;
}

static void show(struct shard *s)
{
    struct node *const node = s->node;
    struct ownership *const o = s->ownership;
    const struct claims_figures f = claims_figures(o->claims);
    const struct claims_figures *const b = &o->counted;
    metrics_add(&s->metrics, METRIC_claims_granted, f.attached - b->attached);
    metrics_add(&s->metrics, METRIC_claims_unsure, f.unsure - b->unsure);
    metrics_add(&s->metrics, METRIC_claims_unanswered, f.degraded - b->degraded);
    metrics_add(&s->metrics, METRIC_claims_kicked, f.kicked - b->kicked);
    metrics_add(&s->metrics, METRIC_claims_conflicts, f.conflicts - b->conflicts);
    metrics_add(&s->metrics, METRIC_claims_refused, f.refused - b->refused);
    metrics_add(&s->metrics, METRIC_claims_nodes_lost, f.peers_lost - b->peers_lost);
    metrics_add(&s->metrics, METRIC_wills_cancelled, f.wills_cancelled - b->wills_cancelled);
    metrics_add(&s->metrics, METRIC_wills_left_behind, f.wills_left_behind - b->wills_left_behind);
    o->counted = f;
    atomic_store_explicit(&node->claims_held, f.holds, memory_order_relaxed);
    atomic_store_explicit(&node->claims_owned, f.records, memory_order_relaxed);
    atomic_store_explicit(&node->claims_wills, f.wills, memory_order_relaxed);
    atomic_store_explicit(&node->claims_bytes, f.bytes, memory_order_relaxed);
}

void ownership_flush(struct shard *s)
{
    const struct ownership *const o = s->ownership;
    if (o == NULL || o->claims == NULL) {
        return;
    }
    for (uint32_t peers = o->up; peers != 0; peers &= peers - 1) {
        while (send_claims(s, (unsigned)__builtin_ctz(peers))) {
        }
    }
    show(s);
}

uint64_t ownership_next_ms(const struct shard *s)
{
    const struct ownership *const o = s->ownership;
    if (o == NULL || o->claims == NULL) {
        return UINT64_MAX;
    }
    const bool has_wills = o->wills.count > 0 && may_publish(s);
    return o->verdicts.count > 0 || o->cleared_first != NULL || has_wills
               ? 0
               : claims_next_ms(o->claims);
}

/* ---- beginning and end */

static bool create(struct shard *s, const struct identity *self)
{
    struct ownership *const o = calloc(1, sizeof *o);
    if (o == NULL || !tenures_init(o)) {
        free(o);
        return false;
    }
    s->ownership = o;
    o->cluster = self->cluster;
    if (s->id != 0) {
        return true;
    }
    struct claims_conf conf = claims_conf_defaults();
    conf.cluster = self->cluster;
    conf.self = self->node;
    conf.generation = self->generation;
    if (s->node->replicas > 0) {
        conf.settle_ms = LED_SETTLE_MS;
    }
    conf.events = (struct claims_events){.attached = on_attached,
                                         .kicked = on_kicked,
                                         .cleared = on_cleared,
                                         .will = on_will,
                                         .context = s};
    o->claims = claims_create(&conf);
    return o->claims != NULL;
}

bool ownership_create(struct node *node, const struct identity *self)
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (!create(node->shards[i], self)) {
            return false;
        }
    }
    return true;
}

void ownership_destroy(struct shard *s)
{
    struct ownership *const o = s->ownership;
    if (o == NULL) {
        return;
    }
    claims_destroy(o->claims);
    tenures_fini(o);
    fifo_fini(&o->verdicts);
    for (struct cleared *c; (c = take_cleared(o)) != NULL;) {
        free(c);
    }
    for (; o->wills.count > 0; fifo_pop(&o->wills)) {
        message_put(((const struct owned_will *)fifo_first(&o->wills))->message);
    }
    fifo_fini(&o->wills);
    free(o);
    s->ownership = NULL;
}
