/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/topic.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/unit/proto/packet.h"
#include "tests/unit/proto/topic_oracle.h"
#include "tests/unit/proto/wire.h"

/* clang-format off */
static const struct { const char *filter, *name; bool match; } matches[] = {
    {"a/#", "a", true},        {"a/#", "a/", true},         {"a/#", "a/b", true},      {"a/#", "a/b/c", true},
    {"a/#", "ab", false},      {"a/#", "b/a", false},       {"a/+", "a/", true},       {"a/+", "a/b", true},
    {"a/+", "a", false},       {"a/+", "a/b/c", false},     {"+/+", "/x", true},       {"+/+", "a/b", true},
    {"+/+", "/", true},        {"+/+", "x", false},         {"+/+", "a/b/c", false},   {"+", "a", true},
    {"+", "/a", false},        {"+", "a/b", false},         {"#", "a/b", true},        {"#", "/", true},
    {"#", "$SYS/x", false},    {"+/x", "$SYS/x", false},    {"$SYS/#", "$SYS/x", true}, {"$SYS/+/x", "$SYS/a/x", true},
    {"$SYS/+/x", "a/b/x", false}, {"a/$b", "a/$b", true},   {"a/#", "a/$b", true},     {"a/+", "a/$b", true},
    {"/finance", "/finance", true}, {"/finance", "finance", false}, {"a//b", "a//b", true}, {"a//b", "a/b", false},
    {"a/+/b", "a//b", true},   {"A", "a", false},           {"a/", "a", false},        {"a", "a/", false},
    {"+/#", "a", true},        {"+/#", "/", true},          {"/#", "a", false},        {"/#", "/a", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
};
static const struct { const char *filter; bool valid; } filters[] = {
    {"#", true}, {"+", true}, {"/", true}, {"//", true}, {"a/#", true}, {"+/+/#", true}, {"/+", true}, {"a b", true},
    {"+/", true}, {"$share/g/t", true},
    {"", false}, {"a#", false}, {"#a", false}, {"a/#/b", false}, {"#/", false}, {"a+", false}, {"+a", false}, {"a/+b", false},
    {"++", false}, {"##", false}, {"a/#b", false}, {"+#", false}, {"/a+/", false},
};
static const struct { const char *filter, *share_name, *topic_filter; } shares[] = {
    {"$share/g/t", "g", "t"}, {"$share/g//finance", "g", "/finance"}, {"$share/g/+/#", "g", "+/#"}, {"$share/$x/$SYS/a", "$x", "$SYS/a"},
    {"$share/g/$share/h/t", "g", "$share/h/t"},
    {"$share", NULL, NULL}, {"$share/", NULL, NULL}, {"$share/g", NULL, NULL}, {"$share/g/", NULL, NULL}, {"$share//t", NULL, NULL},
    {"$share/a+/t", NULL, NULL}, {"$share/#/t", NULL, NULL}, {"$share/+/t", NULL, NULL}, {"$share/g/a#", NULL, NULL},
    {"$SHARE/g/t", NULL, NULL}, {"$shared/g/t", NULL, NULL}, {"a/$share/g/t", NULL, NULL}, {"", NULL, NULL},
};
/* clang-format on */

/* v5_mqtt_4_7_1_1 to 4_7_2_1, and the examples of 4.7 */
Test(topic, matches)
{
    for (size_t i = 0; i < sizeof matches / sizeof matches[0]; i++) {
        cr_expect_eq(topic_matches(bytes_text(matches[i].filter), bytes_text(matches[i].name)),
                     matches[i].match, "%s, %s", matches[i].filter, matches[i].name);
    }
}

Test(topic, filter_valid)
{
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        cr_expect_eq(topic_filter_valid(bytes_text(filters[i].filter)), filters[i].valid, "%s",
                     filters[i].filter);
    }
}

/* v5_mqtt_4_8_2_1, 4_8_2_2 */
Test(topic, share)
{
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        struct bytes name = {NULL, 77}, filter = {NULL, 77};
        const bool valid = topic_share_parse(bytes_text(shares[i].filter), &name, &filter);
        cr_assert_eq(valid, shares[i].share_name != NULL, "%s", shares[i].filter);
        if (valid) {
            cr_expect(bytes_equal(name, bytes_text(shares[i].share_name)), "%s", shares[i].filter);
            cr_expect(bytes_equal(filter, bytes_text(shares[i].topic_filter)), "%s",
                      shares[i].filter);
        } else {
            cr_expect(name.len == 77 && filter.len == 77, "%s: left alone", shares[i].filter);
        }
    }
    cr_expect(topic_is_share(bytes_text("$share")) && topic_is_share(bytes_text("$share/")));
    cr_expect(topic_is_share(bytes_text("$share/g/t")));
    cr_expect_not(topic_is_share(bytes_text("$shared/g/t")) || topic_is_share(bytes_text("")));
}

/* v5_mqtt_4_7_3_1 to 4_7_3_3 */
Test(topic, lengths)
{
    static uint8_t longest[65536];
    memset(longest, 'x', sizeof longest);
    cr_expect(topic_name_valid(bytes_of(longest, 65535)));
    cr_expect(topic_filter_valid(bytes_of(longest, 65535)));
    cr_expect_not(topic_name_valid(bytes_of(longest, 65536)));
    cr_expect_not(topic_filter_valid(bytes_of(longest, 65536)));
    memcpy(longest, "$share/g/", 9);
    struct bytes name, filter;
    cr_expect(topic_share_parse(bytes_of(longest, 65535), &name, &filter));
    cr_expect_not(topic_share_parse(bytes_of(longest, 65536), &name, &filter));
    cr_expect_not(topic_name_valid(bytes_of(NULL, 0)));
    cr_expect_not(topic_filter_valid(bytes_of(NULL, 0)));
}

