/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claims_suite: clients of a few ids come to, and leave, two to five nodes, under all that can
 * happen to streams, nodes and clocks; and nodes take each other for dead that are not. Owners are
 * found by hash, or appointed.
 *
 * At all times:
 *   - nobody is attached by an owner's word that is sure while another one is, whom the same owner
 *     has attached before; nor, sure or not, before that one had its 500 ms to close
 *   - an owner's claims of an id rise
 *   - a will is of a client that was lost (closed without a word, died with its node, or was taken
 * for lost by the owner), not before its delay; not after the owner has taken a clean end; not if
 * the owner has attached the client again in time; and once, of one owner
 *   - who comes to a node that runs is attached, or kicked, in time
 * In the end: of each id one holder at most is left, and its owner knows it; nodes have nothing
 * that is over; each will that was due was published.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/claims_node.h"
#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define LIVES_MAX     16384u
#define KICK_MS       500u
#define DELAY_MAX_S   8u
#define ANSWER_MS     5600u /* answer_ms, a clock that is wrong by 1 %, a check */
#define DOUBT_MAX_MS  25000u
#define CLOSE_MAX_MS  900u
#define ON_THE_WAY_MS 10000u /* so long a frame may take */

struct oracle {
    struct life lives[LIVES_MAX]; /* [0, count) in the order in which they came */
    uint32_t count;
    unsigned doubt_every; /* checks, until a node takes another one for dead; 0: never */
    /* Of half of the worlds: owners are appointed, and nodes hear of it at different times. */
    bool appoints;
    unsigned owners[NODE_CLAIM_PARTITIONS];
};

static struct oracle *oracle_of(const struct claims_node *n)
{
    return sim_suite_state(sim_of(n->links->node));
}

static uint64_t world_ms(const struct claims_node *n)
{
    return sim_time_ms(sim_of(n->links->node)) + 1; /* 0 is never */
}

static struct claims_node *node_at(struct sim *sim, unsigned index)
{
    const struct link_node *const links = sim_running(sim_node(sim, index));
    return links != NULL && sim_is_ours(sim_node(sim, index)) ? links->rider : NULL;
}

/* The node that runs under that identity; NULL: none. */
static struct claims_node *node_of(struct sim *sim, struct node_uuid uuid, uint64_t generation)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct identity *const self = sim_identity(sim_node(sim, i));
        if (node_at(sim, i) != NULL && node_uuid_equal(self->node, uuid) &&
            self->generation == generation) {
            return node_at(sim, i);
        }
    }
    return NULL;
}

static bool is_owner(const struct life *life, const struct claims_node *n)
{
    const struct identity *const self = sim_identity(n->links->node);
    return life->attached_ms != 0 && !life->degraded && node_uuid_equal(life->owner, self->node) &&
           life->owner_generation == self->generation;
}

static bool same_owner(const struct life *a, const struct life *b)
{
    return !a->degraded && !b->degraded && node_uuid_equal(a->owner, b->owner) &&
           a->owner_generation == b->owner_generation;
}

/* Has that owner known of this life ever since it has attached it? */
static bool has_known(const struct claims_node *owner, const struct life *life)
{
    const uint64_t since = owner->own_since_ms[life->id];
    return is_owner(life, owner) && since != 0 && since < life->attached_ms &&
           (life->index == sim_index(owner->links->node) ||
            owner->lost_ms[life->index] < life->begun_ms);
}

/* ---- What nodes tell */

static uint64_t about(uint64_t ms)
{
    return ms * 97 / 100; /* clocks are wrong by 1 % at either end */
}

