/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/topic.h"

#include <assert.h>
#include <string.h>

#define TOPIC_BYTES_MAX 65535u /* [MQTT-4.7.3-3] */
#define SHARE_PREFIX    "$share/"

#define ONES  0x0101010101010101u
#define HIGHS 0x8080808080808080u

/* Not zero if and only if one of the eight bytes is `byte`. */
static uint64_t word_has(uint64_t word, uint8_t byte)
{
    const uint64_t x = word ^ (ONES * byte);
    return (x - ONES) & ~x & HIGHS;
}

static bool special(uint8_t byte)
{
    return byte == '+' || byte == '#' || byte == 0;
}

static bool length_valid(struct bytes topic)
{
    return topic.len > 0 && topic.len <= TOPIC_BYTES_MAX;
}

/* Eight bytes at a time: every PUBLISH passes here. */
bool topic_name_valid(struct bytes name)
{
    if (!length_valid(name)) {
        return false;
    }
    size_t i = 0;
    for (; name.len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, name.at + i, sizeof word);
        if ((word_has(word, '+') | word_has(word, '#') | word_has(word, 0)) != 0) {
            return false;
        }
    }
    for (; i < name.len; i++) {
        if (special(name.at[i])) {
            return false;
        }
    }
    return true;
}

/* A level without wildcards, or one wildcard alone; '#' in the last level only. */
static bool filter_level_valid(struct bytes level, bool last)
{
    if (level.len == 1 && level.at[0] == '+') {
        return true;
    }
    if (level.len == 1 && level.at[0] == '#') {
        return last;
    }
    for (size_t i = 0; i < level.len; i++) {
        if (special(level.at[i])) {
            return false;
        }
    }
    return true;
}

bool topic_filter_valid(struct bytes filter)
{
    if (!length_valid(filter)) {
        return false;
    }
    bool more = true;
    while (more) {
        const struct bytes level = topic_level_next(&filter, &more);
        if (!filter_level_valid(level, !more)) {
            return false;
        }
    }
    return true;
}

static bool has_share_prefix(struct bytes filter)
{
    const size_t len = strlen(SHARE_PREFIX);
    return filter.len >= len && memcmp(filter.at, SHARE_PREFIX, len) == 0;
}

bool topic_share_parse(struct bytes filter, struct bytes *share_name, struct bytes *topic_filter)
{
    if (!has_share_prefix(filter) || !length_valid(filter)) {
        return false;
    }
    const size_t len = strlen(SHARE_PREFIX);
    struct bytes rest = bytes_of(filter.at + len, filter.len - len);
    bool more;
    const struct bytes name = topic_level_next(&rest, &more);
    if (!more || !topic_name_valid(name) || !topic_filter_valid(rest)) {
        return false;
    }
    *share_name = name;
    *topic_filter = rest;
    return true;
}

bool topic_is_share(struct bytes filter)
{
    return has_share_prefix(filter) || bytes_equal(filter, bytes_text("$share"));
}

static bool is_wildcard(struct bytes level, char wildcard)
{
    return level.len == 1 && level.at[0] == (uint8_t)wildcard;
}

/* [MQTT-4.7.2-1]: a leading wildcard does not reach the names that begin with '$'. */
static bool hidden_from(struct bytes filter, struct bytes name)
{
    return name.len > 0 && name.at[0] == '$' && filter.len > 0 &&
           (filter.at[0] == '+' || filter.at[0] == '#');
}

bool topic_matches(struct bytes filter, struct bytes name)
{
    if (hidden_from(filter, name)) {
        return false;
    }
    bool filter_more = true;
    bool name_more = true;
    while (filter_more) {
        const struct bytes want = topic_level_next(&filter, &filter_more);
        if (is_wildcard(want, '#')) {
            return true; /* also where the name has ended: "a/#" matches "a" (4.7.1.2) */
        }
        if (!name_more) {
            return false;
        }
        const struct bytes level = topic_level_next(&name, &name_more);
        if (!is_wildcard(want, '+') && !bytes_equal(want, level)) {
            return false;
        }
    }
    return !name_more;
}

size_t topic_levels(struct bytes topic)
{
    size_t levels = 1;
    for (size_t i = 0; i < topic.len; i++) {
        levels += topic.at[i] == '/';
    }
    return levels;
}

bool topic_has_wildcard(struct bytes filter)
{
    for (size_t i = 0; i < filter.len; i++) {
        if (filter.at[i] == '+' || filter.at[i] == '#') {
            return true;
        }
    }
    return false;
}

struct bytes topic_level_next(struct bytes *rest, bool *more)
{
    const uint8_t *slash = rest->len == 0 ? NULL : memchr(rest->at, '/', rest->len);
    if (slash == NULL) {
        const struct bytes last = *rest;
        *rest = bytes_of(NULL, 0);
        *more = false;
        return last;
    }
    const struct bytes level = bytes_of(rest->at, (size_t)(slash - rest->at));
    assert(level.len < rest->len);
    *rest = bytes_of(slash + 1, rest->len - level.len - 1);
    *more = true;
    return level;
}
