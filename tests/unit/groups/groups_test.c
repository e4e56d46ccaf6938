/* SPDX-License-Identifier: Apache-2.0 */
/* Whole nodes on one thread, their links and their journals, and groups on their shards. */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "cluster/link/link.h"
#include "proto/node_consensus.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_disk.h"
#include "tests/unit/groups/group_host.h"

#define META (HOST_GROUPS - 1)

/* libraft (0.15) loses 16 bytes when it is closed while it takes another server's snapshot. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libraft.so";
}

static const unsigned same[] = {2, 2, 2};

static void agree_on(unsigned a, unsigned b, unsigned c)
{
    const unsigned shards[] = {a, b, c};
    host_begin(3, shards, SETTINGS());
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned group = 0; group < HOST_GROUPS; group++) {
            host_propose_some(group, 20);
        }
        fake_cluster_advance(host.cluster, 200);
    }
    host_agree();
    for (unsigned group = 0; group < HOST_GROUPS; group++) {
        for (unsigned i = 0; i < 3; i++) {
            cr_expect_eq(host.of[i][group].state.count, 100, "%u %u", i, group);
        }
    }
    cr_expect_eq(host.ended_unknown, 0);
    host_end();
}

Test(groups, three_nodes_agree_on_all_of_them)
{
    agree_on(2, 2, 2);
}

/* A lane that one of two nodes does not have: mail, on either side. */
Test(groups, of_however_many_shards)
{
    agree_on(1, 3, 2);
    agree_on(4, 1, 3);
}

Test(groups, who_follows_says_who_leads)
{
    host_begin(3, same, SETTINGS());
    for (unsigned group = 0; group < HOST_GROUPS; group++) {
        const unsigned leader = host_leader(group);
        fake_cluster_advance(host.cluster, 500);
        for (unsigned i = 0; i < 3; i++) {
            const struct group_state state = host_state(i, group);
            cr_expect_eq(state.leads, i == leader);
            cr_expect_eq(state.leader, 100 + leader);
            cr_expect_eq(host.of[i][group].leader, i == leader ? 0 : 100 + leader);
            cr_expect_eq(state.term, host.of[leader][group].term);
            cr_expect_eq(host_propose(i, group), i == leader ? GROUP_OK : GROUP_NOT_LEADER);
        }
    }
    host_agree();
    host_end();
}

/* Within the time that is allowed for it, the former leader's lease over by then. */
Test(groups, another_one_leads_when_the_leader_is_lost)
{
    host_begin(3, same, SETTINGS());
    host_propose_some(0, 10);
    const unsigned former = host_leader(0);
    fake_cluster_advance(host.cluster, 1000);
    const uint64_t lease_ms = host_state(former, 0).lease_ms, cut_ms = fake_node_now_ms();
    cr_expect_gt(lease_ms, cut_ms);
    for (unsigned i = 0; i < 3; i++) {
        if (i != former) {
            fake_cluster_cut(host.cluster, former, i, true);
        }
    }
    const unsigned leader = host_leader_but(0, former);
    cr_expect_leq(fake_node_now_ms(), cut_ms + 2500, "%llu ms",
                  (unsigned long long)(fake_node_now_ms() - cut_ms));
    cr_expect_geq(fake_node_now_ms(), lease_ms);
    cr_expect_eq(host_propose(leader, 0), GROUP_OK);
    fake_cluster_advance(host.cluster, 3000);
    cr_expect_eq(host.of[former][0].term, 0, "it knows that it leads no more");
    cr_expect_eq(host_propose(former, 0), GROUP_NOT_LEADER);
    for (unsigned i = 0; i < 3; i++) {
        if (i != former) {
            fake_cluster_cut(host.cluster, former, i, false);
        }
    }
    host_agree();
    host_end();
}

