/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/schema.h"

#include <criterion/criterion.h>
#include <string.h>

#include "broker/config/resemblance.h"
#include "broker/config/value.h"

static const struct schema_key *find(const char *path, unsigned *entry)
{
    return schema_find(path, strlen(path), entry);
}

Test(schema, table_is_sound)
{
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *const key = schema_at(i);
        char problem[VALUE_PROBLEM_BYTES], path[SCHEMA_PATH_BYTES];
        if (key->by_default == NULL) {
            cr_expect_eq(schema_list_head(key), key, "%s has a default", key->path);
        } else {
            char *const plain = value_plain(key, key->by_default, problem);
            cr_expect_not_null(plain, "the default of %s: %s", key->path, problem);
            free(plain);
        }
        cr_expect_leq(key->min, key->max);
        cr_expect_neq(key->help[0], '\0');
        cr_expect_eq(key->help[strlen(key->help) - 1], '.', "%s has sentences", key->path);
        cr_expect_eq(key->unit[0] == '\0', key->type != SCHEMA_UINT && key->type != SCHEMA_SIZE,
                     "%s: a number has a unit", key->path);
        unsigned entry = 77;
        schema_path(key, 0, path);
        cr_expect_eq(find(path, &entry), key);
        cr_expect_eq(entry, 0);
        cr_expect_eq(schema_node_of(key->path), SCHEMA_KEY);
        cr_expect_eq(strlen(key->path) < SCHEMA_PATH_BYTES / 2, 1);
    }
}

Test(schema, find)
{
    unsigned entry;
    cr_expect_str_eq(find("limits.connections_max", &entry)->path, "limits.connections_max");
    cr_expect_str_eq(find("listeners.12.url", &entry)->path, "listeners.*.url");
    cr_expect_eq(entry, 12);
    cr_expect_not_null(find("listeners.99999999999999999999.url", &entry));
    cr_expect_eq(entry, 9999);
    static const char *const none[] = {"",
                                       ".",
                                       "limits",
                                       "limits.",
                                       "listeners",
                                       "listeners.0",
                                       "listeners.*.url",
                                       "listeners.url",
                                       "listeners.0x.url",
                                       "limits.connections_max.x",
                                       "Limits.connections_max",
                                       "limits.connections_max "};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        cr_expect_null(find(none[i], &entry), "%s", none[i]);
    }
    char long_path[SCHEMA_PATH_BYTES * 2];
    memset(long_path, 'a', sizeof long_path);
    cr_expect_null(schema_find(long_path, sizeof long_path, &entry));
    char meant[SCHEMA_PATH_BYTES];
    cr_expect_not(schema_suggest(long_path, sizeof long_path, meant));
}

Test(schema, lists)
{
    static const struct {
        const char *path, *head;
        bool has_default;
    } rows[] = {{"log.level", NULL, true},
                {"listeners.0.url", "listeners.*.url", true},
                {"listeners.0.key", "listeners.*.url", true},
                {"topics.0.filter", "topics.*.filter", false},
                {"topics.0.durability", "topics.*.filter", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned entry;
        const struct schema_key *const key = find(rows[i].path, &entry);
        const struct schema_key *const head = schema_list_head(key);
        cr_expect_eq(head == NULL, rows[i].head == NULL);
        cr_expect(head == NULL || strcmp(head->path, rows[i].head) == 0, "%s", rows[i].path);
        cr_expect_eq(schema_has_default(key), rows[i].has_default, "%s", rows[i].path);
    }
}

Test(schema, node_of)
{
    cr_expect_eq(schema_node_of("limits"), SCHEMA_GROUP);
    cr_expect_eq(schema_node_of("listeners"), SCHEMA_LIST);
    cr_expect_eq(schema_node_of("listeners.*"), SCHEMA_GROUP);
    cr_expect_eq(schema_node_of("listeners.*.url"), SCHEMA_KEY);
    cr_expect_eq(schema_node_of("allow_anonymous"), SCHEMA_KEY);
    cr_expect_eq(schema_node_of("limit"), SCHEMA_UNKNOWN);
    cr_expect_eq(schema_node_of("limits.connections"), SCHEMA_UNKNOWN);
}

Test(schema, suggest)
{
    static const struct {
        const char *wrong, *meant;
    } rows[] = {
        {"limits.conections_max", "limits.connections_max"},
        {"limits.max_connections", "limits.connections_max"},
        {"connections_max", "limits.connections_max"},
        {"log.connections_max", "limits.connections_max"},
        {"listener.3.url", "listeners.3.url"},
        {"listeners.3.ulr", "listeners.3.url"},
        {"limist", "limits"},
        {"limits", "limits.connections_max"},
        {"allow_anonimous", "allow_anonymous"},
        {"retained_message_max", "limits.retained_messages_max"},
        {"acl_file", "acl.file"},
        {"listeners.3.port", NULL},
        {"x", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char meant[SCHEMA_PATH_BYTES] = "";
        const bool any = schema_suggest(rows[i].wrong, strlen(rows[i].wrong), meant);
        cr_expect_eq(any, rows[i].meant != NULL, "%s: %s", rows[i].wrong, meant);
        cr_expect_str_eq(meant, rows[i].meant != NULL ? rows[i].meant : "", "%s", rows[i].wrong);
    }
}

Test(schema, variable)
{
    char name[SCHEMA_PATH_BYTES];
    schema_variable("limits.connections_max", name);
    cr_expect_str_eq(name, "DUNLIN_LIMITS__CONNECTIONS_MAX");
    schema_variable("listeners.2.url", name);
    cr_expect_str_eq(name, "DUNLIN_LISTENERS__2__URL");
}

Test(resemblance, counts_slips)
{
    static const struct {
        const char *wrong, *right;
        unsigned distance;
    } rows[] = {
        {"abcdef", "abcdef", 0},
        {"abcef", "abcdef", 1},
        {"abcdeef", "abcdef", 1},
        {"abXdef", "abcdef", 1},
        {"abdcef", "abcdef", 1},
        {"bacdfe", "abcdef", 2},
        {"", "", 0},
        {"a", "b", RESEMBLANCE_NONE},
        {"a_b.c", "c.b_a", 1},
        {"a_a_b", "a_b_b", 1},
        {"xyz", "abcdef", RESEMBLANCE_NONE},
        {"", "abc", RESEMBLANCE_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(
            resemblance(rows[i].wrong, strlen(rows[i].wrong), rows[i].right, strlen(rows[i].right)),
            rows[i].distance, "%s %s", rows[i].wrong, rows[i].right);
    }
    char text[RESEMBLANCE_BYTES_MAX + 1];
    memset(text, 'a', sizeof text);
    cr_expect_eq(resemblance(text, RESEMBLANCE_BYTES_MAX, text, RESEMBLANCE_BYTES_MAX), 0);
    cr_expect_eq(resemblance(text, sizeof text, text, 1), RESEMBLANCE_NONE);
}
