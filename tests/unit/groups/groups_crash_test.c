/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three nodes, and whatever can happen to them: they crash at any moment, with any part of what was
 * being written on disk, come back with other numbers of shards, do not reach each other, have
 * disks that fail; checkpoints are made, and copies. At the end all agree, and all have what
 * anybody was told is committed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/groups/group_host.h"
#include "tests/unit/route/random.h"

#define NODES  3u
#define ROUNDS 4u
#define STEPS  120u

/* libraft (0.15) loses 16 bytes when it is closed while it takes another server's snapshot. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libraft.so";
}

static struct random random_now;
static bool is_down[NODES];

static unsigned below(unsigned bound)
{
    return random_below(&random_now, bound);
}

static bool some_sectors(void *context, uint64_t sector)
{
    (void)sector;
    return below(100) < *(const unsigned *)context;
}

static void crash_or_start(unsigned node)
{
    static const unsigned percents[] = {0, 50, 90, 100};
    unsigned percent = percents[below(4)];
    if (is_down[node]) {
        host_start(node, 1 + below(3));
    } else if (below(4) == 0) {
        host_close(node);
    } else {
        host_crash(node, some_sectors, &percent);
    }
    is_down[node] = !is_down[node];
}

static void propose(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned group = 0; group < HOST_GROUPS; group++) {
            if (!is_down[i] && host.of[i][group].term != 0 && host.next[group] < HOST_ENTRIES) {
                (void)host_propose(i, group);
            }
        }
    }
}

/* As long as a node is held up by it. */
static void copy_what_is_wanted(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned group = 0; group < HOST_GROUPS; group++) {
            const struct host_group *const g = &host.of[i][group];
            for (unsigned from = 0; !is_down[i] && g->copy_index > 0 && from < NODES; from++) {
                if (from != i && !is_down[from] &&
                    host.of[from][group].checkpoint.index >= g->copy_index) {
                    host_copy(i, group, from);
                }
            }
        }
    }
}

static void step(void)
{
    const unsigned node = below(NODES), other = (node + 1 + below(NODES - 1)) % NODES;
    switch (below(12)) {
    case 0:
    case 1:
        crash_or_start(node);
        break;
    case 2:
        if (!is_down[node] && !is_down[other]) {
            fake_cluster_cut(host.cluster, node, other, below(2) == 0);
        }
        break;
    case 3:
        if (!is_down[node]) {
            io_fake_fail_file(host_enter(node, below(HOST_GROUPS))->io, 5, below(5000));
            shard_self = NULL;
        }
        break;
    case 4:
    case 5:
        if (!is_down[node]) {
            host_checkpoint(node, below(HOST_GROUPS));
        }
        break;
    case 6:
        copy_what_is_wanted();
        break;
    default:
        propose();
        break;
    }
    fake_cluster_advance(host.cluster, below(3) == 0 ? 1 + below(1500) : 1 + below(40));
}

static void heal(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned other = i + 1; other < NODES; other++) {
            if (!is_down[i] && !is_down[other]) {
                fake_cluster_cut(host.cluster, i, other, false);
            }
        }
    }
    for (unsigned i = 0; i < NODES; i++) {
        if (is_down[i]) {
            crash_or_start(i);
        }
    }
    for (unsigned i = 0; i < 200; i++) {
        copy_what_is_wanted();
        fake_cluster_advance(host.cluster, 100);
    }
}

Test(groups_crash, nothing_that_was_told_is_lost)
{
    random_now = random_init();
    fprintf(stderr, "TEST_SEED=%llu\n", (unsigned long long)random_now.seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const unsigned shards[NODES] = {1 + below(3), 1 + below(3), 1 + below(3)};
        struct groups_conf conf = groups_conf_defaults();
        conf.consensus.snapshot_every = 10 + below(40);
        conf.consensus.trailing_max = 1 + below(10);
        host_begin_as(NODES, shards, SETTINGS("limits.packet_bytes_max=1000"), &conf, NULL, NODES);
        host.entry_bytes = below(2) == 0 ? 20 : 8 + below(20000);
        for (unsigned i = 0; i < STEPS; i++) {
            step();
        }
        heal();
        host_agree();
        host_end();
        for (unsigned i = 0; i < NODES; i++) {
            is_down[i] = false;
        }
    }
}
