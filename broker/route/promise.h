/* SPDX-License-Identifier: Apache-2.0 */
/*
 * promise: what a shard has to tell others when it has on disk what they sent it.
 *
 *   A: publish_route(), ticket 7 ── POST_DELIVER, 7 ──▶ B: queues it, entries, promise 7
 *   A: acknowledges (conn/owed.h) ◀── POST_KEPT, 7 ─── B: ledger_kept() is there
 *
 * Tickets count up, and mail keeps its order, so that one answer is for all up to it. So is a
 * retained message stored for good when its entry is.
 *
 * Owner: the shard that promises. Memory: one item for each shard and turn, and for each retained
 * message, that is not kept yet.
 */
#pragma once

#include <stdint.h>

#include "broker/route/publish.h"
#include "broker/shard/post.h"

struct shard;

/* The message that is being routed has to be kept by that target as well: s->route_waits. Returns
 * its ticket. */
uint64_t promise_wait_for(struct shard *s, unsigned target);

/* All that the shard `from` (or this one) has sent up to the ticket was dealt with here. */
void promise_ticket(struct shard *s, unsigned from, uint64_t ticket);

/* The job's message was stored, or deleted, here. Its shard is told when it is for good. */
void promise_retain(struct shard *s, unsigned from, struct retain_job *job,
                    enum retain_result result);

void promise_end_turn(struct shard *s); /* before the turn's entries are written */
void promise_settle(struct shard *s);   /* tells what has become true */
bool promise_is_none(const struct shard *s);

extern post_fn promise_on_kept; /* POST_KEPT */
