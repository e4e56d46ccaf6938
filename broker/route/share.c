/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/share.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/route/filter.h"
#include "broker/route/index.h"
#include "broker/shard/quiescence.h"

#define CACHE_LINE        64u
#define ROSTER_PLACES_MIN 4u
#define RANDOM_ATTEMPTS   8u /* before a search in order, which favours who comes after a hole */

struct share_place {
    uint64_t client_hash; /* the member's, here so that hashing stays in the roster */
    _Atomic(struct share_member *) member; /* NULL once it has left; release, acquire */
};

struct share_roster {
    uint32_t capacity;
    uint32_t live;         /* the owner's: members that are in */
    _Atomic uint32_t used; /* places filled so far; release by the owner, acquire by readers */
    struct share_place places[];
};

/* One shard's own place in a group. */
struct share_cursor {
    _Alignas(CACHE_LINE) uint32_t next; /* round robin: where to look first */
    uint32_t sticky_place;              /* a guess where that one is */
    uint64_t sticky_subscription;       /* 0: none was chosen yet */
};

/* ---- the owner's side */

static size_t roster_size(uint32_t capacity)
{
    return sizeof(struct share_roster) + (size_t)capacity * sizeof(struct share_place);
}

static struct share_roster *roster_of(const struct share_group *group)
{
    return atomic_load_explicit(&group->roster, memory_order_acquire);
}

static struct share_member *member_at(const struct share_roster *roster, uint32_t place)
{
    return atomic_load_explicit(&roster->places[place].member, memory_order_acquire);
}

static struct share_roster *roster_create(uint32_t capacity)
{
    struct share_roster *roster = malloc(roster_size(capacity));
    if (roster != NULL) {
        roster->capacity = capacity;
        roster->live = 0;
        atomic_init(&roster->used, 0);
    }
    return roster;
}

/* There is room. Whoever sees the new count sees the place. */
static void roster_add(struct share_roster *roster, struct share_member *member)
{
    const uint32_t place = atomic_load_explicit(&roster->used, memory_order_relaxed);
    assert(place < roster->capacity);

    roster->places[place].client_hash = member->client_hash;
    atomic_init(&roster->places[place].member, member);
    member->place = place;
    roster->live++;
    atomic_store_explicit(&roster->used, place + 1, memory_order_release);
}

/* The members that are in, closed up, with as much room again. They keep their order. */
static bool roster_replace(struct share_group *group, struct quiescence *q, unsigned self)
{
    struct share_roster *const old = roster_of(group);
    const uint32_t capacity = old->live * 2;
    struct share_roster *const new =
        roster_create(capacity < ROSTER_PLACES_MIN ? ROSTER_PLACES_MIN : capacity);
    if (new == NULL) {
        return false;
    }
    const uint32_t used = atomic_load_explicit(&old->used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        if (member_at(old, i) != NULL) {
            roster_add(new, member_at(old, i));
        }
    }
    assert(new->live == old->live);
    atomic_store_explicit(&group->roster, new, memory_order_release);
    after_quiescent(q, self, free, old);
    return true;
}

struct share_group *share_group_create(struct bytes name, uint64_t id, unsigned shards)
{
    assert(name.len <= UINT16_MAX);

    struct share_group *group = malloc(sizeof *group + name.len);
    struct share_cursor *cursors =
        aligned_alloc(CACHE_LINE, (size_t)shards * sizeof(struct share_cursor));
    struct share_roster *roster = roster_create(ROSTER_PLACES_MIN);
    if (group == NULL || cursors == NULL || roster == NULL) {
        free(group);
        free(cursors);
        free(roster);
        return NULL;
    }
    *group = (struct share_group){
        .cursors = cursors, .id = id, .shards = shards, .name_len = (uint16_t)name.len};
    for (unsigned i = 0; i < shards; i++) {
        cursors[i] = (struct share_cursor){.next = i}; /* not all begin with the same member */
    }
    memcpy(group->name, name.at, name.len);
    atomic_init(&group->roster, roster);
    return group;
}

void share_group_destroy(struct share_group *group)
{
    struct share_roster *const roster = roster_of(group);
    const uint32_t used = atomic_load_explicit(&roster->used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        free(member_at(roster, i));
    }
    free(roster);
    free(group->cursors);
    free(group);
}

bool share_group_join(struct share_group *group, struct share_member *member, struct quiescence *q,
                      unsigned self)
{
    assert(member->subscription_id != 0);

    const struct share_roster *const roster = roster_of(group);
    if (atomic_load_explicit(&roster->used, memory_order_relaxed) == roster->capacity &&
        !roster_replace(group, q, self)) {
        return false;
    }
    if (member->kept) {
        atomic_store_explicit(&group->kept, true, memory_order_relaxed);
    }
    roster_add(roster_of(group), member);
    member->group = group;
    return true;
}

