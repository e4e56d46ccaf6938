/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl_rule: one rule of who may publish and subscribe to what: what it says, and which topics and
 * filters it is about. docs/authorization.md says it for operators.
 *
 * A rule's filter may name the client: ${clientid}, ${username}, ${cn}. The names are looked up
 * while topics are compared, so that a rule is the same for all clients. A name that could stand
 * for more than one level (it is empty, unknown, or has + # / or NUL in it; or it would begin a
 * topic with $) is *unusable*: a rule that allows is passed over, one that denies is about every
 * level in that place. So no name widens what somebody may do.
 *
 * Owner: whoever holds the list that it stands in; constant. It borrows its filter.
 * Memory: 40 bytes and the filter. All functions take any names, topics and filters, and cost at
 * most their length.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define ACL_FILTER_BYTES_MAX 4096u

enum acl_action { ACL_PUBLISH = 1, ACL_SUBSCRIBE = 2 }; /* to be or'ed */

#define ACL_QOS_ALL       7u /* a bit each */
#define ACL_RETAIN_NO     1u
#define ACL_RETAIN_YES    2u
#define ACL_RETAIN_EITHER 3u

enum acl_name { ACL_CLIENT_ID, ACL_USER_NAME, ACL_COMMON_NAME, ACL_NAMES };

/* A client's names; borrowed. */
struct acl_names {
    struct bytes value[ACL_NAMES]; /* empty: it has none */
    uint8_t unusable;              /* bits by enum acl_name */
    uint8_t unusable_first;        /* likewise, at the beginning of a filter */
};

/* Fills in the bits. */
void acl_names_judge(struct acl_names *names);

struct acl_rule {
    const uint8_t *filter; /* acl_filter_compile() made it */
    uint64_t prefix, mask; /* what it begins with, as acl_topic_key() has it, up to 8 bytes */
    uint16_t filter_len;
    bool allow;
    uint8_t actions; /* enum acl_action */
    uint8_t qos;     /* bits 0, 1, 2 */
    uint8_t retain;  /* of PUBLISH only */
    uint8_t names;   /* that it has in it: bits by enum acl_name */
    uint8_t first;   /* that it begins with: likewise, one or none */
};

/* The text of a filter, in the form that a rule has it in: *len bytes of out, which has room for
 * ACL_FILTER_BYTES_MAX or the text. NULL; or what is
 * wrong with it, a constant text. */
NODISCARD const char *acl_filter_compile(struct bytes text, uint8_t *out, uint16_t *len);

/* Sets what follows from the filter, which is borrowed. */
void acl_rule_set_filter(struct acl_rule *rule, const uint8_t *filter, uint16_t len);

/* The filter as it was written, with ${clientid} and so on; cut to the room. out_size > 0. */
void acl_rule_filter_text(const struct acl_rule *rule, char *out, size_t out_size);

/* The beginning of a topic name, for acl_rule_matches(). */
uint64_t acl_topic_key(struct bytes topic);

/* Is it about that topic, for a client of those names? All of it is compared. */
bool acl_rule_matches_whole(const struct acl_rule *rule, const struct acl_names *names,
                            struct bytes topic);

/* Likewise. Most rules are passed over by their first bytes, and inline that costs no call. */
static inline bool acl_rule_matches(const struct acl_rule *rule, const struct acl_names *names,
                                    struct bytes topic, uint64_t key)
{
    return ((key ^ rule->prefix) & rule->mask) == 0 && acl_rule_matches_whole(rule, names, topic);
}

/* Is it about every topic that the (plain, valid) filter matches? About any? */
bool acl_rule_covers(const struct acl_rule *rule, const struct acl_names *names,
                     struct bytes filter);
bool acl_rule_meets(const struct acl_rule *rule, const struct acl_names *names,
                    struct bytes filter);
