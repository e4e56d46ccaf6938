/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: the retained messages that a new subscription is owed (3.3.1.3, 3.8.4), a batch at a
 * time: the next one is asked for when the session has room, so that a million of them neither fill
 * the queue nor are lost.
 *
 *   session's shard ── request: filter, cursor ──▶ shard that stores the topics
 *                   ◀── up to REPLAY_BATCH messages, new cursor, end? ──
 *
 * Owner: the session's shard; the request belongs to the shard that holds it. A filter that begins
 * with a wildcard asks every shard, one after the other. Memory: one request for each subscription
 * being replayed, and a batch for one of a session whose client is there. A session that is away
 * resumes when it is back.
 */
#pragma once

#include <stdbool.h>

#include "broker/route/local.h"
#include "broker/shard/post.h"
#include "proto/bytes.h"

struct session;

#define REPLAY_BATCH 64u

/* Begins one, for the session's plain subscription to the filter, for which none is under way
 * (replay_forget()). Without memory nothing is replayed: false. */
bool replay_start(struct session *session, const struct local_filter *f,
                  const struct subscribe_options *options);

/* Goes on, as far as the session has room. */
void replay_pump(struct session *session);

/* The client has gone: what was looked up for it takes no memory, and is looked up again when it is
 * back, since it may have been replaced, deleted, or expired meanwhile. */
void replay_rest(struct session *session);

/* The subscription is about to go, or all of them are. */
void replay_forget(struct session *session, const struct local_filter *f);
void replay_forget_all(struct session *session);

extern post_fn replay_on_request, replay_on_answer;
