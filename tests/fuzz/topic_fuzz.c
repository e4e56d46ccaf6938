/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_fuzz: proto/topic.c says what the naive oracle says, of any bytes.
 *
 * Input: a filter, a byte 0xff, a name; without that byte it is all filter, and all name.
 */
#include <string.h>

#include "proto/topic.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/topic_oracle.h"

static void form(struct bytes topic)
{
    FUZZ_EXPECT(topic_name_valid(topic) == topic_oracle_name_valid(topic));
    const bool valid = topic_filter_valid(topic);
    FUZZ_EXPECT(valid == topic_oracle_filter_valid(topic));
    FUZZ_EXPECT(!valid || topic_has_wildcard(topic) == !topic_name_valid(topic));
}

static void share(struct bytes filter)
{
    struct bytes name, inner, oracle_name, oracle_inner;
    const bool valid = topic_share_parse(filter, &name, &inner);
    FUZZ_EXPECT(valid == topic_oracle_share(filter, &oracle_name, &oracle_inner));
    FUZZ_EXPECT(!valid || topic_is_share(filter));
    if (valid) {
        FUZZ_EXPECT(bytes_equal(name, oracle_name) && bytes_equal(inner, oracle_inner));
        FUZZ_EXPECT(topic_filter_valid(filter));
    }
}

/* The levels, with a '/' between each two, are the whole. */
static void levels(struct bytes topic)
{
    struct bytes rest = topic;
    size_t count = 0, at = 0;
    bool more = true;
    while (more) {
        const struct bytes level = topic_level_next(&rest, &more);
        FUZZ_EXPECT(at + level.len <= topic.len);
        FUZZ_EXPECT(bytes_equal(level, bytes_of(topic.at + at, level.len)));
        at += level.len;
        FUZZ_EXPECT(!more || topic.at[at] == '/');
        at += more;
        count++;
    }
    FUZZ_EXPECT(at == topic.len);
    FUZZ_EXPECT(count == topic_levels(topic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *split = size == 0 ? NULL : memchr(data, 0xff, size);
    struct bytes filter = bytes_of(data, size), name = filter;
    if (split != NULL) {
        filter.len = (size_t)(split - data);
        name = bytes_of(split + 1, size - filter.len - 1);
    }
    form(filter);
    form(name);
    share(filter);
    levels(filter);
    levels(name);
    if (topic_filter_valid(filter) && topic_name_valid(name)) {
        FUZZ_EXPECT(topic_matches(filter, name) == topic_oracle_matches(filter, name));
    }
    return 0;
}
