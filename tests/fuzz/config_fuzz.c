/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a configuration file: nothing but settings and messages may come of it, and what was
 * accepted, written out as YAML, reads as the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/document.h"
#include "broker/config/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_same(const struct settings *a, const struct settings *b)
{
    assert(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert(a->all[i].key == b->all[i].key);
        assert(a->all[i].entry == b->all[i].entry);
        assert(strcmp(a->all[i].plain, b->all[i].plain) == 0);
    }
}

static void check_again(const struct settings *s, enum settings_form form)
{
    char *text = NULL;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    settings_write(s, form, f);
    fclose(f);

    struct settings *const again = settings_create();
    struct config_error error = {.count = 0};
    document_read(again, "again", text, len, &error);
    assert(error.count == 0);
    check_same(s, again);
    settings_destroy(again);
    free(text);
}

/* Gaps are config_load()'s to refuse; as a list of YAML they would close up. */
static int has_gaps(const struct settings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->all[i].entry > 0 && settings_find(s, s->all[i].key, s->all[i].entry - 1) == NULL) {
            return 1;
        }
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct settings *const s = settings_create();
    struct config_error error = {.count = 0};
    document_read(s, "fuzz", (const char *)data, len, &error);
    assert(strlen(error.text) == error.len || error.count > 0);
    if (!has_gaps(s)) {
        check_again(s, SETTINGS_FOR_LIBCYAML);
        check_again(s, SETTINGS_FOR_PEOPLE);
    }
    settings_destroy(s);
    return 0;
}
