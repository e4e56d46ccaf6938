/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/meta/meta.h"

#include <assert.h>
#include <string.h>

#include "cluster/meta/meta_parts.h"
#include "cluster/meta/placement.h"

const char *meta_outcome_text(enum meta_outcome outcome)
{
    static const char *const texts[META_OUTCOMES] = {
        [META_APPLIED] = "APPLIED",
        [META_SAME] = "SAME",
        [META_MALFORMED] = "MALFORMED",
        [META_UNKNOWN] = "UNKNOWN",
        [META_NOT_FORMED] = "NOT_FORMED",
        [META_FORMED] = "FORMED",
        [META_NO_MEMBER] = "NO_MEMBER",
        [META_WAS_REMOVED] = "WAS_REMOVED",
        [META_FULL] = "FULL",
        [META_LAST] = "LAST",
        [META_TOO_OLD] = "TOO_OLD",
        [META_NOT_ALL_KNOW] = "NOT_ALL_KNOW",
        [META_NO_PARTITION] = "NO_PARTITION",
        [META_OTHER_MOVE] = "OTHER_MOVE",
        [META_WRONG_STEP] = "WRONG_STEP",
        [META_UNFIT_REPLICAS] = "UNFIT_REPLICAS",
    };
    assert(outcome < META_OUTCOMES);
    return texts[outcome];
}

const char *meta_step_text(uint8_t step)
{
    static const char *const texts[] = {
        [META_STEADY] = "steady", [META_COPYING] = "copying", [META_SEALED] = "sealed"};
    return texts[step];
}

void meta_init(struct meta_state *state)
{
    memset(state, 0, sizeof *state); /* padding, too */
    state->next_number = 1;
}

/* ---- Who is there */

static struct meta_member *member_of(struct meta_state *s, uint32_t number)
{
    for (unsigned i = 0; i < s->members_count; i++) {
        if (s->members[i].number == number) {
            return &s->members[i];
        }
    }
    return NULL;
}

static struct meta_member *member_by_uuid(struct meta_state *s, struct node_uuid uuid)
{
    for (unsigned i = 0; i < s->members_count; i++) {
        if (node_uuid_equal(s->members[i].uuid, uuid)) {
            return &s->members[i];
        }
    }
    return NULL;
}

const struct meta_member *meta_member_of(const struct meta_state *state, uint32_t number)
{
    return member_of((struct meta_state *)(uintptr_t)state, number);
}

const struct meta_member *meta_member_by_uuid(const struct meta_state *state, struct node_uuid uuid)
{
    return member_by_uuid((struct meta_state *)(uintptr_t)state, uuid);
}

bool meta_was_removed(const struct meta_state *state, struct node_uuid uuid)
{
    for (unsigned i = 0; i < state->removed_count; i++) {
        if (node_uuid_equal(state->removed[i].uuid, uuid)) {
            return true;
        }
    }
    return false;
}

static unsigned staying(const struct meta_state *s)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->members_count; i++) {
        count += s->members[i].state == META_MEMBER;
    }
    return count;
}

unsigned meta_replicas_possible(const struct meta_state *state)
{
    const unsigned count = staying(state);
    return count < state->replicas ? count : state->replicas;
}

/* ---- Members */

bool meta_replicas_are_known(uint8_t replicas)
{
    return replicas == 1 || replicas == 3 || replicas == 5;
}

static void describe(struct meta_member *m, const struct node_meta_node *node)
{
    m->uuid = node->uuid;
    m->features = node->features;
    m->name_len = (uint8_t)node->name.len;
    m->zone_len = (uint8_t)node->zone.len;
    memset(m->name, 0, sizeof m->name);
    memset(m->zone, 0, sizeof m->zone);
    memcpy(m->name, node->name.at, node->name.len);
    if (node->zone.len > 0) {
        memcpy(m->zone, node->zone.at, node->zone.len);
    }
}

static void append(struct meta_state *s, const struct node_meta_node *node)
{
    struct meta_member *const m = &s->members[s->members_count++];
    memset(m, 0, sizeof *m);
    m->number = s->next_number++;
    describe(m, node);
}

static void place_all(struct meta_state *s, uint64_t index)
{
    struct placement_member members[META_MEMBERS_MAX];
    for (unsigned i = 0; i < s->members_count; i++) {
        const struct meta_member *const m = &s->members[i];
        members[i] = (struct placement_member){m->number, bytes_of(m->zone, m->zone_len)};
    }
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        s->partitions[p].incarnation = 1;
        s->partitions[p].changed = index;
        s->partitions[p].replicas = placement_choose(p, members, s->members_count, s->replicas);
    }
}

