/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher: the facts about who publishes, as its shard has them; and which members of groups that
 * shard would choose. Where the publisher is not known, any shard tells of the groups.
 *
 * Owner: as an errand (shard/errand.h). It changes nothing: no member's turn has come by it.
 * Memory: itself and three texts. Cost: a match of the topic, as one message costs, and the members
 * of EXPLAIN_FILTERS_MAX groups, SHARE_COUNTED_MAX of each.
 */
#pragma once

#include "broker/explain/facts.h"
#include "broker/explain/subscriber.h"
#include "broker/shard/errand.h"
#include "proto/nodiscard.h"

struct explain_publishing {
    struct errand errand;
    struct explain_publisher found;                   /* the answer */
    struct explain_group groups[EXPLAIN_FILTERS_MAX]; /* those of `wanted` that are found */
    uint32_t groups_kept;
    enum config_strategy strategy;

    /* ---- its own */
    struct explain_question question;
    uint64_t wanted[EXPLAIN_FILTERS_MAX]; /* share_name_hash() */
    uint32_t wanted_count;
    uint8_t text[];
};

/* With the groups of the client's filters that match. */
NODISCARD struct explain_publishing *explain_publishing_create(const struct explain_question *q,
                                                               const struct explain_client *client);
