/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial: the numbers that name a kept session, and the body of a message, on disk. Those of a
 * partition that several nodes have are unique in the cluster for ever, and begin with the
 * partition: so what belongs to one lies together in the checkpoint, and is read, sent and erased
 * by a prefix of its keys.
 *
 *   session       0 (8 bits)              │ counter of this node                 of this node alone
 *                 partition + 1 (8 bits)  │ term (24) │ counter (32)
 *   exchange and will of such a session: from the same counter, so that they grow
 *   body          0 (8 bits)              │ counter of this node                 by difference.h
 *                 partition + 1 (8 bits)  │ 0 │ index of its entry (55)          by apply.h
 *                 partition + 1 (8 bits)  │ 1 │ which one of a copy (55)         by
 * partition_copy.h
 *
 * A body has a number on its own node only. An index is one entry's, so that an entry that is
 * applied twice finds its body; and none of the three can give out another's number.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/record_key.h"

#define SERIAL_PARTITIONS  64u /* of sessions; more than that is none */
#define SERIAL_INDEX_MAX   (((uint64_t)1 << 55) - 1)
#define SERIAL_LOCAL_BELOW ((uint64_t)1 << 56)

#define SERIAL_COPIED ((uint64_t)1 << 55) /* of a body */

/* partition < SERIAL_PARTITIONS. Of the term its low 24 bits are in it: a group would need as many
 * elections before one came again. */
static inline uint64_t serial_make(unsigned partition, uint64_t term, uint32_t counter)
{
    return ((uint64_t)partition + 1) << 56 | (term & 0xffffff) << 32 | counter;
}

/* 0: of this node alone; else 1 + the partition. */
static inline unsigned serial_owner(uint64_t serial)
{
    return (unsigned)(serial >> 56);
}

/* Not of a partition that others have, too. */
static inline bool serial_is_local(uint64_t serial)
{
    return serial < SERIAL_LOCAL_BELOW;
}

/* Of a serial number, or of a body's; SERIAL_PARTITIONS: of none. */
static inline unsigned serial_partition(uint64_t serial)
{
    const unsigned top = (unsigned)(serial >> 56);
    return top >= 1 && top <= SERIAL_PARTITIONS ? top - 1 : SERIAL_PARTITIONS;
}

static inline uint32_t serial_term(uint64_t serial)
{
    return (uint32_t)(serial >> 32) & 0xffffff;
}

static inline uint32_t serial_counter(uint64_t serial)
{
    return (uint32_t)serial;
}

/* number: 1..SERIAL_INDEX_MAX */
static inline uint64_t serial_body_of_entry(unsigned partition, uint64_t index)
{
    return ((uint64_t)partition + 1) << 56 | index;
}

static inline uint64_t serial_body_of_copy(unsigned partition, uint64_t number)
{
    return ((uint64_t)partition + 1) << 56 | SERIAL_COPIED | number;
}

/* What the keys of that letter begin with that are of the partition. */
static inline struct record_key serial_prefix(char letter, unsigned partition)
{
    return (struct record_key){.at = {(uint8_t)letter, (uint8_t)(partition + 1)}, .len = 2};
}
