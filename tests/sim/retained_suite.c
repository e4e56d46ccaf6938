/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retained_suite: two to five nodes set, replace, delete and let expire retained messages, of a few
 * topics all at once and of many, under all that can happen to streams, nodes, disks and clocks.
 * In half of the worlds who is away for 20 s is not waited for; in the others everybody is.
 *
 * At all times:
 *   - no topic goes back to an older write on a node, as long as it runs, nor behind its disk
 *   - where all are waited for, nobody is told to drop a message that does not expire
 *   - no delete that was forgotten is undone on a node whose floor stands for it: one that forgot
 *     it, or took the floor of one that had
 * In the end: all nodes that run have the same, digests and contents; the newest write that any of
 * them had is there, but where a floor has passed it that did not wait; no delete that any of them
 * knows of, as above, is undone; and where all run, no tombstone is left. A delete that only nodes
 * knew of whose volumes are lost, or who never come back, may be undone by one that was not waited
 * for: nobody is left to tell it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/retained_node.h"
#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define HOT_TOPICS 12u
#define LOST_MS    20000u

struct oracle {
    uint64_t values;
    bool any_lost;                                      /* somebody was not waited for */
    bool calm;                                          /* must is known */
    struct retained_version forgotten[RETAINED_TOPICS]; /* the newest delete that was */
    struct retained_message must[RETAINED_TOPICS];      /* the newest that was there then */
};

static struct oracle *oracle_of(const struct retained_node *n)
{
    return sim_suite_state(sim_of(n->links->node));
}

static int compare(const struct retained_version *a, const struct retained_version *b)
{
    return retained_version_compare(a, b);
}

/* ---- What nodes tell */

static void on_lost(struct retained_node *n)
{
    oracle_of(n)->any_lost = true;
}

static void on_forget(struct retained_node *n, unsigned topic, const struct retained_message *was)
{
    struct oracle *const o = oracle_of(n);
    const bool may_go = was->gone || was->expires_ms != RETAINED_FOREVER;
    if (!may_go && !o->any_lost) {
        sim_fail(sim_of(n->links->node), "node %u drops a message of topic %u",
                 sim_index(n->links->node), topic);
    }
    if (was->gone && was->expires_ms == RETAINED_FOREVER) {
        retained_node_deleted(n, topic, was->version.stamp);
        if (compare(&was->version, &o->forgotten[topic]) > 0) {
            o->forgotten[topic] = was->version;
        }
    }
}

/* It has gone through what the peer has, or has the same. What the peer has come to know since it
 * said its floor is not in that: such a delete is of who was not waited for. */
static void on_floor(struct retained_node *n, unsigned peer, uint64_t known)
{
    const struct retained_node *const p = retained_node_of(sim_of(n->links->node), peer);
    for (unsigned topic = 0; p != NULL && topic < RETAINED_TOPICS; topic++) {
        if (p->deleted_as[topic] <= known && p->deleted[topic] <= n->floor) {
            retained_node_deleted(n, topic, p->deleted[topic]);
        }
    }
}

/* ---- What users do */

static void act(struct sim *sim)
{
    struct random *const r = sim_world_random(sim);
    struct oracle *const o = sim_suite_state(sim);
    for (unsigned i = 0; i < sim_nodes(sim) && !sim_is_calm(sim); i++) {
        struct retained_node *const n = retained_node_of(sim, i);
        if (n == NULL || sim_is_paused(sim_node(sim, i))) {
            continue;
        }
        for (unsigned k = random_below(r, 4); k > 0; k--) {
            const unsigned topic =
                random_below(r, random_below(r, 2) == 0 ? HOT_TOPICS : RETAINED_TOPICS);
            const uint64_t expiry =
                random_below(r, 4) == 0 ? 1 + random_below(r, 30000) : RETAINED_FOREVER;
            (void)retained_node_write(n, topic, random_below(r, 3) == 0, ++o->values, expiry,
                                      random_below(r, 2) == 0);
        }
        link_node_go_on(n->links);
    }
}

/* ---- What must hold */

static void check_topic(struct retained_node *n, unsigned topic)
{
    struct sim *const sim = sim_of(n->links->node);
    const unsigned index = sim_index(n->links->node);
    const struct retained_message *const m = &n->topics[topic];
    if (m->version.stamp > 0 && compare(&m->version, &n->best[topic]) < 0) {
        sim_fail(sim, "topic %u of node %u goes back, from %llx to %llx; floor %llx", topic, index,
                 (unsigned long long)n->best[topic].stamp, (unsigned long long)m->version.stamp,
                 (unsigned long long)n->floor);
    }
    if (m->version.stamp > 0 && !m->gone && m->version.stamp < n->deleted[topic]) {
        sim_fail(sim, "topic %u of node %u: a delete is undone, %llx has %llx; floor %llx", topic,
                 index, (unsigned long long)n->deleted[topic], (unsigned long long)m->version.stamp,
                 (unsigned long long)n->floor);
    }
    if (compare(&m->version, &n->best[topic]) > 0) {
        n->best[topic] = m->version;
    }
}

static void take_stock(struct sim *sim)
{
    struct oracle *const o = sim_suite_state(sim);
    o->calm = true;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct retained_node *const n = retained_node_of(sim, i);
        for (unsigned topic = 0; n != NULL && topic < RETAINED_TOPICS; topic++) {
            if (compare(&n->topics[topic].version, &o->must[topic].version) > 0) {
                o->must[topic] = n->topics[topic];
            }
        }
    }
}

