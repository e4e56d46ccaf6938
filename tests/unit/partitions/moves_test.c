/* SPDX-License-Identifier: Apache-2.0 */
/* A partition moves, by what META would say: an incarnation ends, and others go on from there. */
#include <criterion/criterion.h>

#include "broker/shard/shard.h"
#include "broker/store/serial.h"
#include "tests/unit/partitions/partition_host.h"

#define ALL  7u /* nodes, 1 << number */
#define MOST 30000u

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libraft.so"; /* as in partitions_test.c */
}

/* To each of those: that duty. */
static void say(unsigned nodes, struct partition_conf conf, unsigned servers, unsigned newcomers)
{
    for (unsigned node = 0; node < PHOST_NODES; node++) {
        if ((nodes >> node & 1) != 0) {
            conf.joins = (servers >> node & 1) == 0;
            phost_serve(node, 0, conf, servers, newcomers);
        }
    }
}

/* Where it has ended, as soon as one of those says so. */
static uint64_t sealed(unsigned nodes)
{
    for (unsigned ms = 0; ms < MOST; ms += 20) {
        for (unsigned node = 0; node < PHOST_NODES; node++) {
            if ((nodes >> node & 1) != 0 && phost.of[node][0].sealed != 0) {
                return phost.of[node][0].sealed;
            }
        }
        fake_cluster_advance(phost.cluster, 20);
    }
    cr_assert(false, "nobody says that it is sealed");
    return 0;
}

static void until_held(unsigned nodes, uint64_t moved)
{
    for (unsigned ms = 0; ms < MOST; ms += 20) {
        unsigned holds = 0;
        for (unsigned node = 0; node < PHOST_NODES; node++) {
            holds |= (unsigned)(phost.of[node][0].held == moved) << node;
        }
        if ((holds & nodes) == nodes) {
            return;
        }
        fake_cluster_advance(phost.cluster, 20);
    }
    cr_assert(false, "not all say that they hold it");
}

/* All of a move, as META's leader would have it: to where the next one begins. */
static uint64_t move(uint32_t incarnation, uint64_t begins, unsigned from, unsigned to)
{
    const uint64_t moved = 100 * incarnation;
    struct partition_conf conf = {
        .incarnation = incarnation, .changed = moved, .begins = begins, .seal = true};
    say(from | to, conf, from, to & ~from);
    const uint64_t end = sealed(from);
    conf.seal = false;
    conf.changed = moved + 1;
    conf.sealed = end;
    conf.moved = moved;
    say(from | to, conf, from, to & ~from);
    until_held(to, moved);
    return end;
}

static void start(uint32_t incarnation, uint64_t begins, unsigned servers)
{
    const struct partition_conf conf = {
        .incarnation = incarnation, .changed = 100 * incarnation - 50, .begins = begins};
    say(servers, conf, servers, 0);
    for (unsigned node = 0; node < PHOST_NODES; node++) {
        if ((servers >> node & 1) == 0) {
            phost.of[node][0].said = (struct partition_conf){.incarnation = 0};
            partition_stop(phost_enter(node, 0), phost_numbers[0]);
            shard_self = NULL;
        }
    }
    const unsigned leader = phost_leader(0);
    cr_assert((servers >> leader & 1) != 0, "%u leads", leader);
}

static void queue(uint64_t first, unsigned count)
{
    for (uint64_t n = first; n < first + count; n++) {
        phost_queued(0, phost_serial(0, 1), n, 0, 0);
    }
}

/* So many deliveries, the same on each of those, and nothing on others. */
static void expect_deliveries(unsigned nodes, uint64_t count)
{
    fake_cluster_advance(phost.cluster, 3000);
    for (unsigned node = 0; node < PHOST_NODES; node++) {
        const struct partition_hash hash = phost_hash(node, 0);
        cr_expect_eq(hash.deliveries, (nodes >> node & 1) != 0 ? count : 0, "%u has %llu", node,
                     (unsigned long long)hash.deliveries);
    }
}

Test(moves, what_was_said_before_goes_along)
{
    phost_begin();
    phost_opened(0, phost_serial(0, 1), phost_id(0, 0), NULL);
    queue(0, 50);
    const uint64_t first = move(1, 0, ALL, 3);
    start(2, first, 3);
    queue(50, 10);
    expect_deliveries(3, 60);
    const uint64_t second = move(2, first, 3, 6); /* node 2 knows nothing of it any more */
    cr_expect_gt(second, first, "terms and indexes go on");
    start(3, second, 6);
    queue(60, 10);
    expect_deliveries(6, 70);
    const unsigned leader = phost_leader(0);
    cr_assert_not_null(phost_session(leader, 0, phost_id(0, 0)));
    phost_end();
}

/* Its disk has that it is sealed; its journal has what the incarnation before has promised. */
Test(moves, one_that_ends_in_the_middle_goes_on)
{
    phost_begin();
    phost_opened(0, phost_serial(0, 1), phost_id(0, 0), NULL);
    queue(0, 40);
    const uint64_t end = move(1, 0, ALL, ALL);
    phost_crash(1);
    phost_start(1);
    fake_cluster_advance(phost.cluster, 3000);
    cr_expect_eq(phost_state(1, 0).sealed, end, "it knows after a start, too");
    cr_expect_eq(phost_state(1, 0).role, PARTITION_FOLLOWS, "nobody leads what is sealed");
    start(2, end, ALL);
    phost_crash(0);
    phost_start(0);
    queue(40, 40);
    expect_deliveries(ALL, 80);
    phost_end();
}

/* Away while it was sealed: it comes back to an incarnation whose beginning it does not have. */
Test(moves, who_lacks_the_end_copies_it)
{
    phost_begin();
    phost_opened(0, phost_serial(0, 1), phost_id(0, 0), NULL);
    queue(0, 20);
    phost_settle();
    phost_crash(2);
    queue(20, 100);
    struct partition_conf conf = {.incarnation = 1, .changed = 100, .seal = true};
    say(3, conf, ALL, 0);
    const uint64_t end = sealed(3);
    conf = (struct partition_conf){.incarnation = 1, .changed = 101, .sealed = end, .moved = 100};
    say(3, conf, ALL, 0);
    until_held(3, 100);
    conf = (struct partition_conf){.incarnation = 2, .changed = 150, .begins = end};
    say(ALL, conf, ALL, 0);
    (void)phost_leader(0);
    phost_start(2);
    queue(120, 10);
    expect_deliveries(ALL, 130);
    cr_expect_eq(phost_state(2, 0).incarnation, 2);
    phost_end();
}

/* One that has not heard that the next one has begun has no part in it, and no vote. */
Test(moves, what_is_said_in_one_incarnation_is_not_heard_in_another)
{
    phost_begin();
    phost_opened(0, phost_serial(0, 1), phost_id(0, 0), NULL);
    queue(0, 20);
    const uint64_t end = move(1, 0, ALL, ALL);
    const struct partition_conf conf = {.incarnation = 2, .changed = 150, .begins = end};
    say(3, conf, ALL, 0);
    queue(20, 30);
    fake_cluster_advance(phost.cluster, 3000);
    cr_expect_eq(phost_state(2, 0).applied, partition_end_index(end), "it hears nothing of it");
    phost_crash(0);
    fake_cluster_advance(phost.cluster, 5000);
    cr_expect_eq(phost.of[1][0].led + phost.of[2][0].led, 0, "one of three is no majority");
    phost_start(0);
    say(4, conf, ALL, 0);
    (void)phost_leader(0);
    expect_deliveries(ALL, 50);
    phost_end();
}
