/* SPDX-License-Identifier: Apache-2.0 */
/* Whole nodes on one thread that come to be a cluster, and serve the partitions that it has. */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/groups/groups.h"
#include "broker/meta/meta_parts.h"
#include "broker/partitions/partitions.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "cluster/identity.h"
#include "tests/unit/broker/fake_disk.h"
#include "tests/unit/remote/fake_cluster.h"

#define REPLICATED "cluster.listen=127.0.0.1:1", "cluster.replicas=3"

/* libraft (0.15) loses 16 bytes when it is closed while it takes another server's snapshot. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libraft.so";
}

static struct fake_disk disks[FAKE_CLUSTER_NODES];
static struct fake_cluster *cluster;
static unsigned initial_size = 3, snapshot_every;

static const struct partitions_hooks hooks = {.sealed = meta_run_report_sealed,
                                              .held = meta_run_report_held};

static void join(struct fake_cluster *c, unsigned number)
{
    struct node *const node = c->nodes[number]->node;
    struct identity self = {.name_len = 2, .name = {'n', (uint8_t)('0' + number)}};
    struct meta_run_conf conf = meta_run_conf_defaults();
    struct partitions_conf partitions = {.checkpoint = disks[number].persistence.checkpoint,
                                         .groups = groups_conf_defaults(),
                                         .meta = &meta_run_events,
                                         .hooks = &hooks,
                                         .by_hand = true};
    if (snapshot_every > 0) {
        partitions.groups.consensus.snapshot_every = snapshot_every;
        partitions.groups.consensus.trailing_max = 1;
    }
    self.node.bytes[0] = (uint8_t)(number + 1);
    conf.self = &self;
    conf.zone = bytes_text(number % 2 == 0 ? "even" : "odd");
    conf.random[0] = (uint8_t)number;
    conf.random[1] = (uint8_t)c->generations[number];
    conf.initial_size = initial_size;
    cr_assert(partitions_create(node, &partitions));
    cr_assert(meta_run_create(node, &conf));
}

static void begin(unsigned count, const unsigned shards[])
{
    for (unsigned i = 0; i < count; i++) {
        fake_disk_create(&disks[i]);
    }
    cluster = fake_cluster_create_on(count, shards, SETTINGS(REPLICATED), NULL, disks, join);
}

static void end(void)
{
    const unsigned count = cluster->count;
    fake_cluster_destroy(cluster);
    for (unsigned i = 0; i < count; i++) {
        fake_disk_destroy(&disks[i]);
    }
}

static struct meta_run *run_of(unsigned node)
{
    return cluster->nodes[node] == NULL ? NULL : cluster->nodes[node]->node->meta_run;
}

static uint64_t hash_of(unsigned node)
{
    uint64_t hash = 0;
    cr_assert(meta_hash(&run_of(node)->state, &hash));
    return hash;
}

static struct partition_state state_of(unsigned node, unsigned p)
{
    struct fake_node *const n = cluster->nodes[node];
    struct shard *const s = fake_node_enter(n, n->node->partition_shard[p]);
    const struct partition_state state = partition_state(s, p);
    shard_self = NULL;
    return state;
}

/* How many of the nodes that are there lead it, and serve. */
static unsigned leaders_of(unsigned p)
{
    unsigned count = 0;
    for (unsigned i = 0; i < cluster->count; i++) {
        count += cluster->nodes[i] != NULL && state_of(i, p).role == PARTITION_LEADS;
    }
    return count;
}

static unsigned served(void)
{
    unsigned count = 0;
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        count += leaders_of(p) == 1;
    }
    return count;
}

static unsigned led_by(unsigned node)
{
    unsigned count = 0;
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        count += state_of(node, p).role == PARTITION_LEADS;
    }
    return count;
}

static void until_all_are_served(uint64_t most_ms)
{
    uint64_t ms = 0;
    while (served() < NODE_META_PARTITIONS && ms < most_ms) {
        fake_cluster_advance(cluster, 100);
        ms += 100;
    }
    cr_assert_eq(served(), NODE_META_PARTITIONS, "%u are served", served());
}

static void expect_same_members(unsigned members)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < cluster->count; i++) {
        if (run_of(i) == NULL) {
            continue;
        }
        hash = hash == 0 ? hash_of(i) : hash;
        cr_expect_eq(run_of(i)->state.members_count, members, "%u", i);
        cr_expect_eq(hash_of(i), hash, "%u", i);
    }
}

