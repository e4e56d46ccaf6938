/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored_message: an application message as bytes for the disk: a head of fixed size, then topic,
 * properties and payload as they lie in a struct message.
 *
 *   byte   0      1        2..3   4..7         8..15                  16..
 *          flags  version  topic  properties   expires, ms since      topic, properties, payload
 *                          (length)            1970; 0: never         (to the end)
 *
 * Little-endian. Pure: no memory, no clock. Any bytes are fair input of stored_message_read().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define STORED_MESSAGE_HEAD    16u
#define STORED_MESSAGE_VERSION 1u

struct stored_message {
    struct bytes topic, properties, payload; /* as struct message has them */
    uint8_t qos;                             /* 0..2 */
    bool retain;
    bool has_expiry;
    uint64_t expires_ms; /* by the clock on the wall, since 1970; when has_expiry */
};

/* What comes before topic, properties and payload. */
void stored_message_head(const struct stored_message *m, uint8_t out[STORED_MESSAGE_HEAD]);

/* *m points into `in`; false: it is none, or of a later version. */
NODISCARD bool stored_message_read(struct bytes in, struct stored_message *m);
