/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busiest: the sessions of a shard that have the most of something: messages and bytes a second, or
 * what waits for them; for a thread that is no shard's.
 *
 * Rates are since a client was looked at BUSIEST_LOOK_MS ago or longer, the last time: two looks
 * are kept, so that who asks does not spoil it for who asks right afterwards. They mean little if
 * that was long ago, and `since_ms` tells. Who asks then asks again after BUSIEST_LOOK_MS.
 *
 * Owner: as an errand (shard/errand.h). Memory: `most` rows; and 48 bytes for each client that was
 * looked at. In a turn LISTING_STEPS buckets of the table of sessions are looked at, some tens of
 * microseconds: with a million sessions all of it takes two thousand turns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/conn/conn.h"
#include "broker/shard/errand.h"
#include "proto/nodiscard.h"

#define BUSIEST_MAX        100u
#define BUSIEST_LOOK_MS    1000u
#define BUSIEST_STALE_MS   10000u
#define BUSIEST_NAME_BYTES 256u

enum busiest_by {
    BUSIEST_MESSAGES, /* in and out, a second; so are the next ones */
    BUSIEST_MESSAGES_IN,
    BUSIEST_MESSAGES_OUT,
    BUSIEST_BYTES,
    BUSIEST_BYTES_IN,
    BUSIEST_BYTES_OUT,
    BUSIEST_QUEUED, /* deliveries that wait, on disk too */
    BUSIEST_OLDEST, /* how long the oldest has not been acknowledged */
    BUSIEST_UNSENT, /* bytes of output */
};

struct busy_row {
    double key;          /* what it is by */
    double per_s[FLOWS]; /* 0 while nobody is connected */
    uint64_t queued, queued_bytes, unsent_bytes;
    uint64_t oldest_ms; /* UINT64_MAX: nothing is there, or its age is not known */
    uint32_t in_flight;
    uint16_t name_len; /* of the client identifier, as far as it is here */
    bool connected;
    char address[CONN_ADDRESS_TEXT];
    uint8_t name[BUSIEST_NAME_BYTES];
};

/* Of a connection. */
struct flow_marks {
    struct flow_mark {
        uint64_t at_ms;
        uint32_t flow[FLOWS];
    } before, last; /* BUSIEST_LOOK_MS between them, or more */
};

struct busiest {
    struct errand errand;
    enum busiest_by by;
    uint32_t most;
    uint64_t place;
    uint64_t since_ms; /* when they were looked at before; 0: never */
    uint32_t count;
    struct busy_row rows[]; /* [0..count), a heap: at [0] the one with the least */
};

/* most: 1..BUSIEST_MAX. NULL: no memory. */
NODISCARD struct busiest *busiest_create(enum busiest_by by, uint32_t most);
