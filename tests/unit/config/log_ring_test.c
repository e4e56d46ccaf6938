/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log_ring.h"

#include <criterion/criterion.h>

static bool add(struct log_ring *ring, uint64_t number)
{
    uint64_t reservation;
    struct log_record *const r = log_ring_reserve(ring, &reservation);
    if (r == NULL) {
        return false;
    }
    r->now_ns = number;
    log_ring_commit(ring, reservation);
    return true;
}

/* All fill levels, many times around. */
Test(log_ring, in_order_and_bounded)
{
    struct log_ring *const ring = log_ring_create(4);
    uint64_t in = 0, out = 0;
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned n = 0; n <= round % 5; n++) {
            const bool added = add(ring, in);
            cr_expect_eq(added, in - out < 4);
            in += added;
        }
        for (unsigned n = 0; n <= round % 3; n++) {
            const struct log_record *const r = log_ring_peek(ring);
            cr_assert_eq(r == NULL, in == out);
            if (r != NULL) {
                cr_expect_eq(r->now_ns, out++);
                log_ring_release(ring);
            }
        }
    }
    cr_expect_gt(in, 100);
    log_ring_destroy(ring);
}

/* A record that was reserved later waits for the earlier one. */
Test(log_ring, shown_in_the_order_of_reservation)
{
    struct log_ring *const ring = log_ring_create(2);
    uint64_t first, second, third;
    struct log_record *const a = log_ring_reserve(ring, &first);
    struct log_record *const b = log_ring_reserve(ring, &second);
    cr_assert(a != NULL && b != NULL);
    cr_expect_null(log_ring_reserve(ring, &third));
    b->now_ns = 2;
    log_ring_commit(ring, second);
    cr_expect_null(log_ring_peek(ring));
    a->now_ns = 1;
    log_ring_commit(ring, first);
    cr_expect_eq(log_ring_peek(ring)->now_ns, 1);
    log_ring_release(ring);
    cr_expect_not_null(log_ring_reserve(ring, &third));
    cr_expect_eq(log_ring_peek(ring)->now_ns, 2);
    log_ring_destroy(ring);
}

Test(log_ring, destroy_takes_null)
{
    log_ring_destroy(NULL);
}
