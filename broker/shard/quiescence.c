/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   retiring thread                          every other thread, once a turn
 *   unlink the object
 *   epoch + 1 (release)  ────────────▶  load epoch (acquire): what it reads from here on,
 *                                        it reads after the unlinking
 *   load seen (acquire)  ◀────────────  seen = epoch (release): what it has read is behind it
 *   all have seen it: release the object
 *
 * So a pass is a load of a line that rarely changes and a store to a line of its own; nothing in it
 * is a read-modify-write. A thread asks for one epoch at a time: what it retires while it waits is
 * gathered for the next, so the shared counter moves at most once per thread and grace period.
 *
 * A sleeping thread's `seen` is above every epoch. Waking up is the one place where a store has to
 * be visible before the loads that follow it, hence a full barrier, which pairs with the one after
 * the epoch is counted up: either the waiter sees the thread awake, or the thread sees the object
 * unlinked.
 */
#include "broker/shard/quiescence.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define CACHE_LINE    64u
#define OFFLINE       UINT64_MAX
#define BLOCK_OBJECTS 63u   /* makes a block 1 KiB */
#define RELEASES_MAX  1024u /* per pass, so that a mass removal does not stall the thread */

struct retired {
    void (*release)(void *object);
    void *object;
};

struct block {
    struct block *next;
    uint32_t count; /* objects in use */
    struct retired objects[BLOCK_OBJECTS];
};

struct list {
    struct block *first; /* NULL when empty */
    struct block *last;  /* only this one may have room */
    size_t count;        /* objects in all blocks */
};

struct thread {
    /* The epoch of the last pass, or OFFLINE. Written by the thread, read by those who wait. */
    _Alignas(CACHE_LINE) _Atomic uint64_t seen;

    /* The thread's own from here on. */
    _Alignas(CACHE_LINE) struct list gathering; /* retired since the last epoch was asked for */
    struct list waiting;                        /* for all to have seen `epoch` */
    uint64_t epoch;
    unsigned passed;     /* threads below this number have; all: `waiting` is due */
    struct block *spare; /* the last block that became empty; saves an allocation a turn */
};

struct quiescence {
    /* Counted up by who retires, read by all. */
    _Alignas(CACHE_LINE) _Atomic uint64_t epoch;
    _Alignas(CACHE_LINE) unsigned threads;
    struct thread thread[];
};