static bool nothing(void *context, uint64_t sector)
{
    (void)context;
    (void)sector;
    return false;
}

static void form(const unsigned shards[])
{
    begin(3, shards);
    until_all_are_served(8000);
    expect_same_members(3);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(meta_run_number(cluster->nodes[i]->node), i + 1);
        cr_expect_eq(meta_run_gauge(cluster->nodes[i]->node, META_RUN_MEMBERS), 3);
        cr_expect_eq(meta_run_gauge(cluster->nodes[i]->node, META_RUN_WAITING), 0);
    }
}

Test(meta_run, three_nodes_come_to_be_a_cluster)
{
    form((const unsigned[]){2, 2, 2});
    const struct meta_member *const second = &run_of(2)->state.members[1];
    cr_expect_eq(second->name_len, 2);
    cr_expect_arr_eq(second->name, "n1", 2);
    cr_expect_eq(second->zone_len, 3);
    cr_expect_arr_eq(second->zone, "odd", 3);
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        for (unsigned i = 0; i < 3; i++) {
            const struct partition_state state = state_of(i, p);
            cr_expect_eq(state.incarnation, 1);
            cr_expect_eq(state.changed, run_of(i)->state.partitions[p].changed);
            cr_expect_neq(state.leader, 0);
        }
    }
    end();
}

Test(meta_run, of_however_many_shards)
{
    form((const unsigned[]){1, 3, 2});
    end();
}

/* Two of three form nothing, and say that they wait. */
Test(meta_run, waits_for_as_many_as_are_to_form_it)
{
    begin(2, (const unsigned[]){1, 1});
    fake_cluster_advance(cluster, 15000);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(meta_run_number(cluster->nodes[i]->node), 0);
        cr_expect_eq(meta_run_gauge(cluster->nodes[i]->node, META_RUN_WAITING), 1);
        cr_expect_null(meta_run_state(cluster->nodes[i]->node->shards[0]));
    }
    cr_expect_eq(served(), 0);
    end();
}

/* Leaders come to where rendezvous has them. */
Test(meta_run, leaders_are_spread)
{
    form((const unsigned[]){1, 1, 1});
    fake_cluster_advance(cluster, 30000 + 5000 * 64 / 2);
    until_all_are_served(8000);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(led_by(i) >= 20 && led_by(i) <= 23, "%u leads %u", i, led_by(i));
    }
    end();
}

Test(meta_run, goes_on_without_one_and_takes_it_back)
{
    form((const unsigned[]){2, 1, 2});
    for (unsigned i = 0; i < 3; i++) {
        fake_cluster_crash(cluster, i, nothing, NULL);
        until_all_are_served(8000);
        fake_cluster_start(cluster, i, i % 2 + 1, SETTINGS(REPLICATED));
        fake_cluster_advance(cluster, 5000);
        until_all_are_served(8000);
        cr_expect_eq(meta_run_number(cluster->nodes[i]->node), i + 1);
        for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
            cr_expect_neq(state_of(i, p).role, PARTITION_ABSENT, "%u", p);
        }
    }
    expect_same_members(3);
    end();
}

Test(meta_run, all_come_back_with_their_disks)
{
    form((const unsigned[]){2, 2, 2});
    fake_cluster_advance(cluster, 3000);
    const uint64_t hash = hash_of(0);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 1) {
            fake_cluster_close(cluster, i);
        } else {
            fake_cluster_crash(cluster, i, nothing, NULL);
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        fake_cluster_start(cluster, i, 2, SETTINGS(REPLICATED));
        cr_expect_eq(meta_run_number(cluster->nodes[i]->node), i + 1);
        cr_expect_eq(hash_of(i), hash, "what was kept is there at once");
    }
    until_all_are_served(8000);
    expect_same_members(3);
    cr_expect_eq(hash_of(0), hash);
    end();
}

/* A promise that is not on disk is none: before anything is written all of it begins anew. */
Test(meta_run, forms_whatever_is_lost_before_it_is)
{
    begin(3, (const unsigned[]){1, 1, 1});
    fake_cluster_crash(cluster, 0, nothing, NULL);
    fake_cluster_crash(cluster, 2, nothing, NULL);
    fake_cluster_advance(cluster, 1000);
    fake_cluster_start(cluster, 2, 1, SETTINGS(REPLICATED));
    fake_cluster_advance(cluster, 500);
    fake_cluster_start(cluster, 0, 1, SETTINGS(REPLICATED));
    until_all_are_served(20000);
    expect_same_members(3);
    end();
}

