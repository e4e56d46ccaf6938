/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origins: how far a partition has come with each source of messages, so that one that is sent
 * again, since nobody has heard that it arrived, is known for what it is.
 *
 * An operation has an origin and a number, which grows with each of that origin:
 *
 *   packet_id > 0, of a kept session   its QoS 2 messages: exchange
 *   packet_id = 0, of a kept session   its wills
 *   origin below SERIAL_LOCAL_BELOW    a node's stream of messages to partitions; packet_id is 0
 *
 * They are three kinds, as their numbers do not grow together. A message for very many sessions is
 * several entries of one operation; all but the last say so (ENTRY_MORE_FOLLOWS). A retained
 * message that is queued for a new subscription is of no operation: its entry must not have that of
 * the publish that stored it, as it has on a broker of its own.
 *
 *   o (partition + 1) KIND ORIGIN     its highest operation, whether that is whole; its last entry
 *   u (partition + 1) INDEX           the origin of that entry: the first is the one to be
 * forgotten u (partition + 1) 0               how many there are
 *
 * A repetition is what an entry says that is behind the one noted, of an operation that is not
 * above. An entry that is not behind it has been noted: it is none, and is read once more. So it
 * makes no difference whether the table is of the moment that the sessions are of, or of a later
 * one. It must not be of an earlier one than what is applied to it begins with.
 *
 * At the bound (ORIGINS_MAX) the one goes whose last entry is the oldest, repetitions included. So
 * it is those that were heard of last, whatever of the entries is noted twice.
 *
 * Pure, over records.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/records.h"
#include "proto/nodiscard.h"

#define ORIGINS_MAX 65536u /* of a partition */

/* In `queued.exchange` of an entry (store/entry.h) of a partition that several nodes have: further
 * entries have the rest of the operation's recipients. Its number is below that. */
#define ENTRY_MORE_FOLLOWS ((uint64_t)1 << 63)

enum origin_kind {
    ORIGIN_STREAM,
    ORIGIN_EXCHANGES,
    ORIGIN_WILLS,
    ORIGIN_KINDS,
};

struct operation {
    uint64_t origin;
    uint64_t number; /* above 0 */
    enum origin_kind kind;
    bool is_whole; /* no entry follows that is of it, too */
};

struct origin_record {
    uint64_t number; /* of the highest operation */
    uint64_t index;  /* of the last use: twice that of an entry, a repetition's, too, or one more */
    bool is_whole;
};

/* It is noted, of that entry; *seen: it is a repetition. `max`: ORIGINS_MAX, but in a test.
 * CHECKPOINT_CORRUPT: what is there cannot be read. */
NODISCARD enum checkpoint_err origins_note(const struct records *r, unsigned partition,
                                           uint64_t index, const struct operation *operation,
                                           uint64_t max, bool *seen);

/* What is noted of one; *is_there: there is something. */
NODISCARD enum checkpoint_err origins_find(const struct records *r, unsigned partition,
                                           enum origin_kind kind, uint64_t origin,
                                           struct origin_record *record, bool *is_there);

NODISCARD enum checkpoint_err origins_count(const struct records *r, unsigned partition,
                                            uint64_t *count);

/* One that another node has noted, put as it is: partition_copy.h's. It is not there yet; how many
 * there are is the caller's to say at the end. */
NODISCARD enum checkpoint_err origins_put(const struct records *r, unsigned partition,
                                          enum origin_kind kind, uint64_t origin,
                                          const struct origin_record *record);

/* No origin has that entry. */
NODISCARD enum checkpoint_err origins_is_free(const struct records *r, unsigned partition,
                                              uint64_t index, bool *is_free);
NODISCARD enum checkpoint_err origins_set_count(const struct records *r, unsigned partition,
                                                uint64_t count);

/* ---- keys and values, as bytes; any are fair input */

struct record_key origin_key(unsigned partition, enum origin_kind kind, uint64_t origin);
bool origin_key_read(const struct record_key *key, enum origin_kind *kind, uint64_t *origin);
NODISCARD bool origin_record_read(struct bytes in, struct origin_record *record);
