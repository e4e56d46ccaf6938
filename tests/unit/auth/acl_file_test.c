/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl_file.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/accounts.h"
#include "broker/auth/groups.h"
#include "broker/unix_socket.h"
#include "tests/unit/route/fault.h"

#define SEED 42u

/* A machine of its own: its users, its groups, and how often it was asked. */
static unsigned look_ups;

static bool find_user(const char *name, uint32_t *uid)
{
    look_ups++;
    *uid = strcmp(name, "broker") == 0 ? 7 : 1000;
    return strcmp(name, "broker") == 0 || strcmp(name, "bob b") == 0;
}

static bool find_group(const char *name, uint32_t *gid)
{
    look_ups++;
    *gid = 20;
    return strcmp(name, "dialout") == 0;
}

static const struct accounts machine = {.uid = find_user, .gid = find_group};

static struct acl_file *file_of(const char *text)
{
    struct acl_file *f = NULL;
    struct config_error error = {.count = 0};
    const enum acl_file_err err =
        acl_file_parse(&f, "acl", bytes_text(text), SEED, &machine, &error);
    cr_assert_eq(err, ACL_FILE_OK, "%s", error.text);
    return f;
}

struct client {
    const char *id, *user, *address; /* NULL: none */
};

static struct acl_who who_of(const struct client *c, struct in6_addr *room)
{
    struct acl_who who = {
        .names = {.value = {[ACL_CLIENT_ID] = bytes_text(c->id),
                            [ACL_USER_NAME] = bytes_text(c->user == NULL ? "" : c->user)}},
        .anonymous = c->user == NULL,
    };
    acl_names_judge(&who.names);
    if (c->address != NULL) {
        cr_assert_eq(inet_pton(AF_INET6, c->address, room), 1);
        who.address = room;
    }
    return who;
}

static struct groups *groups_of(const char *text)
{
    struct groups *groups = NULL;
    json_t *const value = text == NULL ? NULL : json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_eq(value != NULL, text != NULL);
    if (value != NULL) {
        cr_assert_eq(groups_read(&groups, value), GROUPS_OK, "%s", text);
    }
    json_decref(value);
    return groups;
}

/* Its verdicts on publishing to the topics, one letter each: a, d, or - for none. Groups of its own
 * are JSON; NULL: none. Peer: at a Unix socket; NULL: it is at none. */
static void expect_of(const struct acl_file *f, const struct client *c,
                      const struct unix_peer *peer, const char *groups_text,
                      const char *const *topics, const char *verdicts)
{
    struct in6_addr room;
    struct acl_picked picked = {.count = 0};
    struct acl_who who = who_of(c, &room);
    struct groups *const groups = groups_of(groups_text);
    who.groups = groups;
    who.peer = peer;
    cr_assert(acl_file_pick(f, &who, &picked));
    for (uint32_t i = 0; i + 1 < picked.count; i++) {
        cr_expect_lt(picked.at[i], picked.at[i + 1], "%s: rule %u", c->id, picked.at[i]);
    }
    const struct acl_list list = {
        .rules = acl_file_rules(f), .only = picked.at, .count = picked.count};
    for (size_t i = 0; topics[i] != NULL; i++) {
        const enum acl_verdict v = acl_publish(&list, &who.names, bytes_text(topics[i]), 1, false);
        const char letter = v == ACL_ALLOWED ? 'a' : v == ACL_DENIED ? 'd' : '-';
        cr_expect_eq(letter, verdicts[i], "%s (%s) on %s: %c", c->id, c->user, topics[i], letter);
    }
    acl_picked_fini(&picked);
    groups_destroy(groups);
}

static void expect(const struct acl_file *f, const struct client *c, const char *const *topics,
                   const char *verdicts)
{
    expect_of(f, c, NULL, NULL, topics, verdicts);
}

#define TOPICS(...)                                                                                \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

