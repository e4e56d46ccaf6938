/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "bench/load/histogram.h"

#define VALUES 20000u

static struct histogram histogram;

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against the sorted values: never below the right one, and above it by less than 0.8 %. */
Test(histogram, percentiles_are_close_above)
{
    static uint64_t values[VALUES];
    srand(7);
    histogram_init(&histogram);
    for (unsigned i = 0; i < VALUES; i++) {
        values[i] = (uint64_t)rand() >> rand() % 31;
        histogram_add(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof values[0], compare);
    const double percents[] = {0.01, 1, 25, 50, 90, 99, 99.9, 99.99, 100};
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        const double rank = VALUES * percents[i] / 100;
        const uint64_t exact = values[(unsigned)rank + (rank > (unsigned)rank) - 1];
        const uint64_t got = histogram_percentile(&histogram, percents[i]);
        cr_expect(got >= exact && (double)got <= (double)exact * 1.008, "%f: %lu, not %lu",
                  percents[i], got, exact);
    }
}

Test(histogram, empty_is_zero)
{
    histogram_init(&histogram);
    cr_expect_eq(histogram_percentile(&histogram, 50), 0);
    cr_expect_eq(histogram_mean(&histogram), 0);
}

Test(histogram, small_values_are_exact)
{
    histogram_init(&histogram);
    for (uint64_t i = 1; i <= 100; i++) {
        histogram_add(&histogram, i);
    }
    cr_expect_eq(histogram_percentile(&histogram, 1), 1);
    cr_expect_eq(histogram_percentile(&histogram, 50), 50);
    cr_expect_eq(histogram_percentile(&histogram, 100), 100);
    cr_expect_eq(histogram_mean(&histogram), 50.5);
}

/* Beyond the range there is one bucket; the largest value is still told exactly. */
Test(histogram, the_largest_is_kept)
{
    histogram_init(&histogram);
    histogram_add(&histogram, 5);
    histogram_add(&histogram, UINT64_C(1) << 50);
    cr_expect_eq(histogram_percentile(&histogram, 50), 5);
    cr_expect_eq(histogram_percentile(&histogram, 100), UINT64_C(1) << 50);
}

Test(histogram, merging_is_adding)
{
    static struct histogram a, b, both;
    histogram_init(&a);
    histogram_init(&b);
    histogram_init(&both);
    for (uint64_t i = 0; i < 1000; i++) {
        histogram_add(i % 3 == 0 ? &a : &b, i * i);
        histogram_add(&both, i * i);
    }
    histogram_merge(&a, &b);
    cr_expect_arr_eq(&a, &both, sizeof a);
}