static void full_barrier(void)
{
#if defined(__SANITIZE_THREAD__)
    /* ThreadSanitizer does not know fences; it knows this, which orders as much. */
    static _Atomic uint64_t order;
    atomic_fetch_add_explicit(&order, 1, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

struct quiescence *quiescence_create(unsigned threads)
{
    assert(threads > 0);

    struct quiescence *q =
        aligned_alloc(CACHE_LINE, sizeof *q + (size_t)threads * sizeof q->thread[0]);
    if (q == NULL) {
        return NULL;
    }
    atomic_init(&q->epoch, 1);
    q->threads = threads;
    for (unsigned i = 0; i < threads; i++) {
        q->thread[i] = (struct thread){.passed = 0};
        atomic_init(&q->thread[i].seen, OFFLINE);
    }
    return q;
}

/* Runs up to `max` of the list's callbacks, oldest first. A callback may retire more: it is
 * gathered elsewhere, never in this list. */
static void list_release(struct list *list, struct block **spare, size_t max)
{
    while (list->first != NULL && max > 0) {
        struct block *const b = list->first;
        assert(b->count > 0);
        list->first = b->next;
        list->count -= b->count;
        max -= b->count < max ? b->count : max;
        for (uint32_t i = 0; i < b->count; i++) {
            b->objects[i].release(b->objects[i].object);
        }
        free(*spare);
        *spare = b;
    }
    if (list->first == NULL) {
        list->last = NULL;
        assert(list->count == 0);
    }
}

void quiescence_destroy(struct quiescence *q)
{
    for (unsigned i = 0; q != NULL && i < q->threads; i++) {
        struct thread *const t = &q->thread[i];
        while (t->waiting.count + t->gathering.count > 0) { /* callbacks may retire more */
            list_release(&t->waiting, &t->spare, SIZE_MAX);
            t->waiting = t->gathering;
            t->gathering = (struct list){.first = NULL};
        }
        free(t->spare);
        t->spare = NULL;
    }
    free(q);
}

void after_quiescent(struct quiescence *q, unsigned self, void (*release)(void *object),
                     void *object)
{
    assert(self < q->threads);
    assert(release != NULL);

    struct thread *const t = &q->thread[self];
    struct list *const list = &t->gathering;
    if (list->last == NULL || list->last->count == BLOCK_OBJECTS) {
        struct block *b = t->spare != NULL ? t->spare : malloc(sizeof *b);
        t->spare = NULL;
        if (b == NULL) {
            return; /* readers may still be in it, and nobody would come back: it stays */
        }
        b->next = NULL;
        b->count = 0;
        *(list->last != NULL ? &list->last->next : &list->first) = b;
        list->last = b;
    }
    list->last->objects[list->last->count++] =
        (struct retired){.release = release, .object = object};
    list->count++;
}

/* What is gathered waits from now on, for an epoch that nobody has seen yet. */
static void ask(struct quiescence *q, struct thread *t)
{
    assert(t->waiting.count == 0);

    t->waiting = t->gathering;
    t->gathering = (struct list){.first = NULL};
    /* Release: pairs with the acquire in a pass. The increments of other threads that come after
     * carry it on, being read-modify-writes. */
    t->epoch = atomic_fetch_add_explicit(&q->epoch, 1, memory_order_release) + 1;
    t->passed = 0;
    full_barrier(); /* pairs with quiescence_online() */
}

/* Looks on from the first thread that had not passed, so a grace period costs one look per thread,
 * and one more per turn that it takes. */
static bool all_passed(const struct quiescence *q, struct thread *t, unsigned self)
{
    while (t->passed < q->threads) {
        const struct thread *const other = &q->thread[t->passed];
        if (t->passed != self &&
            atomic_load_explicit(&other->seen, memory_order_acquire) < t->epoch) {
            return false;
        }
        t->passed++;
    }
    return true;
}

static void reclaim(struct quiescence *q, struct thread *t, unsigned self)
{
    if (t->waiting.count > 0 && all_passed(q, t, self)) {
        list_release(&t->waiting, &t->spare, RELEASES_MAX);
    }
    if (t->waiting.count == 0 && t->gathering.count > 0) {
        ask(q, t);
    }
}

void quiescence_pass(struct quiescence *q, unsigned self)
{
    assert(self < q->threads);

    struct thread *const t = &q->thread[self];
    const uint64_t seen = atomic_load_explicit(&t->seen, memory_order_relaxed);
    assert(seen != OFFLINE);

    const uint64_t epoch = atomic_load_explicit(&q->epoch, memory_order_acquire);
    if (epoch != seen) { /* else nobody waits for a later one */
        atomic_store_explicit(&t->seen, epoch, memory_order_release);
    }
    if (t->waiting.count + t->gathering.count > 0) {
        reclaim(q, t, self);
    }
}

void quiescence_offline(struct quiescence *q, unsigned self)
{
    assert(self < q->threads);

    struct thread *const t = &q->thread[self];
    if (t->waiting.count == 0 && t->gathering.count > 0) {
        ask(q, t); /* the others pass while this thread sleeps */
    }
    /* Release: what it has read is behind it, as in a pass. */
    atomic_store_explicit(&t->seen, OFFLINE, memory_order_release);
}

void quiescence_online(struct quiescence *q, unsigned self)
{
    assert(self < q->threads);

    struct thread *const t = &q->thread[self];
    assert(atomic_load_explicit(&t->seen, memory_order_relaxed) == OFFLINE);
    const uint64_t epoch = atomic_load_explicit(&q->epoch, memory_order_acquire);
    atomic_store_explicit(&t->seen, epoch, memory_order_relaxed);
    full_barrier(); /* pairs with ask() */
}

size_t quiescence_waiting(const struct quiescence *q, unsigned self)
{
    assert(self < q->threads);

    return q->thread[self].waiting.count + q->thread[self].gathering.count;
}
