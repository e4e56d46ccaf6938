/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every thread is a shard: it changes the filters of its parts, and matches. Each filter has a word
 * that says whether it is in, out, or being changed; a match between two looks at that word that
 * are the same has to agree with it. Some filters are never touched: every match finds those.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "broker/route/index.h"
#include "broker/shard/quiescence.h"
#include "proto/topic.h"
#include "random.h"

#define SHARDS  3u
#define PARTS   (SHARDS + 1)
#define FILTERS 400u /* in each part */
#define TURNS   12000u

enum { OUT, IN, CHANGING, STATES };

struct known {
    char text[48];
    bool stays;             /* in throughout */
    _Atomic uint64_t state; /* changes * STATES + one of the above; by the part's owner, release */
    _Atomic uint64_t id;    /* written before `state` says that it is in */
};

static struct quiescence *q;
static struct index *index_;
static struct known known[PARTS][FILTERS];
static char first[PARTS][16]; /* a first level that belongs to the part */
static _Atomic unsigned done;
static _Atomic uint64_t judged;    /* filters that could be told, over all matches */
static _Atomic uint64_t met;       /* of those, that had to be found */
static _Atomic uint64_t met_again; /* of those, that had come and gone before */
static uint64_t seed;

static unsigned owner_of(unsigned part)
{
    return part < SHARDS ? part : 0;
}

static void change(unsigned self, struct known *k)
{
    const uint64_t before = atomic_load_explicit(&k->state, memory_order_relaxed);
    const uint64_t next = (before / STATES + 1) * STATES;
    atomic_store_explicit(&k->state, next + CHANGING, memory_order_release);
    if (before % STATES == IN) {
        index_remove(index_, self, bytes_text(k->text), self);
        atomic_store_explicit(&k->state, next + OUT, memory_order_release);
        return;
    }
    uint64_t id = 0;
    assert(index_add(index_, self, bytes_text(k->text), self, &id, NULL) == INDEX_OK);
    assert(id != atomic_load_explicit(&k->id, memory_order_relaxed)); /* not reused */
    atomic_store_explicit(&k->id, id, memory_order_relaxed);
    atomic_store_explicit(&k->state, next + IN, memory_order_release);
}

static bool found(const struct match *m, uint64_t id)
{
    bool in = false;
    for (size_t i = 0; i < m->filter_count; i++) {
        assert(!in || m->filters[i].filter_id != id); /* once */
        in |= m->filters[i].filter_id == id;
    }
    return in;
}

/* A topic of the part: some of its filters match. */
static void random_topic(struct random *r, unsigned part, char *topic, size_t size)
{
    static const char *const middles[] = {"a", "b", "c"};
    snprintf(topic, size, "%s/%s/%u/%s", first[part < SHARDS ? part : random_below(r, SHARDS)],
             middles[random_below(r, 3)], random_below(r, FILTERS), middles[random_below(r, 3)]);
}

static void match_and_judge(struct random *r, struct match *m)
{
    const unsigned part = random_below(r, PARTS);
    char topic[64];
    uint64_t before[FILTERS], ids[FILTERS];
    random_topic(r, part, topic, sizeof topic);
    for (unsigned i = 0; i < FILTERS; i++) {
        before[i] = atomic_load_explicit(&known[part][i].state, memory_order_acquire);
        ids[i] = atomic_load_explicit(&known[part][i].id, memory_order_relaxed);
    }
    assert(index_match(index_, bytes_text(topic), m) == INDEX_OK);
    uint64_t told = 0, hits = 0, hits_again = 0;
    for (unsigned i = 0; i < FILTERS; i++) {
        struct known *const k = &known[part][i];
        const uint64_t after = atomic_load_explicit(&k->state, memory_order_acquire);
        if (before[i] != after || after % STATES == CHANGING) {
            continue;
        }
        const bool wanted =
            after % STATES == IN && topic_matches(bytes_text(k->text), bytes_text(topic));
        if (ids[i] != 0 && found(m, ids[i]) != wanted) {
            fprintf(stderr, "%s %s: %s\n", topic, k->text, wanted ? "missed" : "still there");
            abort();
        }
        assert(!k->stays || after % STATES == IN);
        told++;
        hits += wanted;
        hits_again += wanted && !k->stays;
    }
    atomic_fetch_add_explicit(&judged, told, memory_order_relaxed);
    atomic_fetch_add_explicit(&met, hits, memory_order_relaxed);
    atomic_fetch_add_explicit(&met_again, hits_again, memory_order_relaxed);
}

