/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/groups/group_records.h"

#include <criterion/criterion.h>
#include <string.h>

static struct group_records *r;

static void begin(void)
{
    r = group_records_create();
    cr_assert_not_null(r);
}

static void end(void)
{
    group_records_destroy(r);
}

TestSuite(group_records, .init = begin, .fini = end);

/* Records of partition 3, of index `from` on: 'A' again, 'W' whole, 'G' given up, else its text. */
static void added(unsigned shard, uint64_t from, const char *what)
{
    for (size_t i = 0; what[i] != '\0'; i++) {
        const uint8_t kind = what[i] == 'A'   ? GROUP_AGAIN
                             : what[i] == 'W' ? GROUP_WHOLE
                             : what[i] == 'G' ? GROUP_GIVEN_UP
                                              : GROUP_RECORD;
        const uint8_t body[2] = {kind, (uint8_t)what[i]};
        const struct record record = {.index = from + i,
                                      .partition = 3,
                                      .kind = RECORD_GROUP,
                                      .body = bytes_of(body, kind == GROUP_RECORD ? 2 : 1)};
        bool is_unknown;
        cr_assert(group_records_add(r, shard, &record, &is_unknown));
    }
}

static const char *settled(bool *is_well)
{
    static char text[64];
    size_t len = 0;
    *is_well = group_run_settle(&r->of[3]);
    for (const struct group_record *g = r->of[3].first; g != NULL; g = g->next) {
        cr_assert_eq(g->len, 2);
        text[len++] = (char)g->bytes[1];
    }
    text[len] = '\0';
    return text;
}

static const struct {
    const char *records, *in_force;
    bool is_well;
} rows[] = {
    {"", "", true},
    {"abc", "abc", true},
    {"abAcdW", "cd", true},
    {"abAcdWef", "cdef", true},
    {"abAcd", "ab", false},
    {"abA", "ab", false},
    {"abAcdG", "ab", true},
    {"abAcdGef", "abef", true},
    {"abAcGAdWe", "de", true},
    {"abAcWdAe", "cd", false},
    {"abAcWdAeGf", "cdf", true},
    {"abAW", "", true},
    {"AWab", "ab", true},
};

Test(group_records, what_is_complete_makes_void_what_was_before)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_well;
        end();
        begin();
        added(0, 1, rows[i].records);
        cr_expect_str_eq(settled(&is_well), rows[i].in_force, "%s", rows[i].records);
        cr_expect_eq(is_well, rows[i].is_well, "%s", rows[i].records);
        cr_expect_eq(r->of[3].highest, strlen(rows[i].records));
    }
}

/* Journals are read one after the other, and what is in them is not in that order. */
Test(group_records, several_journals_are_one_run)
{
    bool is_well;
    added(0, 5, "ef");
    added(1, 1, "ab");
    added(2, 3, "cd");
    added(2, 7, "g");
    cr_expect_eq(group_run_journals(&r->of[3]), 7);
    cr_expect_str_eq(settled(&is_well), "abcdefg");
    cr_expect(is_well);
}

Test(group_records, what_another_journal_has_written_again_is_void_in_all)
{
    bool is_well;
    added(0, 10, "AxyWz");
    added(1, 1, "abcdefghi");
    cr_expect_eq(group_run_journals(&r->of[3]), 1, "nothing of the second is needed");
    cr_expect_eq(r->of[3].journals, 3);
    cr_expect_eq(r->of[3].from, 10);
    cr_expect_str_eq(settled(&is_well), "xyz");
    cr_expect(is_well);
}

Test(group_records, what_no_version_has_written_is_refused)
{
    static const uint8_t kind = GROUP_GIVEN_UP + 1;
    struct record record = {.index = 1, .partition = 3, .kind = RECORD_GROUP};
    bool is_unknown = false;
    cr_expect_not(group_records_add(r, 0, &record, &is_unknown));
    cr_expect(is_unknown);
    record.body = bytes_of(&kind, 1);
    cr_expect_not(group_records_add(r, 0, &record, &is_unknown));
    cr_expect(is_unknown);
}
