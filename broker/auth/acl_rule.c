/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl_rule.h"

#include <assert.h>
#include <string.h>

#include "proto/topic.h"
#include "proto/utf8.h"

/* A name's place in a compiled filter: bytes that UTF-8 never has. */
#define PLACE(name) ((uint8_t)(0xff - (name)))
#define PLACE_MIN   PLACE(ACL_NAMES - 1)

static const char *const places[ACL_NAMES] = {
    [ACL_CLIENT_ID] = "${clientid}", [ACL_USER_NAME] = "${username}", [ACL_COMMON_NAME] = "${cn}"};

static bool is_place(uint8_t byte)
{
    return byte >= PLACE_MIN;
}

static enum acl_name name_at(uint8_t byte)
{
    return (enum acl_name)(0xff - byte);
}

/* ---- names */

static bool is_usable(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        const uint8_t c = value.at[i];
        if (c == '+' || c == '#' || c == '/' || c == '\0') {
            return false;
        }
    }
    return value.len > 0;
}

void acl_names_judge(struct acl_names *names)
{
    names->unusable = 0;
    names->unusable_first = 0;
    for (unsigned i = 0; i < ACL_NAMES; i++) {
        const struct bytes value = names->value[i];
        if (!is_usable(value)) {
            names->unusable |= (uint8_t)(1u << i);
        }
        if (!is_usable(value) || value.at[0] == '$') {
            names->unusable_first |= (uint8_t)(1u << i);
        }
    }
}

/* The names that this rule has to do without. */
static unsigned missing_of(const struct acl_rule *r, const struct acl_names *names)
{
    return (r->names & names->unusable) | (r->first & names->unusable_first);
}

/* ---- filters */

static bool begins_with(struct bytes text, const char *with)
{
    const size_t len = strlen(with);
    return text.len >= len && memcmp(text.at, with, len) == 0;
}

/* The place that the text begins with; false: none. */
static bool place_of(struct bytes text, enum acl_name *name)
{
    for (unsigned i = 0; i < ACL_NAMES; i++) {
        if (begins_with(text, places[i])) {
            *name = (enum acl_name)i;
            return true;
        }
    }
    return false;
}

const char *acl_filter_compile(struct bytes text, uint8_t *out, uint16_t *len)
{
    if (text.len == 0) {
        return "the filter is empty";
    }
    if (text.len > ACL_FILTER_BYTES_MAX) {
        return "the filter has more than 4096 bytes";
    }
    if (!utf8_valid(text)) {
        return "the filter is not UTF-8";
    }
    if (begins_with(text, "$share/")) {
        return "shared subscriptions are judged by the filter behind $share/NAME/; write that one";
    }
    size_t used = 0;
    for (size_t at = 0; at < text.len;) {
        const struct bytes rest = bytes_of(text.at + at, text.len - at);
        enum acl_name name;
        if (place_of(rest, &name)) {
            out[used++] = PLACE(name);
            at += strlen(places[name]);
        } else if (begins_with(rest, "${")) {
            return "${…} is one of ${clientid}, ${username}, ${cn}";
        } else if (rest.at[0] < 0x20 || rest.at[0] == 0x7f) {
            return "the filter has a control character in it";
        } else {
            out[used++] = rest.at[0];
            at++;
        }
    }
    if (!topic_filter_valid(bytes_of(out, used))) {
        return "the filter is none: # stands last, + and # are a whole level each";
    }
    *len = (uint16_t)used;
    return NULL;
}

void acl_rule_filter_text(const struct acl_rule *rule, char *out, size_t out_size)
{
    assert(out_size > 0);
    size_t used = 0;
    for (uint16_t i = 0; i < rule->filter_len; i++) {
        const uint8_t byte = rule->filter[i];
        const char *const text = is_place(byte) ? places[name_at(byte)] : (const char *)&byte;
        const size_t len = is_place(byte) ? strlen(text) : 1;
        if (used + len >= out_size) {
            break;
        }
        memcpy(out + used, text, len);
        used += len;
    }
    out[used] = '\0';
}

uint64_t acl_topic_key(struct bytes topic)
{
    uint64_t key = 0;
    memcpy(&key, topic.at, topic.len < sizeof key ? topic.len : sizeof key);
    return key;
}

/* How many of its bytes a topic has to begin with. "a/#" is about "a", too. */
static size_t literal_len(const uint8_t *filter, size_t len)
{
    size_t n = 0;
    while (n < len && filter[n] != '+' && filter[n] != '#' && !is_place(filter[n])) {
        n++;
    }
    return n > 0 && n + 1 == len && filter[n] == '#' ? n - 1 : n;
}

void acl_rule_set_filter(struct acl_rule *r, const uint8_t *filter, uint16_t len)
{
    assert(len > 0);

    r->filter = filter;
    r->filter_len = len;
    r->names = 0;
    r->first = 0;
    for (size_t i = 0; i < len; i++) {
        if (is_place(filter[i])) {
            r->names |= (uint8_t)(1u << name_at(filter[i]));
        }
    }
    if (is_place(filter[0])) {
        r->first = (uint8_t)(1u << name_at(filter[0]));
    }
    static const uint8_t ones[sizeof r->mask] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const size_t literal = literal_len(filter, len);
    r->prefix = acl_topic_key(bytes_of(filter, literal));
    r->mask = acl_topic_key(bytes_of(ones, literal < sizeof ones ? literal : sizeof ones));
}

/* ---- about a topic? */

