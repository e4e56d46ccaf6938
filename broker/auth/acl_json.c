/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl_json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What one object says, besides its topics. */
struct terms {
    const json_t *topic; /* a string, or an array of some */
    bool allow;
    uint8_t actions, qos, retain;
};

/* ---- one member each: NULL, or what is wrong */

static const char *read_permission(struct terms *t, const json_t *value)
{
    const char *const text = json_string_value(value);
    if (text == NULL || (strcmp(text, "allow") != 0 && strcmp(text, "deny") != 0)) {
        return "permission is \"allow\" or \"deny\"";
    }
    t->allow = strcmp(text, "allow") == 0;
    return NULL;
}

static const char *read_action(struct terms *t, const json_t *value)
{
    static const struct {
        const char *name;
        uint8_t actions;
    } known[] = {{"publish", ACL_PUBLISH},
                 {"subscribe", ACL_SUBSCRIBE},
                 {"all", ACL_PUBLISH | ACL_SUBSCRIBE}};
    const char *const text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].name) == 0) {
            t->actions = known[i].actions;
            return NULL;
        }
    }
    return "action is \"publish\", \"subscribe\", or \"all\"";
}

static bool add_qos(struct terms *t, const json_t *value)
{
    const json_int_t qos = json_is_integer(value) ? json_integer_value(value) : -1;
    if (qos < 0 || qos > 2) {
        return false;
    }
    t->qos |= (uint8_t)(1u << qos);
    return true;
}

static const char *read_qos(struct terms *t, const json_t *value)
{
    t->qos = 0;
    bool good = json_is_array(value) ? json_array_size(value) > 0 : add_qos(t, value);
    for (size_t i = 0; good && i < json_array_size(value); i++) {
        good = add_qos(t, json_array_get(value, i));
    }
    return good ? NULL : "qos is 0, 1, or 2, or an array of those";
}

static const char *read_retain(struct terms *t, const json_t *value)
{
    if (!json_is_boolean(value)) {
        return "retain is true or false";
    }
    t->retain = json_is_true(value) ? ACL_RETAIN_YES : ACL_RETAIN_NO;
    return NULL;
}

static const char *read_topic(struct terms *t, const json_t *value)
{
    t->topic = value;
    return NULL;
}

/* ---- one object */

static const char *read_terms(struct terms *t, const json_t *rule)
{
    static const struct {
        const char *name;
        const char *(*read)(struct terms *t, const json_t *value);
        bool needed;
    } members[] = {{"permission", read_permission, true},
                   {"topic", read_topic, true},
                   {"action", read_action, false},
                   {"qos", read_qos, false},
                   {"retain", read_retain, false}};
    *t = (struct terms){
        .actions = ACL_PUBLISH | ACL_SUBSCRIBE, .qos = ACL_QOS_ALL, .retain = ACL_RETAIN_EITHER};
    size_t known = 0;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const json_t *const value = json_object_get(rule, members[i].name);
        if (value == NULL && members[i].needed) {
            return "each rule is an object with permission and topic";
        }
        const char *const wrong = value == NULL ? NULL : members[i].read(t, value);
        if (wrong != NULL) {
            return wrong;
        }
        known += value != NULL;
    }
    return json_object_size(rule) == known
               ? NULL
               : "a rule has no members but permission, action, topic, qos, and retain";
}

static size_t topics_of(const struct terms *t)
{
    return json_is_array(t->topic) ? json_array_size(t->topic) : 1;
}

static const json_t *topic_at(const struct terms *t, size_t i)
{
    return json_is_array(t->topic) ? json_array_get(t->topic, i) : t->topic;
}

/* ---- all of them */

/* How many rules there are, and how long their filters at most. */
static const char *measure(const json_t *rules, uint32_t *count, size_t *bytes)
{
    *count = 0;
    *bytes = 0;
    for (size_t i = 0; i < json_array_size(rules); i++) {
        struct terms t;
        const char *const wrong = read_terms(&t, json_array_get(rules, i));
        if (wrong != NULL) {
            return wrong;
        }
        const size_t topics = topics_of(&t);
        if (topics > ACL_JSON_RULES_MAX - *count) {
            return "there are more than 1000 rules";
        }
        *count += (uint32_t)topics;
        for (size_t k = 0; k < topics; k++) {
            if (!json_is_string(topic_at(&t, k))) {
                return "topic is a string, or an array of some";
            }
            *bytes += json_string_length(topic_at(&t, k));
        }
        if (*bytes > ACL_JSON_BYTES_MAX) {
            return "the topics have more than 65536 bytes";
        }
    }
    return NULL;
}

/* It has been measured. *at: where the next filter goes. */
static const char *add_rule(struct acl *acl, const struct terms *t, const json_t *topic,
                            uint8_t **at)
{
    uint16_t len;
    const struct bytes text = bytes_of(json_string_value(topic), json_string_length(topic));
    const char *const wrong = acl_filter_compile(text, *at, &len);
    if (wrong != NULL) {
        return wrong;
    }
    struct acl_rule *const r = &acl->rules[acl->count++];
    *r = (struct acl_rule){
        .allow = t->allow, .actions = t->actions, .qos = t->qos, .retain = t->retain};
    acl_rule_set_filter(r, *at, len);
    *at += len;
    return NULL;
}

static const char *add_all(struct acl *acl, const json_t *rules, uint32_t count)
{
    uint8_t *at = acl_filters(acl, count);
    for (size_t i = 0; i < json_array_size(rules); i++) {
        struct terms t;
        const char *wrong = read_terms(&t, json_array_get(rules, i));
        for (size_t k = 0; wrong == NULL && k < topics_of(&t); k++) {
            wrong = add_rule(acl, &t, topic_at(&t, k), &at);
        }
        if (wrong != NULL) {
            return wrong;
        }
    }
    assert(acl->count == count);
    return NULL;
}

struct acl *acl_json_read(const json_t *rules, const char **wrong)
{
    uint32_t count;
    size_t bytes;
    if (!json_is_array(rules)) {
        *wrong = "it is no array of rules";
        return NULL;
    }
    *wrong = measure(rules, &count, &bytes);
    if (*wrong != NULL) {
        return NULL;
    }
    struct acl *const acl = acl_create(count, bytes);
    *wrong = acl == NULL ? "there is no memory" : add_all(acl, rules, count);
    if (*wrong != NULL) {
        acl_destroy(acl);
        return NULL;
    }
    return acl;
}

struct acl *acl_json_parse(struct bytes text, const char **wrong)
{
    if (text.len > ACL_JSON_BYTES_MAX) {
        *wrong = "it has more than 65536 bytes";
        return NULL;
    }
    json_t *const rules = json_loadb((const char *)text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    if (rules == NULL) {
        *wrong = "it is no JSON";
        return NULL;
    }
    struct acl *const acl = acl_json_read(rules, wrong);
    json_decref(rules);
    return acl;
}
