/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consensus_suite: three to five servers of a Raft group; messages are lost, doubled, and overtake
 * each other; disks lose what was not synced, or any sectors of it, or fail; volumes are lost.
 *
 * At all times:
 *   - while a leader has a lease, by its own clock, nobody leads a later term
 *   - a term has one leader at most; a server votes for one in it, and goes back to none, whatever
 *     it was started from
 *   - all servers apply the same commands at the same indexes, from whichever snapshot they begin
 *   - what was said to be committed is among them, and each proposal once at most
 * In the end, where a majority is left: one leads, all that run have applied the same, and what is
 * proposed then is committed.
 * Not while a majority has lost its volumes: then there is nothing to be promised.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/little_endian.h"
#include "tests/sim/consensus_node.h"
#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define TERMS_MAX   65536u
#define INDEXES_MAX 65536u
#define NUMBERS_MAX 65536u
#define ENTRY_MAX   300u

struct number {
    uint64_t index; /* 0: nobody has applied it */
    bool committed; /* somebody was told so */
    bool calm;      /* it was proposed when the faults had ended */
};

struct books {
    struct node_uuid members[CONSENSUS_NODES_MAX];
    bool known[CONSENSUS_NODES_MAX];
    uint8_t leaders[TERMS_MAX];                    /* by term: the id */
    uint8_t votes[CONSENSUS_NODES_MAX][TERMS_MAX]; /* by term: for whom it has voted */
    uint64_t terms[CONSENSUS_NODES_MAX];           /* the last one that it has spoken in */
    uint64_t entries[INDEXES_MAX]; /* by index: the number of the command; 0: none is known */
    uint64_t sums[INDEXES_MAX];    /* by index: what commands come to up to it */
    struct number numbers[NUMBERS_MAX];
    uint32_t count;                  /* of numbers that were proposed, from 1 on */
    unsigned transfers;              /* checks until one is asked for; 0: never */
    bool quick;                      /* who has just voted may die, and start again at once */
    bool voted[CONSENSUS_NODES_MAX]; /* since the last check */
};

static struct books *books_of(const struct consensus_node *n)
{
    return sim_suite_state(sim_of(n->node));
}

/* ---- What servers tell */

static bool is_member(struct consensus_node *n)
{
    struct books *const b = books_of(n);
    const unsigned i = sim_index(n->node);
    const struct node_uuid uuid = sim_identity(n->node)->node;
    if (!b->known[i]) {
        b->known[i] = true;
        b->members[i] = uuid;
    }
    return node_uuid_equal(b->members[i], uuid);
}

static void on_sent(struct consensus_node *n, uint64_t to, const struct node_consensus *m)
{
    struct books *const b = books_of(n);
    const unsigned i = sim_index(n->node);
    if ((m->flags & NODE_CONSENSUS_PRE_VOTE) != 0) {
        return; /* of a term that nobody is in yet */
    }
    if (m->term < b->terms[i]) {
        sim_fail(sim_of(n->node), "node %u speaks in term %llu behind %llu", i,
                 (unsigned long long)m->term, (unsigned long long)b->terms[i]);
    }
    b->terms[i] = m->term;
    assert(m->term < TERMS_MAX);
    uint8_t *const vote = &b->votes[i][m->term];
    /* Who asks for votes has given itself its own. */
    const uint64_t whom = m->kind == NODE_VOTE ? n->id
                          : m->kind == NODE_VOTED && (m->flags & NODE_CONSENSUS_GRANTED) != 0
                              ? to
                              : *vote;
    if (*vote != 0 && *vote != whom) {
        sim_fail(sim_of(n->node), "node %u votes twice in term %llu", i,
                 (unsigned long long)m->term);
    }
    b->voted[i] = b->voted[i] || *vote != whom;
    *vote = (uint8_t)whom;
}

static void on_applied(struct consensus_node *n, uint64_t index, struct bytes entry)
{
    struct books *const b = books_of(n);
    struct sim *const sim = sim_of(n->node);
    const uint64_t number = entry.len >= sizeof number ? get_u64(entry.at) : 0;
    if (index >= INDEXES_MAX || number == 0 || number > b->count) {
        sim_fail(sim, "node %u applies what nobody has proposed", sim_index(n->node));
        return;
    }
    if (b->entries[index] == 0) {
        b->entries[index] = number;
        b->sums[index] = n->sum;
        if (b->numbers[number].index != 0) {
            sim_fail(sim, "%llu is at two places", (unsigned long long)number);
        }
        b->numbers[number].index = index;
    }
    if (b->entries[index] != number || b->sums[index] != n->sum) {
        sim_fail(sim, "node %u applies another entry at %llu", sim_index(n->node),
                 (unsigned long long)index);
    }
}

static void on_restored(struct consensus_node *n)
{
    const struct books *const b = books_of(n);
    if (n->applied >= INDEXES_MAX || b->sums[n->applied] != n->sum) {
        sim_fail(sim_of(n->node), "node %u restores what nobody has come to", sim_index(n->node));
    }
}

static void on_proposed(struct consensus_node *n, uint64_t ticket, enum consensus_end end)
{
    struct books *const b = books_of(n);
    if (end == CONSENSUS_COMMITTED) {
        b->numbers[ticket].committed = true;
        if (b->numbers[ticket].index == 0) {
            sim_fail(sim_of(n->node), "%llu is committed, and not applied",
                     (unsigned long long)ticket);
        }
    }
}

/* ---- What clients do */

