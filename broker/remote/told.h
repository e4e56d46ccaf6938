/* SPDX-License-Identifier: Apache-2.0 */
/*
 * told: that the others know what this node's clients subscribe to; for broker/route/local.
 *
 *   a shard's first subscription ── POST_TELL ───▶ shard 0: interest_take()
 *   local_told()                 ◀── POST_TOLD ─── when each living node has it, or later
 *   its last one                 ── POST_UNTELL ─▶ interest_put()
 *
 * Half a second later, at most (interest.h).
 * So it is with each member of a group. Filters of the broker's own topics ($SYS/…) are told to
 * nobody: these are a node's own.
 *
 * Owner: the shard that calls. Memory: a record of each that is not answered.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/post.h"
#include "proto/bytes.h"

struct local_filter;
struct shard;
struct subscribe_job;

/* Who waits: a filter with its place in the index, or the job of a member. */
struct told {
    struct local_filter *filter; /* NULL: a member */
    uint64_t filter_id;
    const uint8_t *text; /* in the index */
    struct subscribe_job *job;
};

/* Are there others, who would be told? `name` is the whole, with $share. */
bool told_is_needed(const struct shard *s, struct bytes name);

/* It is in this node's index, and stays there until this is answered, as local_told() (local.h) is
 * called for it, later. */
void told_filter(struct shard *s, struct local_filter *f, uint64_t filter_id, const uint8_t *text);
void told_member(struct shard *s, struct bytes name, struct subscribe_job *job);

/* No more, of what was told before. */
void told_end(struct shard *s, struct bytes name);

extern post_fn told_on_tell, told_on_told, told_on_untell;
