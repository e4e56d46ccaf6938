/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl: a list of rules, in the order in which they are asked; the first that is about something
 * decides. What none is about is the caller's to decide.
 *
 * Owner: a `struct acl` is whose it was made for: a client's own rules, which its token or a server
 * brought (acl_json.h; login_user.acl). It never changes. Memory: one block, acl_bytes().
 * A `struct acl_list` borrows rules from anywhere; made on the stack.
 * Cost: one or two nanoseconds for a rule that is about something else altogether (bench_parts
 * acl).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/auth/acl_rule.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct acl {
    uint32_t count;
    size_t bytes;            /* all of it */
    struct acl_rule rules[]; /* [count], then their filters */
};

/* Room for so many rules, none of which is in yet, and bytes of filters; NULL: no memory. */
struct acl *acl_create(uint32_t rules, size_t filter_bytes);
void acl_destroy(struct acl *acl); /* NULL is fine */

/* The room behind the rules of one that was created for so many: where filters go. */
uint8_t *acl_filters(struct acl *acl, uint32_t rules);

struct acl_list {
    const struct acl_rule *rules;
    const uint32_t *only; /* [count] of the rules, in order; NULL: the first `count` */
    uint32_t count;
};

static inline struct acl_list acl_list_of(const struct acl *acl)
{
    return acl == NULL ? (struct acl_list){.count = 0}
                       : (struct acl_list){.rules = acl->rules, .count = acl->count};
}

enum acl_verdict {
    ACL_UNDECIDED, /* no rule is about it */
    ACL_ALLOWED,
    ACL_DENIED,
};

/* NULL: no rule is about it. */
static inline enum acl_verdict acl_verdict_of(const struct acl_rule *rule)
{
    return rule == NULL ? ACL_UNDECIDED : rule->allow ? ACL_ALLOWED : ACL_DENIED;
}

/* The rule that decides whether a client of those names may publish that; NULL: none
 * is about it. */
const struct acl_rule *acl_publish_rule(const struct acl_list *list, const struct acl_names *names,
                                        struct bytes topic, uint8_t qos, bool retain);

/* Inline, as it is asked for every message. */
static inline enum acl_verdict acl_publish(const struct acl_list *list,
                                           const struct acl_names *names, struct bytes topic,
                                           uint8_t qos, bool retain)
{
    return acl_verdict_of(acl_publish_rule(list, names, topic, qos, retain));
}

/* May it subscribe to the (plain, valid) filter at that QoS? A rule decides if it is about all that
 * the filter matches. */
enum acl_verdict acl_subscribe(const struct acl_list *list, const struct acl_names *names,
                               struct bytes filter, uint8_t qos);

/* The rule that decides whether it may get what is published to the topic; NULL: none is about it.
 * Here QoS does not count: a rule that allows some QoS allows, one that denies some is
 * passed over. */
const struct acl_rule *acl_receive_rule(const struct acl_list *list, const struct acl_names *names,
                                        struct bytes topic);

static inline enum acl_verdict acl_receive(const struct acl_list *list,
                                           const struct acl_names *names, struct bytes topic)
{
    return acl_verdict_of(acl_receive_rule(list, names, topic));
}

/* Is all that the filter matches allowed (ACL_ALLOWED), or something of it denied (ACL_DENIED)? As
 * acl_receive() would judge; undecided: nothing is denied here, and the next list is asked. */
enum acl_verdict acl_receive_all(const struct acl_list *list, const struct acl_names *names,
                                 struct bytes filter);
