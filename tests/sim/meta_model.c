/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/meta_model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/unit/route/random.h"

#define HOLDERS_MAX META_SEEN_MAX
#define AT_A_TIME   24u /* partitions, of a step */

/* What somebody has of a partition, on a disk that loses nothing but as a whole. */
struct replica {
    uint32_t incarnation; /* 0: nothing */
    uint64_t index, sum;  /* of the last entry, in the partition's whole life */
    bool sealed;
    uint32_t ahead;   /* a copy of that incarnation as it was some time ago */
    uint64_t changed; /* of the last duty that was gone by, also when it was to forget */
};

struct holder {
    struct node_uuid uuid;
    struct replica replicas[NODE_META_PARTITIONS];
};

/* What is committed: nobody on earth knows, but here. */
struct truth {
    struct replica last;
    bool is_calm; /* committed since the faults have ended */
};

struct meta_model {
    struct holder holders[HOLDERS_MAX];
    unsigned count;
    struct truth truth[NODE_META_PARTITIONS];
    uint64_t moves;
};

struct meta_model *meta_model_create(void)
{
    struct meta_model *const m = calloc(1, sizeof *m);
    assert(m != NULL);
    return m;
}

void meta_model_destroy(struct meta_model *m)
{
    free(m);
}

static struct holder *holder_of(struct meta_model *m, struct node_uuid uuid)
{
    for (unsigned i = 0; i < m->count; i++) {
        if (node_uuid_equal(m->holders[i].uuid, uuid)) {
            return &m->holders[i];
        }
    }
    assert(m->count < HOLDERS_MAX);
    m->holders[m->count].uuid = uuid;
    return &m->holders[m->count++];
}

/* Somebody who is up, and takes part. */
struct party {
    struct meta_node *node;
    struct replica *replica;
    struct meta_duty duty;
    uint32_t number;
};

static unsigned parties(struct meta_model *m, struct sim *sim, struct cluster_uuid cluster,
                        unsigned p, struct party out[META_NODES_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct meta_node *const n = meta_node_at(sim, i);
        if (n == NULL || n->consensus == NULL || cluster_uuid_is_none(n->state.cluster) ||
            !cluster_uuid_equal(n->state.cluster, cluster)) {
            continue;
        }
        const uint32_t number = formation_number(n->formation);
        struct replica *const r = &holder_of(m, n->uuid)->replicas[p];
        const struct meta_duty duty = meta_duty(&n->state, number, p);
        if (duty.changed >= r->changed) { /* else it has only just started */
            r->changed = duty.changed;
            out[count++] = (struct party){.node = n, .replica = r, .duty = duty, .number = number};
        }
    }
    return count;
}

/* ---- What each does by itself */

static void become(struct sim *sim, struct party *a, const struct replica *what)
{
    const bool is_back =
        what->incarnation < a->replica->incarnation ||
        (what->incarnation == a->replica->incarnation && what->index < a->replica->index);
    if (is_back) {
        sim_fail(sim, "member %u goes back from incarnation %u, %llu to %u, %llu", a->number,
                 a->replica->incarnation, (unsigned long long)a->replica->index, what->incarnation,
                 (unsigned long long)what->index);
    }
    *a->replica = *what;
    a->replica->ahead = 0;
    a->replica->changed = a->duty.changed;
}

static bool is_beginning_of(const struct replica *r, uint32_t incarnation, uint64_t begins)
{
    return begins == 0 ? r->incarnation == 0 && incarnation == 1
                       : r->incarnation + 1 == incarnation && r->sealed && r->index == begins;
}

static void start(struct sim *sim, unsigned p, const struct truth *t, struct party *a)
{
    if (a->duty.run != 0 && is_beginning_of(a->replica, a->duty.run, a->duty.begins)) {
        const struct replica begun = {
            .incarnation = a->duty.run, .index = a->replica->index, .sum = a->replica->sum};
        if (t->last.incarnation + 1 == a->duty.run && a->duty.run > 1 &&
            (!t->last.sealed || t->last.index != begun.index || t->last.sum != begun.sum)) {
            sim_fail(sim, "partition %u: member %u begins incarnation %u with what was not sealed",
                     p, a->number, a->duty.run);
        }
        become(sim, a, &begun);
    }
}

