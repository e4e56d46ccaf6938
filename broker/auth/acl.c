/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl.h"

#include <stdlib.h>

struct acl *acl_create(uint32_t rules, size_t filter_bytes)
{
    const size_t bytes = sizeof(struct acl) + rules * sizeof(struct acl_rule) + filter_bytes;
    struct acl *const acl = calloc(1, bytes);
    if (acl != NULL) {
        acl->bytes = bytes;
    }
    return acl;
}

void acl_destroy(struct acl *acl)
{
    free(acl);
}

uint8_t *acl_filters(struct acl *acl, uint32_t rules)
{
    return (uint8_t *)(acl->rules + rules);
}

static const struct acl_rule *rule_at(const struct acl_list *list, uint32_t i)
{
    return &list->rules[list->only == NULL ? i : list->only[i]];
}

const struct acl_rule *acl_publish_rule(const struct acl_list *list, const struct acl_names *names,
                                        struct bytes topic, uint8_t qos, bool retain)
{
    const uint64_t key = acl_topic_key(topic);
    const unsigned flag = retain ? ACL_RETAIN_YES : ACL_RETAIN_NO;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct acl_rule *const r = rule_at(list, i);
        if ((r->actions & ACL_PUBLISH) != 0 && (r->qos >> qos & 1) != 0 &&
            (r->retain & flag) != 0 && acl_rule_matches(r, names, topic, key)) {
            return r;
        }
    }
    return NULL;
}

enum acl_verdict acl_subscribe(const struct acl_list *list, const struct acl_names *names,
                               struct bytes filter, uint8_t qos)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct acl_rule *const r = rule_at(list, i);
        if ((r->actions & ACL_SUBSCRIBE) != 0 && (r->qos >> qos & 1) != 0 &&
            acl_rule_covers(r, names, filter)) {
            return acl_verdict_of(r);
        }
    }
    return ACL_UNDECIDED;
}

/* Does the rule count when a message is delivered? */
static bool is_of_delivery(const struct acl_rule *r)
{
    return (r->actions & ACL_SUBSCRIBE) != 0 && (r->allow || r->qos == ACL_QOS_ALL);
}

const struct acl_rule *acl_receive_rule(const struct acl_list *list, const struct acl_names *names,
                                        struct bytes topic)
{
    const uint64_t key = acl_topic_key(topic);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct acl_rule *const r = rule_at(list, i);
        if (is_of_delivery(r) && acl_rule_matches(r, names, topic, key)) {
            return r;
        }
    }
    return NULL;
}

enum acl_verdict acl_receive_all(const struct acl_list *list, const struct acl_names *names,
                                 struct bytes filter)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct acl_rule *const r = rule_at(list, i);
        if (!is_of_delivery(r)) {
            continue;
        }
        if (r->allow ? acl_rule_covers(r, names, filter) : acl_rule_meets(r, names, filter)) {
            return acl_verdict_of(r);
        }
    }
    return ACL_UNDECIDED;
}
