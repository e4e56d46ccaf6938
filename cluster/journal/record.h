/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record: one record of a journal as bytes. Pure: bytes in, struct out.
 *
 *    0  u32  sum of the head from 8 on, the body, and the zeros behind it
 *    4  u32  sum of the head from 8 on alone: whether these bytes are a head at all is known
 * without reading a body that may be long, or not there 8  u32  length of the body 12  u16
 * partition 14  u8   kind 15  u8   format version 16  u64  lsn: 1, 2, 3, … in the order in which
 * the records of a journal were appended 24  u64  batch: the lsn of the first record that was
 * written and synced together with this one 32  u64  index in its partition 40       the body, then
 * zeros up to a multiple of 8
 *
 * Little-endian. Both sums are CRC32C and begin with the seed of the segment that the record is in
 * (segment.h). No record is valid under another segment's seed: what is left in a file that is used
 * again is never taken for new, and not by chance only, since equal bytes have different sums under
 * different seeds.
 *
 * Why the batch is an lsn: a batch is written after the one before it is durable. So a record that
 * is of batch b says that all records below b once were durable, which is what tells damage from a
 * torn end (recover.h), exactly.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define RECORD_HEAD_BYTES 40u
#define RECORD_ALIGNMENT  8u
#define RECORD_FORMAT     1u
#define RECORD_PARTITIONS 66u /* client identifiers; retained messages; the cluster */
#define RECORD_BODY_MAX   (UINT32_MAX - RECORD_HEAD_BYTES - RECORD_ALIGNMENT)

/* Of each partition there are two runs of records, each with indexes of its own: its entries, and
 * what its Raft group keeps. */
#define RECORD_RUNS (2 * RECORD_PARTITIONS)

enum record_kind {
    RECORD_ENTRY = 0,
    RECORD_TRUNCATE =
        1,            /* entries of the partition from `index` on that stand before it are void */
    RECORD_GROUP = 2, /* of the partition's Raft group; no truncation is about it */
    RECORD_KINDS,
};

enum record_err {
    RECORD_OK = 0,
    RECORD_NONE,     /* no head of a record stands here */
    RECORD_BAD_BODY, /* a good head: all fields but the body are set; the body is cut off or wrong
                      */
};

struct record {
    uint64_t lsn;
    uint64_t batch; /* 1..lsn */
    uint64_t index;
    struct bytes body;       /* points into what was decoded */
    uint16_t partition;      /* < RECORD_PARTITIONS */
    uint8_t kind;            /* < RECORD_KINDS */
    uint32_t entries_format; /* of its segment, where a recovery hands it over */
};

/* The run of a kind that has an index of its own: not of a truncation, which is about entries. */
static inline unsigned record_run(uint8_t kind, uint16_t partition)
{
    return kind == RECORD_GROUP ? RECORD_PARTITIONS + partition : partition;
}

/* On disk, head and zeros included: a multiple of RECORD_ALIGNMENT. */
static inline size_t record_size(size_t body_len)
{
    return RECORD_HEAD_BYTES +
           (body_len + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
}

/* Writes the head but for the sums. r->body.len <= RECORD_BODY_MAX; r->body.at is not looked at:
 * body and zeros are the caller's to write, behind the head. */
void record_head_encode(uint8_t out[RECORD_HEAD_BYTES], const struct record *r);

/* Writes the sums of the record that begins at `at`, whole but for them. It may have had others. */
void record_seal(uint8_t *at, uint32_t seed);

/* Of a record that is known to be good. Its size. */
size_t record_peek(struct record *r, const uint8_t *at);

/*
 * Decodes what in[0..len) begins with. Any bytes are fair input. *r is set unless RECORD_NONE;
 * record_size(r->body.len) is what the record takes, or would.
 */
NODISCARD enum record_err record_decode(struct record *r, const uint8_t *in, size_t len,
                                        uint32_t seed);
