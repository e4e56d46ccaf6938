/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward: a message to other nodes; for broker/route/publish and broker/conn.
 *
 *   publisher's shard ─ forward_plain() ─▶ its lane's shard ══ PUBLISH, op 7 ══▶ the other node
 *   owed_kept(), a target as any other ◀─ POST_FORWARDED ◀══ RESULT, op 7 ══════ has kept it
 *   owed_refused()                      ◀─ POST_REFUSED   ◀══ RESULT, op 7, a reason
 *
 * The lane's shard is the publisher's own, unless the other node has fewer. An op is the how-manyth
 * message of that lane it is, so what is not answered is a queue. Of a message to a group each node
 * that is chosen is sent a frame of its own; where the group has nobody left there, or the node
 * dies, the shard of the lane gives it to another member.
 *
 * A node that is taken for dead is sent nothing, and nobody waits for it; should it come back, it
 * hears of a gap.
 *
 * Owner: the shard. Memory: an entry for each message of QoS 1 or 2 that is not answered; the link
 * bounds them (LINK_FULL).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/post.h"

struct due;
struct message;
struct share_group;
struct shard;

/* To the node's subscribers. It is one of s->route_waits then, if its answer is waited for. */
void forward_plain(struct shard *s, unsigned peer, struct message *m);

/* Does it live? If not, it has missed the message: should it come back, it hears of a gap. */
bool forward_lives(struct shard *s, unsigned peer, const struct message *m);
/* The same of what it was sent otherwise. */
void forward_missed(struct shard *s, unsigned peer);

/* In ms, of its interval; NODE_NO_EXPIRY (node_publish.h). */
uint64_t forward_expiry_left(const struct shard *s, const struct message *m);

uint32_t forward_living(const struct shard *s); /* the others, a bit each */

/* To a member of that group, on that node; due->except is the subscription_id of its members. */
void forward_group(struct shard *s, unsigned peer, struct message *m,
                   const struct share_group *group, const struct due *due);

/* Does one of these, a bit each, take so little that nobody may publish to it now? Those that do
 * not are taken out. */
bool forward_is_slow(const struct shard *s, uint32_t *peers);

extern post_fn forward_on_forward, forward_on_forwarded, forward_on_refused, forward_on_skipped;