/* Eight bytes at a time or one: each byte, at each place, of each length, is judged alike. */
Test(topic, name_valid)
{
    for (size_t len = 1; len <= 25; len++) {
        for (size_t place = 0; place < len; place++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t text[25];
                memset(text, place % 2 == 0 ? 'x' : '$', sizeof text);
                text[place] = (uint8_t)byte;
                uint8_t *copy = wire_exact(text, len);
                const bool valid = topic_name_valid(bytes_of(copy, len));
                free(copy);
                if (valid != (byte != '+' && byte != '#' && byte != 0)) {
                    cr_assert_fail("%02x at %zu of %zu", byte, place, len);
                }
            }
        }
    }
}

Test(topic, levels)
{
    static const struct {
        const char *topic;
        size_t levels;
        bool wildcard;
    } rows[] = {{"a", 1, false},    {"/", 2, false}, {"a/b/c", 3, false}, {"//", 3, false},
                {"a/+/c", 3, true}, {"#", 1, true},  {"", 1, false},      {"abc/#", 2, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes rest = bytes_text(rows[i].topic);
        cr_expect_eq(topic_levels(rest), rows[i].levels, "%s", rows[i].topic);
        cr_expect_eq(topic_has_wildcard(rest), rows[i].wildcard, "%s", rows[i].topic);
        size_t walked = 0, bytes = 0;
        bool more = true;
        while (more) {
            bytes += topic_level_next(&rest, &more).len;
            walked++;
        }
        cr_expect_eq(walked, rows[i].levels, "%s", rows[i].topic);
        cr_expect_eq(bytes + walked - 1, strlen(rows[i].topic), "%s", rows[i].topic);
    }
}

#define LETTERS "a/+#$"
#define KINDS   5u
#define LONGEST 5u

/* The number-th word over LETTERS, shortest first; its length is answered. */
static size_t word(size_t number, uint8_t *out)
{
    size_t len = 0;
    for (size_t words = 1; number >= words; words *= KINDS) {
        number -= words;
        len++;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)LETTERS[number % KINDS];
        number /= KINDS;
    }
    return len;
}

#define WORDS (1u + 5 + 25 + 125 + 625 + 3125) /* up to LONGEST letters */

/* All short filters, with all short names. */
Test(topic, short_ones_against_the_oracle)
{
    static struct bytes names[WORDS], valid_filters[WORDS];
    static uint8_t letters[WORDS][LONGEST];
    size_t name_count = 0, filter_count = 0;
    for (size_t i = 0; i < WORDS; i++) {
        const struct bytes w = bytes_of(letters[i], word(i, letters[i]));
        cr_assert_eq(topic_name_valid(w), topic_oracle_name_valid(w), "%.*s", (int)w.len, w.at);
        cr_assert_eq(topic_filter_valid(w), topic_oracle_filter_valid(w), "%.*s", (int)w.len, w.at);
        if (topic_name_valid(w)) {
            names[name_count++] = w;
        }
        if (topic_filter_valid(w)) {
            valid_filters[filter_count++] = w;
        }
    }
    cr_expect(name_count > 300 && filter_count > 500, "%zu, %zu", name_count, filter_count);
    for (size_t i = 0; i < filter_count * name_count; i++) {
        const struct bytes f = valid_filters[i / name_count], n = names[i % name_count];
        if (topic_matches(f, n) != topic_oracle_matches(f, n)) {
            cr_assert_fail("%.*s, %.*s", (int)f.len, f.at, (int)n.len, n.at);
        }
    }
}

static struct bytes random_word(struct packet_source *source, const char *letters, uint8_t *out,
                                uint32_t most)
{
    const uint32_t len = packet_random(source, most + 1);
    for (uint32_t i = 0; i < len; i++) {
        out[i] = (uint8_t)letters[packet_random(source, (uint32_t)strlen(letters))];
    }
    return bytes_of(out, len);
}

/* Longer ones, of few letters so that they meet. */
Test(topic, random_ones_against_the_oracle)
{
    static struct packet_source source;
    packet_source_init(&source, "topic random_ones_against_the_oracle");
    size_t met = 0;
    for (size_t i = 0; i < 1000000; i++) {
        uint8_t a[24], b[24], s[40] = "$share/";
        const struct bytes filter = random_word(&source, "a//+b/#", a, 12);
        const struct bytes name = random_word(&source, "a//b", b, 12);
        cr_assert_eq(topic_filter_valid(filter), topic_oracle_filter_valid(filter));
        if (topic_filter_valid(filter) && topic_name_valid(name)) {
            const bool match = topic_matches(filter, name);
            met += match;
            cr_assert_eq(match, topic_oracle_matches(filter, name), "%.*s, %.*s", (int)filter.len,
                         filter.at, (int)name.len, name.at);
        }
        const struct bytes share = bytes_of(s, 7 + random_word(&source, "ag/+#", s + 7, 8).len);
        struct bytes n1, f1, n2, f2;
        const bool valid = topic_share_parse(share, &n1, &f1);
        cr_assert_eq(valid, topic_oracle_share(share, &n2, &f2), "%.*s", (int)share.len, share.at);
        cr_assert(!valid || (bytes_equal(n1, n2) && bytes_equal(f1, f2)));
    }
    cr_expect(met > 1000, "%zu", met);
}
