/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/quiescence.h"

#include <criterion/criterion.h>

#include "fault.h"

static unsigned released;

static void on_release(void *object)
{
    released += *(unsigned *)object;
}

static struct quiescence *create(unsigned threads, unsigned online)
{
    struct quiescence *q = quiescence_create(threads);
    cr_assert_not_null(q);
    for (unsigned i = 0; i < online; i++) {
        quiescence_online(q, i);
    }
    released = 0;
    return q;
}

static void all_pass(struct quiescence *q, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) {
        quiescence_pass(q, i);
    }
}

Test(quiescence, waits_for_every_thread)
{
    struct quiescence *q = create(3, 3);
    unsigned one = 1;
    after_quiescent(q, 0, on_release, &one);
    cr_expect_eq(quiescence_waiting(q, 0), 1);
    quiescence_pass(q, 0); /* asks */
    quiescence_pass(q, 1);
    for (unsigned i = 0; i < 3; i++) {
        quiescence_pass(q, 0);
        cr_expect_eq(released, 0, "thread 2 has not passed");
    }
    quiescence_pass(q, 2);
    cr_expect_eq(released, 0, "only the thread itself runs it");
    quiescence_pass(q, 0);
    cr_expect_eq(released, 1);
    cr_expect_eq(quiescence_waiting(q, 0), 0);
    quiescence_destroy(q);
    cr_expect_eq(released, 1, "once");
}

/* A pass from before the object was retired does not count. */
Test(quiescence, earlier_pass_does_not_count)
{
    struct quiescence *q = create(2, 2);
    unsigned one = 1;
    all_pass(q, 2);
    after_quiescent(q, 0, on_release, &one);
    quiescence_pass(q, 0);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 0);
    quiescence_pass(q, 1);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 1);
    quiescence_destroy(q);
}

/* What is retired while earlier objects wait has a wait of its own. */
Test(quiescence, gathers_while_waiting)
{
    struct quiescence *q = create(2, 2);
    unsigned one = 1, ten = 10;
    after_quiescent(q, 0, on_release, &one);
    quiescence_pass(q, 0);
    after_quiescent(q, 0, on_release, &ten);
    quiescence_pass(q, 1);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 1);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 1, "thread 1 has not passed since");
    quiescence_pass(q, 1);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 11);
    quiescence_destroy(q);
}

Test(quiescence, sleeping_threads_are_not_waited_for)
{
    struct quiescence *q = create(64, 2);
    unsigned one = 1;
    quiescence_offline(q, 1);
    after_quiescent(q, 0, on_release, &one);
    quiescence_pass(q, 0);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 1);

    quiescence_online(q, 1);
    after_quiescent(q, 0, on_release, &one);
    quiescence_pass(q, 0);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 1, "awake again");
    quiescence_offline(q, 1);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 2);
    quiescence_destroy(q);
}

/* Who falls asleep right after it retired something has asked the others first. */
Test(quiescence, others_pass_while_it_sleeps)
{
    struct quiescence *q = create(2, 2);
    unsigned one = 1;
    after_quiescent(q, 0, on_release, &one);
    quiescence_offline(q, 0);
    quiescence_pass(q, 1);
    cr_expect_eq(quiescence_waiting(q, 0), 1);
    quiescence_online(q, 0);
    quiescence_pass(q, 0);
    cr_expect_eq(released, 1);
    quiescence_destroy(q);
}

/* One pass does not run more than so many; the rest comes in the next. */
Test(quiescence, mass_release_is_spread)
{
    struct quiescence *q = create(1, 1);
    unsigned one = 1;
    for (unsigned i = 0; i < 10000; i++) {
        after_quiescent(q, 0, on_release, &one);
    }
    quiescence_pass(q, 0);
    unsigned passes = 0;
    while (quiescence_waiting(q, 0) > 0) {
        const unsigned before = released;
        quiescence_pass(q, 0);
        cr_assert_leq(released - before, 1100);
        cr_assert_lt(passes++, 12);
    }
    cr_expect_eq(released, 10000);
    quiescence_destroy(q);
}

static struct quiescence *chain_q;

static void on_chain(void *object)
{
    released++;
    if (--*(unsigned *)object > 0) {
        after_quiescent(chain_q, 0, on_chain, object);
    }
}

/* A callback may retire more, also in the end. */
Test(quiescence, callback_retires)
{
    chain_q = create(1, 1);
    unsigned left = 3;
    after_quiescent(chain_q, 0, on_chain, &left);
    quiescence_pass(chain_q, 0);
    quiescence_pass(chain_q, 0);
    cr_expect_eq(released, 1);
    quiescence_destroy(chain_q);
    cr_expect_eq(released, 3);
}

/* With no memory to remember it by, the object stays. */
Test(quiescence, no_memory)
{
    fault_at(0);
    cr_expect_null(quiescence_create(2));
    fault_at(FAULT_NEVER);
    struct quiescence *q = create(1, 1);
    unsigned one = 1;
    fault_at(0);
    after_quiescent(q, 0, on_release, &one);
    fault_at(FAULT_NEVER);
    cr_expect_eq(quiescence_waiting(q, 0), 0);
    after_quiescent(q, 0, on_release, &one);
    quiescence_destroy(q);
    cr_expect_eq(released, 1);
    quiescence_destroy(NULL);
}
