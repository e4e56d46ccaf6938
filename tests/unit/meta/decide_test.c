/* SPDX-License-Identifier: Apache-2.0 */
/* What the leader of META proposes, given who lives and what members have reported. */
#include "cluster/meta/decide.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cluster/meta/placement.h"

#define NODES_MAX 12u
#define NOW_MS    UINT64_C(10000000)

static struct meta_state state;
static struct meta_seen seen[NODES_MAX];
static char names[NODES_MAX][16];
static struct meta_reports reports;
static struct meta_view view;
static struct meta_limits limits;
static struct meta_decision decision;
static uint8_t servers[META_MEMBERS_MAX * NODE_SERVER_BYTES];
static uint64_t last_index;

static void see(unsigned n, bool is_alive, uint64_t for_ms)
{
    (void)snprintf(names[n - 1], sizeof names[0], "node-%u", n);
    seen[n - 1] = (struct meta_seen){.node = {.uuid = {{1, (uint8_t)n}},
                                              .features = 1,
                                              .name = bytes_text(names[n - 1]),
                                              .zone = bytes_text("z")},
                                     .is_alive = is_alive,
                                     .since_ms = view.now_ms - for_ms};
    view.seen_count = view.seen_count < n ? n : view.seen_count;
}

static void serve(uint32_t number, enum node_server_role role)
{
    const struct node_server server = {.id = number, .role = (uint8_t)role};
    view.servers = bytes_of(servers, view.servers.len +
                                         node_server_encode(servers + view.servers.len, &server));
}

static enum meta_outcome apply(const struct node_meta_command *c)
{
    uint8_t out[NODE_META_HEAD_MAX + NODE_META_FORM_MAX * NODE_META_NODE_MAX];
    return meta_apply(&state, bytes_of(out, node_meta_command_encode(out, c)), ++last_index);
}

/* That many members, who have lived for an hour, and vote; this one is the first. */
static void begin(unsigned count)
{
    uint8_t items[NODES_MAX * NODE_META_NODE_MAX];
    size_t len = 0;
    meta_init(&state);
    memset(&reports, 0, sizeof reports);
    last_index = 0;
    limits = meta_limits_defaults();
    view = (struct meta_view){.now_ms = NOW_MS, .self = 1, .seen = seen, .reports = &reports};
    for (unsigned n = 1; n <= count; n++) {
        see(n, true, 3600000);
        serve(n, NODE_SERVER_VOTER);
        len += node_meta_node_encode(items + len, &seen[n - 1].node);
    }
    cr_assert_eq(
        apply(&(struct node_meta_command){
            .kind = NODE_META_FORM, .value = 3, .cluster = {{7}}, .items = bytes_of(items, len)}),
        META_APPLIED);
    cr_assert_eq(apply(&(struct node_meta_command){.kind = NODE_META_FEATURES, .number = 1}),
                 META_APPLIED);
}

static void decide(void)
{
    meta_decide(&decision, &state, &view, &limits);
}

static unsigned count_of(enum node_meta_kind kind)
{
    unsigned count = 0;
    for (unsigned i = 0; i < decision.count; i++) {
        count += decision.commands[i].kind == kind;
    }
    return count;
}

static void apply_all(void)
{
    for (unsigned i = 0; i < decision.count; i++) {
        (void)apply(&decision.commands[i]);
    }
}

/* Whoever has to report that it is sealed, or that it is held, does so. */
static void report_all(void)
{
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct meta_partition *const at = &state.partitions[p];
        uint8_t item[NODE_REPORT_BYTES];
        const struct node_report r = {.kind = at->step == META_COPYING ? NODE_REPORT_SEALED
                                                                       : NODE_REPORT_HELD,
                                      .partition = (uint8_t)p,
                                      .incarnation = at->incarnation,
                                      .index = at->step == META_COPYING ? 100 + p : at->moved};
        const struct bytes items = bytes_of(item, node_report_encode(item, &r));
        const struct node_replicas *const who = at->step == META_COPYING ? &at->replicas : &at->to;
        for (unsigned i = 0; at->step != META_STEADY && i < who->count; i++) {
            meta_reports_take(&reports, &state, who->at[i], items);
        }
    }
}

