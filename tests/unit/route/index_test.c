/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/index.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "broker/shard/quiescence.h"
#include "fault.h"
#include "proto/topic.h"
#include "random.h"

#define SHARDS 5u

static struct quiescence *q;
static struct index *index_;
static struct match match;
static struct random chance; /* the test's, and its seed the index's */

static void setup(void)
{
    q = quiescence_create(SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        quiescence_online(q, i);
    }
    chance = random_init();
    index_ = index_create(SHARDS, chance.seed, q);
    cr_assert_not_null(index_);
    match_init(&match);
}

static void teardown(void)
{
    match_fini(&match);
    index_destroy(index_);
    quiescence_destroy(q);
}

TestSuite(index, .init = setup, .fini = teardown);

static void all_pass(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        quiescence_pass(q, i);
    }
}

static uint64_t add(struct bytes filter, unsigned shard)
{
    uint64_t id = 0;
    cr_assert_eq(index_add(index_, index_owner(index_, filter), filter, shard, &id, NULL),
                 INDEX_OK);
    cr_assert_neq(id, 0);
    return id;
}

static void drop(struct bytes filter, unsigned shard)
{
    index_remove(index_, index_owner(index_, filter), filter, shard);
}

static size_t matches(struct bytes topic)
{
    cr_assert_eq(index_match(index_, topic, &match), INDEX_OK);
    return match.filter_count;
}

/* The shards that the match says for that filter; 0: it is not in. */
static uint64_t shards_of(uint64_t filter_id)
{
    uint64_t shards = 0;
    for (size_t i = 0; i < match.filter_count; i++) {
        if (match.filters[i].filter_id == filter_id) {
            cr_assert_eq(shards, 0, "reported twice");
            shards = match.filters[i].shards;
            cr_assert_neq(shards, 0);
        }
    }
    return shards;
}

static const struct {
    const char *filter, *topic;
    bool matches;
} rows[] = {
    {"a", "a", true},
    {"a", "b", false},
    {"a", "a/b", false},
    {"a/b", "a", false},
    {"a/b", "a/b", true},
    {"+", "a", true},
    {"+", "a/b", false},
    {"+", "/a", false},
    {"/+", "/a", true},
    {"+/+", "/a", true},
    {"#", "a", true},
    {"#", "a/b/c", true},
    {"#", "/", true},
    {"a/#", "a", true},
    {"a/#", "a/", true},
    {"a/#", "a/b/c", true},
    {"a/#", "ab", false},
    {"a/+", "a", false},
    {"a/+", "a/", true},
    {"a/+", "a/b", true},
    {"a/+", "a/b/c", false},
    {"a/+/#", "a", false},
    {"a/+/#", "a/b", true},
    {"a/+/#", "a/b/c/d", true},
    {"a/+/c", "a/b/c", true},
    {"a/+/c", "a//c", true},
    {"a/+/c", "a/b", false},
    {"a/+/", "a/b/", true},
    {"a/+/", "a/b", false},
    {"+/b/+/d", "a/b/c/d", true},
    {"+/b/+/d", "a/x/c/d", false},
    {"/", "/", true},
    {"//", "/", false},
    {"+/+/+", "//", true},
    {"#", "$SYS/a", false},
    {"+/a", "$SYS/a", false},
    {"+/#", "$SYS", false},
    {"$SYS/#", "$SYS/a", true},
    {"$SYS/+", "$SYS/a", true},
    {"a/$b", "a/$b", true},
    {"a/+", "a/$b", true},
    {"+/$b", "a/$b", true},
};

/* What the standard's examples say (4.7.1), each filter on its own and all at once. */
Test(index, matches_as_the_standard_says)
{
    enum { ROWS = sizeof rows / sizeof rows[0] };
    uint64_t ids[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        const struct bytes filter = bytes_text(rows[i].filter);
        ids[i] = add(filter, 0);
        matches(bytes_text(rows[i].topic));
        cr_expect_eq(shards_of(ids[i]), rows[i].matches, "%s %s", rows[i].filter, rows[i].topic);
        drop(filter, 0);
        cr_expect_eq(matches(bytes_text(rows[i].topic)), 0);
        all_pass();
    }
    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = add(bytes_text(rows[i].filter), 0);
    }
    for (size_t i = 0; i < ROWS; i++) {
        matches(bytes_text(rows[i].topic));
        cr_expect_eq(shards_of(ids[i]), rows[i].matches, "%s %s", rows[i].filter, rows[i].topic);
    }
}

