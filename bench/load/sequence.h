/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequence: what became of one publisher's numbered messages at one receiver: each once, in order?
 *
 * Owner: one thread. Memory: the bitmap of the last `window` numbers, the caller's, zeroed; a power
 * of two of at least 64 bits. At the bound: a number older than the window cannot be told from a
 * repeated one, and counts as a duplicate.
 */
#pragma once

#include <stdint.h>

#define SEQUENCE_WINDOW_MIN 64u

enum sequence_verdict {
    SEQUENCE_NEXT,      /* the expected one */
    SEQUENCE_AHEAD,     /* it skipped some, which are missing so far */
    SEQUENCE_LATE,      /* one of those that were missing */
    SEQUENCE_DUPLICATE, /* it was here before */
};

struct sequence {
    uint64_t next;       /* one more than the highest number seen */
    uint64_t seen;       /* different numbers that came */
    uint64_t duplicates; /* numbers that came again */
    uint64_t late;       /* numbers that came after a higher one */
};

/* bits: window / 64 words, those of this struct sequence alone. */
enum sequence_verdict sequence_check(struct sequence *s, uint64_t *bits, uint64_t window,
                                     uint64_t number);
