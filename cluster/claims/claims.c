/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/claims/claims.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/claims/claims_parts.h"

#define WALL_SHIFT 15 /* bits of a claim that are not wall clock */

struct claims_conf claims_conf_defaults(void)
{
    return (struct claims_conf){.kick_ms = 500,
                                .settle_ms = 2000,
                                .unreachable_ms = 2000,
                                .answer_ms = 5000,
                                .lost_ms = 10000,
                                .retry_ms = 100,
                                .holds_max = 4u << 20,
                                .asks_max = 1u << 18,
                                .frames_max = 8,
                                .frame_bytes = 16384,
                                .turn_steps = 256};
}

/* ---- Claims' time */

uint64_t claims_stamp(struct claims *c)
{
    const uint64_t wall = c->wall_ms << WALL_SHIFT;
    const uint64_t next = c->stamp + 1 < NODE_CLAIM_TIME_MAX ? c->stamp + 1 : c->stamp;
    c->stamp = wall > next && wall < NODE_CLAIM_TIME_MAX ? wall : next;
    return c->stamp;
}

void claims_heard(struct claims *c, uint64_t claim)
{
    if (claim > c->stamp && claim < NODE_CLAIM_TIME_MAX) {
        c->stamp = claim;
    }
}

void claims_set_wall(struct claims *c, uint64_t wall_ms)
{
    c->wall_ms = wall_ms;
}

/* ---- Who owns what */

static uint64_t score(const struct claims *c, unsigned partition, struct node_uuid node)
{
    return XXH3_64bits_withSeed(node.bytes, sizeof node.bytes,
                                digest_seed(c->conf.cluster) +
                                    (partition + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static bool is_before(uint64_t score_a, struct node_uuid a, uint64_t score_b, struct node_uuid b)
{
    return score_a > score_b || (score_a == score_b && node_uuid_compare(a, b) > 0);
}

/* Rendezvous hashing: of the peers that live the one whose hash with the partition is the highest;
 * NOBODY: none lives. */
static unsigned first_peer(const struct claims *c, unsigned partition, uint64_t *best)
{
    unsigned first = NOBODY;
    for (unsigned i = 0; i < CLAIMS_PEERS_MAX; i++) {
        const struct peer *const p = &c->peers[i];
        const uint64_t s = p->live ? score(c, partition, p->uuid) : 0;
        if (p->live && (first == NOBODY || is_before(s, p->uuid, *best, c->peers[first].uuid))) {
            first = i;
            *best = s;
        }
    }
    return first;
}

/* Who is appointed, or the first of all nodes that live; and, if that is this one, who would be it
 * otherwise. */
static unsigned owner_of(const struct claims *c, unsigned partition, unsigned *deputy)
{
    uint64_t best = 0;
    const unsigned peer = first_peer(c, partition, &best);
    const uint64_t own = score(c, partition, c->conf.self);
    const bool is_first =
        peer == NOBODY || !is_before(best, c->peers[peer].uuid, own, c->conf.self);
    unsigned owner = c->parts[partition].appointed;
    if (owner == CLAIMS_BY_HASH) {
        owner = is_first ? CLAIMS_SELF : peer;
    }
    *deputy = owner == CLAIMS_SELF ? peer : NOBODY;
    return owner;
}

static void told_anew(struct claims *c, struct part *part)
{
    part->told_generation = 0;
    holder_tell_all(c, part);
    if (part->owner == CLAIMS_SELF) {
        holder_owner_is(c, part, c->conf.generation, 0, part->term);
    } else {
        const struct peer *const p = &c->peers[part->owner];
        if (p->heard) {
            holder_owner_is(c, part, p->generation, p->words.session,
                            p->words.terms[part_number(c, part)]);
        }
    }
}

static void elect(struct claims *c, uint64_t now_ms)
{
    bool changed = false;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        struct part *const part = &c->parts[i];
        unsigned deputy;
        const unsigned owner = owner_of(c, i, &deputy);
        deputy_set(c, part, deputy);
        if (owner == part->owner) {
            continue;
        }
        if (part->owner == CLAIMS_SELF) {
            owner_term_ends(c, part);
        }
        part->owner = (uint8_t)owner;
        if (owner == CLAIMS_SELF) {
            owner_term_begins(c, part, now_ms);
        }
        told_anew(c, part);
        changed = true;
    }
    for (unsigned i = 0; changed && i < CLAIMS_PEERS_MAX; i++) {
        c->peers[i].owner_due = c->peers[i].up;
    }
}

void claims_appoint(struct claims *c, unsigned partition, unsigned owner, uint64_t now_ms)
{
    assert(partition < NODE_CLAIM_PARTITIONS);
    assert(owner == CLAIMS_BY_HASH || owner == CLAIMS_SELF ||
           (owner < CLAIMS_PEERS_MAX && c->peers[owner].used));

    if (c->parts[partition].appointed != owner) {
        c->parts[partition].appointed = (uint8_t)owner;
        elect(c, now_ms);
    }
}

unsigned claims_owner(const struct claims *c, uint64_t hash)
{
    return c->parts[node_claim_partition(hash)].owner;
}

/* ---- Begin, end */

static bool parts_init(struct claims *c)
{
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        struct part *const part = &c->parts[i];
        list_init(&part->dirty);
        list_init(&part->sent);
        list_init(&part->claiming);
        deputy_part_init(part);
        if (table_init(&part->holds) != 0 || table_init(&part->records) != 0) {
            return false;
        }
    }
    return true;
}

struct claims *claims_create(const struct claims_conf *conf)
{
    assert(conf->generation > 0);
    assert(conf->answer_ms >= conf->unreachable_ms);
    assert(conf->frame_bytes >= 2 * NODE_CLAIM_HEAD_MAX && conf->frame_bytes <= CLAIMS_BODY_MAX);
    assert(conf->turn_steps > 0 && conf->frames_max > 0);

    struct claims *const c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->conf = *conf;
    c->events = conf->events;
    list_init(&c->asks);
    list_init(&c->late_asks);
    for (unsigned i = 0; i < PEERS; i++) {
        list_init(&c->peers[i].owed);
        list_init(&c->peers[i].said);
    }
    struct peer *const self = &c->peers[CLAIMS_SELF];
    self->used = true;
    self->uuid = conf->self;
    self->generation = conf->generation;
    if (!parts_init(c)) {
        claims_destroy(c);
        return NULL;
    }
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        c->parts[i].owner = CLAIMS_SELF;
        c->parts[i].appointed = CLAIMS_BY_HASH;
        owner_term_begins(c, &c->parts[i], 0);
        told_anew(c, &c->parts[i]);
    }
    return c;
}