Test(groups, what_is_proposed_to_a_lost_leader_is_not_known)
{
    host_begin(3, same, SETTINGS());
    const unsigned former = host_leader(1);
    for (unsigned i = 0; i < 3; i++) {
        if (i != former) {
            fake_cluster_cut(host.cluster, former, i, true);
        }
    }
    cr_expect_eq(host_propose(former, 1), GROUP_OK);
    fake_cluster_advance(host.cluster, 5000);
    cr_expect_eq(host.ended_unknown, 1);
    for (unsigned i = 0; i < 3; i++) {
        if (i != former) {
            fake_cluster_cut(host.cluster, former, i, false);
        }
    }
    host_agree();
    host_end();
}

Test(groups, a_node_comes_back_from_its_journal)
{
    host_begin(3, same, SETTINGS());
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned group = 0; group < HOST_GROUPS; group++) {
            host_propose_some(group, 10);
        }
        fake_cluster_advance(host.cluster, 100);
        if (round == 1) {
            host_close(round);
        } else {
            host_crash(round, NULL, NULL);
        }
        host_propose_some(0, 5);
        host_start(round, 2);
        host_agree();
    }
    /* All at once: what was told is in a majority of journals. */
    for (unsigned i = 0; i < 3; i++) {
        host_crash(i, NULL, NULL);
    }
    for (unsigned i = 0; i < 3; i++) {
        host_start(i, 2);
    }
    host_agree();
    cr_expect_eq(host.of[0][0].state.count, 45);
    host_end();
}

/* Its groups live on other shards then, and their records are in the journals of former ones. */
Test(groups, a_node_comes_back_with_other_shards)
{
    static const unsigned later[] = {3, 1, 2, 4, 2, 2};
    host_begin(3, same, SETTINGS());
    for (unsigned round = 0; round < sizeof later / sizeof later[0]; round++) {
        for (unsigned group = 0; group < HOST_GROUPS; group++) {
            host_propose_some(group, 7);
        }
        host_close(0);
        for (unsigned group = 0; group < HOST_GROUPS; group++) {
            host_propose_some(group, 3);
        }
        host_start(0, later[round]);
        host_agree();
        fake_cluster_advance(host.cluster, 1000);
        cr_expect_gt(fake_cluster_count(host.cluster, 0, METRIC_groups_written_again), 0);
    }
    for (unsigned shard = 2; shard < 4; shard++) {
        cr_expect_eq(host_segments(0, shard), 0, "nobody needs that journal any more");
    }
    host_end();
}

Test(groups, a_sync_that_fails_is_made_up_for)
{
    host_begin(3, same, SETTINGS());
    host_propose_some(0, 10);
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 2; i++) {
            io_fake_fail_file(host.cluster->nodes[round % 3]->node->shards[i]->io, 5, round * 100);
        }
        for (unsigned group = 0; group < HOST_GROUPS; group++) {
            host_propose_some(group, 5);
        }
        fake_cluster_advance(host.cluster, 300);
    }
    cr_expect_gt(fake_cluster_count(host.cluster, 0, METRIC_journal_failures), 0);
    host_agree();
    host_end();
}

/* A disk that is slow holds nobody up who has a majority without it. */
Test(groups, a_disk_that_stands_still_is_one_of_three)
{
    host_begin(3, same, SETTINGS());
    const unsigned leader = host_leader(0), slow = (leader + 1) % 3;
    fake_disk_hold(host.cluster->nodes[slow]->disk, true);
    host_propose_some(0, 30);
    fake_cluster_advance(host.cluster, 1000);
    cr_expect_eq(host.of[leader][0].state.count, 30);
    cr_expect_lt(host.of[slow][0].state.count, 30);
    fake_disk_hold(host.cluster->nodes[slow]->disk, false);
    host_agree();
    host_end();
}

/* One that takes nothing leads no longer than it takes to ask another one. */
Test(groups, a_leader_whose_disk_fails_asks_another_one)
{
    host_begin(3, same, SETTINGS());
    const unsigned former = host_leader(0);
    for (unsigned i = 0; i < 40; i++) {
        io_fake_fail_file(host_enter(former, 0)->io, 28, 0);
        (void)host_propose(former, 0);
        fake_cluster_advance(host.cluster, 50);
        if (host.of[former][0].term == 0) {
            break;
        }
    }
    cr_expect_neq(host_leader_but(0, former), former);
    fake_cluster_advance(host.cluster, 5000);
    host_agree();
    host_end();
}

