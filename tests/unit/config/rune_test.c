/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/rune.h"

#include <criterion/criterion.h>
#include <stdbool.h>

static size_t encode(uint32_t rune, uint8_t out[4])
{
    if (rune < 0x80) {
        out[0] = (uint8_t)rune;
        return 1;
    }
    const size_t n = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; rune >>= 6) {
        out[i] = (uint8_t)(0x80 | (rune & 0x3f));
    }
    out[0] = (uint8_t)((0xf0u << (4 - n)) | rune);
    return n;
}

/* All there are; and each is refused when it is cut short. */
Test(rune, every_character)
{
    for (uint32_t rune = 0; rune <= 0x10ffff; rune++) {
        uint8_t bytes[4];
        uint32_t got = 0x55555555;
        const size_t len = encode(rune, bytes);
        const bool surrogate = rune >= 0xd800 && rune <= 0xdfff;
        if (rune_decode(bytes, len, &got) != (surrogate ? 0 : len) || (!surrogate && got != rune)) {
            cr_assert(false, "U+%04X", rune);
        }
        for (size_t cut = 1; cut < len; cut++) {
            if (rune_decode(bytes, cut, &got) != 0) {
                cr_assert(false, "U+%04X cut to %zu", rune, cut);
            }
        }
    }
}

Test(rune, malformed)
{
    static const struct {
        uint8_t in[4];
        size_t len;
    } rows[] = {
        {{0x80}, 1},
        {{0xbf}, 1},
        {{0xc0, 0x80}, 2},
        {{0xc1, 0xbf}, 2},
        {{0xe0, 0x9f, 0xbf}, 3},
        {{0xf0, 0x8f, 0xbf, 0xbf}, 4},
        {{0xf4, 0x90, 0x80, 0x80}, 4},
        {{0xf8, 0x88, 0x80, 0x80}, 4},
        {{0xff}, 1},
        {{0xc3, 0x28}, 2},
        {{0xe2, 0x80, 0x28}, 3},
        {{0xfe, 0xbf}, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t rune;
        cr_expect_eq(rune_decode(rows[i].in, rows[i].len, &rune), 0, "%zu", i);
    }
}

Test(rune, unsafe)
{
    static const uint32_t unsafe[] = {0,      0x1f,   0x7f,   0x9f,   0x61c,
                                      0x200e, 0x2028, 0x202e, 0x2066, 0x2069,
                                      0xfeff, 0xfdd0, 0xfffe, 0xffff, 0x1fffe};
    static const uint32_t fine[] = {' ', '~', 0xa0, 0xe9, 0x2014, 0x4e2d, 0x1f600, 0xfffd};
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++) {
        cr_expect(rune_is_unsafe(unsafe[i]), "U+%04X", unsafe[i]);
    }
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        cr_expect_not(rune_is_unsafe(fine[i]), "U+%04X", fine[i]);
    }
}
