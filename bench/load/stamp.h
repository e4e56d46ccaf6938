/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamp: the first 16 bytes of each payload: who published it, which of its messages it is, and
 * when it was meant to be sent. So the smallest payload can be checked and timed like any other.
 *
 * Written and read by the same machine: native byte order.
 */
#pragma once

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define STAMP_BYTES          16u
#define STAMP_SEQUENCE_BITS  40u
#define STAMP_PUBLISHERS_MAX (1u << (64u - STAMP_SEQUENCE_BITS))
#define STAMP_SEQUENCE_MAX   ((UINT64_C(1) << STAMP_SEQUENCE_BITS) - 1)

struct stamp {
    uint64_t intended_ns; /* CLOCK_MONOTONIC */
    uint64_t sequence;    /* 0, 1, 2 … of its publisher; below 2^40 */
    uint32_t publisher;   /* below STAMP_PUBLISHERS_MAX */
};

static inline void stamp_write(uint8_t *at, const struct stamp *stamp)
{
    assert(stamp->sequence <= STAMP_SEQUENCE_MAX);

    const uint64_t words[2] = {
        stamp->intended_ns,
        (uint64_t)stamp->publisher << STAMP_SEQUENCE_BITS | stamp->sequence,
    };
    memcpy(at, words, sizeof words);
}

static inline struct stamp stamp_read(const uint8_t *at)
{
    uint64_t words[2];
    memcpy(words, at, sizeof words);
    return (struct stamp){
        .intended_ns = words[0],
        .sequence = words[1] & STAMP_SEQUENCE_MAX,
        .publisher = (uint32_t)(words[1] >> STAMP_SEQUENCE_BITS),
    };
}