/* Until nothing is to be done; how many moves came to their end. */
static unsigned run(void)
{
    unsigned started = 0;
    for (unsigned round = 0; round < 1000; round++) {
        report_all();
        decide();
        started += count_of(NODE_META_STARTED);
        if (decision.count == 0) {
            return started;
        }
        unsigned moving = 0;
        apply_all();
        for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
            moving += state.partitions[p].step != META_STEADY;
        }
        cr_assert_leq(moving, limits.moves_max);
    }
    cr_assert_fail("it does not come to an end");
    return started;
}

static void all_are_where_they_should_be(void)
{
    struct placement_member members[META_MEMBERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < state.members_count; i++) {
        const struct meta_member *const m = &state.members[i];
        if (m->state == META_MEMBER) {
            members[count++] = (struct placement_member){m->number, bytes_of(m->zone, m->zone_len)};
        }
    }
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct node_replicas wanted = placement_choose(p, members, count, state.replicas);
        cr_expect(node_replicas_same(&wanted, &state.partitions[p].replicas), "%u", p);
    }
}

Test(decide, an_empty_log_begins_with_form)
{
    const struct node_meta_command form = {.kind = NODE_META_FORM, .value = 3};
    meta_init(&state);
    limits = meta_limits_defaults();
    view = (struct meta_view){.now_ms = NOW_MS, .reports = &reports};
    decide();
    cr_expect_eq(decision.count, 0, "nobody knows how");
    view.form = &form;
    decide();
    cr_expect_eq(count_of(NODE_META_FORM), 1);
}

Test(decide, nothing_is_done_when_all_is_well)
{
    begin(3);
    decide();
    cr_expect_eq(decision.count, 0);
    cr_expect_eq(decision.change, 0);
    cr_expect_eq(decision.lead, 0);
}

Test(decide, who_comes_becomes_a_member_and_is_given_its_part_when_it_has_stayed)
{
    begin(3);
    see(4, true, 100);
    decide();
    cr_expect_eq(decision.count, 0, "it may only pass by");
    see(4, true, 5000);
    decide();
    cr_assert_eq(count_of(NODE_META_ADD), 1);
    apply_all();
    decide();
    cr_expect_eq(count_of(NODE_META_MOVE), 0, "not yet");
    cr_expect_eq(decision.change, 4);
    cr_expect_eq(decision.role, NODE_SERVER_SPARE);
    serve(4, NODE_SERVER_SPARE);
    decide();
    cr_expect_eq(decision.change, 4);
    cr_expect_eq(decision.role, NODE_SERVER_STANDBY);
    see(4, true, 700000);
    cr_expect_gt(run(), 30);
    all_are_where_they_should_be();
}

Test(decide, who_was_removed_is_not_asked_back)
{
    begin(4);
    cr_assert_eq(apply(&(struct node_meta_command){.kind = NODE_META_REMOVE, .number = 4}),
                 META_APPLIED);
    decide();
    cr_expect_eq(count_of(NODE_META_ADD), 0);
}

Test(decide, who_is_dead_keeps_what_it_has_and_who_is_removed_does_not)
{
    begin(4);
    see(4, false, 3600000);
    decide();
    cr_expect_eq(decision.count, 0, "it may come back");
    cr_assert_eq(apply(&(struct node_meta_command){.kind = NODE_META_REMOVE, .number = 4}),
                 META_APPLIED);
    cr_expect_gt(run(), 30);
    all_are_where_they_should_be();
}

Test(decide, who_has_been_dead_for_long_is_removed_if_that_is_wanted)
{
    begin(4);
    see(4, false, 3600000);
    limits.remove_after_ms = 1000000;
    decide();
    cr_expect_eq(count_of(NODE_META_REMOVE), 1);
    limits.remove_after_ms = 4000000;
    decide();
    cr_expect_eq(count_of(NODE_META_REMOVE), 0);
}

