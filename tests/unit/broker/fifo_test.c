/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/fifo.h"

#include <criterion/criterion.h>

struct item {
    uint64_t number;
    uint32_t twice;
};

static void push(struct fifo *f, uint64_t number)
{
    const struct item item = {.number = number, .twice = (uint32_t)(number * 2)};
    cr_assert(fifo_push(f, &item));
}

static void is_at(const struct fifo *f, uint32_t i, uint64_t number)
{
    const struct item *const item = fifo_at(f, i);
    cr_assert_eq(item->number, number);
    cr_assert_eq(item->twice, (uint32_t)(number * 2));
}

/* It grows wherever its first item is at the time, and keeps all in order. */
Test(fifo, what_goes_in_first_comes_out_first)
{
    for (uint32_t ahead = 0; ahead < 40; ahead++) {
        struct fifo f = {.item = sizeof(struct item)};
        uint64_t in = 0, out = 0;
        cr_assert_null(fifo_first(&f));
        for (; in < ahead; in++, out++) { /* the head is somewhere */
            push(&f, in);
            fifo_pop(&f);
        }
        for (unsigned i = 0; i < 200; i++) {
            push(&f, in++);
            push(&f, in++);
            is_at(&f, 0, out);
            is_at(&f, f.count - 1, in - 1);
            cr_assert_eq(fifo_last(&f), fifo_at(&f, f.count - 1));
            cr_assert_eq(fifo_first(&f), fifo_at(&f, 0));
            fifo_pop(&f);
            out++;
            cr_assert_eq(f.count, in - out);
        }
        for (; f.count > 0; out++) {
            is_at(&f, 0, out);
            fifo_pop(&f);
        }
        cr_expect_eq(out, in);
        cr_expect_null(fifo_first(&f));
        fifo_fini(&f);
    }
}

/* Memory: twice what was ever in it. */
Test(fifo, a_queue_that_is_emptied_all_the_time_does_not_grow)
{
    struct fifo f = {.item = sizeof(struct item)};
    for (uint64_t i = 0; i < 100000; i++) {
        push(&f, i);
        push(&f, i + 1);
        is_at(&f, 1, i + 1);
        fifo_pop(&f);
        fifo_pop(&f);
    }
    cr_expect_leq(f.capacity, 16);
    fifo_fini(&f);
    cr_expect_null(f.at);
    cr_expect_eq(f.item, sizeof(struct item));
    push(&f, 5); /* it can be used again */
    is_at(&f, 0, 5);
    fifo_fini(&f);
}
