/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_records: what the journals have of Raft groups, in memory from the start until each group
 * is opened; and what such a record is.
 *
 *   GROUP_RECORD, bytes of cluster/consensus
 *   GROUP_AGAIN    from here on all of it is written again,
 *   GROUP_WHOLE    and that is complete now: what is before GROUP_AGAIN is void
 *   GROUP_GIVEN_UP or not: what is from GROUP_AGAIN on is void
 *
 * After a crash between the two the former records are in force, and the start writes
 * GROUP_GIVEN_UP. The home of a group follows from the number of shards: so its records may be in
 * several journals, and their indexes are in order across them.
 *
 * Owner: main, until shards run; then a partition's are its shard's alone. Memory: what is not
 * void.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/journal/record.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* Of each record the first byte. On disk: they stay. */
enum group_record_kind {
    GROUP_RECORD = 0,
    GROUP_AGAIN = 1,
    GROUP_WHOLE = 2,
    GROUP_GIVEN_UP = 3,
};

struct group_record {
    struct group_record *next;
    uint64_t index;
    unsigned shard; /* whose journal has it */
    size_t len;
    uint8_t bytes[]; /* its kind first */
};

struct group_run {
    struct group_record *first, *last;
    struct group_record **behind; /* where the last one was put in; NULL: nowhere */
    uint64_t from;     /* index of GROUP_AGAIN, of what is complete; lower ones are void */
    uint64_t highest;  /* of all that there were, void ones included */
    uint64_t journals; /* shards, 1 << id, whose journals have some */
};

struct group_records {
    struct group_run of[RECORD_PARTITIONS];
    size_t largest; /* body, of all */
    uint64_t count; /* that were added */
};

struct group_records *group_records_create(void);    /* NULL: no memory */
void group_records_destroy(struct group_records *r); /* NULL is fine */

/* Of that shard's journal; of each journal in order. false: no memory, or it is none that is known
 * (*is_unknown). */
NODISCARD bool group_records_add(struct group_records *r, unsigned shard,
                                 const struct record *record, bool *is_unknown);

/* All journals are read: what is left is in force, and of GROUP_RECORD alone. false: it ended in
 * between, so that GROUP_GIVEN_UP has to be written first. */
bool group_run_settle(struct group_run *run);

/* Shards, 1 << id, whose journals have something that is in force, or may be. */
uint64_t group_run_journals(const struct group_run *run);
void group_run_clear(struct group_run *run);