static enum meta_outcome form(struct meta_state *s, const struct node_meta_command *c,
                              uint64_t index)
{
    struct bytes rest = c->items;
    struct node_meta_node node;
    unsigned count;
    if (!node_meta_nodes_check(c->items, NODE_META_FORM_MAX, &count) || count == 0 ||
        cluster_uuid_is_none(c->cluster)) {
        return META_MALFORMED;
    }
    if (!meta_replicas_are_known(c->value)) {
        return META_UNFIT_REPLICAS;
    }
    s->cluster = c->cluster;
    s->replicas = c->value;
    while (node_meta_node_next(&rest, &node)) {
        append(s, &node);
    }
    place_all(s, index);
    return META_APPLIED;
}

static bool is_as_described(const struct meta_member *m, const struct node_meta_node *node)
{
    return m->features == node->features &&
           bytes_equal(bytes_of(m->name, m->name_len), node->name) &&
           bytes_equal(bytes_of(m->zone, m->zone_len), node->zone);
}

static enum meta_outcome add(struct meta_state *s, const struct node_meta_command *c)
{
    struct bytes rest = c->items;
    struct node_meta_node node;
    if (!node_meta_node_next(&rest, &node) || rest.len > 0) {
        return META_MALFORMED;
    }
    struct meta_member *const m = member_by_uuid(s, node.uuid);
    if (m == NULL && meta_was_removed(s, node.uuid)) {
        return META_WAS_REMOVED;
    }
    if (node.features < s->level) {
        return META_TOO_OLD;
    }
    if (m != NULL) {
        if (is_as_described(m, &node)) {
            return META_SAME;
        }
        describe(m, &node);
        return META_APPLIED;
    }
    if (s->members_count == META_MEMBERS_MAX || s->next_number == UINT32_MAX) {
        return META_FULL;
    }
    append(s, &node);
    return META_APPLIED;
}

static enum meta_outcome set_leaving(struct meta_state *s, const struct node_meta_command *c)
{
    struct meta_member *const m = member_of(s, c->number);
    const uint8_t state = c->value == 0 ? META_MEMBER : META_LEAVING;
    if (m == NULL) {
        return META_NO_MEMBER;
    }
    if (m->state == state) {
        return META_SAME;
    }
    if (state == META_LEAVING && staying(s) == 1) {
        return META_LAST;
    }
    m->state = state;
    return META_APPLIED;
}

static void remember_removed(struct meta_state *s, const struct meta_member *m)
{
    if (s->removed_count == META_REMOVED_MAX) {
        s->removed_count--;
        memmove(&s->removed[0], &s->removed[1], s->removed_count * sizeof s->removed[0]);
    }
    unsigned at = s->removed_count++;
    for (; at > 0 && s->removed[at - 1].number > m->number; at--) {
        s->removed[at] = s->removed[at - 1];
    }
    s->removed[at].number = m->number;
    s->removed[at].uuid = m->uuid;
}

static enum meta_outcome remove_member(struct meta_state *s, const struct node_meta_command *c)
{
    struct meta_member *const m = member_of(s, c->number);
    if (m == NULL) {
        return META_NO_MEMBER;
    }
    if (m->state == META_MEMBER && staying(s) == 1) {
        return META_LAST;
    }
    remember_removed(s, m);
    const size_t at = (size_t)(m - s->members);
    s->members_count--;
    memmove(m, m + 1, (s->members_count - at) * sizeof *m);
    return META_APPLIED;
}

static enum meta_outcome set_replicas(struct meta_state *s, const struct node_meta_command *c)
{
    if (!meta_replicas_are_known(c->value)) {
        return META_UNFIT_REPLICAS;
    }
    if (s->replicas == c->value) {
        return META_SAME;
    }
    s->replicas = c->value;
    return META_APPLIED;
}

static enum meta_outcome set_level(struct meta_state *s, const struct node_meta_command *c)
{
    if (s->level == c->number) {
        return META_SAME;
    }
    for (unsigned i = 0; i < s->members_count; i++) {
        if (s->members[i].features < c->number) {
            return META_NOT_ALL_KNOW;
        }
    }
    if (c->number < s->level) {
        return META_NOT_ALL_KNOW;
    }
    s->level = c->number;
    return META_APPLIED;
}

/* ---- Partitions */

static bool may_have_it(struct meta_state *s, const struct node_replicas *r)
{
    if (r->count > s->replicas) {
        return false;
    }
    for (unsigned i = 0; i < r->count; i++) {
        const struct meta_member *const m = member_of(s, r->at[i]);
        if (m == NULL || m->state != META_MEMBER) {
            return false;
        }
    }
    return true;
}

static void settle(struct meta_partition *p)
{
    p->step = META_STEADY;
    p->to = (struct node_replicas){.count = 0};
    p->moved = p->sealed = 0;
}

/* To where it is: what is under way ends, if nothing has been sealed. */
static enum meta_outcome move_back(struct meta_partition *p)
{
    if (p->step == META_STEADY) {
        return META_SAME;
    }
    settle(p);
    return META_APPLIED;
}

