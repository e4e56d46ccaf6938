/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/topic_oracle.h"

#include <string.h>

/* The place of the first '/', or the end. */
static size_t level_len(struct bytes t)
{
    size_t len = 0;
    while (len < t.len && t.at[len] != '/') {
        len++;
    }
    return len;
}

static struct bytes from(struct bytes t, size_t skip)
{
    return bytes_of(t.at + skip, t.len - skip);
}

static bool has(struct bytes t, char c)
{
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] == (uint8_t)c) {
            return true;
        }
    }
    return false;
}

bool topic_oracle_name_valid(struct bytes name)
{
    return name.len >= 1 && name.len <= 65535 && !has(name, '+') && !has(name, '#') &&
           !has(name, '\0');
}

static bool levels_valid(struct bytes filter)
{
    const struct bytes level = bytes_of(filter.at, level_len(filter));
    const bool last = level.len == filter.len;
    const bool plain = !has(level, '+') && !has(level, '#') && !has(level, '\0');
    const bool fair = plain || bytes_equal(level, bytes_text("+")) ||
                      (last && bytes_equal(level, bytes_text("#")));
    return fair && (last || levels_valid(from(filter, level.len + 1)));
}

bool topic_oracle_filter_valid(struct bytes filter)
{
    return filter.len >= 1 && filter.len <= 65535 && levels_valid(filter);
}

bool topic_oracle_share(struct bytes filter, struct bytes *share_name, struct bytes *topic_filter)
{
    if (filter.len > 65535 || filter.len < 7 || memcmp(filter.at, "$share/", 7) != 0) {
        return false;
    }
    const struct bytes rest = from(filter, 7);
    const size_t len = level_len(rest);
    if (len == rest.len) {
        return false;
    }
    *share_name = bytes_of(rest.at, len);
    *topic_filter = from(rest, len + 1);
    return topic_oracle_name_valid(*share_name) && topic_oracle_filter_valid(*topic_filter);
}

/* `done`: the name has no level left. */
static bool levels_match(struct bytes filter, struct bytes name, bool done)
{
    const struct bytes f = bytes_of(filter.at, level_len(filter));
    if (bytes_equal(f, bytes_text("#"))) {
        return true;
    }
    if (done) {
        return false;
    }
    const struct bytes n = bytes_of(name.at, level_len(name));
    if (!bytes_equal(f, bytes_text("+")) && !bytes_equal(f, n)) {
        return false;
    }
    const bool name_done = n.len == name.len;
    if (f.len == filter.len) {
        return name_done;
    }
    return levels_match(from(filter, f.len + 1),
                        name_done ? bytes_of(NULL, 0) : from(name, n.len + 1), name_done);
}

bool topic_oracle_matches(struct bytes filter, struct bytes name)
{
    if (name.at[0] == '$' && (filter.at[0] == '+' || filter.at[0] == '#')) {
        return false;
    }
    return levels_match(filter, name, false);
}