static void check_alone(struct claims_node *n, const struct life *life)
{
    struct oracle *const o = oracle_of(n);
    struct sim *const sim = sim_of(n->links->node);
    const struct claims_node *const owner = node_of(sim, life->owner, life->owner_generation);
    for (uint32_t i = 0; owner != NULL && i < o->count; i++) {
        const struct life *const other = &o->lives[i];
        if (other != life && other->id == life->id && other->ended_ms == 0 &&
            other->claim < life->claim && has_known(owner, other) && has_known(owner, life)) {
            sim_fail(sim, "client %u is attached at node %u, and is still at node %u", life->id,
                     life->index, other->index);
        }
    }
}

static void check_rise(struct claims_node *n, const struct life *life)
{
    const struct oracle *const o = oracle_of(n);
    for (uint32_t i = 0; i < o->count; i++) {
        const struct life *const other = &o->lives[i];
        if (other != life && other->id == life->id && other->attached_ms != 0 &&
            other->attached_ms < life->begun_ms && same_owner(other, life) &&
            other->claim >= life->claim) {
            sim_fail(sim_of(n->links->node), "the claims of client %u do not rise", life->id);
        }
    }
}

static void on_attached(struct claims_node *n, struct claims_client *client,
                        const struct claims_grant *grant)
{
    struct life *const life = client->life;
    life->attached_ms = world_ms(n);
    life->degraded = grant->degraded;
    life->claim = grant->claim;
    if (!grant->degraded) {
        check_rise(n, life);
        if (!grant->unsure || life->attached_ms < life->begun_ms + about(KICK_MS)) {
            check_alone(n, life);
        }
    }
}

/* Whether another client of the id may have come to an owner after that one. */
static bool has_later(const struct oracle *o, const struct life *life, bool clean)
{
    for (uint32_t i = 0; i < o->count; i++) {
        const struct life *const other = &o->lives[i];
        if (other != life && other->id == life->id && (other->clean || !clean) &&
            (other->ended_ms == 0 || other->ended_ms + ON_THE_WAY_MS > life->begun_ms)) {
            return true;
        }
    }
    return false;
}

/* ... and begun a new session, so that the delay is over. */
static bool is_cut_short(const struct oracle *o, const struct life *life)
{
    return has_later(o, life, true);
}

static bool is_due(const struct claims_node *n, const struct life *life)
{
    const uint64_t delay = is_cut_short(oracle_of(n), life) ? 0 : about(life->delay_ms);
    const uint64_t lost = life->index == sim_index(n->links->node) ? 0 : n->lost_ms[life->index];
    const uint64_t t = world_ms(n) + 1;
    /* With its node a clean end may be lost that the owner has not heard of. */
    const bool untold =
        node_of(sim_of(n->links->node), life->key.node, life->key.generation) == NULL;
    const bool ended = life->ended_ms != 0 && (!life->ended_clean || life->crashed || untold);
    return (ended && t >= life->ended_ms + delay) || (lost > life->begun_ms && t >= lost + delay);
}

/* Did the owner attach the client again before the delay was over? */
static bool is_back(const struct claims_node *owner, const struct life *life)
{
    const struct oracle *const o = oracle_of(owner);
    for (uint32_t i = 0; life->delay_ms > 0 && life->ended_ms != 0 && i < o->count; i++) {
        const struct life *const other = &o->lives[i];
        if (other->id == life->id && !other->clean && other->begun_ms > life->ended_ms &&
            is_owner(other, owner) && other->attached_ms > 0 &&
            other->attached_ms < life->ended_ms + about(life->delay_ms)) {
            return true;
        }
    }
    return false;
}

