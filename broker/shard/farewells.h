/* SPDX-License-Identifier: Apache-2.0 */
/*
 * farewells: a shard's part of a drain (broker/drain.h): it lets nobody in any more, and tells as
 * many clients to go as main allows all shards together, those first who have been there longest.
 * Their wills are published, as there are others still.
 *
 * Owner: the shard.
 */
#pragma once

struct shard;

/* Once a turn. Costs a load while there is no drain. */
void farewells_turn(struct shard *s);