/* Messages that find no room are dropped and counted, and sent again by Raft. */
Test(groups, a_link_that_is_full_loses_messages_and_nothing_else)
{
    struct link_conf limits = link_conf_defaults();
    struct groups_conf conf = groups_conf_defaults();
    limits.passing_bytes_max = 300u << 10;
    limits.silence_ms = 60000;
    host_begin_as(3, same, SETTINGS(), &conf, &limits, 3);
    host.entry_bytes = 20000;
    const unsigned leader = host_leader(0), stuck = (leader + 1) % 3;
    fake_cluster_block(host.cluster, leader, stuck, true);
    for (unsigned i = 0; i < 30; i++) {
        host_propose_some(0, 4);
        fake_cluster_advance(host.cluster, 50);
    }
    cr_expect_gt(fake_cluster_count(host.cluster, leader, METRIC_groups_messages_dropped), 0);
    fake_cluster_block(host.cluster, leader, stuck, false);
    host_agree();
    host_end();
}

/* What is in the checkpoint goes from memory; at the bound nobody takes more. */
Test(groups, a_tail_has_a_bound)
{
    struct groups_conf conf = groups_conf_defaults();
    conf.tail_bytes_max = 50000;
    host_begin_as(3, same, SETTINGS(), &conf, NULL, 3);
    host.entry_bytes = 5000;
    const unsigned leader = host_leader(0);
    enum group_err err = GROUP_OK;
    for (unsigned i = 0; i < 30 && err == GROUP_OK; i++) {
        err = host_propose(leader, 0);
        fake_cluster_advance(host.cluster, 200);
    }
    cr_expect_eq(err, GROUP_BUSY);
    cr_expect_geq(host_state(leader, 0).tail_bytes, 50000);
    cr_expect_leq(host_state(leader, 0).tail_bytes, 60000);
    /* A follower's is full, while the leader's is not. */
    host_checkpoint(leader, 0);
    cr_expect_eq(host_state(leader, 0).tail_bytes, 0);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(host_propose(leader, 0), GROUP_OK);
        fake_cluster_advance(host.cluster, 200);
    }
    const unsigned follower = (leader + 1) % 3;
    cr_expect_gt(fake_cluster_count(host.cluster, follower, METRIC_groups_entries_deferred), 0);
    cr_expect_lt(host.of[follower][0].state.count, host.next[0]);
    cr_expect_eq(host_state(follower, 0).leader, 100 + leader, "it is no reason for an election");
    for (unsigned i = 0; i < 3; i++) {
        host_checkpoint(i, 0);
    }
    host_agree();
    host_end();
}

Test(groups, an_entry_has_a_longest)
{
    host_begin(3, same, SETTINGS("limits.packet_bytes_max=2000"));
    const unsigned leader = host_leader(0);
    host.entry_bytes = (unsigned)group_entry_max(host_enter(leader, 0));
    cr_expect_eq(host_propose(leader, 0), GROUP_OK);
    host.entry_bytes++;
    cr_expect_eq(host_propose(leader, 0), GROUP_TOO_LARGE);
    fake_cluster_advance(host.cluster, 1000);
    host.entry_bytes = 20;
    host_propose_some(0, 3);
    host_agree();
    cr_expect_eq(host.of[(leader + 1) % 3][0].state.count, 4);
    host_end();
}

/* ---- snapshots, and the journal */

static void write_much(unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned group = 0; group < 2; group++) {
            host_propose_some(group, 20);
        }
        fake_cluster_advance(host.cluster, 100);
        for (unsigned i = 0; i < 3; i++) {
            for (unsigned group = 0; group < HOST_GROUPS; group++) {
                host_checkpoint(i, group);
            }
        }
    }
}

