/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/config_error.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(config_error, one_line_each)
{
    struct config_error e = {0};
    config_error_add(&e, "%s: %d", "a", 1);
    config_error_add(&e, "b");
    cr_expect_str_eq(e.text, "a: 1\nb\n");
    cr_expect_eq(e.count, 2);
}

Test(config_error, commands_no_terminal)
{
    struct config_error e = {0};
    config_error_add(&e, "a\nb\x1b[2J\x7f\xc3\xa9");
    cr_expect_str_eq(e.text, "a?b?[2J?\xc3\xa9\n");
}

/* However long the lines are, the text ends in order and says how many are missing. */
Test(config_error, bound)
{
    char line[1500];
    for (size_t len = 1; len < sizeof line; len += 37) {
        memset(line, 'x', len);
        line[len] = '\0';
        struct config_error e = {0};
        for (unsigned i = 0; i < 5000; i++) {
            config_error_add(&e, "%s", line);
        }
        cr_expect_eq(e.count, 5000);
        const size_t text_len = strlen(e.text);
        cr_assert_lt(text_len, CONFIG_ERROR_BYTES);
        cr_expect_eq(e.text[text_len - 1], '\n');
        unsigned lines = 0, more = 0;
        for (size_t i = 0; i < text_len; i++) {
            lines += e.text[i] == '\n';
        }
        const char *const last = strstr(e.text, "and ");
        cr_assert_not_null(last);
        cr_expect_eq(sscanf(last, "and %u more\n", &more), 1);
        cr_expect_eq(lines - 1 + more, 5000);
    }
}
