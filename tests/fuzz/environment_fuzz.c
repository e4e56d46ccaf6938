/* SPDX-License-Identifier: Apache-2.0 */
/*
 * environment_fuzz: any variables of ours give settings and messages, never both for the same one,
 * and what was set reads as the same from a file.
 *
 * Input: lines, each a variable without "DUNLIN_". Those of …_FILE are left out: their files would
 * be read.
 */
#include <string.h>

#include "broker/config/environment.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/settings_again.h"

#define VARIABLES_MAX 64u

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
    if (!settings_have_gaps(s)) {
        settings_again(s, SETTINGS_FOR_LIBCYAML);
    }
    settings_destroy(s);
    for (size_t i = 0; i < count; i++) {
        free(environment[i]);
    }
    free(text);
    return 0;
}
