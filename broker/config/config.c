/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/config.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <cyaml/cyaml.h>

#include "broker/config/auth_methods.h"
#include "broker/config/cluster_check.h"
#include "broker/config/document.h"
#include "broker/config/environment.h"
#include "broker/config/file_text.h"
#include "broker/config/listen_url.h"
#include "broker/config/listeners.h"
#include "broker/config/options.h"
#include "broker/config/schema.h"
#include "broker/config/settings.h"
#include "broker/config/topics.h"
#include "broker/recorder/recorder.h"

#define FIRST_LISTENER "listeners.0.url"

/* libcyaml's own messages go nowhere: what reaches it has been judged by value_plain(). */
static const cyaml_config_t cyaml_conf = {
    .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR, .flags = CYAML_CFG_NO_ALIAS};

/* ---- the sources, weakest first */

static void read_defaults(struct settings *s, struct config_error *error)
{
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *const key = schema_at(i);
        if (schema_has_default(key)) {
            settings_offer(s, key, 0, key->by_default, SETTINGS_DEFAULT, "default", error);
        }
    }
    assert(error->count == 0); /* the table's defaults lie in the table's ranges */
}

static void read_file(struct settings *s, const char *path, struct config_error *error)
{
    char *text;
    size_t len;
    const int err = file_text_read(path, CONFIG_FILE_BYTES_MAX, &text, &len);
    if (err != 0) {
        config_error_add(error, "%s: cannot read the configuration: %s", path, strerror(err));
        return;
    }
    document_read(s, path, text, len, error);
    free(text);
}

static void read_setting(struct settings *s, const struct options_setting *one,
                         struct config_error *error)
{
    unsigned entry;
    char meant[SCHEMA_PATH_BYTES];
    const struct schema_key *const key = schema_find(one->path, one->path_len, &entry);
    if (key != NULL) {
        settings_offer(s, key, entry, one->value, SETTINGS_FLAG, one->flag, error);
    } else if (schema_suggest(one->path, one->path_len, meant)) {
        config_error_add(error, "%s %.*s: there is no such key; did you mean %s?", one->flag,
                         (int)one->path_len, one->path, meant);
    } else {
        config_error_add(error, "%s %.*s: there is no such key; docs/configuration.md lists all",
                         one->flag, (int)one->path_len, one->path);
    }
}

/* --listen first, so that --set listeners.0.url means the list that it makes. */
static void read_options(struct settings *s, const struct options *o, struct config_error *error)
{
    unsigned listeners = 0, entry;
    const struct schema_key *const url =
        schema_find(FIRST_LISTENER, strlen(FIRST_LISTENER), &entry);
    for (size_t i = 0; i < o->settings_count; i++) {
        const struct options_setting *const one = &o->settings[i];
        if (strcmp(one->flag, "--listen") == 0) {
            if (listeners == 0) {
                settings_clear_list(s, "listeners");
            }
            settings_offer(s, url, listeners++, one->value, SETTINGS_FLAG, one->flag, error);
        }
    }
    for (size_t i = 0; i < o->settings_count; i++) {
        if (strcmp(o->settings[i].flag, "--listen") != 0) {
            read_setting(s, &o->settings[i], error);
        }
    }
}

/* ---- settings into the struct */

/* The entry has no URL, or no filter: somebody has counted wrong, or forgotten it. */
static void refuse_gap(const struct settings *s, const struct schema_key *head, unsigned entry,
                       struct config_error *error)
{
    char path[SCHEMA_PATH_BYTES], other[SCHEMA_PATH_BYTES];
    const struct setting *const there = settings_any(s, head, entry);
    schema_path(head, entry, path);
    schema_path(there->key, there->entry, other);
    config_error_add(error, "%s: %s: there is no %s%s", there->origin, other, path,
                     there->entry > entry ? " before it; a list has no gaps" : " beside it");
}

/* Entries 0, 1, 2 … up to the highest that is there each have the list's first key, and defaults
 * for what else was not said of them. */
static void complete_list(struct settings *s, const struct schema_key *head,
                          struct config_error *error)
{
    const unsigned entries = settings_entries(s, head);
    for (size_t i = 0; i < schema_count() && error->count == 0; i++) {
        const struct schema_key *const key = schema_at(i);
        for (unsigned entry = 0; entry < entries && schema_same_list(key, head); entry++) {
            if (settings_find(s, key, entry) != NULL) {
                continue;
            }
            if (key == head) {
                refuse_gap(s, head, entry, error);
                return;
            }
            settings_offer(s, key, entry, key->by_default, SETTINGS_DEFAULT, "default", error);
        }
    }
}