uint32_t share_group_leave(struct share_group *group, struct share_member *member,
                           struct quiescence *q, unsigned self)
{
    struct share_roster *const roster = roster_of(group);
    assert(member_at(roster, member->place) == member);

    atomic_store_explicit(&roster->places[member->place].member, NULL, memory_order_release);
    after_quiescent(q, self, free, member);
    roster->live--;
    const uint32_t live = roster->live;
    if (live > 0 && live < roster->capacity / 4) {
        (void)roster_replace(group, q, self); /* no memory: the holes stay */
    }
    return live;
}

size_t share_group_bytes(const struct share_group *group)
{
    return sizeof *group + group->name_len + group->shards * sizeof(struct share_cursor) +
           roster_size(roster_of(group)->capacity);
}

uint64_t share_name_hash(struct bytes share_name, struct bytes plain_filter)
{
    const uint64_t hash = hash_join(XXH3_64bits(share_name.at, share_name.len),
                                    XXH3_64bits(plain_filter.at, plain_filter.len));
    return hash == 0 ? 1 : hash;
}

uint64_t share_group_name(const struct share_group *group)
{
    return share_name_hash(bytes_of(group->name, group->name_len),
                           bytes_of(group->filter->text, group->filter->len));
}

bool share_keeps(const struct share_group *group)
{
    return atomic_load_explicit(&group->kept, memory_order_relaxed);
}

bool share_is(const struct share_group *group, struct bytes share_name, struct bytes filter)
{
    return bytes_equal(bytes_of(group->name, group->name_len), share_name) &&
           bytes_equal(bytes_of(group->filter->text, group->filter->len), filter);
}

uint64_t share_group_id(const struct share_group *group)
{
    return group->id;
}

/* ---- any shard's side: to pick */

/* What a search has come upon: the member to take, and the one to take if there is no better. */
struct candidates {
    const struct share_member *online, *offline;
    uint32_t online_place, offline_place;
};

static bool is_online(const struct share_member *member)
{
    return atomic_load_explicit(&member->online, memory_order_relaxed) != 0;
}

/* Looks at one place; true: it holds a connected member that may be chosen. */
static bool consider(struct candidates *c, const struct share_roster *roster, uint32_t place,
                     const struct share_choice *how)
{
    const struct share_member *const member = member_at(roster, place);
    if (member == NULL || member->subscription_id == how->except ||
        (how->only_here && member->shard >= INDEX_PEER_FIRST)) {
        return false;
    }
    if (is_online(member)) {
        c->online = member;
        c->online_place = place;
        return true;
    }
    if (c->offline == NULL) {
        c->offline = member;
        c->offline_place = place;
    }
    return false;
}

/* The first connected member from `start` on, around; cheap if most are connected. */
static struct candidates search(const struct share_roster *roster, uint32_t used, uint32_t start,
                                const struct share_choice *how)
{
    struct candidates c = {.online = NULL};
    for (uint32_t i = 0; i < used; i++) {
        const uint32_t place = start + i < used ? start + i : start + i - used;
        if (consider(&c, roster, place, how)) {
            break;
        }
    }
    return c;
}

/* A well-spread function of both. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product =
        (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd6e8feb86659fd93u);
    uint64_t x = (uint64_t)product ^ (uint64_t)(product >> 64);
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static uint32_t below(uint64_t random, uint32_t bound)
{
    return (uint32_t)((random >> 32) * bound >> 32);
}

static const struct share_member *pick_round_robin(const struct share_roster *roster, uint32_t used,
                                                   struct share_cursor *cursor,
                                                   const struct share_choice *how)
{
    const struct candidates c = search(roster, used, cursor->next % used, how);
    cursor->next = (c.online != NULL ? c.online_place : c.offline_place) + 1;
    return c.online != NULL ? c.online : c.offline;
}

static struct candidates search_random(const struct share_roster *roster, uint32_t used,
                                       const struct share_choice *how)
{
    struct candidates c = {.online = NULL};
    for (uint32_t i = 0; i < RANDOM_ATTEMPTS; i++) {
        if (consider(&c, roster, below(mix(how->random, i), used), how)) {
            return c;
        }
    }
    return search(roster, used, below(how->random, used), how);
}

/* Where the member with that subscription is, or `used`. */
static uint32_t find_place(const struct share_roster *roster, uint32_t used, uint64_t subscription,
                           uint32_t guess)
{
    const struct share_member *member = guess < used ? member_at(roster, guess) : NULL;
    if (member != NULL && member->subscription_id == subscription) {
        return guess;
    }
    uint32_t place = 0;
    for (; place < used; place++) {
        member = member_at(roster, place);
        if (member != NULL && member->subscription_id == subscription) {
            break;
        }
    }
    return place;
}

#define STICKY_KEY 0x9e3779b97f4a7c15u /* any number, the same for all shards */

/* The highest random weight (Thaler & Ravishankar, 1998): of n members, one that leaves or joins
 * moves 1/n of the keys. Looks at a member only if its weight would win. */