/* Of groups that rest, too: their few records are written again, and the oldest segment goes. */
Test(groups, the_journal_lets_go_of_what_is_void)
{
    struct groups_conf conf = groups_conf_defaults();
    conf.consensus.snapshot_every = 50;
    conf.consensus.trailing_max = 20;
    host_begin_as(3, same,
                  SETTINGS("limits.packet_bytes_max=1000", "data.journal_segment_bytes=1048576"),
                  &conf, NULL, 3);
    host_propose_some(2, 5);
    host_propose_some(META, 5);
    host.entry_bytes = 30000;
    write_much(25);
    host_agree();
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_gt(fake_cluster_count(host.cluster, i, METRIC_groups_snapshots), 0);
        cr_expect_gt(fake_cluster_count(host.cluster, i, METRIC_groups_written_again), 2);
        for (unsigned shard = 0; shard < 2; shard++) {
            cr_expect_leq(host_segments(i, shard), STORE_SEGMENTS_KEPT + 3, "node %u: %u files", i,
                          host_segments(i, shard));
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        host_crash(i, NULL, NULL);
        host_start(i, 2);
        host_agree();
    }
    host_end();
}

static unsigned late_node(void)
{
    const unsigned late = (host_leader(0) + 1) % 3;
    host_close(late);
    return late;
}

static void write_without(unsigned late, unsigned checkpoint_at)
{
    for (unsigned round = 0; round < 8; round++) {
        host_propose_some(0, 20);
        fake_cluster_advance(host.cluster, 100);
        for (unsigned i = 0; i < 3 && round == checkpoint_at; i++) {
            if (i != late) {
                host_checkpoint(i, 0);
            }
        }
    }
    fake_cluster_advance(host.cluster, 1000);
}

static void begin_with_snapshots(void)
{
    static const char *const settings[] = {NULL}; /* for later starts, too */
    struct groups_conf conf = groups_conf_defaults();
    conf.consensus.snapshot_every = 40;
    conf.consensus.trailing_max = 5;
    host_begin_as(3, same, settings, &conf, NULL, 3);
}

/* The snapshot has all that is not in the checkpoint: nothing else is needed. */
Test(groups, who_is_late_is_sent_the_tail)
{
    begin_with_snapshots();
    const unsigned late = late_node();
    write_without(late, 99);
    host_start(late, 2);
    host_agree();
    cr_expect_eq(host.of[late][0].copies, 0);
    cr_expect_eq(host.of[late][0].state.count, 160);
    cr_expect_gt(fake_cluster_count(host.cluster, late, METRIC_groups_snapshots), 0);
    /* And what it was sent is in its journal. */
    host_crash(late, NULL, NULL);
    host_start(late, 2);
    host_agree();
    cr_expect_eq(host.of[late][0].copies, 0);
    host_end();
}

/* Its own checkpoint is older than what a snapshot begins with. */
Test(groups, who_is_later_than_that_waits_for_a_copy)
{
    begin_with_snapshots();
    const unsigned late = late_node();
    write_without(late, 4);
    const unsigned leader = host_leader(0);
    host_start(late, 2);
    fake_cluster_advance(host.cluster, 3000);
    const struct host_group *const g = &host.of[late][0];
    cr_assert_gt(g->copy_index, 0);
    cr_expect_eq(g->copies, 1);
    cr_expect_eq(g->copy_from, 100 + leader);
    cr_expect_eq(g->copy_index, host.of[leader][0].checkpoint.index);
    cr_expect(host_state(late, 0).stands_still);
    fake_cluster_advance(host.cluster, 10000);
    cr_expect_eq(g->copies, 1, "once");
    cr_expect_eq(g->state.count, 0);
    host_propose_some(0, 20);
    /* A later one is as good. */
    fake_cluster_advance(host.cluster, 200);
    host_checkpoint(leader, 0);
    host_copy(late, 0, leader);
    cr_expect_not(host_state(late, 0).stands_still);
    host_agree();
    cr_expect_eq(g->state.count, 180);
    /* Other groups of that node were not held up. */
    host_propose_some(1, 5);
    host_agree();
    host_crash(late, NULL, NULL);
    host_start(late, 2);
    host_agree();
    cr_expect_eq(g->copies, 1);
    host_end();
}

