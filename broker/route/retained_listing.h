/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retained_listing: the retained messages of a shard's parts whose topics a filter matches, in the
 * order of their topics, a page at a time; or one of them. For a thread that is no shard's.
 *
 * A page goes on after the last topic of the one before: what stays from the first page to the last
 * is on one of them, and on no other.
 *
 * Owner: as an errand (shard/errand.h). Memory: the rows (shard/rows.h) and a topic; of one message
 * a reference, whoever sends the errand puts it. In a turn RETAINED_POSITIONS of the tree are
 * looked at, and RETAINED_POSITIONS_MAX in all: a page may have fewer rows than were asked for, and
 * there be a next one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/errand.h"
#include "broker/shard/rows.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define RETAINED_POSITIONS     2000u
#define RETAINED_POSITIONS_MAX (RETAINED_POSITIONS * 128u)
#define RETAINED_TOPIC_BYTES   65535u

struct message;

struct retained_row {
    struct row row; /* its first text: the topic */
    uint32_t payload_len;
    uint8_t qos;
    bool has_expiry;
    uint64_t expires_ms; /* the shards' clock */
};

struct retained_listing {
    struct errand errand;
    bool is_one;             /* `filter` is a topic: */
    struct message *message; /* a reference; NULL: there is none */
    bool ended;              /* there are no more on this shard */
    uint32_t positions;
    struct rows rows;
    uint8_t *filter; /* valid, no wildcard if is_one */
    size_t filter_len, after_len;
    uint8_t after[RETAINED_TOPIC_BYTES]; /* those after that topic; empty: from the beginning */
};

NODISCARD struct retained_listing *retained_listing_create(struct bytes filter, struct bytes after,
                                                           uint32_t rows_max);
NODISCARD struct retained_listing *retained_listing_create_one(struct bytes topic);