static void check_will(struct claims_node *n, const struct life *life)
{
    struct sim *const sim = sim_of(n->links->node);
    const struct identity *const self = sim_identity(n->links->node);
    const unsigned me = sim_index(n->links->node);
    const uint64_t since = n->own_since_ms[life->id];
    if (life->taker_generation == self->generation && node_uuid_equal(life->taker, self->node)) {
        sim_fail(sim, "node %u publishes a will of client %u, which has ended cleanly", me,
                 life->id);
    }
    if (!is_due(n, life)) {
        sim_fail(sim, "node %u publishes a will of client %u, which is not due", me, life->id);
    }
    if (has_known(n, life) && is_back(n, life) && !is_cut_short(oracle_of(n), life)) {
        sim_fail(sim, "node %u publishes a will of client %u, which has come back", me, life->id);
    }
    if (life->wills > 0 && life->publisher_generation == self->generation &&
        node_uuid_equal(life->publisher, self->node) && since != 0 && since < life->published_ms &&
        (life->index == me || n->lost_ms[life->index] < life->begun_ms)) {
        sim_fail(sim, "node %u publishes a will of client %u twice", me, life->id);
    }
}

static void on_will(struct claims_node *n, const struct claims_key *whose, unsigned id,
                    uint32_t number)
{
    struct oracle *const o = oracle_of(n);
    if (number >= o->count || o->lives[number].id != id ||
        !node_uuid_equal(o->lives[number].key.node, whose->node) ||
        o->lives[number].key.generation != whose->generation ||
        o->lives[number].key.serial != whose->serial || !o->lives[number].has_will) {
        sim_fail(sim_of(n->links->node), "a will of another client");
        return;
    }
    struct life *const life = &o->lives[number];
    check_will(n, life);
    life->wills++;
    life->publisher = sim_identity(n->links->node)->node;
    life->publisher_generation = sim_identity(n->links->node)->generation;
    life->published_ms = world_ms(n);
}

static uint64_t on_kick_ms(struct claims_node *n)
{
    return sim_random(n->links->node) % CLOSE_MAX_MS;
}

/* ---- What clients do */

static void come(struct claims_node *n, struct random *r)
{
    struct oracle *const o = oracle_of(n);
    if (o->count == LIVES_MAX) {
        return;
    }
    struct life *const life = &o->lives[o->count];
    *life = (struct life){.index = sim_index(n->links->node),
                          .id = random_below(r, CLAIMS_IDS),
                          .clean = random_below(r, 8) == 0,
                          .has_will = random_below(r, 3) > 0,
                          .begun_ms = world_ms(n)};
    life->delay_ms = random_below(r, 3) == 0 ? 0 : 1000ul * (1 + random_below(r, DELAY_MAX_S));
    o->count += claims_node_attach(n, life, o->count);
}

static void leave(struct claims_node *n, struct random *r)
{
    struct claims_client *const client = &n->clients[random_below(r, CLAIMS_CLIENTS)];
    if (client->life != NULL && client->life->ended_ms == 0) {
        claims_node_detach(n, client, random_below(r, 3) == 0 ? CLAIMS_CLEAN : CLAIMS_LOST);
    }
}

static void doubt(struct claims_node *n, struct random *r)
{
    const unsigned peer = random_below(r, link_node_peers(n->links));
    if (peer != sim_index(n->links->node)) {
        n->links->peers[peer].doubted_ms =
            sim_time_ms(sim_of(n->links->node)) + random_below(r, DOUBT_MAX_MS);
    }
}

/* What a node that leads the partition would hear at once, and others later. */
static void hear_of_owners(struct claims_node *n)
{
    const struct oracle *const o = oracle_of(n);
    const unsigned self = sim_index(n->links->node);
    for (unsigned id = 0; id < CLAIMS_IDS; id++) {
        const unsigned partition = node_claim_partition(claims_id_hash(n, id));
        const unsigned owner = o->owners[partition];
        if (owner == self || n->used[owner]) {
            claims_appoint(n->claims, partition, owner == self ? CLAIMS_SELF : owner,
                           sim_now_ms(n->links->node));
        }
    }
}

static void appoint(struct sim *sim)
{
    struct oracle *const o = sim_suite_state(sim);
    struct random *const r = sim_world_random(sim);
    for (unsigned p = 0; p < NODE_CLAIM_PARTITIONS; p++) {
        const bool is_there = node_at(sim, o->owners[p]) != NULL;
        if (sim_is_calm(sim) ? !is_there : random_below(r, 200) == 0) {
            o->owners[p] = random_below(r, sim_nodes(sim));
        }
    }
}

