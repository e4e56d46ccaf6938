/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/percent.h"

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool percent_decode(char *text, struct bytes *out)
{
    char *to = text;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        const int high = digit(at[1]), low = high < 0 ? -1 : digit(at[2]);
        if (low < 0) {
            return false;
        }
        *to++ = (char)(high << 4 | low);
        at += 2;
    }
    *to = '\0';
    *out = bytes_of(text, (size_t)(to - text));
    return true;
}
