/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/claim.h"

#include <assert.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum claim_state {
    OWNER,
    NOBODY,
    VISITOR,
    AWAITED, /* a visitor's, and the owner waits */
};

static bool change(struct claim *c, int from, int to)
{
    return atomic_compare_exchange_strong_explicit(&c->state, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

void claim_leave(struct claim *c)
{
    const int was = atomic_exchange_explicit(&c->state, NOBODY, memory_order_acq_rel);
    assert(was == OWNER);
    (void)was;
}

static void await_owner(struct claim *c)
{
    int state;
    while ((state = atomic_load_explicit(&c->state, memory_order_acquire)) == AWAITED) {
        /* Comes back at once if the state is another by then; also for signals. */
        syscall(SYS_futex, &c->state, FUTEX_WAIT_PRIVATE, AWAITED, NULL, NULL, 0);
    }
    assert(state == OWNER);
    (void)state;
}

void claim_take(struct claim *c)
{
    for (;;) {
        if (change(c, NOBODY, OWNER)) {
            return;
        }
        if (change(c, VISITOR, AWAITED)) {
            await_owner(c);
            return;
        }
        if (atomic_load_explicit(&c->state, memory_order_acquire) == OWNER) {
            return; /* given to us, by who wakes us */
        }
    }
}

bool claim_is_free(struct claim *c)
{
    /* Changes nothing, but takes its place in the order of all changes. */
    return atomic_fetch_or_explicit(&c->state, 0, memory_order_acq_rel) == NOBODY;
}

bool claim_visit(struct claim *c)
{
    return change(c, NOBODY, VISITOR);
}

bool claim_wake(struct claim *c)
{
    return change(c, NOBODY, OWNER);
}

bool claim_end_visit(struct claim *c, bool owner_is_needed)
{
    if (!owner_is_needed && change(c, VISITOR, NOBODY)) {
        return false;
    }
    if (atomic_exchange_explicit(&c->state, OWNER, memory_order_acq_rel) == VISITOR) {
        return true;
    }
    syscall(SYS_futex, &c->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); /* AWAITED */
    return false;
}
