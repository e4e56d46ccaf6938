/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listing: the sessions of a shard, and the connections that they have, a page at a time, for a
 * thread that is no shard's.
 *
 * The pages are in the order of the table's places (table_walk()), which is nobody's order but
 * stays the same while sessions come and go: one that is there from the first page to the last is
 * on one of them, and on no other; one that comes or goes meanwhile may be on one or not.
 *
 * Owner: as an errand (shard/errand.h). Memory: the rows (shard/rows.h). In a turn LISTING_STEPS
 * buckets are looked at, some tens of microseconds, and LISTING_STEPS_MAX in all: a page may have
 * fewer rows than were asked for, and there be a next one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/config/address_ranges.h"
#include "broker/conn/conn.h"
#include "broker/shard/errand.h"
#include "broker/shard/rows.h"
#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define LISTING_BYTES       (256u << 10)
#define LISTING_PATTERN_MAX 128u /* bytes: what a comparison takes grows with them */
#define LISTING_STEPS       512u
#define LISTING_STEPS_MAX   (LISTING_STEPS * 256u)

enum listing_state { LISTING_ALL, LISTING_CONNECTED, LISTING_AWAY };

/* Which sessions. The texts are borrowed by listing_create(), which copies them. */
struct listing_filter {
    enum listing_state state;
    struct bytes client_id; /* may have * (any characters) and ? (one); at NULL: any */
    struct bytes user;      /* of those that are connected; at NULL: any */
    bool has_address;
    struct address_range address; /* likewise */
    int listener;                 /* likewise; -1: any */
};

struct session_row {
    struct row row; /* its texts: the client identifier, the user name */
    bool has_user;

    /* the session */
    bool kept, has_will;
    uint32_t expiry_s;
    uint64_t ends_ms; /* the shards' clock; UINT64_MAX: not by time */
    uint32_t subscriptions;
    uint64_t queued, queued_bytes;  /* that wait, on disk too */
    uint32_t in_flight, unreleased; /* to the client; QoS 2 from it */

    /* the connection */
    bool connected;
    uint8_t version; /* enum mqtt_version */
    uint8_t listener;
    uint64_t since_ms;
    uint32_t keep_alive_ms, receive_maximum, packet_bytes_max;
    uint64_t unsent_bytes;
    char address[CONN_ADDRESS_TEXT];
    bool far; /* it comes by another node, whose name this is: */
    uint8_t node_len;
    uint8_t node[NODE_NAME_MAX];
};

struct listing {
    struct errand errand;
    struct listing_filter filter;
    bool is_one;    /* it is asked for the session of filter.client_id, literally */
    uint64_t place; /* where to go on */
    bool ended;     /* there are no more on this shard */
    uint32_t steps;
    struct rows rows; /* struct session_row */
    uint8_t *text;    /* of the filter */
};

/* Of those at or after `place`, 0 for the first. NULL: no memory. */
NODISCARD struct listing *listing_create(const struct listing_filter *filter, uint64_t place,
                                         uint32_t rows_max);

/* That session: one row, or none. */
NODISCARD struct listing *listing_create_one(struct bytes client_id);

bool listing_matches(struct bytes pattern, struct bytes text); /* with * and ? */
