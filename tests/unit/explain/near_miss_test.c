/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/near_miss.h"

#include <criterion/criterion.h>

static const struct {
    const char *filter, *topic;
    enum near_miss why;
} rows[] = {
    {"a/b", "a/b", NEAR_MISS_NONE},
    {"a/#", "a", NEAR_MISS_NONE},
    {"x/y/z", "a/b/c", NEAR_MISS_NONE},
    {"a", "b", NEAR_MISS_NONE}, /* one level of one says nothing */
    {"x/b/y", "a/b/c", NEAR_MISS_NONE},
    {"a/x", "b/x/c", NEAR_MISS_NONE},
    {"A/b", "a/B", NEAR_MISS_CASE},
    {"A/+", "a/b", NEAR_MISS_CASE},
    {"A/#", "a/b/c", NEAR_MISS_CASE},
    {"[", "{", NEAR_MISS_NONE}, /* no letters */
    {"#", "$SYS/x", NEAR_MISS_DOLLAR},
    {"+/x", "$SYS/x", NEAR_MISS_DOLLAR},
    {"+/y", "$SYS/x", NEAR_MISS_NONE},
    {"+/X", "$SYS/x", NEAR_MISS_NONE},
    {"/a/b", "a/b", NEAR_MISS_SLASH},
    {"a/b", "/a/b", NEAR_MISS_SLASH},
    {"a/b", "a/b/", NEAR_MISS_SLASH},
    {"a/+/", "a/b", NEAR_MISS_SLASH},
    {"/", "a", NEAR_MISS_NONE},
    {"a /b", "a/b", NEAR_MISS_BLANK},
    {"a/b", "a/b\n", NEAR_MISS_BLANK},
    {"a/ ", "a/b", NEAR_MISS_LEVEL},
    {"a/+", "a/b/c", NEAR_MISS_PLUS},
    {"+", "a/b", NEAR_MISS_PLUS},
    {"a/b", "a/b/c/d", NEAR_MISS_SHORTER},
    {"a/b/c", "a/b", NEAR_MISS_LONGER},
    {"a/b/+/d", "a/b", NEAR_MISS_LONGER},
    {"a/b/c", "a/x/c", NEAR_MISS_LEVEL},
    {"a/b/#", "a/x/c", NEAR_MISS_LEVEL},
    {"a/x/#", "b/y/c", NEAR_MISS_NONE}, /* two are others */
};

Test(near_miss, is_named)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(near_miss_of(bytes_text(rows[i].filter), bytes_text(rows[i].topic)),
                     rows[i].why, "%s, %s", rows[i].filter, rows[i].topic);
    }
}
