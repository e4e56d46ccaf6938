/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place: of a partition that several nodes have, how far this node's records of it have come: the
 * value of its key g, which is written with what it tells of, in one batch.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/fields.h"
#include "broker/store/record_key.h"

struct partition_place {
    uint64_t index;       /* of the last entry that is in them; 0: none */
    uint32_t incarnation; /* whose entries those are; 0: there are no records */
    uint64_t changed;     /* index in META of the last duty that was gone by; 0: none */
    uint64_t sealed;      /* partition_end(), if its last entry is that; 0: it goes on */
};

/* Where an incarnation ends, as META and others are told: term and index of the entry in one
 * number. */
static inline uint64_t partition_end(uint64_t term, uint64_t index)
{
    return (term & 0xffffff) << 40 | (index & 0xffffffffff);
}

static inline uint64_t partition_end_index(uint64_t end)
{
    return end & 0xffffffffff;
}

static inline uint64_t partition_end_term(uint64_t end)
{
    return end >> 40;
}

static inline struct record_key place_key(unsigned partition)
{
    return record_key_of('g', partition);
}

static inline void place_write(struct field_writer *w, const struct partition_place *place)
{
    put_number(w, place->index);
    put_number(w, place->incarnation);
    put_number(w, place->changed);
    put_number(w, place->sealed);
}

/* Any bytes are fair input. */
static inline bool place_read(struct bytes in, struct partition_place *place)
{
    struct field_reader f = {.rest = in};
    place->index = get_number(&f);
    place->incarnation = (uint32_t)get_number_to(&f, UINT32_MAX);
    place->changed = get_number(&f);
    place->sealed = get_number(&f);
    return fields_are_over(&f);
}
