/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_suite: three to seven nodes with empty disks, that come to be a cluster; members come,
 * leave, are removed, and lose their volumes, which makes them others; partitions move behind them.
 *
 * At all times:
 *   - two formations that have a node in common never both come about; a node is of one cluster;
 * and there is one cluster, unless volumes were lost or initial_size is half of the nodes, or less
 *   - META's state is the same at each index, from whichever snapshot it was read; each number is
 *     one node's; what meta_encode() writes is read as it was
 *   - what meta_model.h says of partitions
 * In the end, where a majority of META's voters is left: all that run are members and have the same
 * state; who is gone is not any more; every partition that has not lost its majority is where it
 * should be, and commits.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/meta/placement.h"
#include "tests/sim/meta_model.h"
#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define INDEXES_MAX 65536u
#define GONE_MS     15000u /* until an operator has noticed */

struct known_node {
    struct node_uuid uuid;
    struct cluster_uuid cluster; /* that it is a member of; none: of none yet */
    unsigned index;
};

/* A formation that has come about. */
struct known_cluster {
    struct cluster_uuid cluster;
    struct node_uuid members[NODE_META_FORM_MAX];
    unsigned count;
};

struct books {
    unsigned initial_size;
    struct known_node nodes[META_SEEN_MAX];
    unsigned nodes_count;
    struct known_cluster clusters[META_SEEN_MAX];
    unsigned clusters_count;
    uint64_t sums[INDEXES_MAX]; /* by index: the hash of META's state; of clusters[0] */
    bool started[INDEXES_MAX];  /* what it has meant for partitions was looked at */
    struct meta_model *model;
    bool was_calm;
    bool changes_replicas;
    bool has_asked_to_leave;
    uint64_t last_applied;
};

static struct books *books_of(struct sim *sim)
{
    return sim_suite_state(sim);
}

static unsigned initial_size(struct sim *sim)
{
    return books_of(sim)->initial_size;
}

/* ---- Clusters */

static struct known_node *known_node(struct books *b, struct node_uuid uuid, unsigned index)
{
    for (unsigned i = 0; i < b->nodes_count; i++) {
        if (node_uuid_equal(b->nodes[i].uuid, uuid)) {
            return &b->nodes[i];
        }
    }
    assert(b->nodes_count < META_SEEN_MAX);
    b->nodes[b->nodes_count] = (struct known_node){.uuid = uuid, .index = index};
    return &b->nodes[b->nodes_count++];
}

static bool has_lost_volumes(struct sim *sim)
{
    return books_of(sim)->nodes_count > sim_nodes(sim);
}

static void no_node_twice(struct sim *sim, const struct known_cluster *c)
{
    const struct books *const b = books_of(sim);
    for (unsigned i = 0; i < b->clusters_count; i++) {
        const struct known_cluster *const other = &b->clusters[i];
        for (unsigned k = 0; other != c && k < c->count * other->count; k++) {
            if (node_uuid_equal(c->members[k % c->count], other->members[k / c->count])) {
                sim_fail(sim, "two clusters were formed of one node");
            }
        }
    }
}

static void remember_cluster(struct meta_node *n)
{
    struct sim *const sim = sim_of(n->node);
    struct books *const b = books_of(sim);
    const struct cluster_uuid cluster = formation_cluster(n->formation);
    struct bytes rest = formation_members(n->formation);
    struct node_meta_node node;
    for (unsigned i = 0; i < b->clusters_count; i++) {
        if (cluster_uuid_equal(b->clusters[i].cluster, cluster)) {
            return;
        }
    }
    if (rest.len == 0) {
        sim_fail(sim, "node %u is of a cluster that nobody has formed", sim_index(n->node));
        return;
    }
    struct known_cluster *const c = &b->clusters[b->clusters_count++];
    c->cluster = cluster;
    while (rest.len > 0 && node_meta_node_next(&rest, &node)) {
        c->members[c->count++] = node.uuid;
    }
    if (c->count != b->initial_size) {
        sim_fail(sim, "a cluster is formed of %u nodes", c->count);
    }
    no_node_twice(sim, c);
    if (b->clusters_count > 1 && 2 * b->initial_size > sim_nodes(sim) && !has_lost_volumes(sim)) {
        sim_fail(sim, "a second cluster is formed");
    }
}

