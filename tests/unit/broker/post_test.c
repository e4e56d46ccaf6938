/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/post.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <string.h>

#include "broker/shard/loop.h"
#include "broker/shard/mailbox.h"
#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_node.h"
#include "tests/unit/route/random.h"

struct numbered {
    struct post_head head;
    uint32_t number;
    uint32_t len;
    uint8_t filling[];
};

static uint32_t expected[3][3]; /* [to][from] */

static void on_numbered(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct numbered *r = (const void *)record;
    cr_assert_eq(r->number, expected[s->id][from], "%u, not %u", r->number, expected[s->id][from]);
    expected[s->id][from]++;
    for (uint32_t i = 0; i < r->len; i++) {
        cr_assert_eq(r->filling[i], (uint8_t)(r->number + i));
    }
}

static void on_much_work(struct shard *s, unsigned from, const struct post_head *record)
{
    on_numbered(s, from, record);
    s->work += 100;
}

static post_fn *const handlers[POST_TYPES] = {[POST_DELIVER] = on_numbered};

static void put(struct shard *s, unsigned to, uint32_t number, uint32_t len)
{
    struct numbered *r = post_reserve(s, to, POST_DELIVER, sizeof *r + len);
    r->number = number;
    r->len = len;
    for (uint32_t i = 0; i < len; i++) {
        r->filling[i] = (uint8_t)(number + i);
    }
    post_commit(s, to);
}

/* Through the ring, past a full ring, and back into it: in order, nothing lost. */
Test(post, what_overflows_keeps_its_place)
{
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    struct fake_node *n = fake_node_create(3, SETTINGS());
    fake_node_shrink_mail(n, 2048);
    uint32_t sent[3][3] = {{0}};
    for (unsigned step = 0; step < 50000; step++) {
        const unsigned who = random_below(&random, 3);
        struct shard *s = fake_node_enter(n, who);
        switch (random_below(&random, 8)) {
        case 0:
            cr_assert_eq(post_flush(s) >> who & 1, 0, "no mail to oneself");
            break;
        case 1:
            post_receive(s, 1 + random_below(&random, 20), UINT64_MAX, handlers);
            break;
        default: {
            const unsigned to = (who + 1 + random_below(&random, 2)) % 3;
            put(s, to, sent[to][who]++, random_below(&random, 400));
        }
        }
    }
    cr_expect_gt(fake_node_count(n, METRIC_mail_overflowed), 0);
    bool waiting = true;
    for (unsigned rounds = 0; waiting; rounds++) {
        cr_assert_lt(rounds, 100000);
        waiting = false;
        for (unsigned i = 0; i < 3; i++) {
            struct shard *s = fake_node_enter(n, i);
            cr_assert_eq(post_flush(s) >> i & 1, 0);
            post_receive(s, 1000, UINT64_MAX, handlers);
        }
        for (unsigned i = 0; i < 3; i++) { /* only now: the last may have sent to the first */
            const struct shard *s = n->node->shards[i];
            waiting = waiting || shard_congested(s) || !post_is_empty(s);
        }
    }
    cr_expect_arr_eq(sent, expected, sizeof sent);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_not(shard_congested(n->node->shards[i]));
    }
    fake_node_destroy(n);
}

/* A receiver reads no more of each sender in one turn than it is told to. */
Test(post, a_turn_has_a_budget)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct shard *s = fake_node_enter(n, 0);
    for (uint32_t i = 0; i < 10; i++) {
        put(s, 1, i, 0);
    }
    struct shard *to = fake_node_enter(n, 1);
    cr_expect_not(post_receive(to, 4, UINT64_MAX, handlers), "nothing was shown yet");
    fake_node_enter(n, 0);
    cr_expect_eq(post_flush(s), 1u << 1);
    cr_expect_eq(post_flush(s), 0, "nothing new");
    fake_node_enter(n, 1);
    cr_expect(post_receive(to, 4, UINT64_MAX, handlers));
    cr_expect_eq(expected[1][0], 4);
    cr_expect(post_receive(to, 5, UINT64_MAX, handlers));
    cr_expect_not(post_receive(to, 5, UINT64_MAX, handlers));
    cr_expect_eq(expected[1][0], 10);
    cr_expect(post_is_empty(to));
    fake_node_destroy(n);
}

/* Nor much more than the work it is told to do, but one record at least, and of each sender. */
Test(post, a_turn_has_a_budget_of_work)
{
    static post_fn *const much_work[POST_TYPES] = {[POST_DELIVER] = on_much_work};
    struct fake_node *n = fake_node_create(3, SETTINGS());
    for (unsigned from = 0; from < 2; from++) {
        struct shard *s = fake_node_enter(n, from);
        for (uint32_t i = 0; i < 6; i++) {
            put(s, 2, i, 0);
        }
        cr_expect_eq(post_flush(s), 1u << 2);
    }
    struct shard *to = fake_node_enter(n, 2);
    cr_expect(post_receive(to, 100, 250, much_work));
    cr_expect_eq(expected[2][0], 3);
    cr_expect_eq(expected[2][1], 3);
    cr_expect(post_receive(to, 100, 1, much_work));
    cr_expect_eq(expected[2][0], 4);
    cr_expect_eq(expected[2][1], 4);
    cr_expect_not(post_receive(to, 100, UINT64_MAX, much_work));
    cr_expect_eq(expected[2][1], 6);
    fake_node_destroy(n);
}
