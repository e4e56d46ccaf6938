/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/dunlin.yaml and the reference in docs/configuration.md say what tbl/key.h says.
 *
 * config_docs_test DIR           compares, loads dunlin.yaml, and expects the defaults
 * config_docs_test --write DIR   brings both files up to date
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/file_text.h"
#include "broker/config/schema.h"
#include "broker/config/settings.h"
#include "broker/config/value.h"

#define WIDTH 92
#define BEGIN_MARK                                                                                 \
    "<!-- keys: written by config_docs_test --write, from broker/config/tbl/key.h -->\n"
#define END_MARK   "<!-- end of keys -->\n"
#define FILE_BYTES (1u << 20)

static unsigned failures;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "%s%s\n", what, detail);
    failures++;
}

/* Words of `text`, in lines that begin with `margin`. */
static void wrapped(FILE *out, const char *margin, const char *text)
{
    size_t column = 0;
    for (const char *at = text; *at != '\0';) {
        const size_t len = strcspn(at, " ");
        if (column == 0 || column + 1 + len > WIDTH) {
            fprintf(out, "%s%s", column == 0 ? "" : "\n", margin);
            column = strlen(margin);
        } else {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)len, at);
        column += len;
        at += len + (at[len] == ' ');
    }
    fputc('\n', out);
}

static void value_sentence(const struct schema_key *key, char *out, size_t out_bytes)
{
    char expected[300];
    value_expected(key, expected, sizeof expected);
    snprintf(out, out_bytes, "%c%s. A change takes effect %s.", expected[0] - 'a' + 'A',
             expected + 1, key->reloadable ? "at a reload" : "at the next start");
}

static bool is_text(const struct schema_key *key)
{
    return key->type == SCHEMA_TEXT || key->type == SCHEMA_URL;
}

/* What stands before the key; an entry that is not there by default is a comment. */
static const char *indent(const struct schema_key *key, bool is_first)
{
    if (strchr(key->path, '.') == NULL) {
        return "";
    }
    if (key->entries_max == 0) {
        return "  ";
    }
    if (schema_has_default(key)) {
        return is_first ? "  - " : "    ";
    }
    return is_first ? "  # - " : "  #   ";
}

/* Headings where the group changes; each key under its help. */
static void write_example(FILE *out)
{
    fputs("# Dunlin's configuration: every key there is, with its default.\n"
          "# dunlin --config FILE reads it; keys that are left out keep their defaults.\n"
          "# docs/configuration.md tells more. This file is checked against the program.\n",
          out);
    char group[SCHEMA_PATH_BYTES] = "";
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *const key = schema_at(i);
        const char *const dot = strchr(key->path, '.');
        const size_t group_len = dot == NULL ? 0 : (size_t)(dot - key->path);
        const bool in_entry = key->entries_max > 0 && schema_has_default(key);
        const bool is_first = group_len == 0 || strncmp(group, key->path, group_len + 1) != 0;
        char sentence[400];
        if (is_first) {
            fputc('\n', out);
        }
        if (group_len > 0 && is_first) {
            fprintf(out, "%.*s:\n", (int)group_len, key->path);
        }
        snprintf(group, sizeof group, "%.*s", dot == NULL ? 0 : (int)group_len + 1, key->path);
        value_sentence(key, sentence, sizeof sentence);
        const char *const margin = dot == NULL ? "# " : in_entry && !is_first ? "    # " : "  # ";
        wrapped(out, margin, key->help);
        wrapped(out, margin, sentence);
        fprintf(out, "%s%s: %s%s%s\n", indent(key, is_first),
                dot == NULL ? key->path : strrchr(key->path, '.') + 1, is_text(key) ? "\"" : "",
                key->by_default == NULL ? "" : key->by_default, is_text(key) ? "\"" : "");
    }
}

