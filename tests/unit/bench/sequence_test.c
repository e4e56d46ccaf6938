/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bench/load/sequence.h"

#define WINDOW 128u

struct subject {
    struct sequence s;
    uint64_t bits[WINDOW / 64];
};

static enum sequence_verdict check(struct subject *x, uint64_t number)
{
    return sequence_check(&x->s, x->bits, WINDOW, number);
}

Test(sequence, tells_what_happened)
{
    struct subject x = {0};
    static const struct {
        uint64_t number;
        enum sequence_verdict verdict;
    } rows[] = {
        {0, SEQUENCE_NEXT},      {1, SEQUENCE_NEXT},         {1, SEQUENCE_DUPLICATE},
        {4, SEQUENCE_AHEAD},     {2, SEQUENCE_LATE},         {3, SEQUENCE_LATE},
        {3, SEQUENCE_DUPLICATE}, {0, SEQUENCE_DUPLICATE},    {5, SEQUENCE_NEXT},
        {1000, SEQUENCE_AHEAD},  {1000, SEQUENCE_DUPLICATE}, {999, SEQUENCE_LATE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(check(&x, rows[i].number), rows[i].verdict, "row %zu", i);
    }
    cr_expect_eq(x.s.next, 1001);
    cr_expect_eq(x.s.seen, 8);
    cr_expect_eq(x.s.duplicates, 4);
    cr_expect_eq(x.s.late, 3);
}

/* What is older than the window cannot be told from a repetition. */
Test(sequence, the_window_is_the_bound)
{
    struct subject x = {0};
    cr_expect_eq(check(&x, WINDOW + 10), SEQUENCE_AHEAD);
    cr_expect_eq(check(&x, 11), SEQUENCE_LATE);
    cr_expect_eq(check(&x, 10), SEQUENCE_DUPLICATE);
}

/* Against an array of all numbers: shuffled within the window, some twice, some never. */
Test(sequence, agrees_with_a_naive_model)
{
    enum { NUMBERS = 5000 };
    static bool seen[NUMBERS + WINDOW];
    struct subject x = {0};
    uint64_t count = 0, duplicates = 0;
    srand(11);
    for (unsigned i = 0; i < NUMBERS; i++) {
        const uint64_t number = i + (unsigned)rand() % (WINDOW / 2);
        const enum sequence_verdict verdict = check(&x, number);
        cr_assert_eq(verdict == SEQUENCE_DUPLICATE, seen[number], "%lu", number);
        duplicates += seen[number];
        count += !seen[number];
        seen[number] = true;
    }
    cr_expect_eq(x.s.seen, count);
    cr_expect_eq(x.s.duplicates, duplicates);
}
