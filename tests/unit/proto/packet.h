/* SPDX-License-Identifier: Apache-2.0 */
/* packet: comparing packets, and making fair ones at random. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mqtt.h"

/* Do they say the same? `raw` for properties: the values follow from it. */
bool packet_equal(const struct mqtt_packet *a, const struct mqtt_packet *b);

#define PACKET_ARENA_BYTES 65536u

/* Same seed, same packets. */
struct packet_source {
    uint64_t state;                    /* of xorshift64; not 0 */
    uint8_t arena[PACKET_ARENA_BYTES]; /* holds what the last packet points to */
    size_t used;
};

/* PACKET_SEED of the environment, else the time; printed, so that a failure can be repeated. */
void packet_source_init(struct packet_source *source, const char *test);

uint32_t packet_random(struct packet_source *source, uint32_t below); /* 0..below - 1 */

/* A packet that this side may send in this version, good until the next call. */
void packet_next(struct packet_source *source, enum mqtt_version version, bool from_server,
                 struct mqtt_packet *packet);
