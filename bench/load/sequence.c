/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/sequence.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

static uint64_t mask_of(uint64_t number)
{
    return UINT64_C(1) << number % 64;
}

static void forget(uint64_t *bits, uint64_t window, uint64_t first, uint64_t end)
{
    if (end - first >= window) {
        memset(bits, 0, window / 8);
        return;
    }
    for (uint64_t i = first; i < end; i++) {
        bits[i % window / 64] &= ~mask_of(i);
    }
}

enum sequence_verdict sequence_check(struct sequence *s, uint64_t *bits, uint64_t window,
                                     uint64_t number)
{
    assert(window >= SEQUENCE_WINDOW_MIN && (window & (window - 1)) == 0);

    uint64_t *const word = &bits[number % window / 64];
    const uint64_t mask = mask_of(number);
    if (number >= s->next) {
        const bool skipped = number > s->next;
        if (skipped) {
            forget(bits, window, s->next, number);
        }
        *word |= mask;
        s->next = number + 1;
        s->seen++;
        return skipped ? SEQUENCE_AHEAD : SEQUENCE_NEXT;
    }
    if (s->next - number > window || (*word & mask) != 0) {
        s->duplicates++;
        return SEQUENCE_DUPLICATE;
    }
    *word |= mask;
    s->seen++;
    s->late++;
    return SEQUENCE_LATE;
}
