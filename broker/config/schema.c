/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/schema.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/resemblance.h"

/* clang-format off */
#define CHOICES(set)      static const cyaml_strval_t set##_choices[] = {
#define CHOICE(text, val) {text, val},
#define END_CHOICES(set)  };
#include "broker/config/tbl/choice.h"

/* ---- our own view: one row a key */

#define ROW(path_, by_default_, unit_, when, help_, entries_max_, ...)                             \
    {.path = (path_),                                                                              \
     .by_default = (by_default_),                                                                  \
     .unit = (unit_),                                                                              \
     .reloadable = (when),                                                                         \
     .help = (help_),                                                                              \
     .entries_max = (entries_max_),                                                                \
     __VA_ARGS__},

#define LIST(list, type, max_) enum { list##_max = (max_) };
#define END_LIST(list, type, max_)
#include "broker/config/tbl/key.h"

static const struct schema_key keys[] = {
#define UINT(lo, hi) .type = SCHEMA_UINT, .min = (lo), .max = (hi)
#define SIZE(lo, hi) .type = SCHEMA_SIZE, .min = (lo), .max = (hi)
#define BOOL         .type = SCHEMA_BOOL
#define TEXT(hi)     .type = SCHEMA_TEXT, .max = (hi)
#define URL          .type = SCHEMA_URL, .max = 255
#define CHOICE(set)                                                                                \
    .type = SCHEMA_CHOICE, .choices = set##_choices, .choices_count = CYAML_ARRAY_LEN(set##_choices)
#define LIVE     true
#define AT_START false
#define KEY(group, name, value, by_default, unit, when, help)                                      \
    ROW(#group "." #name, by_default, unit, when, help, 0, value)
#define ALONE(name, value, by_default, unit, when, help)                                           \
    ROW(#name, by_default, unit, when, help, 0, value)
#define ITEM(list, type, name, value, by_default, unit, when, help)                                \
    ROW(#list ".*." #name, by_default, unit, when, help, list##_max, value)
#include "broker/config/tbl/key.h"
};

/* ---- libcyaml's view: the fields of each group, then the whole. Ranges, sizes with a suffix, and
 * what a mistake is called are ours (value.h): libcyaml 1.3 knows neither. */

#define UINT(lo, hi) .type = CYAML_UINT, .data_size = sizeof(uint32_t)
#define SIZE(lo, hi) .type = CYAML_UINT, .data_size = sizeof(uint64_t)
#define BOOL         .type = CYAML_BOOL, .data_size = sizeof(bool)
#define STRING                                                                                     \
    .type = CYAML_STRING, .flags = CYAML_FLAG_POINTER, .data_size = sizeof(char),                  \
    .string = {.max = CYAML_UNLIMITED}
#define TEXT(hi) STRING
#define URL      STRING
#define CHOICE(set)                                                                                \
    .type = CYAML_ENUM, .flags = CYAML_FLAG_STRICT, .data_size = sizeof(unsigned),                 \
    .enumeration = {.strings = set##_choices, .count = CYAML_ARRAY_LEN(set##_choices)}

#define FIELD(holder, name, ...)                                                                   \
    {.key = #name, .data_offset = offsetof(holder, name), .value = {__VA_ARGS__}},
#define END_FIELDS CYAML_FIELD_END};

#define GROUP(group) static const cyaml_schema_field_t group##_fields[] = {
#define KEY(group, name, value, by_default, unit, when, help)                                      \
    FIELD(struct config_##group, name, value)
#define END(group)             END_FIELDS
#define LIST(list, type, max_) static const cyaml_schema_field_t list##_fields[] = {
#define ITEM(list, type, name, value, by_default, unit, when, help) FIELD(type, name, value)
#define END_LIST(list, holder, max_)                                                               \
    END_FIELDS                                                                                     \
    static const cyaml_schema_value_t list##_entry = {                                             \
        CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, holder, list##_fields)};
#include "broker/config/tbl/key.h"

/* The one type that a key outside of all groups has. */
#define BOOL .type = CYAML_BOOL, .data_size = sizeof(bool)

static const cyaml_schema_field_t top_fields[] = {
#define GROUP(group)                                                                               \
    CYAML_FIELD_MAPPING(#group, CYAML_FLAG_DEFAULT, struct config, group, group##_fields),
#define END(group)
#define ALONE(name, value, by_default, unit, when, help) FIELD(struct config, name, value)
#define LIST(list, type, max_)                                                                     \
    CYAML_FIELD_SEQUENCE_COUNT(#list, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config,     \
                               list, list##_count, &list##_entry, 0, max_),
#define END_LIST(list, type, max_)
#include "broker/config/tbl/key.h"
    CYAML_FIELD_END};

const cyaml_schema_value_t schema_cyaml = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, top_fields)};

/* The struct's fields are as wide as libcyaml is told. */
#define UINT(lo, hi) sizeof(uint32_t)
#define SIZE(lo, hi) sizeof(uint64_t)
#define BOOL         sizeof(bool)
#define TEXT(hi)     sizeof(char *)
#define URL          sizeof(char *)
#define CHOICE(set)  sizeof(unsigned)
#define IS_WIDE(holder, name, value)                                                               \
    _Static_assert(sizeof(((holder *)NULL)->name) == (value), #name);
#define KEY(group, name, value, by_default, unit, when, help)                                      \
    IS_WIDE(struct config_##group, name, value)
#define ALONE(name, value, by_default, unit, when, help) IS_WIDE(struct config, name, value)
#define ITEM(list, type, name, value, by_default, unit, when, help) IS_WIDE(type, name, value)
#include "broker/config/tbl/key.h"

/* clang-format on */

size_t schema_count(void)
{
    return sizeof keys / sizeof keys[0];
}

const struct schema_key *schema_at(size_t i)
{
    assert(i < schema_count());
    return &keys[i];
}

/* The path with a star for each number, and the last number in *entry; false: too long. */
static bool with_star(const char *path, size_t len, char out[SCHEMA_PATH_BYTES], unsigned *entry)
{
    size_t to = 0;
    *entry = 0;
    if (len >= SCHEMA_PATH_BYTES) {
        return false;
    }
    for (size_t at = 0; at < len;) {
        size_t end = at;
        unsigned number = 0;
        while (end < len && isdigit((unsigned char)path[end])) {
            number = number * 10 + (unsigned)(path[end] - '0');
            number = number > 9999 ? 9999 : number;
            end++;
        }
        if (end > at && (end == len || path[end] == '.')) {
            out[to++] = '*';
            *entry = number;
        } else {
            end = at;
            while (end < len && path[end] != '.') {
                out[to++] = path[end++];
            }
        }
        if (end < len) {
            out[to++] = '.';
        }
        at = end + 1;
    }
    out[to] = '\0';
    return true;
}

const struct schema_key *schema_find(const char *path, size_t len, unsigned *entry)
{
    char starred[SCHEMA_PATH_BYTES];
    if (memchr(path, '*', len) != NULL || !with_star(path, len, starred, entry)) {
        return NULL;
    }
    for (size_t i = 0; i < schema_count(); i++) {
        if (strcmp(keys[i].path, starred) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

bool schema_same_list(const struct schema_key *a, const struct schema_key *b)
{
    const size_t list_len = strcspn(a->path, ".") + 1;
    return a->entries_max > 0 && b->entries_max > 0 && strncmp(a->path, b->path, list_len) == 0;
}

const struct schema_key *schema_list_head(const struct schema_key *key)
{
    for (size_t i = 0; i < schema_count(); i++) {
        if (schema_same_list(&keys[i], key)) {
            return &keys[i];
        }
    }
    return NULL;
}

bool schema_has_default(const struct schema_key *key)
{
    const struct schema_key *const head = schema_list_head(key);
    return head == NULL || head->by_default != NULL;
}

enum schema_node schema_node_of(const char *path)
{
    const size_t len = strlen(path);
    for (size_t i = 0; i < schema_count(); i++) {
        const char *const key = keys[i].path;
        if (strncmp(key, path, len) != 0) {
            continue;
        }
        if (key[len] == '\0') {
            return SCHEMA_KEY;
        }
        if (key[len] == '.') {
            return key[len + 1] == '*' ? SCHEMA_LIST : SCHEMA_GROUP;
        }
    }
    return SCHEMA_UNKNOWN;
}

/* Its last part, when the groups before it were left out or are others; rather not one of a list,
 * of which one would have named an entry. */
static unsigned last_part_resemblance(const char *wrong, const char *right)
{
    const char *const wrong_dot = strrchr(wrong, '.'), *const right_dot = strrchr(right, '.');
    const char *const a = wrong_dot == NULL ? wrong : wrong_dot + 1;
    const char *const b = right_dot == NULL ? right : right_dot + 1;
    const unsigned d = resemblance(a, strlen(a), b, strlen(b));
    return d == RESEMBLANCE_NONE ? d : d + (strchr(right, '*') == NULL ? 2 : 3);
}

/* The path with the number for the star. */
static void numbered(const char *path, unsigned entry, char out[SCHEMA_PATH_BYTES])
{
    const char *const star = strchr(path, '*');
    if (star == NULL) {
        snprintf(out, SCHEMA_PATH_BYTES, "%s", path);
    } else {
        snprintf(out, SCHEMA_PATH_BYTES, "%.*s%u%s", (int)(star - path), path, entry, star + 1);
    }
}

bool schema_suggest(const char *path, size_t len, char out[SCHEMA_PATH_BYTES])
{
    char starred[SCHEMA_PATH_BYTES];
    unsigned entry;
    if (!with_star(path, len, starred, &entry)) {
        return false;
    }
    unsigned best = RESEMBLANCE_NONE;
    for (size_t i = 0; i < schema_count(); i++) {
        const char *const right = keys[i].path;
        const size_t group_len = strcspn(right, ".");
        const unsigned whole = resemblance(starred, strlen(starred), right, strlen(right));
        const unsigned part = last_part_resemblance(starred, right);
        const unsigned group = strchr(starred, '.') == NULL
                                   ? resemblance(starred, strlen(starred), right, group_len)
                                   : RESEMBLANCE_NONE;
        if (group == 0) {
            numbered(right, entry, out);
            return true;
        }
        if (group < best) {
            best = group;
            snprintf(out, SCHEMA_PATH_BYTES, "%.*s", (int)group_len, right);
        }
        /* Far off as a whole, it is another key of that group unless the last parts are alike. */
        const bool is_alike = part != RESEMBLANCE_NONE || whole <= 2;
        if (is_alike && (whole < best || part < best)) {
            best = whole < part ? whole : part;
            numbered(right, entry, out);
        }
    }
    return best < RESEMBLANCE_NONE;
}

void schema_path(const struct schema_key *key, unsigned entry, char out[SCHEMA_PATH_BYTES])
{
    numbered(key->path, entry, out);
}

void schema_variable(const char *path, char out[SCHEMA_PATH_BYTES])
{
    size_t to = (size_t)snprintf(out, SCHEMA_PATH_BYTES, SCHEMA_VARIABLE_PREFIX);
    for (const char *at = path; *at != '\0' && to + 2 < SCHEMA_PATH_BYTES; at++) {
        if (*at == '.') {
            out[to++] = '_';
            out[to++] = '_';
        } else {
            out[to++] = (char)toupper((unsigned char)*at);
        }
    }
    out[to] = '\0';
}
