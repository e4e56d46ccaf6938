/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/callback.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/acl.h"

static struct callback_verdict read_text(const char *text)
{
    struct callback_verdict v;
    callback_read(&v, bytes_text(text));
    return v;
}

Test(callback, three_words)
{
    static const struct {
        const char *text;
        enum callback_result result;
    } rows[] = {
        {"{\"result\":\"allow\"}", CALLBACK_ALLOW},
        {"{\"result\":\"deny\"}", CALLBACK_DENY},
        {"\t{ \"result\" : \"ignore\" }\r\n", CALLBACK_IGNORE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct callback_verdict v = read_text(rows[i].text);
        cr_expect_eq(v.result, rows[i].result, "%s", rows[i].text);
        cr_expect_null(v.wrong, "%s", rows[i].text);
        cr_expect_not(v.has_user);
        cr_expect_eq(v.expires_in_s, 0);
    }
}

Test(callback, all_that_an_answer_may_have)
{
    const struct callback_verdict v = read_text(
        "{\"expires_in_s\":4294967295,\"user_name\":\"t\\u00e9nant\",\"result\":\"allow\"}");
    cr_expect_eq(v.result, CALLBACK_ALLOW);
    cr_expect(v.has_user);
    cr_expect_eq(v.user_len, strlen("t\xc3\xa9nant"));
    cr_expect_arr_eq(v.user, "t\xc3\xa9nant", v.user_len);
    cr_expect_eq(v.expires_in_s, UINT32_MAX);
}

Test(callback, what_is_no_answer)
{
    static const char *const rows[] = {
        "",
        "allow",
        "null",
        "{}",
        "[\"allow\"]",
        "\"allow\"",
        "{\"result\":true}",
        "{\"result\":\"ALLOW\"}",
        "{\"result\":\"allow\\u0000\"}",
        "{\"result\":\"deny\",\"result\":\"allow\"}",
        "{\"result\":\"allow\"} {}",
        "{\"result\":\"allow\",\"else\":1}",
        "{\"result\":\"allow\",\"user_name\":\"\"}",
        "{\"result\":\"allow\",\"user_name\":null}",
        "{\"result\":\"allow\",\"user_name\":\"a\\u0000b\"}",
        "{\"result\":\"allow\",\"user_name\":7}",
        "{\"result\":\"allow\",\"expires_in_s\":0}",
        "{\"result\":\"allow\",\"expires_in_s\":-1}",
        "{\"result\":\"allow\",\"expires_in_s\":1.5}",
        "{\"result\":\"allow\",\"expires_in_s\":4294967296}",
        "{\"result\":\"allow\",\"expires_in_s\":null}",
        "{\"result\":\"allow\",\"acl\":null}",
        "{\"result\":\"allow\",\"acl\":{}}",
        "{\"result\":\"allow\",\"acl\":[{\"permission\":\"allow\",\"topic\":\"a/#/b\"}]}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct callback_verdict v = read_text(rows[i]);
        cr_expect_eq(v.result, CALLBACK_UNCLEAR, "%s", rows[i]);
        cr_expect_not_null(v.wrong, "%s", rows[i]);
    }
}

Test(callback, rules)
{
    struct callback_verdict v = read_text(
        "{\"result\":\"allow\",\"acl\":[{\"permission\":\"allow\",\"topic\":[\"a\",\"b/#\"]}]}");
    cr_expect_eq(v.result, CALLBACK_ALLOW);
    cr_assert_not_null(v.acl);
    cr_expect_eq(v.acl->count, 2);
    acl_destroy(v.acl);
    v = read_text("{\"result\":\"allow\",\"acl\":[]}");
    cr_assert_not_null(v.acl);
    cr_expect_eq(v.acl->count, 0);
    acl_destroy(v.acl);
    v = read_text("{\"result\":\"allow\",\"acl\":[{\"permission\":\"perhaps\",\"topic\":\"a\"}]}");
    cr_expect_eq(v.result, CALLBACK_UNCLEAR);
    cr_expect_null(v.acl);
    cr_expect_not_null(v.wrong);
}

Test(callback, longest_name_and_one_more)
{
    char text[512];
    for (int over = 0; over <= 1; over++) {
        const int len = (int)CALLBACK_USER_BYTES_MAX + over;
        snprintf(text, sizeof text, "{\"result\":\"allow\",\"user_name\":\"%0*d\"}", len, 0);
        cr_expect_eq(read_text(text).result, over ? CALLBACK_UNCLEAR : CALLBACK_ALLOW, "%d", len);
    }
}

Test(callback, longest_answer_and_one_more)
{
    static const char said[] = "{\"result\":\"allow\"}";
    for (size_t over = 0; over <= 1; over++) {
        const size_t len = CALLBACK_ANSWER_BYTES_MAX + over;
        char *const text = malloc(len);
        cr_assert_not_null(text);
        memset(text, ' ', len);
        memcpy(text, said, strlen(said));
        struct callback_verdict v;
        callback_read(&v, bytes_of(text, len));
        cr_expect_eq(v.result, over ? CALLBACK_UNCLEAR : CALLBACK_ALLOW, "%zu", len);
        free(text);
    }
}

static void expect_question(const struct callback_client *client, const char *wanted)
{
    char *const text = callback_question(client);
    cr_assert_not_null(text);
    cr_expect_str_eq(text, wanted);
    free(text);
}

Test(callback, question_has_what_was_given_and_no_more)
{
    struct callback_client client = {.client_id = bytes_text("c"),
                                     .address = "[::1]:9",
                                     .listener = "tcp://[::]:1883",
                                     .protocol_level = 4};
    expect_question(&client, "{\"client_id\":\"c\",\"address\":\"[::1]:9\","
                             "\"listener\":\"tcp://[::]:1883\",\"protocol_level\":4}");
    client.has_user_name = client.has_password = true;
    client.user_name = bytes_text("a\"b");
    client.password = bytes_of("\xff", 1);
    expect_question(&client,
                    "{\"client_id\":\"c\",\"address\":\"[::1]:9\",\"listener\":\"tcp://[::]:1883\","
                    "\"protocol_level\":4,\"user_name\":\"a\\\"b\",\"password_base64\":\"/w==\"}");
    client.has_password = false;
    client.again = true;
    expect_question(&client,
                    "{\"client_id\":\"c\",\"address\":\"[::1]:9\",\"listener\":\"tcp://[::]:1883\","
                    "\"protocol_level\":4,\"user_name\":\"a\\\"b\",\"again\":true}");
    expect_question(&(struct callback_client){.client_id = bytes_text("c"),
                                              .address = "unix",
                                              .has_uid = true,
                                              .uid = 4294967294,
                                              .listener = "unix:///s",
                                              .protocol_level = 5},
                    "{\"client_id\":\"c\",\"address\":\"unix\",\"listener\":\"unix:///s\","
                    "\"protocol_level\":5,\"uid\":4294967294}");
}
