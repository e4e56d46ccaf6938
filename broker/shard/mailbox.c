/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox: a ring of bytes; positions count up for ever and are taken modulo its size.
 *
 *   head ── published records ── tail ── committed, not yet published ── end
 *
 * A record is a header and its bytes, in one piece; one that does not fit before the end of the
 * memory is preceded by padding up to there. The producer stores `tail` with release, which the
 * consumer's acquiring load pairs with: it sees the records. The consumer stores `head` with
 * release, which the producer's acquiring load pairs with: it may overwrite them. Each keeps a copy
 * of the other's position and reads the shared one, a cache miss, only when the copy is used up.
 *
 * Whoever sleeps when mailbox_is_empty() has to announce it before looking, and the producer has to
 * look for the announcement after publishing; and both with a read-modify-write of the same flag
 * (exchange), or else each may miss the other (tests/unit/io/io_threads.c).
 */
#include "broker/shard/mailbox.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define CACHE_LINE  64
#define RECORD_UNIT 16u
#define BYTES_MIN   (16u * RECORD_UNIT)

struct record {
    _Alignas(RECORD_UNIT) uint64_t size; /* of all of it, header included; a multiple of 16 */
    uint64_t len;                        /* of what follows; PADDING: skip it */
};
#define PADDING UINT64_MAX

struct mailbox {
    uint64_t bytes; /* a power of two */

    /* The producer's. */
    _Alignas(CACHE_LINE) uint64_t end; /* after what was committed */
    uint64_t reserved;                 /* bytes after `end`, with padding; 0: none */
    uint64_t published;                /* what `tail` holds */
    uint64_t head_seen;

    /* The consumer's. */
    _Alignas(CACHE_LINE) uint64_t begin; /* what `head` holds, plus padding that was skipped */
    uint64_t tail_seen;

    _Alignas(CACHE_LINE) _Atomic uint64_t tail; /* written by the producer */
    _Alignas(CACHE_LINE) _Atomic uint64_t head; /* written by the consumer */

    _Alignas(CACHE_LINE) uint8_t ring[];
};

static_assert(sizeof(struct record) == RECORD_UNIT, "what follows a header is aligned as well");

static struct record *record_at(struct mailbox *m, uint64_t position)
{
    assert(position % RECORD_UNIT == 0);

    return (struct record *)(void *)&m->ring[position & (m->bytes - 1)];
}

struct mailbox *mailbox_create(size_t bytes)
{
    assert(bytes >= BYTES_MIN && (bytes & (bytes - 1)) == 0);

    if (bytes > SIZE_MAX / 2) {
        return NULL;
    }
    struct mailbox *m = aligned_alloc(CACHE_LINE, sizeof *m + bytes);
    if (m != NULL) {
        *m = (struct mailbox){.bytes = bytes};
    }
    return m;
}

void mailbox_destroy(struct mailbox *m)
{
    free(m);
}

size_t mailbox_record_max(const struct mailbox *m)
{
    return m->bytes / 4;
}

/* Whether `size` bytes fit in after `end`; asks for the consumer's position only if it has to. */
static bool has_room(struct mailbox *m, uint64_t size)
{
    if (m->bytes - (m->end - m->head_seen) >= size) {
        return true;
    }
    m->head_seen = atomic_load_explicit(&m->head, memory_order_acquire);
    assert(m->end - m->head_seen <= m->bytes);
    return m->bytes - (m->end - m->head_seen) >= size;
}

void *mailbox_reserve(struct mailbox *m, size_t len)
{
    assert(len <= mailbox_record_max(m));

    const uint64_t size =
        (sizeof(struct record) + len + RECORD_UNIT - 1) & ~(uint64_t)(RECORD_UNIT - 1);
    const uint64_t to_the_end = m->bytes - (m->end & (m->bytes - 1));
    const uint64_t padding = to_the_end < size ? to_the_end : 0;
    m->reserved = 0;
    if (!has_room(m, padding + size)) {
        return NULL;
    }
    if (padding > 0) {
        *record_at(m, m->end) = (struct record){.size = padding, .len = PADDING};
    }
    struct record *const r = record_at(m, m->end + padding);
    *r = (struct record){.size = size, .len = len};
    m->reserved = padding + size;
    return r + 1;
}

void mailbox_commit(struct mailbox *m)
{
    assert(m->reserved > 0);

    m->end += m->reserved;
    m->reserved = 0;
}

bool mailbox_publish(struct mailbox *m)
{
    if (m->published == m->end) {
        return false;
    }
    m->published = m->end;
    atomic_store_explicit(&m->tail, m->end, memory_order_release);
    return true;
}

/* The record that `begin` stands at, past padding; NULL when there is none. */
static struct record *first(struct mailbox *m)
{
    if (m->begin == m->tail_seen) {
        m->tail_seen = atomic_load_explicit(&m->tail, memory_order_acquire);
        if (m->begin == m->tail_seen) {
            return NULL;
        }
    }
    struct record *r = record_at(m, m->begin);
    if (r->len == PADDING) { /* never the last: it is committed with the record that it is for */
        m->begin += r->size;
        r = record_at(m, m->begin);
    }
    assert(r->len <= mailbox_record_max(m));
    return r;
}

const void *mailbox_peek(struct mailbox *m, size_t *len)
{
    const struct record *const r = first(m);
    if (r == NULL) {
        return NULL;
    }
    *len = r->len;
    return r + 1;
}

void mailbox_release(struct mailbox *m)
{
    assert(m->begin != m->tail_seen);

    m->begin += record_at(m, m->begin)->size;
    atomic_store_explicit(&m->head, m->begin, memory_order_release);
}

bool mailbox_is_empty(const struct mailbox *m)
{
    /* In this order: a record that is both shown and read in between makes it look fuller. */
    const uint64_t head = atomic_load_explicit(&m->head, memory_order_acquire);
    return head == atomic_load_explicit(&m->tail, memory_order_acquire);
}
