/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored_message: an application message as bytes for the disk: a head of fixed size, then topic,
 * properties and payload as they lie in a struct message.
 *
 *   byte   0      1        2..3   4..7         8..15                  16..
 *          flags  version  topic  properties   expires, ms since      topic, properties, payload
 *                          (length)            1970; 0: never         (to the end)
 *
 * Of a retained message that is one of a cluster's, the version (cluster/replica) is in between:
 * 16..47, as stored_version_write() has it; a flag says so.
 *
 * Little-endian. Pure: no memory, no clock. Any bytes are fair input of stored_message_read().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/fields.h"
#include "proto/bytes.h"
#include "proto/node_retained.h"
#include "proto/nodiscard.h"

#define STORED_MESSAGE_HEAD    16u
#define STORED_MESSAGE_VERSION 1u
#define STORED_VERSION_BYTES   32u

struct stored_message {
    struct bytes topic, properties, payload; /* as struct message has them */
    uint8_t qos;                             /* 0..2 */
    bool retain;
    bool has_expiry;
    uint64_t expires_ms;             /* by the clock on the wall, since 1970; when has_expiry */
    struct retained_version version; /* stamp 0: it has none */
};

/* What comes before the version, topic, properties and payload. */
void stored_message_head(const struct stored_message *m, uint8_t out[STORED_MESSAGE_HEAD]);

void stored_version_write(struct field_writer *w, const struct retained_version *version);
struct retained_version stored_version_read(const uint8_t in[STORED_VERSION_BYTES]);

/* *m points into `in`; false: it is none, or of a later version. */
NODISCARD bool stored_message_read(struct bytes in, struct stored_message *m);
