/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/record.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "cluster/journal/crc32c.h"
#include "cluster/journal/segment.h"
#include "tests/unit/route/random.h"

#define SEED 0x12345678u

/* RFC 3720, B.4, and the one that everybody has. */
static const struct {
    const char *name;
    uint8_t first;
    int step;
    uint32_t sum;
} vectors[] = {
    {"zeros", 0, 0, 0x8a9136aa},
    {"ones", 0xff, 0, 0x62a8ab43},
    {"rising", 0, 1, 0x46dd794e},
    {"falling", 31, -1, 0x113fdb5c},
};

Test(crc32c, as_the_standard_has_it)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint8_t bytes[32];
        for (int k = 0; k < 32; k++) {
            bytes[k] = (uint8_t)(vectors[i].first + k * vectors[i].step);
        }
        cr_expect_eq(crc32c(0, bytes, sizeof bytes), vectors[i].sum, "%s", vectors[i].name);
        cr_expect_eq(crc32c_table(0, bytes, sizeof bytes), vectors[i].sum, "%s", vectors[i].name);
    }
    cr_expect_eq(crc32c(0, "123456789", 9), 0xe3069283);
    cr_expect_eq(crc32c(7, "", 0), 7);
}

Test(crc32c, instruction_and_table_agree_wherever_it_begins_and_ends)
{
    struct random r = random_init();
    uint8_t bytes[128];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)random_next(&r);
    }
    for (size_t from = 0; from < 16; from++) {
        for (size_t len = 0; from + len <= sizeof bytes; len++) {
            const uint32_t seed = (uint32_t)random_next(&r);
            const uint32_t sum = crc32c(seed, bytes + from, len);
            cr_assert_eq(sum, crc32c_table(seed, bytes + from, len), "%zu, %zu", from, len);
            const size_t cut = random_below(&r, (uint32_t)len + 1);
            cr_assert_eq(sum,
                         crc32c(crc32c(seed, bytes + from, cut), bytes + from + cut, len - cut));
        }
    }
}

/* A record with `len` bytes of body, sealed. Its size. */
static size_t make(uint8_t *out, struct record *r, size_t len)
{
    *r = (struct record){.lsn = 0x0102030405060708,
                         .batch = 0x0102030405060701,
                         .index = 77,
                         .body = bytes_of(out + RECORD_HEAD_BYTES, len),
                         .partition = 63,
                         .kind = RECORD_ENTRY};
    memset(out, 0, record_size(len));
    record_head_encode(out, r);
    memset(out + RECORD_HEAD_BYTES, 0xab, len);
    record_seal(out, SEED);
    return record_size(len);
}

static bool same(const struct record *a, const struct record *b)
{
    return a->lsn == b->lsn && a->batch == b->batch && a->index == b->index &&
           a->partition == b->partition && a->kind == b->kind && bytes_equal(a->body, b->body);
}

Test(record, is_decoded_as_it_was_encoded)
{
    for (size_t len = 0; len < 40; len++) {
        uint8_t out[128];
        struct record r, again;
        const size_t size = make(out, &r, len);
        cr_assert_eq(size % RECORD_ALIGNMENT, 0);
        cr_assert(size >= RECORD_HEAD_BYTES + len && size < RECORD_HEAD_BYTES + len + 8);
        cr_assert_eq(record_decode(&again, out, size, SEED), RECORD_OK);
        cr_assert(same(&r, &again), "%zu", len);
        cr_assert_eq(record_peek(&again, out), size);
        cr_assert(same(&r, &again), "%zu", len);
    }
}

