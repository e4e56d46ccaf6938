/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/recorder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct note) == 40, "a note's head is what a unit has room for");
static_assert(NOTE_TEXT_MAX <= UINT8_MAX, "text_len");

/* ---- a ring */

struct note_ring *note_ring_create(size_t bytes)
{
    assert(bytes >= RECORDER_BYTES_MIN);

    struct note_ring *const r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->units = bytes / NOTE_UNIT_BYTES;
    r->begins = calloc(r->units, 1);
    r->at = calloc(r->units, NOTE_UNIT_BYTES);
    if (r->begins == NULL || r->at == NULL) {
        note_ring_destroy(r);
        return NULL;
    }
    return r;
}

void note_ring_destroy(struct note_ring *r)
{
    if (r != NULL) {
        free(r->begins);
        free(r->at);
        free(r);
    }
}

static uint8_t *unit(const struct note_ring *r, uint64_t number)
{
    return r->at + number % r->units * NOTE_UNIT_BYTES;
}

/* The units of a note stand together: at the end of the ring some may be left out. */
static uint64_t first_of(struct note_ring *r, unsigned units)
{
    const uint64_t left = r->units - r->next % r->units;
    for (uint64_t i = 0; left < units && i < left; i++) {
        r->begins[r->next++ % r->units] = 0;
    }
    return r->next;
}

const struct note *note_ring_next(const struct note_ring *r, uint64_t *cursor)
{
    const uint64_t oldest = r->next > r->units ? r->next - r->units : 0;
    for (uint64_t at = *cursor > oldest ? *cursor : oldest; at < r->next; at++) {
        const unsigned units = r->begins[at % r->units];
        if (units > 0) {
            *cursor = at + units;
            return (const void *)unit(r, at);
        }
    }
    return NULL;
}

/* ---- the shard's */

bool recorder_init(struct recorder *r, size_t bytes)
{
    *r = (struct recorder){.bytes = bytes};
    r->ring = bytes == 0 ? NULL : note_ring_create(bytes);
    return bytes == 0 || r->ring != NULL;
}

void recorder_fini(struct recorder *r)
{
    note_ring_destroy(r->ring);
    note_ring_destroy(recorder_take(r));
    note_ring_destroy(recorder_withdraw(r));
    r->ring = NULL;
}

void recorder_write(struct recorder *r, enum note_kind kind, uint16_t code,
                    const struct note_peer *peer, uint32_t length, struct bytes text,
                    struct bytes more)
{
    static const struct note_peer nobody;
    struct note_ring *const ring = r->ring;
    if (ring == NULL) {
        return;
    }
    const size_t len = text.len < NOTE_TEXT_MAX ? text.len : NOTE_TEXT_MAX;
    const size_t more_len = more.len < NOTE_TEXT_MAX - len ? more.len : NOTE_TEXT_MAX - len;
    const unsigned units =
        (unsigned)((sizeof(struct note) + len + more_len + NOTE_UNIT_BYTES - 1) / NOTE_UNIT_BYTES);
    const uint64_t first = first_of(ring, units);
    struct note *const note = (void *)unit(ring, first);
    peer = peer == NULL ? &nobody : peer;
    *note = (struct note){.address = peer->address,
                          .at_ms = r->now_ms,
                          .length = length,
                          .port = peer->port,
                          .text_len = (uint8_t)(len + more_len),
                          .kind = (uint8_t)kind,
                          .code = code,
                          .listener = peer->listener};
    if (len > 0) {
        memcpy(note->text, text.at, len);
    }
    if (more_len > 0) {
        memcpy(note->text + len, more.at, more_len);
    }
    ring->begins[first % ring->units] = (uint8_t)units;
    for (unsigned i = 1; i < units; i++) {
        ring->begins[(first + i) % ring->units] = 0;
    }
    ring->next = first + units;
}

static uint32_t begin_ms(struct recorder *r, uint64_t now_ms)
{
    const uint64_t more = (now_ms - r->now_ms) * NOTES_PER_MS;
    const uint32_t skipped = r->skipped;
    if (skipped > 0) {
        recorder_write(r, NOTE_SKIPPED, 0, NULL, skipped, bytes_of(NULL, 0), bytes_of(NULL, 0));
    }
    r->skipped = 0;
    r->now_ms = now_ms;
    r->left = more < NOTES_AT_ONCE - r->left ? r->left + (uint32_t)more : NOTES_AT_ONCE;
    return skipped;
}

uint32_t recorder_turn(struct recorder *r, uint64_t now_ms)
{
    uint32_t skipped = 0;
    if (r->ring == NULL) {
        return 0;
    }
    if (now_ms != r->now_ms) {
        skipped = begin_ms(r, now_ms);
    }
    if (atomic_load_explicit(&r->offered, memory_order_relaxed) != NULL) {
        struct note_ring *const former = r->ring;
        r->ring = atomic_exchange_explicit(&r->offered, NULL, memory_order_acq_rel);
        if (r->ring == NULL) { /* it was withdrawn */
            r->ring = former;
        } else {
            atomic_store_explicit(&r->given, former, memory_order_release);
        }
    }
    return skipped;
}

/* ---- from another thread */

void recorder_offer(struct recorder *r, struct note_ring *ring)
{
    atomic_store_explicit(&r->offered, ring, memory_order_release);
}

struct note_ring *recorder_take(struct recorder *r)
{
    return atomic_exchange_explicit(&r->given, NULL, memory_order_acq_rel);
}

struct note_ring *recorder_withdraw(struct recorder *r)
{
    return atomic_exchange_explicit(&r->offered, NULL, memory_order_acq_rel);
}
