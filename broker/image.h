/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: a PUBLISH that many are to get, encoded once for all whose packet differs in the packet
 * identifier only.
 *
 * Owner: a shard. It is of one message at a time, between image_begin() and image_end(), within one
 * delivery. Memory: none but its own; a packet that is larger is encoded for each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mqtt.h"

#define IMAGE_BYTES_MAX 1024u

struct message;

struct image {
    const struct message *message; /* NULL: not in use; borrowed */
    enum mqtt_version version;
    uint8_t qos;
    bool retain;
    uint16_t len; /* 0: not encoded yet */
    uint16_t packet_id_at;
    uint8_t bytes[IMAGE_BYTES_MAX];
};

/* The message goes to several. */
void image_begin(struct image *image, const struct message *message);
void image_end(struct image *image);

/* Whether the image is of this packet, which has no properties but those of the message; encodes it
 * if need be. false: it is too large. */
bool image_is_of(struct image *image, const struct message *message, enum mqtt_version version,
                 uint8_t qos, bool retain);

/* Writes image->len bytes. */
void image_write(const struct image *image, uint16_t packet_id, uint8_t *out);
