/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/segment.h"

#include <assert.h>
#include <string.h>

#include "cluster/journal/crc32c.h"
#include "proto/little_endian.h"

enum place {
    MAGIC = 0,
    FORMAT = 8,
    SHARD = 12,
    STORE_ID = 16,
    NUMBER = 32,
    FIRST_LSN = 40,
    PREVIOUS = 48,
    ENTRIES_FORMAT = 56,
    SUM = 60,
};

static const uint8_t magic[FORMAT] = {'d', 'u', 'n', 'l', 'i', 'n', 'j', 'l'};
static const uint8_t zeros[SEGMENT_HEAD_BYTES];

void segment_head_encode(uint8_t out[SEGMENT_HEAD_BYTES], const struct segment_owner *owner,
                         const struct segment_head *head)
{
    assert(head->number > head->previous);
    assert(head->first_lsn > 0);

    memset(out, 0, SEGMENT_HEAD_BYTES);
    memcpy(out + MAGIC, magic, sizeof magic);
    put_u32(out + FORMAT, SEGMENT_FORMAT);
    put_u32(out + SHARD, owner->shard);
    memcpy(out + STORE_ID, owner->store_id, sizeof owner->store_id);
    put_u64(out + NUMBER, head->number);
    put_u64(out + FIRST_LSN, head->first_lsn);
    put_u64(out + PREVIOUS, head->previous);
    put_u32(out + ENTRIES_FORMAT, owner->entries_format);
    put_u32(out + SUM, crc32c(0, out, SUM));
}

static uint32_t at_least_1(uint32_t format)
{
    return format > 0 ? format : 1;
}

enum segment_state segment_head_decode(const uint8_t in[SEGMENT_HEAD_BYTES],
                                       const struct segment_owner *owner, uint64_t number,
                                       struct segment_head *head)
{
    if (memcmp(in, zeros, sizeof zeros) == 0) {
        return SEGMENT_NOT_BEGUN;
    }
    if (memcmp(in + MAGIC, magic, sizeof magic) != 0 || get_u32(in + SUM) != crc32c(0, in, SUM)) {
        return SEGMENT_DAMAGED;
    }
    if (get_u32(in + FORMAT) != SEGMENT_FORMAT ||
        at_least_1(get_u32(in + ENTRIES_FORMAT)) > at_least_1(owner->entries_format)) {
        return SEGMENT_WRONG_FORMAT;
    }
    if (memcmp(in + STORE_ID, owner->store_id, sizeof owner->store_id) != 0) {
        return SEGMENT_WRONG_STORE;
    }
    if (get_u32(in + SHARD) != owner->shard) {
        return SEGMENT_WRONG_SHARD;
    }
    if (get_u64(in + NUMBER) != number) {
        return get_u64(in + NUMBER) < number ? SEGMENT_NOT_BEGUN : SEGMENT_WRONG_NUMBER;
    }
    const struct segment_head found = {.number = number,
                                       .first_lsn = get_u64(in + FIRST_LSN),
                                       .previous = get_u64(in + PREVIOUS),
                                       .entries_format = at_least_1(get_u32(in + ENTRIES_FORMAT))};
    if (found.first_lsn == 0 || found.previous >= number) {
        return SEGMENT_DAMAGED; /* on purpose: the sum is right */
    }
    *head = found;
    return SEGMENT_BEGUN;
}

uint32_t segment_seed(const struct segment_owner *owner, uint64_t number)
{
    uint8_t text[12];
    put_u32(text, owner->shard);
    put_u64(text + 4, number);
    return crc32c(crc32c(0, owner->store_id, sizeof owner->store_id), text, sizeof text);
}
