/* SPDX-License-Identifier: Apache-2.0 */
/*
 * occasion: when what was recorded should be written without anybody's asking: something has begun
 * that an operator will want to know the beginning of.
 *
 * Pure; owner: the main thread. At most one file for each kind in OCCASION_PAUSE_MS.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define OCCASION_PAUSE_MS 600000u

enum occasion_kind { OCCASION_STANDS_STILL, OCCASION_DISK, OCCASION_MEMORY, OCCASIONS };

struct occasions {
    bool is[OCCASIONS];
    uint64_t not_before_ms[OCCASIONS];
};

/* What it is now. The kind that has begun, of those that are due: a word; NULL: none. */
const char *occasion_of(struct occasions *o, const bool is[OCCASIONS], uint64_t now_ms);
