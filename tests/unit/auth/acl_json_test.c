/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl_json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct acl *acl_of(const char *text)
{
    const char *wrong = NULL;
    struct acl *const acl = acl_json_parse(bytes_text(text), &wrong);
    cr_assert_not_null(acl, "%s: %s", text, wrong);
    return acl;
}

static enum acl_verdict publish(const struct acl *acl, const char *topic, uint8_t qos, bool retain)
{
    struct acl_names names = {.value = {[ACL_USER_NAME] = bytes_text("alice")}};
    acl_names_judge(&names);
    const struct acl_list list = acl_list_of(acl);
    return acl_publish(&list, &names, bytes_text(topic), qos, retain);
}

Test(acl_json, first_rule_decides)
{
    struct acl *const acl = acl_of(
        "[{\"permission\":\"deny\",\"action\":\"publish\",\"topic\":\"a/x\"},"
        "{\"permission\":\"allow\",\"action\":\"all\",\"topic\":[\"a/#\",\"u/${username}\"]},"
        "{\"permission\":\"allow\",\"topic\":\"q\",\"qos\":[0,1],\"retain\":false},"
        "{\"permission\":\"allow\",\"topic\":\"r\",\"qos\":2,\"retain\":true},"
        "{\"permission\":\"allow\",\"action\":\"subscribe\",\"topic\":\"s\"}]");
    cr_expect_eq(acl->count, 6);
    cr_expect_eq(publish(acl, "a/x", 0, false), ACL_DENIED);
    cr_expect_eq(publish(acl, "a/y", 0, false), ACL_ALLOWED);
    cr_expect_eq(publish(acl, "u/alice", 0, false), ACL_ALLOWED);
    cr_expect_eq(publish(acl, "u/bob", 0, false), ACL_UNDECIDED);
    cr_expect_eq(publish(acl, "q", 1, false), ACL_ALLOWED);
    cr_expect_eq(publish(acl, "q", 2, false), ACL_UNDECIDED);
    cr_expect_eq(publish(acl, "q", 1, true), ACL_UNDECIDED);
    cr_expect_eq(publish(acl, "r", 2, true), ACL_ALLOWED);
    cr_expect_eq(publish(acl, "r", 2, false), ACL_UNDECIDED);
    cr_expect_eq(publish(acl, "s", 0, false), ACL_UNDECIDED);
    acl_destroy(acl);
}

Test(acl_json, empty_list_is_one)
{
    struct acl *const acl = acl_of("[]");
    cr_expect_eq(acl->count, 0);
    cr_expect_eq(publish(acl, "a", 0, false), ACL_UNDECIDED);
    acl_destroy(acl);
}

/* clang-format off */
static const struct { const char *text, *told; } rows[] = {
    {"", "it is no JSON"},
    {"[", "it is no JSON"},
    {"{}", "it is no array of rules"},
    {"[1]", "each rule is an object with permission and topic"},
    {"[{\"topic\":\"a\"}]", "each rule is an object with permission and topic"},
    {"[{\"permission\":\"allow\"}]", "each rule is an object with permission and topic"},
    {"[{\"permission\":\"Allow\",\"topic\":\"a\"}]", "permission is \"allow\" or \"deny\""},
    {"[{\"permission\":1,\"topic\":\"a\"}]", "permission is \"allow\" or \"deny\""},
    {"[{\"permission\":\"allow\",\"topic\":1}]", "topic is a string, or an array of some"},
    {"[{\"permission\":\"allow\",\"topic\":[\"a\",1]}]", "topic is a string, or an array of some"},
    {"[{\"permission\":\"allow\",\"topic\":\"a#\"}]", "the filter is none: # stands last, + and # are a whole level each"},
    {"[{\"permission\":\"allow\",\"topic\":\"a\",\"action\":\"pub\"}]", "action is \"publish\", \"subscribe\", or \"all\""},
    {"[{\"permission\":\"allow\",\"topic\":\"a\",\"qos\":3}]", "qos is 0, 1, or 2, or an array of those"},
    {"[{\"permission\":\"allow\",\"topic\":\"a\",\"qos\":[]}]", "qos is 0, 1, or 2, or an array of those"},
    {"[{\"permission\":\"allow\",\"topic\":\"a\",\"qos\":\"1\"}]", "qos is 0, 1, or 2, or an array of those"},
    {"[{\"permission\":\"allow\",\"topic\":\"a\",\"retain\":0}]", "retain is true or false"},
    {"[{\"permission\":\"allow\",\"topic\":\"a\",\"until\":1}]", "a rule has no members but permission, action, topic, qos, and retain"},
    {"[{\"permission\":\"allow\",\"permission\":\"deny\",\"topic\":\"a\"}]", "it is no JSON"},
};
/* clang-format on */

Test(acl_json, mistakes)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *wrong = NULL;
        cr_expect_null(acl_json_parse(bytes_text(rows[i].text), &wrong), "%s", rows[i].text);
        cr_expect_str_eq(wrong, rows[i].told, "%s", rows[i].text);
    }
}

static void expect_too_much(const char *text, const char *told)
{
    const char *wrong = NULL;
    cr_expect_null(acl_json_parse(bytes_text(text), &wrong));
    cr_expect_str_eq(wrong, told);
}

Test(acl_json, bounds)
{
    static char text[ACL_JSON_BYTES_MAX + 2];
    char *at = text + sprintf(text, "[{\"permission\":\"allow\",\"topic\":[\"a\"");
    for (unsigned i = 0; i < ACL_JSON_RULES_MAX; i++) {
        at += sprintf(at, ",\"a\"");
    }
    strcpy(at, "]}]");
    expect_too_much(text, "there are more than 1000 rules");
    memset(text, ' ', sizeof text - 1);
    expect_too_much(text, "it has more than 65536 bytes");
}

/* Of a whole that somebody else has read. */
Test(acl_json, topics_of_any_size_are_measured)
{
    char *const topic = malloc(ACL_JSON_BYTES_MAX + 2);
    memset(topic, 'a', ACL_JSON_BYTES_MAX + 1);
    topic[ACL_JSON_BYTES_MAX + 1] = '\0';
    json_t *const rules = json_pack("[{s:s, s:s}]", "permission", "allow", "topic", topic);
    const char *wrong = NULL;
    cr_expect_null(acl_json_read(rules, &wrong));
    cr_expect_str_eq(wrong, "the topics have more than 65536 bytes");
    json_decref(rules);
    free(topic);
}
