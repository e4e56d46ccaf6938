/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/comma_list.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* The words, each in brackets. */
static const char *words(const char *text)
{
    static char out[256];
    size_t len = 0;
    out[0] = '\0';
    for (struct bytes word; comma_list_next(&text, &word);) {
        len += (size_t)snprintf(out + len, sizeof out - len, "[%.*s]", (int)word.len,
                                (const char *)word.at);
    }
    return out;
}

Test(comma_list, words_without_their_blanks)
{
    cr_expect_str_eq(words(""), "");
    cr_expect_str_eq(words("a"), "[a]");
    cr_expect_str_eq(words(" a b , c "), "[a b][c]");
    cr_expect_str_eq(words("a,b,"), "[a][b]");
    cr_expect_str_eq(words(",a,,b"), "[][a][][b]");
    cr_expect_str_eq(words("  "), "[]");
}

Test(comma_list, the_nth)
{
    char out[4];
    cr_expect_eq(comma_list_count("a, bcd,e"), 3);
    cr_expect(comma_list_at("a, bcd,e", 1, out, sizeof out));
    cr_expect_str_eq(out, "bcd");
    cr_expect_not(comma_list_at("a, bcd,e", 3, out, sizeof out));
    cr_expect_not(comma_list_at("a, bcde", 1, out, sizeof out), "it has no room");
}
