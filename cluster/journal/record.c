/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/record.h"

#include <assert.h>
#include <stdbool.h>

#include "cluster/journal/crc32c.h"
#include "proto/little_endian.h"

enum place {
    SUM = 0,
    HEAD_SUM = 4,
    LENGTH = 8,
    PARTITION = 12,
    KIND = 14,
    FORMAT = 15,
    LSN = 16,
    BATCH = 24,
    INDEX = 32,
};

void record_head_encode(uint8_t out[RECORD_HEAD_BYTES], const struct record *r)
{
    assert(r->body.len <= RECORD_BODY_MAX);
    assert(r->partition < RECORD_PARTITIONS);
    assert(r->kind < RECORD_KINDS);
    assert(r->batch > 0 && r->batch <= r->lsn);

    put_u32(out + LENGTH, (uint32_t)r->body.len);
    put_u16(out + PARTITION, r->partition);
    out[KIND] = r->kind;
    out[FORMAT] = RECORD_FORMAT;
    put_u64(out + LSN, r->lsn);
    put_u64(out + BATCH, r->batch);
    put_u64(out + INDEX, r->index);
}

static uint32_t head_sum(const uint8_t *at, uint32_t seed)
{
    return crc32c(seed, at + LENGTH, RECORD_HEAD_BYTES - LENGTH);
}

/* Goes on from the head's. */
static uint32_t whole_sum(const uint8_t *at, size_t size)
{
    return crc32c(get_u32(at + HEAD_SUM), at + RECORD_HEAD_BYTES, size - RECORD_HEAD_BYTES);
}

void record_seal(uint8_t *at, uint32_t seed)
{
    put_u32(at + HEAD_SUM, head_sum(at, seed));
    put_u32(at + SUM, whole_sum(at, record_size(get_u32(at + LENGTH))));
}

size_t record_peek(struct record *r, const uint8_t *at)
{
    *r = (struct record){.lsn = get_u64(at + LSN),
                         .batch = get_u64(at + BATCH),
                         .index = get_u64(at + INDEX),
                         .body = bytes_of(at + RECORD_HEAD_BYTES, get_u32(at + LENGTH)),
                         .partition = get_u16(at + PARTITION),
                         .kind = at[KIND]};
    return record_size(r->body.len);
}

/* Cheapest first: it is asked of each eighth byte of a segment's rest. */
static bool is_head(const uint8_t *at, uint32_t seed)
{
    return at[FORMAT] == RECORD_FORMAT && at[KIND] < RECORD_KINDS &&
           get_u16(at + PARTITION) < RECORD_PARTITIONS && get_u32(at + LENGTH) <= RECORD_BODY_MAX &&
           get_u64(at + BATCH) > 0 && get_u64(at + BATCH) <= get_u64(at + LSN) &&
           get_u32(at + HEAD_SUM) == head_sum(at, seed);
}

enum record_err record_decode(struct record *r, const uint8_t *in, size_t len, uint32_t seed)
{
    if (len < RECORD_HEAD_BYTES || !is_head(in, seed)) {
        return RECORD_NONE;
    }
    const size_t size = record_peek(r, in);
    if (size > len || get_u32(in + SUM) != whole_sum(in, size)) {
        return RECORD_BAD_BODY;
    }
    return RECORD_OK;
}
