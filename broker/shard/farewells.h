/* SPDX-License-Identifier: Apache-2.0 */
/*
 * farewells: a shard's part of a drain (broker/drain.h): it lets nobody in any more, and tells as
 * many clients to go as main allows all shards together, those first who have been there longest.
 * Their wills are published, as there are others still. A drain that is stopped lets them in again.
 *
 * And of a rebalancing (broker/rebalance.h): so many clients are told to go that lose nothing by
 * it: their sessions end with their connections, and nothing is under way to them.
 *
 * At 5.0 they hear that they are to use another server, if there are other nodes that take them.
 *
 * Owner: the shard.
 */
#pragma once

struct shard;

/* Once a turn. Costs two loads while there is nothing to do. */
void farewells_turn(struct shard *s);
