/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle: what the standard says about properties and reason codes, told once more and the other
 * way round, packet by packet; the tables of proto/ go property by property and code by code.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A place for properties: a packet from a side that may send it, or a will. */
struct oracle_place {
    const char *name;
    uint8_t type; /* enum mqtt_type */
    bool from_server;
    const char *wire; /* of tests/unit/proto/wire.h; '@' is where the properties go */
    uint8_t ids[20];  /* the properties that may stand there; 0 ends them */
};

extern const struct oracle_place oracle_places[];
extern const size_t oracle_places_count;

/* A fair value of each property, identifier included; NULL where there is no such property. */
const char *oracle_property(uint8_t id);

bool oracle_property_allowed(const struct oracle_place *place, uint8_t id);

/* May the property stand in the same packet when the other side sends it? */
bool oracle_property_others(const struct oracle_place *place, uint8_t id);

/* The packet at that place with these properties (of wire.h); returns its size. */
size_t oracle_packet(uint8_t *out, const struct oracle_place *place, const char *props);

/* May the packet (enum mqtt_type) from that side carry the code, in 5.0? */
bool oracle_reason_allowed(uint8_t reason, unsigned type, bool from_server);
