/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/groups/group_host.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "proto/little_endian.h"
#include "tests/unit/broker/fake_disk.h"

#define STEP_MS 20u

const unsigned host_numbers[HOST_GROUPS] = {0, 5, 63, STORE_META};
struct host host;

static struct fake_disk disks[FAKE_CLUSTER_NODES];
static const char *const *settings_now;

#define MUST(condition, text)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, text);                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static unsigned node_of(const struct shard *s)
{
    for (unsigned i = 0; i < FAKE_CLUSTER_NODES; i++) {
        if (host.cluster->nodes[i] != NULL && host.cluster->nodes[i]->node == s->node) {
            return i;
        }
    }
    MUST(false, "a shard of no node");
    return 0;
}

static unsigned place_of(unsigned number)
{
    unsigned i = 0;
    while (i < HOST_GROUPS && host_numbers[i] != number) {
        i++;
    }
    MUST(i < HOST_GROUPS, "an event of a group that is not open");
    return i;
}

static struct host_group *of(const struct shard *s, unsigned number)
{
    return &host.of[node_of(s)][place_of(number)];
}

/* ---- events */

static void on_applied(struct shard *s, unsigned number, uint64_t index, struct bytes entry)
{
    struct host_state *const state = &of(s, number)->state;
    MUST(entry.len >= sizeof(uint64_t), "an entry that nobody proposed");
    const uint64_t id = get_u64(entry.at);
    MUST(id < HOST_ENTRIES, "an entry that nobody proposed");
    MUST(index > state->index, "an index that is not above the last");
    MUST(state->seen[id] == 0, "an entry twice");
    state->seen[id] = 1;
    state->index = index;
    state->count++;
    state->sum = XXH3_64bits_withSeed(entry.at, entry.len, state->sum + index);
}

static void on_proposed(struct shard *s, unsigned number, uint64_t ticket, enum consensus_end end)
{
    const struct host_group *const g = of(s, number);
    if (end == CONSENSUS_COMMITTED) {
        MUST(g->state.seen[ticket] == 1, "committed, and not applied");
        host.committed[place_of(number)][ticket] = 1;
    } else {
        host.ended_unknown++;
    }
}

static void on_leading(struct shard *s, unsigned number, uint64_t term)
{
    struct host_group *const g = of(s, number);
    const unsigned p = place_of(number);
    MUST(g->term == 0, "it leads already");
    g->term = term;
    g->led++;
    for (unsigned id = 0; id < HOST_ENTRIES; id++) {
        MUST(!host.committed[p][id] || g->state.seen[id], "it leads, and lacks what is committed");
    }
}

static void on_following(struct shard *s, unsigned number, uint64_t leader)
{
    struct host_group *const g = of(s, number);
    g->term = 0;
    g->leader = leader;
}

static void on_copy_wanted(struct shard *s, unsigned number, uint64_t from, uint64_t index)
{
    struct host_group *const g = of(s, number);
    g->copy_from = from;
    g->copy_index = index;
    g->copies++;
}

static const struct groups_events events = {.applied = on_applied,
                                            .proposed = on_proposed,
                                            .leading = on_leading,
                                            .following = on_following,
                                            .copy_wanted = on_copy_wanted};

/* ---- nodes */

struct shard *host_enter(unsigned node, unsigned group)
{
    struct fake_node *const n = host.cluster->nodes[node];
    return fake_node_enter(n, group_home(n->node, host_numbers[group]));
}

static void open_groups(struct fake_cluster *c, unsigned number)
{
    struct groups_server servers[FAKE_CLUSTER_NODES];
    host.cluster = c;
    MUST(groups_create(c->nodes[number]->node, &host.conf), "no memory");
    for (unsigned i = 0; i < host.servers; i++) {
        servers[i] = (struct groups_server){.number = 100 + i};
        servers[i].node.bytes[0] = (uint8_t)(i + 1);
    }
    for (unsigned group = 0; number < host.servers && group < host.groups; group++) {
        struct host_group *const g = &host.of[number][group];
        struct shard *const s = host_enter(number, group);
        const struct group_conf conf = {.servers = servers,
                                        .servers_count = host.servers,
                                        .self = 100 + number,
                                        .bootstrap = host.may_bootstrap,
                                        .checkpointed = g->checkpoint.index};
        g->state = g->checkpoint;
        g->term = g->leader = g->copy_index = 0;
        MUST(group_open(s, host_numbers[group], &conf) == GROUP_OK, "a group does not open");
    }
    shard_self = NULL;
}

void host_begin_as(unsigned count, const unsigned shards[], const char *const settings[],
                   const struct groups_conf *conf, const struct link_conf *limits, unsigned servers)
{
    memset(&host, 0, sizeof host);
    host.conf = *conf;
    host.conf.events = &events;
    host.servers = servers;
    host.groups = HOST_GROUPS;
    host.entry_bytes = 20;
    host.may_bootstrap = true;
    settings_now = settings;
    for (unsigned i = 0; i < count; i++) {
        fake_disk_create(&disks[i]);
    }
    host.cluster = fake_cluster_create_on(count, shards, settings, limits, disks, open_groups);
}

void host_begin(unsigned count, const unsigned shards[], const char *const settings[])
{
    const struct groups_conf conf = groups_conf_defaults();
    host_begin_as(count, shards, settings, &conf, NULL, count);
}

void host_end(void)
{
    const unsigned count = host.cluster->count;
    fake_cluster_destroy(host.cluster);
    for (unsigned i = 0; i < count; i++) {
        fake_disk_check(&disks[i]);
        fake_disk_destroy(&disks[i]);
    }
}

void host_crash(unsigned node, bool (*kept)(void *context, uint64_t sector), void *context)
{
    fake_cluster_crash(host.cluster, node, kept, context);
}

