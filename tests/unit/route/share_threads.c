/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a group come and go, some of them connected, while all shards pick. One stays,
 * connected: so each pick is of a connected member.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "broker/route/index.h"
#include "broker/shard/quiescence.h"
#include "random.h"

#define SHARDS  3u
#define MEMBERS 40u
#define TURNS   20000u

#define FILTER bytes_text("jobs/+/todo")
#define NAME   bytes_text("workers")

static struct quiescence *q;
static struct index *index_;
static _Atomic bool over;
static _Atomic uint64_t picked[SHARDS];
static uint64_t seed;

static struct share_member *join(uint64_t subscription_id, bool online)
{
    struct share_member *m = calloc(1, sizeof *m);
    uint64_t id;
    assert(m != NULL);
    m->subscription_id = subscription_id;
    m->client_hash = subscription_id * 0x9e3779b97f4a7c15u;
    m->online = online;
    assert(index_share_join(index_, index_owner(index_, FILTER), NAME, FILTER, m, &id) == INDEX_OK);
    return m;
}

static void pick(struct random *r, unsigned self, struct match *m)
{
    assert(index_match(index_, bytes_text("jobs/7/todo"), m) == INDEX_OK);
    assert(m->group_count == 1);
    const struct share_choice how = {
        .strategy = (enum share_strategy)random_below(r, 5),
        .self = self,
        .publisher_hash = random_next(r),
        .topic_hash = random_next(r),
        .random = random_next(r),
        .except = 2 + random_below(r, MEMBERS),
    };
    const struct share_member *const member = share_pick(m->groups[0], &how);
    assert(member != NULL);
    assert(member->online == 1);
    assert(member->subscription_id != how.except);
    assert(member->subscription_id <= MEMBERS + 1);
}

static void *read_only(void *number)
{
    const unsigned self = (unsigned)(uintptr_t)number;
    struct random r = {.seed = seed, .state = seed + self};
    struct match m;
    match_init(&m);
    quiescence_online(q, self);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        pick(&r, self, &m);
        atomic_fetch_add_explicit(&picked[self], 1, memory_order_relaxed);
        quiescence_pass(q, self);
    }
    quiescence_offline(q, self);
    match_fini(&m);
    return NULL;
}

static bool all_have_picked(uint64_t least)
{
    uint64_t fewest = UINT64_MAX;
    for (unsigned i = 0; i < SHARDS; i++) {
        const uint64_t n = atomic_load_explicit(&picked[i], memory_order_relaxed);
        fewest = i != index_owner(index_, FILTER) && n < fewest ? n : fewest;
    }
    return fewest >= least;
}

int main(void)
{
    seed = random_init().seed;
    printf("seed %#lx\n", seed);
    q = quiescence_create(SHARDS);
    assert(q != NULL);
    index_ = index_create(SHARDS, seed, q);
    assert(index_ != NULL);
    const unsigned self = index_owner(index_, FILTER);
    quiescence_online(q, self);
    join(1, true);

    pthread_t threads[SHARDS];
    for (uintptr_t i = 0; i < SHARDS; i++) {
        assert(i == self || pthread_create(&threads[i], NULL, read_only, (void *)i) == 0);
    }
    struct random r = {.seed = seed, .state = seed + self};
    struct match m;
    struct share_member *members[MEMBERS] = {NULL};
    match_init(&m);
    for (unsigned turn = 0; turn < TURNS || !all_have_picked(1000); turn++) {
        const uint32_t at = random_below(&r, MEMBERS);
        if (members[at] == NULL) {
            members[at] = join(at + 2, random_below(&r, 2) == 0);
        } else {
            index_share_leave(index_, self, members[at]);
            members[at] = NULL;
        }
        pick(&r, self, &m);
        quiescence_pass(q, self);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < SHARDS; i++) {
        if (i != self) {
            pthread_join(threads[i], NULL);
        }
    }
    match_fini(&m);
    index_destroy(index_);
    quiescence_destroy(q);
    return 0;
}
