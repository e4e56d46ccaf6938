/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_edit.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct {
    const char *name, *before, *ban;
    bool keep;
    unsigned found;
    const char *after;
} rows[] = {
    {"first", "", "client a", true, 0, "client a\n"},
    {"behind others", "# x\n\nuser b\n", "client a", true, 0, "# x\n\nuser b\nclient a\n"},
    {"behind one without an end", "user b", "client a", true, 0, "user b\nclient a\n"},
    {"replaced", "user a\n  client \"a\" because x\r\nuser b\n",
     "client a until 2026-01-01T00:00:00Z", true, 1,
     "user a\nclient a until 2026-01-01T00:00:00Z\r\nuser b\n"},
    {"last without an end", "client a", "client a because y", true, 1, "client a because y"},
    {"twice becomes once", "client a\nuser b\nclient a\n", "client a", true, 2,
     "client a\nuser b\n"},
    {"taken out", "client a\nclient ab\nuser a\nclient a because\n", "client a", false, 2,
     "client ab\nuser a\n"},
    {"not there", "client b\n", "client a", false, 0, "client b\n"},
    {"ranges by what they are", "address 10.0.0.0/8\naddress 10.0.0.0/9\naddress \"10.0.0.0/8\"\n",
     "address 10.0.0.0/8", false, 2, "address 10.0.0.0/9\n"},
    {"last with half an end", "client b\r", "client b", true, 1, "client b\r"},
    {"behind half an end", "client b\r", "client a", true, 0, "client b\r\nclient a\n"},
    {"mistakes stay", "client a b\nnonsense\nclient a\n", "client a", false, 1,
     "client a b\nnonsense\n"},
};

Test(ban_edit, changes_one_and_leaves_the_others)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ban ban;
        struct ban_edit e;
        cr_assert_null(ban_parse(&ban, bytes_text(rows[i].ban)), "%s", rows[i].name);
        cr_assert(ban_edit(&e, bytes_text(rows[i].before), &ban, rows[i].keep));
        cr_expect(bytes_equal(bytes_of(e.text, e.len), bytes_text(rows[i].after)), "%s: %.*s",
                  rows[i].name, (int)e.len, e.text);
        cr_expect_eq(e.found, rows[i].found, "%s", rows[i].name);
        free(e.text);
    }
}