static void on_formed(struct meta_node *n)
{
    struct books *const b = books_of(sim_of(n->node));
    struct known_node *const k = known_node(b, n->uuid, sim_index(n->node));
    remember_cluster(n);
    if (!cluster_uuid_is_none(k->cluster) &&
        !cluster_uuid_equal(k->cluster, formation_cluster(n->formation))) {
        sim_fail(sim_of(n->node), "node %u is of two clusters", k->index);
    }
    k->cluster = formation_cluster(n->formation);
}

static bool is_first_cluster(const struct meta_node *n)
{
    const struct books *const b = books_of(sim_of(n->node));
    return n->consensus != NULL && b->clusters_count > 0 &&
           cluster_uuid_equal(formation_cluster(n->formation), b->clusters[0].cluster);
}

/* ---- META's state */

static void same_as_others(struct meta_node *n)
{
    struct books *const b = books_of(sim_of(n->node));
    uint64_t hash = 0;
    if (!is_first_cluster(n) || n->applied >= INDEXES_MAX) {
        return;
    }
    const bool is_hashed = meta_hash(&n->state, &hash);
    assert(is_hashed);
    if (b->sums[n->applied] == 0) {
        b->sums[n->applied] = hash;
        b->last_applied = n->applied > b->last_applied ? n->applied : b->last_applied;
    }
    if (b->sums[n->applied] != hash) {
        sim_fail(sim_of(n->node), "node %u has another state at %llu", sim_index(n->node),
                 (unsigned long long)n->applied);
    }
}

static void read_again(struct meta_node *n)
{
    static struct meta_state again;
    uint64_t hash = 0, hash_again = 1;
    const size_t len = meta_encode(&n->state, NULL);
    uint8_t *const out = malloc(len);
    assert(out != NULL);
    (void)meta_encode(&n->state, out);
    if (!meta_decode(&again, bytes_of(out, len)) || !meta_hash(&n->state, &hash) ||
        !meta_hash(&again, &hash_again) || hash != hash_again) {
        sim_fail(sim_of(n->node), "node %u writes a state that reads as another one",
                 sim_index(n->node));
    }
    free(out);
}

static void on_applied(struct meta_node *n, uint64_t index, const struct node_meta_command *command,
                       enum meta_outcome outcome, const struct meta_state *before)
{
    struct books *const b = books_of(sim_of(n->node));
    sim_note(n->node, "at %llu: command %u of %u is %s", (unsigned long long)index, command->kind,
             command->value, meta_outcome_text(outcome));
    if (outcome != META_APPLIED) {
        uint64_t was = 0, is = 0;
        const bool are_hashed = meta_hash(before, &was) && meta_hash(&n->state, &is);
        assert(are_hashed);
        if (was != is) {
            sim_fail(sim_of(n->node), "what was refused has changed something");
        }
    }
    same_as_others(n);
    if (!is_first_cluster(n) || index >= INDEXES_MAX || b->started[index]) {
        return;
    }
    b->started[index] = true;
    if (command->kind == NODE_META_STARTED && outcome == META_APPLIED) {
        meta_model_started(b->model, sim_of(n->node), command->value,
                           &before->partitions[command->value], before);
    }
    read_again(n);
}

static void on_restored(struct meta_node *n)
{
    same_as_others(n);
}

static size_t on_report(struct meta_node *n, uint8_t *out)
{
    return is_first_cluster(n) ? meta_model_report(books_of(sim_of(n->node))->model, n, out) : 0;
}

/* ---- What operators do */

static struct meta_node *leader_of(struct sim *sim)
{
    struct meta_node *found = NULL;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct meta_node *const n = meta_node_at(sim, i);
        if (n != NULL && is_first_cluster(n) && consensus_leads(n->consensus) &&
            (found == NULL ||
             consensus_figures(n->consensus).term > consensus_figures(found->consensus).term)) {
            found = n;
        }
    }
    return found;
}

/* Its volume is lost, or it is down, and in the end nobody starts it any more. */
static bool is_gone(struct sim *sim, const struct known_node *k)
{
    struct sim_node *const node = sim_node(sim, k->index);
    const bool is_other = !node_uuid_equal(sim_identity(node)->node, k->uuid);
    const bool is_down = sim_running(node) == NULL;
    return is_other || (is_down && sim_is_calm(sim));
}

static uint32_t number_of_gone(struct sim *sim, const struct meta_state *state)
{
    const struct books *const b = books_of(sim);
    for (unsigned i = 0; i < b->nodes_count; i++) {
        const struct meta_member *const m = meta_member_by_uuid(state, b->nodes[i].uuid);
        if (m != NULL && is_gone(sim, &b->nodes[i])) {
            return m->number;
        }
    }
    return 0;
}