static void one_joins(void)
{
    begin(4, (const unsigned[]){1, 2, 1, 2});
    until_all_are_served(8000);
    for (unsigned ms = 0; ms < 20000 && meta_run_number(cluster->nodes[3]->node) == 0; ms += 100) {
        fake_cluster_advance(cluster, 100);
    }
    fake_cluster_advance(cluster, 5000);
    cr_expect_eq(meta_run_number(cluster->nodes[3]->node), 4);
    expect_same_members(4);
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        cr_expect_eq(state_of(3, p).role, PARTITION_ABSENT, "nothing moves yet");
    }
    cr_expect_eq(served(), NODE_META_PARTITIONS);
}

Test(meta_run, one_that_comes_later_is_a_member)
{
    one_joins();
    end();
}

/* META's log has none of it any more: the state is asked for. */
Test(meta_run, one_that_comes_late_gets_the_state)
{
    snapshot_every = 1;
    one_joins();
    end();
}

/* What has been missed meanwhile is in no log. */
Test(meta_run, one_that_was_away_gets_the_state)
{
    snapshot_every = 1;
    begin(4, (const unsigned[]){1, 1, 1, 1});
    until_all_are_served(8000);
    fake_cluster_crash(cluster, 1, nothing, NULL);
    until_all_are_served(8000);
    fake_cluster_advance(cluster, 10000);
    fake_cluster_start(cluster, 1, 1, SETTINGS(REPLICATED));
    fake_cluster_advance(cluster, 10000);
    expect_same_members(4);
    until_all_are_served(8000);
    end();
}

/* To one node, as META has been told to; and back to three, as that is what there should be. */
Test(meta_run, a_partition_moves_and_moves_back)
{
    form((const unsigned[]){2, 2, 2});
    unsigned leader = 0;
    while (leader < 2 && !run_of(leader)->leads) {
        leader++;
    }
    struct meta_run *const r = run_of(leader);
    cr_assert(r->leads);
    const struct node_meta_command move = {
        .kind = NODE_META_MOVE, .value = 5, .incarnation = 1, .replicas = {1, {1}}};
    uint8_t entry[NODE_META_HEAD_MAX];
    struct shard *const s = fake_node_enter(cluster->nodes[leader], 0);
    const size_t len = node_meta_command_encode(entry, &move);
    r->proposed++;
    cr_assert_eq(group_propose(s, STORE_META, bytes_of(entry, len), 1), GROUP_OK);
    shard_self = NULL;
    const struct meta_partition *const p = &r->state.partitions[5];
    bool was_alone = false;
    for (unsigned ms = 0; ms < 30000 && (p->incarnation < 3 || p->step != META_STEADY); ms += 20) {
        fake_cluster_advance(cluster, 20);
        was_alone = was_alone || (p->incarnation == 2 && p->replicas.count == 1);
    }
    cr_expect(was_alone);
    cr_expect_eq(p->incarnation, 3);
    cr_expect_eq(p->replicas.count, 3);
    until_all_are_served(8000);
    end();
}

/* A frame of nobody's, and frames by another lane. */
Test(meta_run, takes_any_bytes)
{
    form((const unsigned[]){2, 2, 2});
    struct shard *const s = fake_node_enter(cluster->nodes[0], 0);
    uint8_t bytes[64];
    for (unsigned round = 0; round < 2000; round++) {
        static const uint8_t types[] = {NODE_FRAME_META_MEMBER, NODE_FRAME_META_STATE,
                                        NODE_FRAME_META_REPORT, NODE_FRAME_META_FORM};
        for (unsigned i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)shard_random(s);
        }
        bytes[0] = 1 + round % 2;
        bytes[1] = (uint8_t)(round % 40);
        const struct node_frame frame = {.type = types[round % 4],
                                         .body = bytes_of(bytes, round % sizeof bytes)};
        (void)meta_run_received(s, 1, &frame);
    }
    struct shard *const other = fake_node_enter(cluster->nodes[0], 1);
    const struct node_frame frame = {.type = NODE_FRAME_META_MEMBER, .body = bytes_of(NULL, 0)};
    cr_expect_eq(meta_run_received(other, 1, &frame), LINK_BAD);
    shard_self = NULL;
    fake_cluster_advance(cluster, 2000);
    cr_expect_eq(served(), NODE_META_PARTITIONS);
    end();
}
