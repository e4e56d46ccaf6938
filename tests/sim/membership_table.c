/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership_table [NODES…]
 *
 * How long it takes until a node that has died is known to be dead, how often nodes that live are
 * called dead, and what it costs, by the number of nodes, the loss of datagrams, and whether some
 * of the nodes are slow: the table of docs/cluster.md, in Markdown. Each row is measured with
 * Lifeguard and without (a suspect has a fixed time, no node is aware of itself, none knows that it
 * stood still), which is SWIM.
 *
 * A run: nodes start, and are left alone until all see all; then the false deaths of a while are
 * counted, and the bytes; then nodes are killed one after the other. Everything follows from the
 * seed, which is the round's number.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/gossip_node.h"
#include "tests/unit/route/random.h"

#define NODES_MAX   1024u
#define JOIN_MS_MAX 300000u
#define STEP_MS     100u
#define DEAD_MS_MAX 180000u
#define STANDS_MS   6000u /* a slow node stands still, and runs, in turn */
#define RUNS_MS     100u
#define TIMES_MAX   1024u

static const struct size {
    unsigned nodes, rounds, kills;
    uint64_t quiet_ms; /* for how long false deaths are counted */
} sizes[] = {{3, 40, 1, 600000}, {30, 10, 4, 300000}, {300, 2, 4, 120000}, {1000, 1, 4, 60000}};

static const struct trouble {
    const char *name;
    unsigned loss_per_10000;
    unsigned slow_per_100;
} troubles[] = {
    {"no loss", 0, 0}, {"5 % loss", 500, 0}, {"20 % loss", 2000, 0}, {"10 % slow", 0, 10}};

/* Of a run, and then of all. */
struct tally {
    double first_s[TIMES_MAX], all_s[TIMES_MAX]; /* [killed] until one, until all know of a death */
    unsigned killed, missed;
    uint64_t false_healthy,
        false_slow; /* starts and versions of nodes that were called dead, and lived */
    double healthy_hours, slow_hours; /* of a node each */
    double bytes, messages, seconds;  /* sent; seconds of a node each */
    double joined_s;
};

/* ---- What nodes say, of the run that is under way */
static struct {
    struct sim *sim;
    bool counting;
    bool is_slow[NODES_MAX];
    struct incarnation buried[NODES_MAX]; /* the last that was counted */
    struct tally *tally;
    int victim; /* -1: none */
    uint64_t first_ms;
} now;

static int index_of(struct node_uuid node)
{
    for (unsigned i = 0; i < sim_nodes(now.sim); i++) {
        if (node_uuid_equal(sim_identity(sim_node(now.sim, i))->node, node)) {
            return (int)i;
        }
    }
    return -1;
}

static void on_event(struct gossip_node *g, enum membership_event event,
                     const struct member *member)
{
    if (event != MEMBERSHIP_DIED) {
        return;
    }
    (void)g;
    const int i = index_of(member->node);
    assert(i >= 0);
    if (i == now.victim) {
        now.first_ms = now.first_ms == 0 ? sim_time_ms(now.sim) : now.first_ms;
    } else if (now.counting && sim_running(sim_node(now.sim, (unsigned)i)) != NULL &&
               incarnation_compare(member->incarnation, now.buried[i]) > 0) {
        now.buried[i] = member->incarnation;
        now.tally->false_healthy += !now.is_slow[i];
        now.tally->false_slow += now.is_slow[i];
    }
}

static const struct sim_suite suite = {
    .name = "table", .module = &gossip_module, .datagram_bytes_max = 1200};

static bool all_run_and_see(unsigned living)
{
    for (unsigned i = 0; i < sim_nodes(now.sim); i++) {
        const struct gossip_node *const g = sim_running(sim_node(now.sim, i));
        if (g == NULL || membership_counters(g->membership).living != living) {
            return false;
        }
    }
    return true;
}

/* Slow nodes stand still four fifths of the time, each in its own rhythm. */
static void be_slow(void)
{
    for (unsigned i = 0; i < sim_nodes(now.sim); i++) {
        const uint64_t at = sim_time_ms(now.sim) + i * 700;
        if (now.is_slow[i] && at % (STANDS_MS + RUNS_MS) < STEP_MS &&
            sim_running(sim_node(now.sim, i)) != NULL) {
            sim_pause(now.sim, i, STANDS_MS);
        }
    }
}

static void wait_ms(uint64_t ms)
{
    const uint64_t end = sim_time_ms(now.sim) + ms;
    while (sim_time_ms(now.sim) < end) {
        be_slow();
        const bool good = sim_run_to(now.sim, sim_time_ms(now.sim) + STEP_MS);
        assert(good);
    }
}

static void join(struct tally *t, unsigned nodes)
{
    for (uint64_t waited = 0; !all_run_and_see(nodes) && waited < JOIN_MS_MAX; waited += STEP_MS) {
        wait_ms(STEP_MS);
    }
    t->joined_s = (double)sim_time_ms(now.sim) / 1000;
    wait_ms(30000); /* what is told is told often enough by then */
}

static void sums(double *bytes, double *messages)
{
    *bytes = 0;
    *messages = 0;
    for (unsigned i = 0; i < sim_nodes(now.sim); i++) {
        *bytes += (double)sim_bytes_sent(sim_node(now.sim, i));
        *messages += (double)sim_messages_sent(sim_node(now.sim, i));
    }
}