void claims_destroy(struct claims *c)
{
    if (c == NULL) {
        return;
    }
    holder_fini(c);
    registry_fini(c);
    free(c);
}

/* ---- Peers */

static void parts_interrupted(struct claims *c, unsigned peer)
{
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        if (c->parts[i].owner == peer) {
            holder_interrupted(c, &c->parts[i]);
        }
    }
}

void claims_peer_begin(struct claims *c, unsigned peer, struct node_uuid uuid, uint64_t now_ms)
{
    assert(peer < CLAIMS_PEERS_MAX);
    assert(!c->peers[peer].used);

    struct peer *const p = &c->peers[peer];
    p->used = true;
    p->uuid = uuid;
    p->generation = 0;
    p->down_ms = now_ms;
    p->lost = true; /* it has nothing */
}

void claims_peer_forget(struct claims *c, unsigned peer, uint64_t now_ms)
{
    struct peer *const p = &c->peers[peer];
    if (!p->used) {
        return;
    }
    claims_peer_down(c, peer, now_ms);
    claims_peer_live(c, peer, false, now_ms);
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        if (c->parts[i].appointed == peer) {
            claims_appoint(c, i, CLAIMS_BY_HASH, now_ms);
        }
    }
    owner_lost(c, peer);
    p->copies_there = p->void_due = 0;
    p->used = false;
    p->uuid = (struct node_uuid){{0}};
}

void claims_peer_live(struct claims *c, unsigned peer, bool live, uint64_t now_ms)
{
    assert(peer < CLAIMS_PEERS_MAX);
    assert(c->peers[peer].used);

    if (c->peers[peer].live == live) {
        return;
    }
    c->peers[peer].live = live;
    for (unsigned i = 0; live && i < NODE_CLAIM_PARTITIONS; i++) {
        c->parts[i].began_ms = now_ms; /* it has something to tell, too */
    }
    elect(c, now_ms);
}

void claims_peer_up(struct claims *c, unsigned peer, uint64_t generation, uint64_t now_ms)
{
    assert(peer < CLAIMS_PEERS_MAX);
    assert(c->peers[peer].used);

    struct peer *const p = &c->peers[peer];
    claims_peer_down(c, peer, now_ms);
    if (p->generation != generation && !p->lost) {
        owner_lost(c, peer); /* the start before */
    }
    p->copies_there = p->generation == generation ? p->copies_there : 0;
    p->generation = generation;
    p->up = true;
    p->lost = false;
    p->owner_due = true;
    p->heard = false;
    p->sent = 0;
    p->acked = 0;
    p->ack_due = false;
    deputy_up(c, peer);
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        if (c->parts[i].term == 0 && c->parts[i].records.count > 0) {
            owner_sweep(c, &c->parts[i]); /* what it has there it tells others */
        }
    }
}

