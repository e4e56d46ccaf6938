/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/meta/decide.h"

#include <assert.h>
#include <string.h>

#include "cluster/meta/placement.h"

struct meta_limits meta_limits_defaults(void)
{
    return (struct meta_limits){.join_ms = 2000,
                                .stable_ms = 600000,
                                .dead_ms = 60000,
                                .remove_after_ms = 0,
                                .moves_max = 4,
                                .voters_max = 5};
}

/* What is asked for again and again, gathered once. */
struct look {
    const struct meta_state *state;
    const struct meta_view *view;
    const struct meta_limits *limits;
    struct meta_decision *decision;
    bool is_alive[META_MEMBERS_MAX];     /* by place in the state's members */
    uint64_t since_ms[META_MEMBERS_MAX]; /* alive, or dead */
};

static uint64_t ms_since(const struct look *l, uint64_t then_ms)
{
    return l->view->now_ms > then_ms ? l->view->now_ms - then_ms : 0;
}

static const struct meta_seen *seen_of(const struct meta_view *view, struct node_uuid uuid)
{
    for (unsigned i = 0; i < view->seen_count; i++) {
        if (node_uuid_equal(view->seen[i].node.uuid, uuid)) {
            return &view->seen[i];
        }
    }
    return NULL;
}

static void look_at(struct look *l)
{
    for (unsigned i = 0; i < l->state->members_count; i++) {
        const struct meta_seen *const s = seen_of(l->view, l->state->members[i].uuid);
        l->is_alive[i] = s != NULL && s->is_alive;
        l->since_ms[i] = s != NULL ? s->since_ms : 0;
    }
}

/* members_count: nobody has that number any more. */
static unsigned place_of(const struct look *l, uint32_t number)
{
    const struct meta_member *const m = meta_member_of(l->state, number);
    return m == NULL ? l->state->members_count : (unsigned)(m - l->state->members);
}

static bool is_alive(const struct look *l, uint32_t number)
{
    const unsigned i = place_of(l, number);
    return i < l->state->members_count && l->is_alive[i];
}

/* It is dead, for good as far as moves go, or is to have nothing. */
static bool is_lost(const struct look *l, uint32_t number, uint64_t dead_ms)
{
    const unsigned i = place_of(l, number);
    return i == l->state->members_count || l->state->members[i].state == META_LEAVING ||
           (!l->is_alive[i] && ms_since(l, l->since_ms[i]) >= dead_ms);
}

static struct node_meta_command *command(struct look *l, enum node_meta_kind kind)
{
    struct meta_decision *const d = l->decision;
    if (d->count == META_DECIDED_MAX) {
        return NULL;
    }
    d->commands[d->count] = (struct node_meta_command){.kind = (uint8_t)kind};
    return &d->commands[d->count++];
}

/* ---- Members */

static bool is_known_as_it_is(const struct look *l, const struct node_meta_node *node)
{
    const struct meta_member *const m = meta_member_by_uuid(l->state, node->uuid);
    return m != NULL && m->features == node->features &&
           bytes_equal(bytes_of(m->name, m->name_len), node->name) &&
           bytes_equal(bytes_of(m->zone, m->zone_len), node->zone);
}

static void add_one(struct look *l, const struct node_meta_node *node)
{
    uint8_t *const item = l->decision->items[l->decision->count % META_DECIDED_MAX];
    struct node_meta_command *const c = command(l, NODE_META_ADD);
    if (c != NULL) {
        c->items = bytes_of(item, node_meta_node_encode(item, node));
    }
}

static void add_members(struct look *l)
{
    for (unsigned i = 0; i < l->view->seen_count; i++) {
        const struct meta_seen *const s = &l->view->seen[i];
        if (s->is_alive && ms_since(l, s->since_ms) >= l->limits->join_ms &&
            s->node.features >= l->state->level && !meta_was_removed(l->state, s->node.uuid) &&
            !is_known_as_it_is(l, &s->node)) {
            add_one(l, &s->node);
        }
    }
}

static bool has_partitions(const struct look *l, uint32_t number)
{
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        if (node_replicas_has(&l->state->partitions[p].replicas, number) ||
            node_replicas_has(&l->state->partitions[p].to, number)) {
            return true;
        }
    }
    return false;
}

