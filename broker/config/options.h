/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options: the command line of dunlin.
 *
 * Owner: main. Memory: the texts are borrowed from argv; the array of settings is allocated.
 * At the bound: OPTIONS_SETTINGS_MAX flags that set a key; more are refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "broker/config/config_error.h"
#include "proto/nodiscard.h"

#define OPTIONS_SETTINGS_MAX 256u

enum options_action {
    OPTIONS_RUN,
    OPTIONS_CHECK_CONFIG,
    OPTIONS_DUMP_CONFIG,
    OPTIONS_VERSION,
    OPTIONS_HELP,
};

/* One flag that sets a key; they take effect in the order of the command line. */
struct options_setting {
    const char *flag; /* "--listen", "--data", "--log-level", "--set" */
    const char *path; /* the key, path_len bytes; for --listen the list, to which it is added */
    size_t path_len;
    const char *value;
};

struct options {
    enum options_action action;
    const char *config; /* path; NULL: none was given */
    struct options_setting *settings;
    size_t settings_count;
};

/* false: what is wrong with the line is in *error; *options is empty then. argv is not changed. */
NODISCARD bool options_parse(struct options *options, int argc, char *const *argv,
                             struct config_error *error);
void options_fini(struct options *options); /* fine with = {0}, and twice */

void options_help(FILE *out);
