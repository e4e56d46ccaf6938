/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership_suite: memberships of three to seven nodes under all faults, some nodes leaving, their
 * keys being rotated, against what the world knows of them.
 *
 * At all times:
 *   - nobody of another cluster is in a view, and nothing sealed is taken twice
 *   - a view has no incarnation that its node never had; and of an incarnation that address and
 * that data which the node had then
 *   - who was seen dead, or to leave, is seen alive again only by a higher incarnation
 *   - no view breaks its own rules (membership_check), or its bounds
 *   - where nothing keeps messages from arriving, nobody who lives is called dead
 * In the end: each node that runs sees all others that run alive, as they are now, and nobody else.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/gossip_node.h"
#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define WHO_MAX         256u /* UUIDs that there ever were in a world */
#define STARTS_MAX      64u  /* of one of them */
#define HEARD_PLACES    65536u
#define KEYS            3u /* rotated through */
#define MEMBERS_MAX     16u
#define SIM_SUITE_NODES 12u /* of both clusters */

/* The data that a node tells: of which start and the how many-th it is. */
struct told {
    uint8_t node[UUID_BYTES];
    uint64_t generation;
    uint32_t number;
    uint32_t zero;
};

/* A node, as the world knows it. */
struct who {
    struct node_uuid node;
    struct incarnation highest; /* that it ever had */
    bool ours;
    struct node_address addresses[STARTS_MAX]; /* [generation] */
    uint32_t told;                             /* of the running start */
};

/* What a viewer, in its present start, has seen of somebody. */
struct seen {
    struct incarnation ended; /* the highest that was dead or had left; generation 0: none */
};

struct oracle {
    struct who who[WHO_MAX]; /* [who_count] */
    unsigned who_count;
    struct seen seen[SIM_SUITE_NODES][WHO_MAX];
    uint64_t
        heard[HEARD_PLACES]; /* a set of what was opened; by whom, whose, which: hashed. 0: free */
    unsigned heard_count;
    struct seal_key keys[KEYS];
    unsigned stage; /* of the rotation; all running nodes are there, or one before */
    unsigned stages[SIM_SUITE_NODES];
    uint64_t
        leaves_ms[SIM_SUITE_NODES]; /* world's time when a node that leaves ends; 0: it does not */
    uint64_t starts_ms[SIM_SUITE_NODES]; /* world's time when it starts again; 0: by nobody here */
    bool gentle;                         /* nothing keeps messages from arriving */
};

/* < 0: a is the older one. As the world has it, whatever incarnation_compare() does. */
static int order(struct incarnation a, struct incarnation b)
{
    const unsigned __int128 x = (unsigned __int128)a.generation << 32 | a.version;
    const unsigned __int128 y = (unsigned __int128)b.generation << 32 | b.version;
    return (x > y) - (x < y);
}

static struct oracle *oracle_of(struct sim *sim)
{
    return sim_suite_state(sim);
}

static struct who *who_find(struct oracle *o, struct node_uuid node)
{
    for (unsigned i = 0; i < o->who_count; i++) {
        if (node_uuid_equal(o->who[i].node, node)) {
            return &o->who[i];
        }
    }
    return NULL;
}

static void note_highest(struct oracle *o, const struct gossip_node *g)
{
    struct who *const who = who_find(o, sim_identity(g->node)->node);
    const struct incarnation now = membership_self(g->membership)->incarnation;
    if (order(now, who->highest) > 0) {
        who->highest = now;
    }
}

/* ---- Keys: of stage 3k + 0 only key k; then k and k + 1 open; then k + 1 seals, and k opens. */

static unsigned ring_of(const struct gossip_node *g, struct seal_key keys[SEAL_KEYS_MAX])
{
    struct oracle *const o = oracle_of(sim_of(g->node));
    const unsigned stage = o->stages[sim_index(g->node)];
    const struct seal_key *const now = &o->keys[stage / 3 % KEYS];
    const struct seal_key *const next = &o->keys[(stage / 3 + 1) % KEYS];
    keys[0] = stage % 3 == 2 ? *next : *now;
    keys[1] = stage % 3 == 2 ? *now : *next;
    return stage % 3 == 0 ? 1 : 2;
}

static void rotate(struct sim *sim, struct oracle *o)
{
    const unsigned i = random_below(sim_world_random(sim), sim_nodes(sim));
    struct gossip_node *const g = sim_running(sim_node(sim, i));
    if (g != NULL && o->stages[i] < o->stage) {
        struct seal_key keys[SEAL_KEYS_MAX];
        o->stages[i] = o->stage;
        seal_set_keys(g->seal, keys, ring_of(g, keys));
    }
    for (unsigned k = 0; k < sim_nodes(sim); k++) {
        if (sim_running(sim_node(sim, k)) != NULL && o->stages[k] != o->stage) {
            return;
        }
    }
    o->stage += random_below(sim_world_random(sim), 20) == 0;
}

