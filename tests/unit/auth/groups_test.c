/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/groups.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POISON ((struct groups *)(uintptr_t)8)

static enum groups_err read_text(struct groups **out, const char *text)
{
    json_t *const value = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(value, "%s", text);
    *out = POISON;
    const enum groups_err err = groups_read(out, value);
    json_decref(value);
    return err;
}

/* The names, each with a | behind it. */
static void expect(const char *text, const char *names)
{
    struct groups *g;
    cr_assert_eq(read_text(&g, text), GROUPS_OK, "%s", text);
    char all[4096] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < groups_count(g); i++) {
        const struct bytes name = groups_next(g, &at);
        strncat(all, (const char *)name.at, name.len);
        strcat(all, "|");
    }
    cr_expect_str_eq(all, names, "%s", text);
    cr_expect_eq((g == NULL), names[0] == '\0', "%s", text);
    groups_destroy(g);
}

Test(groups, arrays_and_words)
{
    expect("[]", "");
    expect("\"\"", "");
    expect("\" , ,\"", "");
    expect("[\"a\"]", "a|");
    expect("[\"b\", \"a b\", \"c,d\", \"b\"]", "b|a b|c,d|");
    expect("\"a\"", "a|");
    expect("\"a b,c, d a\"", "a|b|c|d|");
    expect("\" a\"", "a|");
    expect("\"a,\"", "a|");
    expect("\"a\\tb\"", "a\tb|"); /* a name like any other, if an odd one */
}

Test(groups, what_is_none_is_a_mistake)
{
    static const char *const texts[] = {"1",
                                        "true",
                                        "null",
                                        "{}",
                                        "[1]",
                                        "[\"a\", null]",
                                        "[[\"a\"]]",
                                        "[\"\"]",
                                        "[\"a\", \"\"]",
                                        "{\"a\": \"a\"}",
                                        "[{\"a\": 1}]",
                                        "[true]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct groups *g;
        cr_expect_eq(read_text(&g, texts[i]), GROUPS_WRONG, "%s", texts[i]);
        cr_expect_eq(g, POISON, "%s", texts[i]);
    }
}

static enum groups_err read_names(struct groups **out, unsigned count, unsigned len)
{
    json_t *const value = json_array();
    for (unsigned i = 0; i < count; i++) {
        char name[512];
        snprintf(name, sizeof name, "%0*u", (int)len, i);
        cr_assert_eq(json_array_append_new(value, json_string(name)), 0);
    }
    *out = NULL;
    const enum groups_err err = groups_read(out, value);
    json_decref(value);
    return err;
}

Test(groups, bounds)
{
    struct groups *g;
    cr_expect_eq(read_names(&g, GROUPS_MAX, GROUPS_NAME_BYTES_MAX), GROUPS_OK);
    cr_expect_eq(groups_count(g), GROUPS_MAX);
    cr_expect_eq(groups_bytes(g), sizeof *g + GROUPS_MAX * (GROUPS_NAME_BYTES_MAX + 1));
    groups_destroy(g);
    cr_expect_eq(read_names(&g, GROUPS_MAX + 1, 4), GROUPS_WRONG);
    cr_expect_eq(read_names(&g, 1, GROUPS_NAME_BYTES_MAX + 1), GROUPS_WRONG);
    cr_expect_eq(groups_bytes(NULL), 0);
    cr_expect_eq(groups_count(NULL), 0);
}
