/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "broker/meta/preference.h"
#include "cluster/meta/placement.h"

static const struct node_replicas three = {.count = 3, .at = {3, 1, 2}};

Test(preference, is_the_one_with_the_highest_weight_whatever_their_order)
{
    static const uint32_t all[] = {1, 2, 3};
    static const struct node_replicas other = {.count = 3, .at = {2, 3, 1}};
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const uint32_t best = preference_of(p, &three, all, 3);
        cr_assert(best >= 1 && best <= 3, "%u", p);
        cr_expect_eq(preference_of(p, &other, all, 3), best, "%u", p);
        for (uint32_t n = 1; n <= 3; n++) {
            cr_expect(placement_weight(p, n) <= placement_weight(p, best), "%u", p);
        }
    }
}

/* As the table in cluster/meta/README.md has it. */
Test(preference, spreads_leaders)
{
    static const uint32_t all[] = {1, 2, 3};
    unsigned led[4] = {0};
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        led[preference_of(p, &three, all, 3)]++;
    }
    for (unsigned n = 1; n <= 3; n++) {
        cr_expect(led[n] >= 20 && led[n] <= 23, "%u leads %u", n, led[n]);
    }
}

Test(preference, is_nobody_who_has_not_lived_long_enough)
{
    static const uint32_t all[] = {1, 2, 3};
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const uint32_t best = preference_of(p, &three, all, 3);
        uint32_t others[2];
        unsigned count = 0;
        for (uint32_t n = 1; n <= 3; n++) {
            if (n != best) {
                others[count++] = n;
            }
        }
        const uint32_t second = preference_of(p, &three, others, 2);
        cr_expect(second == others[0] || second == others[1]);
        cr_expect_eq(preference_of(p, &three, NULL, 0), 0);
    }
}

Test(preference, is_nobody_who_has_no_replica)
{
    static const uint32_t strangers[] = {4, 5, 6, 7};
    static const uint32_t mixed[] = {4, 2, 5};
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        cr_expect_eq(preference_of(p, &three, strangers, 4), 0);
        cr_expect_eq(preference_of(p, &three, mixed, 3), 2);
    }
}