/* ---- What nodes do and see */

static void on_start(struct gossip_node *g)
{
    struct oracle *const o = oracle_of(sim_of(g->node));
    const struct identity *const identity = sim_identity(g->node);
    struct who *who = who_find(o, identity->node);
    if (who == NULL) {
        assert(o->who_count < WHO_MAX);
        who = &o->who[o->who_count++];
        *who = (struct who){.node = identity->node, .ours = sim_is_ours(g->node)};
    }
    assert(identity->generation < STARTS_MAX);
    who->addresses[identity->generation] = sim_address(g->node);
    who->told = 0;
    o->stages[sim_index(g->node)] = o->stage; /* its configuration is the newest */
    note_highest(o, g);
    memset(o->seen[sim_index(g->node)], 0, sizeof o->seen[0]);
}

static void on_stop(struct gossip_node *g)
{
    note_highest(oracle_of(sim_of(g->node)), g);
}

static bool runs(struct sim *sim, struct node_uuid node)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        if (sim_running(sim_node(sim, i)) != NULL &&
            node_uuid_equal(sim_identity(sim_node(sim, i))->node, node)) {
            return true;
        }
    }
    return false;
}

static void on_ended(struct gossip_node *g, struct seen *seen, const struct member *member)
{
    struct sim *const sim = sim_of(g->node);
    if (order(member->incarnation, seen->ended) > 0) {
        seen->ended = member->incarnation;
    }
    if (oracle_of(sim)->gentle && member->state == MEMBER_DEAD && runs(sim, member->node)) {
        sim_fail(sim, "node %u calls %.*s dead, which lives, and all messages arrive",
                 sim_index(g->node), member->name_len, member->name);
    }
}

static void on_event(struct gossip_node *g, enum membership_event event,
                     const struct member *member)
{
    struct sim *const sim = sim_of(g->node);
    struct oracle *const o = oracle_of(sim);
    const struct who *const who = who_find(o, member->node);
    if (who == NULL || who->ours != sim_is_ours(g->node)) {
        sim_fail(sim, "node %u hears of %.*s, which is not of its cluster", sim_index(g->node),
                 member->name_len, member->name);
        return;
    }
    struct seen *const seen = &o->seen[sim_index(g->node)][who - o->who];
    switch (event) {
    case MEMBERSHIP_DIED:
    case MEMBERSHIP_LEFT:
        on_ended(g, seen, member);
        break;
    case MEMBERSHIP_CONFLICT:
        sim_fail(sim, "node %u is told that it is not the only one", sim_index(g->node));
        break;
    case MEMBERSHIP_FORGOTTEN:
        break;
    default:
        if (order(member->incarnation, seen->ended) <= 0) {
            sim_fail(sim, "node %u sees %.*s alive, which was dead with that incarnation",
                     sim_index(g->node), member->name_len, member->name);
        }
        break;
    }
}

/* Nothing is opened twice by one start of a node. */
static void on_opened(struct gossip_node *g, const struct seal_sender *sender)
{
    struct sim *const sim = sim_of(g->node);
    struct oracle *const o = oracle_of(sim);
    const struct who *const who = who_find(o, sender->node);
    if (who == NULL || who->ours != sim_is_ours(g->node)) {
        sim_fail(sim, "node %u opens what another cluster has sealed", sim_index(g->node));
        return;
    }
    const struct identity *const own = sim_identity(g->node);
    const uint64_t receiver = (uint64_t)(who_find(o, own->node) - o->who) << 32 | own->generation;
    struct random hash = {.state = receiver};
    hash.state ^= random_next(&hash) ^ ((uint64_t)(who - o->who) << 48 | sender->generation);
    hash.state ^= random_next(&hash) ^ sender->counter;
    const uint64_t key = random_next(&hash) | 1;
    if (o->heard_count > HEARD_PLACES / 2) {
        return; /* enough of them were looked at */
    }
    size_t at = key % HEARD_PLACES;
    while (o->heard[at] != 0 && o->heard[at] != key) {
        at = (at + 1) % HEARD_PLACES;
    }
    if (o->heard[at] == key) {
        sim_fail(sim, "node %u opens message %llu of somebody twice", sim_index(g->node),
                 (unsigned long long)sender->counter);
    }
    o->heard[at] = key;
    o->heard_count++;
}

