/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index: which topic filters are subscribed to, and by which shards; the lock-free sharded
 * subscription index (4.7, 4.8).
 *
 *   filters, by hash of the first level ──▶ part 0 … part N-1, each written by one shard
 *   "+/…" and "#" ────────────────────────▶ a part of their own, so that a match reads two parts
 *
 * Readers are all shards: plain loads, no lock, no read-modify-write, no retry. The writer builds
 * what is new, publishes it with one release store, and frees the old after_quiescent().
 * The index knows filters, shards, and the members of shared-subscription groups; the subscribers
 * of a plain filter are their own shard's affair (route/local.h), found there by the filter's id.
 * So a filter with a hundred thousand subscribers is one entry, and a publish is matched once. Cost
 * of a match: grows with the filters that match, not with those that exist (bench/).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* Who wants a filter is a target: a shard of this node, or another node as a whole. */
#define INDEX_SHARDS_MAX  32u
#define INDEX_PEER_FIRST  32u /* target of peer 0 */
#define INDEX_TARGETS_MAX 64u
#define INDEX_SHARDS_MASK UINT64_C(0xffffffff)

struct index;
struct quiescence;
struct share_group; /* opaque; a match's is valid until the caller's next quiescent point */
struct subscription;

enum index_err {
    INDEX_OK = 0,
    INDEX_NO_MEMORY,
};

/* seed: of the hashes; random, and not to be guessed by clients, who choose the filters. NULL when
 * out of memory. */
struct index *index_create(unsigned shards, uint64_t seed, struct quiescence *q);
void index_destroy(struct index *index); /* all threads are through with it */

/* The shard that writes the filter's part: the only one that may call the changing functions for
 * it. Plain and shared filters alike; `filter` is the part of "$share/NAME/FILTER" after NAME. */
unsigned index_owner(const struct index *index, struct bytes filter);

/* Where a filter is in a table by name, it is found by its id as well, if this is the hash. */
uint32_t index_name_hash(const struct index *index, struct bytes name);

static inline uint32_t index_id_hash(uint64_t filter_id)
{
    return (uint32_t)(filter_id >> 32);
}

static inline uint32_t index_id_number(uint64_t filter_id)
{
    return (uint32_t)filter_id;
}

/* ---- changes; on the owner's thread. `self` is the owner; `target` the one that has subscribers.
 */

/* The target has subscribers for the plain filter from now on: every match that begins after the
 * return sees it. *filter_id: the same for all shards while the filter exists; its upper half is
 * index_name_hash(), the lower never 0, and not reused before 2^32 others. *text, unless NULL: the
 * filter's text in the index, which the shard may read until it has it removed. Adding twice is
 * fine. */
NODISCARD enum index_err index_add(struct index *index, unsigned self, struct bytes filter,
                                   unsigned target, uint64_t *filter_id, const uint8_t **text);
/* `filter` may be its text in the index. */
void index_remove(struct index *index, unsigned self, struct bytes filter, unsigned target);

/*
 * One member of a shared-subscription group: a session's subscription to "$share/NAME/FILTER".
 * Created by the session's shard, handed to the owner to join and leave; freed by the index,
 * after_quiescent(), once it has left (index_destroy() frees those that are still in).
 */
struct share_member {
    uint64_t subscription_id; /* unique, not 0 */
    uint64_t client_hash;     /* of the client identifier, for hash strategies' stability */
    uint32_t shard;
    _Atomic uint8_t online; /* written by `shard`, read by all, relaxed: 1 while connected */

    /* The index's own: where it is. */
    uint32_t place;
    struct share_group *group; /* NULL: it has not joined */

    bool kept; /* its session is, or was: set before it joins */

    /* `shard`'s own (route/local.c). */
    struct table_link by_id;
    struct subscription *subscription; /* NULL once it has left */
};

