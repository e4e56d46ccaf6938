/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/environment.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/file_text.h"

#define PREFIX_LEN (sizeof SCHEMA_VARIABLE_PREFIX - 1)

/* DUNLIN[_X]_SERVICE_HOST, …_SERVICE_PORT[_NAME], …_PORT, …_PORT_1883_TCP[_ADDR]: names without a
 * double underscore, and so no key of ours that is in a group. `name` is without the prefix. */
static bool is_kubernetes(const char *name)
{
    if (strstr(name, "__") != NULL) {
        return false;
    }
    char padded[SCHEMA_PATH_BYTES];
    if (snprintf(padded, sizeof padded, "_%s_", name) >= (int)sizeof padded) {
        return false;
    }
    const char *const port = strstr(padded, "_PORT_");
    return strstr(padded, "_SERVICE_HOST_") != NULL || strstr(padded, "_SERVICE_PORT_") != NULL ||
           (port != NULL && (port[6] == '\0' || isdigit((unsigned char)port[6])));
}

/* "LIMITS__CONNECTIONS_MAX" to "limits.connections_max"; false: no key is written like that. */
static bool path_of(const char *name, size_t len, char out[SCHEMA_PATH_BYTES])
{
    size_t to = 0;
    if (len >= SCHEMA_PATH_BYTES) {
        return false;
    }
    for (size_t at = 0; at < len; at++) {
        if (islower((unsigned char)name[at])) {
            return false;
        }
        if (name[at] == '_' && at + 1 < len && name[at + 1] == '_') {
            out[to++] = '.';
            at++;
        } else {
            out[to++] = (char)tolower((unsigned char)name[at]);
        }
    }
    out[to] = '\0';
    return true;
}

static const struct schema_key *key_of(const char *name, size_t len, unsigned *entry)
{
    char path[SCHEMA_PATH_BYTES];
    return path_of(name, len, path) ? schema_find(path, strlen(path), entry) : NULL;
}

static void unknown_variable(const char *name, struct config_error *error)
{
    char path[SCHEMA_PATH_BYTES], meant[SCHEMA_PATH_BYTES], variable[SCHEMA_PATH_BYTES];
    char upper[SCHEMA_PATH_BYTES] = "";
    for (size_t i = 0; name[i] != '\0' && i + 1 < sizeof upper; i++) {
        upper[i] = (char)toupper((unsigned char)name[i]);
        upper[i + 1] = '\0';
    }
    if (path_of(upper, strlen(upper), path) && schema_suggest(path, strlen(path), meant)) {
        schema_variable(meant, variable);
        config_error_add(
            error, "env " SCHEMA_VARIABLE_PREFIX "%s: there is no such key; did you mean %s%s?",
            name, variable, schema_node_of(meant) == SCHEMA_KEY ? "" : "__…");
    } else {
        config_error_add(error,
                         "env " SCHEMA_VARIABLE_PREFIX "%s: there is no such key; "
                         "docs/configuration.md lists all",
                         name);
    }
}

/* The value that stands in a file; NULL: told. */
static char *value_from_file(const char *origin, const char *path, struct config_error *error)
{
    char *text;
    size_t len;
    const int err = file_text_read(path, ENVIRONMENT_FILE_BYTES_MAX, &text, &len);
    if (err != 0) {
        config_error_add(error, "%s: cannot read %s: %s", origin, path, strerror(err));
        return NULL;
    }
    if (strlen(text) != len) {
        config_error_add(error, "%s: %s has a NUL in it, and is no text", origin, path);
        free(text);
        return NULL;
    }
    if (len > 0 && text[len - 1] == '\n') {
        text[--len] = '\0';
    }
    if (len > 0 && text[len - 1] == '\r') {
        text[--len] = '\0';
    }
    return text;
}

static void offer(struct settings *s, const struct schema_key *key, unsigned entry,
                  const char *value, const char *origin, struct config_error *error)
{
    const struct setting *const before = settings_find(s, key, entry);
    if (before != NULL && before->source == SETTINGS_ENVIRONMENT) {
        config_error_add(error, "%s: the same key is set by %s too; remove one", origin,
                         before->origin);
        return;
    }
    settings_offer(s, key, entry, value, SETTINGS_ENVIRONMENT, origin, error);
}

/* `name` is without the prefix, len bytes. */
static void read_variable(struct settings *s, const char *name, size_t len, const char *value,
                          struct config_error *error)
{
    static const char file[] = "_FILE";
    const size_t file_len = sizeof file - 1;
    char origin[SCHEMA_PATH_BYTES * 2];
    unsigned entry;
    snprintf(origin, sizeof origin, "env " SCHEMA_VARIABLE_PREFIX "%.*s", (int)len, name);

    const struct schema_key *key = key_of(name, len, &entry);
    if (key != NULL) {
        offer(s, key, entry, value, origin, error);
        return;
    }
    if (len > file_len && strncmp(name + len - file_len, file, file_len) == 0) {
        key = key_of(name, len - file_len, &entry);
    }
    if (key != NULL) {
        char *const text = value_from_file(origin, value, error);
        if (text != NULL) {
            offer(s, key, entry, text, origin, error);
        }
        free(text);
        return;
    }
    char *const whole = strndup(name, len);
    if (whole == NULL) {
        s->out_of_memory = true;
    } else if (!is_kubernetes(whole)) {
        unknown_variable(whole, error);
    }
    free(whole);
}

void environment_read(struct settings *s, char *const *environment, struct config_error *error)
{
    for (; *environment != NULL; environment++) {
        const char *const equals = strchr(*environment, '=');
        if (equals != NULL && strncmp(*environment, SCHEMA_VARIABLE_PREFIX, PREFIX_LEN) == 0) {
            const char *const name = *environment + PREFIX_LEN;
            read_variable(s, name, (size_t)(equals - name), equals + 1, error);
        }
    }
}