static bool most_live(const struct look *l)
{
    unsigned count = 0;
    for (unsigned i = 0; i < l->state->members_count; i++) {
        count += l->is_alive[i];
    }
    return 2 * count > l->state->members_count;
}

static bool is_forgotten(const struct look *l, const struct meta_member *m)
{
    for (unsigned i = 0; i < l->view->forgotten_count; i++) {
        if (node_uuid_equal(l->view->forgotten[i], m->uuid)) {
            return true;
        }
    }
    return false;
}

/* Another node has its name: so it is not its volume that the name has come back with. */
static bool is_replaced(const struct look *l, const struct meta_member *m)
{
    for (unsigned i = 0; i < l->state->members_count; i++) {
        const struct meta_member *const other = &l->state->members[i];
        if (other != m && l->is_alive[i] && other->state == META_MEMBER &&
            bytes_equal(bytes_of(other->name, other->name_len), bytes_of(m->name, m->name_len))) {
            return true;
        }
    }
    return false;
}

/* Who has just begun to look has seen nobody for long. */
static uint64_t since_own_start(const struct look *l)
{
    const unsigned i = place_of(l, l->view->self);
    return i == l->state->members_count ? l->view->now_ms : l->since_ms[i];
}

/* One at a time, as below. */
static void retire_one(struct look *l)
{
    for (unsigned i = 0; i < l->state->members_count; i++) {
        const struct meta_member *const m = &l->state->members[i];
        const bool is_long = ms_since(l, l->since_ms[i]) >= l->limits->dead_ms &&
                             ms_since(l, since_own_start(l)) >= l->limits->dead_ms;
        const bool is_gone = is_forgotten(l, m) || (is_long && is_replaced(l, m));
        if (m->state == META_MEMBER && !l->is_alive[i] && is_gone && most_live(l)) {
            struct node_meta_command *const c = command(l, NODE_META_LEAVING);
            if (c != NULL) {
                c->number = m->number;
                c->value = 1;
            }
            return;
        }
    }
}

/* One at a time: with each the others have more to bear. */
static void remove_one(struct look *l)
{
    for (unsigned i = 0; i < l->state->members_count; i++) {
        const struct meta_member *const m = &l->state->members[i];
        const bool is_done = m->state == META_LEAVING && !has_partitions(l, m->number);
        const bool is_given_up = l->limits->remove_after_ms > 0 && !l->is_alive[i] &&
                                 ms_since(l, l->since_ms[i]) >= l->limits->remove_after_ms;
        if (m->number != l->view->self && (is_done || is_given_up) && most_live(l)) {
            struct node_meta_command *const c = command(l, NODE_META_REMOVE);
            if (c != NULL) {
                c->number = m->number;
            }
            return;
        }
    }
}

static void raise_level(struct look *l)
{
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < l->state->members_count; i++) {
        const uint32_t features = l->state->members[i].features;
        least = features < least ? features : least;
    }
    if (least > l->state->level && least < UINT32_MAX) {
        struct node_meta_command *const c = command(l, NODE_META_FEATURES);
        if (c != NULL) {
            c->number = least;
        }
    }
}

/* ---- Partitions */

/* Members that may be given something: who stays, and has not been dead for that long; 0: lives. */
static unsigned candidates(const struct look *l, struct placement_member *out, uint64_t dead_ms)
{
    unsigned count = 0;
    for (unsigned i = 0; i < l->state->members_count; i++) {
        const struct meta_member *const m = &l->state->members[i];
        if (!is_lost(l, m->number, dead_ms)) {
            out[count++] = (struct placement_member){m->number, bytes_of(m->zone, m->zone_len)};
        }
    }
    return count;
}

static struct node_replicas best(const struct look *l, unsigned p)
{
    struct placement_member members[META_MEMBERS_MAX];
    const unsigned count = candidates(l, members, 0);
    return placement_choose(p, members, count, l->state->replicas);
}

static bool is_stable(const struct look *l)
{
    for (unsigned i = 0; i < l->state->members_count; i++) {
        if (!l->is_alive[i] || ms_since(l, l->since_ms[i]) < l->limits->stable_ms) {
            return false;
        }
    }
    return true;
}