NODISCARD enum index_err index_share_join(struct index *index, unsigned self,
                                          struct bytes share_name, struct bytes filter,
                                          struct share_member *member, uint64_t *group_id);
/* Takes the member out, if it could join, and frees it when nobody reads it any longer. */
void index_share_leave(struct index *index, unsigned self, struct share_member *member);

/* ---- matching; on any shard's thread, between two of its quiescent points */

struct match_filter {
    uint64_t filter_id;
    uint64_t shards; /* bit per target that has subscribers; not 0 */
};

/* Scratch, owned by the caller's shard; grows to the largest match and is reused. */
struct match {
    struct match_filter *filters;
    size_t filter_count, filter_capacity;
    const struct share_group **groups;
    size_t group_count, group_capacity;
    size_t steps;            /* what it took, about: nodes visited, filters and groups found */
    struct match_walk *walk; /* the index's own: where a match has got to */
};

void match_init(struct match *m);
void match_fini(struct match *m);

/* All filters and groups that match the (valid) topic name; [MQTT-4.7.2-1] kept. The former content
 * of *m is dropped. INDEX_NO_MEMORY: the scratch could not grow. */
NODISCARD enum index_err index_match(const struct index *index, struct bytes topic,
                                     struct match *m);

/* The answer made of these, as index_match() would leave it; for match_cache. */
NODISCARD enum index_err match_set(struct match *m, const struct match_filter *filters,
                                   size_t filter_count, const struct share_group *const *groups,
                                   size_t group_count);

/*
 * What the answer for a topic depends on: it is the same while its version holds. To be taken
 * before the match. Counted up after a change can be read, and before what it replaced is retired.
 */
struct index_version {
    uint64_t own, wild; /* changes to filters of the topic's first level, and to "+/…" and "#" */
    uint32_t line;      /* where `own` is counted; several first levels share it */
};

struct index_version index_version(const struct index *index, struct bytes topic);
bool index_version_holds(const struct index *index, const struct index_version *version);

enum share_strategy {
    SHARE_ROUND_ROBIN,
    SHARE_RANDOM,
    SHARE_STICKY,
    SHARE_HASH_CLIENT,
    SHARE_HASH_TOPIC
};

struct share_choice {
    enum share_strategy strategy;
    unsigned self; /* the choosing shard; round robin and sticky keep their place per shard */
    uint64_t publisher_hash; /* of the publisher's client identifier */
    uint64_t topic_hash;
    uint64_t random; /* SHARE_RANDOM: fresh for each call */
    uint64_t except; /* a subscription_id that must not be chosen, 0: none */
    bool only_here;  /* members of this node's shards alone */
    bool here_first; /* another node's only if none of these is connected */
};

/* The member that gets the message: a connected one if there is any, else an offline one; NULL if
 * the group has none (but the excepted). Valid until the caller's next quiescent point. */
const struct share_member *share_pick(const struct share_group *group,
                                      const struct share_choice *how);

/* The one that share_pick() would give now; nobody's turn has come by it. */
const struct share_member *share_foresee(const struct share_group *group,
                                         const struct share_choice *how);

/* How many there are, and are connected; false: there are more, which were not looked at. */
#define SHARE_COUNTED_MAX 4096u
bool share_count(const struct share_group *group, uint32_t *members, uint32_t *online);

uint64_t share_group_id(const struct share_group *group);

/* A member that is of the caller's shard and has not left it; NULL: there is none. Its cost grows
 * with the members. */
const struct share_member *share_member_of(const struct share_group *group, unsigned shard);
bool share_keeps(const struct share_group *group);          /* may a member's session be kept? */
uint64_t share_group_name(const struct share_group *group); /* share_name_hash() of it */
bool share_is(const struct share_group *group, struct bytes share_name, struct bytes filter);

/* ---- figures; any thread, eventually exact */
uint64_t index_filter_count(const struct index *index);
uint64_t index_bytes(const struct index *index); /* memory held, subscribers not included */
