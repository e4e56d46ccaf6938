/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame: the fixed header (2.1), judged byte by byte as it arrives.
 *
 * Memory: none; a frame points into the bytes it was taken from. Not a public header.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/cursor.h"
#include "proto/mqtt.h"
#include "proto/nodiscard.h"

struct frame {
    enum mqtt_type type;
    uint8_t flags;             /* the low four bits of the first byte; right for the type */
    bool shortest;             /* the remaining length came in its shortest form */
    bool from_server;          /* as in the params */
    enum mqtt_version version; /* as in the params; a CONNECT brings its own */
    uint32_t carrier;          /* the packet as a set of one, see proto/carrier.h */
    struct cursor body;        /* variable header and payload, all there */
    size_t size;               /* of the whole packet */
};

/*
 * Answers, and sets *used, as mqtt_decode() does: MQTT_OK once the whole packet is there. A wrong
 * first byte is told by that byte alone, a wrong or too large length with its last byte.
 */
NODISCARD enum mqtt_err frame_decode(struct frame *frame, const uint8_t *in, size_t in_len,
                                     const struct mqtt_params *params, size_t *used);

/* The first byte of a packet, for encoding; PUBLISH has its own flags, and adds them. */
uint8_t frame_first_byte(enum mqtt_type type);
