/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/options.h"

#include <stdlib.h>
#include <string.h>

#include "broker/config/resemblance.h"

/* What a flag does; `value` is NULL for one that takes none. false: told. */
struct flag;
typedef bool flag_fn(struct options *o, const struct flag *flag, const char *value,
                     struct config_error *error);

static flag_fn take_config, take_key, take_set, take_action;

struct flag {
    const char *name;
    const char *value; /* what it is called in the help; NULL: it takes none */
    flag_fn *take;
    const char *path;           /* take_key: the key that it sets */
    enum options_action action; /* take_action */
    const char *help;
};

/* clang-format off */
static const struct flag flags[] = {
    {"--config", "FILE", take_config, NULL, OPTIONS_RUN,
     "Read this YAML file; docs/dunlin.yaml shows every key."},
    {"--listen", "URL", take_key, "listeners", OPTIONS_RUN,
     "Listen here, as in tcp://127.0.0.1:1883. May be repeated.\n"
     "Replaces the listeners of the configuration."},
    {"--data", "DIR", take_key, "data.dir", OPTIONS_RUN,
     "Keep here what must survive a restart (data.dir)."},
    {"--admin", "HOST:PORT", take_key, "admin.listen", OPTIONS_RUN,
     "Answer /metrics, /livez, /readyz, /api/v1 here by HTTP (admin.listen)."},
    {"--cluster", "HOST:PORT", take_key, "cluster.listen", OPTIONS_RUN,
     "Be a node of a cluster, which others reach here (cluster.listen)."},
    {"--seed", "HOST:PORT,…", take_key, "cluster.seeds", OPTIONS_RUN,
     "Find the cluster there (cluster.seeds)."},
    {"--node-name", "NAME", take_key, "node.name", OPTIONS_RUN,
     "What the others call this node (node.name)."},
    {"--log-level", "LEVEL", take_key, "log.level", OPTIONS_RUN,
     "error, warning, info, or debug (log.level)."},
    {"--set", "PATH=VALUE", take_set, NULL, OPTIONS_RUN,
     "Set any key, as in limits.connections_max=500. May be repeated."},
    {"--check-config", NULL, take_action, NULL, OPTIONS_CHECK_CONFIG,
     "Say whether the configuration is right, and end."},
    {"--dump-config", NULL, take_action, NULL, OPTIONS_DUMP_CONFIG,
     "Print what is in force, and where each value came from."},
    {"--version", NULL, take_action, NULL, OPTIONS_VERSION, "Print the version."},
    {"--help", NULL, take_action, NULL, OPTIONS_HELP, "Print this."},
};
/* clang-format on */

#define FLAGS (sizeof flags / sizeof flags[0])

static bool take_config(struct options *o, const struct flag *flag, const char *value,
                        struct config_error *error)
{
    if (o->config != NULL) {
        config_error_add(error, "%s is given twice; there can be only one file", flag->name);
        return false;
    }
    o->config = value;
    return true;
}

static bool add_setting(struct options *o, struct options_setting setting,
                        struct config_error *error)
{
    if (o->settings_count == OPTIONS_SETTINGS_MAX) {
        config_error_add(error,
                         "%s: more than %u settings; put them into a file, and give it as --config",
                         setting.flag, OPTIONS_SETTINGS_MAX);
        return false;
    }
    struct options_setting *const grown =
        reallocarray(o->settings, o->settings_count + 1, sizeof o->settings[0]);
    if (grown == NULL) {
        config_error_add(error, "out of memory");
        return false;
    }
    o->settings = grown;
    o->settings[o->settings_count++] = setting;
    return true;
}

static bool take_key(struct options *o, const struct flag *flag, const char *value,
                     struct config_error *error)
{
    const struct options_setting setting = {
        .flag = flag->name, .path = flag->path, .path_len = strlen(flag->path), .value = value};
    return add_setting(o, setting, error);
}

static bool take_set(struct options *o, const struct flag *flag, const char *value,
                     struct config_error *error)
{
    const char *const equals = strchr(value, '=');
    if (equals == NULL || equals == value) {
        config_error_add(error,
                         "--set '%.64s' is not PATH=VALUE, as in --set limits.connections_max=500",
                         value);
        return false;
    }
    const struct options_setting setting = {.flag = flag->name,
                                            .path = value,
                                            .path_len = (size_t)(equals - value),
                                            .value = equals + 1};
    return add_setting(o, setting, error);
}

/* Help and version win over all else; of the others there can be one. */
static bool take_action(struct options *o, const struct flag *flag, const char *value,
                        struct config_error *error)
{
    (void)value;
    const bool is_told = o->action == OPTIONS_CHECK_CONFIG || o->action == OPTIONS_DUMP_CONFIG;
    if (is_told && flag->action != o->action && flag->action < OPTIONS_VERSION) {
        config_error_add(error, "--check-config and --dump-config cannot be had at once; give one");
        return false;
    }
    if (flag->action > o->action) {
        o->action = flag->action;
    }
    return true;
}

