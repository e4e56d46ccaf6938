/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads read objects that others replace, now and then sleep, and never come upon one that has
 * been released; in the end all have been. The sanitizers watch.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/shard/quiescence.h"
#include "random.h"

#define THREADS 4u
#define TURNS   30000u
#define PLACES  16u

struct object {
    uint64_t value, same; /* equal while it lives */
};

static struct quiescence *q;
static _Atomic(struct object *) places[THREADS][PLACES]; /* each row replaced by one thread */
static _Atomic uint64_t made, released;
static uint64_t seed;

static void on_release(void *object)
{
    struct object *const o = object;
    assert(o->value == o->same);
    o->value = 0;
    free(o);
    atomic_fetch_add_explicit(&released, 1, memory_order_relaxed);
}

static struct object *object_create(uint64_t value)
{
    struct object *o = malloc(sizeof *o);
    assert(o != NULL);
    *o = (struct object){.value = value, .same = value};
    atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
    return o;
}

static void replace(struct random *r, unsigned self)
{
    const uint32_t place = random_below(r, PLACES);
    struct object *const former = atomic_exchange_explicit(
        &places[self][place], object_create(random_next(r) | 1), memory_order_acq_rel);
    after_quiescent(q, self, on_release, former);
}

static void *run(void *number)
{
    const unsigned self = (unsigned)(uintptr_t)number;
    struct random r = {.seed = seed, .state = seed + self};
    quiescence_online(q, self);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        const struct object *in_hand[8];
        for (unsigned i = 0; i < 8; i++) {
            in_hand[i] = atomic_load_explicit(
                &places[random_below(&r, THREADS)][random_below(&r, PLACES)], memory_order_acquire);
        }
        for (uint32_t i = random_below(&r, 4); i > 0; i--) {
            replace(&r, self);
        }
        for (unsigned i = 0; i < 8; i++) {
            assert(in_hand[i]->value == in_hand[i]->same);
            assert(in_hand[i]->value != 0);
        }
        if (random_below(&r, 8) == 0) {
            quiescence_offline(q, self);
            quiescence_online(q, self);
        } else {
            quiescence_pass(q, self);
        }
    }
    quiescence_offline(q, self);
    return NULL;
}

int main(void)
{
    seed = random_init().seed;
    printf("seed %#lx\n", seed);
    q = quiescence_create(THREADS);
    assert(q != NULL);
    for (unsigned i = 0; i < THREADS * PLACES; i++) {
        atomic_store(&places[i / PLACES][i % PLACES], object_create(i + 1));
    }
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const uint64_t in_time = released;
    quiescence_destroy(q);
    printf("%lu made, %lu released, %lu of them while running\n", made, released, in_time);
    assert(released == made - THREADS * PLACES);
    assert(in_time > 0);
    for (unsigned i = 0; i < THREADS * PLACES; i++) {
        free(atomic_load(&places[i / PLACES][i % PLACES]));
    }
    return 0;
}
