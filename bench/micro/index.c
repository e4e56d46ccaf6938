/* SPDX-License-Identifier: Apache-2.0 */
/* The index as bench_index has it: 500 filters for each site, 11 of them to a topic; in small, and
 * with the same work each time. Sizes, and times of the larger ones, are that program's. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/micro/micro.h"
#include "broker/route/index.h"
#include "broker/route/match_cache.h"
#include "broker/shard/quiescence.h"

#include <xxhash.h>

#define SEED         1u
#define TOPICS       64u /* asked for in turn; a power of two */
#define TEXT_BYTES   64u
#define SITE_SENSORS 100u
#define COMERS       64u /* filters that come and go; a power of two */

struct bench {
    struct quiescence *q;
    struct index *index;
    struct match match;
    struct match_cache *cache;
    char topics[TOPICS][TEXT_BYTES];
    char comers[COMERS][TEXT_BYTES];
};

static void add(struct bench *b, const char *filter)
{
    uint64_t id;
    if (index_add(b->index, 0, bytes_text(filter), 0, &id, NULL) != INDEX_OK) {
        abort();
    }
}

static void add_site(struct bench *b, unsigned site)
{
    static const char *const metrics[] = {"temperature", "humidity", "vibration", "state"};
    static const char *const wild[] = {"site/%u/line/%u/sensor/%u/+",
                                       "site/%u/line/%u/sensor/%u/#"};
    char text[TEXT_BYTES];
    for (unsigned n = 0; n < SITE_SENSORS; n++) {
        for (unsigned i = 0; i < 4; i++) {
            snprintf(text, sizeof text, "site/%u/line/%u/sensor/%u/%s", site, n / 10, n % 10,
                     metrics[i]);
            add(b, text);
        }
        if (n % 10 < 2) {
            snprintf(text, sizeof text, wild[n % 10], site, n / 10, n % 10);
            add(b, text);
        }
    }
}

static void *create(unsigned sites)
{
    struct bench *b = calloc(1, sizeof *b);
    assert(b != NULL);
    b->q = quiescence_create(1);
    assert(b->q != NULL);
    quiescence_online(b->q, 0);
    b->index = index_create(1, SEED, b->q);
    b->cache = match_cache_create();
    assert(b->index != NULL && b->cache != NULL);
    match_init(&b->match);
    for (unsigned site = 0; site < sites; site++) {
        add_site(b, site);
    }
    add(b, "#");
    add(b, "site/+/line/+/sensor/+/state");
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(b->topics[i], TEXT_BYTES, "site/%u/line/%u/sensor/%u/state", i * 7 % sites, i % 10,
                 i % 3);
    }
    for (unsigned i = 0; i < COMERS; i++) {
        snprintf(b->comers[i], TEXT_BYTES, "site/%u/line/%u/sensor/%u/%s", sites, i / 10, i % 10,
                 i % 5 == 4 ? "+" : "state");
    }
    return b;
}

static void *thousand(void)
{
    return create(2);
}

static void *hundred_thousand(void)
{
    return create(240);
}

static void destroy(void *state)
{
    struct bench *b = state;
    match_fini(&b->match);
    match_cache_destroy(b->cache);
    index_destroy(b->index);
    quiescence_destroy(b->q);
    free(b);
}

static void match(void *state, uint64_t count)
{
    struct bench *b = state;
    for (uint64_t i = 0; i < count; i++) {
        if (index_match(b->index, bytes_text(b->topics[i % TOPICS]), &b->match) != INDEX_OK) {
            abort();
        }
        micro_use(b->match.filter_count);
    }
}

/* With the hash that a message has anyway. */
static void match_again(void *state, uint64_t count)
{
    struct bench *b = state;
    for (uint64_t i = 0; i < count; i++) {
        const struct bytes topic = bytes_text(b->topics[i % TOPICS]);
        if (match_cached(b->cache, b->index, topic, XXH3_64bits(topic.at, topic.len), &b->match) !=
            INDEX_OK) {
            abort();
        }
        micro_use(b->match.filter_count);
    }
}

/* ---- changes: of filters like the others, for a site of their own */

static void all_go(void *state)
{
    struct bench *b = state;
    for (unsigned i = 0; i < COMERS; i++) {
        index_remove(b->index, 0, bytes_text(b->comers[i]), 0);
        quiescence_pass(b->q, 0);
    }
}

static void all_come(void *state)
{
    struct bench *b = state;
    for (unsigned i = 0; i < COMERS; i++) {
        add(b, b->comers[i]);
        quiescence_pass(b->q, 0);
    }
}

static void add_one(void *state, uint64_t count)
{
    struct bench *b = state;
    for (uint64_t i = 0; i < count; i++) {
        if (i % COMERS == 0) {
            micro_aside(all_go, b);
        }
        add(b, b->comers[i % COMERS]);
        quiescence_pass(b->q, 0);
    }
}

static void remove_one(void *state, uint64_t count)
{
    struct bench *b = state;
    for (uint64_t i = 0; i < count; i++) {
        if (i % COMERS == 0) {
            micro_aside(all_come, b);
        }
        index_remove(b->index, 0, bytes_text(b->comers[i % COMERS]), 0);
        quiescence_pass(b->q, 0);
    }
}

/* The only filter of its shape, which comes and goes with it. */
static void add_remove(void *state, uint64_t count)
{
    struct bench *b = state;
    char text[TEXT_BYTES];
    for (uint64_t i = 0; i < count; i++) {
        const int len = snprintf(text, sizeof text, "other/%u/+", (unsigned)(i % 1000));
        const struct bytes filter = bytes_of(text, (size_t)len);
        uint64_t id;
        if (index_add(b->index, 0, filter, 0, &id, NULL) != INDEX_OK) {
            abort();
        }
        index_remove(b->index, 0, filter, 0);
        quiescence_pass(b->q, 0);
    }
}

const struct micro micro_index[] = {
    {"index_match_1e3", thousand, match, destroy},
    {"index_match_1e5", hundred_thousand, match, destroy},
    {"index_match_cached", thousand, match_again, destroy},
    {"index_add_1e3", thousand, add_one, destroy},
    {"index_add_1e5", hundred_thousand, add_one, destroy},
    {"index_remove_1e3", thousand, remove_one, destroy},
    {"index_remove_1e5", hundred_thousand, remove_one, destroy},
    {"index_add_remove_1e3", thousand, add_remove, destroy},
    {"index_add_remove_1e5", hundred_thousand, add_remove, destroy},
    {.name = NULL},
};
