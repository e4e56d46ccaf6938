/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load/foreign.h"
#include "proto/topic.h"

#define FILTERS 20000u

static char filters[FILTERS][FOREIGN_BYTES_MAX];

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Different from each other, right in form, and no message's topic matches one. */
Test(foreign, different_and_unmatched)
{
    for (unsigned kind = 0; kind < FOREIGN_KINDS; kind++) {
        for (unsigned below = 0; below < 2; below++) {
            const struct foreign f = {.kind = (enum foreign_kind)kind,
                                      .first_level = below ? "bench" : NULL};
            for (unsigned i = 0; i < FILTERS; i++) {
                const size_t len = foreign_filter(&f, i, filters[i]);
                cr_assert_eq(len, strlen(filters[i]));
                cr_assert_not(
                    topic_matches(bytes_of(filters[i], len), bytes_text("bench/1a2b/0000012")));
            }
            qsort(filters, FILTERS, sizeof filters[0], compare);
            for (unsigned i = 1; i < FILTERS; i++) {
                cr_assert_str_neq(filters[i - 1], filters[i]);
            }
        }
    }
}
