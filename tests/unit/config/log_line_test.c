/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log_line.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define FIELDS(...) ((const struct log_field[]){{.name = NULL}, ##__VA_ARGS__})
#define COUNT(...)  (sizeof FIELDS(__VA_ARGS__) / sizeof(struct log_field))

/* 2026-11-23T23:59:59.123456789Z */
static const struct log_place place = {.now_ns = 1795478399123456789u};

static void expect(enum log_format format, const struct log_record *r, const char *want)
{
    char line[LOG_LINE_BYTES_MAX + 1];
    line[log_line_write(line, r, format)] = '\0';
    cr_expect_str_eq(line, want);
}

Test(log_line, both_formats)
{
    struct log_record r;
    log_record_fill(&r, LOG_WARNING, "connection_refused", &place,
                    FIELDS(LOG_TEXT("reason", "limit"), LOG_NUMBER("limit", 5),
                           LOG_TEXT("a", "b c"), LOG_BOOL("d", true), LOG_NUMBER("n", INT64_MIN)),
                    6);
    expect(LOG_LOGFMT, &r,
           "ts=2026-11-23T23:59:59.123456Z level=warning msg=connection_refused reason=limit "
           "limit=5 a=\"b c\" d=true n=-9223372036854775808\n");
    expect(LOG_JSON, &r,
           "{\"ts\":\"2026-11-23T23:59:59.123456Z\",\"level\":\"warning\",\"msg\":"
           "\"connection_refused\",\"reason\":\"limit\",\"limit\":5,\"a\":\"b c\",\"d\":true,\"n\":"
           "-9223372036854775808}\n");
}

Test(log_line, no_fields)
{
    struct log_record r;
    log_record_fill(&r, LOG_ERROR, "x", &(struct log_place){.now_ns = 0}, FIELDS(), 1);
    expect(LOG_LOGFMT, &r, "ts=1970-01-01T00:00:00.000000Z level=error msg=x\n");
    expect(LOG_JSON, &r,
           "{\"ts\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"error\",\"msg\":\"x\"}\n");
}

Test(log_line, remarks)
{
    struct log_record r;
    log_record_fill(&r, LOG_DEBUG, "x", &(struct log_place){.suppressed = 7}, FIELDS(), 1);
    r.cut = true;
    expect(LOG_LOGFMT, &r,
           "ts=1970-01-01T00:00:00.000000Z level=debug msg=x cut=true suppressed=7\n");
}

/* Nothing that a client calls itself can look like another field, another line, or a command. */
Test(log_line, hostile_text)
{
    static const struct {
        const char *text;
        size_t len;
        const char *quoted;
    } rows[] = {
        {"", 0, "\"\""},
        {"a b", 3, "\"a b\""},
        {"a=b", 3, "\"a=b\""},
        {"say \"x\"", 7, "\"say \\\"x\\\"\""},
        {"a\\b", 3, "\"a\\\\b\""},
        {"a\nlevel=error", 13, "\"a\\nlevel=error\""},
        {"\r\t\0\x01\x7f", 5, "\"\\r\\t\\u0000\\u0001\\u007f\""},
        {"\x1b[2J", 4, "\"\\u001b[2J\""},
        {"\xc2\x9b", 2, "\"\\u009b\""},
        {"\xe2\x80\xa8\xe2\x80\xae", 6, "\"\\u2028\\u202e\""},
        {"\xff\xc3", 2, "\"\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xf0\x9f\xbf\xbe", 4, "\"\\ud83f\\udffe\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct log_record r;
        char want[256];
        log_record_fill(
            &r, LOG_INFO, "x", &(struct log_place){.now_ns = 0},
            FIELDS(LOG_BYTES("id", bytes_of(rows[i].text, rows[i].len)), LOG_NUMBER("n", 1)), 3);
        snprintf(want, sizeof want, "ts=1970-01-01T00:00:00.000000Z level=info msg=x id=%s n=1\n",
                 rows[i].quoted);
        expect(LOG_LOGFMT, &r, want);
        snprintf(
            want, sizeof want,
            "{\"ts\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"info\",\"msg\":\"x\",\"id\":%s,"
            "\"n\":1}\n",
            rows[i].quoted);
        expect(LOG_JSON, &r, want);
    }
}

/* The largest line there can be fits; log_line_write() asserts it. */
Test(log_line, bound)
{
    static const char name[] = "a_name_that_is_just_as_long_as_a_name_may_be_abc";
    cr_assert_eq(sizeof name - 1, LOG_NAME_BYTES_MAX);
    uint8_t bytes[LOG_TEXT_BYTES_MAX];
    memset(bytes, 0xff, sizeof bytes);
    struct log_field fields[LOG_FIELDS_MAX + 1] = {{.name = NULL}};
    for (size_t numbers = 0; numbers <= LOG_FIELDS_MAX; numbers++) {
        for (size_t i = 1; i <= LOG_FIELDS_MAX; i++) {
            fields[i] = i <= numbers ? log_field_signed(name, INT64_MIN)
                                     : log_field_bytes(name, bytes_of(bytes, sizeof bytes));
        }
        for (size_t count = 1; count <= LOG_FIELDS_MAX + 1; count++) {
            struct log_record r;
            char line[LOG_LINE_BYTES_MAX];
            log_record_fill(&r, LOG_WARNING, name, &(struct log_place){.suppressed = UINT32_MAX},
                            fields, count);
            r.now_ns = UINT64_MAX;
            r.cut = true;
            cr_expect_gt(log_line_write(line, &r, LOG_JSON), 0);
        }
    }
}
