/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t password_base64_encode(char *text, struct bytes in, enum password_base64 form)
{
    char *to = text;
    for (size_t at = 0; at < in.len; at += 3) {
        const size_t left = in.len - at;
        const uint32_t group = (uint32_t)in.at[at] << 16 |
                               (left > 1 ? (uint32_t)in.at[at + 1] << 8 : 0) |
                               (left > 2 ? in.at[at + 2] : 0);
        for (unsigned i = 0; i < 4; i++) {
            if (i <= left) {
                *to++ = alphabet[group >> (18 - 6 * i) & 0x3f];
            } else if (form == PASSWORD_BASE64_PADDED) {
                *to++ = '=';
            }
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}

static bool value_of(uint8_t c, uint32_t *value)
{
    const char *const found = c == '\0' ? NULL : strchr(alphabet, c);
    *value = found == NULL ? 0 : (uint32_t)(found - alphabet);
    return found != NULL;
}

/* Takes the = from the end, which have to be as many as are missing from a group of four. */
static bool unpad(struct bytes *text)
{
    if (text->len % 4 != 0) {
        return false;
    }
    for (unsigned i = 0; i < 2 && text->len > 0 && text->at[text->len - 1] == '='; i++) {
        text->len--;
    }
    return true;
}

bool password_base64_decode(uint8_t *out, size_t out_max, size_t *out_len, struct bytes text,
                            enum password_base64 form)
{
    if (form == PASSWORD_BASE64_PADDED && !unpad(&text)) {
        return false;
    }
    const size_t len = text.len / 4 * 3 + text.len % 4 * 3 / 4;
    if (text.len % 4 == 1 || len > out_max) {
        return false;
    }
    uint32_t group = 0; /* the bits that are not yet written are its lowest */
    unsigned bits = 0;
    size_t written = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint32_t value;
        if (!value_of(text.at[i], &value)) {
            return false;
        }
        group = group << 6 | value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[written++] = (uint8_t)(group >> bits);
        }
    }
    if ((group & ((1u << bits) - 1)) != 0) { /* another text would mean the same bytes */
        return false;
    }
    *out_len = len;
    return true;
}