static enum meta_outcome move(struct meta_state *s, struct meta_partition *p,
                              const struct node_meta_command *c, uint64_t index)
{
    if (!node_replicas_are_fair(&c->replicas)) {
        return META_UNFIT_REPLICAS;
    }
    if (p->step != META_SEALED && node_replicas_same(&c->replicas, &p->replicas)) {
        return move_back(p);
    }
    if (!may_have_it(s, &c->replicas)) {
        return META_UNFIT_REPLICAS;
    }
    if (p->step != META_STEADY && node_replicas_same(&c->replicas, &p->to)) {
        return META_SAME;
    }
    p->step = p->step == META_STEADY ? META_COPYING : p->step;
    p->to = c->replicas;
    p->moved = index;
    return META_APPLIED;
}

/* Also where no move is under way any more: its log has the end in it, and so it goes on as the
 * next incarnation, where it is. */
static enum meta_outcome sealed(struct meta_partition *p, const struct node_meta_command *c,
                                uint64_t index)
{
    if (p->step == META_SEALED) {
        return META_SAME;
    }
    if (c->index == 0) {
        return META_WRONG_STEP;
    }
    if (p->step == META_STEADY) {
        p->to = p->replicas;
        p->moved = index;
    }
    p->step = META_SEALED;
    p->sealed = c->index;
    return META_APPLIED;
}

static enum meta_outcome started(struct meta_partition *p, const struct node_meta_command *c)
{
    if (p->step != META_SEALED) {
        return META_WRONG_STEP;
    }
    if (p->moved != c->index) {
        return META_OTHER_MOVE;
    }
    p->incarnation++;
    p->replicas = p->to;
    p->began = p->sealed;
    settle(p);
    return META_APPLIED;
}

static enum meta_outcome of_partition(struct meta_state *s, const struct node_meta_command *c,
                                      uint64_t index)
{
    if (c->value >= NODE_META_PARTITIONS) {
        return META_NO_PARTITION;
    }
    struct meta_partition *const p = &s->partitions[c->value];
    if (c->incarnation != p->incarnation) {
        return META_OTHER_MOVE;
    }
    const enum meta_outcome outcome = c->kind == NODE_META_MOVE     ? move(s, p, c, index)
                                      : c->kind == NODE_META_SEALED ? sealed(p, c, index)
                                                                    : started(p, c);
    p->changed = outcome == META_APPLIED ? index : p->changed;
    return outcome;
}

enum meta_outcome meta_apply(struct meta_state *state, struct bytes entry, uint64_t index)
{
    struct node_meta_command c;
    const enum node_err err = node_meta_command_decode(&c, entry);
    if (err != NODE_OK) {
        return err == NODE_UNKNOWN_CRITICAL ? META_UNKNOWN : META_MALFORMED;
    }
    const bool is_formed = !cluster_uuid_is_none(state->cluster);
    if (is_formed != (c.kind != NODE_META_FORM)) {
        return is_formed ? META_FORMED : META_NOT_FORMED;
    }
    switch (c.kind) {
    case NODE_META_FORM:
        return form(state, &c, index);
    case NODE_META_ADD:
        return add(state, &c);
    case NODE_META_LEAVING:
        return set_leaving(state, &c);
    case NODE_META_REMOVE:
        return remove_member(state, &c);
    case NODE_META_MOVE:
    case NODE_META_SEALED:
    case NODE_META_STARTED:
        return of_partition(state, &c, index);
    case NODE_META_REPLICAS:
        return set_replicas(state, &c);
    case NODE_META_FEATURES:
        return set_level(state, &c);
    default:
        return META_UNKNOWN;
    }
}

/* ---- Duties */

static struct node_replicas others(const struct node_replicas *a, const struct node_replicas *b,
                                   uint32_t self)
{
    struct node_replicas r = {.count = 0};
    for (unsigned i = 0; i < a->count + b->count && r.count < NODE_META_REPLICAS_MAX; i++) {
        const uint32_t number = i < a->count ? a->at[i] : b->at[i - a->count];
        if (number != self && !node_replicas_has(&r, number)) {
            r.at[r.count++] = number;
        }
    }
    return r;
}

struct meta_duty meta_duty(const struct meta_state *state, uint32_t self, unsigned partition)
{
    assert(partition < NODE_META_PARTITIONS);

    const struct meta_partition *const p = &state->partitions[partition];
    const bool has = node_replicas_has(&p->replicas, self);
    const bool will_have = node_replicas_has(&p->to, self);
    struct meta_duty d = {.changed = p->changed, .forget = !has && !will_have};
    if (has) {
        d.run = p->incarnation;
        d.servers = p->replicas;
        d.begins = p->began;
        d.seal = p->step == META_COPYING;
        d.sealed = p->step == META_SEALED;
        d.to = p->to;
    }
    if (will_have && (p->step == META_SEALED || !has)) {
        d.copy = p->incarnation;
        d.copy_sealed = p->step == META_SEALED;
        d.copy_index = p->sealed;
        d.moved = p->moved;
    }
    d.from = others(&p->replicas, &p->to, self);
    return d;
}
