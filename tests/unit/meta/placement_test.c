/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What placement promises, over the partitions there are and members of all kinds: from the seed
 * that is printed, and for the clusters that people begin with, as they are.
 */
#include "cluster/meta/placement.h"

#include <criterion/criterion.h>

#include "tests/unit/route/random.h"

#define MEMBERS_MAX 40u

static const char *const zones[] = {"a", "b", "c", "d", "e", ""};

static struct placement_member members[MEMBERS_MAX];

static void number(unsigned count, unsigned zones_count)
{
    for (unsigned i = 0; i < count; i++) {
        members[i] = (struct placement_member){i + 1, bytes_text(zones[i % zones_count])};
    }
}

static void draw(struct random *r, unsigned count)
{
    const unsigned zones_count = 1 + random_below(r, sizeof zones / sizeof zones[0]);
    uint32_t last = 0;
    for (unsigned i = 0; i < count; i++) {
        last += 1 + random_below(r, 9);
        members[i] =
            (struct placement_member){last, bytes_text(zones[random_below(r, zones_count)])};
    }
}

static struct bytes zone_of(uint32_t n, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (members[i].number == n) {
            return members[i].zone;
        }
    }
    cr_assert_fail("nobody has number %u", n);
    return bytes_of(NULL, 0);
}

static unsigned distinct_zones(unsigned count)
{
    unsigned distinct = 0;
    for (unsigned i = 0; i < count; i++) {
        bool is_new = true;
        for (unsigned k = 0; k < i; k++) {
            is_new = is_new && !bytes_equal(members[k].zone, members[i].zone);
        }
        distinct += is_new;
    }
    return distinct;
}

static unsigned zones_of(const struct node_replicas *r, unsigned count)
{
    unsigned distinct = 0;
    for (unsigned i = 0; i < r->count; i++) {
        bool is_new = true;
        for (unsigned k = 0; k < i; k++) {
            is_new = is_new && !bytes_equal(zone_of(r->at[k], count), zone_of(r->at[i], count));
        }
        distinct += is_new;
    }
    return distinct;
}

static unsigned least_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

Test(placement, as_many_as_there_are_and_in_as_many_zones_as_there_are)
{
    struct random random = random_init();
    for (unsigned round = 0; round < 300; round++) {
        const unsigned count = 1 + random_below(&random, MEMBERS_MAX);
        const unsigned replicas = 1 + 2 * random_below(&random, 3);
        draw(&random, count);
        for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
            const struct node_replicas r = placement_choose(p, members, count, replicas);
            cr_assert(node_replicas_are_fair(&r));
            cr_assert_eq(r.count, least_of(count, replicas));
            cr_assert_eq(zones_of(&r, count), least_of(r.count, distinct_zones(count)), "seed %llu",
                         (unsigned long long)random.seed);
        }
    }
}

Test(placement, the_order_of_members_is_of_no_account)
{
    struct random random = random_init();
    for (unsigned round = 0; round < 100; round++) {
        const unsigned count = 2 + random_below(&random, MEMBERS_MAX - 1);
        draw(&random, count);
        const struct node_replicas before = placement_choose(round % 64, members, count, 3);
        for (unsigned i = count - 1; i > 0; i--) {
            const unsigned k = random_below(&random, i + 1);
            const struct placement_member swapped = members[i];
            members[i] = members[k];
            members[k] = swapped;
        }
        const struct node_replicas after = placement_choose(round % 64, members, count, 3);
        cr_assert_eq(before.count, after.count);
        cr_assert_arr_eq(before.at, after.at, before.count * sizeof before.at[0]);
    }
}

static unsigned not_in(const struct node_replicas *a, const struct node_replicas *b)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < a->count; i++) {
        missing += !node_replicas_has(b, a->at[i]);
    }
    return missing;
}

/* The last of them comes, or goes, read the other way round: of each partition it takes one place
 * at most, and nobody else gets anything. */
Test(placement, who_comes_or_goes_moves_what_is_its_own)
{
    struct random random = random_init();
    for (unsigned round = 0; round < 300; round++) {
        const unsigned count = 2 + random_below(&random, MEMBERS_MAX - 1);
        const unsigned replicas = 1 + 2 * random_below(&random, 3);
        draw(&random, count);
        for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
            const struct node_replicas without = placement_choose(p, members, count - 1, replicas);
            const struct node_replicas with = placement_choose(p, members, count, replicas);
            cr_assert_leq(not_in(&with, &without), 1);
            cr_assert_leq(not_in(&without, &with), 1);
            if (!node_replicas_has(&with, members[count - 1].number)) {
                cr_assert(node_replicas_same(&with, &without), "others moved; seed %llu",
                          (unsigned long long)random.seed);
            }
        }
    }
}

static void spread(unsigned count, unsigned replicas, unsigned *least, unsigned *most,
                   unsigned *least_leads, unsigned *most_leads)
{
    unsigned has[MEMBERS_MAX + 1] = {0}, leads[MEMBERS_MAX + 1] = {0};
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct node_replicas r = placement_choose(p, members, count, replicas);
        leads[r.at[0]]++;
        for (unsigned i = 0; i < r.count; i++) {
            has[r.at[i]]++;
        }
    }
    *least = *least_leads = NODE_META_PARTITIONS;
    *most = *most_leads = 0;
    for (unsigned i = 1; i <= count; i++) {
        *least = least_of(*least, has[i]);
        *most = has[i] > *most ? has[i] : *most;
        *least_leads = least_of(*least_leads, leads[i]);
        *most_leads = leads[i] > *most_leads ? leads[i] : *most_leads;
    }
}

/* Of clusters that nobody has left yet; cluster/meta/README.md has the figures. */
Test(placement, partitions_are_spread_over_members)
{
    static const struct {
        unsigned count, replicas, least, most, least_leads, most_leads;
    } rows[] = {
        {3, 3, 64, 64, 20, 23}, {5, 3, 34, 43, 11, 14}, {7, 3, 24, 33, 8, 10},
        {30, 3, 2, 11, 0, 6},   {5, 5, 64, 64, 11, 14}, {7, 5, 41, 48, 8, 10},
        {30, 5, 5, 17, 0, 6},   {3, 1, 20, 23, 20, 23}, {30, 1, 0, 6, 0, 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned least, most, least_leads, most_leads;
        number(rows[i].count, 1);
        spread(rows[i].count, rows[i].replicas, &least, &most, &least_leads, &most_leads);
        cr_expect_eq(least, rows[i].least);
        cr_expect_eq(most, rows[i].most);
        cr_expect_eq(least_leads, rows[i].least_leads);
        cr_expect_eq(most_leads, rows[i].most_leads);
    }
}
