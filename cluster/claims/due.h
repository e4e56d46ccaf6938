/* SPDX-License-Identifier: Apache-2.0 */
/*
 * due: what is to happen when, the earliest first: a heap of pointers to members that lie in the
 * objects. Not a public header.
 *
 * Memory: a pointer for each that was reserved for. Room is taken before it is needed, so that what
 * has been taken in can always be timed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct due {
    uint64_t ms;
    size_t at; /* 1 + its place in the heap; 0: it is in none */
};

struct dues {
    struct due **heap; /* [room] */
    size_t count, room;
};

void dues_fini(struct dues *d);

NODISCARD bool dues_reserve(struct dues *d, size_t count); /* false: out of memory */
void dues_set(struct dues *d, struct due *due, uint64_t ms);
void dues_unset(struct dues *d, struct due *due); /* fine with one that is in none */
struct due *dues_first(const struct dues *d);     /* NULL: none */
