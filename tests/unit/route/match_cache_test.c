/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/match_cache.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/shard/quiescence.h"
#include "random.h"

#define SHARDS  3u
#define CHANGES 20000u

static struct quiescence *q;
static struct index *index_;
static struct match_cache *cache;
static struct match cached, fresh;
static struct random chance; /* the test's, and its seed the index's */

static void setup(void)
{
    q = quiescence_create(SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        quiescence_online(q, i);
    }
    chance = random_init();
    index_ = index_create(SHARDS, chance.seed, q);
    cache = match_cache_create();
    cr_assert_not_null(index_);
    cr_assert_not_null(cache);
    match_init(&cached);
    match_init(&fresh);
}

static void teardown(void)
{
    match_fini(&cached);
    match_fini(&fresh);
    match_cache_destroy(cache);
    index_destroy(index_);
    quiescence_destroy(q);
}

TestSuite(match_cache, .init = setup, .fini = teardown);

static void all_pass(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        quiescence_pass(q, i);
    }
}

/* The same hash for all topics: every one takes the others' place. */
static void looks_the_same(struct bytes topic, uint64_t hash)
{
    cr_assert_eq(match_cached(cache, index_, topic, hash, &cached), INDEX_OK);
    cr_assert_eq(index_match(index_, topic, &fresh), INDEX_OK);
    cr_assert_eq(cached.filter_count, fresh.filter_count, "%.*s", (int)topic.len, topic.at);
    cr_assert_eq(cached.group_count, fresh.group_count, "%.*s", (int)topic.len, topic.at);
    cr_assert_leq(cached.steps, fresh.steps, "not what another topic took");
    for (size_t i = 0; i < fresh.filter_count; i++) {
        cr_assert_eq(cached.filters[i].filter_id, fresh.filters[i].filter_id);
        cr_assert_eq(cached.filters[i].shards, fresh.filters[i].shards);
    }
    for (size_t i = 0; i < fresh.group_count; i++) {
        cr_assert_eq(share_group_id(cached.groups[i]), share_group_id(fresh.groups[i]));
    }
}

static const char *const filters[] = {
    "a", "b", "a/b", "a/c", "b/c", "a/#", "a/+", "+/b", "+/+", "#", "b/#", "c/d/e", "+", "c/+/e",
};
static const char *const topics[] = {"a",     "b",     "a/b",    "a/c", "b/c",
                                     "c/d/e", "a/b/c", "nobody", "c"};

#define FILTERS (sizeof filters / sizeof filters[0])
#define TOPICS  (sizeof topics / sizeof topics[0])

/* Whatever changes between two looks, plain and shared, the cache answers as the index does. */
Test(match_cache, answers_as_the_index)
{
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)chance.seed);
    struct share_member *members[FILTERS] = {NULL};
    for (unsigned i = 0; i < CHANGES; i++) {
        const size_t f = random_below(&chance, FILTERS);
        const struct bytes filter = bytes_text(filters[f]);
        const unsigned owner = index_owner(index_, filter), shard = random_below(&chance, SHARDS);
        uint64_t id;
        switch (random_below(&chance, 4)) {
        case 0:
            cr_assert_eq(index_add(index_, owner, filter, shard, &id, NULL), INDEX_OK);
            break;
        case 1:
            index_remove(index_, owner, filter, shard);
            break;
        case 2:
            if (members[f] == NULL) {
                members[f] = calloc(1, sizeof *members[f]);
                cr_assert_not_null(members[f]);
                members[f]->shard = shard;
                members[f]->subscription_id = i + 1;
                cr_assert_eq(
                    index_share_join(index_, owner, bytes_text("g"), filter, members[f], &id),
                    INDEX_OK);
            }
            break;
        default:
            if (members[f] != NULL) {
                index_share_leave(index_, owner, members[f]);
                members[f] = NULL; /* the index frees it, and the group */
            }
            break;
        }
        if (random_below(&chance, 3) == 0) {
            all_pass(); /* what was retired is gone now */
        }
        for (unsigned n = 0; n < 4; n++) {
            const size_t t = random_below(&chance, TOPICS);
            looks_the_same(bytes_text(topics[t]), random_below(&chance, 8) == 0 ? 0 : t);
        }
    }
}

/* More filters, or a longer topic, than an entry holds. */
Test(match_cache, what_is_too_large_is_looked_up)
{
    char filter[40], topic[400];
    uint64_t id;
    for (unsigned i = 0; i < 12; i++) {
        snprintf(filter, sizeof filter, "x/%.*s#", (int)(2 * i), "+/+/+/+/+/+/+/+/+/+/+/+/");
        const struct bytes b = bytes_text(filter);
        cr_assert_eq(index_add(index_, index_owner(index_, b), b, 0, &id, NULL), INDEX_OK);
        looks_the_same(bytes_text("x/1/2/3/4/5/6/7/8/9/10/11/12/13"), 7);
    }
    for (unsigned len = 60; len < 90; len++) {
        snprintf(topic, sizeof topic, "x/%0*u", (int)len - 2, 1u);
        looks_the_same(bytes_text(topic), 9);
        looks_the_same(bytes_text(topic), 9);
    }
}
