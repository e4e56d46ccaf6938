/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_hash: what a partition's records come to, as a number that all nodes that have it
 * should have: for tests, the simulator, and who wants to know whether two nodes agree. Nothing but
 * tests calls it yet.
 *
 * Of a session: all that the next process makes of it. That is less than what its records say, as
 * those of a capture and those of apply.h may differ in what nobody asks for:
 *   - the numbers of bodies are each node's own: their bytes count;
 *   - of what was sent, only whether a delivery that is there was;
 *   - what was released is a number;
 *   - by which shared subscription a delivery came is known to a capture only while the session has
 *     joined it: it is left out;
 *   - packet identifiers that were received are a set;
 *   - nothing counts that is of a session which is not there: it was ended while it was captured.
 *
 * What is beside sessions (apply_beside()) has a hash of its own, as captures do not write it.
 *
 * Reads all of it: seconds, for a million deliveries; on a thread that may wait. Nothing may change
 * the partition meanwhile. Memory: some 100 KiB.
 */
#pragma once

#include <stdint.h>

#include "broker/store/records.h"
#include "proto/nodiscard.h"

struct partition_hash {
    uint64_t sessions_hash, beside_hash;
    uint64_t sessions, filters, deliveries, origins, wills; /* how many */
};

/* CHECKPOINT_CORRUPT also of a record that cannot be read, and a body that is not there. */
NODISCARD enum checkpoint_err partition_hash(const struct records *records, unsigned partition,
                                             struct partition_hash *out);
