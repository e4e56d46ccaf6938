/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/percent.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(percent, decodes_what_is_encoded_and_nothing_else)
{
    static const struct {
        const char *in, *out;
        size_t len;
    } rows[] = {
        {"", "", 0},   {"a/b", "a/b", 3},  {"%41%2f%2F", "A//", 3},   {"%2541", "%41", 3},
        {"+", "+", 1}, {"%00x", "\0x", 2}, {"%c3%A9", "\xc3\xa9", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[32];
        struct bytes out;
        snprintf(text, sizeof text, "%s", rows[i].in);
        cr_assert(percent_decode(text, &out), "%s", rows[i].in);
        cr_expect(bytes_equal(out, bytes_of(rows[i].out, rows[i].len)), "%s", rows[i].in);
        cr_expect_eq(out.at[out.len], '\0');
    }
}

Test(percent, half_a_byte_is_none)
{
    static const char *const rows[] = {"%", "a%4", "%4g", "%g4", "%%41", "%4%41", "% 41"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[32];
        struct bytes out;
        snprintf(text, sizeof text, "%s", rows[i]);
        cr_expect_not(percent_decode(text, &out), "%s", rows[i]);
    }
}
