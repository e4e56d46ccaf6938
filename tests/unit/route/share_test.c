/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/index.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "broker/shard/quiescence.h"
#include "fault.h"
#include "random.h"

#define FILTER bytes_text("a/+")
#define NAME   bytes_text("workers")

static struct quiescence *q;
static struct index *index_;
static struct match match;

static void setup(void)
{
    q = quiescence_create(2);
    quiescence_online(q, 0);
    index_ = index_create(2, 1, q);
    cr_assert_not_null(index_);
    match_init(&match);
}

static void teardown(void)
{
    match_fini(&match);
    index_destroy(index_);
    quiescence_destroy(q);
}

TestSuite(share, .init = setup, .fini = teardown);

static unsigned owner(void)
{
    return index_owner(index_, FILTER);
}

static struct share_member *join(uint64_t subscription_id, bool online)
{
    struct share_member *m = calloc(1, sizeof *m);
    uint64_t id = 0;
    m->subscription_id = subscription_id;
    m->client_hash = subscription_id * 0x9e3779b97f4a7c15u;
    m->online = online;
    cr_assert_eq(index_share_join(index_, owner(), NAME, FILTER, m, &id), INDEX_OK);
    cr_assert_neq(id, 0);
    return m;
}

static void leave(struct share_member *member)
{
    index_share_leave(index_, owner(), member);
}

static const struct share_group *group(void)
{
    cr_assert_eq(index_match(index_, bytes_text("a/b"), &match), INDEX_OK);
    return match.group_count == 0 ? NULL : match.groups[0];
}

static uint64_t pick(struct share_choice how)
{
    const struct share_member *const m = share_pick(group(), &how);
    return m == NULL ? 0 : m->subscription_id;
}

/* Its shard says that it leaves before it has heard that it could not join. */
Test(share, who_never_joined_may_leave)
{
    struct share_member *const m = calloc(1, sizeof *m);
    index_share_leave(index_, owner(), m); /* freed, says AddressSanitizer */
    cr_expect_null(group());
}

Test(share, group_lives_while_it_has_members)
{
    cr_expect_null(group());
    struct share_member *const one = join(1, true);
    const uint64_t id = share_group_id(group());
    struct share_member *const two = join(2, true);
    cr_expect_eq(match.group_count, 1);
    cr_expect_eq(match.filter_count, 0, "no shard has plain subscribers");
    cr_expect_eq(share_group_id(group()), id);
    cr_expect_eq(index_filter_count(index_), 1);
    leave(one);
    leave(two);
    cr_expect_null(group());
    cr_expect_eq(index_filter_count(index_), 0);
    join(3, true);
    cr_expect_neq(share_group_id(group()), id, "never reused");
}

/* Groups of one filter are told apart by name, in any order of coming and going. */
Test(share, groups_of_one_filter)
{
    static const char *const names[] = {"x", "y", "z"};
    const uint64_t bytes = index_bytes(index_);
    for (unsigned gone = 0; gone < 3; gone++) {
        struct share_member *members[3];
        uint64_t ids[3];
        for (unsigned i = 0; i < 3; i++) {
            members[i] = calloc(1, sizeof *members[i]);
            members[i]->subscription_id = i + 1;
            cr_assert_eq(index_share_join(index_, owner(), bytes_text(names[i]), FILTER, members[i],
                                          &ids[i]),
                         INDEX_OK);
        }
        cr_assert_not_null(group());
        cr_expect_eq(match.group_count, 3);
        index_share_leave(index_, owner(), members[gone]);
        cr_assert_not_null(group());
        cr_expect_eq(match.group_count, 2);
        for (size_t i = 0; i < 2; i++) {
            cr_expect_neq(share_group_id(match.groups[i]), ids[gone]);
        }
        for (unsigned i = 0; i < 3; i++) {
            if (i != gone) {
                index_share_leave(index_, owner(), members[i]);
            }
        }
        cr_expect_null(group());
        quiescence_pass(q, 0);
    }
    cr_expect_eq(index_bytes(index_), bytes);
}

