/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "broker/admin/api/api.h"
#include "broker/admin/api/percent.h"
#include "broker/node.h"

/* A cursor: which run of the process, the shard; and a place in its list, or a text. */
#define HEAD_FORM   "%08" PRIx32 "%02" PRIx32
#define HEAD_SCAN   "%8" SCNx32 "%2" SCNx32
#define HEAD_CHARS  10u
#define PLACE_FORM  "%016" PRIx64 "%016" PRIx64
#define PLACE_SCAN  "%16" SCNx64 "%16" SCNx64
#define PLACE_CHARS 32u

/* ---- the query */

bool request_has(const struct api_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->http, MHD_GET_ARGUMENT_KIND, name) != NULL;
}

bool request_query(struct api_request *r, const char *name, struct bytes *out)
{
    const char *const value = MHD_lookup_connection_value(r->http, MHD_GET_ARGUMENT_KIND, name);
    char *const copy = value == NULL ? NULL : strdup(value);
    if (copy == NULL || !percent_decode(copy, out)) {
        free(copy);
        return false;
    }
    return true;
}

uint32_t request_number(struct api_request *r, const char *name, uint32_t by_default,
                        uint32_t least, uint32_t most, bool *wrong)
{
    const char *const value = MHD_lookup_connection_value(r->http, MHD_GET_ARGUMENT_KIND, name);
    if (value == NULL) {
        return by_default;
    }
    char *end;
    const unsigned long number = strtoul(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || number < least || number > most) {
        *wrong = true;
        return 0;
    }
    return (uint32_t)number;
}

/* ---- the body */

bool request_is_among(const char *words, const char *word)
{
    const size_t len = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += len) {
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) {
            return len > 0;
        }
    }
    return false;
}