static void check(struct sim *sim)
{
    const struct oracle *const o = sim_suite_state(sim);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct retained_node *const n = retained_node_of(sim, i);
        for (unsigned topic = 0; n != NULL && topic < RETAINED_TOPICS; topic++) {
            check_topic(n, topic);
        }
    }
    if (sim_is_calm(sim) && !o->calm) {
        take_stock(sim);
    }
}

/* ---- What must come true */

static bool is_same(struct retained_node *a, struct retained_node *b)
{
    if (replica_figures(a->replica).digest.sum != replica_figures(b->replica).digest.sum) {
        return false;
    }
    for (unsigned topic = 0; topic < RETAINED_TOPICS; topic++) {
        const struct retained_message *const m = &a->topics[topic], *const o = &b->topics[topic];
        if (compare(&m->version, &o->version) != 0 ||
            (!m->gone && !o->gone && m->value != o->value)) {
            return false;
        }
    }
    return true;
}

/* The newest delete that any of those who run knows of by its floor. */
static uint64_t deleted_here(struct sim *sim, unsigned topic)
{
    uint64_t stamp = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct retained_node *const n = retained_node_of(sim, i);
        stamp = n != NULL && n->deleted[topic] > stamp ? n->deleted[topic] : stamp;
    }
    return stamp;
}

/* All have the same now; is it what it must be? */
static void judge(struct sim *sim, struct retained_node *n, uint64_t floor)
{
    const struct oracle *const o = sim_suite_state(sim);
    for (unsigned topic = 0; topic < RETAINED_TOPICS; topic++) {
        const struct retained_message *const m = &n->topics[topic], *const must = &o->must[topic];
        const bool may_go = must->gone || must->expires_ms != RETAINED_FOREVER || o->any_lost;
        const bool passed = must->version.stamp <= floor && may_go;
        const bool deleted = compare(&o->forgotten[topic], &must->version) > 0;
        if (compare(&m->version, &must->version) < 0 && !passed && !deleted) {
            sim_fail(sim, "topic %u: the newest write, %llx, is lost: there is %llx, floor %llx%s",
                     topic, (unsigned long long)must->version.stamp,
                     (unsigned long long)m->version.stamp, (unsigned long long)floor,
                     o->any_lost ? "; not all were waited for" : "");
        }
        if (m->version.stamp > 0 && !m->gone && m->version.stamp < deleted_here(sim, topic)) {
            sim_fail(sim, "topic %u: a delete is undone", topic);
        }
    }
    if (!replica_check(n->replica)) {
        sim_fail(sim, "the sums are not what is there");
    }
}

static bool is_converged(struct sim *sim)
{
    struct retained_node *first = NULL;
    unsigned running = 0, ours = 0;
    uint64_t floor = 0, gone = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct retained_node *const n = retained_node_of(sim, i);
        ours += sim_is_ours(sim_node(sim, i));
        if (n == NULL) {
            continue;
        }
        const struct replica_figures f = replica_figures(n->replica);
        running++;
        floor = f.floor > floor ? f.floor : floor;
        gone += f.gone;
        for (unsigned k = 0; k < LINK_NODES_MAX; k++) {
            if (n->known[k] && retained_node_of(sim, k) != NULL && !n->up[k]) {
                return false;
            }
        }
        first = first == NULL ? n : first;
        if (!is_same(first, n)) {
            return false;
        }
    }
    if (first == NULL || (running == ours && gone > 0)) {
        return first == NULL;
    }
    judge(sim, first, floor);
    return true;
}

static uint64_t on_link(struct link_peer *to)
{
    (void)to;
    return 1;
}

static void on_numbered(struct link_peer *from, uint64_t start, uint64_t number, uint64_t seq)
{
    (void)from, (void)start, (void)number, (void)seq;
}

static void on_link_lost(struct link_peer *to, uint64_t first, uint64_t last)
{
    (void)to, (void)first, (void)last;
}

static void on_reached(struct link_node *n, uint64_t token, uint32_t without)
{
    (void)n, (void)token, (void)without;
}

static void *begin(struct sim *sim)
{
    struct oracle *const o = calloc(1, sizeof *o);
    assert(o != NULL);
    link_rules = (struct link_rules){.rider = &retained_rider,
                                     .on_link = on_link,
                                     .on_numbered = on_numbered,
                                     .on_lost = on_link_lost,
                                     .on_reached = on_reached};
    const bool waits = random_below(sim_world_random(sim), 2) == 0;
    retained_rules = (struct retained_rules){.lost_ms = waits ? UINT64_MAX : LOST_MS,
                                             .on_lost = on_lost,
                                             .on_forget = on_forget,
                                             .on_floor = on_floor};
    return o;
}

static void end(struct sim *sim)
{
    free(sim_suite_state(sim));
}

const struct sim_suite retained_suite = {
    .name = "retained",
    .module = &link_module,
    .faults = SIM_SLOW_PATHS | SIM_PARTITION | SIM_ONE_WAY | SIM_CRASH | SIM_NEW_ADDRESS |
              SIM_PAUSE | SIM_CLOCKS | SIM_STREAM_CUT | SIM_STREAM_STALL | SIM_DISK_LOSS |
              SIM_DISK_WIPE,
    .nodes_min = 2,
    .nodes_max = 5,
    .check_every_ms = 100,
    .safety_ms = 90000,
    .liveness_ms = 120000,
    .begin = begin,
    .end = end,
    .act = act,
    .check = check,
    .is_converged = is_converged,
};