static void move_to(struct look *l, unsigned p, const struct node_replicas *to)
{
    struct node_meta_command *const c = command(l, NODE_META_MOVE);
    if (c != NULL) {
        c->value = (uint8_t)p;
        c->incarnation = l->state->partitions[p].incarnation;
        c->replicas = *to;
    }
}

static unsigned count_lost(const struct look *l, const struct node_replicas *r, uint64_t dead_ms)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->count; i++) {
        count += is_lost(l, r->at[i], dead_ms);
    }
    return count;
}

static unsigned count_lives(const struct look *l, const struct node_replicas *r)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->count; i++) {
        count += is_alive(l, r->at[i]);
    }
    return count;
}

/* Enough of them live that nothing is risked by a move there: a majority of as many as there are,
 * but where so many are not to be had. */
static bool are_enough(const struct look *l, const struct node_replicas *wanted, unsigned now)
{
    const unsigned possible = meta_replicas_possible(l->state);
    const unsigned majority = now / 2 + 1;
    return wanted->count > 0 && wanted->count >= (possible < majority ? possible : majority);
}

/* Something that is to be left now, or fewer copies than there could be? */
static bool is_urgent(const struct look *l, const struct meta_partition *p,
                      const struct node_replicas *wanted)
{
    const bool is_short = p->replicas.count < meta_replicas_possible(l->state);
    return (count_lost(l, &p->replicas, UINT64_MAX) > 0 &&
            are_enough(l, wanted, p->replicas.count)) ||
           (is_short && wanted->count > p->replicas.count);
}

/* Who else would? A move that cannot go on takes no other one's place. */
static bool can_be_sealed(const struct look *l, const struct meta_partition *p)
{
    return 2 * count_lives(l, &p->replicas) > p->replicas.count;
}

static void begin_move(struct look *l, unsigned p, bool stable, unsigned *under_way)
{
    const struct meta_partition *const at = &l->state->partitions[p];
    const struct node_replicas wanted = best(l, p);
    if (*under_way >= l->limits->moves_max || wanted.count == 0 || !can_be_sealed(l, at) ||
        node_replicas_same(&wanted, &at->replicas) || (!stable && !is_urgent(l, at, &wanted))) {
        return;
    }
    move_to(l, p, &wanted);
    (*under_way)++;
}

static unsigned held_by(const struct look *l, unsigned p)
{
    const struct meta_partition *const at = &l->state->partitions[p];
    const struct meta_reported *const r = &l->view->reports->at[p];
    unsigned count = 0;
    for (unsigned i = 0; i < at->to.count; i++) {
        count += r->moved == at->moved && node_replicas_has(&r->held, at->to.at[i]);
    }
    return count;
}

static void say_sealed(struct look *l, unsigned p, uint64_t index)
{
    struct node_meta_command *const c = command(l, NODE_META_SEALED);
    if (c != NULL) {
        c->value = (uint8_t)p;
        c->incarnation = l->state->partitions[p].incarnation;
        c->index = index;
    }
}

static void say_started(struct look *l, unsigned p)
{
    struct node_meta_command *const c = command(l, NODE_META_STARTED);
    if (c != NULL) {
        c->value = (uint8_t)p;
        c->incarnation = l->state->partitions[p].incarnation;
        c->index = l->state->partitions[p].moved;
    }
}

/* Elsewhere, if who was to have it is lost; back, if that is best. */
static void mend_move(struct look *l, unsigned p)
{
    const struct meta_partition *const at = &l->state->partitions[p];
    const struct node_replicas wanted = best(l, p);
    if (count_lost(l, &at->to, l->limits->dead_ms) > 0 && are_enough(l, &wanted, at->to.count) &&
        !node_replicas_same(&wanted, &at->to)) {
        move_to(l, p, &wanted);
    }
}

static void go_on(struct look *l, unsigned p)
{
    const struct meta_partition *const at = &l->state->partitions[p];
    const struct meta_reported *const r = &l->view->reports->at[p];
    if (at->step != META_SEALED && r->incarnation == at->incarnation && r->sealed > 0) {
        say_sealed(l, p, r->sealed);
    } else if (at->step == META_SEALED &&
               2 * held_by(l, p) > at->to.count) { /* the others copy it from those */
        say_started(l, p);
    } else if (at->step != META_STEADY && most_live(l)) {
        mend_move(l, p);
    }
}

