/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl_rule.h"

#include <criterion/criterion.h>
#include <string.h>

#include "proto/topic.h"
#include "tests/unit/auth/acl_oracle.h"
#include "tests/unit/route/random.h"

#define CASES        300u
#define FILTER_BYTES 128u

static struct acl_names named(const char *client_id, const char *user, const char *cn)
{
    struct acl_names names = {.value = {[ACL_CLIENT_ID] = bytes_text(client_id),
                                        [ACL_USER_NAME] = bytes_text(user),
                                        [ACL_COMMON_NAME] = bytes_text(cn)}};
    acl_names_judge(&names);
    return names;
}

static struct acl_rule rule_of(const char *filter, bool allow, uint8_t *room)
{
    struct acl_rule r = {.allow = allow};
    uint16_t len;
    const char *const wrong = acl_filter_compile(bytes_text(filter), room, &len);
    cr_assert_null(wrong, "%s: %s", filter, wrong);
    acl_rule_set_filter(&r, room, len);
    return r;
}

static bool about(const struct acl_rule *r, const struct acl_names *names, const char *topic)
{
    const struct bytes text = bytes_text(topic);
    return acl_rule_matches(r, names, text, acl_topic_key(text));
}

/* clang-format off */
static const struct { const char *filter, *client_id, *topic; bool allowed, denied; } rows[] = {
    {"d/${clientid}/#", "me", "d/me/x", true, true},
    {"d/${clientid}/#", "me", "d/me", true, true},
    {"d/${clientid}/#", "me", "d/you/x", false, false},
    {"d/${clientid}/#", "me", "d/mee/x", false, false},
    {"d/${clientid}/#", "mee", "d/me/x", false, false},
    {"${clientid}", "me", "me", true, true},
    {"x-${clientid}-y/z", "me", "x-me-y/z", true, true},
    {"${clientid}/${clientid}", "me", "me/me", true, true},
    {"a/longer/than/eight/+/#", "me", "a/longer/than/eight/x", true, true},
    {"a/longer/than/eight/+/#", "me", "a/longer/than/nine/x", false, false},
    /* a name that would be more than itself: nothing is allowed by it, and no level is safe from what is denied */
    {"d/${clientid}/#", "+", "d/you/x", false, true},
    {"d/${clientid}/#", "#", "d/you/x", false, true},
    {"d/${clientid}/#", "+", "d/+/x", false, true},
    {"d/${clientid}/c", "a/b", "d/a/b/c", false, false},
    {"d/${clientid}/b/c", "a/b", "d/a/b/c", false, true},
    {"d/${clientid}", "", "d/", false, true},
    {"d/${clientid}/x", "${username}", "d/you/x", false, false},
    {"d/${clientid}/x", "${username}", "d/${username}/x", true, true},
    {"${clientid}/x", "$SYS", "$SYS/x", false, true},
    {"d/${clientid}", "$SYS", "d/$SYS", true, true},
    {"#", "me", "$SYS/x", false, false},
    {"+/x", "me", "$SYS/x", false, false},
    {"$SYS/#", "me", "$SYS/x", true, true},
};
/* clang-format on */

Test(acl_rule, names_stand_for_themselves)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t room[FILTER_BYTES];
        const struct acl_names names = named(rows[i].client_id, "you", "");
        const struct acl_rule allow = rule_of(rows[i].filter, true, room);
        const struct acl_rule deny = rule_of(rows[i].filter, false, room);
        cr_expect_eq(about(&allow, &names, rows[i].topic), rows[i].allowed, "allow, row %zu", i);
        cr_expect_eq(about(&deny, &names, rows[i].topic), rows[i].denied, "deny, row %zu", i);
    }
}

/* A client id has no NUL in it, but a certificate's name may: it is nobody's then. */
Test(acl_rule, nul_is_in_no_name)
{
    uint8_t room[FILTER_BYTES];
    struct acl_names names = named("me", "you", "");
    names.value[ACL_COMMON_NAME] = bytes_of("a\0b", 3);
    acl_names_judge(&names);
    const struct acl_rule allow = rule_of("${cn}", true, room);
    cr_expect(
        !acl_rule_matches(&allow, &names, bytes_of("a\0b", 3), acl_topic_key(bytes_of("a\0b", 3))));
    cr_expect(!about(&allow, &names, "a"));
}

static const struct {
    const char *filter, *other;
    bool covers, meets;
} pairs[] = {
    {"a/#", "a/#", true, true},
    {"a/#", "a", true, true},
    {"a", "a/#", false, true},
    {"a/+", "a/b", true, true},
    {"a/b", "a/+", false, true},
    {"a/+", "a/+", true, true},
    {"a/+", "a/#", false, true},
    {"a/#", "a/+/b", true, true},
    {"#", "a/b/c", true, true},
    {"#", "#", true, true},
    {"+", "#", false, true},
    {"a/+/c", "a/b/+", false, true},
    {"a/b", "a/c", false, false},
    {"a/b/#", "a/c/#", false, false},
    {"a/+", "a", false, false},
    {"a/+/#", "a", false, false},
    {"a/#", "b/#", false, false},
    {"#", "$SYS/#", false, false},
    {"+/x", "$SYS/x", false, false},
    {"$SYS/#", "#", false, false},
    {"$SYS/#", "+/x", false, false},
    {"$SYS/#", "$SYS/x", true, true},
    {"a/b", "a/b/c", false, false},
    {"a/b/c", "a/b", false, false},
    {"${clientid}/#", "me/x", true, true},
    {"${clientid}/#", "+/x", false, true},
    {"${clientid}/#", "you/#", false, false},
};

