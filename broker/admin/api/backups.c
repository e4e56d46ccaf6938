/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/backups.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/admin/api/api.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/admin/key_file.h"
#include "broker/backup/backup.h"
#include "broker/backup/manifest.h"
#include "broker/config/config.h"
#include "broker/config/config_error.h"
#include "broker/log/log.h"

struct backups {
    char *data, *dir; /* owned; "": there is none */
    pthread_t thread;

    pthread_mutex_t lock; /* of what follows; no other is taken under it */
    bool has_thread;      /* to be joined */
    struct backup_status status;
};

struct backups *backups_create(const struct config *config)
{
    struct backups *const b = calloc(1, sizeof *b);
    if (b == NULL) {
        return NULL;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->data = strdup(config->data.dir);
    b->dir = strdup(config->admin.backup_dir);
    if (b->data == NULL || b->dir == NULL) {
        backups_destroy(b);
        return NULL;
    }
    return b;
}

static void join(struct backups *b)
{
    if (b->has_thread) {
        pthread_join(b->thread, NULL);
        b->has_thread = false;
    }
}

void backups_destroy(struct backups *b)
{
    struct backup_status status;
    if (b == NULL) {
        return;
    }
    backups_status(b, &status);
    if (status.state == BACKUP_RUNNING) {
        log_event(LOG_WARNING, "backup_failed", LOG_TEXT("to", status.name),
                  LOG_TEXT("error", "the broker ends"));
        pthread_detach(b->thread); /* and `b` is its own now */
        return;
    }
    join(b);
    free(b->data);
    free(b->dir);
    free(b);
}

static void *run(void *context)
{
    struct backups *const b = context;
    char to[PATH_MAX];
    struct manifest taken;
    struct config_error error = {.count = 0};
    snprintf(to, sizeof to, "%s/%s", b->dir, b->status.name); /* its name stays while it runs */
    const bool done = backup_take(b->data, to, &taken, &error);
    error.text[strcspn(error.text, "\n")] = '\0';
    pthread_mutex_lock(&b->lock);
    b->status.state = done ? BACKUP_DONE : BACKUP_FAILED;
    b->status.ended_s = time(NULL);
    if (done) {
        b->status.files = taken.count;
        b->status.bytes = manifest_bytes(&taken);
    } else {
        snprintf(b->status.error, sizeof b->status.error, "%.500s", error.text);
    }
    pthread_mutex_unlock(&b->lock);
    if (done) {
        manifest_fini(&taken);
        log_event(LOG_INFO, "backed_up", LOG_TEXT("to", to));
    } else {
        log_event(LOG_ERROR, "backup_failed", LOG_TEXT("to", to), LOG_TEXT("error", error.text));
    }
    return NULL;
}

enum backup_begun backups_begin(struct backups *b, const char *name, struct backup_status *out)
{
    enum backup_begun begun = BACKUP_IS_RUNNING;
    pthread_mutex_lock(&b->lock);
    if (b->status.state != BACKUP_RUNNING) {
        join(b); /* it has ended, but for its line in the log */
        b->status = (struct backup_status){.state = BACKUP_RUNNING, .began_s = time(NULL)};
        snprintf(b->status.name, sizeof b->status.name, "%s", name);
        b->has_thread = pthread_create(&b->thread, NULL, run, b) == 0;
        begun = b->has_thread ? BACKUP_BEGUN : BACKUP_NO_THREAD;
        b->status.state = b->has_thread ? BACKUP_RUNNING : BACKUP_NONE;
    }
    *out = b->status;
    pthread_mutex_unlock(&b->lock);
    return begun;
}

void backups_status(struct backups *b, struct backup_status *out)
{
    pthread_mutex_lock(&b->lock);
    *out = b->status;
    pthread_mutex_unlock(&b->lock);
}

/* ---- requests */

static json_t *time_of(int64_t s)
{
    return s == 0 ? json_null() : answer_time(s * 1000);
}

static json_t *status_json(const struct backup_status *s)
{
    static const char *const states[] = {[BACKUP_NONE] = "none",
                                         [BACKUP_RUNNING] = "running",
                                         [BACKUP_DONE] = "done",
                                         [BACKUP_FAILED] = "failed"};
    const bool none = s->state == BACKUP_NONE;
    return json_pack("{s:s, s:o, s:o, s:o, s:I, s:I, s:o}", "state", states[s->state], "name",
                     none ? json_null() : json_string(s->name), "began_at", time_of(s->began_s),
                     "ended_at", time_of(s->ended_s), "files", (json_int_t)s->files, "bytes",
                     (json_int_t)s->bytes, "error",
                     s->state == BACKUP_FAILED ? answer_text(bytes_text(s->error)) : json_null());
}

struct api_answer backup_get(struct api_request *r)
{
    struct backup_status status;
    backups_status(r->api->backups, &status);
    return answer_json(200, status_json(&status));
}

/* NULL: *problem says why. */
static const char *name_of(struct api_request *r, const json_t *body, struct api_answer *problem)
{
    const json_t *const name = json_object_get(body, "name");
    const struct bytes text = bytes_of(json_string_value(name), json_string_length(name));
    if (r->api->backups->data[0] == '\0' || r->api->backups->dir[0] == '\0') {
        *problem = answer_problem(409, "data.dir and admin.backup_dir have to be set");
        return NULL;
    }
    if (!json_is_string(name) || !key_name_is_fine(text) || text.at[0] == '.') {
        *problem = answer_problem(400, "name: it has to be of letters, digits and ._-, 64 at most, "
                                       "and not to begin with a dot");
        return NULL;
    }
    return json_string_value(name);
}

static struct api_answer begin(struct api_request *r, const char *name)
{
    struct backup_status status;
    switch (backups_begin(r->api->backups, name, &status)) {
    case BACKUP_BEGUN:
        return answer_json(202, status_json(&status));
    case BACKUP_IS_RUNNING:
        return answer_problem(409, "a backup is being taken: '%s'", status.name);
    case BACKUP_NO_THREAD:
        return answer_problem(503, "there is no thread for it");
    }
    return answer_json(500, NULL);
}

struct api_answer backup_post(struct api_request *r)
{
    struct api_answer problem;
    json_t *const body = request_object(r, "name", &problem);
    const char *const name = body == NULL ? NULL : name_of(r, body, &problem);
    const struct api_answer answer = name == NULL ? problem : begin(r, name);
    json_decref(body);
    return answer;
}
