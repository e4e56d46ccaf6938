/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/key_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/admin/keyring.h"

#define HASH "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static enum key_file_err parse(const char *text, struct key_file **out, struct config_error *error)
{
    *error = (struct config_error){.count = 0};
    return key_file_parse(out, "keys", bytes_text(text), error);
}

Test(key_file, a_key_that_was_made_is_found_and_no_other)
{
    char text[KEY_TEXT_BYTES], line[KEY_LINE_BYTES], other[KEY_TEXT_BYTES], unused[KEY_LINE_BYTES];
    struct config_error error;
    struct key_file *f;
    cr_assert(key_make("alice", KEY_ADMIN, text, line));
    cr_assert(key_make("bob", KEY_ADMIN, other, unused));
    cr_assert_eq(parse(line, &f, &error), KEY_FILE_OK);
    const struct key *const key = key_file_find(f, bytes_text(text));
    cr_assert_not_null(key);
    cr_expect_str_eq(key->name, "alice");
    cr_expect_eq(key->role, KEY_ADMIN);
    cr_expect_null(key_file_find(f, bytes_text(other)));
    cr_expect_null(key_file_find(f, bytes_of(text, strlen(text) - 1)));
    cr_expect_null(key_file_find(f, bytes_text("")));
    cr_expect_null(strstr(line, text + sizeof KEY_PREFIX - 1));
    free(f);
}

Test(key_file, lines_that_are_none_are_told)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"alice admin\n", "keys:1: the line is not NAME ROLE HASH"},
        {"# fine\n\na b c d\n", "keys:3: the line is not NAME ROLE HASH"},
        {"a/b admin " HASH "\n", "keys:1: the line has a name"},
        {"a root " HASH "\n", "keys:1: the line has a role"},
        {"a admin sha256:12\n", "keys:1: the line has no hash"},
        {"a admin " HASH "0\n", "keys:1: the line has no hash"},
        {"a admin " HASH "\na read-only " HASH "\n", "keys:2: the line has a name that is given"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config_error error;
        struct key_file *f;
        cr_assert_eq(parse(rows[i].text, &f, &error), KEY_FILE_INVALID, "%s", rows[i].text);
        cr_expect_eq(strncmp(error.text, rows[i].error, strlen(rows[i].error)), 0, "%s",
                     error.text);
        cr_expect_null(strstr(error.text, "0123456789abcdef"));
    }
}

Test(key_file, has_so_many_keys_and_no_more)
{
    static char text[(KEYS_MAX + 1) * KEY_LINE_BYTES];
    struct config_error error;
    struct key_file *f;
    size_t len = 0;
    for (unsigned i = 0; i < KEYS_MAX; i++) {
        len += (size_t)sprintf(text + len, " key-%u\tread-only  " HASH "\r\n", i);
    }
    cr_assert_eq(parse(text, &f, &error), KEY_FILE_OK, "%s", error.text);
    cr_expect_eq(f->count, KEYS_MAX);
    free(f);
    sprintf(text + len, "more admin " HASH "\n");
    cr_expect_eq(parse(text, &f, &error), KEY_FILE_INVALID);
}

Test(key_file, an_edit_leaves_all_else_as_it_is)
{
    static const struct {
        const char *before, *name, *line, *after;
        bool found;
    } rows[] = {
        {"", "a", "a new\n", "a new\n", false},
        {"# x", "a", "a new\n", "# x\na new\n", false},
        {"# x\r\n a old\n\nb 1\n", "a", "a new\n", "# x\r\na new\n\nb 1\n", true},
        {"a old\na older\nb 1", "a", "", "b 1", true},
        {"b 1\n", "a", "", "b 1\n", false},
        {"#a old\nab old\n", "a", "", "#a old\nab old\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool found;
        char *const after =
            key_file_edit(bytes_text(rows[i].before), rows[i].name, rows[i].line, &found);
        cr_assert_not_null(after);
        cr_expect_str_eq(after, rows[i].after);
        cr_expect_eq(found, rows[i].found, "%s", rows[i].before);
        free(after);
    }
}

Test(keyring, without_a_file_nobody_is_let_in)
{
    static const struct in6_addr from = IN6ADDR_LOOPBACK_INIT;
    static struct keyring k;
    struct key key;
    cr_assert(keyring_open(&k, ""));
    cr_expect_eq(keyring_judge(&k, "Bearer x", &from, 1000, &key), KEYRING_CLOSED);
    cr_expect_eq(keyring_judge(&k, NULL, &from, 1000, &key), KEYRING_CLOSED);
    keyring_close(&k);
}
