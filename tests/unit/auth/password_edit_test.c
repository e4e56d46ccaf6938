/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_edit.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/route/fault.h"

/* The user is always "bob", and the new hash "NEW"; hash NULL: he goes. */
static const struct {
    const char *name, *hash, *before, *after;
    unsigned found;
} rows[] = {
    {"the first of all", "NEW", "", "bob:NEW\n", 0},
    {"one more", "NEW", "a:1\n", "a:1\nbob:NEW\n", 0},
    {"the last line has no end", "NEW", "a:1", "a:1\nbob:NEW\n", 0},
    {"in his place", "NEW", "a:1\nbob:2\nc:3\n", "a:1\nbob:NEW\nc:3\n", 1},
    {"blanks around him go", "NEW", "a:1\n  bob :  2 \nc:3\n", "a:1\nbob:NEW\nc:3\n", 1},
    {"its end stays", "NEW", "a:1\r\nbob:2\r\nc:3\r\n", "a:1\r\nbob:NEW\r\nc:3\r\n", 1},
    {"also if it has none", "NEW", "a:1\nbob:2", "a:1\nbob:NEW", 1},
    {"twice is mended", "NEW", "bob:1\n#\nbob:2\nc:3\nbob:4", "bob:NEW\n#\nc:3\n", 3},
    {"comments and mistakes stay", "NEW", "# bob:1\n\n  x \nbob\n:\nbobby:1\n",
     "# bob:1\n\n  x \nbob\n:\nbobby:1\nbob:NEW\n", 0},
    {"a mark is a blank", "NEW",
     "\xef\xbb\xbf"
     "bob:1\na:2\n",
     "bob:NEW\na:2\n", 1},
    {"and stays with others", "NEW",
     "\xef\xbb\xbf"
     "a:2\n",
     "\xef\xbb\xbf"
     "a:2\nbob:NEW\n",
     0},
    {"behind nothing but a mark", "NEW", "\xef\xbb\xbf", "\xef\xbb\xbf\nbob:NEW\n", 0},
    {"he is gone also if what follows is the first then", NULL,
     "bob:1\n\xef\xbb\xbf"
     "bob:2\n",
     "", 2},
    {"he goes", NULL, "# x\na:1\n bob :2\nc:3", "# x\na:1\nc:3", 1},
    {"he goes, and was the last", NULL, "a:1\nbob:2", "a:1\n", 1},
    {"he goes, and was alone", NULL, "bob:2\n", "", 1},
    {"he goes wherever he is", NULL, "bob:1\na:2\nbob:3\n", "a:2\n", 2},
    {"he was not there", NULL, "a:1\n\n", "a:1\n\n", 0},
};

static struct bytes exact(const char *text)
{
    char *const copy = malloc(strlen(text));
    memcpy(copy, text, strlen(text));
    return bytes_of(copy, strlen(text));
}

Test(password_edit, one_user_and_nothing_else)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct bytes before = exact(rows[i].before);
        const struct bytes hash =
            rows[i].hash == NULL ? bytes_of(NULL, 0) : bytes_text(rows[i].hash);
        struct password_edit e;
        cr_assert(password_edit(&e, before, bytes_text("bob"), hash));
        cr_expect(bytes_equal(bytes_of(e.text, e.len), bytes_text(rows[i].after)), "%s: '%.*s'",
                  rows[i].name, (int)e.len, e.text);
        cr_expect_eq(e.found, rows[i].found, "%s: %u", rows[i].name, e.found);
        free(e.text);
        free((void *)(uintptr_t)before.at);
    }
}

Test(password_edit, without_memory)
{
    struct password_edit e = {.text = NULL};
    fault_at(0);
    const bool edited = password_edit(&e, bytes_text("a:1"), bytes_text("bob"), bytes_text("NEW"));
    fault_at(FAULT_NEVER);
    cr_expect_not(edited);
    cr_expect_null(e.text);
}