Test(acl_rule, filters)
{
    const struct acl_names names = named("me", "", "");
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        uint8_t room[FILTER_BYTES];
        const struct acl_rule r = rule_of(pairs[i].filter, true, room);
        const struct bytes other = bytes_text(pairs[i].other);
        cr_expect_eq(acl_rule_covers(&r, &names, other), pairs[i].covers, "%s, %s", pairs[i].filter,
                     pairs[i].other);
        cr_expect_eq(acl_rule_meets(&r, &names, other), pairs[i].meets, "%s, %s", pairs[i].filter,
                     pairs[i].other);
    }
}

static const struct {
    const char *text, *part;
} mistakes[] = {
    {"", "empty"},
    {"a#", "is none"},
    {"a/#/b", "is none"},
    {"${clientid}+", "is none"},
    {"${clientID}", "is one of"},
    {"${", "is one of"},
    {"a\x01", "control"},
    {"\xff", "UTF-8"},
    {"$share/g/a", "shared"},
};

Test(acl_rule, mistakes)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        uint8_t room[FILTER_BYTES];
        uint16_t len;
        const char *const wrong = acl_filter_compile(bytes_text(mistakes[i].text), room, &len);
        cr_expect(wrong != NULL && strstr(wrong, mistakes[i].part) != NULL, "%s: %s",
                  mistakes[i].text, wrong);
    }
}

/* ---- against the naive reading, at random */

static void random_filter(struct random *r, const char *const *levels, uint32_t count, char *out)
{
    const unsigned n = 1 + (unsigned)random_below(r, ORACLE_LEVELS);
    out[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        const bool is_last = i + 1 == n;
        strcat(out, i > 0 ? "/" : "");
        strcat(out, is_last && random_below(r, 4) == 0 ? "#" : levels[random_below(r, count)]);
    }
    if (out[0] == '\0') {
        strcpy(out, "+");
    }
}

static struct acl_names random_names(struct random *r)
{
    static const char *const values[] = {"me", "a", "b", "$a", "+", "#", "a/b", "", "a+", "a"};
    const uint32_t count = sizeof values / sizeof values[0];
    return named(values[random_below(r, count)], values[random_below(r, count)],
                 values[random_below(r, count)]);
}

/* What one pair of filters has to do with each other, topic by topic. */
struct found {
    bool all, any;
};

static struct found try_all(const struct acl_rule *r, const char *filter, const char *other,
                            const struct acl_names *names)
{
    struct found found = {.all = true};
    char topic[FILTER_BYTES];
    for (size_t n = 0; oracle_topic(n, topic); n++) {
        const bool own = oracle_matches(filter, r->allow, names, topic);
        cr_assert_eq(about(r, names, topic), own, "%s, %s, %s", filter, topic,
                     r->allow ? "allow" : "deny");
        if (topic_matches(bytes_text(other), bytes_text(topic))) {
            found.all = found.all && own;
            found.any = found.any || own;
        }
    }
    return found;
}

Test(acl_rule, as_a_naive_reading_has_it, .timeout = 60)
{
    static const char *const own[] = {"a",           "b",      "+", "${clientid}",
                                      "${username}", "a${cn}", "",  "$a"};
    static const char *const other[] = {"a", "b", "+", "me", "ame", "", "$a", "ab"};
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    for (unsigned i = 0; i < CASES; i++) {
        char filter[FILTER_BYTES], asked[FILTER_BYTES];
        uint8_t room[FILTER_BYTES];
        random_filter(&random, own, sizeof own / sizeof own[0], filter);
        random_filter(&random, other, sizeof other / sizeof other[0], asked);
        const struct acl_names names = random_names(&random);
        const struct acl_rule r = rule_of(filter, random_below(&random, 2) == 0, room);
        const struct found found = try_all(&r, filter, asked, &names);
        const bool covers = acl_rule_covers(&r, &names, bytes_text(asked));
        cr_expect(!covers || found.all, "%s covers %s", filter, asked);
        cr_expect_eq(acl_rule_meets(&r, &names, bytes_text(asked)), found.any, "%s meets %s",
                     filter, asked);
        /* Where no name is missing, and "+/#" is not to be "#", covers() finds all. */
        const bool missing = (r.names & (names.unusable | names.unusable_first)) != 0;
        if (!missing && asked[0] != '#') {
            cr_expect_eq(covers, found.all, "%s, %s", filter, asked);
        }
    }
}

/* A filter is shown as it was written; cut between its parts where there is no room. */
Test(acl_rule, filter_text)
{
    static const char *const filters[] = {"a", "in/${clientid}/+/#", "${username}${cn}", "ö/$x"};
    uint8_t room[FILTER_BYTES];
    char text[FILTER_BYTES];
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const struct acl_rule r = rule_of(filters[i], true, room);
        acl_rule_filter_text(&r, text, sizeof text);
        cr_expect_str_eq(text, filters[i]);
    }
    const struct acl_rule r = rule_of("in/${clientid}/+", true, room);
    acl_rule_filter_text(&r, text, 14);
    cr_expect_str_eq(text, "in/");
    acl_rule_filter_text(&r, text, 15);
    cr_expect_str_eq(text, "in/${clientid}");
}
