/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quiescence: when may memory go that other threads might still be reading? Quiescent-state-based
 * reclamation: each thread says, once a turn, that it holds no pointer into shared structures; what
 * was unlinked before all threads have said so is freed (McKenney & Slingwine 1998; Hart et al.,
 * "Performance of memory reclamation for lockless synchronization", 2007).
 *
 * Owner: shared; `self` is the calling thread's number, below `threads`. A sleeping thread is
 * offline and is not waited for.
 * Memory: 16 bytes per retired object, in blocks on the retiring thread's list. When there is none
 * for a block, the object is not remembered, and so never released: safe for those who read it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct quiescence;

struct quiescence *quiescence_create(unsigned threads); /* all offline at first */
void quiescence_destroy(struct quiescence *q);          /* runs every callback still waiting */

/* Thread `self` holds no reference now; runs the callbacks of its own that have come due, about a
 * thousand in one call at most; quiescence_waiting() tells whether to come back before sleeping. */
void quiescence_pass(struct quiescence *q, unsigned self);
void quiescence_offline(struct quiescence *q, unsigned self); /* no reference until online */
void quiescence_online(struct quiescence *q, unsigned self);

/* Calls release(object) on this thread once every thread has passed; never from inside this call.
 */
void after_quiescent(struct quiescence *q, unsigned self, void (*release)(void *object),
                     void *object);

size_t quiescence_waiting(const struct quiescence *q, unsigned self); /* callbacks not yet run */
