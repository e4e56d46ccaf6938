/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log_record.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct log_place place = {.now_ns = 5, .suppressed = 3};

#define FIELDS(...) ((const struct log_field[]){{.name = NULL}, ##__VA_ARGS__})
#define COUNT(...)  (sizeof FIELDS(__VA_ARGS__) / sizeof(struct log_field))
#define FILL(r, ...)                                                                               \
    log_record_fill((r), LOG_WARNING, "event", &place, FIELDS(__VA_ARGS__), COUNT(__VA_ARGS__))

Test(log_record, gives_back_what_it_took)
{
    struct log_record r;
    struct log_field f;
    size_t at = 0;
    FILL(&r, LOG_TEXT("a", "text"), LOG_NUMBER("b", -7), LOG_NUMBER("c", UINT64_MAX),
         LOG_BOOL("d", true), LOG_BOOL("e", false), LOG_TEXT("f", NULL),
         LOG_BYTES("g", bytes_of("x\0y", 3)));
    cr_expect_eq(r.now_ns, 5);
    cr_expect_eq(r.suppressed, 3);
    cr_expect_str_eq(r.event, "event");
    cr_expect_not(r.cut);
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect(bytes_equal(f.bytes, bytes_text("text")));
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect_eq(f.number, -7);
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect_eq(f.unsigned_number, UINT64_MAX);
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect(f.truth);
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect_not(f.truth);
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect_eq(f.bytes.len, 0);
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect(bytes_equal(f.bytes, bytes_of("x\0y", 3)));
    cr_expect_str_eq(f.name, "g");
    cr_expect_not(log_record_next(&r, &at, &f));
    FILL(&r);
    at = 0;
    cr_expect_not(log_record_next(&r, &at, &f));
}

/* Also a field of no bytes needs its head. */
Test(log_record, empty_texts_when_full)
{
    char text[200];
    memset(text, 't', sizeof text);
    for (size_t len = 100; len < sizeof text; len++) {
        const struct bytes b = bytes_of(text, len), none = bytes_of(NULL, 0);
        struct log_record r;
        FILL(&r, LOG_BYTES("a", b), LOG_BYTES("b", b), LOG_BYTES("c", b), LOG_BYTES("d", b),
             LOG_BYTES("e", b), LOG_BYTES("f", none), LOG_BYTES("g", none), LOG_BYTES("h", none),
             LOG_BYTES("i", none), LOG_BYTES("j", none), LOG_BYTES("k", none));
        cr_expect_leq(r.used, sizeof r.fields);
    }
}

/* A text over the bound keeps its beginning, whole characters only, and shows that it was cut. */
Test(log_record, long_text_is_cut_between_characters)
{
    static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t c = 0; c < 4; c++) {
        for (size_t lead = 0; lead < 5; lead++) {
            char text[600] = "aaaaa";
            text[lead] = '\0';
            while (strlen(text) < 400) {
                strcat(text, characters[c]);
            }
            struct log_record r;
            struct log_field f;
            size_t at = 0;
            FILL(&r, LOG_TEXT("a", text));
            cr_assert(log_record_next(&r, &at, &f));
            cr_expect_leq(f.bytes.len, LOG_TEXT_BYTES_MAX);
            cr_expect_gt(f.bytes.len, LOG_TEXT_BYTES_MAX - 4);
            cr_expect_eq(memcmp(f.bytes.at, text, f.bytes.len - 3), 0);
            cr_expect_eq(memcmp(f.bytes.at + f.bytes.len - 3, "\xe2\x80\xa6", 3), 0);
            cr_expect_eq((f.bytes.len - 3 - lead) % strlen(characters[c]), 0);
        }
    }
    char exact[LOG_TEXT_BYTES_MAX + 1] = "";
    memset(exact, 'e', LOG_TEXT_BYTES_MAX);
    struct log_record r;
    struct log_field f;
    size_t at = 0;
    FILL(&r, LOG_TEXT("a", exact));
    cr_assert(log_record_next(&r, &at, &f));
    cr_expect(bytes_equal(f.bytes, bytes_text(exact)));
}

/* Every size of every field: the record never holds more than it can, and says so when it cut. */
Test(log_record, full)
{
    char text[300];
    memset(text, 't', sizeof text);
    for (size_t len = 0; len < sizeof text; len++) {
        const struct bytes b = bytes_of(text, len);
        struct log_record r;
        FILL(&r, LOG_BYTES("a", b), LOG_BYTES("b", b), LOG_NUMBER("n", 1), LOG_BYTES("c", b),
             LOG_BYTES("d", b), LOG_BYTES("e", b), LOG_NUMBER("o", 1), LOG_BYTES("f", b),
             LOG_BYTES("g", b), LOG_BYTES("h", b), LOG_NUMBER("p", 1));
        struct log_field f;
        unsigned fields = 0;
        for (size_t at = 0; log_record_next(&r, &at, &f);) {
            fields++;
        }
        cr_expect_eq(r.cut, fields < 11, "%zu", len);
        cr_expect_leq(r.used, sizeof r.fields);
    }
}