/* Of one who has it, and can just be reached. */
static void copy(struct sim *sim, struct party *all, unsigned count, struct party *a)
{
    const struct party *const b = &all[random_below(sim_world_random(sim), count)];
    if (b == a || !node_replicas_has(&a->duty.from, b->number)) {
        return;
    }
    if (a->duty.copy != 0 && b->replica->incarnation == a->duty.copy) {
        if (!a->duty.copy_sealed) {
            a->replica->ahead = a->duty.copy;
        } else if (b->replica->sealed && b->replica->index == a->duty.copy_index &&
                   a->replica->incarnation <= a->duty.copy) {
            become(sim, a, b->replica);
        }
    } else if (a->duty.run != 0 && a->replica->incarnation < a->duty.run &&
               (b->replica->incarnation == a->duty.run ||
                (a->duty.begins > 0 && is_beginning_of(b->replica, a->duty.run, a->duty.begins)))) {
        become(sim, a, b->replica);
    }
}

static void forget(struct party *a)
{
    if (a->duty.forget) {
        *a->replica = (struct replica){.changed = a->duty.changed};
    }
}

/* ---- What a group does */

static bool takes_part(struct sim *sim, const struct party *leader, const struct party *b)
{
    return b->duty.run == leader->duty.run && b->replica->incarnation == leader->duty.run &&
           node_replicas_has(&leader->duty.servers, b->number) &&
           (b == leader || random_below(sim_world_random(sim), 4) > 0);
}

static bool may_seal(const struct party *all, unsigned count, const struct party *leader)
{
    if (!leader->duty.seal) {
        return false;
    }
    for (unsigned i = 0; i < leader->duty.to.count; i++) {
        const uint32_t number = leader->duty.to.at[i];
        bool has_it = node_replicas_has(&leader->duty.servers, number);
        for (unsigned k = 0; k < count; k++) {
            has_it =
                has_it || (all[k].number == number && all[k].replica->ahead == leader->duty.run);
        }
        if (!has_it) {
            return false;
        }
    }
    return true;
}

static bool is_same(const struct replica *a, const struct replica *b)
{
    return a->incarnation == b->incarnation && a->index == b->index && a->sum == b->sum &&
           a->sealed == b->sealed;
}

/* What the leader has is all that is committed: it was with a majority, and so is he elected. */
static bool has_all(struct sim *sim, unsigned p, const struct truth *t, const struct replica *had)
{
    const bool is_next = t->last.incarnation + 1 == had->incarnation && !had->sealed &&
                         (had->incarnation == 1 || t->last.sealed) && t->last.index == had->index &&
                         t->last.sum == had->sum;
    if (!is_same(&t->last, had) && !is_next) {
        sim_fail(sim,
                 "partition %u: incarnation %u would commit behind %llu, and incarnation %u has "
                 "come to %llu%s",
                 p, had->incarnation, (unsigned long long)had->index, t->last.incarnation,
                 (unsigned long long)t->last.index, t->last.sealed ? ", sealed" : "");
        return false;
    }
    return true;
}

static void commit(struct sim *sim, unsigned p, struct truth *t, struct party *all, unsigned count,
                   struct party *asked)
{
    struct party *some[META_NODES_MAX];
    struct party *leader = asked;
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        if (takes_part(sim, asked, &all[i])) {
            some[n++] = &all[i];
            leader = all[i].replica->index > leader->replica->index ? &all[i] : leader;
        }
    }
    struct replica now = *leader->replica;
    const bool is_over = now.sealed; /* and nothing comes any more, but to who lacks the end */
    if (2 * n <= asked->duty.servers.count || (!is_over && !has_all(sim, p, t, &now))) {
        return;
    }
    if (!is_over) {
        now.sealed = may_seal(all, count, leader);
        now.index++;
        now.sum = XXH3_64bits_withSeed(&now.index, sizeof now.index, now.sum + now.incarnation);
    }
    for (unsigned i = 0; i < n; i++) {
        become(sim, some[i], &now);
    }
    if (!is_over) {
        t->last = now;
        t->is_calm = sim_is_calm(sim);
    }
}

void meta_model_step(struct meta_model *m, struct sim *sim, struct cluster_uuid cluster)
{
    struct random *const r = sim_world_random(sim);
    for (unsigned k = 0; k < AT_A_TIME; k++) {
        struct party all[META_NODES_MAX];
        const unsigned p = random_below(r, NODE_META_PARTITIONS);
        const unsigned count = parties(m, sim, cluster, p, all);
        if (count == 0) {
            return;
        }
        for (unsigned i = 0; i < count; i++) {
            forget(&all[i]);
            start(sim, p, &m->truth[p], &all[i]);
            copy(sim, all, count, &all[i]);
        }
        struct party *const asked = &all[random_below(r, count)];
        if (asked->duty.run != 0 && asked->replica->incarnation == asked->duty.run) {
            commit(sim, p, &m->truth[p], all, count, asked);
        }
    }
}

