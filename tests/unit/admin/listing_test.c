/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/listing.h"

#include <criterion/criterion.h>
#include <string.h>

Test(listing, patterns)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"", "", true},           {"", "a", false},        {"*", "", true},
        {"*", "abc", true},       {"a*", "abc", true},     {"a*", "bac", false},
        {"*c", "abc", true},      {"*c", "abcd", false},   {"a*c", "ac", true},
        {"a*c", "abbcbc", true},  {"a*c", "acb", false},   {"a?c", "abc", true},
        {"a?c", "ac", false},     {"?", "", false},        {"**a**", "xax", true},
        {"a*b*c", "aXbXc", true}, {"a*b*c", "acb", false}, {"abc", "abc", true},
        {"abc", "ab", false},     {"*ab", "aab", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(listing_matches(bytes_text(rows[i].pattern), bytes_text(rows[i].text)),
                     rows[i].matches, "%s, %s", rows[i].pattern, rows[i].text);
    }
}

/* One that begins anew at each star would take as long as the universe. */
Test(listing, a_pattern_costs_no_more_than_its_length_times_the_texts)
{
    static uint8_t pattern[2000], text[60000];
    for (size_t i = 0; i < sizeof pattern; i += 2) {
        pattern[i] = 'a';
        pattern[i + 1] = '*';
    }
    pattern[sizeof pattern - 1] = 'b';
    memset(text, 'a', sizeof text);
    cr_expect_not(listing_matches(bytes_of(pattern, sizeof pattern), bytes_of(text, sizeof text)));
}
