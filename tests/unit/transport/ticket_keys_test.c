/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/ticket_keys.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define KEY "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static struct ticket_keys *parse(const char *text, const char **wrong)
{
    return ticket_keys_parse(text, strlen(text), wrong);
}

Test(ticket_keys, good)
{
    static const char *const texts[] = {
        KEY,
        KEY "\n",
        KEY "\r\n",
        "# the newest first\n" KEY "\n\n" KEY "00\n",
        KEY "\n" KEY "\n" KEY "\n" KEY "\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *wrong;
        struct ticket_keys *k = parse(texts[i], &wrong);
        cr_expect_not_null(k, "%s: %s", texts[i], wrong);
        cr_expect_null(wrong);
        ticket_keys_put(k);
    }
}

Test(ticket_keys, bad)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"", "no key"},
        {"# none\n\n", "no key"},
        {"0011", "not 64"},
        {KEY "0", "not 64"},
        {"x" KEY, "not 64"},
        {KEY "\n" KEY "g0\n", "not 64"},
        {KEY "\n" KEY "\n" KEY "\n" KEY "\n" KEY "\n", "more than 4"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *wrong;
        cr_expect_null(parse(rows[i].text, &wrong), "%s", rows[i].text);
        cr_assert_not_null(wrong);
        cr_expect_not_null(strstr(wrong, rows[i].part), "%s: %s", rows[i].text, wrong);
    }
}

Test(ticket_keys, a_line_may_have_512_digits)
{
    char text[514];
    const char *wrong;
    memset(text, 'a', sizeof text);
    struct ticket_keys *k = ticket_keys_parse(text, 512, &wrong);
    cr_expect_not_null(k);
    ticket_keys_put(k);
    cr_expect_null(ticket_keys_parse(text, 514, &wrong));
}

Test(ticket_keys, go_with_the_last_reference)
{
    struct ticket_keys *k = ticket_keys_random();
    cr_assert_not_null(k);
    cr_expect_eq(ticket_keys_take(k), k);
    ticket_keys_put(k);
    ticket_keys_put(k);
    ticket_keys_put(NULL);
}
