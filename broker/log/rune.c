/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/rune.h"

#include <assert.h>

size_t rune_decode(const uint8_t *at, size_t len, uint32_t *rune)
{
    assert(len > 0);

    /* smallest[n]: the smallest code point that needs n bytes; below it the form is overlong. */
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t first = at[0];
    const size_t n = first < 0x80             ? 1
                     : (first & 0xe0) == 0xc0 ? 2
                     : (first & 0xf0) == 0xe0 ? 3
                     : (first & 0xf8) == 0xf0 ? 4
                                              : 0;
    if (n == 0 || n > len) {
        return 0;
    }
    uint32_t sum = n == 1 ? first : first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        sum = sum << 6 | (at[i] & 0x3fu);
    }
    if (sum < smallest[n] || sum > 0x10ffff || (sum >= 0xd800 && sum <= 0xdfff)) {
        return 0;
    }
    *rune = sum;
    return n;
}

bool rune_is_unsafe(uint32_t rune)
{
    return rune < 0x20 || (rune >= 0x7f && rune <= 0x9f) || rune == 0x061c ||
           (rune >= 0x200e && rune <= 0x200f) || (rune >= 0x2028 && rune <= 0x202e) ||
           (rune >= 0x2066 && rune <= 0x2069) || rune == 0xfeff || (rune & 0xfffe) == 0xfffe ||
           (rune >= 0xfdd0 && rune <= 0xfdef);
}
