/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/groups.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct names {
    struct bytes at[GROUPS_MAX]; /* borrowed from the JSON */
    uint32_t count;
    size_t bytes; /* of all */
};

static bool has(const struct names *names, struct bytes name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (bytes_equal(names->at[i], name)) {
            return true;
        }
    }
    return false;
}

static bool add(struct names *names, struct bytes name)
{
    if (name.len == 0 || name.len > GROUPS_NAME_BYTES_MAX) {
        return false;
    }
    if (has(names, name)) {
        return true;
    }
    if (names->count == GROUPS_MAX) {
        return false;
    }
    names->at[names->count++] = name;
    names->bytes += name.len;
    return true;
}

static bool is_between(uint8_t byte)
{
    return byte == ' ' || byte == ',';
}

static bool add_words(struct names *names, struct bytes text)
{
    for (size_t i = 0; i < text.len;) {
        size_t end = i;
        while (end < text.len && !is_between(text.at[end])) {
            end++;
        }
        if (end > i && !add(names, bytes_of(text.at + i, end - i))) {
            return false;
        }
        i = end + 1;
    }
    return true;
}

static struct bytes string_of(const json_t *value)
{
    return bytes_of(json_string_value(value), json_string_length(value));
}

static bool add_all(struct names *names, const json_t *value)
{
    if (json_is_string(value)) {
        return add_words(names, string_of(value));
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *const name = json_array_get(value, i);
        if (!json_is_string(name) || !add(names, string_of(name))) {
            return false;
        }
    }
    return json_is_array(value);
}

static struct groups *create(const struct names *names)
{
    const size_t bytes = sizeof(struct groups) + names->count + names->bytes;
    struct groups *const g = malloc(bytes);
    if (g == NULL) {
        return NULL;
    }
    *g = (struct groups){.bytes = bytes, .count = names->count};
    uint8_t *at = g->text;
    for (uint32_t i = 0; i < names->count; i++) {
        *at++ = (uint8_t)names->at[i].len;
        memcpy(at, names->at[i].at, names->at[i].len);
        at += names->at[i].len;
    }
    return g;
}

enum groups_err groups_read(struct groups **out, const json_t *value)
{
    struct names names = {.count = 0};
    if (!add_all(&names, value)) {
        return GROUPS_WRONG;
    }
    struct groups *const g = names.count == 0 ? NULL : create(&names);
    if (names.count > 0 && g == NULL) {
        return GROUPS_NO_MEMORY;
    }
    *out = g;
    return GROUPS_OK;
}

void groups_destroy(struct groups *g)
{
    free(g);
}

struct bytes groups_next(const struct groups *g, size_t *at)
{
    assert(*at < g->bytes - sizeof *g);

    const size_t len = g->text[*at];
    const struct bytes name = bytes_of(g->text + *at + 1, len);
    *at += 1 + len;
    return name;
}