/* A copy that is older than what was asked for is of no use. */
Test(groups, a_copy_that_is_too_old_is_asked_for_again)
{
    begin_with_snapshots();
    const unsigned late = late_node();
    host_propose_some(0, 10);
    fake_cluster_advance(host.cluster, 200);
    const unsigned leader = host_leader(0);
    const struct host_state old = host.of[leader][0].state;
    write_without(late, 4);
    host_start(late, 2);
    fake_cluster_advance(host.cluster, 3000);
    cr_assert_gt(host.of[late][0].copy_index, old.index);
    const struct host_state checkpoint = host.of[leader][0].checkpoint;
    host.of[leader][0].checkpoint = old;
    host_copy(late, 0, leader);
    host.of[leader][0].checkpoint = checkpoint;
    fake_cluster_advance(host.cluster, 1000);
    cr_expect_eq(host.of[late][0].copies, 2);
    cr_expect(host_state(late, 0).stands_still);
    host_copy(late, 0, leader);
    host_agree();
    host_end();
}

/* The records say more than the checkpoint has: a restored backup of it, say. */
Test(groups, a_checkpoint_that_is_too_old_at_the_start_is_asked_for)
{
    begin_with_snapshots();
    for (unsigned round = 0; round < 4; round++) {
        host_propose_some(0, 20);
        fake_cluster_advance(host.cluster, 100);
        host_agree();
        for (unsigned i = 0; i < 3; i++) {
            host_checkpoint(i, 0);
        }
    }
    const unsigned node = (host_leader(0) + 1) % 3;
    host_propose_some(0, 20);
    host_agree();
    host_crash(node, NULL, NULL);
    host.of[node][0].checkpoint = (struct host_state){.index = 0};
    host_start(node, 2);
    fake_cluster_advance(host.cluster, 1000);
    cr_expect_eq(host.of[node][0].copies, 1);
    cr_expect_eq(host.of[node][0].copy_from, 0, "from whoever leads");
    cr_expect(host_state(node, 0).stands_still);
    host_copy(node, 0, host_leader(0));
    host_agree();
    cr_expect_eq(host.of[node][0].state.count, 100);
    host_end();
}

/* ---- who may say something */

/* The third node is no server, and says that it is. */
Test(groups, messages_of_strangers_are_refused)
{
    struct groups_conf conf = groups_conf_defaults();
    host_begin_as(3, same, SETTINGS(), &conf, NULL, 2);
    host_propose_some(0, 10);
    const uint64_t term = host_state(0, 0).term;
    struct groups_server servers[3] = {{.number = 100}, {.number = 101}, {.number = 102}};
    for (unsigned i = 0; i < 3; i++) {
        servers[i].node.bytes[0] = (uint8_t)(i + 1);
    }
    const struct group_conf stranger = {
        .servers = servers, .servers_count = 3, .self = 102, .bootstrap = true};
    struct shard *const s = host_enter(2, 0);
    cr_assert_eq(group_open(s, host_numbers[0], &stranger), GROUP_OK);
    shard_self = NULL;
    fake_cluster_advance(host.cluster, 10000);
    cr_expect_gt(fake_cluster_count(host.cluster, 2, METRIC_groups_messages_sent), 0);
    cr_expect_gt(fake_cluster_count(host.cluster, 0, METRIC_groups_messages_refused), 0);
    cr_expect_eq(host_state(0, 0).term, term, "nobody has heard of its elections");
    host_propose_some(0, 10);
    host_agree();
    host_end();
}

static void say(unsigned from, unsigned to, struct bytes bytes)
{
    uint8_t *body;
    uint64_t seq;
    struct shard *const s = fake_node_enter(host.cluster->nodes[from], 0);
    cr_assert_eq(peers_put(s, to, NODE_FRAME_CONSENSUS, false, bytes.len, &body, &seq), LINK_OK);
    memcpy(body, bytes.at, bytes.len);
    shard_self = NULL;
    fake_cluster_settle(host.cluster);
}