Test(acl_file, rules_are_about_whom_they_name)
{
    struct acl_file *const f = file_of("\xef\xbb\xbf# who is who\n"
                                       "group ops alice \"bob b\"\r\n"
                                       "allow user=alice publish alice\n"
                                       "allow client=gateway publish gateway\n"
                                       "allow group=ops publish ops\n"
                                       "allow anonymous publish anonymous\n"
                                       "allow address=10.0.0.0/8,fd00::/8 publish address\n"
                                       "allow user=alice address=10.0.0.0/8 publish both\n"
                                       "allow group=ops client=gateway publish all-of-it\n"
                                       "\n"
                                       "  allow publish \"every body\"\n"
                                       "group ops carol");
    const char *const *const topics = TOPICS("alice", "gateway", "ops", "anonymous", "address",
                                             "both", "all-of-it", "every body", "other");
    cr_expect_eq(acl_file_count(f), 8);
    cr_expect(!acl_file_allows_rest(f));
    static const struct client alice = {"x", "alice", NULL}, carol = {"gateway", "carol", NULL},
                               bob = {"gateway", "bob b", "fd00::1"}, stranger = {"y", "eve", NULL},
                               near = {"alice", "alice", "::ffff:10.1.2.3"},
                               nobody = {"gateway", NULL, "::ffff:11.0.0.1"};
    expect(f, &alice, topics, "a-a----a-");
    expect(f, &near, topics, "a-a-aa-a-");
    expect(f, &carol, topics, "-aa---aa-");
    expect(f, &bob, topics, "-aa-a-aa-");
    expect(f, &stranger, topics, "-------a-");
    expect(f, &nobody, topics, "-a-a---a-");
    acl_file_put(f);
}

#define PEER(u, g) (&(const struct unix_peer){.uid = (u), .gid = (g), .pid = 1})

/* By TCP nobody is one of them, whatever its address or name. */
Test(acl_file, who_is_at_a_unix_socket)
{
    look_ups = 0;
    struct acl_file *const f = file_of("allow unix publish unix\n"
                                       "allow uid=1000 publish number\n"
                                       "allow uid=broker publish name\n"
                                       "allow uid=\"broker\" unix publish again\n"
                                       "allow gid=dialout publish group\n"
                                       "allow uid=0 gid=20 publish both\n"
                                       "allow user=alice uid=broker publish user\n"
                                       "allow anonymous gid=4294967294 publish anonymous\n"
                                       "deny unix publish rest\n"
                                       "allow publish rest\n");
    cr_expect_eq(look_ups, 2, "%u: each name once", look_ups);
    const char *const *const topics =
        TOPICS("unix", "number", "name", "again", "group", "both", "user", "anonymous", "rest");
    const struct {
        struct client client;
        const struct unix_peer *peer;
        const char *verdicts;
    } by[] = {
        {{"x", NULL, NULL}, PEER(0, 0), "a-------d"},
        {{"x", NULL, NULL}, PEER(0, 20), "a---aa--d"},
        {{"x", NULL, NULL}, PEER(20, 0), "a-------d"},
        {{"x", NULL, NULL}, PEER(1000, 1000), "aa------d"},
        {{"x", NULL, NULL}, PEER(7, 20), "a-aaa---d"},
        {{"x", "alice", NULL}, PEER(7, 7), "a-aa--a-d"},
        {{"x", NULL, NULL}, PEER(1, 4294967294), "a------ad"},
        {{"x", "alice", NULL}, PEER(1, 4294967294), "a-------d"},
        {{"broker", "broker", "::ffff:127.0.0.1"}, NULL, "--------a"},
        {{"1000", "alice", "::1"}, NULL, "--------a"},
        {{"0", NULL, NULL}, NULL, "--------a"},
    };
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
        expect_of(f, &by[i].client, by[i].peer, NULL, topics, by[i].verdicts);
    }
    acl_file_put(f);
}

/* Where the kernel did not say who it is: nothing is allowed for it, and what is denied to anybody
 * is. */
