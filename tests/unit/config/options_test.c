/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/options.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ARGS(...) ((const char *const[]){"dunlin", ##__VA_ARGS__, NULL})

static bool parse(struct options *o, const char *const *argv, struct config_error *error)
{
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    return options_parse(o, argc, (char *const *)argv, error);
}

Test(options, none)
{
    struct options o;
    struct config_error error = {0};
    cr_assert(parse(&o, ARGS(), &error));
    cr_expect_eq(o.action, OPTIONS_RUN);
    cr_expect_null(o.config);
    cr_expect_eq(o.settings_count, 0);
    options_fini(&o);
    options_fini(&o);
}

Test(options, all)
{
    struct options o;
    struct config_error error = {0};
    cr_assert(parse(&o,
                    ARGS("--config", "f.yaml", "--listen=tcp://*:1", "--listen", "tcp://*:2",
                         "--data", "/d", "--log-level", "debug", "--set", "a.b=c=d",
                         "--set=x=", "--check-config", "--check-config"),
                    &error));
    cr_expect_eq(o.action, OPTIONS_CHECK_CONFIG);
    cr_expect_str_eq(o.config, "f.yaml");
    static const struct {
        const char *flag, *path, *value;
    } want[] = {
        {"--listen", "listeners", "tcp://*:1"},
        {"--listen", "listeners", "tcp://*:2"},
        {"--data", "data.dir", "/d"},
        {"--log-level", "log.level", "debug"},
        {"--set", "a.b", "c=d"},
        {"--set", "x", ""},
    };
    cr_assert_eq(o.settings_count, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < o.settings_count; i++) {
        const struct options_setting *const s = &o.settings[i];
        cr_expect_str_eq(s->flag, want[i].flag);
        cr_expect_eq(s->path_len, strlen(want[i].path));
        cr_expect_eq(strncmp(s->path, want[i].path, s->path_len), 0);
        cr_expect_str_eq(s->value, want[i].value);
    }
    options_fini(&o);
}

Test(options, actions)
{
    static const struct {
        const char *flags[3];
        enum options_action action;
    } rows[] = {
        {{"--dump-config"}, OPTIONS_DUMP_CONFIG},
        {{"--version"}, OPTIONS_VERSION},
        {{"--help"}, OPTIONS_HELP},
        {{"-h"}, OPTIONS_HELP},
        {{"--help", "--version"}, OPTIONS_HELP},
        {{"--check-config", "--help"}, OPTIONS_HELP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct options o;
        struct config_error error = {0};
        cr_assert(parse(&o, ARGS(rows[i].flags[0], rows[i].flags[1], rows[i].flags[2]), &error));
        cr_expect_eq(o.action, rows[i].action);
        options_fini(&o);
    }
}

Test(options, mistakes)
{
    static const struct {
        const char *flags[4];
        const char *text;
    } rows[] = {
        {{"--listne", "x"},
         "--listne: there is no such flag; did you mean --listen?\n"
         "'x' is not a flag; a configuration file is given as --config x\n"},
        {{"--frobnicate=3"}, "--frobnicate: there is no such flag; --help lists all\n"},
        {{"-p"}, "-p: there is no such flag; --help lists all\n"},
        {{"a.yaml"}, "'a.yaml' is not a flag; a configuration file is given as --config a.yaml\n"},
        {{"--config"}, "--config: a value is missing: --config FILE\n"},
        {{"--set"}, "--set: a value is missing: --set PATH=VALUE\n"},
        {{"--config", "a", "--config=b"}, "--config is given twice; there can be only one file\n"},
        {{"--version=3"}, "--version takes no value, but '3' is given\n"},
        {{"--set", "a.b"},
         "--set 'a.b' is not PATH=VALUE, as in --set limits.connections_max=500\n"},
        {{"--set", "=5"}, "--set '=5' is not PATH=VALUE, as in --set limits.connections_max=500\n"},
        {{"--check-config", "--dump-config"},
         "--check-config and --dump-config cannot be had at once; give one\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct options o;
        struct config_error error = {0};
        cr_expect_not(
            parse(&o, ARGS(rows[i].flags[0], rows[i].flags[1], rows[i].flags[2]), &error));
        cr_expect_str_eq(error.text, rows[i].text);
        cr_expect_eq(o.settings_count, 0);
        cr_expect_null(o.settings);
    }
}

Test(options, bound)
{
    const char *argv[OPTIONS_SETTINGS_MAX + 3] = {"dunlin"};
    for (unsigned i = 1; i <= OPTIONS_SETTINGS_MAX; i++) {
        argv[i] = "--set=node.shards=1";
    }
    struct options o;
    struct config_error error = {0};
    cr_assert(parse(&o, argv, &error));
    options_fini(&o);
    argv[OPTIONS_SETTINGS_MAX + 1] = "--data=x";
    cr_expect_not(parse(&o, argv, &error));
    cr_expect_str_eq(error.text,
                     "--data: more than 256 settings; put them into a file, and give it "
                     "as --config\n");
}

/* Lines fit a terminal, and each flag has its line. */
Test(options, help)
{
    char *text;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    options_help(f);
    fclose(f);
    static const char *const flags[] = {"--config FILE",     "--listen URL",     "--data DIR",
                                        "--log-level LEVEL", "--set PATH=VALUE", "--check-config",
                                        "--dump-config",     "--version",        "--help"};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        cr_expect_not_null(strstr(text, flags[i]), "%s", flags[i]);
    }
    for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
        cr_expect_leq(strcspn(at, "\n"), 92, "%.*s", (int)strcspn(at, "\n"), at);
    }
    free(text);
}