Test(decide, who_leaves_hands_over_and_is_removed)
{
    begin(4);
    cr_assert_eq(
        apply(&(struct node_meta_command){.kind = NODE_META_LEAVING, .number = 3, .value = 1}),
        META_APPLIED);
    decide();
    cr_expect_eq(count_of(NODE_META_MOVE), limits.moves_max);
    cr_expect_eq(count_of(NODE_META_REMOVE), 0);
    cr_expect_gt(run(), 30);
    all_are_where_they_should_be();
    cr_expect_null(meta_member_of(&state, 3));
}

/* The leader has only just started, or is on the wrong side. */
Test(decide, while_most_are_dead_nothing_is_taken_from_anybody)
{
    begin(5);
    cr_assert_eq(
        apply(&(struct node_meta_command){.kind = NODE_META_LEAVING, .number = 5, .value = 1}),
        META_APPLIED);
    for (unsigned n = 2; n <= 4; n++) {
        see(n, false, 3600000);
    }
    limits.remove_after_ms = 1000;
    decide();
    cr_expect_eq(decision.count, 0);
    cr_expect_eq(decision.change, 0);
}

Test(decide, two_of_three_take_over)
{
    begin(4);
    const struct meta_partition *const p = &state.partitions[0];
    struct node_replicas to = {3, {1, 2, 3}};
    if (node_replicas_same(&to, &p->replicas)) {
        to.at[2] = 4;
    }
    cr_assert_eq(apply(&(struct node_meta_command){
                     .kind = NODE_META_MOVE, .incarnation = 1, .replicas = to}),
                 META_APPLIED);
    report_all();
    decide();
    cr_assert_eq(count_of(NODE_META_SEALED), 1);
    apply_all();
    uint8_t item[NODE_REPORT_BYTES];
    struct node_report r = {.kind = NODE_REPORT_HELD, .incarnation = 1, .index = p->moved};
    meta_reports_take(&reports, &state, to.at[0], bytes_of(item, node_report_encode(item, &r)));
    decide();
    cr_expect_eq(count_of(NODE_META_STARTED), 0, "one is no majority");
    r.index = p->moved + 1;
    meta_reports_take(&reports, &state, to.at[1], bytes_of(item, node_report_encode(item, &r)));
    decide();
    cr_expect_eq(count_of(NODE_META_STARTED), 0, "of another move");
    r.index = p->moved;
    meta_reports_take(&reports, &state, to.at[1], bytes_of(item, node_report_encode(item, &r)));
    meta_reports_take(&reports, &state, to.at[1], bytes_of(item, node_report_encode(item, &r)));
    decide();
    cr_expect_eq(count_of(NODE_META_STARTED), 1, "the third may not be able to, and copies it");
}

Test(decide, a_move_to_who_is_dead_goes_elsewhere)
{
    begin(5);
    const struct meta_partition *const p = &state.partitions[0];
    struct node_replicas to = p->replicas;
    for (uint32_t n = 1; n <= 5; n++) {
        if (!node_replicas_has(&p->replicas, n)) {
            to.at[2] = n;
        }
    }
    cr_assert_eq(apply(&(struct node_meta_command){
                     .kind = NODE_META_MOVE, .incarnation = 1, .replicas = to}),
                 META_APPLIED);
    see(to.at[2], false, limits.dead_ms - 1);
    decide();
    cr_expect_eq(count_of(NODE_META_MOVE), 0);
    see(to.at[2], false, limits.dead_ms);
    decide();
    cr_assert_eq(count_of(NODE_META_MOVE), 1);
    cr_expect_not(node_replicas_has(&decision.commands[0].replicas, to.at[2]));
}

/* A partition that has lost its majority stays where it is, and is in nobody's way. */
Test(decide, a_move_that_cannot_go_on_takes_no_place)
{
    begin(7);
    limits.moves_max = 1;
    unsigned stuck = 0;
    while (node_replicas_has(&state.partitions[stuck].replicas, 1)) {
        stuck++;
    }
    const struct node_replicas old = state.partitions[stuck].replicas;
    cr_assert_eq(apply(&(struct node_meta_command){.kind = NODE_META_MOVE,
                                                   .value = (uint8_t)stuck,
                                                   .incarnation = 1,
                                                   .replicas = {1, {1}}}),
                 META_APPLIED);
    see(old.at[0], false, 10);
    see(old.at[1], false, 10);
    uint32_t leaves = 2;
    while (node_replicas_has(&old, leaves)) {
        leaves++;
    }
    cr_assert_eq(
        apply(&(struct node_meta_command){.kind = NODE_META_LEAVING, .number = leaves, .value = 1}),
        META_APPLIED);
    decide();
    cr_expect_eq(count_of(NODE_META_MOVE), 1);
}

