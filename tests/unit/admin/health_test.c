/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/health.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "broker/metrics.h"
#include "broker/node.h"
#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_node.h"

Test(health, a_shard_that_does_not_turn_is_named)
{
    char text[HEALTH_TEXT_BYTES];
    struct fake_node *n = fake_node_create(2, SETTINGS());
    atomic_store(&n->node->serving, true);
    cr_expect_not(health_lives(n->node, 0, text));
    cr_expect_str_eq(text, "shard 0 has not turned for 0 ms\n");
    cr_expect(io_fake_is_woken(n->node->shards[0]->io));
    fake_node_destroy(n);
}

static atomic_bool enough;

/* As if the shards had threads: those of a fake node turn when they are told to. */
static void *turn(void *node)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    const struct node *const n = node;
    while (!atomic_load(&enough)) {
        nanosleep(&pause, NULL);
        for (unsigned i = 0; i < n->shard_count; i++) {
            metrics_add(&n->shards[i]->metrics, METRIC_turns, 1);
        }
    }
    return NULL;
}

Test(health, it_lives_when_every_shard_has_turned)
{
    char text[HEALTH_TEXT_BYTES];
    pthread_t thread;
    struct fake_node *n = fake_node_create(2, SETTINGS());
    atomic_store(&n->node->serving, true);
    cr_assert_eq(pthread_create(&thread, NULL, turn, n->node), 0);
    cr_expect(health_lives(n->node, 60000, text));
    atomic_store(&enough, true);
    pthread_join(thread, NULL);
    cr_expect_str_eq(text, "every shard turns\n");
    cr_expect(io_fake_is_woken(n->node->shards[1]->io));
    fake_node_destroy(n);
}

Test(health, who_ends_is_not_ready)
{
    char text[HEALTH_TEXT_BYTES];
    struct fake_node *n = fake_node_create(1, SETTINGS());
    cr_expect_not(health_is_ready(n->node, text));
    atomic_store(&n->node->serving, true);
    cr_expect(health_is_ready(n->node, text));
    atomic_store(&n->node->ending, true);
    cr_expect_not(health_is_ready(n->node, text));
    cr_expect_str_eq(text, "the broker is ending\n");
    fake_node_destroy(n);
}

Test(health, whose_clock_is_wrong_is_not_ready)
{
    char text[HEALTH_TEXT_BYTES];
    struct fake_node *n = fake_node_create(1, SETTINGS());
    atomic_store(&n->node->serving, true);
    atomic_store(&n->node->clock_ahead_ms, -2500);
    cr_expect_not(health_is_ready(n->node, text));
    cr_expect_str_eq(text, "the clock is 2500 ms behind the other nodes'\n");
    atomic_store(&n->node->clock_ahead_ms, 3000);
    cr_expect_not(health_is_ready(n->node, text));
    cr_expect_str_eq(text, "the clock is 3000 ms ahead of the other nodes'\n");
    atomic_store(&n->node->clock_ahead_ms, 0);
    cr_expect(health_is_ready(n->node, text));
    fake_node_destroy(n);
}