void host_close(unsigned node)
{
    fake_cluster_close(host.cluster, node);
}

void host_start(unsigned node, unsigned shards)
{
    fake_cluster_start(host.cluster, node, shards, settings_now);
}

static bool is_there(unsigned node)
{
    return node < host.servers && host.cluster->nodes[node] != NULL;
}

struct group_state host_state(unsigned node, unsigned group)
{
    const struct group_state state = group_state(host_enter(node, group), host_numbers[group]);
    shard_self = NULL;
    return state;
}

/* ---- running */

/* The one that leads by what it was told, and of several the one with the latest term. */
static unsigned find_leader(unsigned group, unsigned but)
{
    unsigned found = FAKE_CLUSTER_NODES;
    uint64_t term = 0;
    for (unsigned i = 0; i < host.servers; i++) {
        if (is_there(i) && i != but && host.of[i][group].term > term) {
            term = host.of[i][group].term;
            found = i;
        }
    }
    return found;
}

unsigned host_leader_but(unsigned group, unsigned node)
{
    for (unsigned ms = 0; ms < 20000; ms += STEP_MS) {
        const unsigned leader = find_leader(group, node);
        if (leader != FAKE_CLUSTER_NODES) {
            return leader;
        }
        fake_cluster_advance(host.cluster, STEP_MS);
    }
    MUST(false, "nobody leads");
    return 0;
}

unsigned host_leader(unsigned group)
{
    return host_leader_but(group, FAKE_CLUSTER_NODES);
}

enum group_err host_propose(unsigned node, unsigned group)
{
    static uint8_t entry[1 << 20];
    const uint64_t id = host.next[group];
    MUST(id < HOST_ENTRIES, "more entries than the test has numbers");
    MUST(host.entry_bytes <= sizeof entry, "a longer entry than that");
    put_u64(entry, id);
    const enum group_err err = group_propose(host_enter(node, group), host_numbers[group],
                                             bytes_of(entry, host.entry_bytes), id);
    shard_self = NULL;
    host.next[group] += err == GROUP_OK;
    return err;
}

void host_propose_some(unsigned group, unsigned count)
{
    for (unsigned ms = 0; count > 0; ms += STEP_MS) {
        MUST(ms < 60000, "proposals are not taken");
        const unsigned leader = host_leader(group);
        while (count > 0 && host_propose(leader, group) == GROUP_OK) {
            count--;
        }
        fake_cluster_settle(host.cluster);
        if (count > 0) {
            fake_cluster_advance(host.cluster, STEP_MS);
        }
    }
}

static bool has_committed(unsigned node, unsigned group)
{
    for (unsigned id = 0; id < HOST_ENTRIES; id++) {
        if (host.committed[group][id] && !host.of[node][group].state.seen[id]) {
            return false;
        }
    }
    return true;
}

static bool is_agreed(unsigned group)
{
    const struct host_state *first = NULL;
    for (unsigned i = 0; i < host.servers; i++) {
        const struct host_state *const state = &host.of[i][group].state;
        if (!is_there(i)) {
            continue;
        }
        first = first == NULL ? state : first;
        if (state->count != first->count || state->sum != first->sum || !has_committed(i, group)) {
            return false;
        }
    }
    return find_leader(group, FAKE_CLUSTER_NODES) != FAKE_CLUSTER_NODES;
}

static void show(unsigned node, unsigned group)
{
    const struct group_state s = host_state(node, group);
    const struct host_group *const g = &host.of[node][group];
    fprintf(stderr,
            "node %u group %u: term %llu leader %llu leads %d still %d failed %d last %llu "
            "committed %llu applied %llu count %llu checkpoint %llu copy %llu committed here %d\n",
            node, host_numbers[group], (unsigned long long)s.term, (unsigned long long)s.leader,
            s.leads, s.stands_still, s.failed, (unsigned long long)s.last,
            (unsigned long long)s.committed, (unsigned long long)s.applied,
            (unsigned long long)g->state.count, (unsigned long long)g->checkpoint.index,
            (unsigned long long)g->copy_index, has_committed(node, group));
}

void host_agree(void)
{
    for (unsigned ms = 0; ms < 60000; ms += STEP_MS) {
        bool all = true;
        for (unsigned group = 0; group < host.groups; group++) {
            all = all && is_agreed(group);
        }
        if (all) {
            return;
        }
        fake_cluster_advance(host.cluster, STEP_MS);
    }
    for (unsigned group = 0; group < host.groups; group++) {
        for (unsigned i = 0; i < host.servers; i++) {
            if (is_there(i)) {
                show(i, group);
            }
        }
    }
    MUST(false, "the servers do not agree");
}

/* ---- checkpoints */

void host_checkpoint(unsigned node, unsigned group)
{
    struct host_group *const g = &host.of[node][group];
    g->checkpoint = g->state;
    group_checkpointed(host_enter(node, group), host_numbers[group], g->checkpoint.index);
    shard_self = NULL;
}

void host_copy(unsigned node, unsigned group, unsigned from)
{
    struct host_group *const g = &host.of[node][group];
    g->checkpoint = g->state = host.of[from][group].checkpoint;
    g->copy_index = 0;
    group_copied(host_enter(node, group), host_numbers[group], g->checkpoint.index);
    shard_self = NULL;
}

unsigned host_segments(unsigned node, unsigned shard)
{
    char path[128], prefix[32];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/journal", disks[node].dir);
    snprintf(prefix, sizeof prefix, "journal-%u-", shard);
    DIR *const dir = opendir(path);
    MUST(dir != NULL, "no journals");
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    }
    closedir(dir);
    return n;
}