Test(acl_file, who_is_unknown_at_a_unix_socket)
{
    static const struct client client = {"x", NULL, NULL};
    const struct unix_peer *const unknown = PEER(UNIX_ID_UNKNOWN, UNIX_ID_UNKNOWN);
    struct acl_file *const f = file_of("deny uid=1000 publish a\n"
                                       "deny gid=20 publish b\n"
                                       "allow uid=1000 publish c\n"
                                       "allow gid=20 publish c\n"
                                       "allow unix publish a b d\n");
    const char *const *const topics = TOPICS("a", "b", "c", "d");
    expect_of(f, &client, unknown, NULL, topics, "dd-a");
    expect_of(f, &client, PEER(1, 1), NULL, topics, "aa-a");
    expect_of(f, &client, PEER(1000, 20), NULL, topics, "ddaa");
    acl_file_put(f);
}

Test(acl_file, accounts_of_this_machine)
{
    static const struct client client = {"x", NULL, NULL};
    struct acl_file *f = NULL;
    struct config_error error = {.count = 0};
    cr_assert_eq(acl_file_parse(&f, "p", bytes_text("allow uid=root gid=root publish a"), SEED,
                                &accounts_of_this_machine, &error),
                 ACL_FILE_OK, "%s", error.text);
    expect_of(f, &client, PEER(0, 0), NULL, TOPICS("a"), "a");
    expect_of(f, &client, PEER(0, 1), NULL, TOPICS("a"), "-");
    acl_file_put(f);
    uint32_t id;
    cr_expect_not(accounts_of_this_machine.uid("n0b0dy-here", &id));
    cr_expect_not(accounts_of_this_machine.gid("n0b0dy-here", &id));
}

/* Groups by token are as good as the file's; who is in one by both has its rules once. */
Test(acl_file, groups_of_the_client_s_own)
{
    struct acl_file *const f = file_of("group ops alice\n"
                                       "group audit\n"
                                       "deny group=audit publish secret\n"
                                       "allow group=ops client=g publish g\n"
                                       "allow group=ops publish ops secret\n"
                                       "allow user=audit publish user\n");
    const char *const *const topics = TOPICS("ops", "secret", "g", "user");
    const struct {
        struct client client;
        const char *groups; /* JSON */
        const char *verdicts;
    } rows[] = {
        {{"x", "alice", NULL}, "[]", "aa--"},
        {{"x", "bob", NULL}, "[]", "----"},
        {{"x", "bob", NULL}, "[\"ops\"]", "aa--"},
        {{"g", "bob", NULL}, "\"ops\"", "aaa-"},
        {{"x", "bob", NULL}, "\"audit, ops\"", "ad--"},
        {{"x", "alice", NULL}, "[\"ops\", \"audit\"]", "ad--"},
        {{"x", "bob", NULL}, "[\"\\u0001ops\", \"alice\", \"op\", \"opss\", \"Ops\"]", "----"},
        {{"x", "audit", NULL}, "[\"alice\", \"user\"]", "---a"},
        {{"ops", NULL, NULL}, "[\"ops\"]", "----"}, /* nobody is in no group */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_of(f, &rows[i].client, NULL, rows[i].groups, topics, rows[i].verdicts);
    }
    acl_file_put(f);
}

/* Whichever chain it was found by. */
Test(acl_file, first_rule_decides)
{
    struct acl_file *const f = file_of("group ops alice\n"
                                       "default allow\n"
                                       "deny group=ops all a/1\n"
                                       "allow user=alice all a/1 a/2\n"
                                       "deny client=c all a/2 a/3\n"
                                       "allow all a/3\n"
                                       "deny user=alice all a/+\n"
                                       "allow all a/4\n");
    static const struct client alice = {"c", "alice", NULL}, bob = {"c", "bob", NULL};
    cr_expect(acl_file_allows_rest(f));
    expect(f, &alice, TOPICS("a/1", "a/2", "a/3", "a/4", "a/5"), "daddd");
    expect(f, &bob, TOPICS("a/1", "a/2", "a/3", "a/4", "a/5"), "-dda-");
    acl_file_put(f);
}

