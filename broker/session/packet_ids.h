/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet_ids: the packet identifiers of the QoS 2 messages that a client has sent and not yet
 * released with PUBREL (4.3.3): a second PUBLISH under one of them is the same message.
 *
 * Owner: the session, hence its shard. Memory: one array that grows with the number of identifiers,
 * at most 256 KiB; none while the set is empty from the start.
 * At the bound: the caller compares packet_ids_count() with the receive maximum.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct packet_ids {
    uint16_t *slots;   /* open addressing; 0 is empty, as no identifier is */
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
};

enum packet_ids_err {
    PACKET_IDS_OK = 0,
    PACKET_IDS_KNOWN, /* it is in already */
    PACKET_IDS_NO_MEMORY,
};

void packet_ids_fini(struct packet_ids *set); /* empty again */

/* packet_id: 1..65535 */
NODISCARD enum packet_ids_err packet_ids_add(struct packet_ids *set, uint16_t packet_id);
bool packet_ids_remove(struct packet_ids *set, uint16_t packet_id); /* false: it was not in */
bool packet_ids_has(const struct packet_ids *set, uint16_t packet_id);

static inline uint32_t packet_ids_count(const struct packet_ids *set)
{
    return set->count;
}