void claims_peer_down(struct claims *c, unsigned peer, uint64_t now_ms)
{
    assert(peer < CLAIMS_PEERS_MAX);

    struct peer *const p = &c->peers[peer];
    if (!p->up) {
        return;
    }
    p->up = false;
    p->heard = false;
    p->down_ms = now_ms;
    list_prepend_all(&p->owed, &p->said);
    parts_interrupted(c, peer);
}

static bool is_losing(const struct peer *p)
{
    return p->used && !p->live && !p->up && !p->lost;
}

static void losses_turn(struct claims *c, uint64_t now_ms)
{
    for (unsigned i = 0; i < CLAIMS_PEERS_MAX; i++) {
        struct peer *const p = &c->peers[i];
        if (is_losing(p) && now_ms >= p->down_ms + c->conf.lost_ms) {
            p->lost = true;
            owner_lost(c, i);
        }
    }
}

/* ---- What this node tells itself */

static bool tell_self(struct claims *c, struct part *part, unsigned *steps, uint64_t now_ms)
{
    struct node_hold item;
    struct hold *hold;
    while (*steps > 0 && holder_next(c, part, steps, now_ms, &item, &hold)) {
        if (owner_take(c, CLAIMS_SELF, &item, now_ms) != CLAIMS_OK) {
            c->figures.no_memory++;
            return false;
        }
        holder_told(part, hold, item.kind, 0);
        holder_acked(c, part, 0);
        *steps -= *steps > 0;
    }
    if (*steps > 0) {
        c->busy &= ~PART_BIT(part_number(c, part));
    }
    return true;
}

static uint64_t own_busy(const struct claims *c)
{
    uint64_t busy = 0;
    for (uint64_t left = c->busy; left != 0; left &= left - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(left);
        busy |= c->parts[i].owner == CLAIMS_SELF ? PART_BIT(i) : 0;
    }
    return busy;
}

static void self_turn(struct claims *c, uint64_t now_ms)
{
    unsigned steps = c->conf.turn_steps;
    bool good = now_ms >= c->retry_ms;
    c->retry_ms = good ? 0 : c->retry_ms;
    for (uint64_t left = good ? own_busy(c) : 0; left != 0 && good; left &= left - 1) {
        good = tell_self(c, &c->parts[__builtin_ctzll(left)], &steps, now_ms);
    }
    c->retry_ms = good || c->retry_ms != 0 ? c->retry_ms : now_ms + c->conf.retry_ms;
    struct node_word word;
    for (; steps > 0 && owner_word(c, CLAIMS_SELF, &word); steps--) {
        holder_word(c, CLAIMS_SELF, &word);
    }
}

/* ---- Time */

void claims_turn(struct claims *c, uint64_t now_ms)
{
    losses_turn(c, now_ms);
    self_turn(c, now_ms);
    holder_turn(c, now_ms);
    owner_turn(c, now_ms);
}

static uint64_t asks_next_ms(const struct list *asks)
{
    const struct list *const l = list_first(asks);
    return l == NULL ? UINT64_MAX : list_object(l, struct ask, list)->due_ms;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t claims_next_ms(const struct claims *c)
{
    uint64_t next = owner_next_ms(c);
    next = least(next, least(asks_next_ms(&c->asks), asks_next_ms(&c->late_asks)));
    if (own_busy(c) != 0) {
        next = least(next, c->retry_ms);
    }
    if (!list_is_empty(&c->peers[CLAIMS_SELF].owed)) {
        next = 0;
    }
    for (unsigned i = 0; i < CLAIMS_PEERS_MAX; i++) {
        if (is_losing(&c->peers[i])) {
            next = least(next, c->peers[i].down_ms + c->conf.lost_ms);
        }
    }
    return next;
}

/* ---- Figures */

struct claims_figures claims_figures(const struct claims *c)
{
    return c->figures;
}

bool claims_holder(struct claims *c, uint64_t hash, struct bytes id, unsigned *peer,
                   uint64_t *serial)
{
    struct part *const part = part_of(c, hash);
    if (part->term == 0) {
        return false;
    }
    for (const struct record *r = registry_next(part, hash, id, NULL); r != NULL;
         r = registry_next(part, hash, id, r)) {
        if (r->state == RECORD_CURRENT) {
            *peer = r->peer;
            *serial = r->serial;
            return true;
        }
    }
    return false;
}

bool claims_check(struct claims *c)
{
    size_t holds = 0;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        holds += c->parts[i].holds.count;
        if ((c->parts[i].owner == CLAIMS_SELF) != (c->parts[i].term != 0)) {
            return false;
        }
    }
    return holds == c->figures.holds && owner_check(c);
}