static enum acl_verdict publish(const char *text, const char *topic, uint8_t qos, bool retain)
{
    struct acl_file *const f = file_of(text);
    const struct acl_names names = {.value = {[0] = {.len = 0}}};
    const struct acl_list list = {.rules = acl_file_rules(f), .count = acl_file_count(f)};
    const enum acl_verdict v = acl_publish(&list, &names, bytes_text(topic), qos, retain);
    acl_file_put(f);
    return v;
}

Test(acl_file, limits)
{
    cr_expect_eq(publish("allow publish qos=0,1 t", "t", 1, false), ACL_ALLOWED);
    cr_expect_eq(publish("allow publish qos=0,1 t", "t", 2, false), ACL_UNDECIDED);
    cr_expect_eq(publish("deny publish qos=2 t", "t", 2, false), ACL_DENIED);
    cr_expect_eq(publish("allow publish retain=no t", "t", 0, true), ACL_UNDECIDED);
    cr_expect_eq(publish("allow publish retain=no t", "t", 0, false), ACL_ALLOWED);
    cr_expect_eq(publish("deny all retain=yes t", "t", 0, true), ACL_DENIED);
    cr_expect_eq(publish("deny all retain=yes qos=1 t", "t", 0, true), ACL_UNDECIDED);
    cr_expect_eq(publish("allow subscribe t", "t", 0, false), ACL_UNDECIDED);
}

/* What a subscription is granted, and what of it is seen. */
Test(acl_file, subscriptions)
{
    struct acl_file *const f = file_of("deny subscribe home/lock\n"
                                       "deny subscribe qos=2 home/#\n"
                                       "deny subscribe home/secret/#\n"
                                       "allow subscribe home/#\n"
                                       "allow subscribe qos=1 one\n");
    const struct acl_names names = {.value = {[0] = {.len = 0}}};
    const struct acl_list list = {.rules = acl_file_rules(f), .count = acl_file_count(f)};
    /* clang-format off */
    static const struct { const char *filter; uint8_t qos; enum acl_verdict granted, seen; } rows[] = {
        {"home/#", 1, ACL_ALLOWED, ACL_DENIED},
        {"home/#", 2, ACL_DENIED, ACL_DENIED},
        {"home/+", 1, ACL_ALLOWED, ACL_DENIED},
        {"home/+/x", 1, ACL_ALLOWED, ACL_DENIED},
        {"home/light/#", 0, ACL_ALLOWED, ACL_ALLOWED},
        {"home/lock", 0, ACL_DENIED, ACL_DENIED},
        {"home/secret/+", 0, ACL_DENIED, ACL_DENIED},
        {"#", 0, ACL_UNDECIDED, ACL_DENIED},
        {"+/light", 0, ACL_UNDECIDED, ACL_UNDECIDED},
        {"one", 1, ACL_ALLOWED, ACL_ALLOWED},
        {"one", 0, ACL_UNDECIDED, ACL_ALLOWED},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct bytes filter = bytes_text(rows[i].filter);
        cr_expect_eq(acl_subscribe(&list, &names, filter, rows[i].qos), rows[i].granted,
                     "granted, row %zu", i);
        cr_expect_eq(acl_receive_all(&list, &names, filter), rows[i].seen, "seen, row %zu", i);
    }
    cr_expect_eq(acl_receive(&list, &names, bytes_text("home/lock")), ACL_DENIED);
    cr_expect_eq(acl_receive(&list, &names, bytes_text("home/secret")), ACL_DENIED);
    cr_expect_eq(acl_receive(&list, &names, bytes_text("home/light")), ACL_ALLOWED);
    cr_expect_eq(acl_receive(&list, &names, bytes_text("one")), ACL_ALLOWED);
    cr_expect_eq(acl_receive(&list, &names, bytes_text("two")), ACL_UNDECIDED);
    acl_file_put(f);
}

/* ---- mistakes: each message whole, with its line */

#define FORM                                                                                       \
    "a rule is: allow or deny, whom it is about, publish, subscribe or all, limits, and filters\n"
#define BEFORE                                                                                     \
    ": limits are qos= and retain=, before the filters; whom a rule is about stands before the "   \
    "action; a filter is put in quotes\n"

