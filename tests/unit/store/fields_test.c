/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/fields.h"

#include <criterion/criterion.h>

static const struct {
    uint64_t number;
    size_t len;
} numbers[] = {
    {0, 1},
    {0x7f, 1},
    {0x80, 2},
    {0x3fff, 2},
    {0x4000, 3},
    {UINT32_MAX, 5},
    {(1ull << 63) - 1, 9},
    {1ull << 63, 10},
    {UINT64_MAX, 10},
};

/* Each comes back as it was, is as long as it has to be, and no part of it is taken for it. */
Test(fields, a_number_is_whole_or_none)
{
    struct field_writer w = {.at = NULL};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        field_writer_begin(&w);
        put_number(&w, numbers[i].number);
        cr_assert_eq(w.len, numbers[i].len, "%zu", i);
        for (size_t len = 0; len <= w.len; len++) {
            struct field_reader r = {.rest = bytes_of(w.at, len)};
            const uint64_t got = get_number(&r);
            cr_expect_eq(r.failed, len < w.len);
            cr_expect_eq(got, len < w.len ? 0 : numbers[i].number);
            cr_expect_eq(fields_are_over(&r), len == w.len);
        }
    }
    field_writer_fini(&w);
}

static const uint8_t too_large[][12] = {
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0},
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0, 0},
    {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0},
};

Test(fields, what_has_no_place_in_64_bits_is_none)
{
    for (size_t i = 0; i < sizeof too_large / sizeof too_large[0]; i++) {
        struct field_reader r = {.rest = bytes_of(too_large[i], sizeof too_large[i])};
        cr_expect_eq(get_number(&r), 0);
        cr_expect(r.failed);
    }
}

Test(fields, a_bound_is_kept)
{
    struct field_writer w = {.at = NULL};
    put_number(&w, 65535);
    put_number(&w, 65536);
    struct field_reader r = {.rest = field_written(&w)};
    cr_expect_eq(get_number_to(&r, 65535), 65535);
    cr_expect_not(r.failed);
    cr_expect_eq(get_number_to(&r, 65535), 0);
    cr_expect(r.failed);
    field_writer_fini(&w);
}

/* Once something could not be read, nothing that follows is. */
Test(fields, a_failure_stays)
{
    static const uint8_t in[] = {0x05, 'a', 'b', 0x01, 'c'};
    struct field_reader r = {.rest = bytes_of(in, sizeof in)};
    cr_expect_eq(get_run(&r).len, 0); /* of 5, and 4 are there */
    cr_expect(r.failed);
    (void)get_run(&r);
    (void)get_number(&r);
    cr_expect(r.failed);
    cr_expect_not(fields_are_over(&r));
}

Test(fields, runs_follow_each_other)
{
    struct field_writer w = {.at = NULL};
    put_run(&w, bytes_text("first"));
    put_run(&w, bytes_of(NULL, 0));
    put_raw(&w, bytes_of(NULL, 0));
    put_raw(&w, bytes_text("raw"));
    struct field_reader r = {.rest = field_written(&w)};
    cr_expect(bytes_equal(get_run(&r), bytes_text("first")));
    cr_expect_eq(get_run(&r).len, 0);
    cr_expect(bytes_equal(r.rest, bytes_text("raw")));
    cr_expect_not(fields_are_over(&r));
    field_writer_fini(&w);
}

/* A length that no memory has is compared with what is left, and not added to anything. */
Test(fields, the_longest_length_is_refused)
{
    struct field_writer w = {.at = NULL};
    put_number(&w, UINT64_MAX);
    put_raw(&w, bytes_text("some"));
    struct field_reader r = {.rest = field_written(&w)};
    cr_expect_eq(get_run(&r).len, 0);
    cr_expect(r.failed);
    field_writer_fini(&w);
}

Test(fields, a_writer_grows_and_is_used_again)
{
    struct field_writer w = {.at = NULL};
    for (unsigned round = 0; round < 3; round++) {
        field_writer_begin(&w);
        for (uint64_t i = 0; i < 5000; i++) {
            put_number(&w, i * i);
            put_run(&w, bytes_of("0123456789", i % 11));
        }
        cr_assert_not(w.failed);
        struct field_reader r = {.rest = field_written(&w)};
        for (uint64_t i = 0; i < 5000; i++) {
            cr_assert_eq(get_number(&r), i * i);
            cr_assert(bytes_equal(get_run(&r), bytes_of("0123456789", i % 11)));
        }
        cr_expect(fields_are_over(&r));
    }
    field_writer_fini(&w);
    cr_expect_null(w.at);
}