/* ---- What META is told */

size_t meta_model_report(struct meta_model *m, struct meta_node *n, uint8_t *out)
{
    const struct holder *const h = holder_of(m, n->uuid);
    size_t len = 0;
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct replica *const r = &h->replicas[p];
        const struct meta_duty d = meta_duty(&n->state, formation_number(n->formation), p);
        if (d.changed < r->changed) {
            continue;
        }
        if (d.run != 0 && r->incarnation == d.run && r->sealed && !d.sealed) {
            const struct node_report said = {.kind = NODE_REPORT_SEALED,
                                             .partition = (uint8_t)p,
                                             .incarnation = d.run,
                                             .index = r->index};
            len += node_report_encode(out + len, &said);
        }
        if (d.copy_sealed && r->incarnation == d.copy && r->sealed && r->index == d.copy_index) {
            const struct node_report said = {.kind = NODE_REPORT_HELD,
                                             .partition = (uint8_t)p,
                                             .incarnation = d.copy,
                                             .index = d.moved};
            len += node_report_encode(out + len, &said);
        }
    }
    return len;
}

/* ---- What is asked */

static const struct meta_member *member_with(const struct meta_state *state, struct node_uuid uuid)
{
    return meta_member_by_uuid(state, uuid);
}

void meta_model_started(struct meta_model *m, struct sim *sim, unsigned partition,
                        const struct meta_partition *p, const struct meta_state *state)
{
    unsigned have = 0;
    m->moves++;
    for (unsigned i = 0; i < m->count; i++) {
        const struct replica *const r = &m->holders[i].replicas[partition];
        const struct meta_member *const who = member_with(state, m->holders[i].uuid);
        have += who != NULL && node_replicas_has(&p->to, who->number) &&
                r->incarnation == p->incarnation && r->sealed && r->index == p->sealed &&
                r->sum == m->truth[partition].last.sum;
    }
    if (2 * have <= p->to.count) {
        sim_fail(sim, "partition %u starts anew with %u of %u who have what was sealed", partition,
                 have, p->to.count);
    }
}

static const struct replica *replica_of(struct meta_model *m, struct sim *sim, uint32_t number,
                                        unsigned partition, const struct meta_state *state)
{
    const struct meta_member *const who = meta_member_of(state, number);
    for (unsigned i = 0; who != NULL && i < sim_nodes(sim); i++) {
        const struct meta_node *const n = meta_node_at(sim, i);
        if (n != NULL && node_uuid_equal(n->uuid, who->uuid)) {
            return &holder_of(m, n->uuid)->replicas[partition];
        }
    }
    return NULL; /* it is down, or is no member any more */
}

bool meta_model_can_go_on(struct meta_model *m, struct sim *sim, unsigned partition,
                          const struct meta_state *state)
{
    const struct meta_partition *const p = &state->partitions[partition];
    unsigned up = 0;
    bool has_it = false, has_end = false;
    for (unsigned i = 0; i < p->replicas.count + p->to.count; i++) {
        const bool is_now = i < p->replicas.count;
        const uint32_t number = is_now ? p->replicas.at[i] : p->to.at[i - p->replicas.count];
        const struct replica *const r = replica_of(m, sim, number, partition, state);
        up += is_now && r != NULL;
        has_it = has_it || (r != NULL && (r->incarnation == p->incarnation ||
                                          is_beginning_of(r, p->incarnation, p->began)));
        has_end = has_end || (r != NULL && r->incarnation == p->incarnation && r->sealed);
    }
    return p->step == META_SEALED ? has_end : has_it && 2 * up > p->replicas.count;
}

bool meta_model_is_alive(const struct meta_model *m, unsigned partition,
                         const struct meta_partition *p)
{
    const struct truth *const t = &m->truth[partition];
    return t->is_calm && t->last.incarnation == p->incarnation;
}

void meta_model_calm(struct meta_model *m)
{
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        m->truth[p].is_calm = false;
    }
}

uint64_t meta_model_moves(const struct meta_model *m)
{
    return m->moves;
}
