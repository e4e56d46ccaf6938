/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl_fuzz: any bytes are an ACL file, or are refused in words that have a line; any bytes are
 * rules in JSON, or are refused. What came out is asked about a client and a topic of the input's:
 * a rule that covers a topic, taken as a filter, is about it, and meets it, and the other way
 * round.
 *
 * Input: a user's name, which is the client id too, and a topic or filter, each up to a byte 0xff;
 * then the file.
 */
#include <string.h>

#include "broker/auth/accounts.h"
#include "broker/auth/acl_file.h"
#include "broker/auth/acl_json.h"
#include "broker/unix_socket.h"
#include "proto/topic.h"
#include "tests/fuzz/fuzz.h"

#define SEED 4711u

/* "fuzz:12: …" or "fuzz: …", each a line. */
static void told(const struct config_error *error)
{
    const size_t len = strlen(error->text);
    FUZZ_EXPECT(error->count > 0 && len > 0 && len < CONFIG_ERROR_BYTES);
    FUZZ_EXPECT(error->text[len - 1] == '\n');
    FUZZ_EXPECT(strncmp(error->text, "fuzz:", 5) == 0);
}

static void asked(const struct acl_list *list, const struct acl_names *names, struct bytes topic)
{
    if (topic_name_valid(topic)) {
        const uint64_t key = acl_topic_key(topic);
        for (uint32_t i = 0; i < list->count; i++) {
            const struct acl_rule *const r = &list->rules[list->only == NULL ? i : list->only[i]];
            const bool about = acl_rule_matches(r, names, topic, key);
            FUZZ_EXPECT(about == acl_rule_covers(r, names, topic));
            FUZZ_EXPECT(about == acl_rule_meets(r, names, topic));
        }
        FUZZ_EXPECT(acl_receive(list, names, topic) == acl_receive_all(list, names, topic));
        (void)acl_publish(list, names, topic, 1, true);
    }
    if (topic_filter_valid(topic)) {
        for (uint32_t i = 0; i < list->count; i++) {
            const struct acl_rule *const r = &list->rules[list->only == NULL ? i : list->only[i]];
            FUZZ_EXPECT(!acl_rule_covers(r, names, topic) || acl_rule_meets(r, names, topic));
        }
        (void)acl_subscribe(list, names, topic, 2);
    }
}

/* Users and groups whose names begin so; their ids are what is behind it. */
static bool find_account(const char *name, uint32_t *id)
{
    *id = (uint8_t)name[1];
    return name[0] == 'u';
}

static const struct accounts machine = {.uid = find_account, .gid = find_account};

static void read_file(struct bytes text, const struct acl_who *who, struct bytes topic)
{
    struct acl_file *f = NULL;
    struct config_error error = {0};
    if (acl_file_parse(&f, "fuzz", text, SEED, &machine, &error) != ACL_FILE_OK) {
        FUZZ_EXPECT(f == NULL);
        told(&error);
        return;
    }
    FUZZ_EXPECT(error.count == 0);
    struct acl_picked picked = {.count = 0};
    FUZZ_EXPECT(acl_file_pick(f, who, &picked) && picked.count <= acl_file_count(f));
    for (uint32_t i = 0; i + 1 < picked.count; i++) {
        FUZZ_EXPECT(picked.at[i] < picked.at[i + 1]);
    }
    const struct acl_list list = {
        .rules = acl_file_rules(f), .only = picked.at, .count = picked.count};
    asked(&list, &who->names, topic);
    acl_picked_fini(&picked);
    acl_file_put(f);
}

static void read_json(struct bytes text, const struct acl_who *who, struct bytes topic)
{
    const char *wrong = NULL;
    struct acl *const acl = acl_json_parse(text, &wrong);
    FUZZ_EXPECT((acl == NULL) == (wrong != NULL));
    if (acl != NULL) {
        const struct acl_list list = acl_list_of(acl);
        asked(&list, &who->names, topic);
        acl_destroy(acl);
    }
}

/* Up to the next 0xff, which is taken off; false: there is none. */
static bool take(struct bytes *rest, struct bytes *part)
{
    const uint8_t *const end = rest->len == 0 ? NULL : memchr(rest->at, 0xff, rest->len);
    if (end == NULL) {
        return false;
    }
    *part = bytes_of(rest->at, (size_t)(end - rest->at));
    *rest = bytes_of(end + 1, rest->len - part->len - 1);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size);
    struct bytes user, topic;
    if (!take(&rest, &user) || !take(&rest, &topic)) {
        return 0;
    }
    struct acl_who who = {.names = {.value = {[ACL_CLIENT_ID] = user, [ACL_USER_NAME] = user}},
                          .anonymous = user.len == 0};
    acl_names_judge(&who.names);
    read_file(rest, &who, topic);
    const struct unix_peer peer = {.uid = 'x', .gid = UNIX_ID_UNKNOWN};
    who.peer = &peer;
    read_file(rest, &who, topic);
    read_json(rest, &who, topic);
    return 0;
}