static void write_reference(FILE *out)
{
    fputs(BEGIN_MARK, out);
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *const key = schema_at(i);
        char path[SCHEMA_PATH_BYTES], variable[SCHEMA_PATH_BYTES], sentence[400];
        schema_path(key, 0, path);
        schema_variable(path, variable);
        value_sentence(key, sentence, sizeof sentence);
        fprintf(out, "\n### %s\n\n", path);
        wrapped(out, "", key->help);
        if (key->by_default == NULL) {
            fprintf(out, "\nDefault: none. Variable: `%s`.\n", variable);
        } else {
            fprintf(out, "\nDefault: `%s%s%s`. Variable: `%s`.\n", is_text(key) ? "\"" : "",
                    key->by_default, is_text(key) ? "\"" : "", variable);
        }
        wrapped(out, "", sentence);
    }
    fputs("\n" END_MARK, out);
}

/* What `write` prints, to be freed. */
static char *printed(void (*write)(FILE *out))
{
    char *text = NULL;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    write(f);
    fclose(f);
    return text;
}

static char *read_text(const char *path)
{
    char *text;
    size_t len;
    if (file_text_read(path, FILE_BYTES, &text, &len) != 0) {
        fail("cannot read ", path);
        return NULL;
    }
    return text;
}

static void write_text(const char *path, const char *parts[3])
{
    FILE *const f = fopen(path, "we");
    if (f == NULL) {
        fail("cannot write ", path);
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        fputs(parts[i], f);
    }
    fclose(f);
}

static void no_change(void *context, const char *path, bool reloadable, const char *before,
                      const char *after)
{
    (void)context, (void)reloadable, (void)before, (void)after;
    fail("dunlin.yaml does not have the default of ", path);
}

/* Holds every key itself, and all of the defaults. */
static void check_example_loads(const char *path)
{
    struct config *by_default = NULL, *example = NULL;
    struct config_error error = {0};
    const struct config_sources none = {.file = NULL}, file = {.file = path};
    if (config_load(&by_default, &none, &error) != CONFIG_OK ||
        config_load(&example, &file, &error) != CONFIG_OK) {
        fail("", error.text);
        config_destroy(by_default);
        return;
    }
    config_diff(by_default, example, no_change, NULL);
    for (size_t i = 0; i < schema_count(); i++) {
        const struct setting *const one = settings_find(example->settings, schema_at(i), 0);
        if (schema_has_default(schema_at(i)) && one->source != SETTINGS_FILE) {
            fail("dunlin.yaml lacks ", schema_at(i)->path);
        }
    }
    config_destroy(by_default);
    config_destroy(example);
}

static void example(const char *path, bool write)
{
    char *const want = printed(write_example);
    if (write) {
        write_text(path, (const char *[]){want, "", ""});
    }
    char *const got = read_text(path);
    if (got != NULL && strcmp(got, want) != 0) {
        fail("not what the table says; run config_docs_test --write: ", path);
    }
    check_example_loads(path);
    free(got);
    free(want);
}

static void reference(const char *path, bool write)
{
    char *const want = printed(write_reference);
    char *const text = read_text(path);
    char *const begin = text == NULL ? NULL : strstr(text, BEGIN_MARK);
    char *const end = begin == NULL ? NULL : strstr(begin, END_MARK);
    if (end == NULL) {
        fail("there are no marks for the keys in ", path);
    } else if (write) {
        *begin = '\0';
        write_text(path, (const char *[]){text, want, end + strlen(END_MARK)});
    } else if (strncmp(begin, want, strlen(want)) != 0) {
        fail("not what the table says; run config_docs_test --write: ", path);
    }
    free(text);
    free(want);
}

int main(int argc, char **argv)
{
    const bool write = argc == 3 && strcmp(argv[1], "--write") == 0;
    if (argc != 2 && !write) {
        fputs("config_docs_test [--write] DIR\n", stderr);
        return 2;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/dunlin.yaml", argv[argc - 1]);
    example(path, write);
    snprintf(path, sizeof path, "%s/configuration.md", argv[argc - 1]);
    reference(path, write);
    return failures == 0 ? 0 : 1;
}
