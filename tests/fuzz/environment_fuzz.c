/* SPDX-License-Identifier: Apache-2.0 */
/*
 * environment_fuzz: any variables of ours give settings and messages, never both for the same one,
 * and what was set reads as the same from a file.
 *
 * Input: lines, each a variable without "DUNLIN_". Those of …_FILE are left out: their files would
 * be read.
 */
#include <string.h>

#include "broker/config/document.h"
#include "broker/config/environment.h"
#include "tests/fuzz/fuzz.h"

#define VARIABLES_MAX 64u

static void read_as_file(const struct settings *s)
{
    char *text = NULL;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    FUZZ_EXPECT(f != NULL);
    settings_write(s, SETTINGS_FOR_LIBCYAML, f);
    fclose(f);

    struct settings *const again = settings_create();
    struct config_error error = {.count = 0};
    document_read(again, "again", text, len, &error);
    FUZZ_EXPECT(error.count == 0 && again->count == s->count);
    for (size_t i = 0; i < s->count; i++) {
        FUZZ_EXPECT(again->all[i].key == s->all[i].key && again->all[i].entry == s->all[i].entry);
        FUZZ_EXPECT(strcmp(again->all[i].plain, s->all[i].plain) == 0);
    }
    settings_destroy(again);
    free(text);
}

/* An entry that is left out closes up in a file: config_load() refuses those. */
static int has_gaps(const struct settings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->all[i].entry > 0 && settings_find(s, s->all[i].key, s->all[i].entry - 1) == NULL) {
            return 1;
        }
    }
    return 0;
}

static int names_a_file(const char *variable)
{
    const char *const equals = strchrnul(variable, '=');
    return equals - variable >= 5 && strncmp(equals - 5, "_FILE", 5) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *environment[VARIABLES_MAX + 1] = {NULL};
    size_t count = 0, with_value = 0;
    char *const text = strndup((const char *)data, size);
    FUZZ_EXPECT(text != NULL);
    char *rest = text;
    for (char *line; count < VARIABLES_MAX && (line = strsep(&rest, "\n")) != NULL;) {
        char *variable = NULL;
        if (!names_a_file(line) && asprintf(&variable, SCHEMA_VARIABLE_PREFIX "%s", line) >= 0) {
            with_value += strchr(variable, '=') != NULL;
            environment[count++] = variable;
        }
    }

    struct settings *const s = settings_create();
    struct config_error error = {.count = 0};
    environment_read(s, environment, &error);
    FUZZ_EXPECT(!s->out_of_memory);
    FUZZ_EXPECT(s->count + error.count <= with_value);
    FUZZ_EXPECT(strnlen(error.text, CONFIG_ERROR_BYTES) < CONFIG_ERROR_BYTES);
    FUZZ_EXPECT((error.count == 0) == (error.text[0] == '\0'));
    if (!has_gaps(s)) {
        read_as_file(s);
    }
    settings_destroy(s);
    for (size_t i = 0; i < count; i++) {
        free(environment[i]);
    }
    free(text);
    return 0;
}