static void unknown_flag(const char *argument, size_t len, struct config_error *error)
{
    const char *best = NULL;
    unsigned best_distance = RESEMBLANCE_NONE;
    if (argument[0] != '-') {
        config_error_add(error,
                         "'%.64s' is not a flag; a configuration file is given as --config %.64s",
                         argument, argument);
        return;
    }
    for (size_t i = 0; i < FLAGS; i++) {
        const unsigned d = resemblance(argument, len, flags[i].name, strlen(flags[i].name));
        if (d < best_distance) {
            best_distance = d;
            best = flags[i].name;
        }
    }
    if (best != NULL) {
        config_error_add(error, "%.*s: there is no such flag; did you mean %s?", (int)len, argument,
                         best);
    } else {
        config_error_add(error, "%.*s: there is no such flag; --help lists all", (int)len,
                         argument);
    }
}

static const struct flag *find_flag(const char *argument, size_t len)
{
    if (len == 2 && memcmp(argument, "-h", 2) == 0) {
        return find_flag("--help", strlen("--help"));
    }
    for (size_t i = 0; i < FLAGS; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, argument, len) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

/* Takes argv[*at] and, where it belongs to it, the next. */
static bool take_argument(struct options *o, int argc, char *const *argv, int *at,
                          struct config_error *error)
{
    const char *const argument = argv[*at];
    const size_t len = strcspn(argument, "=");
    const char *value = argument[len] == '=' ? argument + len + 1 : NULL;
    const struct flag *const flag = find_flag(argument, len);
    if (flag == NULL) {
        unknown_flag(argument, len, error);
        return false;
    }
    if (flag->value == NULL && value != NULL) {
        config_error_add(error, "%s takes no value, but '%.64s' is given", flag->name, value);
        return false;
    }
    if (flag->value != NULL && value == NULL) {
        if (*at + 1 == argc) {
            config_error_add(error, "%s: a value is missing: %s %s", flag->name, flag->name,
                             flag->value);
            return false;
        }
        value = argv[++*at];
    }
    return flag->take(o, flag, value, error);
}

bool options_parse(struct options *options, int argc, char *const *argv, struct config_error *error)
{
    struct options o = {.action = OPTIONS_RUN};
    bool good = true;
    for (int at = 1; at < argc; at++) {
        good = take_argument(&o, argc, argv, &at, error) && good;
    }
    if (!good) {
        options_fini(&o);
    }
    *options = o;
    return good;
}

void options_fini(struct options *options)
{
    free(options->settings);
    *options = (struct options){.action = OPTIONS_RUN};
}

/* Lines of `help` under one another, to the right of the flags. */
static void print_flag(const struct flag *flag, FILE *out)
{
    char left[32];
    snprintf(left, sizeof left, "%s%s%s", flag->name, flag->value != NULL ? " " : "",
             flag->value != NULL ? flag->value : "");
    const char *margin = left;
    for (const char *at = flag->help; *at != '\0'; margin = "") {
        const size_t len = strcspn(at, "\n");
        fprintf(out, "  %-18s  %.*s\n", margin, (int)len, at);
        at += len + (at[len] == '\n');
    }
}

void options_help(FILE *out)
{
    fputs(
        "dunlin: an MQTT broker (3.1, 3.1.1, 5.0)\n\nUsage: dunlin [FLAG]…\n"
        "       dunlin passwd …   makes and checks password files; dunlin passwd --help\n"
        "       dunlin backup …   copies what a node keeps, while it runs; dunlin backup --help\n"
        "       dunlin restore …  makes a data directory of such a copy; dunlin restore --help\n\n",
        out);
    for (size_t i = 0; i < FLAGS; i++) {
        print_flag(&flags[i], out);
    }
    fputs("\n"
          "Later wins: built-in default, file, environment, flag. Every key can be given as a\n"
          "variable: limits.connections_max is DUNLIN_LIMITS__CONNECTIONS_MAX, and with _FILE at\n"
          "its end the variable names a file that holds the value.\n"
          "\n"
          "Examples:\n"
          "  dunlin                                   listens on tcp://127.0.0.1:1883\n"
          "  dunlin --config /etc/dunlin.yaml --check-config\n"
          "  dunlin --listen tcp://127.0.0.1:1883 --listen 'tcp://[::1]:1883'\n"
          "  dunlin --listen 'tcp://*:1883' --set allow_anonymous=true\n"
          "  dunlin --config /etc/dunlin.yaml --set limits.packet_bytes_max=65536 --dump-config\n"
          "\n"
          "SIGTERM sends the clients away and ends it; SIGHUP reads the configuration again.\n",
          out);
}