static const struct {
    const char *text, *told;
} rows[] = {
    {"permit all #", "p:1: 'permit': a line begins with allow, deny, group, default, or #\n"},
    {"\n\nallow", "p:3: there is no action; " FORM},
    {"allow alice publish a", "p:1: 'alice': " FORM},
    {"allow publish", "p:1: there is no filter; " FORM},
    {"allow publish qos=1", "p:1: there is no filter; " FORM},
    {"allow publish a#", "p:1: 'a#': the filter is none: # stands last, + and # are a whole level "
                         "each\n"},
    {"allow publish a/${user}", "p:1: 'a/${user}': ${…} is one of ${clientid}, ${username}, "
                                "${cn}\n"},
    {"allow publish $share/g/a", "p:1: '$share/g/a': shared subscriptions are judged by the filter "
                                 "behind $share/NAME/; write that one\n"},
    {"allow user= publish a", "p:1: 'user=': names nobody\n"},
    {"allow user=a user=b publish a",
     "p:1: 'user=b': stands twice; a rule about several is one of a group\n"},
    {"allow group=g publish a", "p:1: 'g': there is no such group; write: group GROUP USER…, or "
                                "without users if tokens name it\n"},
    {"allow anonymous user=a publish a",
     "p:1: anonymous are those who are no user; a rule cannot be about both\n"},
    {"allow address=10.0.0.1/8 publish a",
     "p:1: 'address=10.0.0.1/8': an address in it has bits set behind those that count, as in "
     "10.0.0.1/8; write 10.0.0.0/8, or 10.0.0.1 for that one alone\n"},
    {"allow address= publish a", "p:1: 'address=': names no address\n"},
    {"allow address=::1 unix publish a",
     "p:1: who comes by a Unix socket has no address; a rule cannot be about both\n"},
    {"allow uid=0 address=::1 publish a",
     "p:1: who comes by a Unix socket has no address; a rule cannot be about both\n"},
    {"allow uid=eve publish a\nallow uid=eve publish b",
     "p:1: 'uid=eve': this machine has no such user, or cannot look it up now\n"
     "p:2: 'uid=eve': this machine has no such user, or cannot look it up now\n"},
    {"allow gid=broker publish a",
     "p:1: 'gid=broker': this machine has no such group, or cannot look it up now\n"},
    {"allow uid=4294967295 publish a", /* which would be nobody's, and (uid_t)-1 */
     "p:1: 'uid=4294967295': this machine has no such user, or cannot look it up now\n"},
    {"allow uid=-1 publish a",
     "p:1: 'uid=-1': this machine has no such user, or cannot look it up now\n"},
    {"allow gid= publish a", "p:1: 'gid=': names nobody\n"},
    {"allow uid=1 uid=2 publish a", "p:1: 'uid=2': stands twice; write a rule for each\n"},
    {"allow publish uid=1 a", "p:1: 'uid=1'" BEFORE},
    {"allow publish qos=3 a", "p:1: 'qos=3': write qos=0, qos=0,1, and so on\n"},
    {"allow publish qos=0, a", "p:1: 'qos=0,': write qos=0, qos=0,1, and so on\n"},
    {"allow publish qos= a", "p:1: 'qos=': write qos=0, qos=0,1, and so on\n"},
    {"allow publish retain=maybe a", "p:1: 'retain=maybe': write retain=yes, or retain=no\n"},
    {"allow subscribe retain=no a",
     "p:1: 'retain=no': is about publishing; a subscription has no such flag\n"},
    /* what is meant to narrow a rule is never taken for a filter */
    {"allow publish quos=0 a", "p:1: 'quos=0'" BEFORE},
    {"allow publish a qos=0", "p:1: 'qos=0'" BEFORE},
    {"allow publish user=x a", "p:1: 'user=x'" BEFORE},
    {"group", "p:1: the group has no name; write: group GROUP USER…\n"},
    {"default", "p:1: write: default allow, or: default deny\n"},
    {"default allow now", "p:1: write: default allow, or: default deny\n"},
    {"default deny\ndefault allow", "p:2: default: given twice, first on line 1; remove one\n"},
    {"allow publish \"a", "p:1: a \" is not closed\n"},
    {"allow publish \"a\\b\"", "p:1: behind a \\ in quotes has to be \" or \\\n"},
    {"allow publish \xff", "p:1: the line is not UTF-8\n"},
    {"deny all a b# c\nallow", "p:1: 'b#': the filter is none: # stands last, + and # are a whole "
                               "level each\np:2: there is no action; " FORM},
};