Test(index, one_entry_for_all_shards)
{
    const struct bytes filter = bytes_text("a/+/c");
    const uint64_t id = add(filter, 0);
    cr_expect_eq(add(filter, 3), id);
    cr_expect_eq(add(filter, 3), id, "adding twice is fine");
    cr_expect_eq(index_filter_count(index_), 1);
    cr_expect_eq(matches(bytes_text("a/b/c")), 1);
    cr_expect_eq(shards_of(id), 0x9);
    drop(filter, 0);
    drop(filter, 1); /* was not in */
    matches(bytes_text("a/b/c"));
    cr_expect_eq(shards_of(id), 0x8);
    drop(filter, 3);
    cr_expect_eq(matches(bytes_text("a/b/c")), 0);
    cr_expect_eq(index_filter_count(index_), 0);
    cr_expect_neq(add(filter, 3), id, "ids are not reused");
    drop(bytes_text("never/added"), 0);
    drop(bytes_text("never/+/added"), 0);
    drop(bytes_text("a/+"), 0);
    drop(bytes_text("a/#"), 0);
    cr_expect_eq(index_filter_count(index_), 1);
}

/* ---- against the oracle */

#define FILTERS 600u

struct known {
    char text[32];
    uint64_t id, shards;
};

static void random_text(struct random *r, char *text, bool filter)
{
    static const char *const levels[] = {"a", "b", "", "cc", "$x", "+", "+", "#"};
    const uint32_t count = 1 + random_below(r, 6);
    text[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t level = random_below(r, filter ? 8 : 5);
        strcat(strcat(text, i > 0 ? "/" : ""), levels[level]);
        if (level == 7) {
            break;
        }
    }
    if (text[0] == 0) {
        strcpy(text, "a");
    }
}

static void expect_same(const struct known *known, struct bytes topic, uint64_t seed)
{
    size_t wanted = 0;
    matches(topic);
    for (unsigned i = 0; i < FILTERS; i++) {
        if (known[i].shards != 0) {
            const bool match_wanted = topic_matches(bytes_text(known[i].text), topic);
            wanted += match_wanted;
            cr_assert_eq(shards_of(known[i].id), match_wanted ? known[i].shards : 0,
                         "%s %.*s, seed %#lx", known[i].text, (int)topic.len, topic.at, seed);
        }
    }
    cr_assert_eq(match.filter_count, wanted, "seed %#lx", seed);
}

static struct known *find(struct known *known, const char *text)
{
    for (unsigned i = 0; i < FILTERS; i++) {
        if (strcmp(known[i].text, text) == 0) {
            return &known[i];
        }
    }
    return NULL;
}

Test(index, agrees_with_oracle)
{
    static struct known known[FILTERS];
    const uint64_t bytes = index_bytes(index_);
    uint64_t id_max = 0;
    size_t count = 0;
    for (unsigned i = 0; i < FILTERS; i++) {
        do {
            random_text(&chance, known[i].text, true);
        } while (find(known, known[i].text) != &known[i]);
    }
    for (unsigned round = 0; round < 30000; round++) {
        struct known *const k = &known[random_below(&chance, FILTERS)];
        const unsigned shard = random_below(&chance, SHARDS);
        const uint64_t before = k->shards;
        if (random_below(&chance, 2) == 0) {
            const uint64_t id = add(bytes_text(k->text), shard);
            cr_assert(before == 0 || id == k->id);
            k->id = id;
            k->shards |= UINT64_C(1) << shard;
        } else {
            drop(bytes_text(k->text), shard);
            k->shards &= ~(UINT64_C(1) << shard);
        }
        count += (size_t)(k->shards != 0) - (size_t)(before != 0);
        id_max = k->id > id_max ? k->id : id_max;
        cr_assert_eq(index_filter_count(index_), count, "seed %#lx", chance.seed);
        if (round % 3 == 0) {
            char topic[32];
            random_text(&chance, topic, false);
            expect_same(known, bytes_text(topic), chance.seed);
        }
        all_pass();
    }
    cr_expect_gt(id_max, 1000);
    for (unsigned i = 0; i < FILTERS; i++) {
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            drop(bytes_text(known[i].text), shard);
        }
    }
    cr_expect_eq(index_filter_count(index_), 0);
    cr_expect_eq(index_bytes(index_), bytes, "nothing is left of the filters");
}

/* ---- at the limits */

static char *repeat(const char *part, size_t len)
{
    char *text = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        text[i] = part[i % strlen(part)];
    }
    text[len] = 0;
    return text;
}

