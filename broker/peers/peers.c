/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/peers/peers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/peers/peers_parts.h"
#include "broker/shard/shard.h"

#define MEMORY_AGAIN_MS 1000u /* a link that could not be made is tried again */

struct shard_peers *peers_of(const struct shard *s)
{
    const struct peers *const p = s->node->peers;
    return p == NULL ? NULL : p->of[s->id];
}

/* ---- life */

struct peers *peers_create(const struct peers_conf *conf)
{
    struct node *const node = conf->node;
    struct peers *const p = calloc(1, sizeof *p + node->shard_count * sizeof p->of[0]);
    if (p == NULL) {
        return NULL;
    }
    p->conf = *conf;
    p->limits = conf->limits == NULL ? link_conf_defaults() : *conf->limits;
    p->conf.limits = NULL; /* it is ours now */
    p->shard_count = node->shard_count;
    for (unsigned i = 0; i < p->shard_count; i++) {
        struct shard_peers *const sp = aligned_alloc(64, (sizeof *sp + 63) / 64 * 64);
        if (sp == NULL) {
            peers_destroy(p);
            return NULL;
        }
        memset(sp, 0, sizeof *sp);
        sp->peers = p;
        sp->next_ms = UINT64_MAX;
        p->of[i] = sp;
    }
    for (unsigned i = 0; i < p->shard_count; i++) {
        io_set_second(node->shards[i]->io, &lane_io_handlers);
    }
    node->peers = p;
    return p;
}

static void destroy_words(struct shard_peers *sp)
{
    struct word *w = words_take(sp);
    while (w != NULL) {
        struct word *const next = w->next;
        word_free(w);
        w = next;
    }
}

void peers_destroy(struct peers *p)
{
    for (unsigned i = 0; p != NULL && i < p->shard_count && p->of[i] != NULL; i++) {
        struct shard_peers *const sp = p->of[i];
        destroy_words(sp);
        for (unsigned k = 0; k < PEERS_MAX; k++) {
            lane_free(sp->peer[k].lane);
        }
        while (sp->gone != NULL) {
            struct lane *const l = sp->gone;
            sp->gone = l->next_gone;
            lane_free(l);
        }
        free(sp);
    }
    free(p);
}

/* ---- who there is */

static void has_lane(struct shard_peers *sp, unsigned number, struct lane *l)
{
    sp->peer[number].lane = l;
    sp->has_lane = l == NULL ? sp->has_lane & ~peer_bit(number) : sp->has_lane | peer_bit(number);
    sp->dirty &= sp->has_lane;
    sp->resume &= sp->has_lane;
}

static void let_go(struct shard_peers *sp, unsigned number)
{
    struct peer *const p = &sp->peer[number];
    struct lane *const l = p->lane;
    sp->failed &= ~peer_bit(number);
    if (l != NULL) {
        p->dial_is_stale = p->dialing;
        has_lane(sp, number, NULL);
        lane_let_go(l);
    }
}

/* The link is made, if there is none, and told what to do. */
static void serve(struct shard *s, struct shard_peers *sp, struct peer *p)
{
    const struct peer_facts *const facts = &p->facts;
    if (p->lane == NULL) {
        has_lane(sp, facts->number, lane_create(s, facts));
        if (p->lane == NULL) {
            sp->failed |= peer_bit(facts->number);
            log_event(LOG_ERROR, "link_failed",
                      LOG_BYTES("node", bytes_of(facts->name, facts->name_len)),
                      LOG_NUMBER("lane", s->id), LOG_TEXT("reason", "no memory"));
            sp->again_ms = s->now_ms + MEMORY_AGAIN_MS;
            sp->next_ms = 0; /* so that peers_flush() finds it anew */
            return;
        }
        sp->failed &= ~peer_bit(facts->number);
    }
    struct lane *const l = p->lane;
    l->name_len = facts->name_len;
    memcpy(l->name, facts->name, facts->name_len);
    link_want(l->link, facts->live && !sp->ending, s->now_ms);
    if (!facts->live) {
        link_give_up(l->link, s->now_ms);
    }
    sp->dirty |= peer_bit(facts->number);
}

static void on_facts(struct shard *s, struct shard_peers *sp, const struct peer_facts *facts)
{
    struct peer *const p = &sp->peer[facts->number];
    const bool is_another = p->lanes > 0 && !node_uuid_equal(p->facts.node, facts->node);
    if (facts->forgotten || is_another || s->id >= facts->lanes) {
        let_go(sp, facts->number);
    }
    p->facts = *facts;
    p->lanes = facts->forgotten ? 0 : facts->lanes;
    if (s->id < p->lanes) {
        serve(s, sp, p);
    }
    sp->peers->conf.events->facts(s, facts);
}

/* ---- words */