/* ---- META's own servers */

static unsigned voters(void)
{
    struct bytes rest = view.servers;
    struct node_server server;
    unsigned count = 0;
    while (rest.len > 0 && node_server_next(&rest, &server)) {
        count += server.role == NODE_SERVER_VOTER;
    }
    return count;
}

/* As consensus_change() would have it; one that is unknown comes in as a spare. */
static void change_servers(void)
{
    struct bytes rest = view.servers;
    struct node_server server, all[NODES_MAX + 1];
    unsigned count = 0;
    bool is_known = false;
    while (rest.len > 0 && node_server_next(&rest, &server)) {
        if (server.id == decision.change) {
            is_known = true;
            server.role = (uint8_t)decision.role;
        }
        if (server.role != NODE_SERVER_NONE) {
            all[count++] = server;
        }
    }
    if (!is_known) {
        all[count++] = (struct node_server){.id = decision.change, .role = NODE_SERVER_SPARE};
    }
    view.servers.len = 0;
    for (unsigned i = 0; i < count; i++) {
        serve((uint32_t)all[i].id, (enum node_server_role)all[i].role);
    }
}

static void settle_servers(void)
{
    for (unsigned i = 0; i < 50; i++) {
        decide();
        view.self = decision.lead != 0 ? decision.lead : view.self;
        if (decision.change == 0 && decision.lead == 0) {
            return;
        }
        if (decision.change != 0) {
            cr_assert_neq(decision.change, view.self, "a leader does not change itself");
            change_servers();
        }
        cr_assert_geq(voters(), 1);
    }
    cr_assert_fail("it does not come to an end");
}

Test(decide, voters_are_an_odd_number_of_those_that_live)
{
    begin(7);
    settle_servers();
    cr_expect_eq(voters(), 5);
    for (unsigned n = 7; n > 2; n--) {
        see(n, false, limits.dead_ms - 1);
        settle_servers();
        cr_expect_eq(voters(), 5, "%u may be starting again", n);
        cr_assert_eq(apply(&(struct node_meta_command){.kind = NODE_META_REMOVE, .number = n}),
                     META_APPLIED);
        settle_servers();
        cr_expect_eq(voters(), n > 5 ? 5 : n > 3 ? 3 : 1);
        if (n == 6) {
            return; /* one at a time, that is enough */
        }
    }
}

Test(decide, who_leads_and_is_to_vote_no_more_hands_over_first)
{
    begin(4);
    settle_servers();
    cr_assert_eq(voters(), 3);
    const uint32_t leader = view.self;
    cr_assert_eq(
        apply(&(struct node_meta_command){.kind = NODE_META_LEAVING, .number = leader, .value = 1}),
        META_APPLIED);
    settle_servers();
    cr_expect_neq(view.self, leader);
    cr_expect_eq(voters(), 3);
}

Test(decide, first_servers_are_the_same_for_all)
{
    uint8_t out[NODE_META_FORM_MAX * NODE_SERVER_BYTES], items[NODES_MAX * NODE_META_NODE_MAX];
    size_t len = 0;
    view = (struct meta_view){.now_ms = NOW_MS};
    for (unsigned n = 1; n <= 8; n++) {
        see(n, true, 1);
        len += node_meta_node_encode(items + len, &seen[n - 1].node);
        view.servers = bytes_of(out, meta_first_servers(out, bytes_of(items, len), 5));
        cr_expect_eq(view.servers.len, n * NODE_SERVER_BYTES);
        cr_expect_eq(voters(), n >= 5 ? 5 : n >= 3 ? 3 : 1);
    }
}
