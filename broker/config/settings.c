/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/settings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/value.h"

struct settings *settings_create(void)
{
    return calloc(1, sizeof(struct settings));
}

static void setting_fini(struct setting *one)
{
    free(one->plain);
    free(one->origin);
}

void settings_destroy(struct settings *s)
{
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        setting_fini(&s->all[i]);
    }
    if (s != NULL) {
        free(s->all);
    }
    free(s);
}

/* Keys are in the order of their rows, those of a list entry by entry. */
static bool is_before(const struct setting *one, const struct schema_key *key, unsigned entry)
{
    if (schema_same_list(one->key, key) && one->entry != entry) {
        return one->entry < entry;
    }
    return one->key < key;
}

/* The place where it is, or where it would have to be put. */
static size_t place_of(const struct settings *s, const struct schema_key *key, unsigned entry)
{
    size_t i = 0;
    while (i < s->count && is_before(&s->all[i], key, entry)) {
        i++;
    }
    return i;
}

static bool is_at(const struct settings *s, size_t i, const struct schema_key *key, unsigned entry)
{
    return i < s->count && s->all[i].key == key && s->all[i].entry == entry;
}

const struct setting *settings_find(const struct settings *s, const struct schema_key *key,
                                    unsigned entry)
{
    const size_t i = place_of(s, key, entry);
    return is_at(s, i, key, entry) ? &s->all[i] : NULL;
}

const struct setting *settings_any(const struct settings *s, const struct schema_key *key,
                                   unsigned entry)
{
    for (size_t i = 0; i < s->count; i++) {
        if (schema_same_list(s->all[i].key, key) && s->all[i].entry >= entry) {
            return &s->all[i];
        }
    }
    return NULL;
}

const char *settings_origin(const struct settings *s, const char *path)
{
    unsigned entry;
    const struct schema_key *const key = schema_find(path, strlen(path), &entry);
    assert(key != NULL);
    return settings_find(s, key, entry)->origin;
}

unsigned settings_entries(const struct settings *s, const struct schema_key *key)
{
    unsigned entries = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (s->all[i].key == key || schema_same_list(s->all[i].key, key)) {
            entries = s->all[i].entry + 1; /* they come in this order */
        }
    }
    return entries;
}

/* Takes over what `one` points to. */
static void put(struct settings *s, struct setting one)
{
    const size_t i = place_of(s, one.key, one.entry);
    if (is_at(s, i, one.key, one.entry)) {
        setting_fini(&s->all[i]);
        s->all[i] = one;
        return;
    }
    struct setting *const grown = reallocarray(s->all, s->count + 1, sizeof s->all[0]);
    if (grown == NULL) {
        setting_fini(&one);
        s->out_of_memory = true;
        return;
    }
    s->all = grown;
    memmove(&s->all[i + 1], &s->all[i], (s->count - i) * sizeof s->all[0]);
    s->all[i] = one;
    s->count++;
}

void settings_offer(struct settings *s, const struct schema_key *key, unsigned entry,
                    const char *text, enum settings_source source, const char *origin,
                    struct config_error *error)
{
    char path[SCHEMA_PATH_BYTES], problem[VALUE_PROBLEM_BYTES] = "";
    schema_path(key, entry, path);
    if (key->entries_max > 0 && entry >= key->entries_max) {
        config_error_add(error, "%s: %s: the list can have at most %u entries, 0 to %u", origin,
                         path, key->entries_max, key->entries_max - 1);
        return;
    }
    struct setting one = {.key = key, .entry = entry, .source = source};
    one.plain = value_plain(key, text, problem);
    if (one.plain == NULL && problem[0] != '\0') {
        config_error_add(error, "%s: %s: %s", origin, path, problem);
        return;
    }
    one.origin = strdup(origin);
    if (one.plain == NULL || one.origin == NULL) {
        setting_fini(&one);
        s->out_of_memory = true;
        return;
    }
    put(s, one);
}

void settings_clear_list(struct settings *s, const char *list)
{
    const size_t len = strlen(list);
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct schema_key *const key = s->all[i].key;
        if (key->entries_max > 0 && strncmp(key->path, list, len) == 0 && key->path[len] == '.') {
            setting_fini(&s->all[i]);
        } else {
            s->all[kept++] = s->all[i];
        }
    }
    s->count = kept;
}

/* ---- as YAML: a path's parts but the last are headings, printed where they change */

static void write_value(const struct setting *one, enum settings_form form, FILE *out)
{
    char size[24];
    switch (one->key->type) {
    case SCHEMA_TEXT:
    case SCHEMA_URL:
        fputc('"', out);
        for (const char *at = one->plain; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\') {
                fputc('\\', out);
            }
            fputc(*at, out);
        }
        fputc('"', out);
        break;
    case SCHEMA_SIZE:
        value_size_text(strtoull(one->plain, NULL, 10), size);
        fputs(form == SETTINGS_FOR_PEOPLE ? size : one->plain, out);
        break;
    case SCHEMA_UINT:
    case SCHEMA_BOOL:
    case SCHEMA_CHOICE:
        fputs(one->plain, out);
        break;
    }
}

/* A comment ends with its line, so the origin (a file's name) must be one line. */
static void write_origin(const char *origin, FILE *out)
{
    fputs("  # ", out);
    for (; *origin != '\0'; origin++) {
        fputc((unsigned char)*origin < 0x20 || *origin == 0x7f ? '?' : *origin, out);
    }
}

/* "  - " before the first key of a list's entry, else as many blanks as the key is deep. */
static void write_one(const struct setting *one, const struct setting *before,
                      enum settings_form form, FILE *out)
{
    const char *const path = one->key->path;
    const char *const dot = strchr(path, '.');
    const char *const name = dot == NULL ? path : strrchr(path, '.') + 1;
    if (dot != NULL) {
        const size_t heading_len = (size_t)(dot - path) + 1;
        const bool is_new = before == NULL || strncmp(before->key->path, path, heading_len) != 0;
        const bool is_entry = one->key->entries_max > 0;
        if (is_new) {
            fprintf(out, "%.*s:\n", (int)heading_len - 1, path);
        }
        fputs(!is_entry ? "  " : is_new || before->entry != one->entry ? "  - " : "    ", out);
    }
    fprintf(out, "%s: ", name);
    write_value(one, form, out);
    if (form == SETTINGS_FOR_PEOPLE) {
        write_origin(one->origin, out);
    }
    fputc('\n', out);
}

void settings_write(const struct settings *s, enum settings_form form, FILE *out)
{
    for (size_t i = 0; i < s->count; i++) {
        write_one(&s->all[i], i == 0 ? NULL : &s->all[i - 1], form, out);
    }
}
