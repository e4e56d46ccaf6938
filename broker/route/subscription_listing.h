/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscription_listing: who of a shard subscribes to what, a page at a time, for a thread that is
 * no shard's: the subscriptions of one session, of one filter, or all that match a topic (of a
 * shared subscription: all members, one of whom gets a message).
 *
 * A set of subscriptions is read from its end to its beginning: whoever leaves it has his place
 * taken by the last one, which has been read by then. So a subscription that stays from the first
 * page to the last is on one of them; on two, if others leave meanwhile.
 *
 * Owner: as an errand (shard/errand.h). Memory: the rows (shard/rows.h). In a turn
 * SUBSCRIPTIONS_STEPS subscriptions are looked at, and those filters that match the topic.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/errand.h"
#include "broker/shard/rows.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define SUBSCRIPTIONS_STEPS 512u

enum subscriptions_of { OF_SESSION, OF_FILTER, OF_TOPIC };

struct subscription_row {
    struct row row;      /* its texts: the client identifier, the filter */
    uint32_t identifier; /* 0: none */
    uint8_t qos;
    bool no_local, retain_as_published, connected;
};

struct subscription_listing {
    struct errand errand;
    enum subscriptions_of of;
    uint64_t place;  /* OF_TOPIC: where in the order of the filters' hashes to go on */
    uint64_t within; /* so many of the set are left; UINT64_MAX: all */
    bool ended;      /* there are no more on this shard */
    struct rows rows;
    size_t text_len;
    uint8_t text[]; /* the client identifier, filter, or topic name; valid */
};

NODISCARD struct subscription_listing *subscription_listing_create(enum subscriptions_of of,
                                                                   struct bytes text,
                                                                   uint64_t place, uint64_t within,
                                                                   uint32_t rows_max);
