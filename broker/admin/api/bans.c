/* SPDX-License-Identifier: Apache-2.0 */
/* bans: who may not connect, as auth.ban_file has it; changed as `dunlin ban` changes it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "broker/admin/api/api.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/auth/locked_file.h"
#include "broker/config/file_text.h"
#include "broker/guard/ban_edit.h"
#include "broker/guard/ban_list.h"
#include "broker/node.h"
#include "proto/utf8.h"

#define IN_FORCE_WITHIN_MS 2000u
#define FOR_S_MAX          (100ll * 366 * 86400)

static bool has_file(const struct api_request *r, struct api_answer *problem)
{
    if (r->api->ban_file[0] == '\0') {
        *problem = answer_problem(409, "auth.ban_file is not set");
        return false;
    }
    return true;
}

/* ---- the list; a cursor has the line, and a hash of the file that it is one of */

static json_t *value_of(const struct ban *ban)
{
    char line[BAN_LINE_BYTES_MAX];
    if (ban->kind != BAN_ADDRESS) {
        return answer_text(bytes_of(ban->value, ban->value_len));
    }
    struct ban plain = *ban;
    plain.until_s = BAN_FOREVER;
    plain.because = bytes_of(NULL, 0);
    const size_t len = ban_print(&plain, line);
    const size_t kind = strlen(ban_kind_name(ban->kind)) + 1;
    return answer_text(bytes_of(line + kind, len - kind));
}

static json_t *ban_json(const struct ban *ban)
{
    return json_pack("{s:s, s:o, s:o, s:o}", "kind", ban_kind_name(ban->kind), "value",
                     value_of(ban), "until",
                     ban->until_s == BAN_FOREVER ? json_null() : answer_time(ban->until_s * 1000),
                     "because", answer_text(ban->because));
}

/* Those of the text from a line on; *next: the line that the next page begins with, or 0. */
static json_t *list(struct bytes text, uint64_t from_line, uint32_t limit, uint64_t *next)
{
    json_t *const items = json_array();
    struct ban_lines lines = ban_lines_of(text);
    struct ban_line line;
    const int64_t now_s = time(NULL);
    *next = 0;
    while (ban_lines_next(&lines, &line)) {
        struct ban ban;
        if (lines.number < from_line || line.text.len == 0 || ban_parse(&ban, line.text) != NULL ||
            ban.until_s <= now_s) {
            continue;
        }
        if (json_array_size(items) == limit) {
            *next = lines.number;
            break;
        }
        if (json_array_append_new(items, ban_json(&ban)) != 0) {
            json_decref(items);
            return NULL;
        }
    }
    return items;
}

static struct api_answer page(struct api_request *r, struct bytes text)
{
    uint32_t limit;
    struct page_place place;
    struct api_answer problem;
    const uint64_t hash = XXH3_64bits(text.at, text.len);
    if (!request_page(r, &limit, &place, &problem)) {
        return problem;
    }
    if (request_has(r, "cursor") && place.within != hash) {
        return answer_problem(410, "cursor: the list has been changed since; begin again without "
                                   "it");
    }
    struct page_place next = {.within = hash};
    json_t *const items = list(text, place.place, limit, &next.place);
    if (next.place == 0) {
        next.shard = UINT32_MAX; /* no more */
    }
    return answer_page(r, items, &next);
}

struct api_answer bans_list(struct api_request *r)
{
    struct api_answer answer;
    char *text;
    size_t len;
    if (!has_file(r, &answer)) {
        return answer;
    }
    const int error = file_text_read(r->api->ban_file, BAN_FILE_BYTES_MAX, &text, &len);
    if (error != 0) {
        return answer_problem(500, "auth.ban_file cannot be read: %s", strerror(error));
    }
    answer = page(r, bytes_of(text, len));
    free(text);
    return answer;
}

/* ---- one more, or less */

static struct api_answer told(enum locked_file_err err, int sys_errno)
{
    return answer_problem(err == LOCKED_FILE_BUSY ? 503 : 500, "auth.ban_file: %s%s%s",
                          locked_file_err_text(err), sys_errno != 0 ? ": " : "",
                          sys_errno != 0 ? strerror(sys_errno) : "");
}

