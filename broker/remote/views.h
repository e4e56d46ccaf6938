/* SPDX-License-Identifier: Apache-2.0 */
/*
 * views: what other nodes have subscribers for stands in this node's index, so that a message is
 * matched once for all.
 *
 *   shard 0: interest's events ── POST_PEER_ITEM ──▶ who writes that part: index_add(), …
 *            settle            ── POST_PEER_MARK ──▶ every shard: all before it is done
 *            interest_settled() ◀─ POST_PEER_MARKED ─┘
 *
 * A group has members of another node: as many as it says, VIEWS_MEMBERS_MAX at most, so that it is
 * chosen as often as its members should be. They have one subscription_id.
 */
#pragma once

#include "broker/shard/post.h"

#define VIEWS_MEMBERS_MAX 64u

extern post_fn views_on_item, views_on_mark, views_on_marked;
