/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log_ring.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define CACHE_LINE 64

struct slot {
    _Atomic uint64_t turn; /* see the top of the header */
    struct log_record record;
};

struct log_ring {
    uint64_t mask; /* records - 1 */

    /* The next reservation. Advanced by producers; relaxed, the slots' turns order the rest. */
    _Alignas(CACHE_LINE) _Atomic uint64_t tail;

    /* The consumer's alone: the reservation that it takes next. */
    _Alignas(CACHE_LINE) uint64_t head;

    _Alignas(CACHE_LINE) struct slot slots[];
};

struct log_ring *log_ring_create(uint32_t records)
{
    assert(records >= 2); /* with one, a slot's two states would be the same number */
    assert((records & (records - 1)) == 0);

    const size_t bytes = sizeof(struct log_ring) + records * sizeof(struct slot);
    struct log_ring *const ring =
        aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    if (ring == NULL) {
        return NULL;
    }
    ring->mask = records - 1;
    ring->head = 0;
    atomic_init(&ring->tail, 0);
    for (uint32_t i = 0; i < records; i++) {
        atomic_init(&ring->slots[i].turn, i);
    }
    return ring;
}

void log_ring_destroy(struct log_ring *ring)
{
    free(ring);
}

struct log_record *log_ring_reserve(struct log_ring *ring, uint64_t *reservation)
{
    uint64_t n = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (;;) {
        struct slot *const slot = &ring->slots[n & ring->mask];
        /* Pairs with log_ring_release(): the consumer is done reading the slot. */
        const uint64_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
        if (turn < n) {
            return NULL; /* still holds the record of one round before */
        }
        if (turn == n && atomic_compare_exchange_weak_explicit(
                             &ring->tail, &n, n + 1, memory_order_relaxed, memory_order_relaxed)) {
            *reservation = n;
            return &slot->record;
        }
        if (turn > n) {
            n = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        }
    }
}

void log_ring_commit(struct log_ring *ring, uint64_t reservation)
{
    atomic_store_explicit(&ring->slots[reservation & ring->mask].turn, reservation + 1,
                          memory_order_seq_cst);
}

const struct log_record *log_ring_peek(struct log_ring *ring)
{
    struct slot *const slot = &ring->slots[ring->head & ring->mask];
    const uint64_t turn = atomic_load_explicit(&slot->turn, memory_order_seq_cst);
    return turn == ring->head + 1 ? &slot->record : NULL;
}

void log_ring_release(struct log_ring *ring)
{
    atomic_store_explicit(&ring->slots[ring->head & ring->mask].turn, ring->head + ring->mask + 1,
                          memory_order_release);
    ring->head++;
}