/* Whatever the number, or the snapshot: it is refused, and nobody ends. */
Test(groups, what_makes_no_sense_is_refused)
{
    uint8_t out[512];
    host_begin(2, same, SETTINGS());
    host_propose_some(0, 10);
    fake_cluster_advance(host.cluster, 500);
    const uint64_t term = host_state(0, 0).term;
    const uint64_t connections = fake_cluster_count(host.cluster, 1, METRIC_link_connections);
    say(0, 1, bytes_text("no message at all"));
    fake_cluster_advance(host.cluster, 10000);
    cr_expect_gt(fake_cluster_count(host.cluster, 1, METRIC_link_connections), connections,
                 "the connection was ended");
    static const uint64_t groups[] = {64, 66, UINT64_MAX};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        const struct node_consensus m = {.kind = NODE_VOTE, .group = groups[i], .term = 1};
        fake_cluster_advance(host.cluster, 10000);
        say(0, 1, bytes_of(out, node_consensus_encode(out, &m)));
    }
    fake_cluster_advance(host.cluster, 10000);
    cr_expect_geq(fake_cluster_count(host.cluster, 1, METRIC_link_connections), connections + 4);
    /* Groups that are not open; a snapshot that is none; a leader of a term that has one. */
    const unsigned leader = host_leader(0);
    const uint64_t refused =
        fake_cluster_count(host.cluster, leader, METRIC_groups_messages_refused);
    uint8_t server[NODE_SERVER_BYTES];
    const struct node_server self = {.id = 100, .role = 1};
    (void)node_server_encode(server, &self);
    const struct node_consensus bad[] = {
        {.kind = NODE_VOTE, .group = 7, .term = 1},
        {.kind = NODE_INSTALL,
         .group = 0,
         .term = host_state(leader, 0).term,
         .index = 1000000,
         .index_term = 1,
         .configuration = bytes_of(server, sizeof server),
         .data = bytes_text("no snapshot")},
        {.kind = NODE_APPEND, .group = 0, .term = host_state(leader, 0).term, .sent_ms = 7}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        say(1 - leader, leader, bytes_of(out, node_consensus_encode(out, &bad[i])));
    }
    cr_expect_eq(fake_cluster_count(host.cluster, leader, METRIC_groups_messages_refused),
                 refused + 3);
    cr_expect_geq(host_state(0, 0).term, term);
    host_propose_some(0, 10);
    host_agree();
    host_end();
}

/* ---- the end */

Test(groups, who_is_no_server_any_more_has_nothing)
{
    host_begin(3, same, SETTINGS());
    host_propose_some(0, 10);
    host_agree();
    const unsigned gone = (host_leader(0) + 1) % 3;
    struct shard *const s = host_enter(gone, 0);
    group_close(s, host_numbers[0]);
    cr_expect_not(group_state(s, host_numbers[0]).is_open);
    shard_self = NULL;
    host.groups = 1;
    host.of[gone][0] = (struct host_group){.term = 0};
    fake_cluster_advance(host.cluster, 1000);
    host_close(gone);
    host.may_bootstrap = false;
    host_start(gone, 2);
    cr_expect_eq(host_state(gone, 0).term, 0, "no record of it is in force");
    host_propose_some(0, 10);
    host_end();
}

Test(groups, without_a_disk_there_are_none)
{
    struct fake_cluster *const c = fake_cluster_create(1, same, SETTINGS(), NULL);
    const struct groups_conf conf = groups_conf_defaults();
    const struct groups_server self = {.number = 1, .node.bytes[0] = 1};
    const struct group_conf group = {
        .servers = &self, .servers_count = 1, .self = 1, .bootstrap = true};
    cr_assert(groups_create(c->nodes[0]->node, &conf));
    struct shard *const s = fake_node_enter(c->nodes[0], 0);
    cr_expect_eq(group_open(s, 0, &group), GROUP_NO_DISK);
    cr_expect_eq(groups_next_ms(s), UINT64_MAX);
    shard_self = NULL;
    fake_cluster_destroy(c);
}
