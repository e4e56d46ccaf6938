/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/record_key.h"

#include <criterion/criterion.h>

static const uint64_t numbers[] = {0,
                                   1,
                                   2,
                                   0xff,
                                   0x100,
                                   0xffff,
                                   0x10000,
                                   0x7fffffff,
                                   0x80000000,
                                   UINT32_MAX,
                                   1ull << 32,
                                   1ull << 63,
                                   0xff00000000000000,
                                   UINT64_MAX};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

static int compare(const struct record_key *a, const struct record_key *b)
{
    const int order = memcmp(a->at, b->at, a->len < b->len ? a->len : b->len);
    return order != 0 ? order : (int)a->len - (int)b->len;
}

/* As numbers are, so are the keys, as bytes. */
Test(record_key, order_is_that_of_the_numbers)
{
    for (size_t i = 0; i + 1 < NUMBERS; i++) {
        const struct record_key low = record_key_of('b', numbers[i]);
        const struct record_key high = record_key_of('b', numbers[i + 1]);
        cr_expect_lt(compare(&low, &high), 0, "%zu", i);
        for (size_t j = 0; j + 1 < NUMBERS; j++) {
            const struct record_key a = record_key_delivery(numbers[i], numbers[j]);
            const struct record_key b = record_key_delivery(numbers[i], numbers[j + 1]);
            const struct record_key last = record_key_delivery(numbers[i], UINT64_MAX);
            const struct record_key next = record_key_delivery(numbers[i + 1], 0);
            cr_expect_lt(compare(&a, &b), 0);
            cr_expect_lt(compare(&last, &next), 0);
        }
    }
}

Test(record_key, numbers_can_be_read_back)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        const struct record_key k = record_key_delivery(numbers[i], numbers[NUMBERS - 1 - i]);
        cr_expect_eq(record_key_number(record_key_bytes(&k), 1), numbers[i]);
        cr_expect_eq(record_key_number(record_key_bytes(&k), 9), numbers[NUMBERS - 1 - i]);
        cr_expect_eq(k.len, 17);
    }
}

/* What is of a session begins with the letter and its number: delete_prefix takes that and no more.
 */
Test(record_key, what_is_of_a_session_has_its_beginning)
{
    const struct record_key f = record_key_filter(7, bytes_text("a/#"));
    const struct record_key begins = record_key_of('f', 7);
    cr_expect_eq(f.len, RECORD_KEY_MAX);
    cr_expect_eq(memcmp(f.at, begins.at, begins.len), 0);
    const struct record_key other = record_key_filter(7, bytes_text("a/+"));
    cr_expect_neq(compare(&f, &other), 0);
}

/* They are on disk: the same name has the same key in every process and on every machine. */
Test(record_key, is_the_same_everywhere)
{
    static const uint8_t want[] = {'r',  0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                   0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
    const struct record_key k = record_key_retained(bytes_of(NULL, 0));
    cr_assert_eq(k.len, sizeof want);
    cr_expect_arr_eq(k.at, want, sizeof want);
    static const uint8_t session[] = {'s', 1, 2, 3, 4, 5, 6, 7, 8};
    const struct record_key s = record_key_of('s', 0x0102030405060708u);
    cr_expect_arr_eq(s.at, session, sizeof session);
}