/* false: *answer. */
static bool edit_locked(struct locked_file *f, const struct ban *ban, bool keep,
                        struct api_answer *answer)
{
    char *text;
    size_t len;
    int sys_errno;
    enum locked_file_err err = locked_file_read(f, BAN_FILE_BYTES_MAX, &text, &len, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        *answer = told(err, sys_errno);
        return false;
    }
    struct ban_edit edited;
    const bool enough = ban_edit(&edited, bytes_of(text, len), ban, keep);
    free(text);
    if (!enough) {
        *answer = answer_json(500, NULL);
        return false;
    }
    if (!keep && edited.found == 0) {
        free(edited.text);
        *answer = answer_problem(404, "there is no such ban");
        return false;
    }
    sys_errno = 0;
    err = edited.len > BAN_FILE_BYTES_MAX
              ? LOCKED_FILE_TOO_LARGE
              : locked_file_replace(f, bytes_of(edited.text, edited.len), &sys_errno);
    free(edited.text);
    if (err != LOCKED_FILE_OK) {
        *answer = told(err, sys_errno);
    }
    return err == LOCKED_FILE_OK;
}

/* Until main has read the file, or it takes too long: what is in it is in force soon anyway. */
static void wait_in_force(struct api *api, uint64_t before)
{
    static const struct timespec pause = {.tv_nsec = 2000000};
    struct node *const node = api->node;
    const uint64_t end_ms = node->clock_ms() + IN_FORCE_WITHIN_MS;
    atomic_store_explicit(&api->bans_changed, true, memory_order_release);
    node_wake_main(node);
    while (atomic_load_explicit(&node->bans_generation, memory_order_acquire) == before &&
           node->clock_ms() < end_ms) {
        nanosleep(&pause, NULL);
    }
}

static struct api_answer edit(struct api_request *r, const struct ban *ban, bool keep)
{
    struct locked_file f;
    int sys_errno;
    struct api_answer answer = answer_nothing();
    const uint64_t before = atomic_load_explicit(&r->node->bans_generation, memory_order_acquire);
    const enum locked_file_err err =
        locked_file_open(&f, r->api->ban_file, LOCKED_FILE_OLD, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        return told(err, sys_errno);
    }
    const bool done = edit_locked(&f, ban, keep, &answer);
    locked_file_close(&f);
    if (done) {
        wait_in_force(r->api, before);
    }
    return answer;
}

/* The one of the path; false: *answer. */
static bool ban_of(struct api_request *r, struct ban *ban, struct api_answer *answer)
{
    if (!has_file(r, answer)) {
        return false;
    }
    const char *const wrong = ban_make(ban, r->in_path[0], r->in_path[1]);
    if (wrong != NULL) {
        *answer = answer_problem(400, "%s", wrong);
    }
    return wrong == NULL;
}

struct api_answer ban_delete(struct api_request *r)
{
    struct ban ban;
    struct api_answer answer;
    return ban_of(r, &ban, &answer) ? edit(r, &ban, false) : answer;
}

/* NULL, or what is wrong. */
static const char *take_end(const json_t *body, struct ban *ban)
{
    const json_t *const until = json_object_get(body, "until");
    const json_t *const for_s = json_object_get(body, "for_s");
    const json_int_t period_s = json_integer_value(for_s);
    if (until != NULL && for_s != NULL) {
        return "until and for_s do not go together";
    }
    if (until != NULL && (!json_is_string(until) ||
                          !ban_time_parse(&ban->until_s, bytes_text(json_string_value(until))))) {
        return "until: it has to be a time of UTC, as in 2026-12-31T23:59:59Z";
    }
    if (for_s != NULL && (!json_is_integer(for_s) || period_s < 1 || period_s > FOR_S_MAX)) {
        return "for_s: it has to be a number of seconds, a hundred years at most";
    }
    if (for_s != NULL) {
        ban->until_s = time(NULL) + period_s;
    }
    return NULL;
}

static const char *take_because(const json_t *body, struct ban *ban)
{
    const json_t *const because = json_object_get(body, "because");
    if (because == NULL) {
        return NULL;
    }
    const struct bytes text = bytes_of(json_string_value(because), json_string_length(because));
    if (!json_is_string(because) || text.len > BAN_TEXT_BYTES_MAX || !utf8_valid(text) ||
        strpbrk(json_string_value(because), "\r\n") != NULL) {
        return "because: it has to be one line of 1024 bytes at most";
    }
    ban->because = text;
    return NULL;
}

struct api_answer ban_put(struct api_request *r)
{
    struct ban ban;
    struct api_answer answer;
    if (!ban_of(r, &ban, &answer)) {
        return answer;
    }
    json_t *const body =
        r->body_len == 0 ? json_object() : request_object(r, "until for_s because", &answer);
    if (body == NULL) {
        return answer;
    }
    const char *wrong = take_end(body, &ban);
    if (wrong == NULL) {
        wrong = take_because(body, &ban);
    }
    answer = wrong != NULL ? answer_problem(400, "%s", wrong) : edit(r, &ban, true);
    json_decref(body);
    return answer;
}
