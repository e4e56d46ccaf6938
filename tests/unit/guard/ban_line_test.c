/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_line.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *parse(struct ban *ban, const char *text)
{
    return ban_parse(ban, bytes_text(text));
}

/* What is read is printed in one form, which is read as the same. */
static const struct {
    const char *text, *printed;
} good[] = {
    {"client sensor-17", "client sensor-17"},
    {"client \t sensor-17", "client sensor-17"},
    {"client #", "client #"},
    {"client until", "client until"},
    {"client a\"b\\", "client a\"b\\"},
    {"user \"john smith\"", "user \"john smith\""},
    {"user \"john\"", "user john"},
    {"user \"a\\\"\\\\b c\"", "user \"a\\\"\\\\b c\""},
    {"user \"\\\"\"", "user \"\\\"\""},
    {"user \"a\\x0ab\"", "user \"a\\x0ab\""},
    {"user \"\\x61\"", "user a"},
    {"user j\xc3\xb6rg", "user j\xc3\xb6rg"},
    {"address 192.0.2.7", "address 192.0.2.7"},
    {"address 192.0.2.7/32", "address 192.0.2.7"},
    {"address 192.0.2.0/24", "address 192.0.2.0/24"},
    {"address 0.0.0.0/0", "address 0.0.0.0/0"},
    {"address \"192.0.2.0/24\"", "address 192.0.2.0/24"},
    {"address 2001:DB8::/32", "address 2001:db8::/32"},
    {"address ::/0", "address ::/0"},
    {"address ::1", "address ::1"},
    {"client a until 2026-11-27T01:02:03Z", "client a until 2026-11-27T01:02:03Z"},
    {"client a because it floods ", "client a because it floods"},
    {"client a because", "client a"},
    {"client a until 2024-02-29T23:59:59Z because until 5",
     "client a until 2024-02-29T23:59:59Z because until 5"},
    {"client a until 9999-12-31T23:59:59Z", "client a until 9999-12-31T23:59:59Z"},
    {"client because because because", "client because because because"},
};

Test(ban_line, what_is_read_is_printed)
{
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct ban ban, again;
        char text[BAN_LINE_BYTES_MAX];
        const char *const wrong = parse(&ban, good[i].text);
        cr_assert_null(wrong, "%s: %s", good[i].text, wrong);
        cr_expect_eq(ban_print(&ban, text), strlen(good[i].printed));
        cr_expect_str_eq(text, good[i].printed);
        cr_assert_null(parse(&again, text), "%s", text);
        cr_expect(ban_is_same(&ban, &again));
        cr_expect_eq(ban.until_s, again.until_s);
    }
}

/* Each with a word of what it is told. */
static const struct {
    const char *text, *told;
} bad[] = {
    {"clients a", "has to begin"},
    {"client", "is missing"},
    {"client \"\"", "is empty"},
    {"client \"a", "not closed"},
    {"client \"a\"b", "a blank"},
    {"client \"\\n\"", "backslash"},
    {"client \"\\x0\"", "backslash"},
    {"client \"\\x0A\"", "backslash"},
    {"client \"\\x00\"", "UTF-8"},
    {"client \xff", "UTF-8"},
    {"client a b", "may be only"},
    {"client a until", "2026-12-31"},
    {"client a until tomorrow", "2026-12-31"},
    {"client a until 2026-13-01T00:00:00Z", "2026-12-31"},
    {"client a until 2026-02-29T00:00:00Z", "2026-12-31"},
    {"client a until 2026-04-31T00:00:00Z", "2026-12-31"},
    {"client a until 2026-01-00T00:00:00Z", "2026-12-31"},
    {"client a until 2026-01-01T24:00:00Z", "2026-12-31"},
    {"client a until 2026-01-01T00:60:00Z", "2026-12-31"},
    {"client a until 2026-01-01T00:00:60Z", "2026-12-31"},
    {"client a until 1969-01-01T00:00:00Z", "2026-12-31"},
    {"client a until 2026-01-01T00:00:00", "2026-12-31"},
    {"client a until 2026-01-01 00:00:00Z", "2026-12-31"},
    {"client a until 2026-01-01T00:00:00Z until 2026-01-01T00:00:00Z", "may be only"},
    {"address 192.0.2.1/24", "bits set"},
    {"address 192.0.2.0/33", "number of bits"},
    {"address example.org", "no IP address"},
    {"address 192.0.2.1,192.0.2.2", "one address"},
    {"address \"\"", "one address"},
    {"address \"192.0.2.1\\x00\"", "one address"},
};

