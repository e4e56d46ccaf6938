/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the index, shared subscriptions, and retained messages cost.
 *
 * The filters are those of factories. A site has 10 lines of 10 sensors with 4 metrics, thus 400
 * topics, "site/S/line/L/sensor/N/METRIC". Subscribed to are each of them, and 100 filters with
 * wildcards of ten kinds, one filter of each kind to a topic. So a topic matches 11 filters,
 * however many sites there are, and 80 % of the filters have no wildcard.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/timing.h"
#include "broker/message.h"
#include "broker/route/index.h"
#include "broker/route/retained.h"
#include "broker/shard/quiescence.h"

#define SITE_TOPICS  400u
#define SITE_FILTERS 500u
#define TOPIC_BYTES  64u /* each text has so much room, so that all fetches are alike */
#define SHARDS       2u
#define SEED         1u

static uint64_t random_state = SEED;

static uint64_t random_next(void) /* splitmix64 */
{
    uint64_t x = random_state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static size_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert(f != NULL);
    assert(fscanf(f, "%lu %lu", &size, &resident) == 2);
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- texts */

struct text {
    uint8_t len;
    char at[TOPIC_BYTES - 1];
};

static struct bytes text_bytes(const struct text *t)
{
    return bytes_of(t->at, t->len);
}

static const char *const metrics[4] = {"temperature", "humidity", "vibration", "state"};

static void text_topic(struct text *t, uint64_t n)
{
    const unsigned site = (unsigned)(n / SITE_TOPICS), i = (unsigned)(n % SITE_TOPICS);
    t->len = (uint8_t)snprintf(t->at, sizeof t->at, "site/%u/line/%u/sensor/%u/%s", site, i / 40,
                               i / 4 % 10, metrics[i % 4]);
}

static void text_filter(struct text *t, uint64_t n)
{
    const unsigned site = (unsigned)(n / SITE_FILTERS), i = (unsigned)(n % SITE_FILTERS);
    if (i < SITE_TOPICS) {
        text_topic(t, (uint64_t)site * SITE_TOPICS + i);
        return;
    }
    static const struct {
        unsigned count;
        const char *form; /* takes a site; then a metric, or a number and perhaps a metric */
        bool metric_only;
    } kinds[] = {
        {1, "site/%u/#", false},
        {1, "+/%u/line/#", false},
        {4, "site/%u/line/+/sensor/+/%s", true},
        {4, "site/%u/+/+/+/+/%s", true},
        {10, "site/%u/line/%u/#", false},
        {10, "site/%u/line/+/sensor/%u/+", false},
        {10, "site/%u/line/+/sensor/%u/#", false},
        {10, "site/%u/+/%u/sensor/+/+", false},
        {10, "site/%u/line/%u/+/+/+", false},
        {40, "site/%u/line/%u/sensor/+/%s", false},
    };
    unsigned kind = 0, k = i - SITE_TOPICS;
    for (; k >= kinds[kind].count; kind++) {
        k -= kinds[kind].count;
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    t->len = (uint8_t)(kinds[kind].metric_only
                           ? snprintf(t->at, sizeof t->at, kinds[kind].form, site, metrics[k])
                           : snprintf(t->at, sizeof t->at, kinds[kind].form, site, k % 10,
                                      metrics[k / 10]));
#pragma GCC diagnostic pop
}

static struct text *texts(size_t count, void (*make)(struct text *, uint64_t))
{
    struct text *t = malloc(count * sizeof *t);
    assert(t != NULL);
    for (size_t i = 0; i < count; i++) {
        make(&t[i], i);
    }
    for (size_t i = count; i > 1; i--) {
        const size_t j = random_next() % i;
        const struct text swap = t[i - 1];
        t[i - 1] = t[j];
        t[j] = swap;
    }
    return t;
}

/* ---- the index */

struct match_run {
    const struct index *index;
    const struct text *topics;
    size_t topic_count, operations;
    struct match match;
    uint64_t matched;
};

static void on_match_round(void *context)
{
    struct match_run *const run = context;
    run->matched = 0;
    size_t at = 0;
    for (size_t i = 0; i < run->operations; i++) {
        if (index_match(run->index, text_bytes(&run->topics[at]), &run->match) != INDEX_OK) {
            abort();
        }
        run->matched += run->match.filter_count;
        at = at + 1 == run->topic_count ? 0 : at + 1;
    }
}

static double match_ns(const struct index *index, uint64_t universe, size_t topic_count,
                       double *matched)
{
    struct text *topics = malloc(topic_count * sizeof *topics);
    assert(topics != NULL);
    for (size_t i = 0; i < topic_count; i++) {
        text_topic(&topics[i], random_next() % universe);
    }
    struct match_run run = {.index = index,
                            .topics = topics,
                            .topic_count = topic_count,
                            .operations = topic_count < 200000 ? 200000 : topic_count};
    match_init(&run.match);
    on_match_round(&run);
    const double ns = timing_median_ns(on_match_round, &run, (double)run.operations);
    *matched = (double)run.matched / (double)run.operations;
    match_fini(&run.match);
    free(topics);
    return ns;
}

static void insert(struct index *index, struct quiescence *q, const struct text *t)
{
    const struct bytes filter = text_bytes(t);
    uint64_t id;
    if (index_add(index, index_owner(index, filter), filter, 0, &id, NULL) != INDEX_OK) {
        abort();
    }
    quiescence_pass(q, 0);
    quiescence_pass(q, 1);
}

static double insert_all(struct index *index, struct quiescence *q, const struct text *filters,
                         size_t count)
{
    const uint64_t begin = timing_now_ns();
    for (size_t i = 0; i < count; i++) {
        insert(index, q, &filters[i]);
    }
    return (double)(timing_now_ns() - begin) / (double)count;
}

/* In an index of its own: to look at the clock each time costs more than to insert. */
static uint64_t slowest_insert_ns(struct quiescence *q, const struct text *filters, size_t count)
{
    struct index *index = index_create(SHARDS, SEED, q);
    assert(index != NULL);
    uint64_t slowest = 0, before = timing_now_ns();
    for (size_t i = 0; i < count; i++) {
        insert(index, q, &filters[i]);
        const uint64_t now = timing_now_ns();
        slowest = now - before > slowest ? now - before : slowest;
        before = now;
    }
    index_destroy(index);
    return slowest;
}

static double remove_all(struct index *index, struct quiescence *q, const struct text *filters,
                         size_t count)
{
    const uint64_t begin = timing_now_ns();
    for (size_t i = 0; i < count; i++) {
        const struct bytes filter = text_bytes(&filters[i]);
        index_remove(index, index_owner(index, filter), filter, 0);
        quiescence_pass(q, 0);
        quiescence_pass(q, 1);
    }
    return (double)(timing_now_ns() - begin) / (double)count;
}

static void bench_filters(size_t count)
{
    struct quiescence *q = quiescence_create(SHARDS);
    assert(q != NULL);
    quiescence_online(q, 0);
    quiescence_online(q, 1);
    struct text *filters = texts(count, text_filter);
    const size_t resident = resident_bytes();
    struct index *index = index_create(SHARDS, SEED, q);
    assert(index != NULL);

    const double insertion = insert_all(index, q, filters, count);
    assert(index_filter_count(index) == count);
    const double counted = (double)index_bytes(index) / (double)count;
    const double grown = (double)(resident_bytes() - resident) / (double)count;
    const uint64_t universe = count / SITE_FILTERS * SITE_TOPICS;
    double matched;
    const double hot = match_ns(index, universe, 100, &matched);
    const double warm = match_ns(index, universe, 10000, &matched);
    const double cold = match_ns(index, universe, 1000000, &matched);
    const double removal = remove_all(index, q, filters, count);
    index_destroy(index);
    const uint64_t slowest = slowest_insert_ns(q, filters, count);
    printf("%9zu %8.1f %8.0f %8.0f %8.0f %8.0f %8.0f %10.0f %8.0f %8.0f\n", count, matched, hot,
           warm, cold, insertion, removal, (double)slowest / 1000, counted, grown);
    quiescence_destroy(q);
    free(filters);
}

static void bench_index(size_t largest)
{
    printf("index: median ns per match, over so many topics; ns per change; bytes per filter\n");
    printf("%9s %8s %8s %8s %8s %8s %8s %10s %8s %8s\n", "filters", "matches", "100", "10,000",
           "1M cold", "add", "remove", "slowest us", "counted", "resident");
    for (size_t count = 1000; count <= largest; count *= 10) {
        bench_filters(count);
    }
}

/* ---- shared subscriptions */

struct pick_run {
    const struct share_group *group;
    enum share_strategy strategy;
    uint64_t sum;
};

#define PICKS 20000u

static void on_pick_round(void *context)
{
    struct pick_run *const run = context;
    for (unsigned i = 0; i < PICKS; i++) {
        const uint64_t key = random_next();
        const struct share_choice how = {
            .strategy = run->strategy, .publisher_hash = key, .topic_hash = key, .random = key};
        run->sum += share_pick(run->group, &how)->subscription_id;
    }
}

static void bench_group(unsigned members)
{
    static const enum share_strategy strategies[] = {SHARE_ROUND_ROBIN, SHARE_RANDOM, SHARE_STICKY,
                                                     SHARE_HASH_CLIENT};
    const struct bytes filter = bytes_text("jobs/#");
    struct quiescence *q = quiescence_create(1);
    assert(q != NULL);
    quiescence_online(q, 0);
    struct index *index = index_create(1, SEED, q);
    assert(index != NULL);
    for (unsigned i = 0; i < members; i++) {
        struct share_member *m = calloc(1, sizeof *m);
        uint64_t id;
        assert(m != NULL);
        m->subscription_id = i + 1;
        m->client_hash = random_next();
        m->online = 1;
        if (index_share_join(index, 0, bytes_text("g"), filter, m, &id) != INDEX_OK) {
            abort();
        }
        quiescence_pass(q, 0);
    }
    struct match match;
    match_init(&match);
    if (index_match(index, bytes_text("jobs/1"), &match) != INDEX_OK) {
        abort();
    }
    printf("%9u", members);
    for (size_t i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
        struct pick_run run = {.group = match.groups[0], .strategy = strategies[i]};
        printf(" %12.1f", timing_median_ns(on_pick_round, &run, PICKS));
    }
    printf("\n");
    match_fini(&match);
    index_destroy(index);
    quiescence_destroy(q);
}

static void bench_share(void)
{
    printf("\nshare_pick: median ns\n%9s %12s %12s %12s %12s\n", "members", "round_robin", "random",
           "sticky", "hash");
    for (unsigned members = 1; members <= 1000; members *= 10) {
        bench_group(members);
    }
}

/* ---- retained messages */

struct retained_run {
    struct retained *retained;
    struct text *topics;
    size_t topic_count, next;
    const char *filter;
    unsigned found_max;
    uint64_t found, looks;
};

#define LOOKUPS 20000u

static void on_exact_round(void *context)
{
    struct retained_run *const run = context;
    for (unsigned i = 0; i < LOOKUPS; i++) {
        run->next = run->next + 1 == run->topic_count ? 0 : run->next + 1;
        if (retained_get(run->retained, text_bytes(&run->topics[run->next])) == NULL) {
            abort();
        }
    }
}

static void on_filter_round(void *context)
{
    static uint8_t resume[65535];
    struct retained_run *const run = context;
    struct bytes after = bytes_of(NULL, 0);
    unsigned budget = 1u << 30;
    run->found = 0;
    struct message *m;
    size_t resume_len;
    while (run->found < run->found_max &&
           retained_next(run->retained, bytes_text(run->filter), after, &budget, &m, resume,
                         &resume_len) == RETAINED_FOUND) {
        run->found++;
        after = message_topic(m);
    }
    run->looks = (1u << 30) - budget;
}

static void bench_retained(size_t count)
{
    struct text *topics = texts(count, text_topic);
    struct retained *r = retained_create();
    assert(r != NULL);
    const struct bytes none = bytes_of(NULL, 0);
    struct message **messages = malloc(count * sizeof *messages);
    assert(messages != NULL);
    for (size_t i = 0; i < count; i++) {
        messages[i] = message_create(text_bytes(&topics[i]), none, bytes_text("21.5"));
        assert(messages[i] != NULL);
    }
    const size_t resident = resident_bytes();
    const uint64_t begin = timing_now_ns();
    for (size_t i = 0; i < count; i++) {
        bool was_new;
        if (retained_set(r, messages[i], &was_new) != RETAINED_OK) {
            abort();
        }
        message_put(messages[i]);
    }
    const double set = (double)(timing_now_ns() - begin) / (double)count;
    printf("\nretained: %zu messages, %.0f bytes each for the tree\n", count,
           (double)(resident_bytes() - resident) / (double)count);
    printf("%-44s %10.0f ns\n", "set, in no order", set);
    struct retained_run run = {.retained = r, .topics = topics, .topic_count = count};
    printf("%-44s %10.0f ns\n", "get, in no order",
           timing_median_ns(on_exact_round, &run, LOOKUPS));
    static const struct {
        const char *filter;
        unsigned found_max;
    } sought[] = {
        {"#", 100},          {"site/+/line/3/sensor/5/state", 100},
        {"site/77/#", 1000}, {"site/77/line/+/sensor/5/state", 100},
        {"+/+/nothing", 1},  {"site/77/line/3/sensor/5/state", 1},
    };
    for (size_t i = 0; i < sizeof sought / sizeof sought[0]; i++) {
        run.filter = sought[i].filter;
        run.found_max = sought[i].found_max;
        const double ns = timing_median_ns(on_filter_round, &run, 1);
        printf("%-36s %7lu in %10.0f ns, %lu looks\n", run.filter, run.found, ns, run.looks);
    }
    const uint64_t end = timing_now_ns();
    for (size_t i = 0; i < count; i++) {
        retained_delete(r, text_bytes(&topics[i]));
    }
    printf("%-44s %10.0f ns\n", "delete, in no order",
           (double)(timing_now_ns() - end) / (double)count);
    retained_destroy(r);
    free(messages);
    free(topics);
}

/* bench_index [LARGEST]: with 1,000 filters, ten times as many, and so on up to LARGEST; a million
 * if not given. Ten million take minutes and 2 GiB. */
int main(int argc, char **argv)
{
    const size_t largest = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000000;
    bench_index(largest);
    bench_share();
    bench_retained(largest);
    return 0;
}
