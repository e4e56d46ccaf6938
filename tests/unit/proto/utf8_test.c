/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/utf8.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/unit/proto/wire.h"

/* Bit by bit: the marks give the size, the rest the code point; is it one, and nothing shorter? */
static size_t oracle_character(const uint8_t *at, size_t left)
{
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
    const uint8_t first = at[0];
    const size_t size = first < 0x80             ? 1
                        : (first & 0xe0) == 0xc0 ? 2
                        : (first & 0xf0) == 0xe0 ? 3
                        : (first & 0xf8) == 0xf0 ? 4
                                                 : 0;
    if (size == 0 || size > left) {
        return 0;
    }
    uint32_t code = size == 1 ? first : first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < least[size] || surrogate || code > 0x10ffff ? 0 : size;
}

static bool oracle_valid(const uint8_t *at, size_t left)
{
    while (left > 0) {
        const size_t size = oracle_character(at, left);
        if (size == 0) {
            return false;
        }
        at += size;
        left -= size;
    }
    return true;
}

static void agree(const uint8_t *at, size_t len)
{
    if (utf8_valid(bytes_of(at, len)) != oracle_valid(at, len)) {
        cr_assert_fail("%zu bytes: %02x %02x %02x %02x", len, at[0], at[1], at[2], at[3]);
    }
}

Test(utf8, all_of_one_to_three_bytes)
{
    for (uint32_t i = 0; i < 1u << 24; i++) {
        const uint8_t at[4] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        agree(at, 3);
        if ((i & 0xff) == 0) {
            agree(at, 2);
        }
        if ((i & 0xffff) == 0) {
            agree(at, 1);
        }
    }
}

/* Of four bytes: all first and second ones, and all that differ in kind for the last two. */
Test(utf8, four_bytes)
{
    static const uint8_t kinds[] = {0x00, 0x01, 0x2f, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x9f,
                                    0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xed, 0xf0, 0xf4, 0xff};
    for (uint32_t i = 0; i < 1u << 16; i++) {
        for (size_t k = 0; k < sizeof kinds * sizeof kinds; k++) {
            const uint8_t at[4] = {(uint8_t)(i >> 8), (uint8_t)i, kinds[k / sizeof kinds],
                                   kinds[k % sizeof kinds]};
            agree(at, 4);
        }
    }
}

/* Eight bytes at a time or one: any byte at any place, among ASCII, is judged alike. */
Test(utf8, any_byte_at_any_place)
{
    for (size_t len = 1; len <= 33; len++) {
        for (size_t place = 0; place < len; place++) {
            for (unsigned byte = 0; byte <= 0xff; byte++) {
                uint8_t text[33];
                memset(text, place % 2 == 0 ? 0x7f : 0x01, sizeof text);
                text[place] = (uint8_t)byte;
                uint8_t *copy = wire_exact(text, len);
                const bool valid = utf8_valid(bytes_of(copy, len));
                free(copy);
                if (valid != (byte > 0 && byte < 0x80)) {
                    cr_assert_fail("%02x at %zu of %zu", byte, place, len);
                }
            }
        }
    }
}

/* A character that is cut off by the end is no character, wherever the end is. */
Test(utf8, cut_off)
{
    static const char text[] = "1234567\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa6";
    static const bool whole[] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1};
    for (size_t len = 0; len < sizeof text; len++) {
        uint8_t *copy = wire_exact((const uint8_t *)text, len);
        cr_expect_eq(utf8_valid(bytes_of(copy, len)), whole[len], "%zu", len);
        free(copy);
    }
}

Test(utf8, choices)
{
    cr_expect(utf8_valid(bytes_of(NULL, 0)));
    cr_expect(utf8_valid(bytes_text("\x01\x1f\x7f\xc2\x80\xc2\x9f")), "control characters");
    cr_expect(utf8_valid(bytes_text("\xef\xbf\xbf\xef\xb7\x90")), "noncharacters");
    cr_expect(utf8_valid(bytes_text("\xef\xbb\xbf")), "U+FEFF");
    cr_expect_not(utf8_valid(bytes_of("a\0b", 3)), "U+0000");
}