/* 65,536 levels, in the topic and in filters; and a level of 65,535 bytes. */
Test(index, longest_topics)
{
    const uint64_t bytes = index_bytes(index_);
    static const char *const parts[][2] = {
        {"/", "/"}, {"+/", "a/"}, {"a/", "a/"}, {"a/+/", "a/b/"}, {"a", "a"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char *filter = repeat(parts[i][0], 65535), *topic = repeat(parts[i][1], 65535);
        if (filter[65534] == '+') {
            topic[65534] = 'x';
        }
        const uint64_t id = add(bytes_text(filter), 2);
        const uint64_t all = add(bytes_text("#"), 2);
        cr_expect_eq(matches(bytes_text(topic)), 2, "%zu", i);
        cr_expect_eq(shards_of(id), 4);
        cr_expect_eq(shards_of(all), 4);
        topic[65533] = 'y';
        cr_expect_eq(matches(bytes_text(topic)), 1, "%zu", i);
        drop(bytes_text(filter), 2);
        drop(bytes_text("#"), 2);
        free(filter);
        free(topic);
        all_pass();
    }
    cr_expect_lt(index_bytes(index_), bytes + 64 * 1024, "the tables' directories stay");
}

/* Every combination of a literal and '+' exists: 2^12 prefixes match, each is visited once. */
Test(index, all_combinations_of_plus)
{
    enum { LEVELS = 12 };
    char filter[2 * LEVELS + 1], topic[2 * LEVELS + 1];
    for (unsigned bits = 0; bits < 1u << LEVELS; bits++) {
        for (unsigned i = 0; i < LEVELS; i++) {
            filter[2 * i] = bits >> i & 1 ? '+' : 'a';
            topic[2 * i] = 'a';
            filter[2 * i + 1] = topic[2 * i + 1] = '/';
        }
        filter[2 * LEVELS - 1] = topic[2 * LEVELS - 1] = 0;
        add(bytes_text(filter), 1);
    }
    cr_expect_eq(matches(bytes_text(topic)), 1u << LEVELS);
    cr_expect_eq(matches(bytes_text("a/a/a")), 0);
}

/* Destroyed with everything in it; a checker of leaks sees to it. */
Test(index, destroyed_full)
{
    for (unsigned i = 0; i < 20000; i++) {
        char filter[64];
        static const char *const forms[] = {"a/%u/b", "a/+/b/%u", "a/%u/+/+/+/c", "+/%u/#", "%u"};
        snprintf(filter, sizeof filter, forms[i % 5], i);
        add(bytes_text(filter), i % SHARDS);
        struct share_member *m = calloc(1, sizeof *m);
        m->subscription_id = i + 1;
        uint64_t id;
        cr_assert_eq(index_share_join(index_, index_owner(index_, bytes_text(filter)),
                                      bytes_text("g"), bytes_text(filter), m, &id),
                     INDEX_OK);
    }
    cr_expect_eq(matches(bytes_text("a/10/b")), 1);
    cr_expect_eq(match.group_count, 1);
    index_destroy(NULL);
}

Test(index, every_part_has_one_owner)
{
    cr_expect_eq(index_owner(index_, bytes_text("#")), index_owner(index_, bytes_text("+/a")));
    unsigned filters[SHARDS] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        char filter[32];
        snprintf(filter, sizeof filter, "%u/a", i);
        const unsigned owner = index_owner(index_, bytes_text(filter));
        cr_assert_lt(owner, SHARDS);
        filters[owner]++;
        snprintf(filter, sizeof filter, "%u/+", i);
        cr_expect_eq(index_owner(index_, bytes_text(filter)), owner);
        snprintf(filter, sizeof filter, "%u", i);
        cr_expect_eq(index_owner(index_, bytes_text(filter)), owner);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_expect(filters[i] > 100 && filters[i] < 300, "%u: %u", i, filters[i]);
    }
}

/* An addition that fails leaves nothing behind, wherever it fails. */
Test(index, no_memory)
{
    static const char *const filters[] = {"a/b/c", "a/+/+/c", "a/b/c/#", "a/b/+", "+/x/y/z/+/t"};
    const uint64_t bytes = index_bytes(index_);
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const struct bytes filter = bytes_text(filters[i]);
        bool failed = true;
        for (unsigned n = 0; failed; n++) {
            uint64_t id = 0;
            fault_at(n);
            const enum index_err err =
                index_add(index_, index_owner(index_, filter), filter, 0, &id, NULL);
            failed = fault_happened();
            fault_at(FAULT_NEVER);
            cr_assert(failed || err == INDEX_OK);
            cr_assert_eq(id != 0, err == INDEX_OK);
            cr_assert_eq(index_filter_count(index_), err == INDEX_OK);
            drop(filter, 0);
            all_pass();
            all_pass();
        }
        cr_expect_eq(index_bytes(index_), bytes, "%s", filters[i]);
    }
}