/* A leading wildcard does not reach what begins with $ [MQTT-4.7.2-1]. */
static bool is_hidden(const struct acl_rule *r, struct bytes topic)
{
    return (r->filter[0] == '+' || r->filter[0] == '#') && topic.len > 0 && topic.at[0] == '$';
}

static const uint8_t *level_end(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *const slash = at == end ? NULL : memchr(at, '/', (size_t)(end - at));
    return slash == NULL ? end : slash;
}

/* Is the value there? Moves *at past it. Nothing is no name, whatever was known of it before. */
static bool take_value(struct bytes value, const uint8_t **at, const uint8_t *end)
{
    if (value.len == 0 || (size_t)(end - *at) < value.len ||
        memcmp(*at, value.at, value.len) != 0) {
        return false;
    }
    *at += value.len;
    return true;
}

/* One level of the filter, or what of it is left, is about any level: no name is known there. */
static void pass_level(const uint8_t **f, const uint8_t *f_end, const uint8_t **t,
                       const uint8_t *t_end)
{
    *f = level_end(*f, f_end);
    *t = level_end(*t, t_end);
}

/* `missing`: names that stand for anything. */
static bool matches(const struct acl_rule *r, const struct acl_names *names, unsigned missing,
                    struct bytes topic)
{
    const uint8_t *f = r->filter;
    const uint8_t *const f_end = f + r->filter_len;
    const uint8_t *t = topic.at;
    const uint8_t *const t_end = t + topic.len;
    while (f < f_end) {
        if (*f == '#') {
            return true;
        }
        if (*f == '+') {
            pass_level(&f, f_end, &t, t_end);
        } else if (is_place(*f)) {
            const enum acl_name name = name_at(*f);
            if ((missing >> name & 1) != 0) {
                pass_level(&f, f_end, &t, t_end);
            } else if (take_value(names->value[name], &t, t_end)) {
                f++;
            } else {
                return false;
            }
        } else if (t < t_end && *f == *t) {
            f++;
            t++;
        } else {
            return t == t_end && f_end - f == 2 && f[0] == '/' && f[1] == '#'; /* (4.7.1.2) */
        }
    }
    return t == t_end;
}

bool acl_rule_matches_whole(const struct acl_rule *r, const struct acl_names *names,
                            struct bytes topic)
{
    const unsigned missing = missing_of(r, names);
    return (missing == 0 || !r->allow) && !is_hidden(r, topic) && matches(r, names, missing, topic);
}

/* ---- about a filter? */

static bool is_wildcard(struct bytes level, char wildcard)
{
    return level.len == 1 && level.at[0] == (uint8_t)wildcard;
}

/* A level of the rule's, which is no wildcard, and one of the other filter, likewise. */
static bool is_same_level(struct bytes own, struct bytes other, const struct acl_names *names,
                          unsigned missing)
{
    const uint8_t *t = other.at;
    const uint8_t *const t_end = t + other.len;
    for (size_t i = 0; i < own.len; i++) {
        if (!is_place(own.at[i])) {
            if (t == t_end || *t != own.at[i]) {
                return false;
            }
            t++;
        } else if ((missing >> name_at(own.at[i]) & 1) != 0) {
            return true;
        } else if (!take_value(names->value[name_at(own.at[i])], &t, t_end)) {
            return false;
        }
    }
    return t == t_end;
}

bool acl_rule_covers(const struct acl_rule *r, const struct acl_names *names, struct bytes filter)
{
    const unsigned missing = missing_of(r, names);
    if ((missing != 0 && r->allow) || is_hidden(r, filter)) {
        return false;
    }
    struct bytes rest = bytes_of(r->filter, r->filter_len);
    bool own_more = true;
    bool more = true;
    while (own_more) {
        const struct bytes own = topic_level_next(&rest, &own_more);
        if (is_wildcard(own, '#')) {
            return true;
        }
        if (!more) {
            return false;
        }
        const struct bytes other = topic_level_next(&filter, &more);
        if (is_wildcard(other, '#')) {
            return false;
        }
        if (!is_wildcard(own, '+') &&
            (is_wildcard(other, '+') || !is_same_level(own, other, names, missing))) {
            return false;
        }
    }
    return !more;
}

/* One begins with a wildcard and the other with $: they have nothing in common. A name that is
 * missing may be anything. */
static bool is_apart(const struct acl_rule *r, struct bytes filter)
{
    const bool wild = filter.at[0] == '+' || filter.at[0] == '#';
    return is_hidden(r, filter) || (wild && r->filter[0] == '$');
}

bool acl_rule_meets(const struct acl_rule *r, const struct acl_names *names, struct bytes filter)
{
    const unsigned missing = missing_of(r, names);
    if ((missing != 0 && r->allow) || is_apart(r, filter)) {
        return false;
    }
    struct bytes rest = bytes_of(r->filter, r->filter_len);
    bool own_more = true;
    bool more = true;
    while (own_more && more) {
        const struct bytes own = topic_level_next(&rest, &own_more);
        const struct bytes other = topic_level_next(&filter, &more);
        if (is_wildcard(own, '#') || is_wildcard(other, '#')) {
            return true;
        }
        if (!is_wildcard(own, '+') && !is_wildcard(other, '+') &&
            !is_same_level(own, other, names, missing)) {
            return false;
        }
    }
    /* "a/#" is about "a", too (4.7.1.2). */
    return own_more ? is_wildcard(rest, '#') : !more || is_wildcard(filter, '#');
}