/* ---- What users do */

static void tell_data(struct sim *sim, struct oracle *o, unsigned index)
{
    struct gossip_node *const g = sim_running(sim_node(sim, index));
    struct who *const who = who_find(o, sim_identity(g->node)->node);
    struct told told = {.generation = sim_identity(g->node)->generation, .number = ++who->told};
    memcpy(told.node, who->node.bytes, UUID_BYTES);
    membership_set_data(g->membership, sim_now_ms(g->node), bytes_of(&told, sizeof told));
    gossip_node_rearm(g);
}

static void leave(struct sim *sim, struct oracle *o, unsigned index)
{
    struct gossip_node *const g = sim_running(sim_node(sim, index));
    if (o->leaves_ms[index] != 0) {
        return;
    }
    sim_note(g->node, "leaves");
    membership_leave(g->membership, sim_now_ms(g->node),
                     random_below(sim_world_random(sim), 2) == 0);
    gossip_node_rearm(g);
    g->leaving = true;
    o->leaves_ms[index] = sim_time_ms(sim) + 1000 + random_below(sim_world_random(sim), 3000);
}

/* An operator forgets one that this node takes for dead, whether it is or not. */
static void forget(struct sim *sim, unsigned index)
{
    struct gossip_node *const g = sim_running(sim_node(sim, index));
    const struct member *member;
    for (size_t k = 1; (member = membership_at(g->membership, k)) != NULL; k++) {
        if (member->state == MEMBER_DEAD) {
            const enum membership_forgotten was =
                membership_forget(g->membership, sim_now_ms(g->node), member->node);
            if (was != MEMBERSHIP_IS_GONE) {
                sim_fail(sim, "node %u does not forget %.*s", index, member->name_len,
                         member->name);
            }
            gossip_node_rearm(g);
            return;
        }
    }
}

static void end_leave(struct sim *sim, struct oracle *o, unsigned index)
{
    const struct gossip_node *const g = sim_running(sim_node(sim, index));
    o->leaves_ms[index] = 0;
    if (g == NULL || !g->leaving) {
        return; /* it has died before */
    }
    sim_crash(sim, index);
    o->starts_ms[index] = sim_time_ms(sim) + 1 + random_below(sim_world_random(sim), 20000);
}

static void users(struct sim *sim)
{
    struct oracle *const o = oracle_of(sim);
    struct random *const random = sim_world_random(sim);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct gossip_node *const g = sim_running(sim_node(sim, i));
        o->starts_ms[i] = g != NULL ? 0 : o->starts_ms[i]; /* by somebody else */
        if (o->leaves_ms[i] != 0 && o->leaves_ms[i] <= sim_time_ms(sim)) {
            end_leave(sim, o, i);
        } else if (g == NULL && o->starts_ms[i] != 0 && o->starts_ms[i] <= sim_time_ms(sim)) {
            o->starts_ms[i] = 0;
            sim_start(sim, i);
        } else if (g != NULL && !sim_is_paused(g->node) && random_below(random, 400) == 0) {
            tell_data(sim, o, i);
        } else if (g != NULL && !sim_is_paused(g->node) && !sim_is_calm(sim) &&
                   random_below(random, 2000) == 0) {
            leave(sim, o, i);
        } else if (g != NULL && !sim_is_paused(g->node) && random_below(random, 500) == 0) {
            forget(sim, i);
        }
    }
    rotate(sim, o);
}

/* ---- What must hold */

static void check_member(struct sim *sim, const struct gossip_node *g, const struct member *member)
{
    const struct who *const who = who_find(oracle_of(sim), member->node);
    if (who == NULL || who->ours != sim_is_ours(g->node)) {
        sim_fail(sim, "%.*s is seen by node %u, and is not of its cluster", member->name_len,
                 member->name, sim_index(g->node));
        return;
    }
    const struct incarnation i = member->incarnation;
    if (order(i, who->highest) > 0) {
        sim_fail(sim, "node %u sees %.*s with version %u, which it never had", sim_index(g->node),
                 member->name_len, member->name, i.version);
        return;
    }
    if (member->state != MEMBER_DEAD && member->state != MEMBER_LEFT &&
        !node_address_equal(&member->address, &who->addresses[i.generation])) {
        sim_fail(sim, "node %u sees %.*s at an address of another start", sim_index(g->node),
                 member->name_len, member->name);
    }
    struct told told;
    if (member->data_len == sizeof told) {
        memcpy(&told, member->data, sizeof told);
        const bool living = member->state == MEMBER_ALIVE || member->state == MEMBER_SUSPECT;
        if (memcmp(told.node, member->node.bytes, UUID_BYTES) != 0 ||
            (living && told.generation != i.generation)) {
            sim_fail(sim, "node %u has data of another one, or start, for %.*s", sim_index(g->node),
                     member->name_len, member->name);
        }
    } else if (member->data_len != 0) {
        sim_fail(sim, "node %u has a part of the data of %.*s", sim_index(g->node),
                 member->name_len, member->name);
    }
}

