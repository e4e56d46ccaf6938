/* SPDX-License-Identifier: Apache-2.0 */
/* Without a terminal; at one, it is tested from end to end (tests/e2e/test_passwd.py). */
#include "broker/auth/password_prompt.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool all_zero(const struct password_input *p)
{
    static const struct password_input zero;
    return memcmp(p, &zero, sizeof zero) == 0;
}

/* What a pipe with that in it is taken for. Nothing is asked. */
static enum password_input_err given(struct password_input *p, const char *text, size_t len)
{
    int ends[2];
    char *asked;
    size_t asked_len;
    FILE *const out = open_memstream(&asked, &asked_len);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], text, len), (ssize_t)len);
    close(ends[1]);
    memset(p, 0xa5, sizeof *p);
    const enum password_input_err err = password_prompt(p, ends[0], out, "alice");
    close(ends[0]);
    fclose(out);
    cr_expect_eq(asked_len, 0, "%s", asked);
    free(asked);
    return err;
}

Test(password_prompt, the_first_line_of_a_pipe)
{
    static const struct {
        const char *text;
        size_t len, password_len;
        enum password_input_err err;
    } rows[] = {
        {"secret\n", 7, 6, PASSWORD_INPUT_OK},
        {"secret", 6, 6, PASSWORD_INPUT_OK},
        {"secret\nmore\n", 12, 6, PASSWORD_INPUT_OK},
        {" a\0b\r\n", 6, 5, PASSWORD_INPUT_OK},
        {"", 0, 0, PASSWORD_INPUT_NONE},
        {"\n", 1, 0, PASSWORD_INPUT_EMPTY},
        {"\nsecret\n", 8, 0, PASSWORD_INPUT_EMPTY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct password_input p;
        cr_expect_eq(given(&p, rows[i].text, rows[i].len), rows[i].err, "row %zu", i);
        cr_expect_eq(p.len, rows[i].password_len, "row %zu", i);
        cr_expect_eq(memcmp(p.bytes, rows[i].text, p.len), 0, "row %zu", i);
    }
}

Test(password_prompt, the_longest)
{
    struct password_input p;
    char text[PASSWORD_INPUT_BYTES_MAX + 2];
    memset(text, 'x', sizeof text);
    text[PASSWORD_INPUT_BYTES_MAX] = '\n';
    cr_expect_eq(given(&p, text, sizeof text), PASSWORD_INPUT_OK);
    cr_expect_eq(p.len, PASSWORD_INPUT_BYTES_MAX);
    text[PASSWORD_INPUT_BYTES_MAX] = 'x';
    cr_expect_eq(given(&p, text, sizeof text), PASSWORD_INPUT_TOO_LONG);
    cr_expect(all_zero(&p), "nothing is left of one that is refused");
}

Test(password_prompt, wipes_all_of_it)
{
    struct password_input p;
    cr_assert_eq(given(&p, "secret", 6), PASSWORD_INPUT_OK);
    password_input_wipe(&p);
    cr_expect(all_zero(&p));
}

Test(password_prompt, says_why_there_is_none)
{
    struct password_input p;
    errno = 0;
    cr_expect_eq(password_prompt(&p, -1, stderr, "alice"), PASSWORD_INPUT_FAILED);
    cr_expect_eq(errno, EBADF);
    for (int err = PASSWORD_INPUT_OK; err <= PASSWORD_INPUT_FAILED; err++) {
        const char *const text = password_input_err_text((enum password_input_err)err);
        cr_expect_geq(strlen(text), err == PASSWORD_INPUT_OK ? 2 : 20);
    }
    cr_expect_str_eq(password_input_err_text((enum password_input_err)99), "?");
}