static void operate(struct sim *sim)
{
    struct books *const b = books_of(sim);
    struct random *const r = sim_world_random(sim);
    struct meta_node *const n = leader_of(sim);
    struct node_meta_command c = {.kind = NODE_META_REMOVE};
    if (n == NULL || cluster_uuid_is_none(n->state.cluster) || random_below(r, 50) > 0) {
        return;
    }
    c.number = number_of_gone(sim, &n->state);
    if (c.number == 0 && !sim_is_calm(sim)) {
        if (b->changes_replicas && random_below(r, 4) == 0) {
            static const uint8_t known[] = {1, 3, 5};
            c.kind = NODE_META_REPLICAS;
            c.value = known[random_below(r, 3)];
        } else if (!b->has_asked_to_leave && n->state.members_count > 3 &&
                   random_below(r, 3) == 0) {
            c.kind = NODE_META_LEAVING;
            c.value = 1;
            c.number = n->state.members[random_below(r, n->state.members_count)].number;
            b->has_asked_to_leave = true;
        }
    }
    if (c.number != 0 || c.kind != NODE_META_REMOVE) {
        sim_note(n->node, "is asked for %u of %u", c.kind, c.number);
        (void)meta_node_propose(n, &c);
        meta_node_go_on(n);
    }
}

/* Whoever watches over processes starts one again whose disk has failed it. */
static void start_broken(struct sim *sim)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct meta_node *const n = sim_running(sim_node(sim, i));
        const bool is_broken = n != NULL && meta_node_at(sim, i) == NULL;
        if (is_broken && !sim_is_paused(sim_node(sim, i)) &&
            random_below(sim_world_random(sim), 20) == 0) {
            sim_crash(sim, i);
            sim_start(sim, i);
        }
    }
}

static void act(struct sim *sim)
{
    struct books *const b = books_of(sim);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        (void)known_node(b, sim_identity(sim_node(sim, i))->node, i);
    }
    if (sim_is_calm(sim) && !b->was_calm) {
        b->was_calm = true;
        meta_model_calm(b->model);
    }
    start_broken(sim);
    operate(sim);
    if (b->clusters_count > 0) {
        meta_model_step(b->model, sim, b->clusters[0].cluster);
    }
}

static void check(struct sim *sim)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct meta_node *const n = meta_node_at(sim, i);
        if (n != NULL && n->consensus != NULL && n->applied > 0) {
            same_as_others(n);
        }
    }
}

/* ---- In the end */

/* Nobody can be blamed: who has proposed is lost, and was promised; too few are left to form; or
 * most voters of META are lost; or there are two clusters. */
static bool is_waiting_for_lost(struct sim *sim)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct meta_node *const n = meta_node_at(sim, i);
        if (n == NULL) {
            continue;
        }
        const struct node_uuid who = formation_waits_for(n->formation);
        bool is_there = node_uuid_is_none(who);
        for (unsigned k = 0; k < sim_nodes(sim); k++) {
            const struct meta_node *const other = meta_node_at(sim, k);
            is_there = is_there || (other != NULL && node_uuid_equal(other->uuid, who));
        }
        if (!is_there) {
            return true;
        }
    }
    return false;
}

static unsigned left(struct sim *sim)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        count += meta_node_at(sim, i) != NULL;
    }
    return count;
}

static bool is_server_up(struct sim *sim, uint32_t number)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct meta_node *const n = meta_node_at(sim, i);
        if (n != NULL && is_first_cluster(n) && formation_number(n->formation) == number) {
            return true;
        }
    }
    return false;
}

/* Of all that run, who knows the most of META's log says who its voters are. */
static bool have_voters_gone(struct sim *sim)
{
    uint8_t servers[META_MEMBERS_MAX * NODE_SERVER_BYTES];
    const struct meta_node *best = NULL;
    struct node_server server;
    unsigned voters = 0, up = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct meta_node *const n = meta_node_at(sim, i);
        if (n != NULL && is_first_cluster(n) &&
            (best == NULL ||
             consensus_figures(n->consensus).last > consensus_figures(best->consensus).last)) {
            best = n;
        }
    }
    if (best == NULL) {
        return true;
    }
    struct bytes rest = bytes_of(servers, consensus_servers(best->consensus, servers));
    while (rest.len > 0 && node_server_next(&rest, &server)) {
        voters += server.role == NODE_SERVER_VOTER;
        up += server.role == NODE_SERVER_VOTER && is_server_up(sim, (uint32_t)server.id);
    }
    return 2 * up <= voters;
}

