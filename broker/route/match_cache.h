/* SPDX-License-Identifier: Apache-2.0 */
/*
 * match_cache: what the index answered lately, per topic; a device publishes to the same few topics
 * all its life.
 *
 * An entry holds as long as nothing was added to or removed from the index that its topic could
 * match (index_version_holds()). Only answers of a few filters and groups are kept, and topics that
 * are not long; the others are looked up each time.
 *
 * Owner: a shard. Memory: 384 KiB, of which those pages are real that topics have been hashed to.
 * At the bound a newer topic takes the place of an older one with the same low bits of its hash.
 */
#pragma once

#include <stdint.h>

#include "broker/route/index.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct match_cache;

struct match_cache *match_cache_create(void); /* NULL when out of memory */
void match_cache_destroy(struct match_cache *cache);

/* As index_match(), and with the same answer. topic_hash: of the topic, any good one. */
NODISCARD enum index_err match_cached(struct match_cache *cache, const struct index *index,
                                      struct bytes topic, uint64_t topic_hash, struct match *m);
