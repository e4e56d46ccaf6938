/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share: the groups of shared subscriptions to one filter, and their members (4.8.2).
 *
 * A member keeps its place in the roster while it is in; who leaves, leaves a hole; a roster that
 * is full, or mostly holes, is replaced by a new one. So a member joins or leaves in constant time,
 * taken over all of them, and a reader never misses one that stays.
 *
 * Owner: the shard that writes the filter's part; all shards read, and pick. Each shard keeps its
 * place in the group in a cache line of its own, which nobody else touches. Memory: the group, 64
 * bytes per shard; 16 to 64 bytes per member, the member itself not included.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct filter;
struct quiescence;
struct share_cursor;
struct share_member;
struct share_roster;

struct share_group {
    _Atomic(struct share_group *) next;    /* of the same filter; release, acquire */
    _Atomic(struct share_roster *) roster; /* never NULL once it can be read; release, acquire */
    struct share_cursor *cursors;          /* [shard]; each read and written by that shard only */
    _Atomic bool kept; /* some member is, or was; written by the owner, relaxed */
    uint64_t id;
    unsigned shards;

    /* The owner's; strangers choose how many groups a filter has. */
    struct table_link by_name;    /* in part.groups, while it is linked */
    struct share_group *previous; /* of the same filter; NULL: the first */
    struct filter *filter;

    uint16_t name_len;
    uint8_t name[];
};

/* No members yet. NULL: out of memory. */
struct share_group *share_group_create(struct bytes name, uint64_t id, unsigned shards);
void share_group_destroy(struct share_group *group); /* with those members that are in */

NODISCARD bool share_group_join(struct share_group *group, struct share_member *member,
                                struct quiescence *q, unsigned self);
/* The member is in. It is retired. Returns how many are left. */
uint32_t share_group_leave(struct share_group *group, struct share_member *member,
                           struct quiescence *q, unsigned self);

/* A name for a group that outlives the process, as its id does not; not 0. */
uint64_t share_name_hash(struct bytes share_name, struct bytes plain_filter);

size_t share_group_bytes(const struct share_group *group);
