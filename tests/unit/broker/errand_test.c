/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/errand.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_node.h"

struct counted {
    struct errand errand;
    unsigned steps, wanted;
    bool rests; /* between its steps */
    bool ready;
};

static unsigned destroyed;

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct counted *const c = (struct counted *)e;
    ASSERT_OWNED(s);
    c->steps++;
    return c->steps == c->wanted ? ERRAND_DONE : c->rests ? ERRAND_LATER : ERRAND_MORE;
}

static bool is_ready(const struct shard *s, const struct errand *e)
{
    (void)s;
    return ((const struct counted *)e)->ready;
}

static void destroy(struct errand *e)
{
    destroyed++;
    free(e);
}

static struct counted *make(unsigned wanted)
{
    struct counted *const c = calloc(1, sizeof *c);
    cr_assert_not_null(c);
    c->errand = (struct errand){.run = run, .is_ready = is_ready, .destroy = destroy};
    c->wanted = wanted;
    return c;
}

/* Nobody waits for it: it is the shard's alone afterwards. */
static enum errand_result send_off(struct fake_node *n, struct counted *c)
{
    shard_self = NULL;
    const enum errand_result result = errand_do(n->node->shards[0], &c->errand, 0);
    errand_put(&c->errand);
    return result;
}

struct asked {
    struct shard *shard;
    struct counted *errand;
    enum errand_result result;
    _Atomic bool ended;
};

static void *ask(void *context)
{
    struct asked *const a = context;
    a->result = errand_do(a->shard, &a->errand->errand, 60000);
    atomic_store(&a->ended, true);
    return NULL;
}

Test(errand, is_done_in_as_many_turns_as_it_needs)
{
    pthread_t thread;
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct asked a = {.shard = n->node->shards[0], .errand = make(5)};
    cr_assert_eq(pthread_create(&thread, NULL, ask, &a), 0);
    while (!atomic_load(&a.ended)) {
        fake_node_step(n, 0);
    }
    pthread_join(thread, NULL);
    cr_expect_eq(a.result, ERRAND_ANSWERED);
    cr_expect_eq(a.errand->steps, 5);
    cr_expect_eq(destroyed, 0);
    errand_put(&a.errand->errand);
    cr_expect_eq(destroyed, 1);
    fake_node_destroy(n);
}

Test(errand, one_that_rests_keeps_no_shard_awake)
{
    pthread_t thread;
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct shard *const s = n->node->shards[0];
    struct asked a = {.shard = s, .errand = make(2)};
    a.errand->rests = true;
    cr_assert_eq(pthread_create(&thread, NULL, ask, &a), 0);
    while (s->errands.resting == NULL) {
        fake_node_step(n, 0);
    }
    fake_node_step(n, 0);
    cr_expect_not(errands_are_waiting(s));
    cr_expect_eq(a.errand->steps, 1);
    a.errand->ready = true;
    while (!atomic_load(&a.ended)) {
        fake_node_step(n, 0);
    }
    pthread_join(thread, NULL);
    cr_expect_eq(a.result, ERRAND_ANSWERED);
    cr_expect_eq(a.errand->steps, 2);
    errand_put(&a.errand->errand);
    fake_node_destroy(n);
}

Test(errand, nobody_waits_for_is_not_run)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct counted *const c = make(1);
    cr_expect_eq(send_off(n, c), ERRAND_LATE);
    cr_expect_eq(destroyed, 0);
    fake_node_step(n, 0);
    cr_expect_eq(destroyed, 1);
    fake_node_destroy(n);
}

Test(errand, too_many_are_refused)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    for (unsigned i = 0; i < ERRANDS_MAX; i++) {
        cr_assert_eq(send_off(n, make(1)), ERRAND_LATE);
    }
    cr_expect_eq(send_off(n, make(1)), ERRAND_BUSY);
    cr_expect_eq(destroyed, 1);
    fake_node_step(n, 0); /* one is dropped */
    cr_expect_eq(send_off(n, make(1)), ERRAND_LATE);
    cr_expect_eq(send_off(n, make(1)), ERRAND_BUSY);
    for (unsigned i = 0; i < ERRANDS_MAX; i++) {
        fake_node_step(n, 0);
    }
    cr_expect_eq(destroyed, ERRANDS_MAX + 3);
    fake_node_destroy(n);
}

Test(errand, a_shard_that_runs_no_more_takes_none)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    cr_expect_eq(send_off(n, make(1)), ERRAND_LATE);
    errands_close(fake_node_enter(n, 0));
    cr_expect_eq(destroyed, 1);
    cr_expect_eq(send_off(n, make(1)), ERRAND_BUSY);
    cr_expect_eq(destroyed, 2);
    fake_node_destroy(n);
}