static void complete_lists(struct settings *s, struct config_error *error)
{
    unsigned entry;
    const struct schema_key *const url =
        schema_find(FIRST_LISTENER, strlen(FIRST_LISTENER), &entry);
    if (settings_entries(s, url) == 0 && error->count == 0) {
        config_error_add(error, "listeners: the list is empty; give at least one, as in "
                                "--listen tcp://127.0.0.1:1883");
    }
    for (size_t i = 0; i < schema_count(); i++) {
        if (schema_list_head(schema_at(i)) == schema_at(i)) {
            complete_list(s, schema_at(i), error);
        }
    }
}

static enum config_err fill(struct config **out, const struct settings *s)
{
    enum config_err err = CONFIG_NO_MEMORY;
    char *text = NULL;
    size_t len = 0;
    cyaml_data_t *loaded = NULL;
    FILE *const f = open_memstream(&text, &len);
    if (f == NULL) {
        goto out;
    }
    settings_write(s, SETTINGS_FOR_LIBCYAML, f);
    if (fclose(f) != 0) {
        goto out;
    }
    const cyaml_err_t cyaml_err =
        cyaml_load_data((const uint8_t *)text, len, &cyaml_conf, &schema_cyaml, &loaded, NULL);
    assert(cyaml_err == CYAML_OK || cyaml_err == CYAML_ERR_OOM); /* all of it was judged before */
    if (cyaml_err == CYAML_OK) {
        *out = loaded;
        err = CONFIG_OK;
    }
out:
    free(text);
    return err;
}

/* ---- what only makes sense together */

static void check_limits(const struct config *c, struct config_error *error)
{
    const struct config_limits *const l = &c->limits;
    if (l->message_memory_max != 0 && l->message_memory_max < l->packet_bytes_max) {
        config_error_add(error,
                         "%s: limits.message_memory_max: %" PRIu64 " is less than "
                         "limits.packet_bytes_max (%" PRIu32 ", %s); give at least that, or 0",
                         settings_origin(c->settings, "limits.message_memory_max"),
                         l->message_memory_max, l->packet_bytes_max,
                         settings_origin(c->settings, "limits.packet_bytes_max"));
    }
}

static void check_mqtt(const struct config *c, struct config_error *error)
{
    if (strpbrk(c->mqtt.response_information, "+#") != NULL) {
        config_error_add(error,
                         "%s: mqtt.response_information: '%.64s' has a wildcard; topics that are "
                         "published to have none",
                         settings_origin(c->settings, "mqtt.response_information"),
                         c->mqtt.response_information);
    }
}

static void check_admin(const struct config *c, struct config_error *error)
{
    struct listen_url where;
    const char *const wrong =
        c->admin.listen[0] == '\0' ? NULL : listen_address_parse(&where, c->admin.listen);
    if (wrong != NULL) {
        config_error_add(error, "%s: admin.listen: '%.64s' %s",
                         settings_origin(c->settings, "admin.listen"), c->admin.listen, wrong);
    }
    if (c->admin.listen[0] != '\0' && wrong == NULL && !where.loopback &&
        c->admin.keys_file[0] == '\0') {
        config_error_add(error,
                         "%s: admin.listen: '%.64s' can be reached from other machines; set "
                         "admin.keys_file (dunlin admin-key makes one), or take a loopback address",
                         settings_origin(c->settings, "admin.listen"), c->admin.listen);
    }
    if (c->admin.listen[0] != '\0' &&
        (c->admin.certificate[0] == '\0') != (c->admin.key[0] == '\0')) {
        const char *const missing = c->admin.key[0] == '\0' ? "admin.key" : "admin.certificate";
        config_error_add(error, "%s: %s: is missing; a certificate and its key belong together",
                         settings_origin(c->settings, missing), missing);
    }
}

static void check_http(const struct config *c, const char *key, const char *url,
                       struct config_error *error)
{
    if (url[0] != '\0' && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        config_error_add(error, "%s: %s: '%.64s' does not begin with http:// or https://",
                         settings_origin(c->settings, key), key, url);
    }
}

/* Who says by what clients are to be judged, and that it is not to be asked, does not mean that
 * everybody may come in. */
static void check_asked(const struct config *c, const struct auth_methods *methods,
                        enum config_auth_method method, const char *key, const char *value,
                        struct config_error *error)
{
    if (value[0] != '\0' && memchr(methods->at, method, methods->count) == NULL) {
        config_error_add(error, "%s: %s is set, but auth.methods does not name %s",
                         settings_origin(c->settings, key), key, auth_method_name(method));
    }
}

static void check_auth(const struct config *c, struct config_error *error)
{
    struct auth_methods methods;
    const char *const wrong = auth_methods_parse(&methods, c->auth.methods);
    if (wrong != NULL) {
        config_error_add(error, "%s: auth.methods: '%.64s' %s; there are: " AUTH_METHODS_ALL,
                         settings_origin(c->settings, "auth.methods"), c->auth.methods, wrong);
        return;
    }
    check_asked(c, &methods, CONFIG_AUTH_PASSWORD, "auth.password_file", c->auth.password_file,
                error);
    check_asked(c, &methods, CONFIG_AUTH_TOKEN, "token.keys_file", c->token.keys_file, error);
    check_asked(c, &methods, CONFIG_AUTH_TOKEN, "token.keys_url", c->token.keys_url, error);
    check_asked(c, &methods, CONFIG_AUTH_HTTP, "http.url", c->http.url, error);
}

