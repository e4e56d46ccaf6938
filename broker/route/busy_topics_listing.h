/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busy_topics_listing: a shard's sketch of its busy topics, for a thread that is no shard's.
 *
 * Owner: as an errand (shard/errand.h). Memory: both windows' sketches, 76 KiB; done in one step,
 * some ten microseconds.
 */
#pragma once

#include "broker/route/busy_topics.h"
#include "broker/shard/errand.h"
#include "proto/nodiscard.h"

struct busy_topics_listing {
    struct errand errand;
    enum busy_by by;
    uint64_t ms;                    /* of so long */
    struct busy_sketch sketches[2]; /* of the current window, and of the one before it */
};

/* NULL: no memory. */
NODISCARD struct busy_topics_listing *busy_topics_listing_create(enum busy_by by);
