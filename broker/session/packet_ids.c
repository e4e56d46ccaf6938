/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/packet_ids.h"

#include <assert.h>
#include <stdlib.h>

#define CAPACITY_MIN 8u

/* Identifiers mostly count up, so their low bits spread them well. */
static uint32_t slot_of(const struct packet_ids *set, uint16_t packet_id)
{
    uint32_t i = packet_id & (set->capacity - 1);
    while (set->slots[i] != 0 && set->slots[i] != packet_id) {
        i = (i + 1) & (set->capacity - 1);
    }
    return i;
}

void packet_ids_fini(struct packet_ids *set)
{
    free(set->slots);
    *set = (struct packet_ids){0};
}

static bool grow(struct packet_ids *set)
{
    struct packet_ids larger = {
        .capacity = set->capacity == 0 ? CAPACITY_MIN : set->capacity * 2,
        .count = set->count,
    };
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (larger.slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < set->capacity; i++) {
        if (set->slots[i] != 0) {
            larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
        }
    }
    free(set->slots);
    *set = larger;
    return true;
}

enum packet_ids_err packet_ids_add(struct packet_ids *set, uint16_t packet_id)
{
    assert(packet_id != 0);

    if (packet_ids_has(set, packet_id)) {
        return PACKET_IDS_KNOWN;
    }
    if (set->count * 2 >= set->capacity && !grow(set)) {
        return PACKET_IDS_NO_MEMORY;
    }
    set->slots[slot_of(set, packet_id)] = packet_id;
    set->count++;
    return PACKET_IDS_OK;
}

bool packet_ids_has(const struct packet_ids *set, uint16_t packet_id)
{
    return set->count > 0 && set->slots[slot_of(set, packet_id)] == packet_id;
}

bool packet_ids_remove(struct packet_ids *set, uint16_t packet_id)
{
    if (!packet_ids_has(set, packet_id)) {
        return false;
    }
    const uint32_t mask = set->capacity - 1;
    uint32_t hole = slot_of(set, packet_id);
    /* Close the hole: an identifier behind it moves up, unless its own place lies after the hole.
     */
    for (uint32_t i = (hole + 1) & mask; set->slots[i] != 0; i = (i + 1) & mask) {
        const uint32_t home = set->slots[i] & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            set->slots[hole] = set->slots[i];
            hole = i;
        }
    }
    set->slots[hole] = 0;
    set->count--;
    return true;
}