static void move_partitions(struct look *l)
{
    unsigned under_way = 0;
    const bool stable = is_stable(l);
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct meta_partition *const at = &l->state->partitions[p];
        under_way += at->step == META_SEALED || (at->step == META_COPYING && can_be_sealed(l, at));
        go_on(l, p);
    }
    for (unsigned p = 0; p < NODE_META_PARTITIONS && most_live(l); p++) {
        const bool is_sealed =
            l->view->reports->at[p].sealed > 0 &&
            l->view->reports->at[p].incarnation == l->state->partitions[p].incarnation;
        if (l->state->partitions[p].step == META_STEADY && !is_sealed) {
            begin_move(l, p, stable, &under_way);
        }
    }
}

/* ---- META's own servers */

static unsigned odd(unsigned count)
{
    return count % 2 == 0 && count > 0 ? count - 1 : count;
}

static void change(struct look *l, uint32_t number, enum node_server_role role)
{
    if (l->decision->change == 0) {
        l->decision->change = number;
        l->decision->role = role;
    }
}

size_t meta_first_servers(uint8_t *out, struct bytes members, unsigned voters_max)
{
    struct placement_member first[NODE_META_FORM_MAX] = {{.number = 0}};
    struct node_meta_node node;
    unsigned count = 0;
    size_t len = 0;
    assert(voters_max >= 1);
    assert(members.len > 0);
    while (members.len > 0 && count < NODE_META_FORM_MAX && node_meta_node_next(&members, &node)) {
        first[count] = (struct placement_member){count + 1, node.zone};
        count++;
    }
    const unsigned most = odd(count < voters_max ? count : voters_max);
    const struct node_replicas voters = placement_choose(PLACEMENT_META, first, count, most);
    for (unsigned i = 0; i < count; i++) {
        const bool votes = node_replicas_has(&voters, first[i].number);
        const struct node_server server = {.id = first[i].number,
                                           .role = votes ? NODE_SERVER_VOTER : NODE_SERVER_STANDBY};
        len += node_server_encode(out + len, &server);
    }
    return len;
}

/* NODE_SERVER_NONE: it is no server. */
static enum node_server_role role_of(struct bytes servers, uint32_t number)
{
    struct node_server server;
    while (servers.len > 0 && node_server_next(&servers, &server)) {
        if (server.id == number) {
            return (enum node_server_role)server.role;
        }
    }
    return NODE_SERVER_NONE;
}

static void bring_in(struct look *l)
{
    for (unsigned i = 0; i < l->state->members_count; i++) {
        const struct meta_member *const m = &l->state->members[i];
        const enum node_server_role role = role_of(l->view->servers, m->number);
        if (role == NODE_SERVER_NONE || role == NODE_SERVER_SPARE) {
            change(l, m->number,
                   role == NODE_SERVER_NONE ? NODE_SERVER_SPARE : NODE_SERVER_STANDBY);
        }
    }
}

static unsigned count_voters(struct bytes servers)
{
    struct node_server server;
    unsigned count = 0;
    while (servers.len > 0 && node_server_next(&servers, &server)) {
        count += server.role == NODE_SERVER_VOTER;
    }
    return count;
}

static unsigned least_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* As many as the members are for, dead or not: who dies leaves no fewer copies of META's log
 * behind. A dead one has its vote until another one can. */
static struct node_replicas wanted_voters(const struct look *l)
{
    struct placement_member members[META_MEMBERS_MAX];
    const unsigned all = candidates(l, members, UINT64_MAX);
    const unsigned want = odd(least_of(all, l->limits->voters_max));
    const unsigned live = candidates(l, members, l->limits->dead_ms);
    struct node_replicas wanted = {.count = 0};
    struct bytes rest = l->view->servers;
    struct node_server server;
    if (live > 0) {
        wanted = placement_choose(PLACEMENT_META, members, live, want);
    }
    while (wanted.count < want && rest.len > 0 && node_server_next(&rest, &server)) {
        const uint32_t number = (uint32_t)server.id;
        if (server.role == NODE_SERVER_VOTER && !is_lost(l, number, UINT64_MAX) &&
            !node_replicas_has(&wanted, number)) {
            wanted.at[wanted.count++] = number;
        }
    }
    return wanted;
}

