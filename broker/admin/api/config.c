/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: what is in force, and where each value came from. The configuration is replaced by a
 * reload, and freed when all shards have passed: so a shard copies it, as of its turn.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/config/config.h"
#include "broker/config/settings.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

#define MASKED "***"

struct copied {
    const struct schema_key *key;
    unsigned entry;
    enum settings_source source;
    char *plain, *origin; /* owned */
};

struct copy {
    struct errand errand;
    struct copied *all; /* owned; NULL: no memory */
    size_t count;
};

static struct copy *copy_of(struct errand *e)
{
    return table_object(e, struct copy, errand);
}

static void destroy(struct errand *e)
{
    struct copy *const c = copy_of(e);
    for (size_t i = 0; i < c->count; i++) {
        free(c->all[i].plain);
        free(c->all[i].origin);
    }
    free(c->all);
    free(c);
}

/* A hundred keys, and some lists of a few entries. */
static enum errand_step run(struct shard *s, struct errand *e)
{
    struct copy *const c = copy_of(e);
    const struct settings *const settings = s->config->settings;
    c->all = calloc(settings->count, sizeof *c->all);
    for (size_t i = 0; c->all != NULL && i < settings->count; i++) {
        const struct setting *const from = &settings->all[i];
        c->all[i] = (struct copied){.key = from->key,
                                    .entry = from->entry,
                                    .source = from->source,
                                    .plain = strdup(from->plain),
                                    .origin = strdup(from->origin)};
        c->count++;
    }
    return ERRAND_DONE;
}

/* ---- what nobody is to see: what came out of a file of secrets, and passwords in URLs */

static bool is_secret(const struct copied *c)
{
    static const char suffix[] = "_FILE";
    const size_t len = strlen(c->origin), end = sizeof suffix - 1;
    return c->source == SETTINGS_ENVIRONMENT && len >= end &&
           strcmp(c->origin + len - end, suffix) == 0;
}

static json_t *value_of(const struct copied *c)
{
    if (is_secret(c)) {
        return json_string(MASKED);
    }
    const char *const scheme = strstr(c->plain, "://");
    const char *const host = scheme == NULL ? NULL : scheme + 3;
    const char *const at = host == NULL ? NULL : memchr(host, '@', strcspn(host, "/?#"));
    if (at == NULL) {
        return answer_text(bytes_text(c->plain));
    }
    return json_sprintf("%.*s" MASKED "%s", (int)(host - c->plain), c->plain, at);
}

/* ---- JSON */

static json_t *setting_json(const struct copied *c)
{
    static const char *const sources[] = {[SETTINGS_DEFAULT] = "default",
                                          [SETTINGS_FILE] = "file",
                                          [SETTINGS_ENVIRONMENT] = "environment",
                                          [SETTINGS_FLAG] = "flag"};
    char path[SCHEMA_PATH_BYTES];
    if (c->plain == NULL || c->origin == NULL) {
        return NULL;
    }
    schema_path(c->key, c->entry, path);
    return json_pack("{s:s, s:o, s:s, s:o, s:b}", "path", path, "value", value_of(c), "source",
                     sources[c->source], "origin", answer_text(bytes_text(c->origin)), "reloadable",
                     c->key->reloadable);
}

static json_t *all_json(const struct copy *c)
{
    json_t *const items = json_array();
    for (size_t i = 0; i < c->count; i++) {
        if (json_array_append_new(items, setting_json(&c->all[i])) != 0) {
            json_decref(items);
            return NULL;
        }
    }
    return c->all == NULL ? NULL : items;
}

struct api_answer config_get(struct api_request *r)
{
    struct api_answer answer;
    struct copy *const c = calloc(1, sizeof *c);
    if (c == NULL) {
        return answer_json(500, NULL);
    }
    c->errand = (struct errand){.run = run, .destroy = destroy};
    if (request_ask(r, r->node->shards[0], &c->errand, &answer)) {
        answer = answer_json(200, json_pack("{s:o}", "items", all_json(c)));
    }
    errand_put(&c->errand);
    return answer;
}
