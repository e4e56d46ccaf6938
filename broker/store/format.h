/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format: the number of what a data directory as a whole consists of: keys and records of the
 * checkpoint, and entries of the journals. The checkpoint has it, and so has each segment.
 *
 *   1   the first
 *   2   wills have numbers: entries WILL_DUE, WILL_GONE and WILL_RETAINED, and the key n, which the
 *       version before does not know; a delivery tells how large it is (session_record.h). What 1
 *       has is as it was, so that nothing has to be done
 *   3   retained messages of a cluster have versions: a flag of messages, the entry BURIED, and the
 *       keys t and h. A node that was never in a cluster writes none of them
 *
 *   4   Raft groups: records of them, and a partition 65, in the journals. A node that has no
 *       groups writes none of them
 *   5   partitions that several nodes have: sessions, deliveries and bodies with their serial
 *       numbers (serial.h), which the version before would take for its own; the keys g, w, o and
 *       u; of a session's record what the client has begun at QoS 2, which is left out where there
 *       is nothing. A node without cluster.replicas writes none of them
 *
 * A new number is for what the version before would misread, or not understand. The checkpoint gets
 * it with the first batch of a start (capture_first()), which has what is new in it; from then on
 * the version before refuses the directory. Not sooner: a start that fails, since a journal is
 * damaged or memory too small, has changed nothing, and the version before may be tried again.
 * Segments keep theirs, and are read by it (record.entries_format), since the process may end at
 * any moment between the one and the other; new segments have the new one.
 *
 * tests/e2e/fixtures has a backup of each format that there was, which a test starts on.
 */
#pragma once

#include <stdint.h>

#include "broker/store/checkpoint.h"
#include "cluster/journal/segment.h"

#define STORE_FORMAT        5u
#define STORE_FORMAT_OLDEST 1u /* that is read */

/* Partitions of the journal: sessions by their client identifiers, then: */
#define STORE_RETAINED 64u /* retained messages */
#define STORE_META     65u /* of the cluster: members and partitions; a group alone (broker/groups) */

/* Journals that a directory may have: as many as a version before had shards at most. Serial
 * numbers that are on disk are of that many, too. */
#define STORE_JOURNALS_MAX 64u

/* Of the shard's segments, in the store of that id. */
struct segment_owner format_owner(const uint8_t id[CHECKPOINT_ID_BYTES], uint32_t shard);
