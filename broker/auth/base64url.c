/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/base64url.h"

#define NONE 64u /* not of the alphabet */

static unsigned digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26u;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52u;
    }
    return c == '-' ? 62u : c == '_' ? 63u : NONE;
}

bool base64url_is(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (digit(text.at[i]) == NONE) {
            return false;
        }
    }
    return true;
}

bool base64url_decode(uint8_t *out, size_t out_max, size_t *out_len, struct bytes text)
{
    if (text.len % 4 == 1 || BASE64URL_BYTES(text.len) > out_max) {
        return false;
    }
    uint32_t bits = 0; /* the lowest `held` of them are not written yet */
    unsigned held = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        const unsigned value = digit(text.at[i]);
        if (value == NONE) {
            return false;
        }
        bits = bits << 6 | value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[len++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    if (bits != 0) {
        return false; /* another text stands for the same bytes */
    }
    *out_len = len;
    return true;
}
