/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_test: each suite, over the first seeds, and over some that nobody has tried yet; SIM_SEEDS in
 * the environment says how many of each. What fails is printed with the command that runs it again.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define SEEDS 100u

static unsigned seeds(void)
{
    const char *const given = getenv("SIM_SEEDS");
    return given != NULL ? (unsigned)strtoul(given, NULL, 10) : SEEDS;
}

static void run(const struct sim_suite *suite, uint64_t first, unsigned count)
{
    for (uint64_t seed = first; seed < first + count; seed++) {
        const struct sim_result r = sim_run(suite, seed, false);
        cr_assert_not(r.failed, "%s, at %.3f s: %s\nagain: ./dev sim %s --seed %llu --trace",
                      suite->name, (double)r.at_ms / 1000, r.what, suite->name,
                      (unsigned long long)seed);
    }
}

Test(sim, membership_holds_and_converges)
{
    struct random random = random_init();
    run(&membership_suite, 1, seeds());
    run(&membership_suite, random_next(&random), seeds());
}

Test(sim, links_lose_nothing_without_a_word_and_interest_converges)
{
    struct random random = random_init();
    run(&links_suite, 1, seeds());
    run(&links_suite, random_next(&random), seeds());
}

Test(sim, claims_leave_one_client_of_an_id_and_publish_its_will)
{
    struct random random = random_init();
    run(&claims_suite, 1, seeds() / 4);
    run(&claims_suite, random_next(&random), seeds() / 4);
}

Test(sim, retained_messages_come_to_be_the_same_and_no_delete_is_undone)
{
    struct random random = random_init();
    run(&retained_suite, 1, seeds() / 4);
    run(&retained_suite, random_next(&random), seeds() / 4);
}

Test(sim, consensus_applies_the_same_everywhere)
{
    struct random random = random_init();
    run(&consensus_suite, 1, seeds() / 4);
    run(&consensus_suite, random_next(&random), seeds() / 4);
}

Test(sim, messages_reach_their_partitions_once_in_order_and_none_is_missing)
{
    struct random random = random_init();
    run(&dispatch_suite, 1, seeds() / 4);
    run(&dispatch_suite, random_next(&random), seeds() / 4);
}

Test(sim, meta_forms_one_cluster_and_moves_partitions_without_losing_any)
{
    struct random random = random_init();
    run(&meta_suite, 1, seeds() / 4);
    run(&meta_suite, random_next(&random), seeds() / 4);
}

Test(sim, the_world_keeps_its_own_promises)
{
    struct random random = random_init();
    run(&self_suite, 1, seeds() / 4);
    run(&self_suite, random_next(&random), seeds() / 4);
}

/* So that a seed is all that it takes to see it again. */
Test(sim, the_same_seed_is_the_same_run)
{
    for (unsigned i = 0; suite_at(i) != NULL; i++) {
        uint64_t before = 0;
        for (uint64_t seed = 1; seed <= 10; seed++) {
            const struct sim_result one = sim_run(suite_at(i), seed, false);
            const struct sim_result two = sim_run(suite_at(i), seed, false);
            cr_expect_eq(one.hash, two.hash, "%s, seed %llu", suite_at(i)->name,
                         (unsigned long long)seed);
            cr_expect_eq(one.events, two.events);
            cr_expect_neq(one.hash, before);
            before = one.hash;
        }
    }
}

/* ---- A world can find something: a module that breaks its word is told. */

static bool always(struct sim *sim)
{
    (void)sim;
    return true;
}

static bool never(struct sim *sim)
{
    (void)sim;
    return false;
}

static void *create(struct sim_node *node)
{
    const uint8_t bytes[100] = {0};
    const struct node_address to = sim_address(node);
    sim_send(node, &to, bytes_of(bytes, sizeof bytes));
    return node;
}

static void destroy(void *self)
{
    (void)self;
}

Test(sim, what_must_not_be_ends_a_run)
{
    static const struct sim_module module = {.name = "bad", .create = create, .destroy = destroy};
    struct sim_suite suite = {.name = "bad",
                              .module = &module,
                              .nodes_min = 2,
                              .nodes_max = 2,
                              .datagram_bytes_max = 99,
                              .check_every_ms = 100,
                              .safety_ms = 1000,
                              .liveness_ms = 1000,
                              .is_converged = always};
    struct sim_result r = sim_run(&suite, 1, false);
    cr_expect(r.failed);
    cr_expect_str_eq(r.what, "node 0 sends a datagram of 100 bytes");
    suite.datagram_bytes_max = 100;
    r = sim_run(&suite, 1, false);
    cr_expect_not(r.failed, "%s", r.what);
    suite.is_converged = never;
    r = sim_run(&suite, 1, false);
    cr_expect(r.failed);
    cr_expect_str_eq(r.what, "it has not converged 1000 ms after the end of the faults");
}