static void on_arrived(struct shard_peers *sp, struct word *w)
{
    struct lane *const l = sp->peer[w->facts.number].lane;
    if (l == NULL || sp->ending) {
        peer_wire_refuse(w->wire, l == NULL ? NODE_CLOSE_UNKNOWN_NODE : NODE_CLOSE_SHUTDOWN);
        w->wire = PEER_WIRE_NONE;
        word_free(w);
    } else {
        lane_arrived(l, w);
    }
}

static void on_dialed(struct shard_peers *sp, struct word *w)
{
    const unsigned number = w->facts.number;
    struct peer *const p = &sp->peer[number];
    assert(p->dialing);

    p->dialing = false;
    if (!p->dial_is_stale && p->lane != NULL) {
        lane_dialed(p->lane, w->wire);
        w->wire = PEER_WIRE_NONE;
    }
    p->dial_is_stale = false;
    sp->dirty |= sp->has_lane & peer_bit(number); /* whose own dial may have waited */
    word_free(w);
}

static unsigned take_first(uint32_t *set)
{
    const unsigned number = (unsigned)__builtin_ctz(*set);
    *set &= *set - 1;
    return number;
}

static void on_trust(struct shard_peers *sp, struct word *w)
{
    for (uint32_t set = sp->has_lane; set != 0;) {
        lane_trust(sp->peer[take_first(&set)].lane, w->trust);
    }
    word_free(w);
}

static void hear(struct shard *s, struct shard_peers *sp)
{
    struct word *w = words_take(sp);
    while (w != NULL) {
        struct word *const next = w->next;
        switch (w->kind) {
        case WORD_FACTS:
            on_facts(s, sp, &w->facts);
            word_free(w);
            break;
        case WORD_ARRIVED:
            on_arrived(sp, w);
            break;
        case WORD_DIALED:
            on_dialed(sp, w);
            break;
        case WORD_TRUST:
            on_trust(sp, w);
            break;
        }
        w = next;
    }
}

/* ---- the turn */

static void on_time(struct shard *s, struct shard_peers *sp)
{
    for (uint32_t set = sp->has_lane; set != 0;) {
        struct lane *const l = sp->peer[take_first(&set)].lane;
        if (s->now_ms >= l->next_ms) {
            lane_turn(l);
        }
    }
    for (uint32_t set = s->now_ms >= sp->again_ms ? sp->failed : 0; set != 0;) {
        serve(s, sp, &sp->peer[take_first(&set)]);
    }
}

static void turn(struct shard *s, struct shard_peers *sp)
{
    hear(s, sp);
    if (s->now_ms >= sp->next_ms) {
        on_time(s, sp);
    }
    uint32_t set = sp->resume;
    sp->resume = 0;
    while (set != 0) {
        lane_resume(sp->peer[take_first(&set)].lane);
    }
}

void peers_turn(struct shard *s)
{
    struct shard_peers *const sp = peers_of(s);
    if (sp != NULL) {
        turn(s, sp);
    }
}

static void write_gauges(struct shard_peers *sp)
{
    uint64_t now[PEERS_GAUGES] = {0};
    for (uint32_t set = sp->has_lane; set != 0;) {
        const struct peer *const p = &sp->peer[take_first(&set)];
        now[PEERS_LINKS] += p->facts.live;
        now[PEERS_LINKS_UP] += link_is_up(p->lane->link);
        now[PEERS_LINKS_SLOW] += p->lane->counted.slow;
        now[PEERS_KEPT_BYTES] += p->lane->counted.kept_bytes;
        now[PEERS_PASSING_BYTES] += p->lane->counted.passing_bytes;
    }
    for (unsigned i = 0; i < PEERS_GAUGES; i++) {
        atomic_store_explicit(&sp->gauges[i], now[i], memory_order_relaxed);
    }
}

static void flush(struct shard *s, struct shard_peers *sp)
{
    if (sp->dirty == 0 && s->now_ms < sp->next_ms) {
        return;
    }
    /* What an event of these puts is for the next turn, which comes at once. */
    uint32_t set = sp->dirty;
    sp->dirty = 0;
    while (set != 0) {
        lane_go_on(sp->peer[take_first(&set)].lane);
    }
    sp->next_ms = UINT64_MAX;
    for (uint32_t all = sp->has_lane; all != 0;) {
        const uint64_t next_ms = sp->peer[take_first(&all)].lane->next_ms;
        sp->next_ms = next_ms < sp->next_ms ? next_ms : sp->next_ms;
    }
    if (sp->failed != 0 && sp->again_ms < sp->next_ms) {
        sp->next_ms = sp->again_ms;
    }
    write_gauges(sp);
}

void peers_flush(struct shard *s)
{
    struct shard_peers *const sp = peers_of(s);
    if (sp != NULL) {
        flush(s, sp);
    }
}