static void count_false(struct tally *t, uint64_t ms)
{
    double bytes, messages;
    sums(&bytes, &messages);
    t->bytes -= bytes;
    t->messages -= messages;
    now.counting = true;
    wait_ms(ms);
    now.counting = false;
    sums(&bytes, &messages);
    t->bytes += bytes;
    t->messages += messages;
    t->seconds += (double)ms / 1000 * sim_nodes(now.sim);
    for (unsigned i = 0; i < sim_nodes(now.sim); i++) {
        *(now.is_slow[i] ? &t->slow_hours : &t->healthy_hours) += (double)ms / 3600000;
    }
}

/* Whether all healthy nodes know that the victim is dead. */
static bool all_know(struct node_uuid victim)
{
    for (unsigned i = 0; i < sim_nodes(now.sim); i++) {
        const struct gossip_node *const g = sim_running(sim_node(now.sim, i));
        if (g != NULL && !now.is_slow[i]) {
            const struct member *const member = membership_find(g->membership, victim);
            if (member != NULL && member->state != MEMBER_DEAD) {
                return false;
            }
        }
    }
    return true;
}

static void kill_one(struct tally *t, unsigned index)
{
    const uint64_t at_ms = sim_time_ms(now.sim);
    const struct node_uuid victim = sim_identity(sim_node(now.sim, index))->node;
    now.victim = (int)index;
    now.first_ms = 0;
    sim_crash(now.sim, index);
    while (!all_know(victim) && sim_time_ms(now.sim) - at_ms < DEAD_MS_MAX) {
        wait_ms(STEP_MS);
    }
    if (all_know(victim) && t->killed < TIMES_MAX) {
        t->first_s[t->killed] = (double)(now.first_ms - at_ms) / 1000;
        t->all_s[t->killed++] = (double)(sim_time_ms(now.sim) - at_ms) / 1000;
    } else {
        t->missed++;
    }
    now.victim = -1;
}

static void run(struct tally *t, const struct size *size, const struct trouble *trouble,
                bool lifeguard, uint64_t seed)
{
    const struct sim_conf conf = {
        .seed = seed, .nodes = size->nodes, .no_faults = true, .start_spread_ms = 20 * size->nodes};
    gossip_rules = (struct gossip_rules){.conf = membership_lan(), .on_event = on_event};
    gossip_rules.conf.members_max = size->nodes;
    gossip_rules.conf.tombstones_max = size->nodes < 64 ? 64 : size->nodes;
    if (!lifeguard) {
        gossip_rules.conf.suspicion_max_mult = 1;
        gossip_rules.conf.awareness_max = 1;
        gossip_rules.conf.stall_ms = UINT64_MAX;
        gossip_rules.no_stream_probes = true;
    }
    memset(&now, 0, sizeof now);
    now.tally = t;
    now.victim = -1;
    now.sim = sim_create(&suite, &conf);
    sim_set_latency(now.sim, 200, 1000);
    join(t, size->nodes);
    for (unsigned i = 0;
         i < size->nodes * trouble->slow_per_100 / 100 || (i == 0 && trouble->slow_per_100 > 0);
         i++) {
        now.is_slow[size->nodes - 1 - i] =
            true; /* none of the seeds, where there are more than three */
    }
    sim_set_loss(now.sim, trouble->loss_per_10000);
    wait_ms(10000);
    count_false(t, size->quiet_ms);
    for (unsigned i = 0; i < size->kills; i++) {
        kill_one(t, i); /* a healthy one */
        wait_ms(3000 + sim_random(sim_node(now.sim, 0)) % 1000);
    }
    sim_destroy(now.sim);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(double *times, unsigned count)
{
    if (count == 0) {
        printf(" | –");
        return;
    }
    qsort(times, count, sizeof times[0], compare);
    printf(" | %.1f (%.1f)", times[count / 2], times[count - 1]);
}

static void print_rate(uint64_t count, double hours)
{
    if (hours > 0) {
        printf(" | %.2f", (double)count / hours);
    } else {
        printf(" | –");
    }
}

static void row(const struct size *size, const struct trouble *trouble, bool lifeguard)
{
    static struct tally t;
    memset(&t, 0, sizeof t);
    for (unsigned round = 0; round < size->rounds; round++) {
        run(&t, size, trouble, lifeguard, round + 1);
    }
    printf("| %u | %s | %s", size->nodes, trouble->name, lifeguard ? "ours" : "SWIM");
    print_times(t.first_s, t.killed);
    print_times(t.all_s, t.killed);
    print_rate(t.false_healthy, t.healthy_hours);
    print_rate(t.false_slow, t.slow_hours);
    printf(" | %.0f | %.1f | %.1f |%s\n", t.bytes / t.seconds, t.messages / t.seconds, t.joined_s,
           t.missed > 0 ? " some deaths were not seen by all in 180 s" : "");
    fflush(stdout);
}

static bool is_asked_for(unsigned nodes, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strtoul(argv[i], NULL, 10) == nodes) {
            return true;
        }
    }
    return argc == 1;
}

int main(int argc, char **argv)
{
    printf("| nodes | trouble | | first knows, s | all know, s | false deaths, healthy | false "
           "deaths, slow "
           "| bytes/s | messages/s | joined, s |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; is_asked_for(sizes[i].nodes, argc, argv) && k < 4; k++) {
            row(&sizes[i], &troubles[k], true);
            row(&sizes[i], &troubles[k], false);
        }
    }
    return 0;
}
