/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/value.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const cyaml_strval_t choices[] = {{"one", 1}, {"two", 2}};

static const struct schema_key number = {
    .type = SCHEMA_UINT, .min = 5, .max = UINT64_MAX, .unit = "things"};
static const struct schema_key size = {.type = SCHEMA_SIZE, .min = 1024, .max = 1ull << 33};
static const struct schema_key size_any = {.type = SCHEMA_SIZE, .max = UINT64_MAX};
static const struct schema_key truth = {.type = SCHEMA_BOOL};
static const struct schema_key text = {.type = SCHEMA_TEXT, .max = 8};
static const struct schema_key url = {.type = SCHEMA_URL, .max = 255};
static const struct schema_key choice = {
    .type = SCHEMA_CHOICE, .choices = choices, .choices_count = 2};

static const struct {
    const struct schema_key *key;
    const char *text;
    const char *plain; /* NULL: refused */
} rows[] = {
    {&number, "5", "5"},
    {&number, "0005", "5"},
    {&number, "4", NULL},
    {&number, "18446744073709551615", "18446744073709551615"},
    {&number, "18446744073709551616", NULL},
    {&number, "184467440737095516150", NULL},
    {&number, "", NULL},
    {&number, "-5", NULL},
    {&number, "+5", NULL},
    {&number, " 5", NULL},
    {&number, "5 ", NULL},
    {&number, "0x10", NULL},
    {&number, "1e3", NULL},
    {&number, "5.0", NULL},
    {&size, "1024", "1024"},
    {&size, "1KiB", "1024"},
    {&size, "1 KiB", "1024"},
    {&size, "1  KiB", "1024"},
    {&size, "8 GiB", "8589934592"},
    {&size, "3 MiB", "3145728"},
    {&size, "1023", NULL},
    {&size, "9 GiB", NULL},
    {&size, "1 kib", NULL},
    {&size, "1 KB", NULL},
    {&size, "1 K", NULL},
    {&size, "1.5 KiB", NULL},
    {&size, "KiB", NULL},
    {&size, "1 KiB ", NULL},
    {&size, "17179869185 GiB", NULL},
    {&size_any, "0", "0"},
    {&size_any, "18446744073709551615", "18446744073709551615"},
    {&size_any, "17179869184 GiB", NULL},
    {&truth, "true", "true"},
    {&truth, "false", "false"},
    {&truth, "True", NULL},
    {&truth, "1", NULL},
    {&truth, "", NULL},
    {&text, "", ""},
    {&text, "12345678", "12345678"},
    {&text, "123456789", NULL},
    {&text, "a\tb", NULL},
    {&text,
     "a\xe2\x80\xae"
     "b",
     NULL},
    {&text, "\xc3\xa9", "\xc3\xa9"},
    {&text, "\xc3", NULL},
    {&url, "tcp://*:1", "tcp://*:1"},
    {&url, "tcp://*", NULL},
    {&choice, "one", "one"},
    {&choice, "One", NULL},
    {&choice, "", NULL},
};

Test(value, plain)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char problem[VALUE_PROBLEM_BYTES];
        char *const plain = value_plain(rows[i].key, rows[i].text, problem);
        cr_expect_eq(plain == NULL, rows[i].plain == NULL, "'%s'", rows[i].text);
        cr_expect_eq(plain == NULL, problem[0] != '\0', "'%s': %s", rows[i].text, problem);
        if (plain != NULL && rows[i].plain != NULL) {
            cr_expect_str_eq(plain, rows[i].plain);
        }
        free(plain);
    }
}

Test(value, expected)
{
    static const struct {
        const struct schema_key *key;
        const char *text;
    } expected[] = {
        {&number, "a whole number from 5 to 18446744073709551615 (things)"},
        {&size, "a size from 1 KiB to 8 GiB (bytes, or with KiB, MiB, GiB)"},
        {&size_any, "a size of 0 or more (bytes, or with KiB, MiB, GiB)"},
        {&truth, "true or false"},
        {&text, "a text of at most 8 bytes"},
        {&url, "a URL as in tcp://127.0.0.1:1883"},
        {&choice, "one of one, two"},
    };
    char out[128];
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        value_expected(expected[i].key, out, sizeof out);
        cr_expect_str_eq(out, expected[i].text);
    }
    value_expected(&choice, out, 12);
    cr_expect_str_eq(out, "one of one,");
}

/* What is shown means the same when it is read. */
Test(value, size_text)
{
    static const uint64_t sizes[] = {
        0, 1, 1023, 1024, 1025, 64u << 20, 3ull << 30, (3ull << 30) + 1, 1ull << 50, UINT64_MAX};
    static const char *const texts[] = {
        "0",      "1",     "1023",       "1 KiB",       "1025",
        "64 MiB", "3 GiB", "3221225473", "1048576 GiB", "18446744073709551615"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char shown[24], problem[VALUE_PROBLEM_BYTES];
        value_size_text(sizes[i], shown);
        cr_expect_str_eq(shown, texts[i]);
        char *const plain = value_plain(&size_any, shown, problem);
        cr_assert_not_null(plain, "%s", problem);
        cr_expect_eq(strtoull(plain, NULL, 10), sizes[i]);
        free(plain);
    }
}
