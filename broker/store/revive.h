/* SPDX-License-Identifier: Apache-2.0 */
/*
 * revive: puts sessions and retained messages together again, from the checkpoint and from what the
 * journals have beyond it, before any shard runs.
 *
 *   revive_begin() ─▶ revive_checkpoint() ─▶ revive_entry() for each of each journal ─▶
 * revive_end()
 *
 * What is read changes the sessions themselves, by the functions that change them while the broker
 * runs; and notes in the difference what the checkpoint does not have. An entry that is read
 * although the checkpoint has it already changes nothing: deliveries are known by their numbers,
 * the rest is what it was said to be last.
 *
 * Owner: main, which is each shard in turn. Memory: an entry in a table for each session and each
 * body, until revive_end().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/checkpoint.h"
#include "broker/store/format.h"
#include "cluster/journal/record.h"
#include "proto/nodiscard.h"

struct node;
struct revival;

struct revived { /* what it came to */
    uint64_t sessions, deliveries, retained, entries;
    uint32_t message_bytes_max; /* of the largest message */
    /* Of each partition, and of each shard's retained: the index that the checkpoint has. */
    uint64_t applied[RECORD_PARTITIONS + STORE_JOURNALS_MAX];
};

struct revival *revive_begin(struct node *node); /* NULL: no memory */

/* CHECKPOINT_CORRUPT also when something in it cannot be understood. */
NODISCARD enum checkpoint_err revive_checkpoint(struct revival *r, struct checkpoint *cp);

/* An entry of that shard's journal. false: it is none that we know, or there is no memory:
 * revive_problem() says which. */
NODISCARD bool revive_entry(struct revival *r, unsigned shard, const struct record *record);
/* A record of a group, which node->group_records gets; likewise. */
NODISCARD bool revive_group(struct revival *r, unsigned shard, const struct record *record);
const char *revive_problem(const struct revival *r);

/* All stores are there: sessions wait for their clients from now on. */
void revive_end(struct revival *r);

const struct revived *revive_result(const struct revival *r);
void revive_free(struct revival *r); /* NULL is fine */

/* Where `applied` has it. */
static inline unsigned revive_place(unsigned shard, unsigned partition)
{
    return partition < STORE_RETAINED    ? partition
           : partition == STORE_RETAINED ? partition + shard
                                         : partition + STORE_JOURNALS_MAX - 1;
}