bool peers_are_waiting(const struct shard *s)
{
    const struct shard_peers *const sp = peers_of(s);
    return sp != NULL && (sp->dirty | sp->resume) != 0;
}

uint64_t peers_next_ms(const struct shard *s)
{
    const struct shard_peers *const sp = peers_of(s);
    if (sp == NULL) {
        return UINT64_MAX;
    }
    return (sp->dirty | sp->resume) != 0 ? 0 : sp->next_ms;
}

/* ---- the end */

void peers_end(struct shard *s)
{
    struct shard_peers *const sp = peers_of(s);
    if (sp == NULL) {
        return;
    }
    sp->ending = true;
    /* What is not dirty, and not sending, has nothing that it may send. */
    for (uint32_t set = sp->has_lane & ~sp->dirty; set != 0;) {
        const unsigned number = take_first(&set);
        struct lane *const l = sp->peer[number].lane;
        if (!l->sending && !l->end_told) {
            l->end_told = true;
            link_want(l->link, false, s->now_ms);
            sp->dirty |= peer_bit(number);
        }
    }
}

void peers_cut_off(struct shard *s)
{
    struct shard_peers *const sp = peers_of(s);
    if (sp == NULL) {
        return;
    }
    sp->ending = true;
    for (uint32_t set = sp->has_lane; set != 0;) {
        struct lane *const l = sp->peer[take_first(&set)].lane;
        link_want(l->link, false, s->now_ms);
        lane_close(l, NODE_CLOSE_SHUTDOWN);
    }
}

bool peers_are_gone(const struct shard *s)
{
    const struct shard_peers *const sp = peers_of(s);
    return sp == NULL || (sp->ending && sp->sockets == 0);
}

/* ---- what the shard says */

static struct lane *lane_of(const struct shard *s, unsigned peer)
{
    ASSERT_OWNED(s);
    assert(peer < PEERS_MAX);

    struct shard_peers *const sp = peers_of(s);
    return sp == NULL ? NULL : sp->peer[peer].lane;
}

enum link_put peers_put(struct shard *s, unsigned peer, uint8_t type, bool numbered,
                        size_t body_len, uint8_t **body, uint64_t *seq)
{
    struct lane *const l = lane_of(s, peer);
    if (l == NULL) {
        return LINK_NO_ROOM;
    }
    peers_of(s)->dirty |= peer_bit(peer);
    return link_put(l->link, type, numbered, body_len, body, seq, s->now_ms);
}

bool peers_has_lane(const struct shard *s, unsigned peer)
{
    return lane_of(s, peer) != NULL;
}

size_t peers_room(const struct shard *s, unsigned peer)
{
    const struct lane *const l = lane_of(s, peer);
    return l == NULL ? 0 : link_room(l->link);
}

size_t peers_room_alone(const struct shard *s, unsigned peer)
{
    const struct lane *const l = lane_of(s, peer);
    const bool is_alone =
        l != NULL && link_is_up(l->link) && link_figures(l->link).passing_bytes == 0;
    return is_alone ? peers_of(s)->peers->limits.frame_max : 0;
}

uint64_t peers_generation(const struct shard *s, unsigned peer)
{
    const struct lane *const l = lane_of(s, peer);
    return l == NULL ? 0 : link_figures(l->link).peer_generation;
}

uint64_t peers_features(const struct shard *s, unsigned peer)
{
    const struct lane *const l = lane_of(s, peer);
    return l == NULL ? 0 : link_figures(l->link).peer_features;
}

void peers_resume(struct shard *s, unsigned peer)
{
    if (lane_of(s, peer) != NULL) {
        peers_of(s)->resume |= peer_bit(peer);
    }
}

void peers_give_up(struct shard *s, unsigned peer)
{
    struct lane *const l = lane_of(s, peer);
    if (l != NULL) {
        l->give_up_due = true;
        peers_of(s)->dirty |= peer_bit(peer);
    }
}

struct bytes peers_name(const struct shard *s, unsigned peer)
{
    assert(peer < PEERS_MAX);

    const struct shard_peers *const sp = peers_of(s);
    return sp == NULL ? bytes_of(NULL, 0)
                      : bytes_of(sp->peer[peer].facts.name, sp->peer[peer].facts.name_len);
}

unsigned peers_lanes(const struct shard *s, unsigned peer)
{
    ASSERT_OWNED(s);
    assert(peer < PEERS_MAX);

    const struct shard_peers *const sp = peers_of(s);
    return sp == NULL ? 0 : sp->peer[peer].lanes;
}

/* ---- figures */

uint64_t peers_gauge(const struct peers *p, enum peers_gauge gauge)
{
    uint64_t sum = 0;
    for (unsigned i = 0; p != NULL && i < p->shard_count; i++) {
        sum += atomic_load_explicit(&p->of[i]->gauges[gauge], memory_order_relaxed);
    }
    return sum;
}
