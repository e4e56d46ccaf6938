/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_groups: 64 Raft groups on one shard of each of three nodes, which are on one thread, with a
 * network and a disk in memory (tests/unit/remote/fake_cluster.h): what the processor has to do for
 * a proposal, and for groups that rest. Divided by three it is what one node does, about.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/timing.h"
#include "broker/groups/groups.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_disk.h"
#include "tests/unit/remote/fake_cluster.h"

#define NODES  3u
#define GROUPS 64u
#define ENTRY  200u /* bytes */
#define ROUNDS 100u
#define REST_S 20u

static struct groups_conf conf;
static bool leads[NODES][GROUPS];
static uint64_t committed;

static unsigned node_of(const struct shard *s, const struct fake_cluster *c)
{
    unsigned i = 0;
    while (c->nodes[i]->node != s->node) {
        i++;
    }
    return i;
}

static struct fake_cluster *cluster;

static void on_applied(struct shard *s, unsigned group, uint64_t index, struct bytes entry)
{
    (void)s;
    (void)group;
    (void)index;
    (void)entry;
}

static void on_proposed(struct shard *s, unsigned group, uint64_t ticket, enum consensus_end end)
{
    (void)s;
    (void)group;
    (void)ticket;
    committed += end == CONSENSUS_COMMITTED;
}

static void on_leading(struct shard *s, unsigned group, uint64_t term)
{
    (void)term;
    leads[node_of(s, cluster)][group] = true;
}

static void on_following(struct shard *s, unsigned group, uint64_t leader)
{
    (void)leader;
    leads[node_of(s, cluster)][group] = false;
}

static void on_copy_wanted(struct shard *s, unsigned group, uint64_t from, uint64_t index)
{
    (void)s;
    (void)group;
    (void)from;
    (void)index;
    abort(); /* nobody is late here */
}

static const struct groups_events events = {.applied = on_applied,
                                            .proposed = on_proposed,
                                            .leading = on_leading,
                                            .following = on_following,
                                            .copy_wanted = on_copy_wanted};

static void open_groups(struct fake_cluster *c, unsigned number)
{
    struct groups_server servers[NODES];
    cluster = c;
    for (unsigned i = 0; i < NODES; i++) {
        servers[i] = (struct groups_server){.number = 1 + i};
        servers[i].node.bytes[0] = (uint8_t)(i + 1);
    }
    if (!groups_create(c->nodes[number]->node, &conf)) {
        abort();
    }
    for (unsigned group = 0; group < GROUPS; group++) {
        const struct group_conf g = {
            .servers = servers, .servers_count = NODES, .self = 1 + number, .bootstrap = true};
        struct shard *const s =
            fake_node_enter(c->nodes[number], group_home(c->nodes[number]->node, group));
        if (group_open(s, group, &g) != GROUP_OK) {
            abort();
        }
    }
    shard_self = NULL;
}

static void checkpoint_all(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned group = 0; group < GROUPS; group++) {
            struct shard *const s = fake_node_enter(cluster->nodes[i], 0);
            group_checkpointed(s, group, group_state(s, group).applied);
        }
    }
    shard_self = NULL;
}

/* `each` in each group, and until all are committed. */
static void propose(unsigned each)
{
    static const uint8_t entry[ENTRY] = "entry";
    const uint64_t want = committed + (uint64_t)GROUPS * each;
    for (unsigned i = 0; i < NODES; i++) {
        struct shard *const s = fake_node_enter(cluster->nodes[i], 0);
        for (unsigned group = 0; group < GROUPS; group++) {
            for (unsigned k = 0; leads[i][group] && k < each; k++) {
                if (group_propose(s, group, bytes_of(entry, sizeof entry), k) != GROUP_OK) {
                    abort();
                }
            }
        }
        shard_self = NULL;
    }
    while (committed < want) {
        fake_cluster_settle(cluster);
        if (committed < want) {
            fake_cluster_advance(cluster, 1);
        }
    }
}

static void measure_proposals(unsigned each)
{
    const uint64_t cpu = timing_now_ns();
    uint64_t spent = 0, before = cpu;
    for (unsigned i = 0; i < ROUNDS; i++) {
        propose(each);
        spent += timing_now_ns() - before;
        checkpoint_all();
        before = timing_now_ns();
    }
    const double ns = (double)spent / (ROUNDS * GROUPS * (double)each);
    printf(
        "%u at a time in each of %u groups: %8.0f ns a proposal, of three nodes; %.0f/s of one\n",
        each, GROUPS, ns, 1e9 * NODES / ns);
}

static uint64_t messages(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < NODES; i++) {
        sum += fake_cluster_count(cluster, i, METRIC_groups_messages_sent);
    }
    return sum;
}

static void measure_rest(void)
{
    const uint64_t before = messages(), cpu = timing_now_ns();
    fake_cluster_advance(cluster, REST_S * 1000);
    const double s = (double)(timing_now_ns() - cpu) / 1e9;
    printf("%u groups that rest, heartbeats each %u ms: %.2f %% of a processor, of one node; %.0f "
           "messages a second, of three\n",
           GROUPS, conf.consensus.heartbeat_ms, 100 * s / REST_S / NODES,
           (double)(messages() - before) / REST_S);
}

static void measure(unsigned heartbeat_ms, bool proposals)
{
    static const unsigned shards[NODES] = {1, 1, 1};
    struct fake_disk disks[NODES];
    conf = groups_conf_defaults();
    conf.events = &events;
    conf.consensus.heartbeat_ms = heartbeat_ms > 0 ? heartbeat_ms : conf.consensus.heartbeat_ms;
    memset(leads, 0, sizeof leads);
    for (unsigned i = 0; i < NODES; i++) {
        fake_disk_create(&disks[i]);
    }
    (void)fake_cluster_create_on(NODES, shards, SETTINGS(), NULL, disks, open_groups);
    fake_cluster_advance(cluster, 10000);
    measure_rest();
    for (unsigned each = 1; proposals && each <= 100; each *= 10) {
        measure_proposals(each);
    }
    fake_cluster_destroy(cluster);
    for (unsigned i = 0; i < NODES; i++) {
        fake_disk_destroy(&disks[i]);
    }
}

/* What the nodes, their links and their disks do without any. */
static void measure_none(void)
{
    static const unsigned shards[NODES] = {1, 1, 1};
    cluster = fake_cluster_create(NODES, shards, SETTINGS(), NULL);
    const uint64_t cpu = timing_now_ns();
    fake_cluster_advance(cluster, REST_S * 1000);
    const double s = (double)(timing_now_ns() - cpu) / 1e9;
    printf("no groups: %.2f %% of a processor, of one node\n", 100 * s / REST_S / NODES);
    fake_cluster_destroy(cluster);
}

int main(void)
{
    measure_none();
    measure(0, true);
    for (unsigned heartbeat_ms = 50; heartbeat_ms <= 400; heartbeat_ms *= 2) {
        measure(heartbeat_ms, false);
    }
    return 0;
}
