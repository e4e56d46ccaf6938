/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources: config_load() from texts, in a directory of the test's own.
 *
 * The file is always called dunlin.yaml, so that a message about it can be compared whole.
 */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/config/options.h"

/* Each Criterion test is a process, which this moves into a new directory. */
static inline void sources_enter(void)
{
    char dir[] = "/tmp/dunlin-config-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static inline void sources_leave(void)
{
    char dir[128];
    cr_assert_not_null(getcwd(dir, sizeof dir));
    cr_assert_eq(strncmp(dir, "/tmp/dunlin-config-", 19), 0);
    static const char *const files[] = {"dunlin.yaml", "secret", "again.yaml"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        unlink(files[i]);
    }
    cr_assert_eq(chdir("/"), 0);
    cr_expect_eq(rmdir(dir), 0);
}

static inline void sources_write(const char *name, const char *text, size_t len)
{
    FILE *const f = fopen(name, "we");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(text, 1, len, f), len);
    cr_assert_eq(fclose(f), 0);
}

/* NULL for a source that is not there; both lists end with NULL, the flags without argv[0]. */
static inline enum config_err sources_load(struct config **out, const char *yaml,
                                           const char *const *environment, const char *const *flags,
                                           struct config_error *error)
{
    const char *argv[32] = {"dunlin"};
    int argc = 1;
    while (flags != NULL && flags[argc - 1] != NULL) {
        argv[argc] = flags[argc - 1];
        argc++;
    }
    struct options options;
    cr_assert(options_parse(&options, argc, (char *const *)argv, error), "%s", error->text);
    if (yaml != NULL) {
        sources_write("dunlin.yaml", yaml, strlen(yaml));
    }
    const struct config_sources sources = {.file = yaml != NULL ? "dunlin.yaml" : NULL,
                                           .environment = (char *const *)environment,
                                           .options = &options};
    const enum config_err err = config_load(out, &sources, error);
    options_fini(&options);
    return err;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
