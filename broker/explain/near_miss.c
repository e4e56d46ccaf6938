/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/near_miss.h"

#include <stdbool.h>

#include "proto/topic.h"

/* How two levels are compared. */
typedef bool alike_fn(struct bytes filter_level, struct bytes level);

static uint8_t small(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool alike_but_case(struct bytes a, struct bytes b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (small(a.at[i]) != small(b.at[i])) {
            return false;
        }
    }
    return true;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct bytes trimmed(struct bytes level)
{
    while (level.len > 0 && is_blank(level.at[0])) {
        level = bytes_of(level.at + 1, level.len - 1);
    }
    while (level.len > 0 && is_blank(level.at[level.len - 1])) {
        level.len--;
    }
    return level;
}

static bool alike_but_blanks(struct bytes a, struct bytes b)
{
    return bytes_equal(trimmed(a), trimmed(b));
}

static bool is_one(struct bytes level, char c)
{
    return level.len == 1 && level.at[0] == (uint8_t)c;
}

/* Where filter and topic part. */
struct walk {
    size_t differ;     /* so many levels are not alike */
    size_t common;     /* of so many that both have */
    bool filter_left;  /* the filter has further levels */
    bool topic_left;   /* the topic has */
    bool all;          /* a # stands for all that is left */
    bool only_hash;    /* what the filter has left is # */
    bool last_is_plus; /* the filter's last level that was looked at is + */
};

static struct walk walk(struct bytes filter, struct bytes topic, alike_fn *alike)
{
    struct walk w = {0};
    bool filter_more = true, topic_more = true;
    while (filter_more && topic_more) {
        const struct bytes f = topic_level_next(&filter, &filter_more);
        if (is_one(f, '#')) {
            w.all = true;
            return w;
        }
        const struct bytes t = topic_level_next(&topic, &topic_more);
        w.last_is_plus = is_one(f, '+');
        w.common++;
        w.differ += !w.last_is_plus && !alike(f, t);
    }
    w.filter_left = filter_more;
    w.topic_left = topic_more;
    w.only_hash = filter_more && is_one(filter, '#');
    return w;
}

static bool is_match(const struct walk *w)
{
    return w->differ == 0 && (w->all || (!w->topic_left && (!w->filter_left || w->only_hash)));
}

static struct bytes without_slashes(struct bytes text)
{
    if (text.len > 1 && text.at[0] == '/') {
        text = bytes_of(text.at + 1, text.len - 1);
    }
    if (text.len > 1 && text.at[text.len - 1] == '/') {
        text.len--;
    }
    return text;
}

enum near_miss near_miss_of(struct bytes filter, struct bytes topic)
{
    if (topic_matches(filter, topic)) {
        return NEAR_MISS_NONE;
    }
    const struct walk w = walk(filter, topic, bytes_equal);
    if (is_match(&w)) {
        return NEAR_MISS_DOLLAR;
    }
    if (topic.at[0] == '$' && (filter.at[0] == '+' || filter.at[0] == '#')) {
        return NEAR_MISS_NONE; /* that, and something else */
    }
    const struct walk by_case = walk(filter, topic, alike_but_case);
    if (is_match(&by_case)) {
        return NEAR_MISS_CASE;
    }
    const struct walk by_blanks = walk(filter, topic, alike_but_blanks);
    if (is_match(&by_blanks)) {
        return NEAR_MISS_BLANK;
    }
    if (topic_matches(without_slashes(filter), without_slashes(topic))) {
        return NEAR_MISS_SLASH;
    }
    if (w.differ == 0 && w.common > 0 && (w.topic_left || w.filter_left)) {
        return !w.topic_left    ? NEAR_MISS_LONGER
               : w.last_is_plus ? NEAR_MISS_PLUS
                                : NEAR_MISS_SHORTER;
    }
    const bool same_length = w.all || (!w.topic_left && !w.filter_left);
    return w.differ == 1 && w.common > 1 && same_length ? NEAR_MISS_LEVEL : NEAR_MISS_NONE;
}