json_t *request_object(struct api_request *r, const char *members, struct api_answer *problem)
{
    json_error_t error;
    json_t *const json = json_loadb(r->body == NULL ? "" : r->body, r->body_len,
                                    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (json == NULL) {
        *problem = answer_problem(400, "the body is no JSON: %s (line %d)", error.text, error.line);
        return NULL;
    }
    if (!json_is_object(json)) {
        *problem = answer_problem(400, "the body is no object");
        json_decref(json);
        return NULL;
    }
    for (void *i = json_object_iter(json); i != NULL; i = json_object_iter_next(json, i)) {
        if (!request_is_among(members, json_object_iter_key(i))) {
            *problem = answer_problem(400,
                                      "'%.64s' is no member that means anything here; there "
                                      "are: %s",
                                      json_object_iter_key(i), members);
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

/* ---- pages */

static const char *cursor_of(struct api_request *r)
{
    return MHD_lookup_connection_value(r->http, MHD_GET_ARGUMENT_KIND, "cursor");
}

/* The beginning that all have; NULL: *problem. */
static const char *read_head(const struct api_request *r, const char *text, uint32_t *shard,
                             struct api_answer *problem)
{
    uint32_t run;
    if (strspn(text, "0123456789abcdef") != strlen(text) || strlen(text) < HEAD_CHARS ||
        sscanf(text, HEAD_SCAN, &run, shard) != 2) {
        *problem = answer_problem(400, "cursor: it is none that a page had");
        return NULL;
    }
    if (run != r->api->run) {
        *problem = answer_problem(410, "cursor: the broker has been started anew since; begin "
                                       "again without it");
        return NULL;
    }
    return text + HEAD_CHARS;
}

bool request_limit(struct api_request *r, uint32_t *limit, struct api_answer *problem)
{
    bool wrong = false;
    *limit = request_number(r, "limit", PAGE_LIMIT_DEFAULT, 1, PAGE_LIMIT_MAX, &wrong);
    if (wrong) {
        *problem = answer_problem(400, "limit: it is no number from 1 to %u", PAGE_LIMIT_MAX);
    }
    return !wrong;
}

bool request_page(struct api_request *r, uint32_t *limit, struct page_place *begin,
                  struct api_answer *problem)
{
    const char *const cursor = cursor_of(r);
    *begin = (struct page_place){.shard = 0};
    if (!request_limit(r, limit, problem)) {
        return false;
    }
    if (cursor == NULL) {
        return true;
    }
    const char *const rest = read_head(r, cursor, &begin->shard, problem);
    if (rest == NULL) {
        return false;
    }
    if (strlen(rest) != PLACE_CHARS ||
        sscanf(rest, PLACE_SCAN, &begin->place, &begin->within) != 2) {
        *problem = answer_problem(400, "cursor: it is none that a page of this list had");
        return false;
    }
    return true;
}

/* Takes both references. cursor NULL: it is the last page. */
static struct api_answer answer_with(json_t *items, json_t *cursor, bool has_cursor)
{
    json_t *const page = json_object();
    int failed = json_object_set_new(page, "items", items);
    if (has_cursor) {
        failed |= json_object_set_new(page, "cursor", cursor);
    }
    if (failed != 0) {
        json_decref(page);
        return answer_json(200, NULL);
    }
    return answer_json(200, page);
}

struct api_answer answer_page(const struct api_request *r, json_t *items,
                              const struct page_place *next)
{
    char cursor[64];
    if (next->shard >= r->node->shard_count) {
        return answer_with(items, NULL, false);
    }
    snprintf(cursor, sizeof cursor, HEAD_FORM PLACE_FORM, r->api->run, next->shard, next->place,
             next->within);
    return answer_with(items, json_string(cursor), true);
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

bool request_text_cursor(struct api_request *r, uint32_t *shard, uint8_t *text, size_t text_max,
                         size_t *len, struct api_answer *problem)
{
    const char *const cursor = cursor_of(r);
    if (cursor == NULL) {
        return true;
    }
    const char *const rest = read_head(r, cursor, shard, problem);
    if (rest == NULL) {
        return false;
    }
    *len = strlen(rest) / 2;
    if (strlen(rest) % 2 != 0 || *len > text_max) {
        *problem = answer_problem(400, "cursor: it is none that a page of this list had");
        return false;
    }
    for (size_t i = 0; i < *len; i++) {
        text[i] = (uint8_t)(digit(rest[2 * i]) << 4 | digit(rest[2 * i + 1]));
    }
    return true;
}

struct api_answer answer_text_page(const struct api_request *r, json_t *items, uint32_t shard,
                                   struct bytes text)
{
    static const char digits[] = "0123456789abcdef";
    if (shard >= r->node->shard_count) {
        return answer_with(items, NULL, false);
    }
    char *const cursor = malloc(HEAD_CHARS + 2 * text.len + 1);
    if (cursor == NULL) {
        json_decref(items);
        return answer_json(500, NULL);
    }
    char *to = cursor + sprintf(cursor, HEAD_FORM, r->api->run, shard);
    for (size_t i = 0; i < text.len; i++) {
        *to++ = digits[text.at[i] >> 4];
        *to++ = digits[text.at[i] & 0xf];
    }
    *to = '\0';
    const struct api_answer answer = answer_with(items, json_string(cursor), true);
    free(cursor);
    return answer;
}

/* ---- shards */

bool request_ask(struct api_request *r, struct shard *s, struct errand *e,
                 struct api_answer *problem)
{
    (void)r;
    switch (errand_do(s, e, API_SHARD_MS)) {
    case ERRAND_ANSWERED:
        return true;
    case ERRAND_BUSY:
        *problem = answer_problem(503, "a shard has too much to answer, or is ending");
        return false;
    case ERRAND_LATE:
        *problem = answer_problem(503, "a shard has not answered within %u ms", API_SHARD_MS);
        return false;
    }
    return false;
}

int64_t request_unix_ms(const struct api_request *r, uint64_t clock_ms)
{
    return (int64_t)clock_ms + r->node->wall_offset_ms;
}
