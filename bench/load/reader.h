/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader: finds the packets in what a broker sends, and in each the few things that a load
 * generator wants to know. Payloads are passed over, never gathered: of a PUBLISH only its
 * beginning is looked at, and it is told when its last byte has come.
 *
 * Owner: one connection. Memory: in place. At the bound: a packet other than PUBLISH, or the
 * beginning of a PUBLISH, of more than READER_HELD_MAX bytes is an error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/load/stamp.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"

#define READER_HELD_MAX 640u

struct arrival {
    enum mqtt_type type;
    uint8_t flags;        /* of the first byte */
    uint16_t packet_id;   /* 0 where there is none */
    uint8_t reason;       /* CONNACK, and acks that carry one */
    bool session_present; /* CONNACK */
    bool is_stamped;      /* PUBLISH: the payload was long enough for a stamp */
    struct stamp stamp;   /* then */
    struct bytes rest;    /* of SUBACK: properties and reason codes; until the next call */
};

struct reader {
    uint64_t body_left; /* bytes of a PUBLISH still to come after what was looked at */
    struct arrival pending;
    uint16_t held_len;
    uint8_t held[READER_HELD_MAX]; /* the beginning of a packet whose rest has not come */
};

enum reader_err {
    READER_PACKET = 0, /* *arrival is one */
    READER_MORE,       /* all of `in` was taken, and no further packet is complete */
    READER_BAD,        /* that is not MQTT, or too large to look at */
};

/* Takes one packet off the front of *in. */
enum reader_err reader_next(struct reader *r, struct bytes *in, enum mqtt_version version,
                            struct arrival *arrival);