Test(acl_file, mistakes)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct acl_file *f = NULL;
        struct config_error error = {.count = 0};
        cr_expect_eq(acl_file_parse(&f, "p", bytes_text(rows[i].text), SEED, &machine, &error),
                     ACL_FILE_INVALID, "%s", rows[i].text);
        cr_expect_null(f);
        cr_expect_str_eq(error.text, rows[i].told);
    }
}

Test(acl_file, quoted_words_are_filters)
{
    cr_expect_eq(publish("allow publish \"qos=1\"", "qos=1", 0, false), ACL_ALLOWED);
    cr_expect_eq(publish("allow publish a/b=c", "a/b=c", 0, false), ACL_ALLOWED);
    cr_expect_eq(publish("allow publish \"a \\\"b\\\" \\\\\"", "a \"b\" \\", 0, false),
                 ACL_ALLOWED);
    cr_expect_eq(publish("allow all #", "a/b", 0, false), ACL_ALLOWED);
}

Test(acl_file, line_of_any_length_is_told)
{
    static char text[ACL_LINE_BYTES_MAX + 100];
    memset(text, 'a', sizeof text - 1);
    struct acl_file *f = NULL;
    struct config_error error = {.count = 0};
    cr_expect_eq(acl_file_parse(&f, "p", bytes_text(text), SEED, &machine, &error),
                 ACL_FILE_INVALID);
    cr_expect_not_null(strstr(error.text, "longer than 65536 bytes"));
}

Test(acl_file, of_a_path)
{
    struct acl_file *f = NULL;
    struct config_error error = {.count = 0};
    cr_expect_eq(acl_file_read(&f, "/nowhere/acl", SEED, &error), ACL_FILE_INVALID);
    cr_expect_str_eq(error.text, "/nowhere/acl: it cannot be read: No such file or directory\n");
}

/* Many rules and users: all of them are found, and each finds its own. */
Test(acl_file, many)
{
    const unsigned users = 3000;
    char *const text = malloc(users * 128u);
    char *at = text;
    for (unsigned i = 0; i < users; i++) {
        at += sprintf(at, "group g%u u%u\nallow group=g%u publish g/u%u\n", i % 100, i, i % 100, i);
        at += sprintf(at, "allow user=u%u all own/u%u\n", i, i);
    }
    struct acl_file *const f = file_of(text);
    free(text);
    cr_expect_eq(acl_file_count(f), 2 * users);
    static const struct client u7 = {"x", "u7", NULL};
    expect(f, &u7, TOPICS("own/u7", "own/u8", "g/u7", "g/u107", "g/u8"), "a-aa-");
    acl_file_put(f);
}

/* Each allocation fails once: it is said, and nothing is left over. */
Test(acl_file, without_memory)
{
    static const char text[] =
        "group g a b\nallow group=g address=10.0.0.0/8 all a\n"
        "deny user=x uid=broker all b\nallow client=y all c d e f g h i j k l m n o\n";
    unsigned failed = 0;
    for (unsigned n = 0; n < 100; n++) {
        struct acl_file *f = NULL;
        struct config_error error = {.count = 0};
        fault_at(n);
        const enum acl_file_err err =
            acl_file_parse(&f, "p", bytes_text(text), SEED, &machine, &error);
        fault_at(FAULT_NEVER);
        cr_assert(err == ACL_FILE_OK || err == ACL_FILE_NO_MEMORY);
        acl_file_put(f);
        failed += err == ACL_FILE_NO_MEMORY;
    }
    cr_expect_gt(failed, 5);
}