static void check_recorder(const struct config *c, struct config_error *error)
{
    const uint32_t bytes = c->recorder.bytes_per_shard;
    if (bytes > 0 && bytes < RECORDER_BYTES_MIN) {
        config_error_add(
            error, "%s: recorder.bytes_per_shard: %" PRIu32 " is too little; 0, or %u and more",
            settings_origin(c->settings, "recorder.bytes_per_shard"), bytes, RECORDER_BYTES_MIN);
    }
}

static void check_token(const struct config *c, struct config_error *error)
{
    if (c->token.user_claim[0] == '\0') {
        config_error_add(error, "%s: token.user_claim: '' is no claim; a user needs a name",
                         settings_origin(c->settings, "token.user_claim"));
    }
}

/* ---- the whole */

static void read_sources(struct settings *s, const struct config_sources *sources,
                         struct config_error *error)
{
    read_defaults(s, error);
    if (sources->file != NULL) {
        read_file(s, sources->file, error);
    }
    if (sources->environment != NULL) {
        environment_read(s, sources->environment, error);
    }
    if (sources->options != NULL) {
        read_options(s, sources->options, error);
    }
    complete_lists(s, error);
}

enum config_err config_load(struct config **out, const struct config_sources *sources,
                            struct config_error *error)
{
    struct config_error found = {.count = 0};
    enum config_err err = CONFIG_NO_MEMORY;
    struct config *c = NULL;
    struct settings *s = settings_create();
    if (s == NULL) {
        goto out;
    }
    read_sources(s, sources, &found);
    if (s->out_of_memory) {
        goto out;
    }
    if (found.count > 0) {
        err = CONFIG_INVALID;
        goto out;
    }
    err = fill(&c, s);
    if (err != CONFIG_OK) {
        goto out;
    }
    c->settings = s;
    s = NULL;
    listeners_check(c, &found);
    check_limits(c, &found);
    check_mqtt(c, &found);
    check_auth(c, &found);
    check_recorder(c, &found);
    check_token(c, &found);
    check_http(c, "token.keys_url", c->token.keys_url, &found);
    check_http(c, "http.url", c->http.url, &found);
    check_admin(c, &found);
    cluster_check(c, &found);
    topics_check(c, &found);
    if (found.count > 0) {
        err = CONFIG_INVALID;
        goto out;
    }
    *out = c;
    c = NULL;
out:
    if (err == CONFIG_NO_MEMORY) {
        config_error_add(&found, "out of memory");
    }
    if (err != CONFIG_OK) {
        *error = found;
    }
    settings_destroy(s);
    config_destroy(c);
    return err;
}

void config_destroy(struct config *c)
{
    if (c == NULL) {
        return;
    }
    settings_destroy(c->settings);
    const cyaml_err_t err = cyaml_free(&cyaml_conf, &schema_cyaml, c, 0);
    assert(err == CYAML_OK);
    (void)err;
}

void config_dump(const struct config *c, FILE *out)
{
    settings_write(c->settings, SETTINGS_FOR_PEOPLE, out);
}

/* ---- what has changed */

/* All entries of a key, or its one value, in one text, to be freed; NULL when out of memory. */
static char *all_of(const struct settings *s, const struct schema_key *key)
{
    char *text = NULL;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    if (f == NULL) {
        return NULL;
    }
    const unsigned entries = settings_entries(s, key);
    for (unsigned i = 0; i < entries; i++) {
        fprintf(f, "%s%s", i == 0 ? "" : " ", settings_find(s, key, i)->plain);
    }
    fclose(f);
    return text;
}

/* Has anybody said anything of the key? A list that grows has more defaults; that is no change. */
static bool is_said(const struct settings *s, const struct schema_key *key)
{
    const unsigned entries = settings_entries(s, key);
    for (unsigned i = 0; i < entries; i++) {
        if (settings_find(s, key, i)->source != SETTINGS_DEFAULT) {
            return true;
        }
    }
    return false;
}

void config_diff(const struct config *before, const struct config *after,
                 config_changed_fn *changed, void *context)
{
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *const key = schema_at(i);
        if (!is_said(before->settings, key) && !is_said(after->settings, key)) {
            continue;
        }
        char *const old = all_of(before->settings, key), *const new = all_of(after->settings, key);
        if (old != NULL && new != NULL && strcmp(old, new) != 0) {
            changed(context, key->path, key->reloadable, old, new);
        }
        free(old);
        free(new);
    }
}
