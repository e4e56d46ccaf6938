/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/flags.h"

#include <string.h>

#include "broker/config/config_error.h"

static const struct flag *find(const char *name, const struct flag *flags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, flags[i].name) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

bool flags_take(int argc, char *const *argv, const struct flag *flags, size_t count,
                struct config_error *error)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    for (int i = 1; i < argc; i += 2) {
        const struct flag *const flag = find(argv[i], flags, count);
        const char *const wrong = flag == NULL             ? "there is no such flag"
                                  : i + 1 == argc          ? "its value is missing"
                                  : *flag->value != NULL   ? "it is given twice"
                                  : argv[i + 1][0] == '\0' ? "its value is empty"
                                                           : NULL;
        if (wrong != NULL) {
            config_error_add(error, "%.64s: %s; dunlin %.16s --help tells more", argv[i], wrong,
                             argv[0]);
            return false;
        }
        *flag->value = argv[i + 1];
    }
    return false;
}
