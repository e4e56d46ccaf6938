/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/segment.h"

#include <string.h>

#include <criterion/criterion.h>

#include "cluster/journal/crc32c.h"

static const struct segment_owner owner = {.store_id = "0123456789abcde", .shard = 2};
static const struct segment_head head = {.number = 0x0203, .first_lsn = 300, .previous = 0x0201};

static void reseal(uint8_t *bytes)
{
    const uint32_t sum = crc32c(0, bytes, 60);
    for (unsigned i = 0; i < 4; i++) {
        bytes[60 + i] = (uint8_t)(sum >> (8 * i));
    }
}

Test(segment, is_decoded_as_it_was_encoded)
{
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    segment_head_encode(bytes, &owner, &head);
    struct segment_head again;
    cr_assert_eq(segment_head_decode(bytes, &owner, head.number, &again), SEGMENT_BEGUN);
    cr_expect_eq(again.number, head.number);
    cr_expect_eq(again.first_lsn, head.first_lsn);
    cr_expect_eq(again.previous, head.previous);
}

/* The format on disk. */
Test(segment, has_its_fields_where_the_header_says)
{
    static const uint8_t want[60] = "dunlinjl\1\0\0\0\2\0\0\0"
                                    "0123456789abcde\0"
                                    "\3\2\0\0\0\0\0\0\x2c\1\0\0\0\0\0\0\1\2\0\0\0\0\0\0";
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    segment_head_encode(bytes, &owner, &head);
    cr_expect_eq(memcmp(bytes, want, sizeof want), 0);
}

Test(segment, with_any_bit_changed_is_damaged)
{
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    segment_head_encode(bytes, &owner, &head);
    struct segment_head again;
    for (unsigned bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(segment_head_decode(bytes, &owner, head.number, &again), SEGMENT_DAMAGED,
                     "bit %u", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* Earlier ones are read, later ones not; and where none is said it is the first. */
Test(segment, says_which_format_its_entries_have)
{
    static const struct {
        uint32_t written, reads, found; /* 0: it is refused */
    } rows[] = {{0, 0, 1}, {0, 3, 1}, {1, 0, 1}, {1, 1, 1},
                {2, 3, 2}, {3, 3, 3}, {2, 0, 0}, {4, 3, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[SEGMENT_HEAD_BYTES];
        struct segment_head again = {0};
        struct segment_owner o = owner;
        o.entries_format = rows[i].written;
        segment_head_encode(bytes, &o, &head);
        o.entries_format = rows[i].reads;
        cr_expect_eq(segment_head_decode(bytes, &o, head.number, &again),
                     rows[i].found > 0 ? SEGMENT_BEGUN : SEGMENT_WRONG_FORMAT, "row %zu", i);
        cr_expect_eq(again.entries_format, rows[i].found, "row %zu", i);
    }
}

Test(segment, says_what_is_wrong)
{
    static const struct {
        const char *name;
        size_t at; /* where `value` is put, and the sum made right; 0: nothing is changed */
        uint8_t value;
        uint64_t number; /* of the file */
        enum segment_state state;
    } rows[] = {
        {"another version", 8, 2, 0x0203, SEGMENT_WRONG_FORMAT},
        {"another shard", 12, 3, 0x0203, SEGMENT_WRONG_SHARD},
        {"another store", 31, 1, 0x0203, SEGMENT_WRONG_STORE},
        {"it comes before itself", 48, 3, 0x0203, SEGMENT_DAMAGED},
        {"an older one, that the file was before", 0, 0, 0x0204, SEGMENT_NOT_BEGUN},
        {"a later one, so it was renamed", 0, 0, 0x0202, SEGMENT_WRONG_NUMBER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[SEGMENT_HEAD_BYTES];
        struct segment_head again;
        segment_head_encode(bytes, &owner, &head);
        if (rows[i].at > 0) {
            bytes[rows[i].at] = rows[i].value;
            reseal(bytes);
        }
        cr_expect_eq(segment_head_decode(bytes, &owner, rows[i].number, &again), rows[i].state,
                     "%s", rows[i].name);
    }
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    struct segment_head again;
    segment_head_encode(bytes, &owner, &head);
    bytes[40] = bytes[41] = 0;
    reseal(bytes);
    cr_expect_eq(segment_head_decode(bytes, &owner, head.number, &again), SEGMENT_DAMAGED,
                 "its first record has no number");
    memset(bytes, 0, sizeof bytes);
    cr_expect_eq(segment_head_decode(bytes, &owner, head.number, &again), SEGMENT_NOT_BEGUN);
}