static void close_kicked(struct claims_node *n)
{
    for (unsigned i = 0; i < CLAIMS_CLIENTS; i++) {
        struct claims_client *const client = &n->clients[i];
        if (client->life != NULL && client->life->ended_ms == 0 && client->closing &&
            client->close_ms <= world_ms(n)) {
            claims_node_detach(n, client, CLAIMS_LOST);
        }
    }
}

static void act(struct sim *sim)
{
    struct random *const r = sim_world_random(sim);
    if (((struct oracle *)sim_suite_state(sim))->appoints) {
        appoint(sim);
    }
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct claims_node *const n = node_at(sim, i);
        if (n == NULL || sim_is_paused(sim_node(sim, i))) {
            continue;
        }
        close_kicked(n);
        if (oracle_of(n)->appoints && (sim_is_calm(sim) || random_below(r, 20) == 0)) {
            hear_of_owners(n);
        }
        if (!sim_is_calm(sim)) {
            if (random_below(r, 8) == 0) {
                come(n, r);
            }
            if (random_below(r, 3) == 0) {
                leave(n, r);
            }
            const unsigned every = oracle_of(n)->doubt_every;
            if (every > 0 && random_below(r, every) == 0) {
                doubt(n, r);
            }
        } else {
            for (unsigned k = 0; k < LINK_NODES_MAX; k++) {
                n->links->peers[k].doubted_ms = 0;
            }
        }
        link_node_go_on(n->links);
    }
}

/* ---- What must hold */

static void check_answered(struct claims_node *n)
{
    struct sim *const sim = sim_of(n->links->node);
    const uint64_t t = world_ms(n);
    const uint64_t paused = sim_paused_ms(n->links->node);
    for (unsigned i = 0; i < CLAIMS_CLIENTS; i++) {
        const struct claims_client *const client = &n->clients[i];
        if (client->life == NULL || client->life->ended_ms != 0 || client->attached ||
            client->closing) {
            continue;
        }
        const uint64_t since = paused > client->life->begun_ms ? paused : client->life->begun_ms;
        if (t > since + ANSWER_MS) {
            sim_fail(sim, "node %u does not answer client %u", sim_index(n->links->node),
                     client->life->id);
        }
    }
}

static void check(struct sim *sim)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct claims_node *const n = node_at(sim, i);
        if (n == NULL || sim_is_paused(sim_node(sim, i))) {
            continue;
        }
        check_answered(n);
        if (!claims_check(n->claims)) {
            sim_fail(sim, "node %u: its claims do not fit together", i);
        }
    }
}

/* ---- What must come true */

/* The holder of an id, in the world: NULL: none. *count of them. */
static struct life *holder_of(struct sim *sim, unsigned id, unsigned *count)
{
    struct life *holder = NULL;
    *count = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct claims_node *const n = node_at(sim, i);
        for (unsigned k = 0; n != NULL && k < CLAIMS_CLIENTS; k++) {
            struct life *const life = n->clients[k].life;
            if (life != NULL && life->id == id && life->ended_ms == 0) {
                holder = n->clients[k].attached && !n->clients[k].closing ? life : holder;
                *count += 1;
            }
        }
    }
    return holder;
}

/* Its owner, and nobody else, knows where it is. */
static bool is_known(struct sim *sim, unsigned id, const struct life *holder)
{
    unsigned owners = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct claims_node *const n = node_at(sim, i);
        if (n == NULL || claims_owner(n->claims, claims_id_hash(n, id)) != CLAIMS_SELF) {
            continue;
        }
        unsigned peer = 0;
        uint64_t serial = 0;
        owners++;
        const bool known =
            claims_holder(n->claims, claims_id_hash(n, id), claims_id(id), &peer, &serial);
        const unsigned index = peer == CLAIMS_SELF ? i : peer;
        if (known != (holder != NULL) ||
            (known && (index != holder->index || serial != holder->key.serial))) {
            return false;
        }
    }
    return owners == 1;
}