/* A plain subscription and a group share the filter, and either may leave first. */
/* As many groups as strangers like, gone in an order of their own: each is found by its name. */
Test(share, groups_by_the_thousand)
{
    enum { GROUPS = 5000 };
    static struct share_member *members[GROUPS];
    char name[16];
    uint64_t id;
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "g%u", i);
        members[i] = calloc(1, sizeof *members[i]);
        members[i]->subscription_id = i + 1;
        cr_assert_eq(index_share_join(index_, owner(), bytes_text(name), FILTER, members[i], &id),
                     INDEX_OK);
    }
    cr_assert_not_null(group());
    cr_expect_eq(match.group_count, GROUPS);
    for (unsigned n = 0; n < GROUPS; n++) {
        const unsigned i = n * 1237 % GROUPS; /* 1237 is prime: each of them once */
        snprintf(name, sizeof name, "g%u", i);
        index_share_leave(index_, owner(), members[i]);
        if (n % 500 == 0) {
            cr_assert_not_null(group());
            cr_expect_eq(match.group_count, GROUPS - 1 - n);
        }
    }
    cr_expect_null(group());
    cr_expect_eq(index_filter_count(index_), 0);
}

Test(share, with_plain_subscribers)
{
    uint64_t id, again;
    struct share_member *const one = join(1, true);
    cr_assert_eq(index_add(index_, owner(), FILTER, 1, &id, NULL), INDEX_OK);
    cr_expect_not_null(group());
    cr_expect_eq(match.filter_count, 1);
    leave(one);
    cr_expect_null(group());
    cr_expect_eq(match.filter_count, 1);
    join(2, true);
    index_remove(index_, owner(), FILTER, 1);
    cr_expect_not_null(group());
    cr_expect_eq(match.filter_count, 0);
    cr_assert_eq(index_add(index_, owner(), FILTER, 1, &again, NULL), INDEX_OK);
    cr_expect_eq(again, id, "the filter was there all the time");
}

Test(share, round_robin_is_even_per_shard)
{
    unsigned taken[2][8] = {{0}};
    for (uint64_t i = 1; i <= 7; i++) {
        join(i, true);
    }
    for (unsigned i = 0; i < 700; i++) {
        for (unsigned self = 0; self < 2; self++) {
            taken[self][pick((struct share_choice){.strategy = SHARE_ROUND_ROBIN, .self = self})]++;
        }
    }
    for (unsigned i = 1; i <= 7; i++) {
        cr_expect_eq(taken[0][i], 100);
        cr_expect_eq(taken[1][i], 100);
    }
}

Test(share, random_is_even)
{
    struct random r = random_init();
    unsigned taken[11] = {0};
    struct share_member *members[20];
    for (uint64_t i = 0; i < 20; i++) {
        members[i] = join(i + 1, true);
    }
    for (unsigned i = 10; i < 20; i++) {
        leave(members[i]); /* holes */
    }
    for (unsigned i = 0; i < 20000; i++) {
        taken[pick((struct share_choice){.strategy = SHARE_RANDOM, .random = random_next(&r)})]++;
    }
    for (unsigned i = 1; i <= 10; i++) {
        cr_expect(taken[i] > 1700 && taken[i] < 2300, "%u: %u, seed %#lx", i, taken[i], r.seed);
    }
}

