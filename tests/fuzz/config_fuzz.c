/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a configuration file: nothing but settings and messages may come of it, and what was
 * accepted, written out as YAML, reads as the same.
 */
#include <assert.h>
#include <string.h>

#include "broker/config/document.h"
#include "broker/config/settings.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/settings_again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings *const s = settings_create();
    struct config_error error = {.count = 0};
    document_read(s, "fuzz", (const char *)data, size, &error);
    assert(strlen(error.text) == error.len || error.count > 0);
    if (!settings_have_gaps(s)) {
        settings_again(s, SETTINGS_FOR_LIBCYAML);
        settings_again(s, SETTINGS_FOR_PEOPLE);
    }
    settings_destroy(s);
    return 0;
}