static bool is_hopeless(struct sim *sim)
{
    const struct books *const b = books_of(sim);
    if (b->clusters_count == 0) {
        return left(sim) < b->initial_size || is_waiting_for_lost(sim);
    }
    return b->clusters_count > 1 || is_waiting_for_lost(sim) || have_voters_gone(sim);
}

static bool is_where_it_should_be(struct sim *sim, const struct meta_state *s, unsigned p)
{
    struct placement_member members[META_MEMBERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < s->members_count; i++) {
        const struct meta_member *const m = &s->members[i];
        if (m->state == META_MEMBER) {
            members[count++] = (struct placement_member){m->number, bytes_of(m->zone, m->zone_len)};
        }
    }
    const struct node_replicas wanted = placement_choose(p, members, count, s->replicas);
    if (!meta_model_can_go_on(books_of(sim)->model, sim, p, s)) {
        return true; /* a majority of it is lost */
    }
    return s->partitions[p].step == META_STEADY &&
           node_replicas_same(&wanted, &s->partitions[p].replicas) &&
           meta_model_is_alive(books_of(sim)->model, p, &s->partitions[p]);
}

static bool has_lost_partitions(struct sim *sim, const struct meta_state *s)
{
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        if (!meta_model_can_go_on(books_of(sim)->model, sim, p, s)) {
            return true;
        }
    }
    return false;
}

static bool are_all_members(struct sim *sim, const struct meta_node *leader)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct meta_node *const n = meta_node_at(sim, i);
        if (n == NULL || meta_was_removed(&leader->state, n->uuid)) {
            continue;
        }
        if (!meta_node_is_member(n) || n->applied + 100 < leader->applied) {
            return false;
        }
    }
    for (unsigned i = 0; i < leader->state.members_count; i++) {
        const bool is_leaving = leader->state.members[i].state == META_LEAVING;
        if ((is_leaving && !has_lost_partitions(sim, &leader->state)) ||
            !is_server_up(sim, leader->state.members[i].number)) {
            return false;
        }
    }
    return true;
}

static bool is_converged(struct sim *sim)
{
    if (is_hopeless(sim)) {
        return true;
    }
    const struct meta_node *const n = leader_of(sim);
    if (n == NULL || cluster_uuid_is_none(n->state.cluster) || !are_all_members(sim, n)) {
        return false;
    }
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        if (!is_where_it_should_be(sim, &n->state, p)) {
            return false;
        }
    }
    return true;
}

static void *begin(struct sim *sim)
{
    struct books *const b = calloc(1, sizeof *b);
    struct random *const r = sim_world_random(sim);
    assert(b != NULL);
    assert(sim_nodes(sim) <= META_NODES_MAX);
    const unsigned n = sim_nodes(sim);
    b->initial_size =
        random_below(r, 4) == 0 ? 1 + random_below(r, n) : n / 2 + 1 + random_below(r, n - n / 2);
    b->changes_replicas = random_below(r, 4) == 0;
    b->has_asked_to_leave = random_below(r, 2) == 0;
    b->model = meta_model_create();
    meta_rules = (struct meta_rules){.initial_size = initial_size,
                                     .formed = on_formed,
                                     .applied = on_applied,
                                     .restored = on_restored,
                                     .report = on_report};
    return b;
}

static void end(struct sim *sim)
{
    struct books *const b = books_of(sim);
    meta_model_destroy(b->model);
    free(b);
}

const struct sim_suite meta_suite = {
    .name = "meta",
    .module = &meta_module,
    .faults = SIM_LOSS | SIM_DUPLICATION | SIM_REORDERING | SIM_CORRUPTION | SIM_SLOW_PATHS |
              SIM_PARTITION | SIM_ONE_WAY | SIM_CRASH | SIM_NEW_ADDRESS | SIM_PAUSE | SIM_CLOCKS |
              SIM_DISK_LOSS | SIM_DISK_TORN | SIM_DISK_ERROR | SIM_DISK_WIPE,
    .nodes_min = 3,
    .nodes_max = META_NODES_MAX,
    .datagram_bytes_max = 1u << 20,
    .check_every_ms = 50,
    .safety_ms = 90000,
    .liveness_ms = 180000,
    .begin = begin,
    .end = end,
    .act = act,
    .check = check,
    .is_converged = is_converged,
};
