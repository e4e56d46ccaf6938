/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links_suite: links and interest of two to five nodes that send each other messages and take and
 * let go of filters, under all that can happen to streams, nodes and clocks.
 *
 * At all times:
 *   - a numbered message comes once and in order; over one that is left out nobody goes without
 *     having been told of a gap
 *   - what a link says is acknowledged has come, or was told to be lost
 *   - a link keeps no more than it may
 *   - after a barrier no live node that was not named lacks the filter
 *   - nobody talks to another cluster
 * In the end: all links of nodes that run are up, and owe nothing; what each node's index has of
 * each other is what that one wants, no less and no more; digests agree, and never did not.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/link_node.h"
#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define FRAMES_MAX  16384u /* numbered, of one link */
#define WAITS_MAX   65536u
#define MESSAGE_MAX 2000u

/* One link's stream, in one direction. */
struct way {
    uint64_t start; /* of the link that sends */
    uint64_t acked;
    bool come[FRAMES_MAX], lost[FRAMES_MAX]; /* [number] */
};

struct wait {
    unsigned text;
    uint64_t let_go;        /* how often it had been, then */
    struct node_uuid owner; /* and its generation: who waits may have been started anew since */
    uint64_t generation;
};

struct oracle {
    struct way ways[LINK_NODES_MAX][LINK_NODES_MAX]; /* [from][to] */
    uint64_t starts;
    struct wait waits[WAITS_MAX];
    uint64_t waits_count;
};

static struct oracle *oracle_of(const struct link_node *n)
{
    return sim_suite_state(sim_of(n->node));
}

static struct way *way_of(const struct link_node *from, unsigned to)
{
    return &oracle_of(from)->ways[sim_index(from->node)][to];
}

/* ---- What nodes tell */

static uint64_t on_link(struct link_peer *to)
{
    struct way *const w = way_of(to->self, to->index);
    memset(w, 0, sizeof *w);
    w->start = ++oracle_of(to->self)->starts;
    return w->start;
}

static void on_numbered(struct link_peer *from, uint64_t start, uint64_t number, uint64_t seq)
{
    struct link_node *const n = from->self;
    struct sim *const sim = sim_of(n->node);
    struct way *const w = &oracle_of(n)->ways[from->index][sim_index(n->node)];
    if (start != from->of_start) {
        if (start < from->of_start) {
            sim_fail(sim, "node %u hears of a start of %u that is over", sim_index(n->node),
                     from->index);
        }
        from->of_start = start;
        from->next = 0;
        from->passing_last = 0;
    }
    if (number != seq) {
        sim_fail(sim, "a message has another's number");
    }
    if (from->next != 0 && number < from->next) {
        sim_fail(sim, "node %u gets message %llu of %u again", sim_index(n->node),
                 (unsigned long long)number, from->index);
    }
    if (from->next != 0 && number > from->next && !from->told) {
        sim_fail(sim, "node %u gets %llu of %u after %llu, and is told of no gap",
                 sim_index(n->node), (unsigned long long)number, from->index,
                 (unsigned long long)from->next - 1);
    }
    from->next = number + 1;
    from->told = false;
    if (w->start == start && number < FRAMES_MAX) {
        w->come[number] = true;
    }
}

static void on_lost(struct link_peer *to, uint64_t first, uint64_t last)
{
    struct way *const w = way_of(to->self, to->index);
    for (uint64_t i = first; i <= last && i < FRAMES_MAX; i++) {
        w->lost[i] = true;
    }
}

/* Does the node stand in the index of that one, as far as it may be counted on? */
static bool is_found(struct link_node *owner, unsigned peer, unsigned text)
{
    const struct link_node *const n = sim_running(sim_node(sim_of(owner->node), peer));
    if (n == NULL || !node_uuid_equal(sim_identity(n->node)->node, owner->peers[peer].uuid)) {
        return true; /* it has died, which is not known yet */
    }
    const struct link_peer *const p = &n->peers[sim_index(owner->node)];
    return p->is_new || p->index_of[text] > 0;
}

static void on_reached(struct link_node *n, uint64_t token, uint32_t without)
{
    const struct wait *const w = &oracle_of(n)->waits[token];
    const struct identity *const self = sim_identity(n->node);
    if (w->generation != self->generation || !node_uuid_equal(w->owner, self->node) ||
        w->let_go != n->let_go[w->text]) {
        return;
    }
    for (unsigned peer = 0; peer < link_node_peers(n); peer++) {
        if (peer != sim_index(n->node) && n->peers[peer].live && (without >> peer & 1) == 0 &&
            !is_found(n, peer, w->text)) {
            sim_fail(sim_of(n->node), "node %u has subscribed, and node %u does not know",
                     sim_index(n->node), peer);
        }
    }
}

/* ---- What users do */

static void publish(struct link_node *n, struct random *r)
{
    const unsigned peer = random_below(r, link_node_peers(n));
    if (peer == sim_index(n->node) || n->peers[peer].link == NULL ||
        n->peers[peer].last + 1 >= FRAMES_MAX) {
        return;
    }
    /* Mostly it minds that it is to be slow. */
    const bool slow = link_figures(n->peers[peer].link).slow && random_below(r, 4) > 0;
    if (!slow) {
        (void)link_node_publish(n, peer, random_below(r, 4) > 0, random_below(r, MESSAGE_MAX));
    }
}