static const struct share_member *pick_hash(const struct share_roster *roster, uint32_t used,
                                            uint64_t key, const struct share_choice *how)
{
    struct candidates best = {.online = NULL};
    uint64_t online_weight = 0, offline_weight = 0;
    for (uint32_t i = 0; i < used; i++) {
        const uint64_t weight = mix(key, roster->places[i].client_hash);
        if (best.online != NULL && weight <= online_weight) {
            continue;
        }
        struct candidates c = {.online = NULL};
        if (consider(&c, roster, i, how)) {
            best.online = c.online;
            online_weight = weight;
        } else if (c.offline != NULL && (best.offline == NULL || weight > offline_weight)) {
            best.offline = c.offline;
            offline_weight = weight;
        }
    }
    return best.online != NULL ? best.online : best.offline;
}

/*
 * Stays with a member while it is connected; takes it again if nobody is. The first choice is by
 * weight, so that all shards that see the same members choose the same one.
 */
static const struct share_member *pick_sticky(const struct share_roster *roster, uint32_t used,
                                              struct share_cursor *cursor,
                                              const struct share_choice *how)
{
    struct candidates c = {.online = NULL};
    if (cursor->sticky_subscription != 0) {
        cursor->sticky_place =
            find_place(roster, used, cursor->sticky_subscription, cursor->sticky_place);
        if (cursor->sticky_place < used && consider(&c, roster, cursor->sticky_place, how)) {
            return c.online;
        }
    }
    const struct share_member *const former = c.offline;
    const struct share_member *const chosen = pick_hash(roster, used, STICKY_KEY, how);
    if (former != NULL && (chosen == NULL || !is_online(chosen))) {
        return former;
    }
    const bool only_excepted = how->except != 0 && cursor->sticky_subscription == how->except;
    if (chosen != NULL && !only_excepted) {
        cursor->sticky_subscription = chosen->subscription_id;
    }
    return chosen;
}

static const struct share_member *pick(const struct share_roster *roster,
                                       struct share_cursor *cursor, const struct share_choice *how)
{
    const uint32_t used = atomic_load_explicit(&roster->used, memory_order_acquire);
    if (used == 0) {
        return NULL;
    }
    switch (how->strategy) {
    case SHARE_ROUND_ROBIN:
        return pick_round_robin(roster, used, cursor, how);
    case SHARE_RANDOM: {
        const struct candidates c = search_random(roster, used, how);
        return c.online != NULL ? c.online : c.offline;
    }
    case SHARE_STICKY:
        return pick_sticky(roster, used, cursor, how);
    case SHARE_HASH_CLIENT:
        return pick_hash(roster, used, how->publisher_hash, how);
    case SHARE_HASH_TOPIC:
        return pick_hash(roster, used, how->topic_hash, how);
    }
    abort(); /* a strategy that is not one */
}

/* A member of this node that is connected, if there is one; else as they come. */
static const struct share_member *pick_here_first(const struct share_group *group,
                                                  struct share_cursor *cursor,
                                                  const struct share_choice *how)
{
    struct share_choice here = *how;
    here.only_here = true;
    const struct share_member *const member = pick(roster_of(group), cursor, &here);
    return member != NULL && is_online(member) ? member : pick(roster_of(group), cursor, how);
}

const struct share_member *share_pick(const struct share_group *group,
                                      const struct share_choice *how)
{
    assert(how->self < group->shards);

    struct share_cursor *const cursor = &group->cursors[how->self];
    return how->here_first ? pick_here_first(group, cursor, how)
                           : pick(roster_of(group), cursor, how);
}

const struct share_member *share_foresee(const struct share_group *group,
                                         const struct share_choice *how)
{
    assert(how->self < group->shards);

    struct share_cursor copy = group->cursors[how->self];
    return how->here_first ? pick_here_first(group, &copy, how)
                           : pick(roster_of(group), &copy, how);
}

bool share_count(const struct share_group *group, uint32_t *members, uint32_t *online)
{
    const struct share_roster *const roster = roster_of(group);
    const uint32_t used = atomic_load_explicit(&roster->used, memory_order_acquire);
    const uint32_t looked_at = used < SHARE_COUNTED_MAX ? used : SHARE_COUNTED_MAX;
    *members = 0;
    *online = 0;
    for (uint32_t i = 0; i < looked_at; i++) {
        const struct share_member *const member = member_at(roster, i);
        *members += member != NULL;
        *online += member != NULL && is_online(member);
    }
    return looked_at == used;
}

const struct share_member *share_member_of(const struct share_group *group, unsigned shard)
{
    const struct share_roster *const roster = roster_of(group);
    const uint32_t used = atomic_load_explicit(&roster->used, memory_order_acquire);
    for (uint32_t i = 0; i < used; i++) {
        const struct share_member *const member = member_at(roster, i);
        if (member != NULL && member->shard == shard && member->subscription != NULL) {
            return member;
        }
    }
    return NULL;
}