static void *run(void *number)
{
    const unsigned self = (unsigned)(uintptr_t)number;
    struct random r = {.seed = seed, .state = seed + self};
    struct match m;
    match_init(&m);
    quiescence_online(q, self);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (uint32_t i = random_below(&r, 8); i > 0; i--) {
            const unsigned part = self == 0 && random_below(&r, 2) == 0 ? SHARDS : self;
            struct known *const k = &known[part][random_below(&r, FILTERS)];
            if (!k->stays) {
                change(self, k);
            }
        }
        if (turn % 8 == 0) {
            match_and_judge(&r, &m);
        }
        if (turn % 512 == 0) {
            quiescence_offline(q, self);
            quiescence_online(q, self);
        } else {
            quiescence_pass(q, self);
        }
    }
    atomic_fetch_add(&done, 1);
    while (atomic_load(&done) < SHARDS) { /* nobody judges any longer */
        quiescence_pass(q, self);
    }
    for (unsigned part = 0; part < PARTS; part++) { /* nothing of its own is left */
        for (unsigned i = 0; owner_of(part) == self && i < FILTERS; i++) {
            if (atomic_load(&known[part][i].state) % STATES == IN) {
                index_remove(index_, self, bytes_text(known[part][i].text), self);
            }
        }
    }
    quiescence_offline(q, self);
    match_fini(&m);
    return NULL;
}

/* More shapes than a part looks up as such: what comes after goes through the trie. */
static void use_up_shapes(unsigned part)
{
    for (unsigned bits = 1; bits <= 64; bits++) {
        char filter[48];
        uint64_t id;
        snprintf(filter, sizeof filter, "%s/z", first[part]);
        for (unsigned i = 0; i < 7; i++) {
            strcat(filter, bits >> i & 1 ? "/+" : "/z");
        }
        assert(index_add(index_, owner_of(part), bytes_text(filter), 0, &id, NULL) == INDEX_OK);
    }
}

/* Filters that share prefixes, in all forms, so that nodes and tables come and go. */
static void make_filters(void)
{
    static const char *const forms[] = {"%s/a/%u/b",   "%s/a/%u/+", "%s/+/%u/a", "%s/b/%u/#",
                                        "%s/+/%u/+",   "%s/+/%u/#", "%s/c/%u/c", "%s/a/%u/a",
                                        "%s/+/%u/+/#", "%s/b/%u/b"};
    for (unsigned part = 0; part < PARTS; part++) {
        for (unsigned n = 0; part < SHARDS && first[part][0] == 0; n++) {
            char text[16];
            snprintf(text, sizeof text, "s%u", n);
            if (index_owner(index_, bytes_text(text)) == part) {
                strcpy(first[part], text);
            }
        }
        if (part == SHARDS) {
            strcpy(first[part], "+");
        }
        if (part >= SHARDS - 1) { /* one that begins with a literal, and the other */
            use_up_shapes(part);
        }
        for (unsigned i = 0; i < FILTERS; i++) {
            struct known *const k = &known[part][i];
            /* Ten filters to each number, of which one stays. */
            snprintf(k->text, sizeof k->text, forms[i % 10], first[part], i / 10 * 10);
            k->stays = i % 10 == i / 10 % 10;
            if (k->stays) {
                change(owner_of(part), k);
            }
        }
    }
}

int main(void)
{
    seed = random_init().seed;
    printf("seed %#lx\n", seed);
    q = quiescence_create(SHARDS);
    assert(q != NULL);
    index_ = index_create(SHARDS, seed, q);
    assert(index_ != NULL);
    const uint64_t bytes = index_bytes(index_);
    make_filters();
    pthread_t threads[SHARDS];
    for (uintptr_t i = 0; i < SHARDS; i++) {
        assert(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%lu judgements; %lu filters that had to be found, %lu of them came and went\n", judged,
           met, met_again);
    assert(met > 100 && met_again > 100); /* or else nothing was tested */
    assert(index_filter_count(index_) == 2 * 64);
    assert(index_bytes(index_) < bytes + 64 * 1024);
    index_destroy(index_);
    quiescence_destroy(q);
    return 0;
}