Test(share, sticky_stays_while_connected)
{
    struct random r = random_init();
    struct share_choice how = {.strategy = SHARE_STICKY};
    struct share_member *members[10];
    for (uint64_t i = 0; i < 10; i++) {
        members[i] = join(i + 1, true);
    }
    const uint64_t first = pick(how);
    for (unsigned i = 0; i < 100; i++) {
        how.random = random_next(&r);
        cr_assert_eq(pick(how), first);
    }
    how.except = first;
    cr_expect_neq(pick(how), first);
    how.except = 0;
    cr_expect_eq(pick(how), first, "an exception does not unseat it");

    members[first - 1]->online = 0;
    const uint64_t second = pick(how);
    cr_expect_neq(second, first);
    members[first - 1]->online = 1;
    cr_expect_eq(pick(how), second, "nor does the former one's return");

    for (unsigned i = 0; i < 10; i++) { /* the others move together, it is found again */
        if (i + 1 != second) {
            leave(members[i]);
        }
    }
    join(20, true);
    for (unsigned i = 0; i < 20; i++) {
        how.random = random_next(&r);
        cr_assert_eq(pick(how), second);
    }
    leave(members[second - 1]);
    cr_expect_eq(pick(how), 20);
}

Test(share, sticky_with_nobody_connected)
{
    struct random r = random_init();
    struct share_choice how = {.strategy = SHARE_STICKY};
    struct share_member *members[5];
    for (uint64_t i = 0; i < 5; i++) {
        members[i] = join(i + 1, false);
    }
    const uint64_t first = pick(how);
    cr_assert_neq(first, 0);
    for (unsigned i = 0; i < 20; i++) {
        how.random = random_next(&r);
        cr_assert_eq(pick(how), first);
    }
    members[first % 5]->online = 1;
    cr_expect_eq(pick(how), first % 5 + 1);
}

/* One of n that leaves or joins moves its own keys, about 1/n, and no others. */
Test(share, hash_moves_little)
{
    enum { MEMBERS = 10, KEYS = 2000 };
    static const enum share_strategy strategies[] = {SHARE_HASH_CLIENT, SHARE_HASH_TOPIC};
    struct share_member *members[MEMBERS];
    for (uint64_t i = 0; i < MEMBERS; i++) {
        members[i] = join(i + 1, true);
    }
    for (unsigned s = 0; s < 2; s++) {
        struct random r = random_init();
        uint64_t keys[KEYS], before[KEYS];
        unsigned taken[MEMBERS + 1] = {0};
        for (unsigned i = 0; i < KEYS; i++) {
            keys[i] = random_next(&r);
            before[i] = pick((struct share_choice){
                .strategy = strategies[s], .publisher_hash = keys[i], .topic_hash = keys[i]});
            taken[before[i]]++;
        }
        for (unsigned i = 1; i <= MEMBERS; i++) {
            cr_expect(taken[i] > KEYS / 20 && taken[i] < KEYS / 5, "%u: %u, seed %#lx", i, taken[i],
                      r.seed);
        }
        members[3]->online = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            const uint64_t now = pick((struct share_choice){
                .strategy = strategies[s], .publisher_hash = keys[i], .topic_hash = keys[i]});
            cr_assert(before[i] == 4 ? now != 4 : now == before[i], "seed %#lx", r.seed);
        }
        members[3]->online = 1;
    }
    struct share_choice how = {.strategy = SHARE_HASH_CLIENT, .publisher_hash = 1};
    const uint64_t one = pick(how);
    how.topic_hash = 2;
    cr_expect_eq(pick(how), one, "the topic does not matter");
}

static const enum share_strategy all[] = {SHARE_ROUND_ROBIN, SHARE_RANDOM, SHARE_STICKY,
                                          SHARE_HASH_CLIENT, SHARE_HASH_TOPIC};