/* The format on disk: a change of it needs another version. */
Test(record, has_its_fields_where_the_header_says)
{
    static const uint8_t want[48] = {/* sums */ 0,      0,   0,   0, 0, 0, 0, 0,
                                     /* length */ 3,    0,   0,   0,
                                     /* partition */ 5, 0,
                                     /* kind */ 1,
                                     /* version */ 1,
                                     /* lsn */ 9,       0,   0,   0, 0, 0, 0, 0,
                                     /* batch */ 8,     0,   0,   0, 0, 0, 0, 0,
                                     /* index */ 7,     1,   0,   0, 0, 0, 0, 0,
                                     /* body */ 'a',    'b', 'c', 0, 0, 0, 0, 0};
    uint8_t out[48] = {0};
    const struct record r = {.lsn = 9,
                             .batch = 8,
                             .index = 263,
                             .body = bytes_of("abc", 3),
                             .partition = 5,
                             .kind = RECORD_TRUNCATE};
    record_head_encode(out, &r);
    memcpy(out + RECORD_HEAD_BYTES, "abc", 3);
    cr_expect_eq(memcmp(out, want, sizeof want), 0);
    record_seal(out, 0);
    const uint32_t head = crc32c(0, want + 8, 32);
    uint8_t sum[4] = {(uint8_t)head, (uint8_t)(head >> 8), (uint8_t)(head >> 16),
                      (uint8_t)(head >> 24)};
    cr_expect_eq(memcmp(out + 4, sum, 4), 0);
    const uint32_t whole = crc32c(0, want + 8, 40);
    for (unsigned i = 0; i < 4; i++) {
        cr_expect_eq(out[i], (uint8_t)(whole >> (8 * i)));
    }
}

Test(record, with_any_bit_changed_is_not_good)
{
    uint8_t out[64];
    struct record r;
    const size_t size = make(out, &r, 13);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const bool in_head = bit / 8 >= 4 && bit / 8 < RECORD_HEAD_BYTES;
        cr_assert_eq(record_decode(&r, out, size, SEED), in_head ? RECORD_NONE : RECORD_BAD_BODY,
                     "bit %zu", bit);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(record_decode(&r, out, size, SEED), RECORD_OK);
}

Test(record, cut_off_is_not_good)
{
    uint8_t out[64];
    struct record r;
    const size_t size = make(out, &r, 13);
    for (size_t len = 0; len < size; len++) {
        uint8_t *exact = malloc(len + 1);
        memcpy(exact + 1, out, len);
        cr_assert_eq(record_decode(&r, exact + 1, len, SEED),
                     len < RECORD_HEAD_BYTES ? RECORD_NONE : RECORD_BAD_BODY, "%zu", len);
        free(exact);
    }
}

/* Right sums do not make good what no journal writes. */
Test(record, of_another_kind_version_or_partition_is_none)
{
    static const struct {
        size_t at;
        uint8_t value;
    } rows[] = {
        {12, RECORD_PARTITIONS}, {13, 1}, {14, RECORD_KINDS}, {15, 0}, {15, 2}, {24, 9}, {31, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[64];
        struct record r;
        const size_t size = make(out, &r, 5);
        out[rows[i].at] = rows[i].value;
        record_seal(out, SEED);
        if (rows[i].at == 31) { /* batch 0x01…: still below the lsn */
            cr_expect_eq(record_decode(&r, out, size, SEED), RECORD_OK);
        } else {
            cr_expect_eq(record_decode(&r, out, size, SEED), RECORD_NONE, "row %zu", i);
        }
    }
}

/* So what an older segment has left in a file is never taken for new. */
Test(record, is_valid_in_its_segment_only)
{
    const struct segment_owner owner = {.store_id = {1, 2, 3}, .shard = 4};
    uint8_t out[64];
    struct record r;
    const size_t size = make(out, &r, 9);
    for (uint64_t number = 1; number < 2000; number++) {
        record_seal(out, segment_seed(&owner, number));
        cr_assert_eq(record_decode(&r, out, size, segment_seed(&owner, number)), RECORD_OK);
        cr_assert_eq(record_decode(&r, out, size, segment_seed(&owner, number + 1)), RECORD_NONE);
        cr_assert_eq(record_decode(&r, out, size, segment_seed(&owner, number + 977)), RECORD_NONE);
    }
    struct segment_owner other = owner;
    other.shard = 5;
    cr_assert_neq(segment_seed(&owner, 1), segment_seed(&other, 1));
    other = owner;
    other.store_id[15] = 1;
    cr_assert_neq(segment_seed(&owner, 1), segment_seed(&other, 1));
}