static void subscribe(struct link_node *n, struct random *r)
{
    struct oracle *const o = oracle_of(n);
    const unsigned text = random_below(r, LINK_TEXTS);
    if (random_below(r, 2) == 0) {
        if (n->own[text] > 0) {
            link_node_put(n, text);
        }
        return;
    }
    const uint64_t version = link_node_take(n, text);
    if (!interest_is_reached(n->interest, version) && o->waits_count < WAITS_MAX) {
        struct wait *const w = &o->waits[o->waits_count];
        *w = (struct wait){.text = text,
                           .let_go = n->let_go[text],
                           .owner = sim_identity(n->node)->node,
                           .generation = sim_identity(n->node)->generation};
        o->waits_count +=
            interest_wait(n->interest, version, o->waits_count, sim_now_ms(n->node)) == INTEREST_OK;
    }
}

static void act(struct sim *sim)
{
    struct random *const r = sim_world_random(sim);
    for (unsigned i = 0; i < sim_nodes(sim) && !sim_is_calm(sim); i++) {
        struct link_node *const n = sim_running(sim_node(sim, i));
        if (n == NULL || !sim_is_ours(n->node) || sim_is_paused(sim_node(sim, i))) {
            continue;
        }
        for (unsigned k = random_below(r, 8); k > 0; k--) {
            publish(n, r);
        }
        if (random_below(r, 4) == 0) {
            subscribe(n, r);
        }
        link_node_go_on(n);
    }
}

/* ---- What must hold */

static void check_way(struct link_node *n, struct link_peer *p)
{
    struct way *const w = way_of(n, p->index);
    const struct link_figures f = link_figures(p->link);
    for (; w->acked < f.acked_seq; w->acked++) {
        if (!w->come[w->acked + 1] && !w->lost[w->acked + 1]) {
            sim_fail(sim_of(n->node), "%llu of node %u is acknowledged, and has not come to %u",
                     (unsigned long long)w->acked + 1, sim_index(n->node), p->index);
        }
    }
    if (f.kept_bytes > LINK_KEPT_MAX && f.kept_frames > 1) {
        sim_fail(sim_of(n->node), "node %u keeps %llu bytes", sim_index(n->node),
                 (unsigned long long)f.kept_bytes);
    }
}

static void check(struct sim *sim)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct link_node *const n = sim_running(sim_node(sim, i));
        for (unsigned k = 0; n != NULL && k < LINK_NODES_MAX; k++) {
            if (n->peers[k].link != NULL) {
                check_way(n, &n->peers[k]);
            }
        }
        if (n != NULL && interest_figures(n->interest).divergences > 0) {
            sim_fail(sim, "node %u has another interest than it was told of", i);
        }
    }
}

/* ---- What must come true */

static bool is_settled(const struct link_node *n, const struct link_node *other)
{
    const struct link_peer *const p = &n->peers[sim_index(other->node)];
    if (p->link == NULL || !link_is_up(p->link)) {
        return false;
    }
    const struct link_figures f = link_figures(p->link);
    const struct interest_peer_figures view =
        interest_peer_figures(n->interest, sim_index(other->node));
    const struct interest_figures own = interest_figures(other->interest);
    if (f.kept_frames > 0 || f.slow || view.state != VIEW_WHOLE ||
        view.version != own.own_version || view.settled != view.version ||
        view.digest.sum != own.own_digest.sum || own.waiting > 0) {
        return false;
    }
    for (unsigned text = 0; text < LINK_TEXTS; text++) {
        enum node_interest_kind kind;
        (void)link_text(text, &kind);
        const uint32_t held = other->own[text];
        const uint32_t want = kind == NODE_INTEREST_GROUP || held == 0 ? held : 1;
        if (p->index_of[text] != want) {
            return false;
        }
    }
    return true;
}

static bool is_converged(struct sim *sim)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        for (unsigned k = 0; k < sim_nodes(sim); k++) {
            const struct link_node *const n = sim_running(sim_node(sim, i));
            const struct link_node *const other = sim_running(sim_node(sim, k));
            const bool both = n != NULL && other != NULL && sim_is_ours(sim_node(sim, i)) &&
                              sim_is_ours(sim_node(sim, k));
            if (i != k && both && !is_settled(n, other)) {
                return false;
            }
        }
    }
    return true;
}

static void *begin(struct sim *sim)
{
    struct oracle *const o = calloc(1, sizeof *o);
    assert(o != NULL);
    assert(sim_nodes(sim) <= LINK_NODES_MAX);
    link_rules = (struct link_rules){.on_link = on_link,
                                     .on_numbered = on_numbered,
                                     .on_lost = on_lost,
                                     .on_reached = on_reached};
    return o;
}

static void end(struct sim *sim)
{
    free(sim_suite_state(sim));
}

const struct sim_suite links_suite = {
    .name = "links",
    .module = &link_module,
    .faults = LINK_FAULTS,
    .nodes_min = 2,
    .nodes_max = 5,
    .check_every_ms = 50,
    .safety_ms = 120000,
    .liveness_ms = 90000,
    .begin = begin,
    .end = end,
    .act = act,
    .check = check,
    .is_converged = is_converged,
};