/* It was lost, its holder or its owner has lived to tell, and nothing has made the will void. */
static bool is_owed(struct sim *sim, const struct oracle *o, const struct life *life)
{
    if (!life->has_will || life->attached_ms == 0 || life->ended_ms == 0 || life->ended_clean ||
        (life->delay_ms > 0 && has_later(o, life, false))) {
        return false;
    }
    const struct claims_node *const holder = node_of(sim, life->key.node, life->key.generation);
    const struct claims_node *const owner = node_of(sim, life->owner, life->owner_generation);
    if (!life->crashed) {
        return holder != NULL;
    }
    return owner != NULL && has_known(owner, life) && !has_later(o, life, false);
}

static bool is_converged(struct sim *sim)
{
    struct oracle *const o = sim_suite_state(sim);
    uint64_t holds = 0, records = 0, clients = 0;
    for (unsigned id = 0; id < CLAIMS_IDS; id++) {
        unsigned count;
        const struct life *const holder = holder_of(sim, id, &count);
        if (count > 1 || (count == 1 && holder == NULL) || !is_known(sim, id, holder)) {
            return false;
        }
        clients += count;
    }
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        if (node_at(sim, i) != NULL) {
            const struct claims_figures f = claims_figures(node_at(sim, i)->claims);
            holds += f.holds;
            records += f.records - f.copies;
        }
    }
    for (uint32_t i = 0; i < o->count; i++) {
        if (o->lives[i].wills == 0 && is_owed(sim, o, &o->lives[i])) {
            return false;
        }
    }
    return holds == clients && records == clients;
}

/* ---- The rest of the links' rules: nothing else is sent */

static uint64_t on_link(struct link_peer *to)
{
    (void)to;
    return 1;
}

static void on_numbered(struct link_peer *from, uint64_t start, uint64_t number, uint64_t seq)
{
    (void)start;
    (void)number;
    (void)seq;
    sim_fail(sim_of(from->self->node), "a message that nobody has sent");
}

static void on_lost(struct link_peer *to, uint64_t first, uint64_t last)
{
    (void)first;
    (void)last;
    sim_fail(sim_of(to->self->node), "a message is lost that nobody has sent");
}

static void on_reached(struct link_node *n, uint64_t token, uint32_t without)
{
    (void)token;
    (void)without;
    sim_fail(sim_of(n->node), "nobody has waited for that");
}

static void *begin(struct sim *sim)
{
    struct oracle *const o = calloc(1, sizeof *o);
    assert(o != NULL);
    assert(sim_nodes(sim) <= LINK_NODES_MAX);
    static const unsigned doubts[] = {0, 150, 400, 1000};
    o->doubt_every = doubts[random_below(sim_world_random(sim), 4)];
    o->appoints = random_below(sim_world_random(sim), 2) == 0;
    link_rules = (struct link_rules){.rider = &claims_rider,
                                     .on_link = on_link,
                                     .on_numbered = on_numbered,
                                     .on_lost = on_lost,
                                     .on_reached = on_reached};
    claims_rules =
        (struct claims_rules){.attached = on_attached, .will = on_will, .kick_ms = on_kick_ms};
    return o;
}

static void end(struct sim *sim)
{
    free(sim_suite_state(sim));
}

const struct sim_suite claims_suite = {
    .name = "claims",
    .module = &link_module,
    .faults = LINK_FAULTS,
    .nodes_min = 2,
    .nodes_max = 5,
    .check_every_ms = 50,
    .safety_ms = 90000,
    .liveness_ms = 90000,
    .begin = begin,
    .end = end,
    .act = act,
    .check = check,
    .is_converged = is_converged,
};