static void propose(struct consensus_node *n, struct random *r)
{
    struct books *const b = books_of(n);
    uint8_t entry[sizeof(uint64_t) + ENTRY_MAX];
    if (b->count + 1 >= NUMBERS_MAX) {
        return;
    }
    const uint64_t number = ++b->count;
    const size_t more = random_below(r, ENTRY_MAX);
    put_u64(entry, number);
    memset(entry + sizeof number, (int)number, more);
    b->numbers[number].calm = sim_is_calm(sim_of(n->node));
    if (consensus_propose(n->consensus, bytes_of(entry, sizeof number + more), number,
                          sim_now_ms(n->node)) != CONSENSUS_OK) {
        sim_note(n->node, "does not take a proposal");
    }
}

static void die_after_votes(struct sim *sim, struct random *r)
{
    struct books *const b = sim_suite_state(sim);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const bool is_up = consensus_node_at(sim, i) != NULL && !sim_is_paused(sim_node(sim, i));
        if (is_up && b->voted[i] && random_below(r, 3) == 0) {
            sim_crash(sim, i);
            sim_start(sim, i);
        }
        b->voted[i] = false;
    }
}

static void act(struct sim *sim)
{
    struct random *const r = sim_world_random(sim);
    if (((const struct books *)sim_suite_state(sim))->quick && !sim_is_calm(sim)) {
        die_after_votes(sim, r);
    }
    const unsigned every = ((const struct books *)sim_suite_state(sim))->transfers;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct consensus_node *const n = consensus_node_at(sim, i);
        if (n == NULL || sim_is_paused(sim_node(sim, i)) || !consensus_leads(n->consensus)) {
            continue;
        }
        for (unsigned k = random_below(r, 6); k > 0; k--) {
            propose(n, r);
        }
        if (every != 0 && random_below(r, every) == 0 && !sim_is_calm(sim)) {
            const bool is_asked =
                consensus_transfer(n->consensus, 0, sim_now_ms(n->node)) == CONSENSUS_OK;
            sim_note(n->node, is_asked ? "another one is to lead" : "nobody else may lead");
        }
        consensus_node_go_on(n);
    }
}

/* ---- What must hold */

static void check_lease(struct sim *sim, const struct consensus_node *n, uint64_t term)
{
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct consensus_node *const other = consensus_node_at(sim, i);
        if (other != NULL && consensus_leads(other->consensus) &&
            consensus_figures(other->consensus).term > term) {
            sim_fail(sim, "node %u leads while node %u has a lease", i, sim_index(n->node));
        }
    }
}

static void check(struct sim *sim)
{
    struct books *const b = sim_suite_state(sim);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct consensus_node *const n = consensus_node_at(sim, i);
        if (n == NULL || !consensus_leads(n->consensus)) {
            continue;
        }
        const uint64_t term = consensus_figures(n->consensus).term;
        assert(term < TERMS_MAX);
        if (b->leaders[term] != 0 && b->leaders[term] != n->id) {
            sim_fail(sim, "term %llu has two leaders", (unsigned long long)term);
        }
        b->leaders[term] = (uint8_t)n->id;
        if (consensus_lease_ms(n->consensus) > sim_now_ms(n->node)) {
            check_lease(sim, n, term);
        }
    }
}

static unsigned left(struct sim *sim)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        count += consensus_node_at(sim, i) != NULL;
    }
    return count;
}

static bool is_calm_committed(const struct books *b)
{
    for (uint32_t i = b->count; i > 0; i--) {
        if (b->numbers[i].calm && b->numbers[i].committed) {
            return true;
        }
    }
    return false;
}

static uint64_t last_committed(const struct books *b)
{
    uint64_t last = 0;
    for (uint32_t i = 1; i <= b->count; i++) {
        if (b->numbers[i].committed && b->numbers[i].index > last) {
            last = b->numbers[i].index;
        }
    }
    return last;
}

static bool is_converged(struct sim *sim)
{
    const struct books *const b = sim_suite_state(sim);
    unsigned leaders = 0;
    if (2 * left(sim) <= sim_nodes(sim)) {
        return true;
    }
    const uint64_t last = last_committed(b);
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct consensus_node *const n = consensus_node_at(sim, i);
        if (n != NULL) {
            leaders += consensus_leads(n->consensus);
            if (n->applied + 100 < last) {
                return false; /* clients do not stop, so it may be a little behind */
            }
        }
    }
    return leaders == 1 && is_calm_committed(b);
}

static void *begin(struct sim *sim)
{
    struct books *const b = calloc(1, sizeof *b);
    assert(b != NULL);
    assert(sim_nodes(sim) <= CONSENSUS_NODES_MAX);
    b->transfers = random_below(sim_world_random(sim), 2) * 200;
    b->quick = (sim_faults(sim) & SIM_CRASH) != 0 && random_below(sim_world_random(sim), 2) == 0;
    consensus_rules = (struct consensus_rules){.is_member = is_member,
                                               .sent = on_sent,
                                               .applied = on_applied,
                                               .restored = on_restored,
                                               .proposed = on_proposed};
    return b;
}

static void end(struct sim *sim)
{
    free(sim_suite_state(sim));
}

const struct sim_suite consensus_suite = {
    .name = "consensus",
    .module = &consensus_module,
    .faults = SIM_LOSS | SIM_DUPLICATION | SIM_REORDERING | SIM_CORRUPTION | SIM_SLOW_PATHS |
              SIM_PARTITION | SIM_ONE_WAY | SIM_CRASH | SIM_NEW_ADDRESS | SIM_PAUSE | SIM_CLOCKS |
              SIM_DISK_LOSS | SIM_DISK_TORN | SIM_DISK_ERROR | SIM_DISK_WIPE,
    .nodes_min = 3,
    .nodes_max = CONSENSUS_NODES_MAX,
    .datagram_bytes_max = 1u << 20,
    .check_every_ms = 20,
    .safety_ms = 120000,
    .liveness_ms = 60000,
    .begin = begin,
    .end = end,
    .act = act,
    .check = check,
    .is_converged = is_converged,
};
