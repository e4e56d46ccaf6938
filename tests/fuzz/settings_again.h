/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings_again: settings that were accepted, written out as YAML, read as the same; for the
 * fuzzers of the places that settings come from.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "broker/config/document.h"
#include "broker/config/settings.h"
#include "tests/fuzz/fuzz.h"

static inline void settings_again(const struct settings *s, enum settings_form form)
{
    char *text = NULL;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    FUZZ_EXPECT(f != NULL);
    settings_write(s, form, f);
    fclose(f);

    struct settings *const again = settings_create();
    struct config_error error = {.count = 0};
    document_read(again, "again", text, len, &error);
    FUZZ_EXPECT(error.count == 0);
    FUZZ_EXPECT(again->count == s->count);
    for (size_t i = 0; i < s->count; i++) {
        FUZZ_EXPECT(again->all[i].key == s->all[i].key);
        FUZZ_EXPECT(again->all[i].entry == s->all[i].entry);
        FUZZ_EXPECT(strcmp(again->all[i].plain, s->all[i].plain) == 0);
    }
    settings_destroy(again);
    free(text);
}

/* Gaps are config_load()'s to refuse; as a list of YAML they would close up. */
static inline bool settings_have_gaps(const struct settings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->all[i].entry > 0 && settings_find(s, s->all[i].key, s->all[i].entry - 1) == NULL) {
            return true;
        }
    }
    return false;
}