Test(ban_line, mistakes_are_told)
{
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ban ban = {.until_s = 4711};
        const char *const wrong = parse(&ban, bad[i].text);
        cr_assert_not_null(wrong, "%s", bad[i].text);
        cr_expect(strstr(wrong, bad[i].told) != NULL, "%s: %s", bad[i].text, wrong);
        cr_expect_eq(ban.until_s, 4711, "nothing is written");
    }
}

Test(ban_line, bounds)
{
    char value[BAN_VALUE_BYTES_MAX + 2], line[2 * BAN_LINE_BYTES_MAX], text[BAN_LINE_BYTES_MAX];
    struct ban ban;
    memset(value, 1, sizeof value);
    value[BAN_VALUE_BYTES_MAX] = '\0';
    cr_assert_null(ban_make(&ban, bytes_text("client"), bytes_text(value)));
    char because[BAN_TEXT_BYTES_MAX + 2];
    memset(because, 'x', sizeof because);
    ban.because = bytes_of(because, BAN_TEXT_BYTES_MAX);
    ban.until_s = 0;
    const size_t len = ban_print(&ban, text); /* the longest there is */
    cr_assert_null(ban_parse(&ban, bytes_of(text, len)));

    value[BAN_VALUE_BYTES_MAX] = 1;
    cr_expect_not_null(
        ban_make(&ban, bytes_text("client"), bytes_of(value, BAN_VALUE_BYTES_MAX + 1)));
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    snprintf(line, sizeof line, "client %s", value);
    cr_expect_not_null(parse(&ban, line));
    snprintf(line, sizeof line, "client \"%s\"", value);
    cr_expect_not_null(parse(&ban, line));
    because[BAN_TEXT_BYTES_MAX + 1] = '\0';
    snprintf(line, sizeof line, "client a because %s", because);
    cr_expect_not_null(parse(&ban, line));
    memset(line, ' ', BAN_LINE_BYTES_MAX + 1);
    memcpy(line, "client a", 8);
    line[BAN_LINE_BYTES_MAX + 1] = '\0';
    cr_expect_not_null(parse(&ban, line));
}

Test(ban_line, times)
{
    static const struct {
        const char *text;
        int64_t s;
    } times[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2000-03-01T00:00:00Z", 951868800},
        {"2026-11-27T01:02:03Z", 1795741323},
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        int64_t s = -1;
        cr_expect(ban_time_parse(&s, bytes_text(times[i].text)), "%s", times[i].text);
        cr_expect_eq(s, times[i].s, "%s", times[i].text);
    }
}

Test(ban_line, lines_with_every_end)
{
    struct ban_lines lines = ban_lines_of(bytes_text("  client a\t\r\n\n # x\r\r\nuser b"));
    struct ban_line line;
    cr_assert(ban_lines_next(&lines, &line));
    cr_expect(bytes_equal(line.text, bytes_text("client a")));
    cr_expect(bytes_equal(line.end, bytes_text("\r\n")));
    cr_assert(ban_lines_next(&lines, &line));
    cr_expect_eq(line.text.len, 0);
    cr_expect(bytes_equal(line.end, bytes_text("\n")));
    cr_assert(ban_lines_next(&lines, &line));
    cr_expect_eq(line.text.len, 0, "a comment");
    cr_assert(ban_lines_next(&lines, &line));
    cr_expect_eq(lines.number, 4);
    cr_expect(bytes_equal(line.text, bytes_text("user b")));
    cr_expect_eq(line.end.len, 0);
    cr_expect_not(ban_lines_next(&lines, &line));
}

Test(ban_line, same_is_kind_and_value)
{
    struct ban a, b;
    cr_assert_null(parse(&a, "client a until 2026-01-01T00:00:00Z because x"));
    cr_assert_null(parse(&b, "client a"));
    cr_expect(ban_is_same(&a, &b));
    cr_assert_null(parse(&b, "user a"));
    cr_expect_not(ban_is_same(&a, &b));
    cr_assert_null(parse(&b, "client ab"));
    cr_expect_not(ban_is_same(&a, &b));
    cr_assert_null(parse(&a, "address 10.0.0.0/8"));
    cr_assert_null(parse(&b, "address 10.0.0.0/9"));
    cr_expect_not(ban_is_same(&a, &b));
}