static void check(struct sim *sim)
{
    struct oracle *const o = oracle_of(sim);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct gossip_node *const g = sim_running(sim_node(sim, i));
        if (g != NULL) {
            note_highest(o, g);
        }
    }
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct gossip_node *const g = sim_running(sim_node(sim, i));
        if (g == NULL) {
            continue;
        }
        if (!membership_check(g->membership)) {
            sim_fail(sim, "node %u has a table that breaks its rules", i);
        }
        const struct member *member;
        for (size_t k = 1; (member = membership_at(g->membership, k)) != NULL; k++) {
            check_member(sim, g, member);
        }
    }
}

/* ---- What must come true */

static bool sees(const struct gossip_node *g, const struct gossip_node *other)
{
    const struct member *const self = membership_self(other->membership);
    const struct member *const seen = membership_find(g->membership, self->node);
    if (self->state == MEMBER_LEFT) {
        return seen == NULL || seen->state == MEMBER_LEFT;
    }
    return seen != NULL && seen->state == MEMBER_ALIVE &&
           order(seen->incarnation, self->incarnation) == 0 &&
           node_address_equal(&seen->address, &self->address) &&
           bytes_equal(bytes_of(seen->data, seen->data_len), bytes_of(self->data, self->data_len));
}

static bool sees_all(struct sim *sim, const struct gossip_node *g)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct gossip_node *const other = sim_running(sim_node(sim, i));
        if (other != NULL && other != g && sim_is_ours(other->node) == sim_is_ours(g->node) &&
            !sees(g, other)) {
            return false;
        }
    }
    const struct member *member;
    for (size_t k = 1; (member = membership_at(g->membership, k)) != NULL; k++) {
        if (member->state != MEMBER_DEAD && member->state != MEMBER_LEFT &&
            !runs(sim, member->node)) {
            return false;
        }
    }
    return true;
}

static bool is_converged(struct sim *sim)
{
    const struct oracle *const o = oracle_of(sim);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct gossip_node *const g = sim_running(sim_node(sim, i));
        if (o->leaves_ms[i] != 0 || o->starts_ms[i] != 0) {
            return false;
        }
        if (g != NULL && sim_is_ours(g->node) && !sees_all(sim, g)) {
            return false;
        }
    }
    return true;
}

static void *begin(struct sim *sim)
{
    struct oracle *o = calloc(1, sizeof *o);
    assert(o != NULL);
    assert(sim_nodes(sim) <= SIM_SUITE_NODES);
    for (unsigned i = 0; i < KEYS; i++) {
        for (unsigned k = 0; k < SEAL_KEY_BYTES; k++) {
            o->keys[i].bytes[k] = (uint8_t)random_next(sim_world_random(sim));
        }
    }
    o->gentle = (sim_faults(sim) &
                 ~(uint32_t)(SIM_DUPLICATION | SIM_CLOCKS | SIM_NEW_ADDRESS | SIM_STREAM_CUT |
                             SIM_STREAM_STALL | SIM_DISK_WIPE | SIM_OTHER_CLUSTER)) == 0;
    gossip_rules = (struct gossip_rules){.conf = membership_lan(),
                                         .sealed = true,
                                         .ring = ring_of,
                                         .on_start = on_start,
                                         .on_stop = on_stop,
                                         .on_event = on_event,
                                         .on_opened = on_opened};
    gossip_rules.conf.members_max = MEMBERS_MAX;
    gossip_rules.conf.tombstones_max = WHO_MAX;
    return o;
}

static void end(struct sim *sim)
{
    free(oracle_of(sim));
}

const struct sim_suite membership_suite = {
    .name = "membership",
    .module = &gossip_module,
    .faults = SIM_FAULTS_ALL & ~(uint32_t)(SIM_DISK_LOSS | SIM_DISK_TORN | SIM_DISK_ERROR),
    .nodes_min = 2,
    .nodes_max = 7,
    .datagram_bytes_max = 1200,
    .check_every_ms = 250,
    .safety_ms = 90000,
    .liveness_ms = 180000,
    .begin = begin,
    .end = end,
    .act = users,
    .check = check,
    .is_converged = is_converged,
};