/* As many filters of different shapes as a part looks up by shape, so that others go to the trie.
 */
static void fill_shapes(bool in)
{
    for (unsigned bits = 1; bits <= 64; bits++) {
        char filter[] = "s/+/+/+/+/+/+/+";
        for (unsigned i = 0; i < 7; i++) {
            filter[2 + 2 * i] = bits >> i & 1 ? '+' : 's';
        }
        if (in) {
            add(bytes_text(filter), 0);
        } else {
            drop(bytes_text(filter), 0);
        }
    }
}

Test(index, no_memory_with_too_many_shapes)
{
    static const char *const filters[] = {"s/t/+/u/#", "s/+/x", "s/t/+/+/+/+/v/#", "s/x/+"};
    fill_shapes(true);
    uint64_t id = 0;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const uint64_t bytes = index_bytes(index_);
        const struct bytes filter = bytes_text(filters[i]);
        bool failed = true;
        unsigned refused = 0;
        for (unsigned n = 0; failed; n++) {
            fault_at(n);
            const enum index_err err =
                index_add(index_, index_owner(index_, filter), filter, 0, &id, NULL);
            failed = fault_happened();
            fault_at(FAULT_NEVER);
            refused += err != INDEX_OK;
            drop(filter, 0);
            all_pass();
            all_pass();
        }
        cr_expect_gt(refused, 2);
        cr_expect_eq(index_filter_count(index_), 64);
        cr_expect_eq(index_bytes(index_), bytes, "%s", filters[i]);
    }
}

/* A filter stays where it came to be, whatever becomes of the shapes; and is found once. */
Test(index, shapes_come_and_go)
{
    const uint64_t bytes = index_bytes(index_);
    const struct bytes late = bytes_text("s/a/+/#"), later = bytes_text("s/b/+/#");
    fill_shapes(true);
    const uint64_t id = add(late, 1);
    fill_shapes(false);
    const uint64_t other = add(later, 1);
    cr_expect_eq(add(late, 2), id);
    cr_expect_eq(matches(bytes_text("s/a/x/y")), 1);
    cr_expect_eq(shards_of(id), 6);
    cr_expect_eq(matches(bytes_text("s/b/x")), 1);
    cr_expect_eq(shards_of(other), 2);
    drop(late, 1);
    drop(late, 2);
    drop(later, 1);
    cr_expect_eq(matches(bytes_text("s/a/x/y")) + matches(bytes_text("s/b/x")), 0);
    all_pass();
    cr_expect_lt(index_bytes(index_), bytes + 1);
}

Test(index, no_memory_to_create)
{
    unsigned n = 0;
    for (struct index *other = NULL; other == NULL; n++) {
        fault_at(n);
        other = index_create(2, 1, q);
        fault_at(FAULT_NEVER);
        index_destroy(other);
    }
    cr_expect_gt(n, 9);
}

/* A match that cannot grow its scratch says so, and goes on once it can. */
Test(index, no_memory_to_match)
{
    for (unsigned i = 0; i < 8; i++) {
        char filter[] = "+/+/+";
        for (unsigned level = 0; level < 3; level++) {
            filter[2 * level] = i >> level & 1 ? '+' : 'a';
        }
        const struct bytes text = bytes_text(filter);
        struct share_member *m = calloc(1, sizeof *m);
        uint64_t id;
        m->subscription_id = i + 1;
        add(text, 0);
        cr_assert_eq(
            index_share_join(index_, index_owner(index_, text), bytes_text("g"), text, m, &id),
            INDEX_OK);
    }
    unsigned n = 0;
    for (enum index_err err = INDEX_NO_MEMORY; err != INDEX_OK; n++) {
        match_fini(&match);
        fault_at(n);
        err = index_match(index_, bytes_text("a/a/a"), &match);
        fault_at(FAULT_NEVER);
    }
    cr_expect_gt(n, 4);
    cr_expect_eq(match.filter_count, 8);
    cr_expect_eq(match.group_count, 8);

    fill_shapes(true);
    add(bytes_text("s/t/+/#"), 0);
    n = 0;
    for (enum index_err err = INDEX_NO_MEMORY; err != INDEX_OK; n++) {
        match_fini(&match);
        fault_at(n);
        err = index_match(index_, bytes_text("s/t/u/v"), &match);
        fault_at(FAULT_NEVER);
    }
    cr_expect_gt(n, 5);
    cr_expect_eq(match.filter_count, 1);
}