static void promote(struct look *l, const struct node_replicas *wanted)
{
    for (unsigned i = 0; i < wanted->count; i++) {
        if (role_of(l->view->servers, wanted->at[i]) == NODE_SERVER_STANDBY &&
            is_alive(l, wanted->at[i])) {
            change(l, wanted->at[i], NODE_SERVER_VOTER);
        }
    }
}

static bool all_vote(const struct look *l, const struct node_replicas *wanted)
{
    for (unsigned i = 0; i < wanted->count; i++) {
        if (role_of(l->view->servers, wanted->at[i]) != NODE_SERVER_VOTER) {
            return false;
        }
    }
    return true;
}

/* The dead ones first: each of them is a vote that is missing. */
static void demote(struct look *l, const struct node_replicas *wanted)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        struct bytes rest = l->view->servers;
        struct node_server server;
        while (rest.len > 0 && node_server_next(&rest, &server)) {
            const uint32_t number = (uint32_t)server.id;
            if (server.role == NODE_SERVER_VOTER && number != l->view->self &&
                !node_replicas_has(wanted, number) && (pass == 1 || !is_alive(l, number))) {
                change(l, number, NODE_SERVER_STANDBY);
            }
        }
    }
}

/* Who was removed and votes no more. */
static void take_out(struct look *l)
{
    struct bytes rest = l->view->servers;
    struct node_server server;
    while (rest.len > 0 && node_server_next(&rest, &server)) {
        const uint32_t number = (uint32_t)server.id;
        if (number != l->view->self && server.role != NODE_SERVER_VOTER &&
            meta_member_of(l->state, number) == NULL) {
            change(l, number, NODE_SERVER_NONE);
        }
    }
}

static void hand_over(struct look *l, const struct node_replicas *wanted)
{
    if (node_replicas_has(wanted, l->view->self)) {
        return;
    }
    for (unsigned i = 0; i < wanted->count; i++) {
        if (role_of(l->view->servers, wanted->at[i]) == NODE_SERVER_VOTER &&
            is_alive(l, wanted->at[i])) {
            l->decision->lead = wanted->at[i];
            return;
        }
    }
}

/* Not while most are dead, or have not been heard of yet: nobody's vote is taken on that word. */
static void keep_servers(struct look *l)
{
    const struct node_replicas wanted = wanted_voters(l);
    const bool too_many = count_voters(l->view->servers) > wanted.count;
    if (most_live(l) && (too_many || all_vote(l, &wanted))) {
        demote(l, &wanted);
    }
    promote(l, &wanted);
    take_out(l);
    bring_in(l);
    if (l->decision->change == 0) {
        hand_over(l, &wanted);
    }
}

void meta_decide(struct meta_decision *decision, const struct meta_state *state,
                 const struct meta_view *view, const struct meta_limits *limits)
{
    struct look l = {.state = state, .view = view, .limits = limits, .decision = decision};
    memset(decision, 0, sizeof *decision);
    if (cluster_uuid_is_none(state->cluster)) {
        if (view->form != NULL) {
            decision->commands[decision->count++] = *view->form;
        }
        return;
    }
    look_at(&l);
    add_members(&l);
    retire_one(&l);
    remove_one(&l);
    raise_level(&l);
    move_partitions(&l);
    keep_servers(&l);
}

/* ---- Reports */

void meta_reports_take(struct meta_reports *reports, const struct meta_state *state,
                       uint32_t number, struct bytes items)
{
    struct node_report r;
    while (items.len > 0 && node_report_next(&items, &r)) {
        const struct meta_partition *const p = &state->partitions[r.partition];
        struct meta_reported *const at = &reports->at[r.partition];
        if (r.incarnation != p->incarnation || r.index == 0) {
            continue;
        }
        if (r.kind == NODE_REPORT_SEALED && node_replicas_has(&p->replicas, number)) {
            at->incarnation = r.incarnation;
            at->sealed = r.index;
        } else if (r.kind == NODE_REPORT_HELD && r.index == p->moved &&
                   node_replicas_has(&p->to, number)) {
            if (at->moved != p->moved) {
                at->moved = p->moved;
                at->held = (struct node_replicas){.count = 0};
            }
            if (!node_replicas_has(&at->held, number)) {
                at->held.at[at->held.count++] = number;
            }
        }
    }
}