/* Whatever the strategy: a connected one if there is any, never the excepted. */
Test(share, connected_preferred_and_except_respected)
{
    struct random r = random_init();
    struct share_member *members[8];
    for (uint64_t i = 0; i < 8; i++) {
        members[i] = join(i + 1, false);
    }
    for (unsigned round = 0; round < 2000; round++) {
        unsigned online = 0;
        struct share_choice how = {.strategy = all[random_below(&r, 5)],
                                   .self = random_below(&r, 2),
                                   .publisher_hash = random_next(&r),
                                   .topic_hash = random_next(&r),
                                   .random = random_next(&r),
                                   .except = random_below(&r, 9)};
        const uint32_t chance = random_below(&r, 4);
        for (unsigned i = 0; i < 8; i++) {
            members[i]->online = random_below(&r, 4) < chance;
            online += members[i]->online && how.except != i + 1;
        }
        const uint64_t got = pick(how);
        cr_assert_neq(got, 0, "seed %#lx", r.seed);
        cr_assert_neq(got, how.except, "seed %#lx", r.seed);
        cr_assert_eq(members[got - 1]->online, online > 0, "strategy %d, seed %#lx", how.strategy,
                     r.seed);
    }
}

Test(share, nobody_left_but_the_excepted)
{
    join(1, true);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(pick((struct share_choice){.strategy = all[i], .except = 1}), 0);
        cr_expect_eq(pick((struct share_choice){.strategy = all[i]}), 1);
    }
    struct share_member *const two = join(2, true);
    leave(two); /* a hole */
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(pick((struct share_choice){.strategy = all[i], .except = 1}), 0);
    }
}

/* Who still has a group in hand after its last member left finds nobody. */
Test(share, empty_group_in_hand)
{
    struct share_member *const one = join(1, true);
    const struct share_group *const in_hand = group();
    leave(one);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_null(share_pick(in_hand, &(struct share_choice){.strategy = all[i]}));
    }
}

Test(share, many_come_and_go)
{
    struct random r = random_init();
    static struct share_member *members[3000];
    const uint64_t bytes = index_bytes(index_);
    unsigned count = 0;
    for (unsigned i = 0; i < 30000; i++) {
        const unsigned at = random_below(&r, 3000);
        if (members[at] == NULL) {
            members[at] = join(at + 1, true);
            count++;
        } else {
            leave(members[at]);
            members[at] = NULL;
            count--;
        }
        quiescence_pass(q, 0);
        const uint64_t got =
            count == 0 ? 0 : pick((struct share_choice){.strategy = SHARE_ROUND_ROBIN});
        cr_assert(count == 0 || members[got - 1] != NULL, "seed %#lx", r.seed);
    }
    for (unsigned i = 0; i < 3000; i++) {
        if (members[i] != NULL) {
            leave(members[i]);
        }
    }
    cr_expect_lt(index_bytes(index_), bytes + 1);
}

Test(share, no_memory)
{
    const uint64_t bytes = index_bytes(index_);
    bool failed = true;
    unsigned n = 0, refused = 0;
    for (; failed; n++) {
        struct share_member *m = calloc(1, sizeof *m);
        uint64_t id = 0;
        m->subscription_id = 1;
        fault_at(n);
        const enum index_err err = index_share_join(index_, owner(), NAME, FILTER, m, &id);
        failed = fault_happened();
        fault_at(FAULT_NEVER);
        if (err == INDEX_OK) {
            leave(m);
        } else {
            refused++;
            free(m);
        }
        cr_assert_null(group());
        cr_expect_eq(index_filter_count(index_), 0);
        quiescence_pass(q, 0);
        quiescence_pass(q, 0);
    }
    cr_expect_gt(refused, 3);
    cr_expect_eq(index_bytes(index_), bytes);

    struct share_member *members[5];
    for (uint64_t i = 0; i < 4; i++) {
        members[i] = join(i + 1, true);
    }
    members[4] = calloc(1, sizeof *members[4]);
    members[4]->subscription_id = 5;
    uint64_t id;
    fault_at(0); /* the roster is full */
    cr_expect_eq(index_share_join(index_, owner(), NAME, FILTER, members[4], &id), INDEX_NO_MEMORY);
    fault_at(FAULT_NEVER);
    free(members[4]);
    cr_expect_neq(pick((struct share_choice){.strategy = SHARE_RANDOM}), 0);
}
