/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment: what a segment file begins with, and the seed of the records in it. Pure.
 *
 *    0  8 bytes   "dunlinjl"
 *    8  u32       format version
 *   12  u32       shard
 *   16  16 bytes  store id
 *   32  u64       number of the segment, from 1 on; the file's name has it too
 *   40  u64       lsn of its first record
 *   48  u64       number of the segment with the record before; 0: there is none
 *   56  u32       format of what its entries say; 0: 1, of when there was no other
 *   60  u32       CRC32C of all that
 *
 * Records follow at SEGMENT_HEAD_BYTES, without gaps. The head is written with the first of them,
 * in one go: a segment whose head is not there has not begun. Bytes behind the last record are of
 * no meaning; in a file that is used again they are old records.
 *
 * The first lsn says where the journal goes on: what the segments before have from that lsn on is
 * void (a torn end, or a batch whose write failed and was made again here). And since the head is
 * written when all records below that lsn are durable, they must be there. Numbers may be left out,
 * so the head says which segment is the one before.
 */
#pragma once

#include <stdint.h>

#include "proto/nodiscard.h"

#define SEGMENT_HEAD_BYTES     64u
#define SEGMENT_FORMAT         1u
#define SEGMENT_STORE_ID_BYTES 16u

/* What all segments of a journal have in common. The store id is random, and nobody's business: who
 * knows it could send a message that looks like a record. */
struct segment_owner {
    uint8_t store_id[SEGMENT_STORE_ID_BYTES];
    uint32_t shard;
    uint32_t entries_format; /* that it writes, and the latest that it reads: the caller's to count.
                                All entries of a segment have one. 0 is 1 */
};

enum segment_state {
    SEGMENT_BEGUN = 0,
    SEGMENT_NOT_BEGUN,    /* zeros, or the head of the older segment that the file was before */
    SEGMENT_DAMAGED,      /* neither: half written, or spoilt later */
    SEGMENT_WRONG_FORMAT, /* of a later version of Dunlin */
    SEGMENT_WRONG_STORE,
    SEGMENT_WRONG_SHARD,
    SEGMENT_WRONG_NUMBER, /* a file that was renamed: it says of itself that it is a later one */
};

struct segment_head {
    uint64_t number;         /* > 0 */
    uint64_t first_lsn;      /* > 0 */
    uint64_t previous;       /* < number */
    uint32_t entries_format; /* decode: > 0; encode: the owner's is taken */
};

void segment_head_encode(uint8_t out[SEGMENT_HEAD_BYTES], const struct segment_owner *owner,
                         const struct segment_head *head);

/* What the file named `number` is. Any bytes are fair input. *head is set when SEGMENT_BEGUN. */
NODISCARD enum segment_state segment_head_decode(const uint8_t in[SEGMENT_HEAD_BYTES],
                                                 const struct segment_owner *owner, uint64_t number,
                                                 struct segment_head *head);

/* For the records of that segment. Numbers of one journal that differ by less than 2^32 have
 * different seeds. */
uint32_t segment_seed(const struct segment_owner *owner, uint64_t number);
