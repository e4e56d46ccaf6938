/* SPDX-License-Identifier: Apache-2.0 */
/* flags: of a command line that consists of nothing else, each with a value. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/nodiscard.h"

struct config_error;

struct flag {
    const char *name;
    const char **value; /* NULL before; set where it is given */
};

/* true: --help is among them. Otherwise what is wrong is in `error`. */
NODISCARD bool flags_take(int argc, char *const *argv, const struct flag *flags, size_t count,
                          struct config_error *error);
